"""The commands in one shell script: what one writes, the next reads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

SCRIPT = Path(__file__).parent / "pipeline.sh"


@pytest.mark.slow  # six processes, each of which begins for seconds; every command is tried within one process
def test_simulate_fit_predict_and_cv_in_one_script(tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", str(SCRIPT)], cwd=tmp_path, env=os.environ | {"PATH": path}, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    fit, cv = (json.loads((tmp_path / name).read_text()) for name in ("fit.json", "cv.json"))
    assert fit["converged"] and fit["n_samples"] == 120
    best = next(candidate for candidate in cv["candidates"] if candidate["best"])
    assert best["formula"] == "~ x + group"
    found = pd.read_parquet(tmp_path / "expected.parquet")
    assert found["sample"].nunique() == 30 and (found["pred_low"] <= found["marginal"]).all()
    truth = pd.read_csv(tmp_path / "made/true_coefficients.csv")
    estimated = pd.read_csv(tmp_path / "run/coefficients.csv").merge(truth, on=["response", "term"])
    assert ((estimated["estimate"] - estimated["value"]).abs() < 4.5 * estimated["std_error"]).all()
