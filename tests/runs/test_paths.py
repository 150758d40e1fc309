"""Paths of fits along a setting: each fit is an ordinary one, and one of them is chosen."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import jsonschema
import numpy as np
import pandas as pd
import pytest
from conftest import Ran
from hypothesis import given
from hypothesis import strategies as st

import plncli.cli
from plncli import Dataset, fit, load
from plncli.errors import DataError
from plncli.runs import schema
from plncli.runs.path import best, name_of
from plncli.runs.run import read_run
from plncli.settings.values import values
from plncli.verbs.show import choice

Cli = Callable[..., Ran]
RANKS = (1, 2, 3)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Counts of rank 2, 40 samples × 6 features, with a covariate."""
    folder = tmp_path_factory.mktemp("tables")
    rng = np.random.default_rng(4)
    x, C = rng.normal(size=40), rng.normal(size=(6, 2))
    Y = rng.poisson(np.exp(2.0 + 0.3 * x[:, None] + rng.normal(size=(40, 2)) @ C.T))
    names = [f"s{i}" for i in range(40)]
    pd.DataFrame(Y, names, [f"f{j}" for j in range(6)]).rename_axis("sample").to_csv(folder / "counts.csv")
    pd.DataFrame({"x": x}, names).rename_axis("sample").to_csv(folder / "covariates.csv")
    return folder


def words(tables: Path, out: Path | str, *more: str) -> list[str]:
    files = ["--counts", str(tables / "counts.csv"), "--covariates", str(tables / "covariates.csv")]
    return ["fit", "pln-pca", *files, "--formula", "~ x", "--rank", "1:3", "--out", str(out), *more]


