"""How often the links of a fit are found in subsamples, where that is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from plncli.settings import FitConfig
from plncli.verbs.fitting.job import Job
from plncli.verbs.planning import model_of

if TYPE_CHECKING:
    from plncli.evaluation.stability import Stability
    from plncli.runs.outcome import Outcome

SUBSAMPLES, MANY = "subsamples", 20
"""The setting of how many there are, and how many unless it says so."""


def stability_of(configs: Sequence[FitConfig], job: Job, workers: int) -> Stability:
    """Of the links of fits of these configurations, from the fewest links to the most."""
    from plncli.evaluation.stability import stability
    from plncli.models.base import Linking

    config, model, data = configs[0], model_of(configs[0], job.read), job.read.data
    assert isinstance(model, Linking)
    along = [setting.name for setting in config.spec.settings if setting.several]
    values = [one.own[along[0]] for one in configs]
    number = config.own[SUBSAMPLES] or MANY
    job.state.savable = False  # all that an interrupt would save is kept already
    counting = job.say.counting("stability")
    found = stability(model, data, values, number, config.seed, workers, counting, job.state.cancelled)
    job.say.clear()
    return found


def with_frequencies(outcome: Outcome, known: Stability, place: int = 0) -> Outcome:
    """With how often each link was found in subsamples; place: of the fit among those whose stability is known."""
    p = outcome.result.data.p
    own = {"frequency": known.matrix(place, p).to(outcome.result.data.Y), **known.found(p)}
    result = replace(outcome.result, state={**outcome.result.state, **own})
    return replace(outcome, result=result)
