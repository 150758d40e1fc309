"""What a rival is given and what it hands back."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from importlib.metadata import version

from benchmarks.problems import Array

__all__ = ["Clock", "Outcome", "Settings", "version"]


@dataclass(frozen=True)
class Settings:
    """threads: CPU threads; device: cpu or cuda; time_limit: seconds after which a rival that can stop should."""

    threads: int = 1
    device: str = "cpu"
    time_limit: float = 60.0


@dataclass(frozen=True)
class Outcome:
    """A finished fit.

    params: M and S (n×p; M contains XB and not O) for pln, B (d×p) for the others, with loadings C (p×q) for pln-pca,
    and what else there is.
    load_seconds: import of the program; seconds: the fit, from arrays to parameters. trace: (seconds since the fit
    began, likelihood) of a rival that tells. peak_mb: of a process of its own. note: how it ended, in its own words.
    """

    params: dict[str, Array] = field(repr=False)
    load_seconds: float
    seconds: float
    version: str
    threads: int
    trace: tuple[tuple[float, float], ...] = field(default=(), repr=False)
    peak_mb: float | None = None
    note: str = ""


class Clock:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._began = time.perf_counter()

    def __call__(self) -> float:
        return time.perf_counter() - self._began
