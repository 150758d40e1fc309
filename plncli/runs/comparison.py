"""Runs side by side: criteria, and likelihood-ratio tests of nested models."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import Any

import numpy as np

from plncli.errors import DataError, UsageError, counted, some
from plncli.models.spec import Setting
from plncli.names import CRITERIA
from plncli.numerics.nesting import mixture_p_value, spans
from plncli.runs.network.links import EDGES
from plncli.runs.run import Run

SIGNIFICANT = 0.05
INSIDE = {"float64": 1e-6, "float32": 1e-4}
"""Share of a direction of one design that may lie outside another and be rounding, by dtype."""
PARTS = {"samples": "samples", "responses": "columns", "table": "entries of the table", "weights": "sample weights"}


@dataclass(frozen=True)
class Ratio:
    """A likelihood-ratio test: twice the gain of `large` over `small`, chi2 with `df` if `small` holds.

    edge: parameters that `small` holds at the edge of what they may be: each gains something half of the time only, so
    that the statistic is a mixture of chi2 with df − edge to df, binomial weights ½ (Self & Liang 1987, case 9, where
    they are independent).
    """

    small: str
    large: str
    statistic: float
    df: int
    p_value: float
    edge: int = 0


@dataclass(frozen=True)
class Comparison:
    """Runs side by side.

    rows: of each its name, formula, covariance and what else is told of its model, `structure` in words, `likelihood`
    (elbo or loglik), criteria and their distances, of networks edges. told: the settings among them
    that some run has set.
    """

    likelihood: str
    criteria: tuple[str, ...]
    rows: tuple[dict[str, Any], ...]
    ratios: tuple[Ratio, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    told: tuple[str, ...] = ()


def compare(runs: Sequence[Run]) -> Comparison:
    """Criteria of runs on the same data, and tests of all pairs one of which contains the other.

    UsageError for fewer than two runs, or one given twice; DataError for runs that do not compare, naming what differs.
    """
    _check(runs)
    names = [str(run.place) for run in runs]
    rows = [_row(run) for run in runs]
    criteria = runs[0].spec.criteria
    for name in criteria:
        best = min((row[name] for row in rows if row[name] is not None), default=math.nan)
        for row in rows:
            row[f"delta_{name}"] = None if row[name] is None else row[name] - best
    ratios = tuple(_ratios(runs, rows))
    told = tuple(
        setting.name
        for setting in runs[0].spec.settings
        if setting.told and any(row[setting.name] != setting.default for row in rows)
    )
    notes, warnings = _told(runs, names, ratios)
    return Comparison(runs[0].likelihood[0], criteria, tuple(rows), ratios, notes, warnings, told)


def _check(runs: Sequence[Run]) -> None:
    """UsageError or DataError unless the likelihoods of the runs can be compared."""
    if len(runs) < 2:
        raise UsageError("Two runs or more are needed to compare: plncli compare RUN RUN ...")
    files = [run.path.resolve() for run in runs]
    twice = [str(run.place) for run, file in zip(runs, files, strict=True) if files.count(file) > 1]
    if twice:
        raise UsageError(f"{twice[0]} is given twice.")
    first = runs[0]
    for run in runs:
        if run.likelihood[1] is None:
            raise DataError(f"{run.place} has no finite {run.likelihood[0]}: its fit failed. Leave it out.")
        if run.model != first.model:
            raise DataError(
                f"{first.place} is a {first.model} model and {run.place} a {run.model} model: they explain different "
                "kinds of tables, so their likelihoods do not compare."
            )
        for name, value in run.spec.penalised(run.settings).items():
            raise DataError(
                f"{run.place} was fitted with --{name} {value}: the penalty depends on the design and its units, so "
                "likelihoods with it do not compare. Compare predictions by `plncli cv`, test terms by `plncli test`."
            )
        differing = [part for part in PARTS if run.fingerprint[part] != first.fingerprint[part]]
        if differing:
            raise DataError(_differing(first, run, differing))


def _differing(a: Run, b: Run, parts: Sequence[str]) -> str:
    """What is not the same in the data of two runs."""
    told = []
    if "samples" in parts:
        n, m = a.summary["n_samples"], b.summary["n_samples"]
        told.append(f"the samples ({n} and {m})" if n != m else "the names or the order of the samples")
    if "responses" in parts:
        only = [sorted(set(x.responses) - set(y.responses)) for x, y in ((a, b), (b, a))]
        told += [f"{some(names)} only in {run.place}" for run, names in zip((a, b), only, strict=True) if names]
        if not any(only):
            told.append("the order of the columns")
    if not told:
        told = [f"the {PARTS[part]}" for part in parts]
    return (
        f"{a.place} and {b.place} were fitted to different data, so their likelihoods do not compare. "
        f"They differ in: {'; '.join(told)}. Fit both to the same samples and columns."
    )


def _row(run: Run) -> dict[str, Any]:
    name, value = run.likelihood
    summary = run.summary
    kept = {key: summary[key] for key in ("n_parameters", *run.spec.criteria, "r2", "converged", "gap")}
    kept |= {"done": run.done}
    kept |= {EDGES: summary[EDGES]} if EDGES in summary else {}
    told = {setting.name: summary.get(setting.name, setting.default) for setting in run.spec.settings if setting.told}
    titles = {setting.name: setting.title for setting in run.spec.settings}
    words = [titles[name](value) or value for name, value in run.spec.told(summary).items()]
    structure = ", ".join(filter(None, [summary["covariance"], *words]))
    about = {"run": str(run.place), "formula": run.formula, "covariance": summary["covariance"], **told}
    about |= {"structure": structure}
    return about | {name: value} | kept


def _ratios(runs: Sequence[Run], rows: Sequence[dict[str, Any]]) -> Iterator[Ratio]:
    pairs = list(zip(runs, rows, strict=True))
    for (small, a), (large, b) in permutations(pairs, 2):
        df = b["n_parameters"] - a["n_parameters"]
        if df > 0 and contains(large, small) and not _unidentified(large, small):
            statistic = 2.0 * (large.likelihood[1] - small.likelihood[1])
            edge = _edge(large, small)
            yield Ratio(a["run"], b["run"], statistic, df, mixture_p_value(max(statistic, 0.0), df, edge), edge)


def _unidentified(large: Run, small: Run) -> bool:
    """Whether parameters of `large` mean nothing where `small` holds: no distribution of the statistic is known.

    Such are all coefficients but one of a logit whose probability is 0 (Davies 1987), by the model or by its estimate.
    """
    none = any(finding["code"] == "no-structural-zeros" for finding in small.summary["findings"])
    for setting in large.spec.settings:
        values = [run.settings.get(setting.name, setting.default) for run in (large, small)]
        if (
            setting.is_formula(values[0])
            and not setting.is_formula(values[1])
            and (none or values[1] == setting.default)
        ):
            return True
    return False


def _edge(large: Run, small: Run) -> int:
    """Parameters of `large` that are at their edge in `small`."""
    sizes = {"all": 1, "response": len(large.responses), "sample": large.summary["n_samples"]}
    edge = 0
    for setting in large.spec.settings:
        values = [run.settings.get(setting.name, setting.default) for run in (large, small)]
        if values[0] in setting.boundary and values[1] not in setting.boundary:
            edge += sizes[setting.boundary[values[0]]]
    return edge


def contains(large: Run, small: Run) -> bool:
    """Whether every model that `small` may be, `large` may be: same offset, covariance and design within its own."""
    if large.fingerprint["offset"] != small.fingerprint["offset"] or not all(
        run.has_coefficients for run in (large, small)
    ):
        return False  # what training has reached is no supremum of a likelihood
    if large.model != small.model or not all(_within(large, small, setting) for setting in large.spec.settings):
        return False
    return _spanned(large, small, "X")


def _spanned(large: Run, small: Run, design: str) -> bool:
    """Whether the columns of a design of one run combine to those of the other."""
    tolerance = max(INSIDE[run.settings.get("dtype", "float64")] for run in (large, small))
    return spans(large.sketch[design], small.sketch[design], large.summary["n_samples"], tolerance)


def _within(large: Run, small: Run, setting: Setting) -> bool:
    """Whether what a setting of the model is in `small` is a case of what it is in `large`."""
    values = [run.settings.get(setting.name, setting.default) for run in (large, small)]
    if setting.chooses:
        return False
    if setting.matrix:  # given to both, it must be the same; given to one, the other has to estimate it
        given = None not in values
        return not given or np.array_equal(large.estimates["Omega"], small.estimates["Omega"])
    if values[0] == values[1]:
        return True
    if setting.is_formula(values[0]) and setting.is_formula(values[1]):
        return _spanned(large, small, "X0")
    return values[1] in setting.within.get(setting.kind_of(values[0]), ())


def disagreeing(summary: Mapping[str, Mapping[str, Any]], ratios: Sequence[Ratio]) -> Iterator[str]:
    """Why a test and criteria may point to different models, for the first pair of which they do.

    summary: of each run, by its name.
    """
    told = 0
    for ratio in ratios:
        large, small = summary[ratio.large], summary[ratio.small]
        known = [name for name in CRITERIA if None not in (large[name], small[name])]
        chosen = [name.upper() for name in known if (large[name] < small[name]) != (ratio.p_value < SIGNIFICANT)]
        if not chosen:
            continue
        told += 1
        if told == 1:
            first, second = (ratio.small, ratio.large) if ratio.p_value < SIGNIFICANT else (ratio.large, ratio.small)
            yield (
                f"{_joined(chosen)} {'favours' if len(chosen) == 1 else 'favour'} {first} and the test (p = "
                f"{ratio.p_value:.2g}) {second}: the test asks whether {counted(ratio.df, 'parameter')} more fit "
                "better than chance would, criteria whether they are worth their number, BIC the most strictly."
            )
    if told > 1:
        yield f"So it is for {counted(told - 1, 'other pair')} of runs."


def _joined(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _told(
    runs: Sequence[Run], names: Sequence[str], ratios: Sequence[Ratio]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What must be known to read the comparison: notes and warnings."""
    notes, warnings = [], []
    if len({run.fingerprint["offset"] for run in runs}) > 1:
        notes.append("The runs have different offsets: they are different models of the same data, and not nested.")
    if any(setting.chooses for setting in runs[0].spec.settings):
        notes.append("No likelihood-ratio tests: the data have chosen the edges, after which these do not hold.")
    if ratios and runs[0].likelihood[0] == "elbo":
        notes.append("The tests compare bounds of likelihoods, not likelihoods: their p-values are approximate.")
    same = [
        (str(a.place), str(b.place))
        for a, b in combinations(runs, 2)
        if a.summary["n_parameters"] == b.summary["n_parameters"] and contains(a, b) and contains(b, a)
    ]
    notes += [f"{a} and {b} are the same model, written in two ways." for a, b in same]
    tested = {name for ratio in ratios for name in (ratio.small, ratio.large)}
    at_zero = [
        name
        for name, run in zip(names, runs, strict=True)
        if name in tested and any(f["code"] == "no-extra-poisson-variance" for f in run.summary["findings"])
    ]
    if at_zero:
        notes.append(f"Variances are 0 in {some(at_zero)}: tests at such a boundary are conservative.")
    if any(ratio.edge for ratio in ratios):
        notes.append(
            "Probabilities of structural zeros are 0 in the smaller model, the edge of what they may be: its statistic "
            "is a mixture of chi2 with df less as many, ½ chi2(0) + ½ chi2(1) for each."
        )
    if any(contains(large, small) and _unidentified(large, small) for large, small in permutations(runs, 2)):
        notes.append(
            "Models whose structural zeros depend on covariates are not tested against those without any, in all "
            "features or in some: the distribution of that statistic is not known. Criteria, and cv, compare them."
        )
    notes += disagreeing({str(run.place): run.summary for run in runs}, ratios)
    lost = [ratio for ratio in ratios if ratio.statistic < 0.0]
    warnings += [
        f"{ratio.large} has a lower {runs[0].likelihood[0]} than {ratio.small}, which is nested in it: {ratio.large} "
        "is not at its optimum."
        for ratio in lost
    ]
    loose = [name for name, run in zip(names, runs, strict=True) if not run.done]
    if loose:
        many = counted(len(loose), "run")
        warnings.append(f"{many} did not converge, and would have smaller criteria at the optimum: {some(loose)}.")
    return tuple(notes), tuple(warnings)
