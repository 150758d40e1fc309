"""From files to a data set: samples are matched by name whatever their order, and nothing is left out in silence."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from plncli.errors import DataError, FormulaError, PlncliError, UsageError
from plncli.inputs.loading import Inputs, load
from plncli.settings import built

N = 12
SAMPLES = [f"s{i:02d}" for i in range(N)]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with counts.csv, covariates.csv and exposure.csv, which is the current one."""
    monkeypatch.chdir(tmp_path)
    counts().to_csv("counts.csv")
    covariates().to_csv("covariates.csv")
    pd.DataFrame({"exposure": np.arange(1.0, N + 1)}, index=SAMPLES).to_csv("exposure.csv")
    return tmp_path


def counts() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    return pd.DataFrame(rng.poisson(20, (N, 4)) + 1, index=SAMPLES, columns=list("abcd"))


def covariates() -> pd.DataFrame:
    rng = np.random.default_rng(2)
    return pd.DataFrame(
        {
            "x": rng.normal(size=N),
            "z": rng.normal(size=N),
            "tree": ["u", "v", "w"] * 4,
            "depth": np.arange(1, N + 1),
            "w": [1.0, 2.0, 0.0] + [1.0] * (N - 3),
            "case": ["ill", "well"] * 6,
            "sex": [True, True, False] * 4,
        },
        index=SAMPLES,
    )


def read(model: str = "pln", dtype: torch.dtype = torch.float64, **settings: Any) -> Inputs:
    if model == "pln":
        settings.setdefault("counts", "counts.csv")
    return load(built(model, settings), device=torch.device("cpu"), dtype=dtype)


def refused(kind: type[PlncliError], *words: str, **settings: Any) -> None:
    with pytest.raises(kind) as caught:
        read(**settings)
    for word in words:
        assert word in str(caught.value)


def edit(path: str, row: str, column: str, value: object) -> None:
    frame = pd.read_csv(path, index_col=0).astype(object)
    frame.loc[row, column] = value
    frame.to_csv(path)


def test_bare_counts(here: Path) -> None:
    got = read(dtype=torch.float32)
    assert got.data.Y.dtype == torch.float32
    assert np.array_equal(got.data.Y.numpy(), counts().to_numpy())
    assert (got.data.samples, got.data.responses, got.data.terms) == (tuple(SAMPLES), tuple("abcd"), ("Intercept",))
    assert torch.equal(got.data.O, torch.zeros(N, 1))
    assert torch.equal(got.data.w, torch.ones(N))
    assert got.data.K is None
    assert got.name == "counts"
    digest = hashlib.sha256(Path("counts.csv").read_bytes()).hexdigest()
    assert [(s.role, s.path, s.sha256, s.shape) for s in got.sources] == [("counts", "counts.csv", digest, (N, 4))]


def test_order_of_rows_does_not_matter(here: Path) -> None:
    settings = {
        "covariates": "covariates.csv", "exposure": "exposure.csv", "weights": "w",
        "formula": "~ tree + scale(x) + offset(log(depth))",
    }  # fmt: skip
    first = read(**settings).data
    covariates().sample(frac=1, random_state=3).to_csv("covariates.csv")
    pd.read_csv("exposure.csv", index_col=0).iloc[::-1].to_csv("exposure.csv")
    again = read(**settings).data
    for letter in "YXOw":
        assert torch.equal(getattr(first, letter), getattr(again, letter))
    assert torch.allclose(first.O[:, 0].exp(), torch.tensor([i**2.0 for i in (1, 2, *range(4, N + 1))]).double())
    counts().iloc[::-1].to_csv("counts.csv")
    turned = read(**settings).data
    assert turned.samples == first.samples[::-1]
    assert torch.allclose(turned.X, first.X.flip(0), rtol=1e-13, atol=1e-13)  # sums in another order


def test_samples_that_tables_do_not_share_are_told(here: Path) -> None:
    covariates().iloc[3:].rename(index={"s11": "extra"}).to_csv("covariates.csv")
    got = read(covariates="covariates.csv", formula="~ x")
    assert got.data.samples == tuple(SAMPLES[3:11])
    assert "4 samples of counts.csv not in covariates.csv: s00, s01, s02, s11." in got.notes
    assert "1 sample of covariates.csv not in counts.csv: extra." in got.notes
    assert "8 samples of counts.csv can be used." in got.notes
    told = [(drop.kind, drop.names) for drop in got.dropped]
    assert told == [("sample", ("s00", "s01", "s02", "s11")), ("row", ("extra",))]  # `extra` was never a sample


