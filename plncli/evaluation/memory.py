"""How much memory a fit takes beside its data, and whether that much is free: asked before it starts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from plncli.errors import DeviceError, counted

TABLES = {"newton-cg": 34, "vem": 90, "lbfgs": 250}
"""Tables of n×p numbers at the peak of a pln fit, by optimizer: measured, two for each latent cell and vector kept."""
OTHER_TABLES = 50
"""The same for optimizers that keep a few vectors beside those of the certificate."""
PROCESS = 4e8
"""Bytes that a process takes for torch alone."""
BLOCKS = 1 << 23
"""Numbers in the temporaries of a few blocks of rows, which do not grow with the table."""
STEP = 20 << 20
"""The same in the variational step that ends a pln fit."""


@dataclass(frozen=True)
class Fit:
    """What the memory of a fit depends on; `digits`: its dtype, `resamples`: how many fits standard errors take.

    sandwich: whether standard errors of correlated features follow (pln).
    """

    model: str
    optimizer: str
    covariance: str | None
    n: int
    p: int
    d: int
    digits: str
    resamples: int = 0
    sandwich: bool = False

    def needs(self) -> float:
        """Bytes at the peak of the fit, its data not counted. Measured multiples of n×p, p×p and p×d×d numbers.

        pln: 34 n×p with newton-cg, and 12 p×p for a full covariance. Regressions: 7 n×p (logistic), 1 n×p (linear),
        p×d×d for the standard errors, and nothing that grows with n×d unless the design is ill-conditioned, which takes
        3 n×d more. Each resample leaves p×d, three times. The sandwich comes when the fit has let go of most: 12 n×p
        and 6 p×p stay, and it takes 3 (pd)×(pd), (d²/2 + 2d + 2) p×p, and two blocks of at most 64 MB.
        """
        n, p, d = self.n, self.p, self.d
        hessians, blocks = 6 * p * d * d, min(BLOCKS, 20 * n * max(p, d))
        if self.model == "pln":
            cells = TABLES.get(self.optimizer, OTHER_TABLES) * n * p
            square = 12 * p * p if self.covariance in ("full", "fixed") else 2 * p * p
            numbers = cells + square + hessians + 8 * n * d + blocks + min(STEP, 20 * n * p)
            if self.sandwich:
                sums = (d * d // 2 + 2 * d + 8) * p * p + 3 * (p * d) ** 2
                numbers = max(numbers, 12 * n * p + sums + 2 * min(BLOCKS, n * p * p))
        elif self.model == "logistic":
            numbers = 7 * n * p + hessians + blocks
        else:
            numbers = n * p + 6 * p * p + 3 * p * d * d + blocks
        return float(numbers * (4 if self.digits == "float32" else 8) + 3 * self.resamples * p * d * 8)

    def alternatives(self) -> Iterator[tuple[str, Fit]]:
        """Changes that may make it fit, as words and as what it would be."""
        if self.digits == "float64":
            yield "--dtype float32", replace(self, digits="float32")
        if self.model == "pln" and self.optimizer != "newton-cg":
            yield "--optimizer newton-cg", replace(self, optimizer="newton-cg")
        if self.model == "pln" and self.covariance == "full":
            yield "--covariance diagonal", replace(self, covariance="diagonal", sandwich=False)
        if self.sandwich:
            yield "--se none", replace(self, sandwich=False)


def workers(fit: Fit, free: float | None, asked: str, cores: int) -> int:
    """How many processes may fit side by side: as many as asked for, or a core each, as far as memory goes."""
    wanted = cores if asked == "auto" else int(asked)
    if free is None:
        return wanted
    one = replace(fit, optimizer="newton-cg", resamples=0)
    data = 2 * (2 * fit.n * fit.p + fit.n * fit.d) * (4 if fit.digits == "float32" else 8)
    return max(1, min(wanted, int(free / (one.needs() + data + PROCESS))))


def check(fit: Fit, free: float | None, device: str) -> None:
    """DeviceError, with the estimate, what is free and what to change, when a fit will not fit; None: nobody knows."""
    needs = fit.needs()
    if free is None or needs <= free:
        return
    ways = [f"{words} ({size(other.needs())})" for words, other in fit.alternatives() if other.needs() <= free]
    p = _most(fit, free)
    noun = "feature" if fit.model == "pln" else "response"
    ways += ["a --device with more memory", f"at most {counted(p, noun)}" if p else "fewer samples"]
    raise DeviceError(
        f"This fit needs about {size(needs)} beside its data ({fit.n} samples × {counted(fit.p, noun)}, {fit.digits}), "
        f"and {size(free)} are free on {device}. Use {', '.join(ways[:-1])}, or {ways[-1]}."
    )


def check_tables(n: int, p: int, d: int, square: bool, free: float | None) -> None:
    """DeviceError when tables of n samples × p columns, explained by d terms, cannot be simulated; None: nobody knows.

    square: whether a p×p covariance is drawn from. Measured: 8 numbers a cell, 6 an entry of the design, the names of
    samples, which take 240 bytes each, and about 1000 bytes a column.
    """
    needs = (
        64.0 * n * p + 48.0 * n * d + 240.0 * n + 1000.0 * (p + d) + 24.0 * p * d + (64.0 * p * p if square else 0.0)
    )
    if free is not None and needs > free:
        raise DeviceError(
            f"To simulate {counted(n, 'sample')} × {counted(p, 'column')} with {counted(d, 'coefficient')} each takes "
            f"about {size(needs)} of memory, and {size(free)} are free. Choose smaller numbers."
        )


def _most(fit: Fit, free: float) -> int:
    """The most features that fit; 0 when not even one does."""
    low, high = 0, fit.p
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if replace(fit, p=middle).needs() <= free else (low, middle - 1)
    return low


def size(number: float) -> str:
    """Bytes in words: 640 MB, 12.3 GB."""
    return f"{number / 1e9:.3g} GB" if number >= 1e9 else f"{max(1.0, number / 1e6):.0f} MB"
