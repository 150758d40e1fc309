"""Fits that several processes share and that end otherwise: signals, kills, errors of one, disks that are full."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from forked import Forked
from ranked import check_same, ended, shared, started

MADE = ("--n", "120", "--p", "8", "-q", "--out", "made")
FIT = ("fit", "pln", "--config", "made/config.toml", "--out", "run")
LONG = (*FIT, "--optimizer", "sgd", "--learning-rate", "1e-6", "--max-iter", "1000000", "--verbose")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    simulated = Forked(("simulate", *MADE), tmp_path)
    assert simulated.wait() == 0
    return tmp_path


def fitting(place: Path, words: tuple[str, ...] = LONG, number: int = 2) -> list[Forked]:
    """Processes in the midst of a fit."""
    processes = started(number, words, place)
    processes[0].until("step 3 ")
    return processes


def left(place: Path) -> set[str]:
    """What lies beside the tables."""
    return {path.name for path in place.iterdir()} - {"made"}


@pytest.mark.parametrize("of", ["all", pytest.param("one", marks=pytest.mark.slow)])
def test_a_signal_ends_the_fit_and_any_number_goes_on(place: Path, of: str) -> None:
    words = (*FIT, "--max-iter", "2", "--allow-unconverged")
    whole = shared(2, (*FIT[:-1], "whole"), place)
    assert "converged" in whole
    processes = fitting(place)
    for process in processes if of == "all" else processes[1:]:
        process.send_signal(signal.SIGTERM)
    codes, said = ended(processes)
    assert codes == [143] * 2, said
    assert not said[1]
    manifest = json.loads((place / "run" / "manifest.json").read_text())
    assert manifest["cut_short"] and manifest["processes"] == 2
    assert (place / "run.checkpoint").is_dir()
    shutil.rmtree(place / "run.checkpoint")
    shutil.rmtree(place / "run")
    shared(2, words, place)
    assert (place / "run.checkpoint").is_dir()
    shutil.copytree(place / "run.checkpoint", place / "alone.checkpoint")
    said = [shared(3, ("resume", "run"), place)]
    assert "Going on after 2 steps" in said[0]
    check_same(place / "whole", place / "run")
    assert left(place) == {"run", "whole", "alone.checkpoint"}


@pytest.mark.parametrize("lost", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_a_process_that_is_killed_ends_all(place: Path, lost: int) -> None:
    processes = fitting(place, number=3)
    processes[lost].kill()
    began = time.monotonic()
    codes, said = ended(processes)
    assert time.monotonic() - began < 30.0
    assert codes[lost] == -signal.SIGKILL
    assert [code for rank, code in enumerate(codes) if rank != lost] == [5, 5], said
    told = "".join(text for rank, text in enumerate(said) if rank != lost)
    assert "ended without a word" in told
    assert lost == 0 or told.count("ended without a word") == 1
    assert not (place / "run").exists()


@pytest.mark.slow
def test_what_all_have_is_saved_where_one_is_lost(place: Path) -> None:
    low = ("fit", "pln-pca", "--counts", "made/counts.csv", "--rank", "2", "--out", "run", *LONG[6:])
    processes = fitting(place, low)
    processes[1].kill()
    codes, said = ended(processes)
    assert codes == [5, -signal.SIGKILL], said
    assert "Go on with: plncli resume run" in said[0]
    assert [path.name for path in (place / "run.checkpoint").iterdir()] == ["a.safetensors"]


def test_the_error_of_one_is_that_of_all(place: Path) -> None:
    elsewhere = place / "elsewhere"
    shutil.copytree(place / "made", elsewhere / "made")
    counts = elsewhere / "made" / "counts.csv"
    pd.read_csv(counts).iloc[:-1].to_csv(counts, index=False)
    codes, said = ended(started(2, FIT, [place, elsewhere]))
    assert codes == [3, 3], said
    assert "".join(said).count("read different tables") == 1


@pytest.mark.slow
def test_a_table_that_one_lacks_is_told_once(place: Path) -> None:
    elsewhere = place / "elsewhere"
    shutil.copytree(place / "made", elsewhere / "made")
    (elsewhere / "made" / "counts.csv").unlink()
    codes, said = ended(started(2, FIT, [place, elsewhere]))
    assert codes == [3, 3], said
    assert "counts.csv does not exist" in said[1] and not said[0]


def test_a_full_disk_ends_all(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Path.open

    def full(self: Path, mode: str = "r", *args: Any, **more: Any) -> Any:
        if set(mode) & set("wax+") and self.name == "summary.json":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return opened(self, mode, *args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full)
        codes, said = ended(started(2, FIT, place))
    assert codes == [3, 3], said
    assert "No space left on device" in said[0] and not said[1]
    assert left(place) == set()


@pytest.mark.slow
def test_torchrun_starts_them(place: Path) -> None:
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "plncli")
    done = subprocess.run((*torchrun, *FIT), cwd=place, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert "in each of 2 processes" in done.stderr
    refused = subprocess.run((*torchrun, *FIT), cwd=place, capture_output=True, text=True, timeout=200)
    assert refused.returncode == 1
    assert refused.stderr.count("plncli: error:") == 1 and "exitcode  : 2" in refused.stderr
