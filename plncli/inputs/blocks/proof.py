"""Whether the numbers of a table that is read by blocks can be fitted: what a table in memory is refused for."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from plncli.dataset import Dataset, Stored
from plncli.errors import NAMES, DataError, counted, some
from plncli.inputs.cells import HUGE
from plncli.inputs.offsets import MOST_OFFSET


class Proof:
    """What is wrong with the numbers of a data set, looked for block by block.

    table: how messages call its file; numbers: whether responses are, rather than classes.
    """

    def __init__(self, data: Stored, table: str, numbers: bool) -> None:
        self.data, self.table, self.numbers = data, table, numbers
        self.wrong: dict[tuple[str, int], tuple[int, list[int]]] = {}
        self.low = torch.full((data.d,), math.inf, dtype=data.Y.dtype, device=data.Y.device)
        self.high = -self.low
        self.bottom = torch.full((data.p,), math.inf, dtype=data.Y.dtype, device=data.Y.device)
        self.top = -self.bottom
        self.offset = torch.zeros((), dtype=data.Y.dtype, device=data.Y.device)

    def add(self, first: int, part: Dataset) -> None:
        """Look at a block of rows, from the place `first` on."""
        limits = {"X": math.inf, "O": math.inf if self.numbers else MOST_OFFSET, "Y": HUGE}
        for letter, most in limits.items():
            table = getattr(part, letter)
            bad = ~torch.isfinite(table) | (table.abs() > most)
            for k in bad.any(0).nonzero()[:, 0].tolist():
                rows = bad[:, k].nonzero()[:, 0]
                number, shown = self.wrong.get((letter, k), (0, []))
                shown = [*shown, *(first + rows[: max(0, NAMES - len(shown))]).tolist()]
                self.wrong[letter, k] = number + len(rows), shown
        self.low, self.high = torch.minimum(self.low, part.X.amin(0)), torch.maximum(self.high, part.X.amax(0))
        self.bottom, self.top = torch.minimum(self.bottom, part.Y.amin(0)), torch.maximum(self.top, part.Y.amax(0))
        self.offset = torch.maximum(self.offset, part.O.abs().max())

    def refuse(self, offsets: Sequence[str]) -> None:
        """DataError for the first of the faults; offsets: the terms of the formula that are such."""
        terms, n = self.data.terms, self.data.n
        for k, term in enumerate(terms):
            self._infinite(("X", k), term)
        if not math.isfinite(float(self.offset)):
            self._infinite(("O", 0), " + ".join(offsets))
        if ("O", 0) in self.wrong:
            number, shown = self.wrong["O", 0]
            raise DataError(
                f"Offsets are logarithms, but go up to {float(self.offset):.3g} in {counted(number, 'sample')} "
                f"({self._names(number, shown)}). Give what is on the natural scale as `offset(log(column))` in the "
                "formula."
            )
        for k, response in enumerate(self.data.responses):
            if ("Y", k) in self.wrong:
                number, shown = self.wrong["Y", k]
                raise DataError(
                    f"{self.table}: {counted(number, 'infinite or huge response')} of `{response}` "
                    f"({self._names(number, shown)}). Responses must be numbers within ±{HUGE:g}; rescale larger ones."
                )
        constant = [self.data.responses[j] for j in (self.bottom == self.top).nonzero()[:, 0].tolist()]
        if constant:
            raise DataError(
                f"{self.table}: {counted(len(constant), 'response')} with the same value in all {n} samples "
                f"({some(constant)}). There is nothing to explain; leave it out."
            )
        for k, term in enumerate(terms):
            value = float(self.low[k])
            if "Intercept" in terms and term != "Intercept" and value == float(self.high[k]) != 0 and n > 1:
                raise DataError(
                    f"The term `{term}` (from {self.table}) is {value:.15g} in all {n} samples, so it is collinear "
                    "with the intercept. Take it out of the formula, or the intercept with `~ 0 + ...`."
                )

    def _infinite(self, key: tuple[str, int], term: str) -> None:
        if key not in self.wrong:
            return
        number, shown = self.wrong[key]
        raise DataError(
            f"The term `{term}` is not a finite number in {counted(number, 'sample')} ({self._names(number, shown)}): "
            "infinite or missing values, or the logarithm of a number that is not positive. Correct or leave out "
            "these samples."
        )

    def _names(self, number: int, shown: Sequence[int]) -> str:
        more = f" and {number - len(shown)} more" if number > len(shown) else ""
        return some(self.data.samples[i] for i in shown) + more
