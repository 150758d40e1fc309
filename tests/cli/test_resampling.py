"""`plncli fit --se bootstrap|jackknife` and `--cluster`, as a user runs them."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from forked import Forked

Cli = Callable[..., Any]


@pytest.fixture
def few(oaks: Any, tmp_path: Path) -> list[str]:
    """The options that fit the six largest features of the oaks."""
    counts = pd.read_csv(oaks.counts, index_col=0)
    counts[counts.sum().nlargest(6).index].to_csv(tmp_path / "counts.csv")
    tables = ["--exposure", oaks.exposure, "--covariates", oaks.covariates]
    return ["fit", "pln", "--counts", "counts.csv", *tables, "--formula", "~ 0 + tree"]


def summary(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "summary.json").read_text())


def std_errors(folder: Path) -> pd.Series:
    return pd.read_csv(folder / "coefficients.csv", index_col=[0, 1])["std_error"]


def test_a_bootstrap_is_told_written_and_repeated(cli: Cli, few: list[str], tmp_path: Path) -> None:
    ran = cli(*few, "--se", "bootstrap", "--resamples", "12", "--seed", "5", "--vcov", "--out", "a")
    assert ran.code == 0, ran.err
    assert "se          bootstrap of 12 fits in" in ran.err
    found = summary(tmp_path / "a")
    assert (found["se"], found["resamples"], found["resamples_failed"]) == ("bootstrap", 12, 0)
    assert "clusters" not in found
    vcov = pd.read_csv(tmp_path / "a" / "vcov.csv", index_col=[0, 1])
    assert std_errors(tmp_path / "a").notna().all()
    assert vcov.to_numpy().diagonal() ** 0.5 == pytest.approx(std_errors(tmp_path / "a").to_numpy())
    again = cli("fit", "pln", "--config", "a/config.toml", "--out", "b")
    assert again.code == 0, again.err
    assert std_errors(tmp_path / "a").equals(std_errors(tmp_path / "b"))
    cli("fit", "pln", "--config", "a/config.toml", "--seed", "6", "--out", "c")
    assert not std_errors(tmp_path / "a").equals(std_errors(tmp_path / "c"))


def test_a_jackknife_over_clusters_has_a_fit_for_each(cli: Cli, few: list[str], tmp_path: Path) -> None:
    names = pd.read_csv(tmp_path / "counts.csv", index_col=0).index
    pd.DataFrame({"plot": [f"plot {i % 14}" for i in range(len(names))]}, index=names).to_csv(tmp_path / "plots.csv")
    ran = cli(*few, "--se", "jackknife", "--cluster", "plots.csv", "--out", "a")
    assert ran.code == 0, ran.err
    assert "se          jackknife of 14 fits of 14 clusters in" in ran.err
    assert (summary(tmp_path / "a")["resamples"], summary(tmp_path / "a")["clusters"]) == (14, 14)
    assert json.loads((tmp_path / "a" / "manifest.json").read_text())["inputs"][-1]["role"] == "cluster"
    assert "few" not in ran.err


def test_clusters_by_a_column(cli: Cli, few: list[str], tmp_path: Path) -> None:
    ran = cli(*few[:-2], "--cluster", "tree", "--out", "a")
    assert ran.code == 0, ran.err
    assert "se          sandwich of 3 clusters in" in ran.err
    assert "warning: 3 clusters are few" in ran.err
    assert summary(tmp_path / "a")["clusters"] == 3
    assert std_errors(tmp_path / "a").notna().all()
    again = cli("fit", "pln", "--config", "a/config.toml", "--out", "b")
    assert again.code == 0, again.err
    assert std_errors(tmp_path / "a").equals(std_errors(tmp_path / "b"))


def test_standard_errors_that_know_no_clusters_are_refused(cli: Cli, few: list[str]) -> None:
    ran = cli(*few, "--cluster", "tree", "--se", "fisher")
    assert ran.code == 2
    assert "--se fisher assumes independent samples" in ran.err


def children(parent: int) -> set[int]:
    """Worker processes of a process, or those it left behind."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if f"serve({parent}," in path.read_text():
                found.add(int(path.parent.name))
        except OSError:
            continue
    return found


@pytest.mark.slow  # processes that load torch
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="reads /proc")
@pytest.mark.parametrize("signum", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.slow)])
def test_workers_end_with_the_program_and_an_interrupt_saves_the_fit(oaks: Any, tmp_path: Path, signum: int) -> None:
    command = ("fit", "pln", "--counts", oaks.counts, "--exposure", oaks.exposure)
    options = ("--se", "bootstrap", "--resamples", "100000", "--workers", "2", "--out", "a")
    process = Forked((*command, *options), tmp_path)
    try:
        until(lambda: len(children(process.pid)) == 2)
        os.kill(process.pid, signum)
        _, err = process.communicate(timeout=60)
        until(lambda: not children(process.pid))
    finally:
        process.kill()
    if signum == signal.SIGINT:
        assert process.returncode == 130
        assert "warning: Interrupted before the standard errors were done: there are none." in err
        assert "Traceback" not in err
        assert (summary(tmp_path / "a")["converged"], summary(tmp_path / "a")["se"]) == (True, "none")


def until(holds: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)
