"""Regressions of tables whose rows stay in a Parquet file: by blocks they are what they are of the table in memory."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import Ran
from safetensors.numpy import load_file

import plncli.cli

Cli = Callable[..., Ran]
N, ROWS = 700, 64


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of every type of column, in row groups of 150; `rare` is a level of the last row groups alone."""
    folder, draw = tmp_path_factory.mktemp("stored"), np.random.default_rng(3)
    a, b, pos = draw.normal(size=N), draw.integers(-500, 500, N), draw.gamma(2.0, size=N) + 0.1
    g = draw.choice(["u", "v", "ü w"], N).astype(object)
    g[N - 30 :: 5] = "rare"
    k = draw.choice([1.0, 2.0, 3.0], N)
    flag = draw.random(N) < 0.4
    eta = 0.7 * a - 0.002 * b + (g == "v") + 0.3 * (k - 2) - 0.5 * flag + 0.2 * np.log(pos)
    y = np.where(draw.random(N) < 1 / (1 + np.exp(-eta)), "yes", "no")
    gaps = a.copy()
    gaps[[3, 200, 699]] = np.nan
    columns: dict[str, Any] = {
        "sample": [f"s{i}" for i in range(N)],
        "a": pa.array(a.astype(np.float32), pa.float32()),
        "gaps": pa.array(gaps, from_pandas=True),
        "b": pa.array(b, pa.int16()),
        "pos": pos,
        "g": pa.array(g).dictionary_encode(),
        "k": k,
        "digits": [str(int(x)) for x in k],
        "flag": flag,
        "w": draw.integers(0, 4, N).astype(float),
        "y": y,
        "u": pa.array((y == "yes").astype(np.int8)),
        "z": eta + draw.normal(size=N),
        "t": -eta + 0.5 * draw.normal(size=N),
        "edge": np.where((np.arange(N) % 97 == 5) & (y == "yes"), "in", "out"),
        "constant": np.ones(N),
        "my y": np.where(y == "yes", 1.0, 0.0),
        "1 odd & name": pos + a,
        "unlike": [f"x{i}" for i in range(N)],
    }
    pq.write_table(pa.table(columns), folder / "table.parquet", row_group_size=150)
    pq.write_table(pa.table(columns).drop(["sample"]).select(["a", "b", "y", "z"]), folder / "nameless.parquet")
    return folder


def fit(place: Path, model: str, name: str, *words: str, table: str = "table.parquet") -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        given = ["fit", model, "--covariates", table, "-q", "--overwrite", "--out", name, *words]
        patch.setattr(sys, "argv", ["plncli", *given])
        with pytest.raises(SystemExit) as ended:
            plncli.cli.main()
    return int(ended.value.code or 0)


FITS = {
    "slopes": ("logistic", "y ~ a + b + pos"),
    "levels": ("logistic", "y ~ a + g + flag + C(k)", "--weights", "w", "--se", "hc3"),
    "combinations": ("logistic", "u ~ a * g + flag", "--reference", "g=v"),
    "interaction": ("logistic", "y ~ a + interaction(flag, k)"),
    "transforms": ("logistic", "y ~ scale(a) + center(b) + g:standardize(log(pos)) + offset(log(pos))"),
    "missing": ("logistic", "u ~ gaps + digits", "--missing", "drop", "--filter", "g in ['u', 'v'] and pos > 0.5"),
    "separated": ("logistic", "y ~ a + edge", "--se", "hc1"),
    "intercept": ("logistic", "y + u ~ 1"),
    "odd-names": ("logistic", "`my y` ~ `1 odd & name` + b"),
    "odd-names-in-code": ("linear", "log(pos) + `my y` ~ I(`1 odd & name` ** 2) + scale(`1 odd & name`) + g"),
    "linear": ("linear", "z + t ~ a * g + C(k, contr.sum)", "--weights", "w", "--vcov"),
    "linear-robust": ("linear", "z ~ a + flag + offset(pos)", "--se", "hc2"),
    "expressions": ("linear", "log(pos) ~ a + I(b / 100)"),
    "float32": ("linear", "z ~ a + g", "--dtype", "float32"),
    "ill-conditioned": ("linear", "z ~ a + I(1e6 + b) + I(a + 1e-5 * pos)"),
}


