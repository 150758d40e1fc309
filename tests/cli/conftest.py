"""Finished fits that tests of the verbs after `fit` read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SAMPLE_DATA = Path(__file__).parents[2] / "sample_data"
OAKS = [f"--{name}={SAMPLE_DATA / 'oaks' / name}.csv" for name in ("counts", "exposure", "covariates")]
PATIENTS = ["--covariates", SAMPLE_DATA / "logistic" / "patients.csv"]
PLOTS = ["--covariates", SAMPLE_DATA / "linear" / "plots.csv"]
FITS = {
    "tree": ["pln", *OAKS, "--formula", "~ tree", "--vcov"],
    "means": ["pln", *OAKS, "--formula", "~ 0 + tree"],
    "one": ["pln", *OAKS],
    "diagonal": ["pln", *OAKS, "--covariance", "diagonal"],
    "stopped": ["pln", *OAKS, "--max-iter", "2", "--allow-unconverged"],
    "markers": ["logistic", *PATIENTS, "--formula", "case ~ marker1 + marker2"],
    "soil": ["linear", *PLOTS, "--formula", "harvest ~ soil1 + soil2"],
}  # fmt: skip
CODE = """
import sys, json, os
from plncli.cli import main
for name, words in json.loads(sys.argv[1]).items():
    sys.argv = ["plncli", "fit", *words, "--out", name, "-q"]
    try: main()
    except SystemExit as exited: assert not exited.code, name
"""


@pytest.fixture(scope="session")
def fits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run for each of FITS, made by one process."""
    import json

    folder = tmp_path_factory.mktemp("fits")
    words = json.dumps({name: list(map(str, words)) for name, words in FITS.items()})
    subprocess.run([sys.executable, "-c", CODE, words], cwd=folder, check=True)
    return folder
