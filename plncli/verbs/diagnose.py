"""`diagnose`: how good the bound of a finished fit is, and how well its model fits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plncli import console, layout
from plncli.console import Console
from plncli.errors import UsageError, counted, short
from plncli.layout import Grid, Sheet
from plncli.models import MODELS
from plncli.names import TABLE_FORMATS

if TYPE_CHECKING:
    from plncli.dataset import Dataset
    from plncli.runs.run import Run
    from plncli.verbs.diagnosis import Diagnosis

FEWEST = 25
LONG = 1e11
"""Samples × features² × draws that take about half a minute."""


@dataclass(frozen=True)
class Tables:
    """The tables of a diagnosis: the folder they go to, if any, and how."""

    out: str | None
    format: str
    residuals: bool
    overwrite: bool

    def __post_init__(self) -> None:
        """UsageError for what does not go together."""
        if self.format not in TABLE_FORMATS:
            raise UsageError(f"--format must be one of {', '.join(TABLE_FORMATS)}, not `{self.format}`.")
        if self.out is None and (self.residuals or self.overwrite):
            raise UsageError(f"{'--residuals' if self.residuals else '--overwrite'} goes with --out DIR.")


def diagnose(
    run: str, moved: Mapping[str, str], tables: Tables, say: Console, *, draws: int, seed: int, json: bool
) -> int:
    """Read a run and the tables that it was fitted to, and say what is found; moved: tables that are elsewhere now."""
    check_draws(draws)

    from plncli import runtime
    from plncli.runs.run import read_run
    from plncli.runs.training_data import read_again
    from plncli.tables.target import check_target
    from plncli.tables.writing import to_json
    from plncli.verbs import diagnosis

    out = None if tables.out is None else Path(tables.out)
    if out is not None:
        check_target(out, tables.overwrite, diagnosis.WRITTEN)
    read = read_run(Path(run))
    with runtime.memory_guard():
        data = read_again(read, moved, "Give the table as it was by {} FILE").data
        found = diagnosed(read, data, draws, seed, say)
        if out is not None:
            diagnosis.write(out, found, tables.format, residuals=tables.residuals, overwrite=tables.overwrite)
    console.out(to_json(found.facts) if json else "\n".join(lines(found.facts)))
    for sentence in warnings(found.facts) if json else ():
        say.warn(sentence)
    if tables.out is not None:
        say.note(f"The tables are in {tables.out}.")
    return 0


def check_draws(draws: int) -> None:
    """UsageError for numbers of draws that are too few to tell how good they are."""
    if draws < 0 or 0 < draws < FEWEST:
        raise UsageError(f"--draws must be 0, or {FEWEST} or more, not {draws}: fewer do not tell how good they are.")


def diagnosed(run: Run, data: Dataset, draws: int, seed: int, say: Console) -> Diagnosis:
    """What there is to find of a fit, with the data that it was made to."""
    import torch

    from plncli import runtime
    from plncli.verbs import diagnosis

    runtime.use_threads(data.n, data.p, data.d, "auto")
    if run.spec.latent and run.fitted.correlated and data.n * data.p**2 * draws > LONG:
        say.note(f"Drawing {draws} times for each sample may take minutes; --draws 0 leaves the likelihood out.")
    return diagnosis.diagnose(run, data, draws, torch.Generator().manual_seed(seed))


def warnings(facts: Mapping[str, Any]) -> Iterator[str]:
    """What must not be missed of it, where the checks are not read."""
    from plncli.models.findings import LOOK, Check

    yield from (check.line for check in map(Check.from_json, facts["checks"]) if check.state == LOOK)


def lines(facts: Mapping[str, Any]) -> list[str]:
    """What was found, for a reader."""
    return layout.lines(sheet(facts), 12)


def sheet(facts: Mapping[str, Any]) -> Sheet:
    """What is told of a diagnosis."""
    from plncli.models.findings import Check

    noun = MODELS[facts["model"]].noun
    size = f"{counted(facts['n_samples'], 'sample')} × {counted(facts['n_features'], noun)}"
    worst = ((f"{noun}s", facts["worst_features"]), ("samples", facts["worst_samples"]))
    return Sheet(
        facts["run"],
        [("model", f"{MODELS[facts['model']].title}, {size}"), *_facts(facts, noun)],
        [Grid(f"The {title} that fit worst", _rows(rows)) for title, rows in worst if rows],
        [Check.from_json(check) for check in facts["checks"]],
    )


def _facts(facts: Mapping[str, Any], noun: str) -> Iterator[tuple[str, str]]:
    if "elbo" in facts:
        yield "elbo", f"{facts['elbo']:.2f}"
    if facts.get("loglik_by"):
        error = f" ± {facts['loglik_se']:.2g}" if facts["loglik_se"] else ""
        yield "loglik", f"{facts['loglik']:.2f}{error}, by {facts['loglik_by']}"
        by_sample = facts["gap_by_sample"]
        yield (
            "gap",
            f"the bound lies {facts['gap']:.2f} nats below it: {by_sample['median']:.2g} a sample (median), "
            f"at most {by_sample['largest']:.2g}",
        )
    if "khat" in facts:
        khat = facts["khat"]
        yield (
            "k",
            f"of the largest weights: median {khat['median']:.2f}, largest {khat['largest']:.2f}; above 0.7 in "
            f"{khat['unreliable']} of {counted(facts['n_samples'], 'sample')}",
        )
    if "zeros" in facts:
        zeros = facts["zeros"]
        structural = f", {100 * zeros['structural']:.2f} % structural" if "structural" in zeros else ""
        yield (
            "zeros",
            f"{100 * zeros['share']:.2f} % of the counts, {100 * zeros['expected']:.2f} % expected{structural}",
        )
    if "residuals" in facts:
        found = facts["residuals"]
        beyond, expected = (100 * found[name] for name in ("beyond_2", "expected_beyond_2"))
        spread = f"mean {found['mean']:.3f}, standard deviation {found['sd']:.3f}"
        yield "residuals", f"{spread}; {beyond:.2f} % beyond ±2 ({expected:.2f} % expected)"
        yield "poor fit", f"{facts['poor']} of {counted(facts['n_features'], noun)} (Kolmogorov-Smirnov, q < 0.05)"
    else:
        yield "poor fit", f"{facts['poor']} of {counted(facts['n_features'], noun)} (Hosmer-Lemeshow, q < 0.05)"


def _rows(rows: list[dict[str, Any]]) -> list[list[str]]:
    def cell(value: Any) -> str:
        return short(value, 28) if isinstance(value, str) else f"{value:.3g}"

    return [list(rows[0]), *([cell(value) for value in row.values()] for row in rows)]
