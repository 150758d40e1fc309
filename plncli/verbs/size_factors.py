"""`offsets`: size factors estimated from a table of counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from plncli.console import Console
from plncli.errors import DataError, UsageError, nearest
from plncli.names import OFFSET_METHODS, OFFSET_SCALES
from plncli.verbs.tables import Destination, sample_rows

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from plncli.runs.run import Run
    from plncli.tables.sparse import CSR
    from plncli.tables.table import Table


def offsets(
    counts: str,
    methods: list[str] | None,
    scale: str | None,
    by_block: str | None,
    run: str | None,
    to: Destination,
    say: Console,
    *,
    log: bool,
    transpose: bool | None,
    sample_names: bool,
    round: bool,
) -> int:
    """Read a table of counts, estimate its size factors, by themselves or relative to a run's, and deliver them."""
    from plncli.inputs.abundances.rounding import rounded
    from plncli.inputs.layout.orientation import counts_of
    from plncli.runs.run import read_run
    from plncli.tables.reading import read_table

    _check(methods, scale, by_block, run)
    fitted = read_run(Path(run)) if run else None
    missing = fitted.settings.get("na_values", ()) if fitted else ()
    table = read_table(counts, "counts", sample_names=sample_names, na_values=missing)
    blocks = read_table(by_block, "offset-blocks") if by_block else None
    others = {} if blocks is None else {"offset-blocks": blocks}
    table = counts_of(table, others, transpose, named=sample_names, known=() if fitted is None else features_of(fitted))
    table = rounded(table) if round else table
    if fitted is not None:
        found = against(fitted, table, say)
    else:
        found = estimated(table, methods, scale or "counts", blocks, say)
    to.deliver(columns(found, log))
    return 0


class Found(NamedTuple):
    """Samples, and their log size factors (n,) by method; by feature where there are blocks."""

    samples: tuple[str, ...]
    log_factors: Mapping[str, Tensor]


def columns(found: Found, log: bool) -> dict[str, Any]:
    """Size factors, or their logarithms, in twelve digits: a total that went through its logarithm is whole again."""
    import numpy as np

    def rounded(values: Tensor) -> Any:
        return np.array([float(f"{value:.12g}") for value in (values if log else values.exp()).tolist()])

    return sample_rows(found.samples, {name: rounded(values) for name, values in found.log_factors.items()})


def _check(methods: list[str] | None, scale: str | None, blocks: str | None, run: str | None) -> None:
    """UsageError for names that do not exist, and options that do not go together."""
    for flag, given, known in (
        ("--offset-method", methods or (), OFFSET_METHODS),
        ("--offset-scale", (scale,) if scale else (), OFFSET_SCALES),
    ):
        for name in given:
            if name not in known:
                raise UsageError(f"{flag} is `{name}`, but must be one of {', '.join(known)}.{nearest(name, known)}")
    if run and (methods or scale or blocks):
        raise UsageError(
            "--from takes method, scale and blocks of the fit; leave out --offset-method, --offset-scale and "
            "--offset-blocks."
        )
    if blocks and len(methods or ()) != 1:
        raise UsageError("--offset-blocks makes a column for each feature: give one --offset-method.")


def estimated(table: Table, methods: Sequence[str] | None, scale: str, by_block: Table | None, say: Console) -> Found:
    """Size factors of a table of counts, by the given methods, or all that are defined for it."""
    import torch

    from plncli.inputs.abundances.size_factors import blocks_of, size_factors_of

    _report(say, table)
    Y = _complete(table)
    blocks = blocks_of(by_block, table.columns)
    log_factors: dict[str, Tensor] = {}
    for method in methods or OFFSET_METHODS:
        try:
            found = size_factors_of(table, Y, None, table.columns, method, scale, blocks)
        except DataError as error:
            if methods or method == OFFSET_METHODS[0]:  # where total is not defined, none is
                raise
            say.note(f"note: {error}")
            continue
        say.note(found.told)
        offset = torch.from_numpy(found.offset)
        by_feature = zip(table.columns, offset.expand(-1, len(table.columns)).T, strict=True)
        log_factors |= dict(by_feature) if by_block else {method: offset[:, 0]}
    return Found(table.samples, log_factors)


def features_of(run: Run) -> tuple[str, ...]:
    """The features by which a fit has estimated size factors."""
    from plncli.numerics.size_factors import SizeFactors

    learnt = run.design.get("size_factors")
    return (learnt and SizeFactors.from_json(learnt).features) or run.responses


def against(run: Run, table: Table, say: Console) -> Found:
    """Size factors of new samples, relative to those of a fit."""
    import torch

    from plncli.inputs.matching import Tables
    from plncli.inputs.offsets import match_features
    from plncli.numerics.size_factors import SizeFactors
    from plncli.tables.sparse import dense

    learnt = run.design.get("size_factors")
    if learnt is None:
        raise UsageError(
            f"{run.place} was fitted without --offset-method, so it has no size factors. Leave out --from."
        )
    factors = SizeFactors.from_json(learnt)
    _report(say, table)
    features = features_of(run)
    table, tables = match_features(table, features, Tables({"counts": table}, "counts"))
    for note in tables.notes:
        say.note(f"note: {note}")
    log_factors = factors.log_factors(torch.from_numpy(dense(_complete(table))), table.samples)
    if len(factors.blocks) == 1:
        return Found(table.samples, {factors.method: log_factors[:, 0]})
    return Found(table.samples, dict(zip(features, factors.spread_out(log_factors).T, strict=True)))


def _complete(table: Table) -> np.ndarray | CSR:
    """Counts (n×p, an array or sparse), none of which may be missing."""
    from plncli.inputs.abundances.counts import count_cells
    from plncli.tables.numbers import refuse

    Y, missing = count_cells(table)
    refuse(table, missing, "missing entry", "A size factor cannot be estimated without it: leave the sample out.")
    return Y


def _report(say: Console, table: Table) -> None:
    """What there is to say of a table of counts."""
    for note in table.notes:
        say.note(f"note: {note}")
