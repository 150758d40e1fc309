"""`plncli cv MODEL`: what candidates foretell of samples, or counts, that they have not seen."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plncli import console
from plncli.cli.fit import HELP, model_of, named_tables
from plncli.cli.options import (
    PROBLEM,
    Command,
    ConfigFile,
    NoProgress,
    Overwrite,
    Quiet,
    Resume,
    TableFile,
    TableJson,
    verb,
    with_settings,
)
from plncli.cli.tables import aligned, check, write
from plncli.console import Console
from plncli.errors import DataError, UsageError, counted, short, some
from plncli.names import COVARIANCES, MODEL_NAMES
from plncli.settings import config as configuration
from plncli.settings.config import FitConfig

if TYPE_CHECKING:
    from plncli.evaluation.crossvalidation import Candidate, Validated
    from plncli.inputs.loading import Inputs
    from plncli.runs.journal import Pieces
    from plncli.runtime import Runtime
    from plncli.tables.reading import Table

app = verb("Compare models by what they foretell of held-out samples or counts.")

TAKEN = (
    *PROBLEM,
    "optimizer",
    "learning_rate",
    "max_iter",
    "tol",
    "device",
    "dtype",
    "seed",
    "allow_unconverged",
    "checkpoint_every",
)
"""Settings of a fit that matter here: panels, and names."""
FOLDS = 5
MOST_TOLD = 10

Formulas = Annotated[
    list[str] | None,
    typer.Option(
        "--formula",
        metavar="TEXT",
        help="Terms that explain the response; `~ 1` when absent. Give several to compare them.",
        show_default=False,
        rich_help_panel="Model",
    ),
]
Covariances = Annotated[
    list[str] | None,
    typer.Option(
        "--covariance",
        metavar="|".join(COVARIANCES),
        help="Covariance of the latent layer. Give several to compare them, with each formula. [default: full]",
        show_default=False,
        rich_help_panel="Model",
    ),
]
Folds = Annotated[
    int | None,
    typer.Option(
        "--folds",
        metavar="N",
        help=f"Parts of the samples, each held out in turn; with --entries, how often. [default: {FOLDS}]",
        show_default=False,
        rich_help_panel="Cross-validation",
    ),
]
Entries = Annotated[
    float | None,
    typer.Option(
        "--entries",
        metavar="SHARE",
        help="Hide this share of the counts, rather than samples, and foretell them from the others.",
        show_default=False,
        rich_help_panel="Cross-validation",
    ),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="FILE|COLUMN",
        help="Samples that belong together and stay in one fold: a table, or a column of --covariates.",
        show_default=False,
        rich_help_panel="Cross-validation",
    ),
]
Workers = Annotated[
    str | None,
    typer.Option(
        "--workers",
        metavar="N|auto",
        help="Processes that share the fits; auto: a core each, as far as memory goes. [default: auto]",
        show_default=False,
        rich_help_panel="Cross-validation",
    ),
]
SWITCHES: dict[str, Any] = {
    "formula": Formulas,
    "folds": Folds,
    "cluster": Cluster,
    "workers": Workers,
    "out": TableFile,
    "overwrite": Overwrite,
    "resume": Resume,
    "json": TableJson,
    "config": ConfigFile,
    "quiet": Quiet,
    "no_progress": NoProgress,
}
OPTIONS = dict.fromkeys(MODEL_NAMES, SWITCHES) | {"pln": SWITCHES | {"covariance": Covariances, "entries": Entries}}


@dataclass(frozen=True)
class Asked:
    """What is to be compared: a configuration for each formula, the covariances, and how cells or samples are held out.

    share: of the cells to hide; None: samples are held out.
    """

    configs: tuple[FitConfig, ...]
    covariances: tuple[str, ...]
    folds: int
    share: float | None

    @property
    def config(self) -> FitConfig:
        """The settings that all share."""
        return self.configs[0]

    @property
    def likelihood(self) -> str:
        """How the score is called: a bound of what a sample of counts has, and exact for one count."""
        return "elbo" if self.config.model == "pln" and self.share is None else "loglik"


def _command(model: str) -> Callable[..., int]:
    def command(
        flags: dict[str, Any],
        *,
        formula: list[str] | None,
        folds: int | None,
        cluster: str | None,
        workers: str | None,
        config: str | None,
        covariance: list[str] | None = None,
        entries: float | None = None,
        **switches: Any,
    ) -> int:
        def resolved(formula: str | None, covariance: str | None) -> FitConfig:
            given = {"formula": formula, "cluster": cluster, "workers": workers}
            structure = {"covariance": covariance} if "covariance" in OPTIONS[model] else {}
            return configuration.resolve(model, flags | given | structure, config, os.environ)

        return cv(asked(resolved, formula, covariance, FOLDS if folds is None else folds, entries), **switches)

    command.__doc__ = HELP[model]
    return with_settings(command, model, OPTIONS[model], TAKEN)


def asked(
    resolved: Callable[[str | None, str | None], FitConfig],
    formulas: Sequence[str] | None,
    covariances: Sequence[str] | None,
    folds: int,
    entries: float | None,
) -> Asked:
    """What is to be compared; resolved: the configuration with a formula and a covariance, None for what it says."""
    names = covariances or (None,)
    structures = tuple(dict.fromkeys(resolved(None, name).covariance for name in names))
    configs = tuple(_config(resolved(text, names[0]), structures) for text in dict.fromkeys(formulas or (None,)))
    if folds < 2:
        raise UsageError(f"--folds must be 2 or more, not {folds}.")
    if entries is not None and not 0.0 < entries < 1.0:
        raise UsageError(f"--entries must be a share between 0 and 1, not {entries:g}.")
    if entries is not None and configs[0].cluster:
        raise UsageError("--cluster keeps samples together, but --entries holds out counts; leave one of them out.")
    return Asked(configs, structures, folds, entries)


def _config(config: FitConfig, covariances: Sequence[str]) -> FitConfig:
    """The configuration by which tables are read: without what only `fit` does, with a precision if one is needed."""
    covariance = "fixed" if "fixed" in covariances else config.covariance
    return replace(config, covariance=covariance, se="auto", vcov=False, out=None, overwrite=False, init=None)


for _model in MODEL_NAMES:
    app.command(_model, cls=Command)(_command(_model))


def cv(
    asked: Asked, *, out: str | None, overwrite: bool, resume: bool, json: bool, quiet: bool, no_progress: bool
) -> int:
    """Read, hold out, fit, score, report; the exit code says whether all fits converged."""
    say = Console(quiet, progress=not no_progress)
    if resume and out is None:
        raise UsageError("--resume goes with --out FILE: beside it is kept what is done.")
    suffix = check(out, overwrite)
    for sentence in configuration.ignored(os.environ):
        say.note(f"note: {sentence}")
    from plncli.runs.checkpoints import locked
    from plncli.tables.writing import to_json

    place = Place(Path(out), resume) if out else None
    with nullcontext() if place is None else locked(place.out):
        compared = validated(asked, say, place=place)
        if place is not None:
            write(columns(compared), str(place.out), suffix)
            place.discard()
    console.out(to_json(_content(compared)) if json else "\n".join(lines(compared)))
    say.note(f"note: {_meaning(asked)}")
    report(say, compared, "--json")
    return 4 if compared.unconverged and not asked.config.allow_unconverged else 0


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


class Place:
    """Where the scores go, and, while not all are there, those that are."""

    def __init__(self, out: Path, resume: bool) -> None:
        self.out, self.resume = out, resume
        self.pieces: Pieces | None = None

    def begin(self, asked: Asked, read: Sequence[Inputs], say: Console) -> Pieces:
        """What keeps each score."""
        from plncli.evaluation.crossvalidation import Scored
        from plncli.runs import checkpoints
        from plncli.runs.journal import Pieces

        fits = [checkpoints.about_fit(config, one.sources) for config, one in zip(asked.configs, read, strict=True)]
        chosen = {"folds": asked.folds, "entries": asked.share, "covariance": list(asked.covariances)}
        settings = fits[0]["settings"] | {"formula": [fit["settings"]["formula"] for fit in fits]} | chosen
        every = asked.config.checkpoint_every or math.inf
        about = {"settings": settings, "inputs": fits[0]["inputs"]}
        path, p = checkpoints.folder_of(self.out) / checkpoints.PIECES, read[0].data.p
        self.pieces = Pieces(path, about, every, Scored, lambda score: score.sound(p), self.resume)
        if self.pieces.found:
            say.note(f"note: {counted(len(self.pieces.found), 'fit')} are done already.")
        if self.pieces.note:
            say.note(f"note: {self.pieces.note}")
        return self.pieces

    def discard(self) -> None:
        """All is done."""
        if self.pieces is not None:
            self.pieces.discard()


@contextmanager
def _kept(pieces: Pieces | None, say: Console) -> Iterator[None]:
    """Keep what is done when the rest is not to be."""
    try:
        yield
    except BaseException:
        say.clear()
        if pieces is not None and pieces.save():
            say.note("What is done is kept: the same command with --resume goes on.")
        raise


def validated(
    asked: Asked, say: Console, given: Mapping[str, Table] | None = None, place: Place | None = None
) -> Compared:
    """Read, hold out, fit and score; given: see `inputs.load`; place: where scores are kept."""
    from plncli import optim, runtime
    from plncli.evaluation import crossvalidation
    from plncli.inputs import loading as inputs
    from plncli.optim.base import StopRule

    config = asked.config
    optimizer = optim.build(config.optimizer, config.learning_rate)
    where = runtime.start(config.device, config.dtype, config.seed)
    with runtime.memory_guard():
        with say.stage(f"reading {some(named_tables(config))}"):
            read = inputs.load_each(asked.configs, device=where.device, dtype=where.dtype, given=given)
        for note in dict.fromkeys(note for one in read for note in one.notes):
            say.note(f"note: {note}")
        candidates, null = _candidates(asked, read)
        data = candidates[0].data
        if asked.share is None:
            folds = crossvalidation.folds_of_samples(data, asked.folds, config.seed)
        else:
            folds = crossvalidation.folds_of_cells(data, asked.share, asked.folds, config.seed)
        workers = _workers(config, candidates, where)
        stop = StopRule(config.tol, config.max_iter)
        counting = say.counting("cross-validation")
        pieces = place.begin(asked, read, say) if place else None
        with _kept(pieces, say):
            found = crossvalidation.validate(candidates, null, folds, optimizer, stop, workers, counting, pieces)
    say.clear()
    return Compared(asked, found, null)


def _candidates(asked: Asked, read: Sequence[Inputs]) -> tuple[list[Candidate], int]:
    """Each formula with each covariance, and where the null model is among them: it joins them if it is not there."""
    import torch

    from plncli.evaluation.crossvalidation import Candidate

    first = read[0].data
    candidates = []
    for config, one in zip(asked.configs, read, strict=True):
        if one.data.responses != first.responses or not torch.equal(one.data.Y, first.Y):
            raise DataError(
                f"`{asked.config.formula}` and `{config.formula}` explain different responses, so what they foretell "
                "does not compare."
            )
        O = first.O if torch.equal(one.data.O, first.O) else one.data.O
        data = replace(one.data, Y=first.Y, K=first.K, w=first.w, O=O)  # kept, and sent to workers, once
        for covariance in asked.covariances:
            this = replace(config, covariance=covariance)
            structure = model_of(this, one if covariance == "fixed" else None)
            candidates.append(Candidate(config.formula or "~ 1", structure, data))
    alone = replace(asked.config, covariance="diagonal")
    data = replace(first, X=torch.ones_like(first.X[:, :1]), terms=("Intercept",))
    null = Candidate("~ 1", model_of(alone, None), data)
    for number, other in enumerate(candidates):
        same = torch.equal(other.data.X, data.X) and torch.equal(other.data.O, data.O)
        if same and other.covariance == null.covariance:
            return candidates, number
    return [*candidates, null], len(candidates)


def _workers(config: FitConfig, candidates: Sequence[Candidate], where: Runtime) -> int:
    """How many fits may run side by side; DeviceError where the largest does not fit into memory."""
    from plncli import runtime
    from plncli.evaluation import memory

    data = max((candidate.data for candidate in candidates), key=lambda data: data.d)
    structures = {getattr(candidate.model, "covariance", None) for candidate in candidates}
    covariance = "full" if structures & {"full", "fixed"} else next(iter(structures))
    planned = memory.Fit(config.model, config.optimizer, covariance, data.n, data.p, data.d, where.dtype_name)
    free = runtime.free_memory(where.device)
    memory.check(planned, free, where.device_name)
    return memory.workers(planned, free, config.workers, runtime.ALL_THREADS)


# What is said of it


def _labels(compared: Compared) -> list[dict[str, str]]:
    """Formula and, for pln, covariance of each candidate."""
    pairs = [
        {"formula": standing.candidate.formula, "covariance": standing.candidate.covariance}
        for standing in compared.validated.standings
    ]
    return [{key: word for key, word in pair.items() if word} for pair in pairs]


def lines(compared: Compared) -> list[str]:
    """The standings, for a reader."""
    asked, standings, labels = compared.asked, compared.validated.standings, _labels(compared)
    header = [*labels[0], "parameters", asked.likelihood, "± se", "behind", "± se", "deviance", "± se", "r2"]
    some_impossible = any(standing.impossible for standing in standings)
    rows = [[*header, *["impossible"] * some_impossible, ""]]
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
                f"{standing.deviance:.2f}",
                f"{standing.deviance_se:.2f}",
                f"{standing.r2:.3f}",
                *[str(standing.impossible)] * some_impossible,
                ", ".join(marks) + (" (not converged)" if standing.unconverged else ""),
            ]
        )
    return aligned(rows, left=len(labels[0]))


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
            "impossible": standing.impossible,
            "unconverged": standing.unconverged,
        }
        marks = {"null": number == compared.null, "best": standing.best, "one_se": standing.simplest}
        rows.append(label | numbers | marks)
    return rows


def _content(compared: Compared) -> dict[str, Any]:
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
    scored = [found.folds[f].scored for _, f in cells]
    return {
        **{key: [labels[c][key] for c, _ in cells] for key in labels[0]},
        "n_parameters": np.array([found.standings[c].n_parameters for c, _ in cells]),
        "fold": np.array([found.folds[f].number for _, f in cells]),
        "n_samples": np.array([int(cell.any(1).sum()) for cell in scored]),
        "n_entries": np.array([int(cell.sum()) for cell in scored]),
        asked.likelihood: np.array([score.loglik for score in scores]),
        "deviance": np.array([float(s.deviance.sum()) / w for s, w in zip(scores, weights, strict=True)]),
        "status": [score.status for score in scores],
        "gap": np.array([score.gap for score in scores]),
    }


def report(say: Console, compared: Compared, everything: str) -> None:
    """What was left out, all of which `everything` has, and what did not converge."""
    found = compared.validated
    if compared.asked.config.offset_method:
        say.note("note: Offsets were estimated from the whole table, and so know something of what is held out.")
    for sentence in found.left_out[:MOST_TOLD]:
        say.note(f"note: {sentence}")
    if len(found.left_out) > MOST_TOLD:
        say.note(f"note: ... and {len(found.left_out) - MOST_TOLD} more such notes ({everything} has all).")
    impossible = next(standing.impossible for standing in found.standings if standing.best)
    if impossible:
        say.warn(
            f"The best may owe its place to what is left out: it says that {counted(impossible, 'held-out count')} "
            "cannot be, and with them its score would be -inf."
        )
    if found.left_out:
        say.warn("Not all that was held out is scored, for the notes above; what is, is the same for all candidates.")
    if compared.unconverged:
        say.warn(f"{counted(compared.unconverged, 'fit')} did not converge: the scores rest on where they stopped.")


def _meaning(asked: Asked) -> str:
    """What score and deviance are, in a sentence."""
    model = asked.config.model
    if asked.share is not None:
        return (
            f"In each of {asked.folds} folds {100 * asked.share:g} % of the counts were hidden. loglik: of a hidden "
            "count, in nats, given the others of its sample; deviance: against its expected value."
        )
    what = {
        "pln": (
            "elbo: bound of the log-likelihood of a held-out sample, in nats, with the parameters of the others; "
            "deviance: of its counts against those expected from its covariates alone"
        ),
        "logistic": "loglik: log-likelihood of a held-out sample, in nats; deviance: -2 loglik",
        "linear": "loglik: log-likelihood of a held-out sample, in nats; deviance: its squared error",
    }
    return f"Means over {asked.folds} folds. {what[model]}."
