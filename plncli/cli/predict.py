"""`plncli predict RUN`: what a finished fit expects of new samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plncli.cli.options import (
    NewCovariates,
    NewExposure,
    NewMissing,
    NewOffsets,
    NewTranspose,
    NoSampleNames,
    Overwrite,
    Quiet,
    RunFolder,
    TableFile,
    TableJson,
    TextFormat,
)
from plncli.cli.tables import sample_rows
from plncli.console import Console
from plncli.errors import UsageError, counted, some

if TYPE_CHECKING:
    from torch import Tensor

    from plncli.models.prediction import Prediction
    from plncli.runs.new_data import NewData, Sources
    from plncli.runs.run import Run

INTERVALS = ("confidence", "prediction")
DOUBTFUL = ("naive-standard-errors", "few-samples")
"""Findings of a fit that its intervals inherit."""
SAYS = {
    "marginal": "Marginal counts: expected of samples of which only the covariates are known",
    "fitted": "Fitted counts: expected of these samples, their counts known",
    "conditional": "Conditional counts: expected of the other features, given those known",
    "probability": "Probabilities of the second class",
    "mean": "Means",
}

Counts = Annotated[
    str | None,
    typer.Option(
        "--counts",
        metavar="FILE",
        help="pln: counts of all features of the new samples, for *fitted* counts.",
        show_default=False,
    ),
]
Given = Annotated[
    str | None,
    typer.Option(
        "--given",
        metavar="FILE",
        help="pln: counts of some of the features, for *conditional* counts of the others.",
        show_default=False,
    ),
]
Intervals = Annotated[
    list[str] | None,
    typer.Option(
        "--interval",
        metavar="confidence|prediction",
        help="Of the expected value, or of a new observation; both may be given.",
        show_default=False,
    ),
]
Level = Annotated[
    float | None, typer.Option(metavar="X", help="Of the intervals [default: the fit's].", show_default=False)
]
Wide = Annotated[
    str | None,
    typer.Option(
        "--wide",
        metavar="COLUMN",
        help="A row a sample and a column a response, of this column alone.",
        show_default=False,
    ),
]


def predict(
    run: RunFolder,
    covariates: NewCovariates = None,
    exposure: NewExposure = None,
    offsets: NewOffsets = None,
    counts: Counts = None,
    given: Given = None,
    interval: Intervals = None,
    level: Level = None,
    wide: Wide = None,
    missing: NewMissing = "error",
    transpose: NewTranspose = False,
    no_sample_names: NoSampleNames = False,
    out: TableFile = None,
    overwrite: Overwrite = False,
    format: TextFormat = None,
    json: TableJson = False,
    quiet: Quiet = False,
) -> int:
    """Predict what new samples are expected to show.

    A row for each sample and response: probabilities and classes (logistic), means (linear), or expected counts (pln),
    which are *marginal* from the covariates alone, *fitted* with --counts, and *conditional* with --given.
    """
    from plncli.cli.tables import check, deliver
    from plncli.runs.new_data import Sources
    from plncli.runs.run import read_run

    suffix = check(out, overwrite, format)
    sources = Sources(covariates, counts, given, exposure, offsets, missing, not no_sample_names, transpose)
    deliver(predicted(read_run(Path(run)), sources, Console(quiet), interval or [], level, wide), out, suffix, json)
    return 0


def predicted(
    run: Run, sources: Sources, say: Console, interval: Sequence[str], level: float | None, wide: str | None
) -> dict[str, Any]:
    """The table of what new samples are expected to show, by column."""
    from plncli.runs.new_data import load

    wanted = _intervals(interval)
    if level is not None and not 0.0 < level < 1.0:
        raise UsageError(f"--level must be between 0 and 1, not {level:g}.")
    data = load(run, sources)
    for note in data.notes:
        say.note(f"note: {note}")
    found = _predicted(run, data, wanted, level or run.summary.get("level") or 0.95)
    columns = _columns(run, data, found)
    if wide is not None and wide not in list(columns)[2:]:
        raise UsageError(f"There is no column `{wide}` to put --wide; there are {some(list(columns)[2:], 12)}.")
    _report(say, run, data, found, wanted)
    return columns if wide is None else _widened(data, found, columns[wide])


def _intervals(names: Sequence[str]) -> tuple[str, ...]:
    for name in names:
        if name not in INTERVALS:
            raise UsageError(f"--interval must be confidence or prediction, not {name}.")
    return tuple(names)


def _predicted(run: Run, data: NewData, intervals: tuple[str, ...], level: float) -> Prediction:
    from plncli import runtime
    from plncli.models import prediction

    runtime.use_threads(len(data.samples), len(run.responses), len(run.terms), "auto")
    known = {"Y": data.Y, "K": data.K, "observed": data.observed}
    with runtime.memory_guard():
        return prediction.predict(run.parameters, data.X, data.O, **known, intervals=intervals, level=level)


def _columns(run: Run, data: NewData, found: Prediction) -> dict[str, Any]:
    """A row for each sample and response."""
    columns: dict[str, Any] = {
        "sample": [sample for sample in data.samples for _ in found.responses],
        "response": list(found.responses) * len(data.samples),
    }
    for name, values in found.columns.items():
        columns[name] = values.reshape(-1).numpy()
        if name == "probability":
            columns["class"] = _classes(run, values)
    return columns


def _classes(run: Run, probability: Tensor) -> list[str]:
    """The more probable class of each sample and response."""
    one = (probability >= 0.5).tolist()
    return [labels[more] for row in one for labels, more in zip(run.classes, row, strict=True)]


def _widened(data: NewData, found: Prediction, values: Any) -> dict[str, Any]:
    """One of the columns as samples × responses."""
    p = len(found.responses)
    return sample_rows(data.samples, {name: values[k::p] for k, name in enumerate(found.responses)})


def _report(say: Console, run: Run, data: NewData, found: Prediction, intervals: tuple[str, ...]) -> None:
    """What was predicted, what to mind, and why cells are empty."""
    for sentence in warnings(run, intervals):
        say.warn(sentence)
    noun = "feature" if run.model == "pln" else "response"
    what = next(name for name in SAYS if name in found.columns)
    say.note(f"{SAYS[what]}; {counted(len(data.samples), 'sample')} × {counted(len(found.responses), noun)}.")
    if "confidence" in intervals and run.model == "pln":
        say.note("note: The confidence intervals are those of the coefficients; they take Sigma as known.")
    if "prediction" in intervals and what == "marginal" and not run.inference:
        say.note("note: The prediction intervals take the coefficients as known, for the fit has no standard errors.")
    for sentence in told(run, found.reasons):
        say.note(f"note: {sentence}")


def warnings(run: Run, intervals: tuple[str, ...] = ()) -> Iterator[str]:
    """What makes a fit's predictions doubtful."""
    if not run.summary["converged"]:
        yield f"{run.place} did not converge: its estimates are not those of the optimum."
    for finding in run.summary["findings"]:
        if finding["code"] == "separation" and run.model == "logistic":
            yield (
                f"The classes of {some(f'`{name}`' for name in finding['names'])} are separated: probabilities there "
                "are as extreme as the fit happened to go."
            )
        if intervals and finding["code"] in DOUBTFUL:
            yield finding["message"]


def told(run: Run, reasons: Mapping[str, Tensor]) -> Iterator[str]:
    """How many cells are empty, or not finite, and why."""
    for reason, cells in reasons.items():
        if bool(cells.any()):
            names = [name for name, hit in zip(run.responses, cells.any(0).tolist(), strict=True) if hit]
            yield f"{counted(int(cells.sum()), 'cell')} {reason}: {some(names)}."
