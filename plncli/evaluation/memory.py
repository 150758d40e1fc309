"""How much memory a fit takes beside its data, and whether that much is free: asked before it starts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from plncli.errors import DeviceError, counted
from plncli.models.spec import Size, Spec

COPIES = 8
"""Of a block of rows, on its way from a file: as it is read, the next one, as the design has it, products; measured."""
PROCESS = 4e8
"""Bytes that a process takes for torch alone."""


@dataclass(frozen=True)
class Planned:
    """A fit to be, and the size of its data. digits: its dtype; resamples: how many fits standard errors take.

    block: rows that are read at a time of samples that stay in a file; None for all, in memory.
    """

    spec: Spec
    size: Size
    digits: str
    resamples: int = 0
    block: int | None = None

    def needs(self) -> float:
        """Bytes at the peak of the fit, its data not counted. Each resample leaves p×d numbers, three times."""
        size, width = self.size, 4 if self.digits == "float32" else 8
        if self.block is None:
            numbers = self.spec.memory(size) * width
        else:
            rows = min(self.block, size.n)
            of_block = 8.0 * COPIES * rows * (size.d + size.p + 2) + size.n
            numbers = self.spec.memory(replace(size, n=rows)) * width + of_block
        return float(numbers + 3 * self.resamples * self.size.p * self.size.d * 8)

    def without_errors(self) -> Planned:
        """The same without standard errors that the model computes itself."""
        return replace(self, size=replace(self.size, se="none"))

    def alternatives(self) -> Iterator[tuple[str, Planned]]:
        """Changes that may make it fit, as words and as what it would be."""
        if self.digits == "float64":
            yield "--dtype float32", replace(self, digits="float32")
        for words, size in self.spec.smaller(self.size):
            yield words, replace(self, size=size)


def workers(fit: Planned, free: float | None, asked: str, cores: int) -> int:
    """How many processes may fit side by side: as many as asked for, or a core each, as far as memory goes."""
    wanted = cores if asked == "auto" else int(asked)
    if free is None:
        return wanted
    n, p, d = fit.size.n, fit.size.p, fit.size.d
    one = replace(fit, size=replace(fit.size, optimizer="newton-cg"), resamples=0)
    data = 2 * (2 * n * p + n * d) * (4 if fit.digits == "float32" else 8)
    return max(1, min(wanted, int(free / (one.needs() + data + PROCESS))))


def check(fit: Planned, free: float | None, device: str) -> None:
    """DeviceError, with the estimate, what is free and what to change, when a fit will not fit; None: nobody knows."""
    needs = fit.needs()
    if free is None or needs <= free:
        return
    ways = [f"{words} ({in_words(other.needs())})" for words, other in fit.alternatives() if other.needs() <= free]
    p = _most(fit, free)
    noun = fit.spec.noun
    ways += ["a --device with more memory", f"at most {counted(p, noun)}" if p else "fewer samples"]
    raise DeviceError(
        f"This fit needs about {in_words(needs)} beside its data "
        f"({fit.size.n} samples × {counted(fit.size.p, noun)}, {fit.digits}), and "
        f"{in_words(free)} are free on {device}. Use {', '.join(ways[:-1])}, or {ways[-1]}."
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
            f"about {in_words(needs)} of memory, and {in_words(free)} are free. Choose smaller numbers."
        )


def _most(fit: Planned, free: float) -> int:
    """The most features that fit; 0 when not even one does."""
    low, high = 0, fit.size.p
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (
            (middle, high) if replace(fit, size=replace(fit.size, p=middle)).needs() <= free else (low, middle - 1)
        )
    return low


def in_words(number: float) -> str:
    """Bytes in words: 640 MB, 12.3 GB."""
    return f"{number / 1e9:.3g} GB" if number >= 1e9 else f"{max(1.0, number / 1e6):.0f} MB"
