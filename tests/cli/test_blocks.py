"""Low rank by blocks of rows, by the commands: a table without its zeros, and what is asked of such a fit."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import Ran
from scipy import io, sparse

import plncli.cli
import plncli.sparse

Cli = Callable[..., Ran]
N, P = 120, 15


def fit(place: Path, name: str, *more: str) -> int:
    """The exit code of a fit in a folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        words = ["fit", "pln-pca", "--counts", "matrix.mtx", "--covariates", "covariates.csv", "--formula", "~ batch"]
        patch.setattr(sys, "argv", ["plncli", *words, "--rank", "2", "--tol", "1e-8", "-q", "--out", name, *more])
        with pytest.raises(SystemExit) as ended:
            plncli.cli.main()
    return int(ended.value.code or 0)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sparse table of cells × genes in batches, one gene never seen in batch b; fits of it whole and by blocks."""
    place = tmp_path_factory.mktemp("made")
    rng = np.random.default_rng(0)
    U, C = rng.normal(size=(N, 2)), rng.normal(size=(2, P))
    Y = rng.poisson(np.exp(-1.8 + 0.6 * U @ C))
    batch = np.array(["a", "b", "c"])[np.arange(N) % 3]
    Y[:, 0] += batch == "a"
    Y[batch == "b", P - 1] = 0
    Y[:3, P - 1] += np.array([2, 0, 1])
    Y[Y.sum(1) == 0, 1] = 1
    cells, genes = [f"cell{i}" for i in range(N)], [f"gene{j}" for j in range(P)]
    io.mmwrite(place / "matrix.mtx", sparse.csr_array(Y).T)
    (place / "barcodes.tsv").write_text("\n".join(cells) + "\n")
    (place / "features.tsv").write_text("\n".join(genes) + "\n")
    pd.DataFrame({"batch": batch}, pd.Index(cells, name="sample")).to_csv(place / "covariates.csv")
    assert fit(place, "whole") == 0
    assert fit(place, "blocks", "--block-rows", "32") == 0
    return place


def table(place: Path, name: str) -> np.ndarray:
    return pd.read_csv(place / name, index_col=0).to_numpy(float)


def test_a_fit_by_blocks_leaves_the_same_files(made: Path) -> None:
    whole, blocks = ({file.name for file in (made / name).iterdir()} for name in ("whole", "blocks"))
    assert whole == blocks
    first, second = (json.loads((made / name / "summary.json").read_text()) for name in ("whole", "blocks"))
    assert second["elbo"] == pytest.approx(first["elbo"], abs=1e-5)
    assert second["findings"] == first["findings"] and first["findings"]
    for name in ("loadings.csv", "scores.csv", "scores_sd.csv"):
        np.testing.assert_allclose(table(made, f"blocks/{name}"), table(made, f"whole/{name}"), rtol=1e-3, atol=1e-3)
    coefficients = [pd.read_csv(made / name / "coefficients.csv") for name in ("whole", "blocks")]
    assert np.isinf(coefficients[0]["estimate"]).sum() == 1
    for column in ("estimate", "std_error"):
        np.testing.assert_allclose(coefficients[1][column], coefficients[0][column], rtol=1e-3, atol=1e-3)


def test_what_follows_a_fit_by_blocks(made: Path, cli: Cli) -> None:
    """Each verb answers as it does of the whole, or says what is not there."""
    for name in ("whole", "blocks"):
        again = (
            "--counts",
            made / "matrix.mtx",
            "--covariates",
            made / "covariates.csv",
            "--out",
            made / f"{name}.csv",
        )
        assert cli("transform", made / name, *again).code == 0
    np.testing.assert_allclose(table(made, "blocks.csv"), table(made, "whole.csv"), rtol=1e-3, atol=1e-3)
    told = [json.loads(cli("diagnose", made / name, "--draws", 50, "--json").out) for name in ("whole", "blocks")]
    assert told[0]["zeros"]["expected"] == pytest.approx(told[1]["zeros"]["expected"], rel=1e-3)
    assert told[0]["gap"] == pytest.approx(told[1]["gap"], abs=0.3)
    blocks = made / "blocks"
    assert cli("report", blocks, "--out", made / "page.html").code == 0
    refused = cli("plot", blocks, "fitted", "--out", made / "fitted.png")
    assert refused.code == 3 and "fitted by blocks" in refused.err and "plncli transform" in refused.err
    assert cli("plot", blocks, "pca", "--out", made / "pca.png").code == 0
    assert cli("rerun", blocks, "--check").code == 0


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet", "feather"])
def test_latent_means_that_are_asked_for_are_written_by_blocks(
    made: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those of a fit that holds them, in files of the same columns."""
    monkeypatch.setattr(plncli.sparse, "BLOCK", 37 * P)
    read = {"csv": pd.read_csv, "tsv": partial(pd.read_csv, sep="\t"), "parquet": pd.read_parquet}
    tables = []
    for name, more in (("latent-whole", ()), ("latent", ("--block-rows", "32"))):
        words = ("--latent", "--se", "none", "--format", suffix, "--overwrite")
        assert fit(made, name, *words, *more) == 0
        found = [read.get(suffix, pd.read_feather)(made / name / f"latent_{what}.{suffix}") for what in ("mean", "sd")]
        tables.append(found)
    for whole, blocks in zip(*tables, strict=True):
        assert list(blocks.columns) == list(whole.columns)
        assert list(blocks.iloc[:, 0]) == list(whole.iloc[:, 0])
        np.testing.assert_allclose(blocks.iloc[:, 1:], whole.iloc[:, 1:], rtol=1e-3, atol=1e-3)
    summary = json.loads((made / "latent" / "summary.json").read_text())
    assert "no-latent-means" not in [one["code"] for one in summary["findings"]]


