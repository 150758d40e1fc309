"""Pictures from Python: the figures of `plncli plot`, of fits in memory too."""

from __future__ import annotations

from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from plncli import Dataset, FitResult, PlncliError, fit, load
from plncli.plots import kinds


def test_every_kind_is_that_of_the_saved_fit(
    result: FitResult, tables: dict[str, pd.DataFrame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is drawn is compared before it is drawn: pictures of one record are the same."""
    result.save(tmp_path / "run")
    loaded, data = load(tmp_path / "run"), Dataset(**tables, formula="~ tree")
    assert set(kinds("pln")) >= {"loss", "pca", "residuals", "sigma", "volcano", "feature"}
    monkeypatch.setattr("plncli.plots.draw", lambda kind, record, width: record)
    for kind in kinds("pln", "linear"):
        first: Any = result.plot(kind, color="tree" if kind == "pca" else None)
        second: Any = loaded.plot(kind, data, color="tree" if kind == "pca" else None)
        assert is_dataclass(first)
        same(asdict(first), asdict(second), kind)


def same(first: Any, second: Any, place: str) -> None:
    """Whether two contents agree but for rounding."""
    if isinstance(first, dict):
        assert first.keys() == second.keys(), place
        for name, part in first.items():
            same(part, second[name], f"{place}.{name}")
    elif isinstance(first, tuple | list):
        assert len(first) == len(second), place
        for number, (one, other) in enumerate(zip(first, second, strict=True)):
            same(one, other, f"{place}.{number}")
    elif isinstance(first, np.ndarray) and first.dtype.kind == "f":
        np.testing.assert_allclose(first, second, rtol=1e-12, atol=1e-12, err_msg=place)
    elif isinstance(first, np.ndarray):
        assert np.array_equal(first, second), place
    elif isinstance(first, str):
        assert first in (second, "this fit"), place
    elif isinstance(first, float):
        assert first == pytest.approx(second, rel=1e-12, nan_ok=True), place
    else:
        assert first == second, place


@pytest.mark.parametrize("model", ["logistic", "linear"])
def test_regressions_too(model: str) -> None:
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({"x": rng.normal(size=60), "y": rng.normal(size=60)}, index=[f"s{i}" for i in range(60)])
    if model == "logistic":
        frame["y"] = np.where(frame["y"] + frame["x"] > 0, "yes", "no")
    fitted = fit(model, Dataset(covariates=frame, formula="y ~ x"))
    not_drawn = {"loss", "volcano", "effects", "sigma", "correlation"}  # one step and one response
    for kind in sorted(set(kinds(model, "linear")) - not_drawn):
        assert fitted.plot(kind, width=120.0).axes


def test_refusals_are_in_the_words_of_python(result: FitResult, tmp_path: Path) -> None:
    with pytest.raises(PlncliError, match="`kind` is `pcb`, but must be one of loss, coefficients.*mean `pca`"):
        result.plot("pcb")
    result.save(tmp_path / "run")
    asked: dict[str, Any] = {"kind": "residuals"}
    with pytest.raises(PlncliError, match="was fitted to a data frame.*Give the data, `data=`"):
        load(tmp_path / "run").plot(**asked)
