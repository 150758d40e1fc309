"""`test`: tests of terms, of equal levels, and of contrasts in every response of a fit, Wald's or likelihood ratios."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from plncli import console
from plncli.console import Console
from plncli.errors import DataError, UsageError, counted, short, some
from plncli.layout import aligned
from plncli.names import PROFILE, SE_CUT_SHORT
from plncli.runs.scales import Scale, scale_of, with_scale
from plncli.runs.testing import check_ratios, ratio_tests, wald_tests
from plncli.verbs.tables import Destination

if TYPE_CHECKING:
    from plncli.dataset import Dataset
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
    scale: str,
    top: int,
    lr: bool,
    moved: Mapping[str, str],
) -> int:
    """Read a run, test, and deliver the table; at a terminal, the `top` rows with the smallest p-values.

    lr: by likelihood ratios, which ask for the tables of the fit; moved: those that are elsewhere now.
    """
    from plncli import runtime
    from plncli.runs.run import read_run
    from plncli.runs.training_data import read_again

    if top < 1:
        raise UsageError(f"--top must be 1 or more, not {top}.")
    if moved and not lr:
        raise UsageError(f"--{next(iter(moved)).replace('_', '-')} goes with --lr: Wald's tests read no tables.")
    read = read_run(Path(run))

    def again() -> Dataset:
        return read_again(read, moved, "Give the table as it was by {} FILE").data

    with runtime.memory_guard():
        _ = read.coefficient_table  # DataError where there are none
        columns = tested(read, say, terms, equal, contrasts, level, scale, again if lr else None)
    if to.read:
        console.out("\n".join(lines(columns, scale_of(read.spec, scale), read.spec.noun, top)))
    else:
        to.deliver(columns)
    return 0


def tested(
    run: Run,
    say: Console,
    terms: Sequence[str],
    equal: Sequence[str],
    contrasts: Sequence[str],
    level: float | None,
    scale: str,
    again: Callable[[], Dataset] | None,
) -> dict[str, Any]:
    """The table of tests, by column; see `runs.scales`. again: the data of the fit, for tests by likelihood ratios."""
    if level is not None and not 0.0 < level < 1.0:
        raise UsageError(f"--level must be between 0 and 1, not {level:g}.")
    on = scale_of(run.spec, scale)
    wanted = _hypotheses(run.coefficients, terms, equal, contrasts, say)
    _check(run, say, again is not None)
    level = level or run.summary["level"]
    done = list(wald_tests(run, wanted, level))
    if again is not None:
        done = list(ratio_tests(run, again(), done, level))
    for hypothesis, found in done:
        _report(say, run, hypothesis, found)
    return with_scale(_columns(run, done), on)


def lines(columns: Mapping[str, Any], scale: Scale, noun: str, top: int) -> Iterator[str]:
    """The rows with the smallest p-values for a reader, without empty columns, and how many there are."""
    import numpy as np

    many = len(columns["p_value"])
    order = np.lexsort((-np.abs(columns["statistic"]), columns["p_value"]))[:top].tolist()  # nan last
    several = len(set(columns["test"])) > 1
    numbers = [*scale.columns, "statistic", "df", "p_value", "q_value"]
    shown = [name for name in numbers if name != "df" or set(columns["df"].tolist()) - {1.0}]
    shown = [name for name in shown if not np.isnan(columns[name][order]).all()]
    short_names = dict(zip(scale.columns, (scale.columns[0].replace("_", " "), "from", "to"), strict=True))
    short_names |= {"p_value": "p", "q_value": "q"}
    rows = [[*(["test"] if several else []), noun, *(short_names.get(name, name) for name in shown)]]
    for k in order:
        names = [short(columns["test"][k], 20)] if several else []
        rows.append([*names, short(columns["response"][k], 24), *(_cell(name, columns[name][k]) for name in shown)])
    yield from aligned(rows, left=len(rows[0]) - len(shown))
    left = f"{len(order)} of {counted(many, 'row')}, by p-value" if len(order) < many else counted(many, "row")
    yield f"{left}. --out FILE writes {'all' if len(order) < many else 'them'}; through a pipe they are CSV."


def _cell(name: str, value: float) -> str:
    if math.isnan(value):
        return ""
    return f"{value:.2g}" if name in ("p_value", "q_value") else f"{value:.4g}"


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


def _check(run: Run, say: Console, lr: bool) -> None:
    """Refuse a fit without standard errors, or --lr where it is not for; say what makes tests doubtful."""
    if lr:
        check_ratios(run)
    if not run.inference:
        reasons = [f["message"] for f in run.summary["findings"] if f["code"] in NO_ERRORS]
        reason = f" {reasons[0]}" if reasons else ""
        raise DataError(f"{run.place} has no standard errors, which tests need.{reason} Fit again, with --se.")
    if not run.done:
        say.warn(f"{run.place} did not converge: its estimates are not those of the optimum.")
    for finding in run.summary["findings"]:
        if finding["code"] in DOUBTFUL:
            say.warn(finding["message"])
    if run.summary["se"] == PROFILE and not lr:
        say.note(
            "note: These tests are Wald's; those in the table of coefficients are by likelihood ratios, as with --lr."
        )


def _report(say: Console, run: Run, hypothesis: Hypothesis, found: Wald) -> None:
    """How many responses differ, and why some have no test."""
    noun = run.spec.noun
    done = sum(not reason for reason in found.reasons)
    many = int((found.q_value < SIGNIFICANT).sum())
    say.note(f"{hypothesis.label}: q < {SIGNIFICANT} in {many} of {counted(done, noun)}.")
    for reason, number in Counter(filter(None, found.reasons)).items():
        names = [name for name, why in zip(run.responses, found.reasons, strict=True) if why == reason]
        say.note(f"note: {hypothesis.label}: {counted(number, noun)} without a test, for {reason}: {some(names)}.")
    for sentence in partial_tests(run, found):
        say.note(f"note: {hypothesis.label}: {sentence}")


def partial_tests(run: Run, found: Wald) -> Iterator[str]:
    """What joint tests left out, by coefficient and why, as sentences."""
    import numpy as np

    B, noun = run.coefficient_table, run.spec.noun
    cells = [(k, j) for j, left_out in enumerate(found.left_out) for k in left_out]
    lacks = {True: "without a standard error", False: "without a finite estimate"}
    why = {(k, j): lacks[bool(np.isfinite(B[k, j]))] for k, j in cells}
    for (k, reason), number in Counter((k, why[k, j]) for k, j in cells).items():
        names = [run.responses[j] for at, j in cells if at == k and why[at, j] == reason]
        yield f"tested without `{run.terms[k]}` in {counted(number, noun)}, where it is {reason}: {some(names)}."
    if cells:
        yield "`plncli compare` of this fit with one without the term tests the term as a whole."


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
    columns |= {name: np.concatenate([getattr(found, name).numpy() for _, found in done]) for name in numbers}
    left_out = [found.left_out or ((),) * p for _, found in done]
    return columns | {"left_out": [", ".join(run.terms[k] for k in one) for each in left_out for one in each]}
