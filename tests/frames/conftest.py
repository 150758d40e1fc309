"""The oaks as data frames, and a fit of them, from Python and by the command."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from plncli import Dataset, FitResult, fit

Cli = Callable[..., Any]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


@pytest.fixture(scope="session")
def frames(oaks: Any) -> dict[str, pd.DataFrame]:
    """The oaks with eight features; the rows of the covariates in another order."""
    read = {name: pd.read_csv(getattr(oaks, name), index_col=0) for name in ("counts", "covariates", "exposure")}
    kept = read["counts"].sum().nlargest(8).index
    read |= {name: read[name][kept] for name in ("counts", "exposure")}
    return read | {"covariates": read["covariates"].iloc[::-1]}


@pytest.fixture
def tables(tmp_path: Path, frames: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Copies of them, and files of the same content."""
    for name, frame in frames.items():
        frame.to_csv(tmp_path / f"{name}.csv")
    return {name: frame.copy() for name, frame in frames.items()}


@pytest.fixture(scope="session")
def result(frames: dict[str, pd.DataFrame]) -> FitResult:
    return fit("pln", Dataset(**frames, formula="~ tree"))


@pytest.fixture
def folder(tmp_path: Path, tables: Any, cli: Cli) -> Path:
    flags = [part for name in tables for part in (f"--{name}", f"{name}.csv")]
    assert cli("fit", "pln", *flags, "--formula", "~ tree", "--out", "run").code == 0
    return tmp_path / "run"
