"""A fit that was cut short goes on from its checkpoint, to the same bits, and nothing wrong is taken for its own."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Oaks, Ran
from forked import Forked, kept_since
from tries import quickly

Cli = Callable[..., Ran]
BITS = ("coefficients.csv", "sigma.csv", "omega.csv", "latent_mean.csv", "latent_sd.csv")


@pytest.fixture
def fit(oaks: Oaks) -> tuple[str, ...]:
    return ("fit", "pln", "--counts", oaks.counts, "--exposure", oaks.exposure, "--top", "40")


@pytest.fixture
def whole(cli: Cli, fit: tuple[str, ...], tmp_path: Path) -> Path:
    assert cli(*fit, "--out", "whole").code == 0
    return tmp_path / "whole"


def same(a: Path, b: Path) -> None:
    for name in BITS:
        assert (a / name).read_bytes() == (b / name).read_bytes(), name
    traces = [[line.split(",")[:1] + line.split(",")[2:] for line in (run / "loss_trace.csv").open()] for run in (a, b)]
    assert traces[0] == traces[1]  # but for the seconds
    summaries = [json.loads((run / "summary.json").read_text()) for run in (a, b)]
    for key in ("elbo", "steps", "evaluations", "gap", "status", "converged"):
        assert summaries[0][key] == summaries[1][key], key


def test_a_fit_that_met_its_limit_goes_on(cli: Cli, fit: tuple[str, ...], whole: Path, tmp_path: Path) -> None:
    ran = cli(*fit, "--out", "run", "--max-iter", "4")
    assert ran.code == 4 and ran.err.rstrip().endswith("Go on with: plncli resume run")
    assert [path.name for path in (tmp_path / "run.checkpoint").iterdir()] == ["a.safetensors"]
    ran = cli("resume", "run", "--max-iter", "6")
    assert ran.code == 4 and "Going on after 4 steps, from run.checkpoint." in ran.err
    ran = cli("resume", "run", "--json")
    assert ran.code == 0 and "Going on after 6 steps" in ran.err and json.loads(ran.out)["converged"]
    same(whole, tmp_path / "run")
    assert not (tmp_path / "run.checkpoint").exists() and not (tmp_path / ".run.lock").exists()
    ran = cli("resume", "run")
    assert ran.code == 2 and "run is a fit that was not cut short: there is nothing to go on with" in ran.err


def test_a_job_script_begins_goes_on_or_does_nothing(
    cli: Cli, fit: tuple[str, ...], whole: Path, tmp_path: Path
) -> None:
    again = (*fit, "--out", "run", "--resume")
    assert cli(*again, "--max-iter", "3").code == 4
    assert cli(*again).code == 0
    same(whole, tmp_path / "run")
    before = (tmp_path / "run/manifest.json").read_bytes()
    ran = cli(*again)
    assert ran.code == 0 and "The fit in run is done already." in ran.err
    assert (tmp_path / "run/manifest.json").read_bytes() == before
    ran = cli(*again, "--covariance", "diagonal")
    assert ran.code == 2 and "run holds another fit: --covariance was `full`, and is `diagonal` now" in ran.err


def test_a_checkpoint_is_not_lost_or_taken_for_that_of_another_fit(
    cli: Cli, fit: tuple[str, ...], oaks: Oaks, tmp_path: Path
) -> None:
    (tmp_path / "counts.csv").write_bytes(Path(oaks.counts).read_bytes())
    fit = ("fit", "pln", "--counts", "counts.csv", *fit[4:], "--out", "run")
    assert cli(*fit, "--max-iter", "3").code == 4
    kept = (tmp_path / "run.checkpoint/a.safetensors").read_bytes()
    ran = cli(*fit)
    assert ran.code == 2 and "holds an unfinished fit. Add --resume to go on from it, or --overwrite" in ran.err
    ran = cli(*fit, "--resume", "--tol", "1e-5", "--dtype", "float32")
    assert ran.code == 2 and "--tol was `1e-06`, and is `1e-05` now; --dtype was `float64`, and is `float32`" in ran.err
    text = (tmp_path / "counts.csv").read_text()
    (tmp_path / "counts.csv").write_text(text.replace(",0,", ",1,", 1))
    for words in ((*fit, "--resume"), ("resume", "run")):
        ran = cli(*words)
        assert ran.code == 2 and "run.checkpoint is of another fit: " in ran.err and "counts.csv has changed" in ran.err
    assert (tmp_path / "run.checkpoint/a.safetensors").read_bytes() == kept
    assert cli(*fit, "--overwrite").code == 0 and not (tmp_path / "run.checkpoint").exists()


def test_damaged_checkpoints_are_named_and_an_older_one_will_do(
    cli: Cli, fit: tuple[str, ...], whole: Path, tmp_path: Path
) -> None:
    assert cli(*fit, "--out", "run", "--max-iter", "5", "--checkpoint-every", "1e-9").code == 4
    files = sorted((tmp_path / "run.checkpoint").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    assert len(files) == 2
    files[1].write_bytes(files[1].read_bytes()[:-7])
    for path in files:
        if path == files[0]:
            ran = cli("resume", "run")
            assert (
                ran.code == 0 and f"{files[1].name} is damaged" in ran.err and "An older checkpoint is used." in ran.err
            )
            same(whole, tmp_path / "run")
    assert cli(*fit, "--out", "other", "--max-iter", "2").code == 4
    (tmp_path / "other.checkpoint/a.safetensors").write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00{}")
    ran = cli("resume", "other")
    assert ran.code == 3 and "damaged" in ran.err and "Remove other.checkpoint to begin anew" in ran.err
    ran = cli("resume", "nothing")
    assert ran.code == 3 and "There is no checkpoint of a fit in nothing.checkpoint." in ran.err


def test_standard_input_can_be_piped_again(cli: Cli, oaks: Oaks, tmp_path: Path) -> None:
    text = Path(oaks.counts).read_text()
    fit = ("fit", "pln", "--counts", "-", "--out", "run")
    assert cli(*fit, "--max-iter", "2", stdin=text).code == 4
    ran = cli("resume", "run")
    assert ran.code == 2 and "from standard input, which has gone. Pipe the same table" in ran.err
    ran = cli(*fit, "--resume", stdin=text.replace(",0,", ",1,", 1))
    assert ran.code == 2 and "standard input has changed" in ran.err
    assert cli(*fit, "--resume", stdin=text).code == 0


def test_two_fits_do_not_go_into_one_folder(cli: Cli, fit: tuple[str, ...], tmp_path: Path) -> None:
    from plncli.runs.unfinished.checkpoints import locked

    with locked(tmp_path / "run"):
        ran = cli(*fit, "--out", "run")
        assert ran.code == 2 and "Another plncli is fitting into run. Wait for it, or choose another --out" in ran.err
    assert cli(*fit, "--out", "run").code == 0


def test_two_cross_validations_do_not_go_into_one_file(cli: Cli, oaks: Oaks, tmp_path: Path) -> None:
    from plncli.runs.unfinished.checkpoints import locked

    cv = ("cv", "pln", "--counts", oaks.counts, "--top", "3", "--folds", "2", "--workers", "1", "--out", "scores.csv")
    with locked(tmp_path / "scores.csv"):
        ran = cli(*cv, "--resume")
        assert ran.code == 2 and "Another plncli is fitting into scores.csv. Wait for it" in ran.err
    assert cli(*cv, "--resume").code == 0
    assert {path.name for path in tmp_path.iterdir()} == {"scores.csv", ".scores.csv.done"}


# Signals and kills, from outside


SLOW = ("--optimizer", "rprop", "--tol", "1e-7", "--se", "none", "--checkpoint-every", "0.2")


def started(words: tuple[str, ...], where: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "plncli", *words],
        cwd=where,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def until_kept(process: subprocess.Popen[str] | Forked, folder: Path, before: float) -> None:
    """Wait until a checkpoint is newer than that, or the process has ended."""
    while process.poll() is None:
        if kept_since(folder, before):
            return
        time.sleep(0.02)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the fit that signals disturb is without any, once it has been made."""
    return tmp_path_factory.mktemp("undisturbed") / "whole"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("SIGTERM", 143),
        *(pytest.param(name, code, marks=pytest.mark.slow) for name, code in (("SIGINT", 130), ("SIGUSR1", 143))),
    ],
)
def test_a_signal_ends_a_fit_that_can_go_on(
    cli: Cli, fit: tuple[str, ...], tmp_path: Path, undisturbed: Path, name: str, code: int
) -> None:
    slow = (*fit, *SLOW, "--tol", "1e-5", "--checkpoint-every", "0.05")
    process = Forked((*slow, "--out", "run"), tmp_path)
    until_kept(process, tmp_path / "run.checkpoint", 0.0)
    process.send_signal(getattr(signal, name))
    err = process.communicate(timeout=60)[1]
    assert process.returncode == code and "Go on with: plncli resume run" in err
    assert json.loads((tmp_path / "run/summary.json").read_text())["status"] == "interrupted"
    assert cli("resume", "run").code == 0
    assert undisturbed.exists() or cli(*slow, "--out", undisturbed).code == 0
    same(undisturbed, tmp_path / "run")


