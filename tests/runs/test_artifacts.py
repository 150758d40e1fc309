from __future__ import annotations

import csv
import json
import math
import os
import resource
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from plncli import settings as config
from plncli.dataset import Dataset
from plncli.errors import DataError, UsageError
from plncli.inference.criteria import criteria
from plncli.models import MODELS
from plncli.models.findings import Finding
from plncli.optim.base import Optimum, Status
from plncli.progress import Step
from plncli.results import FitResult
from plncli.runs import folder as artifacts
from plncli.runs.folder import check_folder, summary, with_checks, write
from plncli.runs.outcome import Outcome
from plncli.runs.run import read_run
from plncli.settings import FitConfig
from plncli.tables.atomic import whole_folder
from plncli.tables.writing import to_json

ALWAYS = {"coefficients.csv", "sigma.csv", "omega.csv", "loss_trace.csv", *artifacts.OTHERS}
LATENT = {"latent_mean.csv", "latent_sd.csv"}


def design(terms: tuple[str, ...]) -> dict[str, Any]:
    """That of a formula whose terms are columns of numbers."""
    right = f"0 + {' + '.join(terms)}"
    state = {"transforms": {"items": []}, "encoders": {}, "columns": {term: [k] for k, term in enumerate(terms)}}
    x = {"formula": right, "columns": dict.fromkeys(terms), "state": state, "terms": [*terms]}
    formula = {"text": f"~ {right}", "lhs": [], "rhs": right, "offsets": [], "columns": [*terms]}
    return {"formula": formula, "x": x, "offset": None}


def outcome(n: int = 4, p: int = 3, d: int = 2, responses: tuple[str, ...] = (), **settings: Any) -> Outcome:
    """A made-up fit of a PLN model, with numbers of every kind."""
    torch.manual_seed(0)
    data = Dataset(
        torch.ones(n, p).double(),
        torch.randn(n, d).double(),
        torch.zeros(n, 1).double(),
        torch.ones(n).double(),
        samples=tuple(f"s{i}" for i in range(n)),
        responses=responses,
    )
    B = torch.randn(d, p).double() * 1e-7
    B[0, 0], B[1, 1] = -math.inf, math.nan
    estimates = {"B": B, "Sigma": torch.randn(p, p).double(), "Omega": torch.randn(p, p).double() * 1e300}
    estimates |= {"M": torch.randn(n, p).double(), "S": torch.rand(n, p).double()}
    trace = (Step(0, 0.0, 1, 12.5, 3.0), Step(1, 0.25, 3, 10.25, 1.0, 1e-3, 1.0))
    optimum = Optimum({}, 10.25, 1e-3, 1.0, 1, 3, 7, 0.25, Status.MAX_ITER, trace)
    finding = Finding("separated", "Feature y1 is always zero.", ("y1",), (("y1", "x1"),))
    result = FitResult(
        MODELS["pln"].load_model()(),
        data,
        estimates,
        optimum,
        criteria(-10.25, 5, n, math.nan, -1.0),
        (finding,),
        {
            "B_finite": B.nan_to_num(0.0, neginf=0.0),
            "M_finite": estimates["M"],
            "poisson_features": torch.tensor([1]),
            "courses_of": torch.full((p,), -1),
            "courses_T": torch.eye(d).double(),
            "courses_kernels": torch.zeros(0, d, 0).double(),
            "courses_rows": torch.zeros(0, 0, 0).double(),
        },
    )
    made = config.built("pln", {"counts": "y.csv"} | settings)
    manifest = {"versions": {"plncli": "0"}, "exit_code": 4}
    return with_checks(Outcome(result, made, design(data.terms), None, "cpu", 0.5, manifest, ["a line"]))


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def read(path: Path, delimiter: str = ",") -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file, delimiter=delimiter))


def test_the_folder_holds_the_promised_files(tmp_path: Path) -> None:
    write(tmp_path / "runs" / "a", outcome())
    assert files(tmp_path / "runs" / "a") == ALWAYS | LATENT
    assert files(tmp_path / "runs") == {"a"}


def test_the_tables_of_the_latent_layer_can_be_left_out(tmp_path: Path) -> None:
    write(tmp_path / "a", outcome(latent=False))
    assert files(tmp_path / "a") == ALWAYS
    assert read_run(tmp_path / "a").estimates.keys() == {"B", "M", "S", "Sigma", "Omega"}


