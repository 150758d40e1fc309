"""What is chosen of the tables: by list, condition, depth and counts, always counted and named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tries import examples

from plncli.errors import DataError, PlncliError, UsageError
from plncli.inputs.loading import Inputs, load
from plncli.settings import FitConfig, built
from plncli.tables.reading import Sparse
from plncli.tables.sparse import csr
from plncli.tables.table import Table

N, P = 10, 6
SAMPLES, FEATURES = [f"s{i}" for i in range(N)], [f"f{j}" for j in range(P)]


def counts() -> pd.DataFrame:
    rng = np.random.default_rng(4)
    table = rng.poisson([30, 10, 3, 1, 0.4, 5], (N, P)) * (rng.random((N, P)) < [1, 1, 0.9, 0.8, 0.5, 1])
    table[:, 0] += 1
    table[0, 4] = 1
    return pd.DataFrame(table, index=SAMPLES, columns=FEATURES)


COUNTS = counts()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    COUNTS.to_csv("counts.csv")
    pd.DataFrame({"tree": ["ash", "elm"] * 5, "y": np.arange(N) / 7, "case": ["no", "yes"] * 5}, index=SAMPLES).to_csv(
        "covariates.csv"
    )
    return tmp_path


def read(model: str = "pln", **settings: Any) -> Inputs:
    if model == "pln":
        settings.setdefault("counts", "counts.csv")
    return load(built(model, settings), device=torch.device("cpu"), dtype=torch.float64)


def refused(kind: type[PlncliError], *words: str, **settings: Any) -> None:
    with pytest.raises(kind) as caught:
        read(**settings)
    for word in words:
        assert word in str(caught.value)


def test_a_list_of_samples(here: Path) -> None:
    Path("some.txt").write_bytes("\ufeff# chosen by eye\r\ns7\r\n s2 \r\n\r\nzz\r\ns2\r\n".encode())
    found = read(samples="some.txt", all_zero="drop")
    assert found.data.samples == ("s2", "s7")  # in the order of the table
    assert any("8 samples left out, because some.txt does not name them: s0, s1" in note for note in found.notes)
    assert any("1 name in some.txt that no sample has: zz." in note for note in found.notes)
    assert [source.role for source in found.sources] == ["counts", "samples"]
    assert found.sources[1].shape == (3, 0) and len(found.sources[1].sha256) == 64
    Path("none.txt").write_text("x\ny\n")
    refused(DataError, "none.txt names no sample of counts.csv: x, y against s0, s1, s2", samples="none.txt")
    Path("empty.txt").write_text("# nothing\n\n")
    refused(DataError, "empty.txt names nothing", samples="empty.txt")
    Path("binary.txt").write_bytes(b"a\x00b\n")
    refused(DataError, "binary.txt is no list: --samples takes a text file", samples="binary.txt")
    refused(DataError, "gone.txt does not exist", samples="gone.txt")


def test_a_list_of_features_is_as_if_there_were_no_others(here: Path) -> None:
    COUNTS.assign(remark="none").to_csv("counts.csv")
    Path("some.txt").write_text("f5\nf0\nf9\n")
    found = read(features="some.txt")
    assert found.data.responses == ("f0", "f5")
    assert (found.data.Y.numpy() == COUNTS[["f0", "f5"]].to_numpy()).all()
    assert any("5 features left out, because they are not in some.txt: f1, f2" in note for note in found.notes)
    assert any("1 name in some.txt that no feature has: f9" in note for note in found.notes)
    Path("none.txt").write_text("F0\n")
    refused(DataError, "none.txt names no feature of counts.csv: F0 against f0", features="none.txt")


def test_conditions_on_covariates(here: Path) -> None:
    given = {"covariates": "covariates.csv", "all_zero": "drop"}
    found = read(filter="tree == 'ash'", **given)
    assert found.data.samples == ("s0", "s2", "s4", "s6", "s8")
    assert any("5 samples left out, because `tree == 'ash'` does not hold for them: s1" in n for n in found.notes)
    assert not any("only used to match samples" in note for note in found.notes)
    refused(UsageError, "--filter asks for columns of the covariates: give --covariates", filter="tree == 'ash'")
    refused(DataError, "No sample is left: 10 samples left out", filter="y > 99", **given)
    for model, formula in (("logistic", "case ~ y"), ("linear", "y ~ case")):
        kept = read(model, formula=formula, covariates="covariates.csv", filter="y < 1").data
        assert kept.samples == tuple(SAMPLES[:7])


def test_samples_are_filtered_before_missing_entries_are_looked_for(here: Path) -> None:
    frame = pd.read_csv("covariates.csv", index_col=0)
    frame.loc["s1", "y"] = np.nan
    frame.to_csv("covariates.csv")
    given = {"covariates": "covariates.csv", "formula": "~ y", "all_zero": "drop"}
    refused(DataError, "missing entry: sample s1, column y", **given)
    assert read(filter="tree == 'ash'", **given).data.n == 5


def test_shallow_samples(here: Path) -> None:
    depth = COUNTS.sum(axis=1)
    bound = float(depth.sort_values().iloc[3])
    found = read(min_depth=bound, top=1)  # of all features, whichever are fitted
    assert found.data.samples == tuple(depth.index[depth >= bound]) and found.data.n == 7
    assert any(f"because the total count is below {bound:g} for them" in note for note in found.notes)
    refused(DataError, "No sample is left", min_depth=1e6)


def test_rules_on_features_in_turn(here: Path) -> None:
    found = read(min_prevalence=0.9, min_total=20, top=2)
    seen, total = (COUNTS > 0).mean(), COUNTS.sum()
    kept = total[(seen >= 0.9) & (total >= 20)].nlargest(2).index
    assert found.data.responses == tuple(name for name in FEATURES if name in set(kept))
    assert [drop.kind for drop in found.dropped] == ["feature"] * 2
    assert "because they are seen in less than 90 % of the samples: f" in found.dropped[0].reason
    assert "because the other 2 have larger totals: f" in found.dropped[1].reason
    refused(DataError, "No feature is left", min_total=1e9)


def test_a_bound_on_prevalence_is_met_by_what_is_just_that_common(here: Path) -> None:
    seen = (COUNTS > 0).sum()
    for name in FEATURES:
        assert name in read(min_prevalence=seen[name] / N, all_zero="drop").data.responses


def test_prevalence_counts_the_samples_in_which_a_feature_is_known(here: Path) -> None:
    frame = COUNTS.astype(object)
    frame.loc[SAMPLES[5:], "f1"] = None
    frame.loc[SAMPLES[:5], "f1"] = 3
    frame.to_csv("counts.csv")
    assert "f1" in read(min_prevalence=1.0, missing="keep").data.responses


def test_depths_are_of_all_features_whichever_are_fitted(here: Path) -> None:
    found = read(top=2, offset_method="total")
    np.testing.assert_allclose(found.data.O[:, 0].exp(), COUNTS.sum(axis=1), rtol=1e-12)
    blocks = pd.DataFrame({"block": list("aabbab")}, index=FEATURES)
    blocks.to_csv("blocks.csv")
    found = read(top=3, offset_method="total", offset_blocks="blocks.csv", min_depth=1)
    for j, name in enumerate(found.data.responses):
        mates = blocks.index[blocks["block"] == blocks.loc[name, "block"]]
        np.testing.assert_allclose(found.data.O[:, j].exp(), COUNTS[mates].sum(axis=1), rtol=1e-12)
    assert found.size_factors is not None and found.size_factors.features == tuple(FEATURES)


@examples(20, 100)
@given(
    table=st.lists(st.lists(st.integers(0, 3), min_size=4, max_size=4), min_size=2, max_size=6),
    prevalence=st.sampled_from([None, 0.25, 0.5, 1.0]),
    total=st.sampled_from([None, 1.0, 3.0]),
    top=st.sampled_from([None, 1, 2, 9]),
    depth=st.sampled_from([None, 1.0, 4.0]),
)
def test_sparse_counts_are_chosen_as_dense_ones_are(table: Any, depth: float | None, **rules: Any) -> None:
    """The same samples, features, counts, notes or refusals, with every method of offsets that needs sums alone."""
    Y = np.array(table, dtype=float)
    config = FitConfig(
        "pln",
        counts="counts",
        min_depth=depth,
        all_zero="drop",
        offset_method="total",
        min_prevalence=rules["prevalence"],
        min_total=rules["total"],
        top=rules["top"],
    )
    outcomes = []
    for cells in (dense_cells(Y), Sparse(csr(Y))):
        given = {"counts": Table("counts", "counts", tuple(SAMPLES[: len(Y)]), tuple("abcd"), cells, "x")}
        try:
            found = load(config, device=torch.device("cpu"), dtype=torch.float64, given=given)
        except DataError as error:
            outcomes.append(str(error))
            continue
        assert found.data.O.exp().min() >= 1
        data = found.data
        outcomes.append((data.samples, data.responses, data.Y.tolist(), found.notes, data.O.round(decimals=9).tolist()))
    assert outcomes[0] == outcomes[1]


def dense_cells(Y: np.ndarray) -> Any:
    import pyarrow as pa

    return pa.Table.from_arrays([pa.array(column) for column in Y.T], [str(j) for j in range(Y.shape[1])])
