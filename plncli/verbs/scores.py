"""What a cross-validation was asked and what it found, for a reader and for machines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from plncli.console import Console
from plncli.errors import counted, short, some
from plncli.layout import Grid, aligned, table_width
from plncli.settings import FitConfig

if TYPE_CHECKING:
    from plncli.evaluation.crossvalidation import Ranked, Validated

MOST_TOLD = 10
WIDTH = 100
"""Signs of the names in a sentence."""
LONG = 1e7
"""Size from which a deviance has three digits and a power of ten."""


@dataclass(frozen=True)
class Asked:
    """What is to be compared, and how cells or samples are held out.

    configs: one for each formula; structures: values of settings of the model that are compared with each, by name;
    share: of the cells to hide; None: samples are held out.
    """

    configs: tuple[FitConfig, ...]
    structures: tuple[Mapping[str, str], ...]
    folds: int
    share: float | None

    @property
    def config(self) -> FitConfig:
        """The settings that all share."""
        return self.configs[0]

    @property
    def likelihood(self) -> str:
        """How the score is called: a bound of what a sample of counts has, and exact for one count."""
        return self.config.spec.likelihood if self.share is None else "loglik"


@dataclass(frozen=True)
class Compared:
    """What was found of what was asked; null: which of the candidates is the null model."""

    asked: Asked
    validated: Validated
    null: int

    @property
    def unconverged(self) -> int:
        """Number of fits that did not converge."""
        return sum(standing.unconverged for standing in self.validated.standings)


def _labels(compared: Compared) -> list[dict[str, str]]:
    """Formula, and values of settings of the model, of each candidate; of those that are told only where set."""
    candidates = [standing.candidate for standing in compared.validated.standings]
    settings = {setting.name: setting for setting in candidates[0].model.spec.settings}
    shown = [
        name
        for name in candidates[0].labels
        if not settings[name].told or any(one.labels[name] != settings[name].default for one in candidates)
    ]
    return [{"formula": one.formula} | {name: str(one.labels[name]) for name in shown} for one in candidates]


def lines(compared: Compared) -> list[str]:
    """The standings, for a reader."""
    table = grid(compared)
    return aligned(table.rows, table.left, table_width())


def grid(compared: Compared) -> Grid:
    """The table of the standings."""
    asked, standings, labels = compared.asked, compared.validated.standings, _labels(compared)
    header = [*labels[0], "parameters", asked.likelihood, "± se", "behind", "± se", "deviance", "± se", "r2"]
    some_impossible = any(standing.impossible for standing in standings)
    header += ["of means"] * (standings[0].of_means is not None) + ["impossible"] * some_impossible
    rows = [[*header, ""]]
    for number, (label, standing) in enumerate(zip(labels, standings, strict=True)):
        marks = [word for word, yes in (("best", standing.best), ("1-se", standing.simplest)) if yes]
        behind = ["", ""] if standing.best else [f"{standing.behind:.2f}", f"{standing.behind_se:.2f}"]
        rows.append(
            [
                short(label["formula"], 40) + (" (null)" if number == compared.null else ""),
                *list(label.values())[1:],
                str(standing.n_parameters),
                f"{standing.score:.2f}",
                f"{standing.score_se:.2f}",
                *behind,
                _size(standing.deviance, 2),
                _size(standing.deviance_se, 2),
                _size(standing.r2, 3),
                *([] if standing.of_means is None else [_size(standing.of_means, 2)]),
                *[str(standing.impossible)] * some_impossible,
                ", ".join(marks) + (" (not converged)" if standing.unconverged else ""),
            ]
        )
    return Grid(meaning(asked), rows, left=len(labels[0]))


def _size(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if abs(value) < LONG else f"{value:.2e}"


def candidates(compared: Compared) -> list[dict[str, Any]]:
    """The standings, for machines: a row a candidate."""
    asked, rows = compared.asked, []
    for number, (label, standing) in enumerate(zip(_labels(compared), compared.validated.standings, strict=True)):
        numbers = {
            "n_parameters": standing.n_parameters,
            asked.likelihood: standing.score,
            f"{asked.likelihood}_se": standing.score_se,
            "behind": standing.behind,
            "behind_se": standing.behind_se,
            "deviance": standing.deviance,
            "deviance_se": standing.deviance_se,
            "r2": standing.r2,
            **_of_means(standing),
            "impossible": standing.impossible,
            "unconverged": standing.unconverged,
        }
        marks = {"null": number == compared.null, "best": standing.best, "one_se": standing.simplest}
        rows.append(label | numbers | marks)
    return rows


def _of_means(standing: Ranked) -> dict[str, float]:
    """The deviance against expected values, where it is another."""
    if standing.of_means is None or standing.of_means_se is None:
        return {}
    return {"deviance_of_means": standing.of_means, "deviance_of_means_se": standing.of_means_se}


def content(compared: Compared) -> dict[str, Any]:
    """All that was found, for machines."""
    from plncli.tables.writing import records

    asked = compared.asked
    return {
        "model": asked.config.model,
        "held_out": "samples" if asked.share is None else "entries",
        "share": asked.share,
        "folds": asked.folds,
        "seed": asked.config.seed,
        "candidates": candidates(compared),
        "by_fold": records(columns(compared)),
        "left_out": compared.validated.left_out,
    }


def columns(compared: Compared) -> dict[str, Any]:
    """A row for each candidate and fold; means are of a sample, with --entries of a count."""
    import numpy as np

    asked, found = compared.asked, compared.validated
    cells = [(c, f) for c in range(len(found.standings)) for f in range(len(found.folds))]
    labels = _labels(compared)
    scores = [found.scores[f][c] for c, f in cells]
    weights = [found.weights[f] for _, f in cells]
    means = [(s.of_means, w) for s, w in zip(scores, weights, strict=True) if s.of_means is not None]
    of_means = {"deviance_of_means": np.array([float(sums.sum()) / w for sums, w in means])} if means else {}
    scored = [found.folds[f].scored for _, f in cells]
    return {
        **{key: [labels[c][key] for c, _ in cells] for key in labels[0]},
        "n_parameters": np.array([found.standings[c].n_parameters for c, _ in cells]),
        "fold": np.array([found.folds[f].number for _, f in cells]),
        "n_samples": np.array([int(cell.any(1).sum()) for cell in scored]),
        "n_entries": np.array([int(cell.sum()) for cell in scored]),
        asked.likelihood: np.array([score.loglik for score in scores]),
        "deviance": np.array([float(s.deviance.sum()) / w for s, w in zip(scores, weights, strict=True)]),
        **of_means,
        "status": [score.status for score in scores],
        "gap": np.array([score.gap for score in scores]),
    }


def report(say: Console, compared: Compared, everything: str) -> None:
    """What was left out, all of which `everything` has, and what did not converge."""
    found = compared.validated
    if compared.asked.config.offset_method:
        say.note("note: Size factors were estimated from the whole table, held-out data included.")
    for sentence in found.left_out[:MOST_TOLD]:
        say.note(f"note: {sentence}")
    if len(found.left_out) > MOST_TOLD:
        say.note(f"note: ... and {len(found.left_out) - MOST_TOLD} more such notes ({everything} has all).")
    impossible = next(standing.impossible for standing in found.standings if standing.best)
    if impossible:
        say.warn(
            f"The best may owe its rank to what is left out: {counted(impossible, 'held-out count')} of probability 0 "
            "under it, with which its score would be -inf."
        )
    _tell_beyond_sense(say, found)
    if found.left_out:
        say.warn("Not all held-out data are scored (see the notes above); the same data are scored for all candidates.")
    if compared.unconverged:
        say.warn(
            f"{counted(compared.unconverged, 'fit')} did not converge: their scores are those of where they stopped."
        )


def _tell_beyond_sense(say: Console, found: Validated) -> None:
    """Features for which expected counts of candidates, and so their deviance of means, mean nothing."""
    from plncli.evaluation.crossvalidation import beyond_sense

    names = [
        beyond_sense(standing.candidate, found.folds, [scores[c] for scores in found.scores])
        for c, standing in enumerate(found.standings)
    ]
    features = list(dict.fromkeys(name for of_candidate in names for name in of_candidate))
    if features:
        say.note(
            f"note: Expected counts are beyond sense for {counted(len(features), 'feature')}, in "
            f"{counted(sum(map(bool, names)), 'candidate')}, whose deviance of means says nothing (all else does): "
            f"{some(features, width=WIDTH)}."
        )


def meaning(asked: Asked) -> str:
    """What score and deviance are, in a sentence."""
    if asked.share is not None:
        return (
            f"In each of {asked.folds} folds {100 * asked.share:g} % of the counts were hidden. loglik: of a hidden "
            "count, in nats, given the others of its sample; deviance, r2: against the median of its rate; of "
            "means: against the mean."
        )
    return f"Means over {asked.folds} folds. {asked.config.spec.words.score}."
