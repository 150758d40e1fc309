"""`plncli fit` from files to files, as a user runs it."""

from __future__ import annotations

import io
import json
import signal
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from forked import Forked

from plncli.models import MODELS
from plncli.runs import folder as artifacts

CONFIGS = Path(__file__).parents[2] / "configs"
Cli = Callable[..., Any]


@pytest.fixture
def small(tmp_path: Path) -> str:
    """A small table of counts, fitted in no time."""
    rows = ["sample,a,b", "s1,3,1", "s2,0,2", "s3,7,5", "s4,2,0", "s5,1,1", "s6,4,9"]
    (tmp_path / "small.csv").write_text("\n".join(rows) + "\n")
    return "small.csv"


def summary(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "summary.json").read_text())


def manifest(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "manifest.json").read_text())


def listed(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_bare_table_of_counts_is_enough(cli: Cli, tmp_path: Path, small: str) -> None:
    ran = cli("fit", "pln", "--counts", small)
    assert (ran.code, ran.out) == (0, "")
    assert "Fitting pln (full covariance): 6 samples × 2 features, 1 coefficient each (Intercept)" in ran.err
    assert "status      converged" in ran.err
    assert ran.err.splitlines()[-2:] == [
        "The results are in small-pln.",
        "Next: plncli report small-pln --out small-pln.html",
    ]
    assert listed(tmp_path) == ["small-pln", "small.csv"]


LONG = ("pln-pca", "pln-network")  # many starts, or a path of fits, of the oaks
RUN = [pytest.param(name, marks=pytest.mark.slow if name in LONG else ()) for name in MODELS]


@pytest.mark.parametrize("model", RUN)
def test_the_committed_configurations_run(cli: Cli, tmp_path: Path, model: str) -> None:
    ran = cli("fit", model, "--config", CONFIGS / f"{model}.toml", "--out", "run", "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out) == summary(tmp_path / "run")
    assert json.loads(ran.out)["converged"] is True


def test_the_folder_tells_all_about_the_fit(cli: Cli, tmp_path: Path, oaks: Any) -> None:
    ran = cli(
        "fit", "pln", "--counts", oaks.counts, "--exposure", oaks.exposure, "--out", "runs/oaks", "--threads", "1"
    )
    assert ran.code == 0
    found = summary(tmp_path / "runs" / "oaks")
    assert found["elbo"] >= -32026.02
    assert (found["n_samples"], found["n_features"], found["n_covariates"]) == (116, 114, 1)
    told = manifest(tmp_path / "runs" / "oaks")
    assert told["command"].startswith("plncli fit pln --counts ")
    assert [(source["role"], source["shape"]) for source in told["inputs"]] == [
        ("counts", [116, 114]),
        ("exposure", [116, 114]),
    ]
    assert told["exit_code"] == 0
    assert told["threads"] == 1
    assert told["start"] < told["end"]
    assert "response" not in told["configuration"]
    assert "elbo        -32026.01" in (tmp_path / "runs" / "oaks" / "run.log").read_text()
    assert set(listed(tmp_path / "runs" / "oaks")) <= artifacts.written()


@pytest.mark.slow  # a process that loads torch
def test_standard_input_to_standard_output(run_cli: Cli, tmp_path: Path, small: str) -> None:
    ran = run_cli("fit", "pln", "--counts", "-", "--json", stdin=(tmp_path / small).read_bytes())
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["elbo"] < 0
    assert (tmp_path / "stdin-pln").is_dir()


def test_the_saved_configuration_gives_the_same_fit(cli: Cli, tmp_path: Path, small: str) -> None:
    cli("fit", "pln", "--counts", small, "--out", "a", "--tol", "1e-8")
    (tmp_path / "a" / "config.toml").rename(tmp_path / "again.toml")
    first = (tmp_path / "a" / "coefficients.csv").read_bytes()
    ran = cli("fit", "pln", "--config", "again.toml")
    assert ran.code == 2
    assert "a exists. Add --overwrite to replace it, or choose another folder with --out." in ran.err
    assert cli("fit", "pln", "--config", "again.toml", "--out", "b").code == 0
    assert (tmp_path / "b" / "coefficients.csv").read_bytes() == first


def test_coefficients_come_with_standard_errors(cli: Cli, tmp_path: Path, oaks: Any) -> None:
    tables = ("--counts", oaks.counts, "--exposure", oaks.exposure, "--covariates", oaks.covariates)
    tree = ("fit", "pln", *tables, "--formula", "~ 0 + tree", "--threads", "1", "--no-latent")
    assert cli(*tree, "--out", "a", "--vcov", "--level", "0.9").code == 0
    found = pd.read_csv(tmp_path / "a" / "coefficients.csv")
    finite = np.isfinite(found["estimate"])
    columns = ["std_error", "statistic", "p_value", "q_value", "conf_low", "conf_high"]
    assert (found[columns].notna().all(axis=1) == finite).all()
    assert found[columns].isna().all(axis=1).sum() == 13
    assert np.allclose(
        found["conf_high"] - found["conf_low"], 2 * 1.6448536269514722 * found["std_error"], equal_nan=True
    )
    assert (found["q_value"] >= found["p_value"])[finite].all()
    V = pd.read_csv(tmp_path / "a" / "vcov.csv")
    assert list(V.columns[:3]) == ["response", "term", f"{V.response[0]}:{V.term[0]}"]
    assert np.allclose(np.diag(V.iloc[:, 2:]) ** 0.5, found["std_error"], equal_nan=True)
    told = summary(tmp_path / "a")
    assert (told["se"], told["level"]) == ("sandwich", 0.9)
    assert cli(*tree, "--out", "b", "--se", "none").code == 0
    assert summary(tmp_path / "b")["se"] == "none"
    without = pd.read_csv(tmp_path / "b" / "coefficients.csv")
    assert without[columns].isna().all(axis=None)
    assert without["estimate"].equals(found["estimate"])


def test_overwriting_has_to_be_asked_for(cli: Cli, small: str) -> None:
    assert cli("fit", "pln", "--counts", small).code == 0
    assert cli("fit", "pln", "--counts", small).code == 2
    assert cli("fit", "pln", "--counts", small, "--overwrite").code == 0


def test_a_folder_in_the_way_is_refused_before_anything_is_read(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    ran = cli("fit", "pln", "--counts", "missing.csv", "--out", "out")
    assert ran.code == 2
    assert "--out out exists" in ran.err


def test_a_refusal_leaves_nothing_behind(cli: Cli, tmp_path: Path) -> None:
    ran = cli("fit", "pln", "--counts", "missing.csv", "--out", "runs/a")
    assert (ran.code, ran.out) == (3, "")
    assert ran.err.startswith("plncli: error: ")
    assert "missing.csv" in ran.err
    assert listed(tmp_path) == []


def test_a_dry_run_says_what_would_be_fitted_and_writes_nothing(cli: Cli, tmp_path: Path, small: str) -> None:
    ran = cli("fit", "pln", "--counts", small, "--dry-run")
    assert (ran.code, ran.out) == (0, "")
    assert "6 samples × 2 features" in ran.err
    assert "results would go to small-pln" in ran.err
    assert listed(tmp_path) == ["small.csv"]


def test_the_resolved_configuration_is_printed(cli: Cli, tmp_path: Path) -> None:
    ran = cli("fit", "pln", "--counts", "y.csv", "--print-config", "--max-iter", "7", env={"PLNCLI_SEED": "3"})
    assert (ran.code, ran.err) == (0, "")
    printed = tomllib.loads(ran.out)
    assert (printed["counts"], printed["max_iter"], printed["seed"]) == (str(tmp_path / "y.csv"), 7, 3)
    assert cli("fit", "linear", "--print-config").code == 0  # a template, before there are any tables


def test_ending_without_converging_is_told_by_4(cli: Cli, tmp_path: Path, small: str) -> None:
    ran = cli("fit", "pln", "--counts", small, "--max-iter", "1", "--out", "a")
    assert ran.code == 4
    assert "warning: Stopped at the step limit before converging." in ran.err
    found = summary(tmp_path / "a")
    assert (found["converged"], found["status"]) == (False, "max_iter")
    assert manifest(tmp_path / "a")["exit_code"] == 4
    assert cli("fit", "pln", "--counts", small, "--max-iter", "1", "--out", "b", "--allow-unconverged").code == 0


def test_quiet_says_nothing_but_errors(cli: Cli, small: str) -> None:
    assert cli("fit", "pln", "--counts", small, "-q").err == ""
    assert "exists" in cli("fit", "pln", "--counts", small, "-q").err


def test_a_variance_of_zero_is_zero_in_sigma_and_empty_in_omega(cli: Cli, tmp_path: Path) -> None:
    rows = ["sample,even,odd", *(f"s{i},{3 + i % 2},{(i * 7) % 19}" for i in range(12))]
    (tmp_path / "y.csv").write_text("\n".join(rows) + "\n")
    ran = cli("fit", "pln", "--counts", "y.csv", "--out", "run")
    assert ran.code == 0, ran.err
    assert "note: 1 feature varies no more than Poisson given the covariates" in ran.err
    assert (tmp_path / "run" / "sigma.csv").read_text().splitlines()[:2] == ["response,even,odd", "even,0,0"]
    assert (tmp_path / "run" / "omega.csv").read_text().splitlines()[:2] == ["response,even,odd", "even,,"]


def test_a_misspelt_variable_is_noted(cli: Cli, small: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLNCLI_TOOL", "1")
    ran = cli("fit", "pln", "--counts", small, "--dry-run")
    assert ran.err.startswith("note: The environment variable PLNCLI_TOOL sets nothing. Did you mean `PLNCLI_TOL`?\n")


def test_verbose_says_every_step(cli: Cli, small: str) -> None:
    err = cli("fit", "pln", "--counts", small, "-v").err
    assert "read counts from small.csv: 6 × 2" in err
    assert "step 0  elbo -" in err
    assert "step 1  elbo -" in err


@pytest.mark.parametrize("suffix", artifacts.FORMATS)
def test_tables_come_in_the_format_asked_for(cli: Cli, tmp_path: Path, small: str, suffix: str) -> None:
    assert cli("fit", "pln", "--counts", small, "--format", suffix, "--no-latent", "--out", "a").code == 0
    tables = {f"{name}.{suffix}" for name in ("coefficients", "sigma", "omega", "loss_trace")}
    assert set(listed(tmp_path / "a")) == tables | set(artifacts.OTHERS)


def test_a_bad_value_is_answered_with_the_nearest(cli: Cli, small: str) -> None:
    ran = cli("fit", "pln", "--counts", small, "--optimizer", "newton")
    assert ran.code == 2
    assert ran.err.rstrip().endswith("Did you mean `newton-cg`?")


def test_a_learning_rate_where_there_is_none_is_refused_before_anything_is_read(cli: Cli) -> None:
    ran = cli("fit", "pln", "--counts", "missing.csv", "--learning-rate", "0.1")
    assert ran.code == 2
    assert "leave out --learning-rate" in ran.err


def test_an_unknown_key_is_answered_with_the_nearest(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "fit.toml").write_text("counst = 'y.csv'\n")
    ran = cli("fit", "pln", "--config", "fit.toml")
    assert ran.code == 3
    assert ran.err == "plncli: error: `fit.toml` has an unknown key `counst`. Did you mean `counts`?\n"


def test_a_device_that_is_not_there_is_one_line(cli: Cli, small: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    ran = cli("fit", "pln", "--counts", small, "--device", "cuda")
    assert ran.code == 5
    assert ran.err.startswith("plncli: error: --device cuda: torch finds no NVIDIA GPU on this machine")
    assert ran.err.endswith("Use --device cpu.\n")
    assert ran.err.count("\n") == 1


def test_out_of_memory_is_a_message(cli: Cli, small: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def exhausted(*_: object, **__: object) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr("plncli.fitting.fit", exhausted)
    ran = cli("fit", "pln", "--counts", small)
    assert ran.code == 5
    assert "Out of memory. Use --dtype float32" in ran.err
    assert listed(tmp_path) == ["small.csv"]


# --- signals ---


@pytest.fixture
def endless(tmp_path: Path, oaks: Any) -> Iterator[Forked]:
    """A fit that would go on for long, past its first steps."""
    slow = [
        "--optimizer",
        "sgd",
        "--learning-rate",
        "1e-9",
        "--max-iter",
        "100000000",
        "--tol",
        "1e-12",
        "-v",
        "--out",
        "a",
    ]
    process = Forked(("fit", "pln", "--counts", oaks.counts, "--exposure", oaks.exposure, *slow), tmp_path)
    process.until("step 2 ")
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_fit_is_saved(endless: Forked, tmp_path: Path, signum: int) -> None:
    endless.send_signal(signum)
    _, err = endless.communicate(timeout=60)
    assert endless.returncode == 128 + signum
    assert "Ending after this step, and saving" in err
    assert "warning: Interrupted: what was reached so far is kept." in err
    found = summary(tmp_path / "a")
    assert (found["status"], found["converged"]) == ("interrupted", False)
    assert manifest(tmp_path / "a")["exit_code"] == 128 + signum
    assert listed(tmp_path) == ["a", "a.checkpoint"]  # from which it can go on


@pytest.mark.gpu
def test_a_gpu_gives_the_same_fit(cli: Cli, tmp_path: Path) -> None:
    for device in ("cpu", "cuda"):
        ran = cli("fit", "pln", "--config", CONFIGS / "pln.toml", "--device", device, "--out", device)
        assert ran.code == 0, ran.err
    found, wanted = summary(tmp_path / "cuda"), summary(tmp_path / "cpu")
    assert found["device"] == "cuda:0"
    assert found["elbo"] == pytest.approx(wanted["elbo"], abs=found["gap"] + wanted["gap"] + 1e-6)  # 1e-6: rounding


def test_counts_that_were_hidden_are_predicted_better_than_by_the_means_of_features(cli: Cli, tmp_path: Path) -> None:
    made = cli("simulate", "--n", "150", "--p", "12", "--depth", "600", "--correlation", "0.8", "--out", "made", "-q")
    assert made.code == 0
    whole = pd.read_csv(tmp_path / "made/counts.csv", index_col=0)
    hidden = np.random.default_rng(1).random(whole.shape) < 0.1
    whole.astype("Int64").mask(hidden).to_csv(tmp_path / "counts.csv")
    given = ("--exposure", "made/exposure.csv", "--covariates", "made/covariates.csv", "--formula", "~ x")
    ran = cli("fit", "pln", "--counts", "counts.csv", *given, "--missing", "keep", "--out", "run")
    assert ran.code == 0 and f"{hidden.sum()} missing entries of counts.csv kept as unobserved" in ran.err
    mean, sd = (pd.read_csv(tmp_path / f"run/latent_{name}.csv", index_col=0).to_numpy() for name in ("mean", "sd"))
    exposure = pd.read_csv(tmp_path / "made/exposure.csv", index_col=0).to_numpy()
    Y = whole.to_numpy(float)
    known = np.where(hidden, 0.0, 1.0)
    rate = (known * Y).sum(0) / (known * exposure).sum(0)

    def deviance(expected: np.ndarray) -> float:
        y, mu = Y[hidden], expected[hidden]
        return float(2 * (np.where(y > 0, y * np.log(np.maximum(y, 1) / mu), 0.0) - y + mu).mean())

    assert deviance(exposure * np.exp(mean + sd**2 / 2)) < 0.7 * deviance(exposure * rate)


def test_a_long_fit_can_be_followed(cli: Cli, small: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trace lies beside the results while the fit lasts, row by row as loss_trace.csv, and is gone afterwards."""
    from plncli.optim.newton_cg import NewtonCG
    from plncli.runs import trace as watching

    live = tmp_path / "deep/er/run.loss_trace.csv"
    seen: list[str] = []
    search = NewtonCG._search

    def spy(*given: Any) -> Any:
        seen.append(live.read_text() if live.exists() else "")
        return search(*given)

    monkeypatch.setattr(watching, "LONG", 0.0)
    monkeypatch.setattr(watching, "FLUSH", -1.0)
    monkeypatch.setattr(NewtonCG, "_search", staticmethod(spy))
    ran = cli("fit", "pln", "--counts", small, "--out", "deep/er/run")
    assert ran.code == 0 and "The trace can be followed: tail -f deep/er/run.loss_trace.csv" in ran.err
    written = (tmp_path / "deep/er/run/loss_trace.csv").read_text()
    assert len(seen) > 2 and seen[0].count("\n") == 2 and not live.exists()
    kept = [pd.read_csv(io.StringIO(text)) for text in (seen[-1], written)]
    pd.testing.assert_frame_equal(kept[0], kept[1].iloc[: len(kept[0])])


def test_a_trace_that_cannot_be_written_is_no_reason_to_stop(
    cli: Cli, small: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from plncli.runs import trace as watching

    monkeypatch.setattr(watching, "LONG", 0.0)
    (tmp_path / "run.loss_trace.csv").mkdir()
    assert cli("fit", "pln", "--counts", small, "--out", "run").code == 0
    assert (tmp_path / "run.loss_trace.csv").is_dir()


def test_event_files_for_tensorboard(cli: Cli, small: str, tmp_path: Path) -> None:
    from tensorboardX.proto import event_pb2

    ran = cli("fit", "pln", "--counts", small, "--out", "run", "--tensorboard", "events")
    assert ran.code == 0, ran.err
    (path,) = (tmp_path / "events").iterdir()
    content, found = path.read_bytes(), []
    while content:  # records: length (8 bytes), its checksum (4), an event, its checksum (4)
        size = int.from_bytes(content[:8], "little")
        event = event_pb2.Event.FromString(content[12 : 12 + size])
        found += [(event.step, value.tag, value.simple_value) for value in event.summary.value]
        content = content[16 + size :]
    trace = pd.read_csv(tmp_path / "run/loss_trace.csv")
    for name in ("elbo", "gap", "grad_norm"):
        values = {step: value for step, tag, value in found if tag == name}
        known = trace.set_index("step")[name].dropna()
        assert list(values) == list(known.index)
        np.testing.assert_allclose(list(values.values()), known, rtol=1e-6)
    (tmp_path / "file").write_text("")
    ran = cli("fit", "pln", "--counts", small, "--out", "again", "--tensorboard", "file")
    assert ran.code == 3 and "--tensorboard file cannot be written" in ran.err and not (tmp_path / "again").exists()