@pytest.mark.slow  # the job script of the docs is stopped twice in the ordinary tests
@pytest.mark.parametrize("kills", [10])
def test_a_job_that_is_killed_again_and_again_ends_in_the_same_bits(
    cli: Cli, fit: tuple[str, ...], tmp_path: Path, kills: int
) -> None:
    job, chance, killed = (*fit, *SLOW, "--out", "run", "--resume"), random.Random(kills), 0
    while True:
        process, before = started(job, tmp_path), time.time()
        if killed < kills:
            until_kept(process, tmp_path / "run.checkpoint", before)
            time.sleep(chance.uniform(0.0, 0.1))
            process.kill()
        process.communicate(timeout=120)
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL
        killed += 1
        assert not (tmp_path / "run").exists()  # whole or not at all
    assert killed >= min(kills, 2)
    assert cli(*fit, *SLOW, "--out", "whole").code == 0
    same(tmp_path / "whole", tmp_path / "run")
    left: list[Any] = [path.name for path in tmp_path.iterdir() if path.name not in ("run", "whole")]
    assert left == []


# Many fits, kept one by one


def interrupted_at(monkeypatch: pytest.MonkeyPatch, task: type, number: int) -> list[int]:
    """Which parts of a task are done, of which a signal comes during that one; no signal for 0."""
    done: list[int] = []
    part = task.part  # type: ignore[attr-defined]

    def spy(self: Any, index: int, cancelled: Callable[[], bool] = lambda: False) -> Any:
        done.append(index)
        if len(done) == number:
            signal.raise_signal(signal.SIGTERM)
        return part(self, index, cancelled)

    monkeypatch.setattr(task, "part", spy)
    return done


