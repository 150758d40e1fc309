"""What is wrong with a design: levels, constant or infinite terms, and terms that follow from others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from plncli.errors import DataError, Faults, counted, some

if TYPE_CHECKING:
    import numpy as np


def faulty_levels(levels: Mapping[str, Sequence[Any] | None], n: int, table: str) -> Iterator[DataError]:
    """A DataError for each column, or C(...), of labels that has one level in the n samples kept, or one for each."""
    for name, known in levels.items():
        if known is not None and len(known) == 1:
            yield DataError(
                f"Column `{name}` of {table} has one level (`{known[0]}`) in {counted(n, 'sample')} kept, "
                f"so its effect is not estimable. Take it out of the formula."
            )
        elif known is not None and len(known) == n:
            yield DataError(
                f"Column `{name}` of {table} has a different label ({some(known, 3)}) in each of the {n} samples kept, "
                f"so its effect is not estimable. Take it out of the formula, or merge its levels."
            )


def constant_terms(matrix: np.ndarray, terms: Sequence[str], table: str) -> Iterator[DataError]:
    """A DataError for each term with one value throughout, beside an intercept."""
    lowest, highest = matrix.min(axis=0), matrix.max(axis=0)
    for j, term in enumerate(terms):
        if term != "Intercept" and lowest[j] == highest[j] != 0 and len(matrix) > 1:
            yield DataError(
                f"The term `{term}` (from {table}) is {lowest[j]:.15g} in all {len(matrix)} samples, so "
                "it is collinear with the intercept. "
                f"Take it out of the formula, or the intercept with `~ 0 + ...`."
            )


def check_rank_of_rest(terms: tuple[str, ...], matrix: np.ndarray, faults: Faults) -> None:
    """Keep the fault of terms that depend on each other, beside those (n×d) that have one of their own."""
    import numpy as np
    import torch

    from plncli.numerics.linalg import orthonormal_basis

    varied = np.isfinite(matrix).all(axis=0) & (matrix.min(axis=0) < matrix.max(axis=0))
    sound = [j for j, term in enumerate(terms) if varied[j] or term == "Intercept"]
    if 0 < len(sound) <= len(matrix):  # more of them come of a label for each sample
        X = torch.from_numpy(matrix[:, sound])
        faults.attempt(lambda: orthonormal_basis(X, torch.ones_like(X[:, 0]), [terms[j] for j in sound]), None)


def infinite_terms(matrix: np.ndarray, terms: Sequence[str], samples: Sequence[str]) -> Iterator[DataError]:
    """A DataError for each term that is not finite, naming the samples; matrix: n×d."""
    import numpy as np

    finite = np.isfinite(matrix)
    if finite.all():
        return
    for j in np.flatnonzero(~finite.all(axis=0)).tolist():
        rows = np.flatnonzero(~finite[:, j]).tolist()
        yield DataError(
            f"The term `{terms[j]}` is not a finite number in {counted(len(rows), 'sample')} "
            f"({some(samples[i] for i in rows)}): "
            "infinite or missing values, or the logarithm of a number that is not positive. Correct or leave out "
            "these samples."
        )