def told(folder: Path) -> dict[str, Any]:
    summary = json.loads((folder / "summary.json").read_text())
    manifest = json.loads((folder / "manifest.json").read_text())
    kept = ("findings", "checks", "warnings", "n_samples", "n_covariates", "se", "converged", "n_parameters")
    for check in summary["checks"]:
        if check["name"] in ("convergence", "influence"):
            del check["sentence"], check["numbers"]
    return {name: summary[name] for name in kept} | {name: manifest[name] for name in ("inputs", "dropped", "notes")}


@pytest.mark.parametrize("name", FITS)
def test_is_the_fit_of_the_table_in_memory(place: Path, name: str) -> None:
    model, formula, *more = FITS[name]
    words = ("--formula", formula, *more)
    codes = [fit(place, model, f"{name}-whole", *words), fit(place, model, name, *words, "--block-rows", str(ROWS))]
    assert codes[0] == codes[1]
    whole, blocks = place / f"{name}-whole", place / name
    assert {file.name for file in whole.iterdir()} == {file.name for file in blocks.iterdir()}
    loose = name in ("float32", "ill-conditioned")
    one, other = told(whole), told(blocks)
    assert other == one
    first, second = (pd.read_csv(folder / "coefficients.csv") for folder in (whole, blocks))
    assert (first[["response", "term", "status"]] == second[["response", "term", "status"]]).all(axis=None)
    size = 1e-4 if loose else 1e-7
    for column in ("estimate", "std_error", "p_value", "conf_low"):
        np.testing.assert_allclose(second[column], first[column], rtol=size, atol=size)
    numbers = [json.loads((folder / "summary.json").read_text()) for folder in (whole, blocks)]
    for key in ("loglik", "aic", "bic", "r2"):
        assert numbers[1][key] == pytest.approx(numbers[0][key], rel=size)
    kept = [load_file(folder / "model.safetensors") for folder in (whole, blocks)]
    assert kept[0].keys() == kept[1].keys()
    np.testing.assert_allclose(
        kept[1]["sketch.X"], kept[0]["sketch.X"], rtol=1e-5, atol=1e-9 * abs(kept[0]["sketch.X"]).max()
    )


def test_what_follows_answers_as_of_the_table_in_memory(place: Path, cli: Cli) -> None:
    """Predictions, a diagnosis (which checks that the data are those that were fitted), a repeated fit, a start."""
    model, formula, *more = FITS["levels"]
    for name, rows in (("after-whole", ()), ("after", ("--block-rows", "100"))):
        assert fit(place, model, name, "--formula", formula, *more, *rows) == 0
    predicted = []
    for name in ("after-whole", "after"):
        assert (
            cli(
                "predict",
                place / name,
                "--covariates",
                place / "table.parquet",
                "--out",
                place / f"{name}.csv",
                "--overwrite",
            ).code
            == 0
        )
        predicted.append(pd.read_csv(place / f"{name}.csv")["probability"])
    np.testing.assert_allclose(predicted[1], predicted[0], atol=1e-8)
    assert cli("diagnose", place / "after", "--json").code == 0
    assert cli("rerun", place / "after", "--check").code == 0
    assert fit(place, model, "again", "--formula", formula, *more, "--block-rows", "50", "--init", "after") == 0
    steps = [json.loads((place / name / "summary.json").read_text())["steps"] for name in ("after", "again")]
    assert steps[1] < steps[0]