def test_coefficients_are_tidy(tmp_path: Path) -> None:
    made = outcome()
    write(tmp_path / "a", made)
    header, *rows = read(tmp_path / "a" / "coefficients.csv")
    inference = ["std_error", "statistic", "p_value", "q_value", "conf_low", "conf_high", "status"]
    assert header == ["response", "term", "estimate", *inference]
    assert [row[:2] for row in rows[:3]] == [["y1", "x1"], ["y1", "x2"], ["y2", "x1"]]
    assert rows[0][2:] == ["-inf", "", "", "", "", "", "", "infinite"]
    assert (rows[3][2], rows[3][-1]) == ("", "not estimable")  # nan is no number
    assert float(rows[1][2]) == float(made.result.estimates["B"][1, 0])


def test_the_trace_has_every_step(tmp_path: Path) -> None:
    write(tmp_path / "a", outcome())
    assert read(tmp_path / "a" / "loss_trace.csv") == [
        ["step", "seconds", "evaluations", "loss", "elbo", "grad_norm", "gap", "step_size"],
        ["0", "0", "1", "12.5", "-12.5", "3", "", ""],
        ["1", "0.25", "3", "10.25", "-10.25", "1", "0.001", "1"],
    ]


@pytest.mark.parametrize("suffix", artifacts.FORMATS)
def test_matrices_read_back_exactly_in_every_format(tmp_path: Path, suffix: str) -> None:
    made = outcome(n=20, p=7, format=suffix)
    write(tmp_path / "a", made)
    for symbol in (symbol for symbol in MODELS["pln"].tables if not symbol.optional):
        path = tmp_path / "a" / f"{symbol.table}.{suffix}"
        if suffix in ("csv", "tsv"):
            (_, *columns), *rows = read(path, delimiter="," if suffix == "csv" else "\t")
            values = np.array([list(map(float, cells)) for _, *cells in rows])
        else:
            table = (pd.read_parquet if suffix == "parquet" else pd.read_feather)(path).set_index(symbol.axes[0])
            columns, values = list(table.columns), table.to_numpy()
        np.testing.assert_array_equal(values, made.result.estimates[symbol.name].numpy())
        assert columns == list(made.result.data.responses)


def test_names_with_separators_and_quotes_survive(tmp_path: Path) -> None:
    names = ("a,b", 'say "x"', "line\nbreak")
    write(tmp_path / "a", outcome(responses=names))
    header, *rows = read(tmp_path / "a" / "sigma.csv")
    assert header == ["response", *names]
    assert [row[0] for row in rows] == list(names)
    assert read_run(tmp_path / "a").responses == names


def line(check: dict[str, Any]) -> str:
    return f"{check['sentence']} {check['remedy']}".rstrip()


def test_the_summary_has_the_promised_keys() -> None:
    found = summary(outcome())
    keys = (
        "schema_version model n_samples n_features n_covariates covariance elbo n_parameters aic bic icl r2 "
        "converged status gap grad_norm steps evaluations fit_seconds "
        "se level se_seconds total_seconds device dtype optimizer findings checks warnings"
    )
    assert list(found) == keys.split()
    assert found["elbo"] == -10.25
    assert {Status.MAX_ITER.sentence, "Feature y1 is always zero."} < {*found["warnings"]}
    assert found["warnings"] == [line(check) for check in found["checks"] if check["state"] == "look"]
    assert found["findings"][0] == {
        "code": "separated",
        "message": "Feature y1 is always zero.",
        "names": ("y1",),
        "cells": (("y1", "x1"),),
        "remedy": "",
        "note": False,
    }


def test_the_unbiased_covariance_is_in_the_summary_by_name() -> None:
    made = outcome(p=2)
    state = {"Sigma_unbiased": torch.tensor([[2.0, 1.0], [1.0, 3.0]])}
    estimates = {"B": torch.zeros(2, 2).double()}
    result = replace(made.result, model=MODELS["linear"].load_model()(), estimates=estimates, state=state)
    found = summary(replace(made, result=result, config=config.built("linear", {"response": "y.csv"})))
    assert found["sigma_unbiased"] == {"y1": {"y1": 2.0, "y2": 1.0}, "y2": {"y1": 1.0, "y2": 3.0}}


def test_what_is_not_finite_is_null_in_json() -> None:
    assert json.loads(to_json({"a": math.nan, "b": [math.inf, 1.0], "c": {"d": -math.inf}})) == {
        "a": None,
        "b": [None, 1.0],
        "c": {"d": None},
    }


