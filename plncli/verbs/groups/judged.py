"""How well a fit tells groups apart: samples held out in folds and classified by fits to the others."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from plncli.errors import DataError, FitError, counted
from plncli.settings import FitConfig
from plncli.verbs.fitting.job import Job
from plncli.verbs.fitting.keeping import Keep

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plncli.results import FitResult

FOLDS, LOO = "folds", "loo"
"""The setting of how many folds there are, and its value for as many as samples."""


def check_folds(config: FitConfig, job: Job) -> None:
    """DataError for more folds than samples, before anything is fitted."""
    many = config.own.get(FOLDS)
    if many not in (None, LOO) and int(many) > job.read.data.n_clusters:
        what = "samples" if job.read.data.clusters is None else "clusters"
        raise DataError(
            f"--folds {many} is more than the {job.read.data.n_clusters} {what}. Give fewer, or loo for one each."
        )


def judged(config: FitConfig, job: Job, result: FitResult, workers: int, keep: Keep | None = None) -> FitResult:
    """With what samples of the fit, and held-out ones, tell of how well its groups are told apart.

    As it is where the model has no such setting, or the fit was cut short. keep: where folds that are done are kept.
    """
    if FOLDS not in config.own or result.cut_short or not result.state["prior"].any():
        return result
    import torch

    from plncli.evaluation.discrimination import agreement, folds_of, held_out, posterior_of
    from plncli.models.abilities import Discriminating
    from plncli.models.uncertainty import Interrupted
    from plncli.optim.base import StopRule

    data, fitted, say = result.data, result.fitted, job.say
    assert isinstance(fitted, Discriminating)
    K = torch.ones_like(data.Y, dtype=torch.bool) if data.K is None else data.K
    truth, known = fitted.group_of, posterior_of(result, data.X, data.O, data.Y, K, data.X0)
    apparent = agreement(truth, known.log_posterior)
    facts = {"apparent_accuracy": apparent.accuracy, "apparent_balanced_accuracy": apparent.balanced}
    result = replace(result, facts={**result.facts, **facts})
    many = config.own[FOLDS]
    if many == "0":
        return result
    fold = folds_of(data, truth, data.n if many == LOO else int(many), config.seed)
    stop = StopRule(config.tol, config.max_iter, cancelled=job.state.cancelled)
    sizes, groups = fold.bincount().tolist(), len(fitted.groups)
    kept = None if keep is None else keep.begin_folds(config, job.read, sizes, groups, say)
    try:
        found, failed = held_out(result, fold, job.optimizer, stop, workers, say.counting("held-out samples"), kept)
    except Interrupted:
        say.warn("Interrupted before all samples were held out: how well groups are told apart is not known.")
        return result
    except (DataError, FitError) as error:  # the fit is done, and must not be lost with them
        say.warn(f"How well groups are told apart is not known, for not all samples could be held out. {error}")
        return result
    finally:
        say.clear()
    if failed:
        say.warn(f"{counted(failed, 'fit')} to all but a fold did not converge: their samples are judged all the same.")
    true = agreement(truth, found)
    facts = {"accuracy": true.accuracy, "balanced_accuracy": true.balanced}
    facts |= {"log_loss": true.log_loss, "held_out": true.number, "surely": true.surely}
    facts |= {"surely_right": true.surely_right} if true.surely else {}
    whole = torch.full((data.n, data.d), torch.nan, dtype=torch.float64)
    whole[:, result.state["prior"].cpu().nonzero()[:, 0]] = found.exp()
    state = {"held_out": whole.to(data.Y), "fold": fold.to(data.Y) + 1.0}
    return replace(result, facts={**result.facts, **facts}, state={**result.state, **state})


def told(facts: Mapping[str, float], folds: str) -> str:
    """How well, as a sentence; nothing where it is not known."""
    if "accuracy" not in facts:
        return ""
    how = "one by one" if folds == LOO else f"in {folds} folds"
    sentence = (
        f"Held out {how}, {100 * facts['accuracy']:.1f} % of {counted(int(facts['held_out']), 'sample')} are assigned "
        f"to their group (mean over groups {100 * facts['balanced_accuracy']:.1f} %); of the samples of the fit itself "
        f"{100 * facts['apparent_accuracy']:.1f} % are, which says little."
    )
    return f"{sentence} {calibration(facts)}".rstrip()


def calibration(facts: Mapping[str, float]) -> str:
    """Whether held-out probabilities are what they say, as a sentence; nothing where none is near 1, or not known."""
    if "surely_right" not in facts:
        return ""
    return (
        f"Of the {counted(int(facts['surely']), 'sample')} assigned with a probability above 0.95, "
        f"{100 * facts['surely_right']:.1f} % are right."
    )
