"""What a fit would see of its tables: sizes, sparsity, depths, levels of factors, and which offsets there are.

Facts of data that `inputs.examine` has read; it keeps the faults.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from plncli.dataset import Dataset
from plncli.errors import DataError
from plncli.inputs.abundances.counts import estimate_size_factors
from plncli.inputs.blocks.survey import Survey
from plncli.inputs.designs.encoding import level_sizes
from plncli.inputs.designs.kinds import levels_of
from plncli.inputs.loading import Beside, Inputs
from plncli.models.spec import CLASSES, COUNTS
from plncli.names import OFFSET_METHODS
from plncli.numerics.rows import extremes, over_parts
from plncli.numerics.size_factors import spread
from plncli.settings import FitConfig
from plncli.sparse import column_counts, column_totals, place_of_largest, row_totals, values_of

PAIRWISE = 2e8
"""Comparisons (n²p) beyond which gmpr, which holds each sample against all others, is not tried: about 3 s."""


@dataclass(frozen=True)
class CountFacts:
    """A table of counts, n×p: its zeros, its depths (total counts of samples), and how often features are seen.

    missing cells are left out of all of it. share_zeros: of the observed counts. fold: the largest depth over the
    smallest that is not 0. below_5, below_10: features seen in fewer than that percentage of the samples;
    in_one_sample: seen in a single one; singletons: counted once in all; empty_*: without any count.
    """

    zeros: int
    share_zeros: float
    missing: int
    largest: float
    largest_sample: str
    largest_feature: str
    depth_min: float
    depth_min_sample: str
    depth_median: float
    depth_max: float
    depth_max_sample: str
    fold: float
    below_5: int
    below_10: int
    in_one_sample: int
    singletons: int
    empty_samples: int
    empty_features: int


@dataclass(frozen=True)
class OffsetMethod:
    """Whether --offset-method is defined for the table (else `reason` says why not), and what comes of it.

    fold: largest size factor over smallest; departure: the most that a sample moves against its total, as a factor.
    Both None where it is not defined, or was not tried.
    """

    method: str
    defined: bool | None
    fold: float | None = None
    departure: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class NumberFacts:
    """A numeric covariate in the samples that are used: range, different values, and whether all are whole.

    distinct and whole are None of many values in rows that stay in their file.
    """

    min: float
    max: float
    distinct: int | None
    whole: bool | None


@dataclass(frozen=True)
class Facts:
    """Sizes and terms of the data; levels: samples of each level, by factor; the rest is None for other models.

    numbers: of each covariate that is numeric; missing: entries of each covariate, before samples went for them.
    n_covariates and terms are None where the formula cannot be used.
    classes: samples of each class, by response (logistic). responses: mean, standard deviation, smallest and largest,
    by response (linear). offset: how it is given, empty where it is not.
    """

    n_samples: int
    n_features: int
    n_covariates: int | None
    terms: tuple[str, ...] | None
    levels: Mapping[str, Mapping[str, int]]
    offset: str
    numbers: Mapping[str, NumberFacts] = field(default_factory=dict)
    missing: Mapping[str, int] = field(default_factory=dict)
    counts: CountFacts | None = None
    classes: Mapping[str, Mapping[str, int]] | None = None
    responses: Mapping[str, Mapping[str, float]] | None = None
    offset_methods: tuple[OffsetMethod, ...] = ()


def facts(config: FitConfig, read: Inputs) -> Facts:
    """What there is to say of data that were read with their faults kept."""
    if read.survey is not None:
        return _of_survey(read, read.survey)
    data, beside = read.data, read.beside
    assert beside is not None
    encoding = read.design.encoding
    given = [name for name in ("exposure", "offsets", "offset_method") if getattr(config, name)]
    given += ["formula"] * bool(read.design.formula.offsets)
    found = Facts(
        data.n,
        data.p,
        data.d if beside.designed else None,
        data.terms if beside.designed else None,
        {} if encoding is None else level_sizes(encoding, beside.columns),
        ", ".join(given),
        numbers={} if beside.columns is None else dict(number_facts(beside.columns)),
        missing={name: many for name, many in beside.missing.items() if many},
    )
    if config.spec.response is COUNTS:
        return replace(found, counts=count_facts(data), offset_methods=() if given else offset_methods(config, beside))
    if config.spec.response is CLASSES:
        ones = data.Y.sum(0).tolist()
        sizes = zip(data.responses, read.classes, ones, strict=True)
        return replace(found, classes={name: {c[0]: int(data.n - k), c[1]: int(k)} for name, c, k in sizes})
    parts = (data.Y.mean(0), data.Y.std(0), data.Y.amin(0), data.Y.amax(0))
    rows = zip(data.responses, *(part.tolist() for part in parts), strict=True)
    return replace(
        found, responses={name: dict(zip(("mean", "sd", "min", "max"), row, strict=True)) for name, *row in rows}
    )


def _of_survey(read: Inputs, survey: Survey) -> Facts:
    """The same of a table whose rows stay in their file, without what would take all of them."""
    data, design = read.data, read.design
    levels, numbers = {}, {}
    for name, column in survey.columns.items():
        if name in data.responses:
            continue
        if column.labels:
            levels[name] = {str(level): many for level, many in sorted((column.sizes or {}).items())}
            continue
        values = None if column.sizes is None else column.values
        low, high = (column.low, column.high) if values is None else (float(values[0]), float(values[-1]))
        whole = None if values is None else all(value == int(value) for value in values)
        numbers[name] = NumberFacts(low, high, None if values is None else len(values), whole)
    offset = "formula" if design.formula.offsets else ""
    found = Facts(data.n, data.p, data.d, data.terms, levels, offset, numbers)
    (sums,) = over_parts(lambda part: (part.Y.sum(0),), data, "Y")
    if read.classes:
        sizes = zip(data.responses, read.classes, sums.tolist(), strict=True)
        return replace(found, classes={name: {c[0]: int(data.n - k), c[1]: int(k)} for name, c, k in sizes})
    mean = sums / data.n
    (squares,) = over_parts(lambda part: ((part.Y - mean).square().sum(0),), data, "Y")
    ends = extremes(lambda part: part.Y, data, "Y")
    parts = (mean, (squares / (data.n - 1)).sqrt(), *ends)
    rows = zip(data.responses, *(part.tolist() for part in parts), strict=True)
    return replace(
        found, responses={name: dict(zip(("mean", "sd", "min", "max"), row, strict=True)) for name, *row in rows}
    )


def number_facts(columns: Any) -> Iterator[tuple[str, NumberFacts]]:
    """Of each column of a data frame that holds numbers, without missing ones."""
    for name in columns.columns:
        if levels_of(columns[name]) is None and len(columns):
            values = columns[name].to_numpy(dtype=float)
            whole = bool((values == values.round()).all())
            yield str(name), NumberFacts(float(values.min()), float(values.max()), len(set(values.tolist())), whole)


def count_facts(data: Dataset) -> CountFacts:
    """Of a table of counts, a sample or feature without any observed count in it or not."""
    Y, depth = data.Y, row_totals(data.Y)
    if data.sparse:
        known, seen, total = torch.full((data.p,), data.n), column_counts(Y).long(), column_totals(Y)
    else:
        K = torch.ones_like(Y, dtype=torch.bool) if data.K is None else data.K
        known, seen, total = K.sum(0), (Y > 0).sum(0), Y.sum(0)
    observed = int(known.sum())
    row, column = place_of_largest(Y)
    between = spread(depth)
    share = seen / known.clamp(min=1)
    zeros = observed - int(seen.sum())
    return CountFacts(
        zeros=zeros,
        share_zeros=zeros / max(observed, 1),
        missing=data.n * data.p - observed,
        largest=float(values_of(Y).max()),
        largest_sample=data.samples[row],
        largest_feature=data.responses[column],
        depth_min=float(depth.min()),
        depth_min_sample=data.samples[int(depth.argmin())],
        depth_median=float(depth.quantile(0.5)),
        depth_max=float(depth.max()),
        depth_max_sample=data.samples[int(depth.argmax())],
        fold=between.fold,
        below_5=int((share < 0.05).sum()),
        below_10=int((share < 0.1).sum()),
        in_one_sample=int((seen == 1).sum()),
        singletons=int((total == 1).sum()),
        empty_samples=int((depth == 0).sum()),
        empty_features=int((total == 0).sum()),
    )


def offset_methods(config: FitConfig, beside: Beside) -> tuple[OffsetMethod, ...]:
    """Each --offset-method tried on the counts, against their totals; none where the counts have faults."""
    counts = beside.counts
    if counts is None or not counts.sound:
        return ()
    depths = torch.as_tensor(counts.every.sum(axis=1)).double().log()
    found = []
    for method in OFFSET_METHODS:
        if method == "gmpr" and len(depths) ** 2 * len(counts.every_feature) > PAIRWISE:
            found.append(OffsetMethod(method, None, reason="not tried: it takes long on a table of this size"))
            continue
        try:
            made = estimate_size_factors(beside.tables, counts, config.but(offset_method=method), None)
        except DataError as error:
            found.append(OffsetMethod(method, defined=False, reason=str(error)))
            continue
        assert made is not None  # the counts are sound
        logs = torch.from_numpy(made.offset[:, 0])
        ratio = logs - depths
        fold, departure = (logs.max() - logs.min()).exp(), (ratio - ratio.mean()).abs().max().exp()
        found.append(OffsetMethod(method, True, float(fold), float(departure)))
    return tuple(found)
