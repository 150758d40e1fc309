"""`plncli offsets`, and `plncli fit pln --offset-method`: real commands on real files."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import Oaks, Ran

from plncli.names import OFFSET_METHODS

Cli = Callable[..., Ran]

SMALL = "id,ash,elm,oak,yew\na,3,1,4,2\nb,5,9,2,6\nc,0,3,5,8\nd,9,7,9,3\ne,2,3,8,4\nf,6,2,6,4\n"
BLOCKS = "feature,block\noak,hard\nyew,soft\nash,hard\nelm,soft\n"


@pytest.fixture
def small(tmp_path: Path) -> Path:
    (tmp_path / "counts.csv").write_text(SMALL)
    (tmp_path / "blocks.csv").write_text(BLOCKS)
    (tmp_path / "missing.csv").write_text(SMALL.replace("b,5", "b,NA"))
    (tmp_path / "empty.csv").write_text(SMALL.replace("c,0,3,5,8", "c,0,0,0,0"))
    (tmp_path / "zeros.csv").write_text("id,ash,elm,oak\na,0,1,4\nb,5,0,2\nc,3,3,0\n")
    (tmp_path / "part.csv").write_text("feature,block\noak,hard\n")
    return tmp_path


def read(text: str) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(text), index_col=0)


def test_a_table_of_all_methods(cli: Cli, oaks: Oaks) -> None:
    ran = cli("offsets", "--counts", oaks.counts)
    found, totals = read(ran.out), pd.read_csv(oaks.counts, index_col=0).sum(axis=1)
    assert ran.code == 0 and tuple(found.columns) == OFFSET_METHODS
    assert (found["total"] == totals).all()
    np.testing.assert_allclose(np.log(found).mean(), np.log(totals).mean(), rtol=1e-10)
    assert "css, on the scale of counts" in ran.err and "tmm" in ran.err and "reference oak021" in ran.err


def test_logarithms_proportions_and_json(cli: Cli, small: Path) -> None:
    words = ["offsets", "--counts", "counts.csv", "--offset-scale", "proportions", "--offset-method", "tmm"]
    natural, logs = read(cli(*words).out), read(cli(*words, "--log").out)
    np.testing.assert_allclose(np.log(natural), logs, rtol=1e-9)
    assert logs["tmm"].mean() == pytest.approx(0.0, abs=1e-10)
    rows = json.loads(cli(*words, "--json").out)
    assert [row["sample"] for row in rows] == list("abcdef") and rows[0]["tmm"] == natural.loc["a", "tmm"]


def test_a_method_that_is_not_defined_is_left_out_and_told(cli: Cli, small: Path) -> None:
    ran = cli("offsets", "--counts", "zeros.csv")
    assert "rle" not in read(ran.out).columns and "rle-positive" in read(ran.out).columns
    assert "note: Size factors by rle are not defined: every feature is 0 in some sample" in ran.err


@pytest.mark.parametrize("blocks", [[], ["--offset-blocks", "blocks.csv"]], ids=["one", "blocks"])
@pytest.mark.parametrize("method", ["tmm", "gmpr"])
def test_a_fit_with_a_method_is_the_fit_with_its_table(cli: Cli, small: Path, method: str, blocks: list[str]) -> None:
    """The same numbers whether the fit estimates depths, or is given the table that the verb has made."""
    fit = ["fit", "pln", "--counts", "counts.csv", "--covariance", "diagonal", "--se", "none", "-q"]
    assert cli("offsets", "--counts", "counts.csv", "--offset-method", method, *blocks, "--out", "d.csv").code == 0
    assert cli(*fit, "--offset-method", method, *blocks, "--out", "own").code == 0
    assert cli(*fit, "--exposure", "d.csv", "--out", "given").code == 0
    own, given = (pd.read_csv(small / run / "coefficients.csv")["estimate"] for run in ("own", "given"))
    np.testing.assert_allclose(own, given, rtol=1e-6)
    if blocks:
        depths = pd.read_csv(small / "d.csv", index_col=0)
        assert (depths["oak"] == depths["ash"]).all() and (depths["oak"] != depths["yew"]).any()


def test_the_scale_shifts_intercepts_alone(cli: Cli, small: Path) -> None:
    fit = ["fit", "pln", "--counts", "counts.csv", "--covariance", "diagonal", "--se", "none", "--json", "-q"]
    one, other = (
        json.loads(cli(*fit, "--offset-method", "rle", "--offset-scale", scale, "--out", scale).out)
        for scale in ("counts", "proportions")
    )
    assert one["elbo"] == pytest.approx(other["elbo"], abs=1e-4)
    b, c = (pd.read_csv(small / run / "coefficients.csv")["estimate"] for run in ("counts", "proportions"))
    totals = read(SMALL).sum(axis=1)
    np.testing.assert_allclose(c - b, np.log(totals).mean(), atol=1e-3)


def test_a_fit_records_what_it_estimated_and_runs_again(cli: Cli, small: Path) -> None:
    words = ["--counts", "counts.csv", "--offset-method", "tmm", "--offset-blocks", "blocks.csv", "--se", "none"]
    ran = cli("fit", "pln", *words, "--out", "run")
    assert ran.code == 0 and "Size factors estimated by tmm, on the scale of counts: in hard " in ran.err
    manifest = json.loads((small / "run" / "manifest.json").read_text())
    assert manifest["configuration"]["offset_method"] == "tmm"
    assert [source["role"] for source in manifest["inputs"]] == ["counts", "offset_blocks"]
    assert any("Size factors estimated by tmm" in note for note in manifest["notes"])
    assert "Size factors estimated by tmm" in (small / "run" / "run.log").read_text()
    assert cli("fit", "pln", "--config", "run/config.toml", "--out", "again", "-q").code == 0
    first, second = ((small / run / "coefficients.csv").read_bytes() for run in ("run", "again"))
    assert first == second
    assert cli("simulate", "--from", "run", "--out", "made").code == 0  # reads the tables again


@pytest.mark.parametrize("method", ["total", "css", "rle", "rle-positive", "wrench", "tmm"])
def test_new_samples_are_held_against_those_of_the_fit(cli: Cli, small: Path, method: str) -> None:
    """The samples of the fit have the depths that it gave them, alone or together; features match by name."""
    fit = ["--offset-method", method, "--covariance", "diagonal", "--se", "none", "-q"]
    assert cli("fit", "pln", "--counts", "counts.csv", *fit, "--out", "run").code == 0
    whole = read(cli("offsets", "--counts", "counts.csv", "--offset-method", method).out)
    read(SMALL).loc[["d", "b"], ["yew", "oak", "elm", "ash"]].to_csv(small / "new.csv")
    ran = cli("offsets", "--from", "run", "--counts", "new.csv", "--out", "new-depths.csv")
    assert ran.code == 0, ran.err
    found = pd.read_csv(small / "new-depths.csv", index_col=0)
    np.testing.assert_allclose(found, whole.loc[["d", "b"]], rtol=1e-11)
    assert cli("predict", "run", "--counts", "new.csv", "--exposure", "new-depths.csv").code == 0


def test_new_samples_by_block(cli: Cli, small: Path) -> None:
    words = ["--offset-method", "total", "--offset-blocks", "blocks.csv"]
    fit = ["fit", "pln", "--counts", "counts.csv", "--covariance", "diagonal", "--se", "none", "-q", "--out", "run"]
    assert cli(*fit, *words).code == 0
    found = read(cli("offsets", "--from", "run", "--counts", "counts.csv").out)
    pd.testing.assert_frame_equal(found, read(cli("offsets", "--counts", "counts.csv", *words).out))
    assert (found["yew"] == read(SMALL)[["yew", "elm"]].sum(axis=1)).all()


REFUSALS = [
    ("fit pln --counts counts.csv --offset-method tmm --exposure counts.csv", 2,
     "Both --exposure counts.csv and --offset-method tmm are set; give one."),
    ("fit pln --counts counts.csv --offset-blocks blocks.csv", 2, "give --offset-method too"),
    ("fit pln --counts counts.csv --offset-method tm", 2, "Did you mean `tmm`?"),
    ("fit logistic --response counts.csv --offset-method tmm", 2, "It goes with `plncli fit pln` and"),
    ("fit pln --counts zeros.csv --offset-method rle", 3, "every feature is 0 in some sample. Use rle-positive or"),
    ("fit pln --counts missing.csv --missing keep --offset-method gmpr", 3, "missing entries in 1 sample (b)"),
    ("fit pln --counts counts.csv --offset-method gmpr --offset-blocks part.csv", 3,
     "no block for 3 of the 4 features: ash, elm, yew"),
    ("offsets --counts missing.csv", 3, "missing.csv: 1 missing entry: sample b, feature "),
    ("offsets --counts empty.csv", 3, "1 sample without any count (c)"),
    ("offsets --counts counts.csv --offset-method deseq", 2, "must be one of total, css, rle,"),
    ("offsets --counts counts.csv --offset-scale reads", 2, "must be one of counts, proportions"),
    ("offsets --counts counts.csv --offset-blocks blocks.csv", 2, "give one --offset-method"),
    ("offsets --counts counts.csv --from run --offset-method tmm", 2, "leave out --offset-method, --offset-scale and"),
    ("offsets --counts zeros.csv --offset-method rle --offset-method tmm", 3, "Size factors by rle are not defined"),
    ("offsets --counts none.csv", 3, "none.csv"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "code", "words"), REFUSALS, ids=[line for line, _, _ in REFUSALS])
def test_refusals(cli: Cli, small: Path, line: str, code: int, words: str) -> None:
    ran = cli(*line.split())
    assert (ran.code, ran.out) == (code, "") and words in ran.err, ran.err


def test_refusals_about_a_fit(cli: Cli, small: Path) -> None:
    fit = ["fit", "pln", "--counts", "counts.csv", "--covariance", "diagonal", "--se", "none", "-q"]
    assert cli(*fit, "--offset-method", "gmpr", "--out", "gmpr").code == 0
    assert cli(*fit, "--out", "none").code == 0
    for run, code, words in (
        ("gmpr", 3, "old samples and the new ones together"),
        ("none", 2, "so it has no size factors"),
    ):
        ran = cli("offsets", "--from", run, "--counts", "counts.csv")
        assert ran.code == code and words in ran.err
    ran = cli("predict", "gmpr", "--counts", "counts.csv")
    assert ran.code == 2 and "--offset-method gmpr" in ran.err and "plncli offsets --offset-method gmpr" in ran.err


def test_in_a_pipe(cli: Cli) -> None:
    ran = cli("offsets", "--counts", "-", "--offset-method", "total", "-q", stdin=SMALL)
    assert (ran.code, ran.err) == (0, "") and ran.out.splitlines()[:2] == ["sample,total", "a,10"]
