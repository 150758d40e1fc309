"""`test`: Wald tests of terms, of equal levels, and of contrasts, in every response of a finished fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from plncli.console import Console
from plncli.errors import DataError, UsageError, counted, some
from plncli.names import SE_CUT_SHORT
from plncli.verbs.tables import Destination

if TYPE_CHECKING:
    from plncli.inference.hypotheses import Hypothesis, Terms
    from plncli.inference.wald import Wald
    from plncli.runs.run import Run

SIGNIFICANT = 0.05
DOUBTFUL = ("naive-standard-errors", "few-samples")
"""Findings of a fit that its tests inherit."""
NO_ERRORS = ("no-standard-errors", SE_CUT_SHORT)
"""Codes of the findings that say why there are none."""


def test(
    run: str,
    to: Destination,
    say: Console,
    *,
    terms: Sequence[str],
    equal: Sequence[str],
    contrasts: Sequence[str],
    level: float | None,
) -> int:
    """Read a run, test, and deliver the table."""
    from plncli.runs.run import read_run

    to.deliver(tested(read_run(Path(run)), say, terms, equal, contrasts, level))
    return 0


def tested(
    run: Run, say: Console, terms: Sequence[str], equal: Sequence[str], contrasts: Sequence[str], level: float | None
) -> dict[str, Any]:
    """The table of tests, by column."""
    if level is not None and not 0.0 < level < 1.0:
        raise UsageError(f"--level must be between 0 and 1, not {level:g}.")
    wanted = _hypotheses(run.coefficients, terms, equal, contrasts, say)
    _check(run, say)
    done = list(wald_tests(run, wanted, level or run.summary["level"]))
    for hypothesis, found in done:
        _report(say, run, hypothesis, found)
    return _columns(run, done)


def wald_tests(run: Run, wanted: Sequence[Hypothesis], level: float) -> Iterator[tuple[Hypothesis, Wald]]:
    """Each hypothesis with its test in every response; `level` of the intervals. The run has standard errors."""
    import torch

    from plncli.inference.wald import contrast_test, joint_test

    B, blocks = (torch.from_numpy(tensor).double() for tensor in (run.estimates["B"], run.inference["blocks"]))
    df = float(run.inference["df"])
    for hypothesis in wanted:
        rows, values = (torch.tensor(part, dtype=torch.float64) for part in (hypothesis.rows, hypothesis.values))
        if hypothesis.contrast:
            yield hypothesis, contrast_test(B, blocks, rows[0], float(values), df, level)
        else:
            yield hypothesis, joint_test(B, blocks, rows, values, df)


def _hypotheses(
    known: Terms, terms: Sequence[str], equal: Sequence[str], contrasts: Sequence[str], say: Console
) -> list[Hypothesis]:
    """What was asked for, in the order of the help."""
    if not (terms or equal or contrasts):
        raise UsageError(
            "Nothing to test: give --terms, --equal or --contrast. "
            f"The terms of the formula: {some(known.groups, 12)}. The coefficients: {some(known.names, 12)}."
        )
    found: list[Hypothesis] = []
    for text in terms:
        found += known.all_zero() if text == "all" and "all" not in known.groups else [known.zero(text)]
        for term in known.groups if text == "all" else (text,):
            if known.has_level_means(term):
                say.note(
                    f"note: `{term}` has a mean for each level, and --terms tests whether all of them are 0; "
                    f"whether the levels differ is tested by --equal {quote(term)}."
                )
    return found + [known.equal(text) for text in equal] + [known.contrast(text) for text in contrasts]


def _check(run: Run, say: Console) -> None:
    """Refuse a fit without standard errors; say what makes them doubtful."""
    if not run.inference:
        reasons = [f["message"] for f in run.summary["findings"] if f["code"] in NO_ERRORS]
        reason = f" {reasons[0]}" if reasons else ""
        raise DataError(f"{run.place} has no standard errors, which tests need.{reason} Fit again, with --se.")
    if not run.summary["converged"]:
        say.warn(f"{run.place} did not converge: its estimates are not those of the optimum.")
    for finding in run.summary["findings"]:
        if finding["code"] in DOUBTFUL:
            say.warn(finding["message"])


def _report(say: Console, run: Run, hypothesis: Hypothesis, found: Wald) -> None:
    """How many responses differ, and why some have no test."""
    noun = run.spec.noun
    done = sum(not reason for reason in found.reasons)
    many = int((found.q_value < SIGNIFICANT).sum())
    say.note(f"{hypothesis.label}: q < {SIGNIFICANT} in {many} of {counted(done, noun)}.")
    for reason, number in Counter(filter(None, found.reasons)).items():
        names = [name for name, why in zip(run.responses, found.reasons, strict=True) if why == reason]
        say.note(f"note: {hypothesis.label}: {counted(number, noun)} without a test, for {reason}: {some(names)}.")


def _columns(run: Run, done: Sequence[tuple[Hypothesis, Wald]]) -> dict[str, Any]:
    """A row for each test and response."""
    import numpy as np

    p = len(run.responses)
    numbers = ("estimate", "std_error", "statistic", "df", "df_residual", "p_value", "q_value", "conf_low", "conf_high")
    columns: dict[str, Any] = {
        "test": [hypothesis.label for hypothesis, _ in done for _ in range(p)],
        "response": list(run.responses) * len(done),
        "kind": [found.kind for _, found in done for _ in range(p)],
    }
    return columns | {name: np.concatenate([getattr(found, name).numpy() for _, found in done]) for name in numbers}