def test_what_takes_all_rows_says_so_where_memory_does_not_hold_them(
    place: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fit(place, "linear", "large", "--formula", "z ~ a + b", "--block-rows", "100") == 0
    monkeypatch.setattr("plncli.inputs.blocks.loading.MANY", 1)
    monkeypatch.setattr("plncli.runs.training_data.free_memory", lambda device: 3e4)
    refused = cli("diagnose", place / "large")
    assert refused.code == 3 and "by blocks of its rows" in refused.err
    monkeypatch.setattr("plncli.runs.training_data.free_memory", lambda device: 1e6)
    assert cli("diagnose", place / "large").code == 0


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet", "feather"])
@pytest.mark.parametrize("wide", [(), ("--wide", "probability")], ids=["long", "wide"])
def test_predictions_of_a_large_table_are_made_by_blocks(
    place: Path, cli: Cli, suffix: str, wide: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the table that is made of all rows at once."""
    assert fit(place, "logistic", "both", "--formula", "y + u ~ a + g + log(pos)") == 0
    given = ("--covariates", place / "table.parquet", "--interval", "confidence", *wide, "--overwrite", "--out")
    files = [place / f"{name}.{suffix}" for name in ("predicted-whole", "predicted")]
    said = [cli("predict", place / "both", *given, files[0])]
    monkeypatch.setattr("plncli.inputs.blocks.loading.MANY", 1)
    monkeypatch.setattr("plncli.verbs.samples.stored.ROWS", 64)
    said.append(cli("predict", place / "both", *given, files[1]))
    assert [ran.code for ran in said] == [0, 0] and said[0].err == said[1].err
    read: dict[str, Any] = {"csv": pd.read_csv, "tsv": partial(pd.read_csv, sep="\t"), "parquet": pd.read_parquet}
    one, other = (read.get(suffix, pd.read_feather)(file) for file in files)
    pd.testing.assert_frame_equal(other, one, rtol=1e-12, atol=1e-12)
    assert not list(place.glob(".*partial*"))


def test_a_large_table_that_lacks_an_entry_leaves_no_predictions(
    place: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fit(place, "linear", "gappy", "--formula", "z ~ gaps", "--missing", "drop") == 0
    monkeypatch.setattr("plncli.inputs.blocks.loading.MANY", 1)
    monkeypatch.setattr("plncli.verbs.samples.stored.ROWS", 64)
    given = ("--covariates", place / "table.parquet", "--out", place / "gappy.csv")
    refused = cli("predict", place / "gappy", *given)
    assert refused.code == 3 and "missing entry" in refused.err and "s3" in refused.err
    assert not (place / "gappy.csv").exists() and not list(place.glob(".*partial*"))
    assert cli("predict", place / "gappy", *given, "--missing", "drop").code == 0


def test_a_fit_that_was_cut_short_goes_on(place: Path) -> None:
    words = ("--formula", "y ~ a + g", "--block-rows", "80")
    assert fit(place, "logistic", "short", *words, "--max-iter", "1") == 4
    assert fit(place, "logistic", "short", *words, "--resume") == 0
    assert fit(place, "logistic", "whole", "--formula", "y ~ a + g") == 0
    tables = [pd.read_csv(place / name / "coefficients.csv") for name in ("short", "whole")]
    np.testing.assert_allclose(tables[0]["estimate"], tables[1]["estimate"], rtol=1e-7, atol=1e-7)


def test_a_condition_on_a_text_that_no_sample_has_is_told_once(place: Path) -> None:
    for name, rows in (("text-whole", ()), ("text", ("--block-rows", "99"))):
        words = ("--formula", "z ~ a", "--filter", "g != 'none' and y == 'yes'", *rows)
        assert fit(place, "linear", name, *words) == 0
    one, other = told(place / "text-whole"), told(place / "text")
    assert "no sample has the entry `none`" in other["notes"][0]
    assert {**other, "notes": other["notes"][1:]} == {**one, "notes": one["notes"][1:]}


def test_rows_without_names_are_numbered(place: Path) -> None:
    for name, rows in (("nameless-whole", ()), ("nameless", ("--block-rows", "99"))):
        assert fit(place, "linear", name, "--formula", "z ~ a + b", *rows, table="nameless.parquet") == 0
    assert told(place / "nameless") == told(place / "nameless-whole")


REFUSED = {
    "splines": ("y ~ bs(a, df=4)", (), "`bs(a, df=4)` learns from all rows at once"),
    "comparison": ("y ~ I(a > 0)", (), "make it a column"),
    "firth": ("y ~ a", ("--penalty", "firth"), "--penalty firth takes the table whole"),
    "bootstrap": ("y ~ a", ("--se", "bootstrap"), "--se bootstrap takes the table whole"),
    "clusters": ("y ~ a", ("--cluster", "g"), "--cluster takes the table whole"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_takes_all_rows_is_refused_where_blocks_are_asked_for(place: Path, cli: Cli, name: str) -> None:
    formula, more, sentence = REFUSED[name]
    table = ("--covariates", place / "table.parquet", "--formula", formula)
    found = cli("fit", "logistic", *table, *more, "--block-rows", 50, "--out", place / "refused")
    assert found.code == 2 and sentence in found.err.replace("\n", " ") and "--block-rows" in found.err
    assert not (place / "refused").exists()


def test_a_large_table_that_is_read_whole_says_why(place: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plncli.inputs.blocks.loading.MANY", 1)
    given = ("--covariates", place / "table.parquet", "--formula", "y ~ bs(a, df=4)")
    found = cli("fit", "logistic", *given, "--out", place / "splines")
    assert found.code == 0 and "is read whole, for `bs(a, df=4)` learns from all rows" in " ".join(found.err.split())
    told = json.loads(cli("validate", "logistic", *given, "--json").out)
    assert any("is read whole" in note for note in told["notes"])
    found = cli("fit", "logistic", *given[:3], "y ~ a", "--out", place / "by-itself")
    assert found.code == 0 and "The rows stay in" in found.err


FAULTS = {
    "unknown": ("y ~ nothing", ()),
    "missing": ("y ~ gaps", ()),
    "constant": ("y ~ a + constant", ()),
    "collinear": ("y ~ a + I(2 * a)", ()),
    "one-each": ("y ~ unlike", ()),
    "texts": ("y ~ log(g)", ()),
    "logarithm": ("y ~ log(b)", ()),
    "three classes": ("k ~ a", ()),
    "no sample": ("y ~ a", ("--filter", "a > 100")),
    "no column": ("y ~ a", ("--filter", "nothing > 1")),
    "reference": ("y ~ g", ("--reference", "g=x")),
    "negative weights": ("y ~ a", ("--weights", "b")),
    "one class": ("constant ~ a", ()),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_are_told_as_of_the_table_in_memory(place: Path, cli: Cli, name: str) -> None:
    formula, more = FAULTS[name]
    table = ("--covariates", place / "table.parquet", "--formula", formula)
    found = [
        cli("fit", "logistic", *table, *more, *rows, "--out", place / "faulty") for rows in ((), ("--block-rows", 64))
    ]
    assert [ran.code for ran in found] == [3, 3]
    shared = found[0].err.split()[:12]
    assert found[1].err.split()[:12] == shared


def test_a_validation_tells_sizes_and_memory(place: Path, cli: Cli) -> None:
    given = ("--covariates", place / "table.parquet", "--formula", "y ~ a + g + k", "--json")
    whole, blocks = (json.loads(cli("validate", "logistic", *given, *more).out) for more in ((), ("--block-rows", 64)))
    for key in ("n_samples", "terms", "levels", "classes", "offset"):
        assert blocks["data"][key] == whole["data"][key]
    assert blocks["data"]["numbers"]["k"] == whole["data"]["numbers"]["k"]
    assert 0 < blocks["memory"]["needs"] < 2**26


def test_a_file_that_changes_is_refused(place: Path) -> None:
    from plncli.errors import DataError
    from plncli.tables.stored import opened

    other = place / "changing.parquet"
    other.write_bytes((place / "table.parquet").read_bytes())
    table = opened(str(other), "covariates", sample_names=True)
    assert table is not None
    assert sum(block.cells.num_rows for _, block in table.blocks(("a",), 33)) == N
    pq.write_table(pq.read_table(other).slice(1), other)
    with pytest.raises(DataError, match="has changed"):
        list(table.blocks(("a",), 33))


def test_names_that_repeat_are_found_by_their_hashes(place: Path, cli: Cli) -> None:
    table = pq.read_table(place / "table.parquet")
    names = table.column(0).to_pylist()
    names[650] = names[3]
    pq.write_table(table.set_column(0, "sample", pa.array(names)), place / "twice.parquet")
    given = ("--covariates", place / "twice.parquet", "--formula", "y ~ a")
    found = [cli("fit", "logistic", *given, *rows, "--out", place / "twice") for rows in ((), ("--block-rows", 64))]
    assert [ran.code for ran in found] == [3, 3] and found[0].err == found[1].err


def test_shares_of_rows_are_read_alone(place: Path) -> None:
    from plncli.tables.stored import opened

    table = opened(str(place / "table.parquet"), "covariates", sample_names=True)
    assert table is not None
    found = []
    for own in range(3):
        found += [
            value for _, block in table.share(own, 3).blocks(("b",), 50) for value in block.cells.column(0).to_pylist()
        ]
    assert found == pq.read_table(place / "table.parquet").column("b").to_pylist()