def test_tables_without_common_samples(here: Path) -> None:
    covariates().rename(index=lambda name: f"z{name}").to_csv("other.csv")
    refused(DataError, "no sample name in common: s00, s01, s02", "zs00", covariates="other.csv", formula="~ x")
    counts().T.to_csv("turned.csv")
    refused(
        DataError, "turned.csv looks transposed: 12 of its columns",
        counts="turned.csv", covariates="covariates.csv", formula="~ x", transpose=False,
    )  # fmt: skip


BIOM = "# Constructed from biom file\n#OTU ID\ts00\ts01\ttaxonomy\n" + "".join(
    f"{otu}\t{i}.0\t1.0\tBacteria; x\n" for i, otu in enumerate(("o1", "o2", "o3"))
)


def test_features_in_rows(here: Path) -> None:
    Path("biom.tsv").write_text(BIOM)
    given = {"counts": "biom.tsv", "all_zero": "drop"}
    words = ("1 column of biom.tsv holds text: `taxonomy` (`Bacteria; x`)", "leave out --no-transpose")
    refused(DataError, *words, **given, transpose=False)
    for choice in ({"transpose": True}, {}, {"covariates": "covariates.csv"}):
        turned = read(**given, **choice)
        assert (turned.data.samples, turned.data.responses) == (("s00", "s01"), ("o1", "o2", "o3"))
        assert turned.data.Y.tolist() == [[0, 1, 2], [1, 1, 1]]
        assert any("The column `taxonomy` of biom.tsv describes features (their taxa)" in note for note in turned.notes)
    refused(DataError, "It was turned by --transpose: leave that out", covariates="covariates.csv", transpose=True)


def test_names_that_match_decide_against_the_header(here: Path) -> None:
    straight = counts()
    straight.rename_axis("#OTU ID").to_csv("counts.csv")
    assert read().data.p == N and read(transpose=False).data.n == N
    found = read(covariates="covariates.csv", formula="~ x")
    assert found.data.n == N
    assert (
        "counts.csv: its rows have the names of samples of covariates.csv (s00, s01, s02 and 9 more), so its rows are "
        "read as samples, although its first column is called `#OTU ID`. --transpose reads it otherwise." in found.notes
    )
    straight.T.rename_axis("sample").to_csv("counts.csv")
    found = read(exposure="exposure.csv")
    assert found.data.responses == ("a", "b", "c", "d")
    assert any("although its first column is called `sample`" in note for note in found.notes)
    straight.to_csv("counts.csv")
    Path("some.txt").write_text("a\nb\n")
    assert read(features="some.txt").data.responses == ("a", "b")
    straight.T.to_csv("counts.csv")
    assert read(features="some.txt").data.responses == ("a", "b")


def test_a_formula_without_columns_needs_none(here: Path) -> None:
    assert read(covariates="covariates.csv", formula="~ 1 + 1").data.terms == ("Intercept",)
    refused(FormulaError, "has no terms", covariates="covariates.csv", formula="~ 0")


def test_rows_by_position(here: Path) -> None:
    counts().to_csv("counts.csv", index=False)
    covariates().to_csv("covariates.csv", index=False)
    got = read(covariates="covariates.csv", formula="~ x", sample_names=False)
    assert got.data.samples[:2] == ("1", "2")
    covariates().iloc[1:].to_csv("covariates.csv", index=False)
    refused(DataError, "counts.csv has 12 and covariates.csv 11", covariates="covariates.csv", sample_names=False)


COUNTS = {
    "negative": (
        -4,
        "counts.csv: 1 negative count: sample s02, feature b (-4). Counts must be whole numbers of 0 or more",
    ),
    "fractional": (1.5, "counts.csv: 1 fractional count: sample s02, feature b (1.5)"),
    "infinite": ("inf", "counts.csv: 1 infinite count: sample s02, feature b (inf)"),
    "text": ("many", "counts.csv: 1 non-numeric entry: sample s02, feature b (`many`)"),
    "thousands": ("1,234", "sample s02, feature b (`1,234`)"),
    "missing": ("", "counts.csv: 1 missing entry: sample s02, feature b. Use --missing drop"),
    "huge": (2**60, "1 oversized count"),
}


@pytest.mark.parametrize("fault", COUNTS)
def test_faulty_counts(here: Path, fault: str) -> None:
    value, words = COUNTS[fault]
    edit("counts.csv", "s02", "b", value)
    refused(DataError, words)


