"""Columns that are left out of a design, for they follow from earlier ones, and what that means for new samples.

As in R, earlier columns are kept, and later ones that follow from them are aliased: they have no estimate of their own,
and what is fitted is the same without them. A sample that no combination of those of the fit is like, such as one of a
combination of levels that no sample has, is not estimable then (Searle 1971, Linear Models, 5.4).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

ROUNDING = 1e-9
"""Share of a column that is rounding of none, both at their largest entry."""
OUTSIDE = 1e-6
"""Share of a column's size by which a new sample may leave what the columns of the fit span, and be rounding."""


@dataclass(frozen=True)
class Aliased:
    """The columns of a design that follow from those kept: places (a,) among all of them, names (a,), and shares (d×a).

    An aliased column is the kept ones (n×d) times its shares.
    """

    places: tuple[int, ...]
    names: tuple[str, ...]
    shares: tuple[tuple[float, ...], ...]

    @classmethod
    def of(cls, matrix: np.ndarray, terms: Sequence[str], places: Sequence[int]) -> Aliased:
        """Those at these places of a matrix (n×columns)."""
        import numpy as np

        kept, gone = np.delete(matrix, places, axis=1), matrix[:, list(places)]
        scales = [np.where(size > 0, size, 1.0) for size in (np.abs(part).max(axis=0) for part in (kept, gone))]
        shares = np.linalg.lstsq(kept / scales[0], gone / scales[1], rcond=None)[0]  # whatever the units
        shares[np.abs(shares) < ROUNDING] = 0.0
        shares *= scales[1] / scales[0][:, None]
        return cls(tuple(places), tuple(terms[k] for k in places), tuple(map(tuple, shares.tolist())))

    def among(self, terms: Sequence[str]) -> tuple[str, ...]:
        """The names of all columns, from those that are kept."""
        names = list(terms)
        for place, name in zip(self.places, self.names, strict=True):
            names.insert(place, name)
        return tuple(names)

    def without(self, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The kept columns of new samples (n×d), and where a sample (n,) is not estimable."""
        import numpy as np

        kept, gone = np.delete(matrix, self.places, axis=1), matrix[:, list(self.places)]
        shares = np.array(self.shares)
        size = np.abs(gone) + np.abs(kept) @ np.abs(shares)
        return np.ascontiguousarray(kept), (np.abs(gone - kept @ shares) > OUTSIDE * size).any(axis=1)

    def to_json(self) -> dict[str, Any]:
        """Everything as JSON values."""
        return {"places": list(self.places), "names": list(self.names), "shares": [list(row) for row in self.shares]}

    @classmethod
    def from_json(cls, content: Mapping[str, Any], d: int) -> Aliased:
        """The inverse of `to_json`, beside d kept columns. ValueError where it is none of its answers."""
        shares = tuple(tuple(map(float, row)) for row in content["shares"])
        made = cls(tuple(map(int, content["places"])), tuple(map(str, content["names"])), shares)
        size = len(made.places)
        sound = size == len(made.names) and all(len(row) == size for row in shares)
        if not sound or not all(map(math.isfinite, (share for row in shares for share in row))):
            raise ValueError("Aliased columns that do not fit each other.")
        if len(shares) != d:
            raise ValueError("Aliased columns of other terms.")
        if list(made.places) != sorted({*made.places} & {*range(len(shares) + size)}):
            raise ValueError("Aliased columns in places that there are not.")
        return made