@pytest.fixture(scope="module")
def path(tables: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the path."""
    out = tmp_path_factory.mktemp("path") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["plncli", *words(tables, out)])
        with pytest.raises(SystemExit) as ended:
            plncli.cli.main()
    assert not ended.value.code
    return out


def test_each_fit_is_an_ordinary_run_and_one_is_chosen(path: Path) -> None:
    table = pd.read_csv(path / "path.csv")
    assert table["rank"].tolist() == [*RANKS]
    assert sorted(place.name for place in (path / "path").iterdir()) == ["rank-01", "rank-02", "rank-03"]
    summary = json.loads((path / "summary.json").read_text())
    jsonschema.validate(summary, dict(schema.schema("summary")))
    chosen = int(table["icl"].idxmin())
    assert summary["path"]["chosen"] == RANKS[chosen] and table["chosen"].tolist().index(True) == chosen
    for rank, row in zip(RANKS, table.to_dict("records"), strict=True):
        run = read_run(path / "path" / f"rank-0{rank}")
        assert run.estimates["C"].shape == (6, rank) and run.summary["elbo"] == row["elbo"]
    same = path / "path" / f"rank-0{RANKS[chosen]}"
    for name in ("coefficients.csv", "loadings.csv", "scores.csv", "loss_trace.csv"):
        assert (path / name).read_bytes() == (same / name).read_bytes()
    assert read_run(path).inference and "path" not in read_run(same).summary


def test_a_rank_more_never_lowers_the_bound(path: Path) -> None:
    assert all(b > a for a, b in pairwise(pd.read_csv(path / "path.csv")["elbo"]))


@pytest.mark.usefixtures("unpainted")
def test_other_verbs_take_a_path_as_a_run(path: Path, cli: Cli, tmp_path: Path) -> None:
    shown = cli("show", str(path))
    assert shown.code == 0 and "Fits of the path" in shown.out and "by icl, of 3 fits" in shown.out
    runs = [str(place) for place in sorted((path / "path").iterdir())]
    assert cli("compare", *runs).code == 0
    for verb in (["diagnose"], ["report", "--out", str(tmp_path / "report.html")]):
        done = cli(verb[0], str(path), *verb[1:])
        assert done.code == 0, done.err


def test_a_path_is_drawn_as_its_table_says(path: Path, cli: Cli, tmp_path: Path) -> None:
    table, out = pd.read_csv(path / "path.csv"), tmp_path / "path.csv"
    assert cli("plot", str(path), "path", "--out", str(out)).code == 0
    drawn = pd.read_csv(out)
    for name in ("rank", "elbo", "aic", "bic", "icl"):
        np.testing.assert_allclose(drawn[name], table[name])
    assert cli("plot", str(path), "path", "--out", str(tmp_path / "path.png")).code == 0
    single = cli("plot", str(path / "path" / "rank-02"), "path", "--out", str(tmp_path / "none.png"))
    assert single.code == 3 and "single fit" in single.err


@pytest.mark.slow  # fits of two paths; that of a single fit is in the contract tests
def test_a_path_is_repeated_to_the_bit_and_so_is_each_of_its_fits(path: Path, cli: Cli) -> None:
    for run in (path, path / "path" / "rank-02"):
        done = cli("rerun", str(run), "--check")
        assert done.code == 0, done.err


@pytest.mark.slow  # many fits; that of a single fit is in the contract tests
def test_a_path_that_was_cut_short_ends_in_the_same_bits(path: Path, tables: Path, cli: Cli, tmp_path: Path) -> None:
    """By limits of time at first, by an interrupt and a kill then; nothing that was done is done again."""
    out = tmp_path / "out"
    cut = cli(*words(tables, out, "--time-limit", "0.01"))
    assert cut.code == 4 and "resume" in cut.err and not out.exists()
    for number in (signal.SIGINT, signal.SIGKILL):
        command = [sys.executable, "-m", "plncli", "resume", str(out)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            kept = tmp_path / "out.checkpoint" / "path" / "rank-01"
            while not kept.exists() and process.poll() is None:
                time.sleep(0.02)
            os.kill(process.pid, number)
            process.communicate()
    if not out.exists():  # a fast machine may have ended it
        done = cli("resume", str(out))
        assert done.code == 0 and "of the path are done already" in done.err, done.err
    for name in ("coefficients.csv", "loadings.csv", "path/rank-03/loadings.csv", "path/rank-01/scores.csv"):
        assert (out / name).read_bytes() == (path / name).read_bytes(), name
    assert not (tmp_path / "out.checkpoint").exists()
    again = cli(*words(tables, out, "--resume"))
    assert again.code == 0 and "done already" in again.err


def test_another_path_is_not_gone_on_with(tables: Path, cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert cli(*words(tables, out, "--time-limit", "0.01")).code == 4
    refused = cli(*words(tables, out, "--rank", "1:2", "--resume"))
    assert refused.code == 2 and "--rank was" in refused.err
    assert cli(*words(tables, out)).code == 2


def test_a_folder_of_a_path_is_replaced_and_what_is_not_ours_is_not(path: Path, tables: Path, cli: Cli) -> None:
    assert cli(*words(tables, path)).code == 2
    (path / "path" / "mine").mkdir()
    (path / "path" / "mine" / "thesis.txt").write_text("mine")
    refused = cli(*words(tables, path, "--overwrite"))
    assert refused.code == 2 and "path" in refused.err
    (path / "path" / "mine" / "thesis.txt").unlink()
    (path / "path" / "mine").rmdir()


@pytest.mark.slow  # fifteen fits with parts hidden
def test_cross_validation_chooses_the_rank_that_the_counts_have(tables: Path, cli: Cli, tmp_path: Path) -> None:
    done = cli(*words(tables, tmp_path / "out", "--select", "cv", "--se", "none"))
    assert done.code == 0, done.err
    table = pd.read_csv(tmp_path / "out" / "path.csv")
    assert int(table["cv"].idxmax()) == table["chosen"].tolist().index(True)
    assert table["rank"][int(table["cv"].idxmax())] == 2


def test_a_rank_beyond_the_table_is_refused_before_anything_is_fitted(tables: Path, cli: Cli, tmp_path: Path) -> None:
    refused = cli(*words(tables, tmp_path / "out", "--rank", "1:9"))
    assert refused.code == 3 and "--rank 6" in refused.err and not (tmp_path / "out.checkpoint").exists()


@pytest.mark.slow  # a path again; a shorter one from Python is below
def test_python_has_the_same_path(path: Path, tables: Path) -> None:
    counts, covariates = (pd.read_csv(tables / f"{name}.csv", index_col=0) for name in ("counts", "covariates"))
    data = Dataset(counts=counts, covariates=covariates, formula="~ x")
    result = fit("pln-pca", data, rank=range(1, 4))
    pd.testing.assert_frame_equal(result.loadings, pd.read_csv(path / "loadings.csv", index_col=0), rtol=1e-6)
    assert result.path["rank"].tolist() == [*RANKS] and set(result.members) == {*RANKS}
    assert result.members[1].loadings.shape == (6, 1)


def test_a_path_that_is_saved_from_python_is_whole(tables: Path, tmp_path: Path) -> None:
    """Its settings reach each fit of it, and what it says of the whole is of the whole."""
    counts = pd.read_csv(tables / "counts.csv", index_col=0)
    result, out = fit("pln-pca", Dataset(counts=counts), rank="1:2", se="none"), tmp_path / "saved"
    result.save(out, format="tsv", latent=True)
    for place in (out, out / "path" / "rank-01", out / "path" / "rank-02"):
        assert {"loadings.tsv", "latent_mean.tsv"} <= {file.name for file in place.iterdir()}
    assert json.loads((out / "manifest.json").read_text())["configuration"]["rank"] == [1, 2]
    assert f'init = "{out / "path" / "rank-01"}"' in (out / "path" / "rank-02" / "config.toml").read_text()
    assert load(out).members[2].loadings.shape == (6, 2)


def test_starts_by_chance_agree_or_are_told(tables: Path, cli: Cli, tmp_path: Path) -> None:
    done = cli(*words(tables, tmp_path / "out", "--rank", "2", "--starts", "3", "--json"))
    summary = json.loads(done.out)
    assert done.code == 0 and summary["starts"] == 3 and 1 <= summary["starts_agree"] <= 3
    assert "of 3 found this optimum" in done.err


# --- values and choices ---


def test_values_are_read_as_they_are_written() -> None:
    known = {"7": 7, "1:4": (1, 2, 3, 4), "2:9:3": (2, 5, 8), "5,1,1:2": (1, 2, 5), "3,3": 3}
    assert {text: values(text) for text in known} == known
    assert values([1, "3:4"]) == (1, 3, 4) and values(np.int64(3)) == 3 and values(np.arange(2)) == (0, 1)
    for wrong in ("", "a", "1:", "4:1", "1,,2", "1:5:0", "1.5", [], [1, None], 2.0, True, None, "1:99999"):
        assert values(wrong) is None, wrong


@given(st.lists(st.integers(0, 999), min_size=1, max_size=40))
def test_a_list_is_its_own_value_in_order(numbers: list[int]) -> None:
    expected = tuple(sorted(set(numbers)))
    for written in (numbers, ",".join(map(str, numbers))):
        assert values(written) == (expected if len(expected) > 1 else expected[0])


def test_names_sort_as_their_values_do() -> None:
    assert [name_of("rank", value, (1, 10, 100)) for value in (1, 10, 100)] == ["rank-001", "rank-010", "rank-100"]


def test_the_best_is_of_those_that_converged() -> None:
    rows = [
        {"rank": 1, "icl": 5.0, "cv": -2.0, "status": "converged"},
        {"rank": 2, "icl": 3.0, "cv": -1.0, "status": "converged"},
        {"rank": 3, "icl": 1.0, "cv": -0.5, "status": "time_limit"},
    ]
    assert [best(rows, criterion) for criterion in ("icl", "cv", "none")] == [1, 1, 2]
    assert best([row | {"status": "precision"} for row in rows], "icl") == 2
    with pytest.raises(DataError, match="finite icl"):
        best([{"icl": None, "status": "converged"}], "icl")
    told = {
        "setting": "rank",
        "select": "icl",
        "chosen": 2,
        "fits": [row | {"chosen": row["rank"] == 2} for row in rows],
    }
    assert choice(told) == "rank 2 by icl, of 3 fits; rank 3 is next, 2.0 behind"