def test_large_counts_are_transformed_by_blocks(made: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the files of all samples at once."""
    given = ("--counts", made / "matrix.mtx", "--covariates", made / "covariates.csv", "--overwrite")
    for size in (1 << 22, 41 * P):
        monkeypatch.setattr(plncli.sparse, "BLOCK", size)
        files = (made / f"mean-{size}.csv", made / f"sd-{size}.parquet")
        assert cli("transform", made / "blocks", *given, "--out", files[0], "--sd", files[1]).code == 0
    first, second = ((made / f"mean-{size}.csv").read_text() for size in (1 << 22, 41 * P))
    rows = [[line.split(",") for line in text.splitlines()] for text in (first, second)]
    assert [row[0] for row in rows[0]] == [row[0] for row in rows[1]] and rows[0][0] == rows[1][0]
    numbers = [pd.read_csv(made / f"mean-{size}.csv", index_col=0) for size in (1 << 22, 41 * P)]
    np.testing.assert_allclose(numbers[0], numbers[1], rtol=1e-9, atol=1e-9)
    sds = [pd.read_parquet(made / f"sd-{size}.parquet").set_index("sample") for size in (1 << 22, 41 * P)]
    np.testing.assert_allclose(sds[0], sds[1], rtol=1e-9, atol=1e-9)


def test_a_diagnosis_says_where_memory_does_not_hold_the_counts(
    made: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plncli.runs.training_data.free_memory", lambda device: 1e4)
    refused = cli("diagnose", made / "blocks")
    assert refused.code == 3 and "matrix.mtx by blocks of its rows" in refused.err


def test_a_validation_finds_the_same_without_the_zeros(made: Path, cli: Cli) -> None:
    given = ("--counts", made / "matrix.mtx", "--covariates", made / "covariates.csv", "--formula", "~ batch")
    told = [
        json.loads(cli("validate", "pln-pca", *given, *more, "--rank", 2, "--json").out)
        for more in ((), ("--block-rows", 32))
    ]
    assert told[0]["data"] == told[1]["data"] and told[0]["data"]["counts"]["share_zeros"] > 0.5
    assert [one["message"] for one in told[0]["findings"]] == [one["message"] for one in told[1]["findings"]]


def test_blocks_need_a_number(made: Path, cli: Cli) -> None:
    refused = cli("fit", "pln-pca", "--counts", made / "matrix.mtx", "--block-rows", 0)
    assert refused.code == 2 and "whole number from 1" in refused.err
