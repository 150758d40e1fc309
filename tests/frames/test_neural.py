"""A neural mean from Python."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from plncli import Dataset, cv, fit
from plncli.errors import PlncliError


def test_a_fit_has_partial_effects_and_no_coefficients() -> None:
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"x": rng.uniform(-2, 2, 150)}, index=[f"s{i}" for i in range(150)])
    frame["y"] = np.sin(2 * frame["x"]) + 0.2 * rng.normal(size=150)
    data = Dataset(covariates=frame, formula="y ~ x")
    found = fit("linear", data, hidden="8")
    assert "not converged" not in repr(found)
    assert set(found.partial_effects["response"]) == {"y"}
    with pytest.raises(PlncliError, match="no coefficients"):
        _ = found.coefficients
    table = cv("linear", data, hidden=["none", "8"], folds=3, workers=1).candidates
    best = table.loc[table["best"]].iloc[0]
    assert best["hidden"] == "8"