def test_a_run_reads_back(tmp_path: Path) -> None:
    made = outcome()
    write(tmp_path / "a", made)
    run = read_run(tmp_path / "a")
    for name, tensor in made.result.estimates.items():
        np.testing.assert_array_equal(run.estimates[name], tensor)
    assert (run.model, run.design, run.samples) == ("pln", made.design, made.result.data.samples)
    assert config.built("pln", {k: v for k, v in run.settings.items() if k != "model"}) == made.config
    assert run.state["poisson_features"].tolist() == [1]


def test_the_saved_configuration_runs_again_but_never_overwrites(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a", outcome(out="a", overwrite=True))
    again = config.resolve("pln", {}, str(tmp_path / "a" / "config.toml"), {})
    assert again == FitConfig("pln", counts=str(tmp_path / "y.csv"), out=str(tmp_path / "a"))


# --- whole or not at all ---


def test_a_folder_in_the_way_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"exists\. Add --overwrite to replace it, or choose another folder with --out"
    ):
        check_folder(tmp_path, overwrite=False)


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(UsageError, match="is a file; the results need a folder"):
        check_folder(tmp_path / "a", overwrite=True)
    with pytest.raises(UsageError, match=r"cannot be made, since .* is a file"):
        check_folder(tmp_path / "a" / "b", overwrite=True)


def test_what_is_neither_a_file_nor_a_folder_is_refused_and_kept(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for overwrite in (False, True):
        with pytest.raises(UsageError, match="is a file; the results need a folder"):
            check_folder(pipe, overwrite=overwrite)
    with pytest.raises(DataError, match="Cannot write the results"), whole_folder(pipe):
        pass
    assert pipe.is_fifo()
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def test_overwriting_removes_nothing_that_plncli_did_not_write(tmp_path: Path) -> None:
    write(tmp_path / "a", outcome())
    check_folder(tmp_path / "a", overwrite=True)
    (tmp_path / "a" / "thesis.txt").touch()
    with pytest.raises(UsageError, match=r"would remove what plncli did not write from .*: thesis\.txt"):
        check_folder(tmp_path / "a", overwrite=True)


def test_a_folder_that_is_not_writable_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root, who may run this, can write everywhere
    with pytest.raises(UsageError, match=r"a cannot be made, since .* is not writable"):
        check_folder(tmp_path / "a", overwrite=False)


def test_overwriting_replaces_the_whole_folder(tmp_path: Path) -> None:
    write(tmp_path / "a", outcome())
    write(tmp_path / "a", outcome(format="tsv", overwrite=True))
    assert "sigma.csv" not in files(tmp_path / "a")
    assert files(tmp_path) == {"a"}


def test_a_folder_that_appeared_during_the_fit_is_not_replaced(tmp_path: Path) -> None:
    write(tmp_path / "a", outcome())
    with pytest.raises(UsageError, match="Add --overwrite"):
        write(tmp_path / "a", outcome(format="tsv"))
    assert "sigma.csv" in files(tmp_path / "a")


def test_a_link_to_a_folder_keeps_pointing_at_it(tmp_path: Path) -> None:
    write(tmp_path / "real", outcome())
    (tmp_path / "link").symlink_to("real")
    write(tmp_path / "link", outcome(format="tsv", overwrite=True))
    assert (tmp_path / "link").is_symlink()
    assert "sigma.tsv" in files(tmp_path / "real")


def test_a_full_disk_leaves_the_earlier_folder_as_it_was(tmp_path: Path) -> None:
    write(tmp_path / "a", outcome())
    before = (tmp_path / "a" / "sigma.csv").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, limits[1]))  # as near to a full disk as a test can come
    try:
        with pytest.raises(
            DataError, match=r"Cannot write the results into .*: File too large\. Nothing was left behind"
        ):
            write(tmp_path / "a", outcome(overwrite=True))
        with pytest.raises(DataError):
            write(tmp_path / "new" / "b", outcome())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert files(tmp_path) == {"a"}
    assert (tmp_path / "a" / "sigma.csv").read_bytes() == before


def test_a_failed_rename_puts_the_earlier_folder_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a", outcome())
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if self.name.endswith(".partial"):
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(DataError, match="Input/output error"):
        write(tmp_path / "a", outcome(overwrite=True))
    assert files(tmp_path) == {"a"}
    assert files(tmp_path / "a") == ALWAYS | LATENT


def test_leaving_while_writing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(artifacts, "write_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "deep" / "er" / "a", outcome())
    assert files(tmp_path) == set()
