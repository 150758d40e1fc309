"""The settings of a fit: defaults <- TOML file <- environment <- flags."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FitConfig:
    """Every setting of `plncli fit`, resolved. Names are the long options with underscores; paths are text, `-` is stdin."""

    model: str
    counts: str | None = None
    response: str | None = None
    covariates: str | None = None
    formula: str | None = None
    offsets: str | None = None
    exposure: str | None = None
    weights: str | None = None
    missing: str = "error"  # error | drop | keep
    all_zero: str = "error"  # error | drop: rows or columns of counts without any count
    sample_names: bool = True  # False: the tables have no column of sample names; rows are matched by position
    covariance: str = "full"  # full | diagonal | spherical | fixed
    precision: str | None = None
    device: str = "auto"
    dtype: str = "float64"
    threads: str = "auto"
    seed: int = 0
    optimizer: str = "newton-cg"
    learning_rate: float | None = None
    max_iter: int | None = None
    tol: float = 1e-6
    time_limit: float | None = None
    out: str | None = None
    overwrite: bool = False
    format: str = "csv"
    latent: bool = True
    allow_unconverged: bool = False
