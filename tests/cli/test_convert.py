"""`plncli convert`, and the same counts in every format: the same names, the same numbers, the same bits of a fit."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import tries
from conftest import Oaks, Ran

from plncli.tables.conversion import SUFFIXES

Cli = Callable[..., Ran]

OUTPUTS = [f"table{suffix}" for suffix in SUFFIXES] + ["folder"]
FITTED = ("table.csv", "table.parquet", "table.biom", "folder/matrix.mtx.gz")
"""One of each kind, which the ordinary tests fit too."""
ODD = 'id,a b,"c,d",Ünï,=1+1,5\n007,1,0,2,3,4\n"x;y",0,0,5,0,1\nz z,9007199254740991,1,0,0,2\n'


@pytest.fixture
def converted(cli: Cli, oaks: Oaks, tmp_path: Path) -> Path:
    """The oaks counts in every format that is written."""
    for name in OUTPUTS:
        ran = cli("convert", oaks.counts, name, "--quiet")
        assert (ran.code, ran.out, ran.err) == (0, "", ""), name
    return tmp_path


def test_help_tells_every_format(cli: Cli) -> None:
    told = "".join(cli("convert", "--help").out.split())
    assert [suffix for suffix in SUFFIXES if suffix.removesuffix(".gz") not in told] == []


def test_every_format_gives_the_same_table_and_the_same_fit(cli: Cli, oaks: Oaks, converted: Path) -> None:
    as_csv = Path(oaks.counts).read_bytes()
    fits = set()
    for name in [*OUTPUTS, "folder/matrix.mtx.gz"]:
        ran = cli("convert", name, "back.csv", "--overwrite")
        assert ran.code == 0 and f"116 rows × 114 columns of {name} are in back.csv." in ran.err
        assert (converted / "back.csv").read_bytes() == as_csv, name
        if not (tries.ALL or name in FITTED):
            continue
        ran = cli("fit", "pln", "--counts", name, "--top", "20", "--out", "run", "--overwrite", "--json")
        assert ran.code == 0, name
        found = {path: (converted / "run" / path).read_bytes() for path in ("coefficients.csv", "sigma.csv")}
        fits.add((json.loads(ran.out)["elbo"], *found.values()))
    assert len(fits) == 1


@pytest.mark.parametrize("name", OUTPUTS)
def test_odd_names_and_large_counts_come_back(cli: Cli, tmp_path: Path, name: str) -> None:
    (tmp_path / "odd.csv").write_text(ODD)
    assert cli("convert", "odd.csv", name).code == 0
    assert cli("convert", name, "back.csv").code == 0
    first, second = (pd.read_csv(tmp_path / file, index_col=0, dtype=str) for file in ("odd.csv", "back.csv"))
    assert second.equals(first) and list(second.index) == ["007", "x;y", "z z"]


def test_what_a_file_says_of_its_samples_goes_with_it(cli: Cli, oaks: Oaks, tmp_path: Path) -> None:
    import anndata

    trees = pd.read_csv(oaks.covariates, index_col=0)
    texts = {name: pd.Categorical(trees[name]) for name in ("tree", "orientation")}
    objects = {
        name: pd.Categorical.from_codes(text.codes, text.categories.astype(object)) for name, text in texts.items()
    }
    table = pd.read_csv(oaks.counts, index_col=0)
    made = anndata.AnnData(
        X=table.to_numpy("float32"),
        obs=trees.set_axis(trees.index.astype(object)).assign(**objects),
        var=pd.DataFrame(index=table.columns.astype(object)),
    )
    made.layers["raw"] = made.X.copy()
    made.X = made.X / 2
    made.write_h5ad(tmp_path / "oaks.h5ad")
    ran = cli("fit", "pln", "--counts", "oaks.h5ad", "--formula", "~ tree", "--top", "20", "--out", "run")
    assert ran.code == 3 and "fractional count" in ran.err and "Other tables in it are `oaks.h5ad::raw`" in ran.err
    layer, model = "oaks.h5ad::raw", ("--formula", "~ tree", "--top", "20", "--exposure", oaks.exposure)
    ran = cli("fit", "pln", "--counts", layer, *model, "--out", "run")
    assert ran.code == 0 and "Covariates are what oaks.h5ad::raw says of its samples (tree, " in ran.err
    for name, given in (("again", ("--covariates", "oaks.h5ad")), ("files", ("--covariates", oaks.covariates))):
        shared = (*model, "--out", name)
        assert cli("fit", "pln", "--counts", oaks.counts, *given, *shared).code == 0
        assert (tmp_path / name / "coefficients.csv").read_text() == (tmp_path / "run/coefficients.csv").read_text()
    ran = cli("diagnose", "run", "--draws", "0")
    assert ran.code == 0, ran.err  # the tables are found again in the one file
    ran = cli("simulate", "--from", "run", "--n", "5", "--out", "made")
    assert ran.code == 0 and "tree" in (tmp_path / "made/covariates.csv").read_text()
    ran = cli("predict", "run", "--counts", layer, "--exposure", oaks.exposure, "--wide", "fitted")
    assert ran.code == 0 and len(ran.out.splitlines()) == 117
    assert cli("convert", layer, "oaks.biom").code == 0
    for source in ("oaks.h5ad::obs", "oaks.biom::obs"):
        assert cli("convert", source, "trees.csv", "--overwrite").code == 0
        found = pd.read_csv(tmp_path / "trees.csv", index_col=0)
        pd.testing.assert_frame_equal(found[list(trees.columns)], trees, check_names=False)
    assert "has no place in this format" in cli("convert", layer, "ten").err


def test_features_in_rows(cli: Cli, oaks: Oaks, tmp_path: Path) -> None:
    assert cli("convert", oaks.counts, "turned.tsv", "--transpose").code == 0
    assert cli("convert", "turned.tsv", "back.csv", "--transpose", "--quiet").code == 0
    assert (tmp_path / "back.csv").read_bytes() == Path(oaks.counts).read_bytes()
    given = ("--exposure", oaks.exposure, "--covariates", oaks.covariates, "--formula", "~ tree", "--se", "none")
    ran = cli("fit", "pln", "--counts", "turned.tsv", "--no-transpose", *given)
    assert ran.code == 3 and "looks transposed" in ran.err and "turn it with --transpose" in ran.err
    ran = cli("fit", "pln", "--counts", "turned.tsv", "--transpose", *given, "--out", "run")
    assert ran.code == 0
    assert "note: turned.tsv was turned: its 116 columns are samples, its 114 rows features." in ran.err
    for verb in ("predict", "transform"):
        new = ("--counts", "turned.tsv", "--exposure", oaks.exposure, "--covariates", oaks.covariates)
        turned, straight = cli(verb, "run", *new, "--transpose"), cli(verb, "run", *("--counts", oaks.counts), *new[2:])
        assert turned.code == straight.code == 0 and turned.out == straight.out
        assert cli(verb, "run", *new).out == straight.out  # the features of the fit tell
    assert cli("convert", "turned.tsv", "oaks.biom").code == 0  # samples × features, as the format has it
    assert cli("convert", "oaks.biom", "again.csv", "--quiet").code == 0
    assert (tmp_path / "again.csv").read_bytes() == Path(oaks.counts).read_bytes()


FAULTS = {
    "odd.csv table.xyz": (2, "table.xyz must end in one of .csv, .tsv, .csv.gz"),
    "odd.csv odd.csv": (2, "odd.csv exists. Add --overwrite"),
    "odd.csv odd.csv --overwrite": (2, "INPUT and OUTPUT are the same, odd.csv"),
    "odd.csv here": (2, "here exists. Add --overwrite"),
    "odd.csv here --overwrite": (2, "would remove what plncli did not write from here: mine.txt"),
    "odd.csv no/where.csv": (2, "there is no folder no"),
    "gone.csv table.csv": (3, "gone.csv does not exist. Check the path given to INPUT"),
    "texts.csv table.biom": (3, "texts.csv: 1 non-numeric entry: sample s1, column b (`x`). This format holds numbers"),
    "gaps.csv folder": (3, "gaps.csv: 1 missing entry: sample s1, column b. A file of the kind folder cannot"),
    "texts.csv table.csv --transpose": (3, "This format holds numbers alone"),
    "odd.csv::x table.csv": (3, "odd.csv has no parts, so there is no `x` in it"),
}


@pytest.mark.parametrize("words", FAULTS)
def test_refusals(cli: Cli, tmp_path: Path, words: str) -> None:
    (tmp_path / "odd.csv").write_text(ODD)
    (tmp_path / "texts.csv").write_text("id,a,b\ns1,1,x\n")
    (tmp_path / "gaps.csv").write_text("id,a,b\ns1,1,NA\n")
    (tmp_path / "here").mkdir()
    (tmp_path / "here/mine.txt").write_text("mine")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    ran = cli("convert", *words.split())
    code, message = FAULTS[words]
    assert (ran.code, ran.out) == (code, "") and message in ran.err, ran.err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_texts_are_kept_where_there_is_room(cli: Cli, oaks: Oaks, tmp_path: Path) -> None:
    for name in ("trees.xlsx", "trees.parquet", "trees.feather", "trees.tsv.gz"):
        assert cli("convert", oaks.covariates, name, "-q").code == 0
        assert cli("convert", name, "back.csv", "-q", "--overwrite").code == 0
        assert (tmp_path / "back.csv").read_bytes() == Path(oaks.covariates).read_bytes(), name


def test_a_table_goes_to_standard_output(cli: Cli, oaks: Oaks, tmp_path: Path) -> None:
    ran = cli("convert", oaks.counts, "-")
    assert ran.code == 0 and ran.out == Path(oaks.counts).read_text() and list(tmp_path.iterdir()) == []


def test_a_symmetric_table_comes_back_from_a_folder_of_10x(cli: Callable[..., Ran], tmp_path: Path) -> None:
    (tmp_path / "counts.csv").write_text("sample,x,y\na,0,7\nb,7,2\n")
    assert cli("convert", "counts.csv", "tenx").code == 0
    assert "general" in gzip.decompress((tmp_path / "tenx/matrix.mtx.gz").read_bytes()).decode().splitlines()[0]
    assert cli("convert", "tenx", "again.csv").code == 0
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "counts.csv").read_bytes()
