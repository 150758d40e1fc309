"""Pictures from Python: the figures of `plncli plot`, of fits in memory too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from plncli import Dataset, FitResult, PlncliError, fit, load
from plncli.plots import kinds


def points(figure: Figure) -> list[np.ndarray]:
    """What is drawn: the data of lines and of collections of marks, in order."""
    found = [np.asarray(line.get_xydata(), float) for axes in figure.axes for line in axes.lines]
    return found + [np.asarray(c.get_offsets(), float) for axes in figure.axes for c in axes.collections]


def test_every_kind_is_that_of_the_saved_fit(
    result: FitResult, tables: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    result.save(tmp_path / "run")
    loaded, data = load(tmp_path / "run"), Dataset(**tables, formula="~ tree")
    assert set(kinds("pln")) >= {"loss", "pca", "residuals", "sigma", "volcano", "feature"}
    for kind in kinds("pln"):
        first = result.plot(kind, color="tree" if kind == "pca" else None)
        second = loaded.plot(kind, data, color="tree" if kind == "pca" else None)
        assert isinstance(first, Figure) and first.axes
        for a, b in zip(points(first), points(second), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("model", ["logistic", "linear"])
def test_regressions_too(model: str) -> None:
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({"x": rng.normal(size=60), "y": rng.normal(size=60)}, index=[f"s{i}" for i in range(60)])
    if model == "logistic":
        frame["y"] = np.where(frame["y"] + frame["x"] > 0, "yes", "no")
    fitted = fit(model, Dataset(covariates=frame, formula="y ~ x"))
    not_drawn = {"loss", "volcano", "effects", "sigma", "correlation"}  # one step and one response
    for kind in sorted(set(kinds(model)) - not_drawn):
        assert fitted.plot(kind, width=120.0).axes


def test_refusals_are_in_the_words_of_python(result: FitResult, tmp_path: Path) -> None:
    with pytest.raises(PlncliError, match="`kind` is `pcb`, but must be one of loss, coefficients.*mean `pca`"):
        result.plot("pcb")
    result.save(tmp_path / "run")
    asked: dict[str, Any] = {"kind": "residuals"}
    with pytest.raises(PlncliError, match="was fitted to a data frame.*Give the data, `data=`"):
        load(tmp_path / "run").plot(**asked)