def test_many_faults_are_counted(here: Path) -> None:
    (-counts()).to_csv("counts.csv")
    refused(DataError, "48 negative counts, first: sample s00, feature a (", "; sample s00, feature c (")


def test_whole_numbers_may_be_written_otherwise(here: Path) -> None:
    edit("counts.csv", "s02", "b", "2.0")
    edit("counts.csv", "s03", "b", "1e3")
    assert read().data.Y[2:4, 1].tolist() == [2, 1000]


def test_missing_counts(here: Path) -> None:
    edit("counts.csv", "s02", "b", "NA")
    dropped = read(missing="drop")
    assert dropped.data.n == N - 1
    assert dropped.dropped[0].names == ("s02",)
    assert "1 sample left out, because counts.csv has missing entries for it: s02." in dropped.notes
    kept = read(missing="keep").data
    assert kept.K is not None
    assert (~kept.K).nonzero().tolist() == [[2, 1]]
    assert kept.Y[2, 1] == 0


def test_missing_covariates(here: Path) -> None:
    edit("covariates.csv", "s02", "tree", "NA")
    settings = {"covariates": "covariates.csv", "formula": "~ tree"}
    refused(DataError, "1 missing entry: sample s02, column tree", "--missing drop", **settings)
    refused(DataError, "--missing keep is for counts only", missing="keep", **settings)
    assert read(missing="drop", **settings).data.n == N - 1
    assert read(covariates="covariates.csv", formula="~ x").data.n == N  # only what is used must be there


def test_rows_and_columns_without_counts(here: Path) -> None:
    frame = counts()
    frame.loc["s05"] = 0
    frame["c"] = 0
    frame.to_csv("counts.csv")
    refused(DataError, "1 sample without any count (s05) and 1 feature without any count (c)", "--all-zero drop")
    got = read(all_zero="drop")
    assert (got.data.n, got.data.responses) == (N - 1, ("a", "b", "d"))
    assert [(drop.kind, drop.names) for drop in got.dropped] == [("sample", ("s05",)), ("feature", ("c",))]


def test_offsets_by_feature_name(here: Path) -> None:
    offsets = pd.DataFrame(np.arange(N * 5.0).reshape(N, 5), index=SAMPLES, columns=list("edcba"))
    offsets.to_csv("offsets.csv")
    got = read(offsets="offsets.csv")
    assert np.array_equal(got.data.O.numpy(), offsets[list("abcd")].to_numpy())
    assert any("1 column of offsets.csv not used" in note for note in got.notes)
    offsets.drop(columns="a").to_csv("offsets.csv")
    refused(DataError, "offsets.csv lacks 1 of the 4 features: a", offsets="offsets.csv")


def test_exposure_must_be_positive(here: Path) -> None:
    edit("exposure.csv", "s02", "exposure", 0)
    refused(DataError, "1 zero or negative exposure: sample s02, feature exposure (0)", exposure="exposure.csv")
    edit("exposure.csv", "s02", "exposure", "")
    refused(DataError, "1 missing entry", exposure="exposure.csv")
    assert read(exposure="exposure.csv", missing="drop").data.n == N - 1
    refused(UsageError, "Both --offsets", exposure="exposure.csv", offsets="exposure.csv")


def test_offsets_that_are_no_logarithms(here: Path) -> None:
    pd.DataFrame({"depth": [12_000.0] * N}, index=SAMPLES).to_csv("depth.csv")
    words = ("Offsets are logarithms, but go up to 1.2e+04 in 12 samples (s00, ", "by --exposure")
    refused(DataError, *words, offsets="depth.csv")
    refused(DataError, "Offsets are logarithms", covariates="covariates.csv", formula="~ offset(1000 * depth)")
    got = read("linear", covariates="covariates.csv", formula="z ~ x", offsets="depth.csv")
    assert got.data.O[0, 0] == 12_000


def test_numbers_beyond_reach(here: Path) -> None:
    given = {"covariates": "covariates.csv", "formula": "~ huge"}
    covariates().assign(huge=np.linspace(-1, 1, N) * 1e200).to_csv("covariates.csv")
    assert read(**given).data.X[0, 1] == -1e200
    refused(DataError, "up to 1e+200, too large for --dtype float32", dtype=torch.float32, **given)
    refused(
        DataError, "12 infinite or huge responses", "rescale", **(given | {"model": "linear", "formula": "huge ~ x"})
    )