@pytest.mark.parametrize("method", quickly(["bootstrap", "jackknife"], "bootstrap"))
def test_the_fits_of_a_bootstrap_are_not_done_twice(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    from plncli.inference.resampling import Task

    assert cli("simulate", "--n", "12", "--p", "3", "--out", "made").code == 0
    fit = ("fit", "pln", "--config", "made/config.toml", "--se", method, "--resamples", "12", "--workers", "1")
    assert cli(*fit, "--out", "whole").code == 0
    with monkeypatch.context() as patch:
        first = interrupted_at(patch, Task, 5)
        ran = cli(*fit, "--out", "run")
        assert ran.code == 143 and "Interrupted before the standard errors were done" in ran.err
        assert ran.err.rstrip().endswith("Go on with: plncli resume run") and first == [0, 1, 2, 3, 4]
    with monkeypatch.context() as patch:
        second = interrupted_at(patch, Task, 0)
        ran = cli("resume", "run")
        kept = 12 - len(second)
        assert ran.code == 0 and second == list(range(kept, 12)) and kept >= 4
        assert f"{kept} fits of {method} are done already." in ran.err
    same(tmp_path / "whole", tmp_path / "run")
    assert not (tmp_path / "run.checkpoint").exists()


def test_folds_of_held_out_samples_are_not_done_twice(
    cli: Cli, oaks: Oaks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from plncli.evaluation.discrimination import Task

    tables = ("--counts", oaks.counts, "--covariates", oaks.covariates, "--groups", "orientation", "--top", "5")
    fit = ("fit", "pln-lda", *tables, "--folds", "6", "--workers", "1", "--se", "none")
    assert cli(*fit, "--out", "whole").code == 0
    with monkeypatch.context() as patch:
        first = interrupted_at(patch, Task, 4)
        ran = cli(*fit, "--out", "run")
        assert ran.code == 143 and "Interrupted before all samples were held out" in ran.err
        assert ran.err.rstrip().endswith("Go on with: plncli resume run") and first == [0, 1, 2, 3]
    with (tmp_path / "run.checkpoint/held-out").open("r+b") as file:  # cut short in the last record
        file.truncate((tmp_path / "run.checkpoint/held-out").stat().st_size - 5)
    with monkeypatch.context() as patch:
        second = interrupted_at(patch, Task, 0)
        ran = cli("resume", "run")
        kept = 6 - len(second)
        assert ran.code == 0 and second == list(range(kept, 6)) and kept >= 2
        assert f"{kept} folds of held-out samples are done already." in ran.err
    same(tmp_path / "whole", tmp_path / "run")
    assert not (tmp_path / "run.checkpoint").exists()
    with monkeypatch.context() as patch:
        interrupted_at(patch, Task, 4)
        assert cli(*fit, "--out", "other").code == 143
    ran = cli(*fit, "--max-iter", "90", "--out", "other", "--resume")  # of folds that are fitted otherwise
    assert ran.code == 0 and "is of other work, and is not used: --max-iter was not given" in ran.err


def test_folds_that_a_kill_left_are_taken_up(
    cli: Cli, oaks: Oaks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing could be said or saved at the end: what was written on the way is enough."""
    from plncli.evaluation.discrimination import Task

    tables = ("--counts", oaks.counts, "--covariates", oaks.covariates, "--groups", "orientation", "--top", "5")
    fit = ("fit", "pln-lda", *tables, "--folds", "5", "--workers", "1", "--checkpoint-every", "1e-9")
    assert cli(*fit, "--out", "whole").code == 0
    part, done = Task.part, []

    def killed(self: Task, index: int, cancelled: Any) -> Any:
        done.append(index)
        if index == 3:
            raise SystemExit(9)
        return part(self, index, cancelled)

    with monkeypatch.context() as patch:
        patch.setattr(Task, "part", killed)
        assert cli(*fit, "--out", "run").code == 9
    assert not (tmp_path / "run").exists() and (tmp_path / "run.checkpoint/held-out").is_file()
    with monkeypatch.context() as patch:
        second = interrupted_at(patch, Task, 0)
        assert cli(*fit, "--out", "run", "--resume").code == 0
        assert second == [3, 4]
    same(tmp_path / "whole", tmp_path / "run")


def test_the_fits_of_a_cross_validation_are_not_done_twice(
    cli: Cli, oaks: Oaks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from plncli.evaluation.crossvalidation import Task

    cv = ("cv", "pln", "--counts", oaks.counts, "--top", "5", "--folds", "3", "--workers", "1", "--formula", "~ 1")
    assert cli(*cv, "--out", "whole.csv").code == 0
    with monkeypatch.context() as patch:
        interrupted_at(patch, Task, 4)
        ran = cli(*cv, "--out", "run.csv")
        assert ran.code == 143 and "the same command with --resume goes on" in ran.err
        assert not (tmp_path / "run.csv").exists()
    with (tmp_path / "run.csv.checkpoint/pieces").open("r+b") as file:  # cut short in the last record
        file.truncate((tmp_path / "run.csv.checkpoint/pieces").stat().st_size - 5)
    with monkeypatch.context() as patch:
        second = interrupted_at(patch, Task, 0)
        ran = cli(*cv, "--out", "run.csv", "--resume")
        assert ran.code == 0 and "2 fits are done already" in ran.err and second == [2, 3, 4, 5]
    assert (tmp_path / "run.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert not (tmp_path / "run.csv.checkpoint").exists()
    ran = cli(*cv, "--out", "whole.csv", "--resume")  # whatever it is of
    assert ran.code == 2 and "whole.csv exists" in ran.err
    with monkeypatch.context() as patch:
        interrupted_at(patch, Task, 3)
        assert cli(*cv, "--out", "other.csv").code == 143
    ran = cli(*cv, "--seed", "3", "--out", "other.csv", "--resume")
    assert ran.code == 0 and "is of other work, and is not used: --seed was `0`, and is `3` now" in ran.err
    assert cli(*cv, "--resume").code == 2


def test_a_comparison_that_is_done_is_not_done_again(
    cli: Cli, oaks: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it is known to be this one: of these settings and tables, and as it was written."""
    (tmp_path / "counts.csv").write_bytes(Path(oaks.counts).read_bytes())
    tables = ("--counts", "counts.csv", "--covariates", oaks.covariates, "--top", "3")
    cv = ("cv", "pln", *tables, "--folds", "2", "--workers", "1", "--out", "scores.csv", "--resume")
    assert cli(*cv).code == 0
    written = (tmp_path / "scores.csv").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr("plncli.evaluation.crossvalidation.validate", None)
        for more in ((), ("--overwrite",), ("--json",)):
            ran = cli(*cv, *more)
            assert (ran.code, ran.out) == (0, "") and ran.err == "The comparison in scores.csv is done already.\n"
        for more in (("--seed", "1"), ("--folds", "3"), ("--formula", "~ tree"), ("--cluster", "tree"), ("--top", "4")):
            ran = cli(*cv, *more)
            assert ran.code == 2 and f"scores.csv holds another comparison: {more[0]} was" in ran.err, ran.err
        whole = (tmp_path / "counts.csv").read_bytes()
        (tmp_path / "counts.csv").write_bytes(whole + b"\n")
        assert "holds another comparison: counts.csv has changed" in cli(*cv).err
        (tmp_path / "counts.csv").write_bytes(whole)
        (tmp_path / "scores.csv").write_bytes(written + b"x")  # somebody's own
        assert "scores.csv exists" in cli(*cv).err
    assert cli(*cv, "--overwrite").code == 0 and (tmp_path / "scores.csv").read_bytes() == written
    (tmp_path / "scores.csv").unlink()  # as a kill leaves it that comes before the scores
    assert cli(*cv).code == 0 and (tmp_path / "scores.csv").read_bytes() == written
    assert cli(*cv[:-1], "--overwrite").code == 0  # leaves no receipt, for it is no job that is started again
    assert {path.name for path in tmp_path.iterdir()} == {"counts.csv", "scores.csv"}


@pytest.mark.parametrize("text", ["", "[]", '{"sha256": 1}', "\0"])
def test_a_receipt_that_is_none_lets_nothing_be_replaced(cli: Cli, oaks: Any, tmp_path: Path, text: str) -> None:
    (tmp_path / "scores.csv").write_text("mine")
    (tmp_path / ".scores.csv.done").write_text(text)
    ran = cli("cv", "pln", "--counts", oaks.counts, "--out", "scores.csv", "--resume")
    assert ran.code == 2 and "scores.csv exists" in ran.err and (tmp_path / "scores.csv").read_text() == "mine"


def test_a_time_limit_is_that_of_each_time_that_a_fit_is_taken_up(
    cli: Cli, fit: tuple[str, ...], tmp_path: Path
) -> None:
    slow = (
        *fit,
        "--optimizer",
        "sgd",
        "--se",
        "none",
        "--tol",
        "1e-12",
        "--out",
        "run",
        "--time-limit",
        "0.4",
        "--resume",
    )
    steps = []
    for _ in range(3):
        assert cli(*slow).code == 4
        summary = json.loads((tmp_path / "run/summary.json").read_text())
        assert summary["status"] == "time_limit"
        steps.append((summary["steps"], summary["fit_seconds"]))
    assert steps[0] < steps[1] < steps[2]


@pytest.mark.parametrize("given", [("--device", "lin"), ("--max-iter", "0"), ("--time-limit", "nan")])
def test_settings_given_anew_are_checked(
    given: tuple[str, str], cli: Cli, fit: tuple[str, ...], tmp_path: Path
) -> None:
    assert cli(*fit, "--max-iter", "2", "--out", "cut").code == 4
    refused = cli("resume", "cut", *given)
    assert refused.code == 2 and f"{given[0]} is" in refused.err


def test_a_folder_may_be_named_by_where_one_is(cli: Cli, fit: tuple[str, ...], tmp_path: Path) -> None:
    refused = cli(*fit, "--out", ".")
    assert refused.code == 2 and "exists" in refused.err and not list(tmp_path.iterdir())
    assert "has no name" in cli(*fit, "--out", "/").err
