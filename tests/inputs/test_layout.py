"""Tables of counts as programs write them: which way round, and what is no sample, no feature, no count."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plncli import load
from plncli.errors import DataError, Faults
from plncli.inputs.layout.apart import without_counters
from plncli.inputs.layout.conventions import counters, says_features, says_samples
from plncli.inputs.layout.lineages import ranks
from plncli.inputs.layout.orientation import counts_of
from plncli.runs.run import read_run
from plncli.tables.reading import read_table, table_of
from plncli.tables.table import Table

FIELD = Path(__file__).parents[1] / "field"
Y = pd.DataFrame(
    np.random.default_rng(5).poisson(20, (8, 6)),
    index=[f"s{i}" for i in range(8)],
    columns=[f"f{j}" for j in range(6)],
)


def layout(frame: pd.DataFrame, choice: bool | None = None, **others: pd.DataFrame) -> Table:
    tables = {option: table_of(other, option) for option, other in others.items()}
    return counts_of(table_of(frame, "counts"), tables, choice, named=True)


def values(table: Table) -> pd.DataFrame:
    cells = {name: column.to_pylist() for name, column in zip(table.columns, table.cells.columns, strict=True)}
    return pd.DataFrame(cells, index=list(table.samples))


@pytest.mark.parametrize(
    "corner",
    ["#OTU ID", "OTU ID", "#OTUID", "OTU", "Feature ID", "feature-id", "taxon", "gene_id", "Geneid", "GeneID", "ASV",
     "ASV_ID", "gene", "Gene Symbol", "ensembl_gene_id", "target_id", "transcript_id", "clade_name", "#NAME"],
)  # fmt: skip
def test_first_cells_above_features(corner: str) -> None:
    assert says_features(corner) and not says_samples(corner)
    table = layout(Y.T.rename_axis(corner))
    assert (values(table) == Y).all().all()
    assert f"its first column is called `{corner}`" in table.notes[0]
    assert layout(Y.T.rename_axis(corner), False).samples == tuple(Y.columns)


@pytest.mark.parametrize(
    "corner", ["", "id", "name", "sample", "#SampleID", "sample_name", "Sample ID", "barcode", "Group"]
)
def test_other_first_cells(corner: str) -> None:
    assert not says_features(corner)
    table = layout(Y.rename_axis(corner))
    assert (values(table) == Y).all().all() and not table.notes


DESCRIBED = {
    "taxonomy": {"taxonomy": "k__Bacteria; p__A"},
    "lineage": {"Consensus Lineage": "Bacteria"},
    "ranks": {"Kingdom": "Bacteria", "Phylum": None, "Species": "x"},
    "featureCounts": {"Chr": "1;2", "Start": "1;9", "End": "3;10", "Strand": "+;-", "Length": 7},
    "names": {"gene_name": "BRCA1", "gene_biotype": "protein coding"},
    "sure": {"Taxon": "k__A", "Confidence": 0.98},
    "words": {"remark": "odd"},
}


@pytest.mark.parametrize("which", DESCRIBED)
@pytest.mark.parametrize("turned", [False, True])
def test_columns_that_describe_features(which: str, turned: bool) -> None:
    """Beside the counts or, where these have features in columns, below them: what is left is what was there before."""
    described = Y.T.assign(**DESCRIBED[which]).rename_axis("gene_id")
    if turned and which in ("featureCounts", "words", "sure"):
        return
    if turned:  # as files hold it: texts in each column
        described = described.map(lambda value: None if value is None else str(value)).T.rename_axis("sample")
    table = layout(described)
    assert (values(table).astype(int) == Y).all().all()
    (*_, drop) = table.dropped
    assert drop.kind == ("row" if turned else "column") and drop.reason in table.notes
    assert {name for drop in table.dropped for name in drop.names} == set(DESCRIBED[which])
    for name in ("taxonomy", "Kingdom", "gene_name", "Length"):
        if name in DESCRIBED[which]:
            assert set(table.facts[name]) == set(Y.columns)


def test_samples_called_as_descriptions_are_samples() -> None:
    """Numbers under `Start` and `End` are counts, and so is what other tables call a sample."""
    times = Y.T.rename(columns={"s0": "Start", "s1": "End", "s2": "Order", "s3": "width"}).rename_axis("gene")
    assert layout(times).samples[:4] == ("Start", "End", "Order", "width")
    lengths = Y.T.rename(columns={"s0": "Length"}).rename_axis("gene")
    assert "Length" not in layout(lengths).samples
    about = pd.DataFrame({"x": 1.0}, index=["Length", "s1"])
    assert "Length" in layout(lengths, covariates=about).samples
    straight = Y.rename(columns={"f0": "Length", "f1": "width"})
    assert layout(straight).columns[:2] == ("Length", "width")  # of individuals, say


def test_columns_of_text_are_named() -> None:
    with pytest.raises(DataError, match=r"1 column of `counts` holds text: `site` \(`gut`\). Give what describes sam"):
        layout(Y.assign(site=["gut", "skin"] * 4))
    odd = Y.T.rename_axis("gene").assign(s9=["1", "x", "y", "z", "a", "b"])
    with pytest.raises(DataError, match=r"1 column of `counts` holds text: `s9` \(`1`\). A sample holds whole numbers"):
        layout(odd)
    faults = Faults(every=True)
    table = counts_of(table_of(odd, "counts"), {}, None, named=True, faults=faults)
    assert len(faults.found) == 1 and (values(table) == Y).all().all()


def test_texts_among_counts_are_named_once(cli: Callable, tmp_path: Path) -> None:
    Y.T.astype(str).replace(str(Y.iloc[2, 1]), "12x").rename_axis("gene_id").to_csv(tmp_path / "counts.csv")
    ran = json.loads(cli("validate", "pln", "--counts", "counts.csv", "--json").out)
    (fault,) = ran["faults"]
    assert "non-numeric entr" in fault and "sample s2, feature f1 (`12x`)" in fault


COUNTERS = {
    "htseq": ["__no_feature", "__ambiguous", "__too_low_aQual", "__not_aligned", "__alignment_not_unique"],
    "STAR": ["N_unmapped", "N_multimapping", "N_noFeature", "N_ambiguous"],
    "featureCounts": ["Assigned", "Unassigned_NoFeatures", "Unassigned_MultiMapping"],
    "idxstats": ["*"],
    "mothur": ["numOtus"],
}


@pytest.mark.parametrize("who", COUNTERS)
@pytest.mark.parametrize("turned", [False, True])
def test_counters(who: str, turned: bool) -> None:
    counted = Y.assign(**dict.fromkeys(COUNTERS[who], 1234567))
    table = layout(counted.T.rename_axis("gene") if turned else counted)
    assert (values(table) == Y).all().all()
    assert [drop.names for drop in table.dropped] == [tuple(COUNTERS[who])]
    assert table.dropped[0].kind == "feature" and table.dropped[0].reason in table.notes
    known = tuple(counted.columns)  # a fit that has them: they stay
    assert without_counters(table_of(counted, "counts"), known).columns == known
    with pytest.raises(DataError, match="has no counts of features"):
        without_counters(table_of(counted[COUNTERS[who]], "counts"))


def test_what_only_looks_like_counters() -> None:
    names = ("no_feature", "ambiguous", "Assigned", "N_1", "__x", "numbers", "n_unmappeds", "unassigned")
    assert not counters(names)


@pytest.mark.parametrize("name", ["Total", "f99", "library size"])
def test_totals(name: str) -> None:
    """A feature that is the sum of the others, a sample that is, both, and either beside counters."""
    features = Y.assign(**{name: Y.sum(axis=1)})
    samples = pd.concat([Y, Y.sum().to_frame(name).T])
    both = pd.concat([features, features.sum().to_frame("sum").T])
    counted = features.assign(__no_feature=[10**6 + i for i in range(8)])
    of_all = counted.assign(total=counted.drop(columns=name).sum(axis=1)).drop(columns=name)
    for frame in (features, samples, both, counted, of_all, features.T.rename_axis("gene")):
        table = layout(frame)
        assert (values(table) == Y).all().all()
    (drop,) = layout(features).dropped
    assert drop.names == (name,) and "is the sum of the others in every sample" in drop.reason
    (drop,) = layout(samples).dropped
    assert drop.kind == "sample" and "is the sum of the others in every feature" in drop.reason


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 6), st.floats(0.05, 3.0))
def test_chance_makes_no_totals(seed: int, n: int, p: int, mean: float) -> None:
    """Tables of small counts, where sums agree often, and copies, where they do always."""
    random = np.random.default_rng(seed)
    counts = pd.DataFrame(random.poisson(mean, (n, p))).rename(columns=lambda j: f"f{j}", index=lambda i: f"s{i}")
    assert not without_counters(table_of(counts, "counts")).dropped
    copied = counts.assign(g=0, h=counts.sum(axis=1), i=0)[["h", "g", "i"]].assign(j=counts.sum(axis=1))
    assert not without_counters(table_of(copied, "counts")).dropped


def shared(path: Path, labels: list[str], header_each: bool = False) -> Path:
    """A shared file of mothur with a table for each label, of one OTU less each time."""
    lines = []
    for k, label in enumerate(labels):
        kept = Y.iloc[:, : Y.shape[1] - k]
        if header_each or k == 0:
            lines.append(["label", "Group", "numOtus", *kept.columns])
        lines += [
            [label, f"0{name[1:]}", kept.shape[1], *row] for name, row in zip(kept.index, kept.values, strict=True)
        ]
    path.write_text("".join("\t".join(map(str, line)) + "\t\n" for line in lines))
    return path


@pytest.mark.parametrize("header_each", [False, True])
def test_shared_files(header_each: bool, tmp_path: Path) -> None:
    one = read_table(str(shared(tmp_path / "one.shared", ["0.03"])), "counts")
    assert one.samples == tuple(f"0{i}" for i in range(8))  # as they are written
    assert (values(one).to_numpy() == Y.to_numpy()).all() and one.dropped[0].names == ("label", "numOtus")
    path = str(shared(tmp_path / "two.shared", ["unique", "0.03"], header_each))
    with pytest.raises(
        DataError, match=r"2 tables, one for each label.*unique, 0.03. Choose one by --counts .*::unique"
    ):
        read_table(path, "counts")
    with pytest.raises(DataError, match="no label `0.3`. Did you mean `0.03`"):
        read_table(f"{path}::0.3", "counts")
    for k, label in enumerate(("unique", "0.03")):
        table = read_table(f"{path}::{label}", "counts")
        assert (values(table).to_numpy() == Y.iloc[:, : 6 - k].to_numpy()).all()


def facts(ran: object) -> dict:
    return json.loads(ran.out)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("table", "columns"),
    [("featurecounts.txt", ["Chr", "Start", "End", "Strand", "Length"]), ("taxa.csv", ["Kingdom", "Phylum", "Genus"]),
     ("length.tsv", ["Length"])],
)  # fmt: skip
@pytest.mark.parametrize("choice", [(), ("--transpose",)])
def test_field_tables_with_annotations(table: str, columns: list[str], choice: tuple[str, ...], cli: Callable) -> None:
    counts, about = FIELD / "annotation-columns" / table, FIELD / "annotation-columns" / "cov.csv"
    for more in ((), ("--covariates", about, "--formula", "~ group")):
        ran = facts(cli("validate", "pln", "--counts", counts, *choice, *more, "--json"))
        assert ran["valid"] and (ran["data"]["n_samples"], ran["data"]["n_features"]) == (12, 20)
        told = " ".join(ran["notes"])
        assert all(f"`{name}`" in told for name in columns)


def test_field_counters_change_nothing(cli: Callable, tmp_path: Path) -> None:
    """A fit of a table with them is that without, in every verb; they are listed in the manifest."""
    folder = FIELD / "counter-summary-rows"
    about = ("--covariates", folder / "cov.csv", "--formula", "~ group", "--offset-method", "total")
    for name in ("htseq", "clean"):
        ran = cli("fit", "pln", "--counts", folder / f"{name}.tsv", *about, "--all-zero", "drop", "--out", name)
        assert ran.code == 0, ran.err
    assert (tmp_path / "htseq/coefficients.csv").read_bytes() == (tmp_path / "clean/coefficients.csv").read_bytes()
    (drop,) = json.loads((tmp_path / "htseq/manifest.json").read_text())["dropped"]
    assert drop["kind"] == "feature" and drop["names"] == ["__no_feature", "__ambiguous", "__not_aligned"]
    sizes = [
        cli("offsets", "--counts", folder / f"{name}.tsv", "--offset-method", "total").out
        for name in ("htseq", "clean")
    ]
    assert sizes[0] == sizes[1]
    (tmp_path / "sizes.csv").write_text(sizes[0])
    new = ("--covariates", folder / "cov.csv", "--exposure", "sizes.csv")
    predicted = [cli("predict", "clean", "--counts", folder / f"{name}.tsv", *new) for name in ("htseq", "clean")]
    assert predicted[0].code == 0 and predicted[0].out == predicted[1].out
    scored = [
        cli("cv", "pln", "--counts", folder / f"{name}.tsv", *about, "--folds", "2") for name in ("htseq", "clean")
    ]
    assert scored[0].code == 0 and scored[0].out == scored[1].out
    assert cli("rerun", "htseq", "--out", "again").code == 0


def test_field_shared_files(cli: Callable) -> None:
    folder = FIELD / "mothur-shared"
    for table in ("final.shared", "group-first.tsv"):
        ran = facts(cli("validate", "pln", "--counts", folder / table, "--json"))
        assert ran["valid"] and (ran["data"]["n_samples"], ran["data"]["n_features"]) == (12, 20)
        assert "numOtus" in " ".join(ran["notes"])
    assert cli("validate", "pln", "--counts", folder / "final.shared", "--no-sample-names", "--json").code == 0


def test_what_is_known_of_features_stays_with_the_fit(cli: Callable, tmp_path: Path) -> None:
    """From a taxonomy beside the counts to the folder, its model file, Python and BIOM, AnnData and back."""
    taxa = FIELD / "annotation-columns" / "taxa.csv"
    given = ("--covariance", "diagonal", "--se", "none", "--features", "some.txt")
    (tmp_path / "some.txt").write_text("OTU3\nOTU1\nOTU0\n")
    expected = pd.read_csv(taxa, index_col=0)[["Kingdom", "Phylum"]].loc[["OTU0", "OTU1", "OTU3"]]
    written = {}
    for source in (taxa, "taxa.biom", "taxa.json", "taxa.h5ad"):
        if source != taxa:
            ran = cli("convert", taxa, source)
            assert ran.code == 0 and "describe features (their taxa)" in ran.err
        out = f"run-{Path(source).suffix[1:]}"
        assert cli("fit", "pln", "--counts", source, *given, "--out", out).code == 0
        written[out] = pd.read_csv(tmp_path / out / "features.csv", index_col=0)
        pd.testing.assert_frame_equal(written[out][list(expected)], expected, check_names=False)
        run = read_run(tmp_path / out)
        assert run.features["Kingdom"] == ("Bacteria",) * 3 and run.features["Phylum"][0] is None
        assert ranks(run.features)["phylum"] == (None, "Firmicutes", "Firmicutes")
    pd.testing.assert_frame_equal(load(tmp_path / "run-csv").features, written["run-csv"], check_names=False)
    assert cli("rerun", "run-csv", "--out", "again").code == 0
    assert (tmp_path / "again/features.csv").read_bytes() == (tmp_path / "run-csv/features.csv").read_bytes()
    assert "What taxa.biom says of its features has no place" in cli("convert", "taxa.biom", "bare.csv").err
    assert cli("fit", "pln", "--counts", "bare.csv", *given, "--out", "bare").code == 0
    assert not (tmp_path / "bare/features.csv").exists() and read_run(tmp_path / "bare").features == {}


def test_a_lineage_goes_through_biom(cli: Callable, tmp_path: Path) -> None:
    lineage = "k__Bacteria; p__Firmicutes; c__; o__"
    Y.T.rename_axis("#OTU ID").assign(taxonomy=lineage).to_csv(tmp_path / "otu.tsv", sep="\t")
    for target in ("otu.biom", "otu.json"):
        assert cli("convert", "otu.tsv", target).code == 0
        table = read_table(str(tmp_path / target), "counts")
        assert (values(table).astype(int) == Y).all().all() and set(table.facts["taxonomy"].values()) == {lineage}