def test_missing_entries_of_two_tables(here: Path) -> None:
    edit("counts.csv", "s02", "b", "NA")
    edit("exposure.csv", "s03", "exposure", "NA")
    told = "2 samples left out, because counts.csv and exposure.csv have missing entries for them: s02, s03."
    assert told in read(missing="drop", exposure="exposure.csv").notes


def test_depth_note(here: Path) -> None:
    frame = counts()
    frame.loc["s03"] *= 100
    frame.to_csv("counts.csv")
    assert any("no offset is given" in note and "in s03" in note for note in read().notes)
    assert not any("no offset is given" in note for note in read(exposure="exposure.csv").notes)


def test_clusters_are_codes_of_any_labels(here: Path) -> None:
    settings = {"covariates": "covariates.csv", "formula": "~ x"}
    got = read(cluster="tree", **settings)
    labels = covariates().loc[list(got.data.samples), "tree"]
    assert got.data.clusters.tolist() == list(pd.factorize(labels)[0])
    assert not any("only used to match" in note for note in read(cluster="tree", covariates="covariates.csv").notes)
    numbers = [2.0, 2.0, 7.0] * (N // 3)
    pd.DataFrame({"plot": numbers}, index=SAMPLES).iloc[::-1].to_csv("plots.csv")
    assert read(cluster="plots.csv").data.clusters.tolist() == [0, 0, 1] * (N // 3)
    refused(DataError, "--cluster tre is neither a file nor a column of covariates.csv. Did", cluster="tre", **settings)
    pd.DataFrame({"plot": ["a"] * N}, index=SAMPLES).to_csv("plots.csv")
    refused(DataError, "All 12 samples are in one cluster (`a` of plots.csv)", cluster="plots.csv")
    pd.DataFrame({"plot": ["a", "b"] * (N // 2), "more": 1}, index=SAMPLES).to_csv("plots.csv")
    refused(DataError, "the clusters are one: plot, more", cluster="plots.csv")
    pd.DataFrame({"plot": ["a", None, "b", None] * (N // 4)}, index=SAMPLES).to_csv("plots.csv")
    refused(DataError, "6 missing entries", cluster="plots.csv")
    dropped = read(cluster="plots.csv", missing="drop")
    assert "6 samples left out, because plots.csv has missing entries for them" in " ".join(dropped.notes)


def test_weights(here: Path) -> None:
    settings = {"covariates": "covariates.csv", "formula": "~ x"}
    got = read(weights="w", **settings)
    assert got.data.w.tolist() == [1.0, 2.0] + [1.0] * (N - 3)
    assert "1 sample left out, because the weight is 0 for it: s02." in got.notes
    pd.DataFrame({"weight": [3] * N}, index=SAMPLES[::-1]).to_csv("weights.csv")
    assert read(weights="weights.csv").data.w.tolist() == [3.0] * N
    refused(
        DataError, "neither a file nor a column of covariates.csv. Did you mean `depth`?", weights="depht", **settings
    )
    edit("weights.csv", "s01", "weight", -1)
    refused(DataError, "sample s01, column weight (-1). Weights must be", weights="weights.csv")
    edit("weights.csv", "s01", "weight", 1e308)
    refused(DataError, "1 unusable weight: sample s01", weights="weights.csv")


def test_logistic_labels(here: Path) -> None:
    got = read("logistic", covariates="covariates.csv", formula="case + sex + I(x > 0) ~ z")
    assert got.classes == (("ill", "well"), ("false", "true"), ("0", "1"))
    assert got.data.Y[:3, 0].tolist() == [0, 1, 0]
    assert got.notes == ("Of `case`, `well` is modelled as 1 and `ill` as 0.",)
    assert got.name == "covariates"
    covariates()[["case"]].to_csv("y.csv")
    table = read("logistic", response="y.csv", covariates="covariates.csv", formula="~ z")
    assert torch.equal(table.data.Y[:, 0], got.data.Y[:, 0])


def test_responses_that_cannot_be_fitted(here: Path) -> None:
    frame = covariates().assign(same="yes", fixed=1.5)
    frame.to_csv("covariates.csv")
    given = {"covariates": "covariates.csv"}
    refused(DataError, "`same` of covariates.csv is `yes` in all 12", model="logistic", formula="same ~ x", **given)
    refused(
        DataError,
        "`tree` of covariates.csv has 3 different values (u, v, w)",
        model="logistic",
        formula="tree ~ x",
        **given,
    )
    refused(DataError, "use the model linear", model="logistic", formula="z ~ x", **given)
    refused(DataError, "12 non-numeric entries", model="linear", formula="tree ~ x", **given)
    refused(DataError, "1 response with the same value", "fixed", model="linear", formula="fixed ~ x", **given)
    refused(UsageError, "has no response left of `~`", model="linear", formula="~ x", **given)
    twice = "given twice: by --response counts.csv, all columns of which are fitted, and left of `~`"
    y = {"model": "linear", "response": "counts.csv", **given}
    refused(FormulaError, twice, "Write `~ x`, or leave out --response to explain", formula="z ~ x", **y)
    refused(FormulaError, twice, "Write `~ x`.", formula="a ~ x", **y)
    refused(
        FormulaError, "the counts come from --counts. Write what explains them alone: `~ x`", formula="z ~ x", **given
    )
    refused(FormulaError, "`a` left of `~`", formula="a ~ x", **given)
    refused(UsageError, "--missing keep is for counts", model="linear", formula="z ~ x", missing="keep", **given)


def test_designs_that_cannot_be_fitted(here: Path) -> None:
    frame = covariates()
    frame["metres"], frame["km"] = frame.x * 1e12, frame.z * 1e-12
    frame.to_csv("covariates.csv")
    given = {"covariates": "covariates.csv"}
    assert read(formula="~ metres + km", **given).data.d == 3
    words = "`C(depth)` of covariates.csv has a different label (1, 2, 3 and 9 more) in each of the 12 samples"
    refused(DataError, words, "or merge its levels", formula="~ 0 + C(depth)", **given)


def test_types_are_decided_by_the_samples_that_are_used(here: Path) -> None:
    """A text in a sample that is not matched, filtered, or empty elsewhere makes no factor of a column."""
    table = covariates().assign(age=[*range(20, 20 + N - 1), "old"])
    table.to_csv("covariates.csv")
    refused(DataError, "numeric but for 1 of its 12 entries: `old` (s11)", covariates="covariates.csv", formula="~ age")
    ways: tuple[dict[str, Any], ...] = (
        {"filter": "age != 'old'"}, {"counts": "few.csv"}, {"na_values": ("old",), "missing": "drop"}
    )  # fmt: skip
    counts().iloc[:-1].to_csv("few.csv")
    for settings in ways:
        got = read(covariates="covariates.csv", formula="~ age", **settings)
        assert got.data.terms == ("Intercept", "age") and got.data.X[:, 1].tolist() == list(range(20, 20 + N - 1))
        told = [note for note in got.notes if "is numeric in the samples that are used" in note]
        assert len(told) == (not settings.get("na_values"))


def test_precision_is_matched_by_name(here: Path) -> None:
    A = np.random.default_rng(4).normal(size=(4, 4))
    Omega = pd.DataFrame(A @ A.T + np.eye(4), index=list("abcd"), columns=list("abcd"))
    Omega.loc[list("cadb"), list("bdca")].to_csv("omega.csv")
    given = {"covariance": "fixed", "precision": "omega.csv"}
    got = read(**given).matrices["precision"]
    assert got is not None
    assert np.allclose(got.numpy(), Omega, rtol=1e-14)
    Omega.iloc[:3, :3].to_csv("omega.csv")
    refused(DataError, "must be the 4 features that are fitted, but it lacks d", **given)
    Omega.assign(a=Omega.a + np.eye(4)[1]).to_csv("omega.csv")
    refused(DataError, "omega.csv is not symmetric: (", **given)
    (Omega - 20 * np.eye(4)).to_csv("omega.csv")
    refused(DataError, "omega.csv is not positive definite", **given)


def test_standard_input_is_read_once(here: Path) -> None:
    refused(UsageError, "Standard input can be read once", counts="-", covariates="-")


def test_rows_called_as_features(here: Path) -> None:
    names = {"a": "ASV_1", "b": "ASV_2", "c": "g__Bacteroides", "d": "ENSG00000139618"}
    counts().rename(columns=names).T.to_csv("counts.csv")
    found = read()
    assert found.data.responses == tuple(names.values())
    assert (
        "counts.csv has features in rows, for its rows are called ASV_1, ASV_2, g__Bacteroides and 1 more: its 12 "
        "columns are read as samples, its 4 rows as features (--no-transpose reads it otherwise)." in found.notes
    )
    assert read(transpose=False).data.n == 4
    assert not any("features in rows" in note for note in read(transpose=True).notes)
