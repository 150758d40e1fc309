"""Why columns of a design follow from others: combinations of levels that no sample has, factors within factors."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product
from typing import TYPE_CHECKING

from plncli.errors import DataError, counted, some
from plncli.inference.hypotheses import factors_of
from plncli.inputs.designs.encoding import Encoding

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

MOST_CELLS = 100_000
"""Combinations of levels beyond which no empty ones are looked for."""


def dependent(matrix: np.ndarray) -> list[tuple[int, tuple[int, ...]]]:
    """Columns of a matrix (n×d) that follow from earlier ones, each with those that it follows from."""
    import torch

    from plncli.numerics.linalg import clearly_independent, dependent_columns

    X = torch.from_numpy(matrix)
    return [] if clearly_independent(X) else dependent_columns(X)


def check_independent(encoding: Encoding, matrix: np.ndarray, frame: pd.DataFrame) -> None:
    """DataError for columns that follow from others, with the combinations of levels that no sample has."""
    from plncli.numerics.linalg import describe_dependence

    found = dependent(matrix)
    if not found:
        return
    n, d = matrix.shape
    names = [encoding.terms[k] for k, _ in found]
    it = "it" if len(names) == 1 else "them"
    empty = [] if d > n else empty_combinations(encoding, frame)
    if empty:
        factors = ", ".join(empty[-1][0])
        raise DataError(
            f"{described(empty)}, so {counted(len(names), 'coefficient')} cannot be estimated: "
            f"{some(f'`{name}`' for name in names)}. Leave {it} empty by --aliased drop, or make one factor of the "
            f"combinations that there are: `~ interaction({factors})`."
        )
    told = describe_dependence(found, n, encoding.terms)
    if d > n:
        raise DataError(told)
    within = [f"each `{inner}` has one `{outer}`" for inner, outer in nested(encoding, frame, [k for k, _ in found])]
    why = f" In these samples {' and '.join(within[:3])}, so their effects cannot be told apart." if within else ""
    raise DataError(f"{told}{why} --aliased drop leaves {it} empty, as R does.")


def nested(encoding: Encoding, frame: pd.DataFrame, places: Sequence[int]) -> list[tuple[str, str]]:
    """Factors that have columns at these places, each with another whose level each of its levels decides."""
    groups = encoding.state["columns"]
    alone = [factor for factor in encoding.factors if factor in groups]
    labels = {factor: encoding.labels(factor, frame) for factor in alone}

    def decides(inner: str, outer: str) -> bool:
        return len(set(zip(labels[inner], labels[outer], strict=True))) == len(set(labels[inner]))

    inside = [factor for factor in alone if set(groups[factor]) & set(places)]
    return [(inner, outer) for inner in inside for outer in alone if outer != inner and decides(inner, outer)]


Combination = tuple[tuple[str, ...], tuple[str, ...]]
"""Factors, and a level of each."""


def described(empty: Sequence[Combination]) -> str:
    """Combinations of levels that no sample has, as the beginning of a sentence."""
    told = [" and ".join(f"{f} {level}" for f, level in zip(*one, strict=True)) for one in empty[:3]]
    more = f" (nor {counted(len(empty) - 3, 'other combination')})" if len(empty) > 3 else ""
    return f"No sample has {', or '.join(told)}{more}"


def empty_combinations(encoding: Encoding, frame: pd.DataFrame) -> list[Combination]:
    """Combinations of levels of factors that interact, which no sample has; not those with an empty part."""
    found: list[Combination] = []
    known = encoding.factors
    sets = {tuple(factor for factor in factors_of(term) if factor in known) for term in encoding.state["columns"]}
    parts = {part for one in sets for size in range(2, len(one) + 1) for part in combinations(one, size)}
    codes = {factor: encoding.labels(factor, frame) for part in parts for factor in part}
    for part in sorted(parts, key=lambda part: (len(part), part)):
        levels = [list(map(str, known[factor])) for factor in part]
        size = 1
        for one in levels:
            size *= len(one)
        if size > MOST_CELLS:
            continue
        there = set(zip(*(codes[factor] for factor in part), strict=True))
        for cell in product(*levels):
            if cell not in there and not any(_within(one, (part, cell)) for one in found):
                found.append((part, cell))
    return found


def _within(small: Combination, large: Combination) -> bool:
    return set(zip(*small, strict=True)) <= set(zip(*large, strict=True))


def left_empty(encoding: Encoding, frame: pd.DataFrame) -> str:
    """What was left out of a design, and why, as a sentence."""
    assert encoding.aliased is not None
    names, empty = encoding.aliased.names, empty_combinations(encoding, frame)
    why = f". {described(empty)}" if empty else ""
    follow = "it follows" if len(names) == 1 else "they follow"
    return (
        f"{counted(len(names), 'coefficient')} left empty (--aliased drop), for {follow} from others in the design: "
        f"{some(f'`{name}`' for name in names)}{why}."
    )
