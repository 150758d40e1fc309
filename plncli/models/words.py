"""What reports and messages say of a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class StoryFacts:
    """What a story may tell of: names of responses, their classes (zero, one), and the settings that the model adds."""

    responses: Sequence[str]
    classes: Sequence[Sequence[str]]
    own: Mapping[str, Any]


def no_story(facts: StoryFacts) -> list[str]:
    """Nothing to tell of a model."""
    del facts
    return []


@dataclass(frozen=True)
class Words:
    """How a model is spoken of, in plots, reports and tables.

    title: in a sentence, where it is another than the model's. story: sentences for a reader who knows the model by
    name only. scale: what coefficients are measured in. effect: what the distance between two levels of a factor is
    called; ratio: what exp of a coefficient, or of a difference of two, is (nothing where it is no ratio); apart: how a
    sentence tells a distance.
    covariance: the adjective of Sigma, and covariance_title its heading. fit_test: the test that tells a poor fit.
    score: what the score of a held-out sample, and its deviance, are. meanings: of findings, by code, where their
    message does not say it plainly; doubts: what of a finding predictions must be told with, by code, `{names}` being
    the responses.
    """

    title: str = ""
    story: Callable[[StoryFacts], list[str]] = no_story
    scale: str = "units of the linear predictor"
    effect: str = "difference"
    ratio: str = ""
    apart: str = "{effect} {far} against"
    covariance: str = "residual"
    covariance_title: str = "Correlations"
    fit_test: str = "Kolmogorov-Smirnov"
    score: str = "loglik: log-likelihood of a held-out sample, in nats; deviance: -2 loglik"
    no_offset: str = "There is no offset."
    meanings: Mapping[str, str] = field(default_factory=dict)
    doubts: Mapping[str, str] = field(default_factory=dict)
