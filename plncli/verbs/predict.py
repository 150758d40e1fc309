"""`predict`: predictions of a finished fit for new samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plncli.console import Console
from plncli.errors import UsageError, counted, some
from plncli.verbs.tables import Destination, sample_rows

if TYPE_CHECKING:
    from torch import Tensor

    from plncli.models.abilities import Prediction
    from plncli.runs.new_data import NewData, Sources
    from plncli.runs.run import Run

INTERVALS = ("confidence", "prediction")
EXPECTED = "expected-counts"
DOUBTFUL = ("naive-standard-errors", "few-samples")
"""Findings of a fit that its intervals inherit."""
SAYS = {
    "marginal": "Marginal counts: expected given the covariates alone",
    "fitted": "Fitted counts: expected given the counts of these samples",
    "conditional": "Conditional counts: expected of the other features, given those observed",
    "probability": "Probabilities of the second class",
    "mean": "Means",
}


def predict(
    run: str,
    sources: Sources,
    to: Destination,
    say: Console,
    *,
    interval: Sequence[str],
    level: float | None,
    wide: str | None,
) -> int:
    """Read a run, predict, and deliver the table; one that is large by blocks."""
    from plncli.runs.run import read_run
    from plncli.verbs.samples import stored

    finished = read_run(Path(run))
    if table := stored.stored(finished, sources, to):
        wanted, reach = _checked(finished, interval, level)
        stored.predict(finished, table, sources, to, say, wanted, reach, wide)
        return 0
    to.deliver(predicted(finished, sources, say, interval, level, wide))
    return 0


def predicted(
    run: Run, sources: Sources, say: Console, interval: Sequence[str], level: float | None, wide: str | None
) -> dict[str, Any]:
    """The table of predictions for new samples, by column."""
    from plncli.runs.new_data import load

    wanted, reach = _checked(run, interval, level)
    data = load(run, sources)
    for sentence in data.warnings:
        say.warn(sentence)
    for note in data.notes:
        say.note(f"note: {note}")
    found = predictions(run, data, wanted, reach)
    columns = shaped(run, data, found, wide)
    report(say, run, len(data.samples), found, wanted)
    return columns


def _checked(run: Run, interval: Sequence[str], level: float | None) -> tuple[tuple[str, ...], float]:
    """The intervals that are wanted, and their level."""
    wanted = _intervals(interval)
    if level is not None and not 0.0 < level < 1.0:
        raise UsageError(f"--level must be between 0 and 1, not {level:g}.")
    return wanted, level or run.summary.get("level") or 0.95


def _intervals(names: Sequence[str]) -> tuple[str, ...]:
    for name in names:
        if name not in INTERVALS:
            raise UsageError(f"--interval must be confidence or prediction, not {name}.")
    return tuple(names)


def predictions(run: Run, data: NewData, intervals: tuple[str, ...], level: float) -> Prediction:
    """The predictions of a run for new samples."""
    from plncli import runtime
    from plncli.models import fitted

    runtime.use_threads(len(data.samples), len(run.responses), len(run.terms), "auto")
    known = {"Y": data.Y, "K": data.K, "observed": data.observed, "X0": data.X0}
    with runtime.memory_guard():
        return fitted.predict(run.fitted, data.X, data.O, **known, intervals=intervals, level=level)


def shaped(run: Run, data: NewData, found: Prediction, wide: str | None) -> dict[str, Any]:
    """The table of predictions by column, or one of its columns as samples × responses."""
    columns = _columns(run, data, found)
    if wide is not None and wide not in list(columns)[2:]:
        raise UsageError(f"There is no column `{wide}` to put --wide; there are {some(list(columns)[2:], 12)}.")
    return columns if wide is None else _widened(data, found, columns[wide])


def _columns(run: Run, data: NewData, found: Prediction) -> dict[str, Any]:
    """A row for each sample and response; classes beside the values that tell them."""
    from plncli.models.abilities import Classifying

    columns: dict[str, Any] = {
        "sample": [sample for sample in data.samples for _ in found.responses],
        "response": list(found.responses) * len(data.samples),
    }
    fitted = run.fitted
    for name, values in found.columns.items():
        columns[name] = values.reshape(-1).numpy()
        if isinstance(fitted, Classifying) and name == fitted.classified:
            codes = fitted.classify(found).tolist()
            columns["class"] = [labels[code] for row in codes for labels, code in zip(run.classes, row, strict=True)]
    return columns


def _widened(data: NewData, found: Prediction, values: Any) -> dict[str, Any]:
    """One of the columns as samples × responses."""
    p = len(found.responses)
    return sample_rows(data.samples, {name: values[k::p] for k, name in enumerate(found.responses)})


def report(say: Console, run: Run, samples: int, found: Prediction, intervals: tuple[str, ...]) -> None:
    """What was predicted of how many samples, what to mind, and why cells are empty."""
    for sentence in warnings(run, intervals):
        say.warn(sentence)
    if "marginal" in found.columns:
        for sentence in beyond_sense(run):
            say.warn(sentence)
    noun = run.spec.noun
    what = next(name for name in (*SAYS, *found.columns) if name in found.columns)
    say.note(f"{SAYS.get(what, what)}; {counted(samples, 'sample')} × {counted(len(found.responses), noun)}.")
    if "confidence" in intervals and run.spec.latent:
        say.note("note: The confidence intervals are those of the coefficients; they take Sigma as known.")
    if "prediction" in intervals and what == "marginal" and not run.inference:
        what = "coefficients" if run.has_coefficients else "mean"
        say.note(f"note: The prediction intervals take the {what} as known, for the fit has no standard errors.")
    for sentence in told(run, found.reasons):
        say.note(f"note: {sentence}")


def warnings(run: Run, intervals: tuple[str, ...] = ()) -> Iterator[str]:
    """What makes a fit's predictions doubtful."""
    if not run.done:
        yield f"{run.place} did not converge: its estimates are not those of the optimum."
    for finding in run.summary["findings"]:
        doubt = run.spec.words.doubts.get(finding["code"], "")
        if doubt:
            yield doubt.format(names=some(f"`{name}`" for name in finding["names"]))
        if intervals and finding["code"] in DOUBTFUL:
            yield finding["message"]


def beyond_sense(run: Run) -> Iterator[str]:
    """What makes expected values given covariates alone meaningless, and draws with them."""
    for finding in run.summary["findings"]:
        if finding["code"] == EXPECTED:
            yield f"{finding['message']} {finding['remedy']}"


def told(run: Run, reasons: Mapping[str, Tensor]) -> Iterator[str]:
    """How many cells are empty, or not finite, and why; reasons: n×p, whether cells are, or how many of several."""
    for reason, cells in reasons.items():
        if bool(cells.any()):
            names = [name for name, hit in zip(run.responses, (cells > 0).any(0).tolist(), strict=True) if hit]
            yield f"{counted(int(cells.sum()), 'cell')} {reason}: {some(names)}."
