"""Size factors of samples estimated from a data frame of counts: `plncli offsets` without files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from plncli.errors import UsageError
from plncli.frames.data import Frame, by_sample, listed, one_of
from plncli.frames.messages import Sayings, speaking, tell
from plncli.inputs.abundances.rounding import rounded
from plncli.inputs.layout.orientation import counts_of
from plncli.names import OFFSET_METHODS, OFFSET_SCALES
from plncli.tables.reading import table_of
from plncli.verbs import size_factors as estimating

if TYPE_CHECKING:
    import pandas as pd


@speaking
def offsets(
    counts: Frame,
    *,
    method: str | Sequence[str] = (),
    scale: str = "counts",
    blocks: Frame = None,
    log: bool = False,
    round: bool = False,
) -> pd.DataFrame:
    """Size factors of samples from their counts, a column a method: `plncli offsets`.

    counts: n×p. method: one or several; all that are defined unless given, and a warning tells of the others. scale:
    the geometric mean of the size factors is that of the total counts ("counts"), or 1 ("proportions"). blocks: the
    block of each feature, by its name; one method then, and a column a feature. A table of one method is an `exposure`,
    with log it is `offsets`. round: counts are estimates. DataError: counts of which the size factors are not defined.
    """
    methods = listed(method)
    for name in methods:
        one_of("method", name, OFFSET_METHODS)
    one_of("scale", scale, OFFSET_SCALES)
    if blocks is not None and len(methods) != 1:
        raise UsageError("`blocks` make a column for each feature: give one `method`.")
    by_block = None if blocks is None else table_of(blocks, "blocks")
    say = Sayings()
    others = {} if by_block is None else {"offset-blocks": by_block}
    table = counts_of(table_of(counts, "counts"), others, None, named=True)
    table = rounded(table) if round else table
    found = estimating.estimated(table, methods, scale, by_block, say)
    tell(say)
    return by_sample(estimating.columns(found, log))
