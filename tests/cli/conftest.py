"""Finished fits that tests of the verbs after `fit` read."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pandas as pd
import pytest
from filelock import FileLock
from parsed import parser

from plncli import cli

SAMPLE_DATA = Path(__file__).parents[2] / "sample_data"
OAKS = [f"--{name}={SAMPLE_DATA / 'oaks' / name}.csv" for name in ("counts", "exposure", "covariates")]
PART = ["--counts=part/counts.csv", "--exposure=part/exposure.csv", OAKS[2]]
PATIENTS = ["--covariates", SAMPLE_DATA / "logistic" / "patients.csv"]
PLOTS = ["--covariates", SAMPLE_DATA / "linear" / "plots.csv"]
FITS = {
    "tree": ["pln", *OAKS, "--formula", "~ tree", "--vcov"],
    "means": ["pln", *OAKS, "--formula", "~ 0 + tree"],
    "one": ["pln", *OAKS],
    **{
        f"part-{name}": ["pln", *PART, "--formula", formula]
        for name, formula in (("one", "~ 1"), ("tree", "~ tree"), ("means", "~ 0 + tree"))
    },
    "part-low": ["pln-pca", *PART, "--formula", "~ tree", "--rank", "3"],
    "diagonal": ["pln", *OAKS, "--covariance", "diagonal"],
    "stopped": ["pln", *OAKS, "--max-iter", "2", "--allow-unconverged"],
    "markers": ["logistic", *PATIENTS, "--formula", "case ~ marker1 + marker2"],
    "soil": ["linear", *PLOTS, "--formula", "harvest ~ soil1 + soil2"],
}  # fmt: skip


def part_of_the_oaks(folder: Path) -> None:
    """Tables of twenty frequent features, and some that are never counted on some kind of tree: quickly drawn."""
    counts, exposure, trees = (pd.read_csv(word.partition("=")[2], index_col=0) for word in OAKS)
    rare = counts.columns[(counts.groupby(trees["tree"]).sum() == 0).any()]
    kept = [*counts.sum().nlargest(20).index, *rare[:3], "f_OTU_579"]
    folder.mkdir()
    for name, table in (("counts", counts), ("exposure", exposure)):
        table[list(dict.fromkeys(kept))].to_csv(folder / f"{name}.csv")


@pytest.fixture(scope="session")
def fits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run for each of FITS. Processes that test side by side make them together, from either end."""
    place, worker = tmp_path_factory.getbasetemp(), os.environ.get("PYTEST_XDIST_WORKER", "")
    folder = (place.parent if worker else place) / "fits"
    folder.mkdir(exist_ok=True)
    with FileLock(folder.with_name("part.lock")):
        if not (folder / "part").exists():
            part_of_the_oaks(folder / "part")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(cli, "application", parser)
        for name in reversed(FITS) if worker == "gw1" else FITS:
            patch.setattr(sys, "argv", ["plncli", "fit", *map(str, FITS[name]), "--out", name, "-q"])
            with FileLock(folder.with_name(f"{name}.lock")):
                if (folder / name).exists():
                    continue
                with pytest.raises(SystemExit) as exited:
                    cli.main()
                assert not exited.value.code, name
    return folder
