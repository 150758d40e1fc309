"""Paths of penalties from the command: which there are, where a path ends, edges in subsamples, weights of pairs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plncli.settings.values import MOST, asks_many, spread
from plncli.verbs.fitting.path import PATIENCE

Cli = Callable[..., Any]
NAMES = ("a", "b", "c", "d", "e", "f")


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Counts of which a and b, and c and d, go together."""
    folder = tmp_path_factory.mktemp("penalties")
    r = np.random.RandomState(3)
    Z = 2.0 + r.normal(size=(90, 6))
    Z[:, 1] = 2.0 + 0.9 * (Z[:, 0] - 2.0) + 0.4 * r.normal(size=90)
    Z[:, 3] = 2.0 - 0.8 * (Z[:, 2] - 2.0) + 0.5 * r.normal(size=90)
    counts = pd.DataFrame(r.poisson(np.exp(Z)), [f"s{i}" for i in range(90)], NAMES)
    counts.to_csv(folder / "counts.csv", index_label="sample")
    weights = pd.DataFrame(1.0, NAMES, NAMES)
    weights.loc["a", "b"] = weights.loc["b", "a"] = np.inf
    weights.loc["e", "f"] = weights.loc["f", "e"] = 0.0
    weights.to_csv(folder / "weights.csv", index_label="feature")
    return folder


def words(tables: Path, out: Path, *more: object) -> list[str]:
    given = ["fit", "pln-network", "--counts", tables / "counts.csv", "--out", out, "--se", "none", *more]
    return list(map(str, given))


def pairs(run: Path) -> set[tuple[str, str]]:
    edges = pd.read_csv(run / "edges.csv")
    return set(zip(edges["feature_a"], edges["feature_b"], strict=True))


def test_a_number_of_penalties_is_a_path_that_ends_where_it_gets_worse(tables: Path, cli: Cli, tmp_path: Path) -> None:
    ran = cli(*words(tables, tmp_path / "run", "--penalty", "25"))
    assert ran.code == 0, ran.err
    path = pd.read_csv(tmp_path / "run/path.csv")
    assert path["edges"].iloc[0] == 0 and path["edges"].is_monotonic_increasing
    assert path["penalty"].is_monotonic_decreasing and path["ebic"].idxmin() == path["chosen"].argmax()
    assert len(path) == path["chosen"].argmax() + 1 + PATIENCE < 25
    assert "The path ends here: ebic has not fallen" in ran.err
    assert pairs(tmp_path / "run") >= {("a", "b"), ("c", "d")}
    told = json.loads((tmp_path / "run/summary.json").read_text())
    assert told["edges"] == len(pairs(tmp_path / "run")) and told["selection_violation"] < 1e-6
    names = sorted(place.name for place in (tmp_path / "run/path").iterdir())
    assert names == [f"penalty-{k + 1:02d}" for k in range(len(path))]


def test_penalties_that_are_given_are_all_fitted(tables: Path, cli: Cli, tmp_path: Path) -> None:
    ran = cli(*words(tables, tmp_path / "run", "--penalty", "0.02:0.6:8", "--no-refit"))
    assert ran.code == 0, ran.err
    path = pd.read_csv(tmp_path / "run/path.csv")
    assert len(path) == 8 and path["penalty"].iloc[0] == 0.6 and path["penalty"].iloc[-1] == 0.02
    assert np.allclose(np.diff(np.log(path["penalty"])), np.log(0.02 / 0.6) / 7, rtol=1e-2)
    assert not path["selection_gap"].notna().any()  # there is one stage, whose gap is that of the fit
    assert "(edges not fitted again)" in ran.err
    shown = cli("show", tmp_path / "run")
    assert shown.code == 0 and "edges not fitted again" in shown.out
    other = tmp_path / "run/path/penalty-02"
    assert cli(*words(tables, tmp_path / "refitted", "--penalty", "0.3")).code == 0
    compared = cli("compare", tmp_path / "refitted", other)
    assert compared.code == 0 and "edges not fitted again" in compared.out


def test_frequencies_of_edges_and_the_choice_by_them(tables: Path, cli: Cli, tmp_path: Path) -> None:
    chosen = words(tables, tmp_path / "stars", "--penalty", "0.5,0.3,0.1", "--select", "stars", "--subsamples", "4")
    ran = cli(*chosen)
    assert ran.code == 0, ran.err
    path = pd.read_csv(tmp_path / "stars/path.csv")
    stable = path.index[path["instability"] <= 0.05]
    assert path["chosen"].argmax() == (stable[-1] if len(stable) else 0)
    assert pd.read_csv(tmp_path / "stars/edges.csv")["frequency"].between(0, 1).all()
    single = words(tables, tmp_path / "one", "--penalty", "0.3", "--subsamples", "4")
    assert cli(*single).code == 0
    assert pd.read_csv(tmp_path / "one/edges.csv")["frequency"].isin([0.25, 0.5, 0.75, 1.0]).all()


def test_weights_of_pairs_and_their_faults(tables: Path, cli: Cli, tmp_path: Path) -> None:
    weights = tables / "weights.csv"
    assert cli(*words(tables, tmp_path / "run", "--penalty", "0.3", "--penalty-weights", weights)).code == 0
    assert ("a", "b") not in pairs(tmp_path / "run") and {("c", "d"), ("e", "f")} <= pairs(tmp_path / "run")
    bad = pd.read_csv(weights, index_col=0)
    for value, why in ((-1.0, "negative entry"), (2.0, "is not symmetric")):
        bad.loc["a", "c"] = value
        bad.to_csv(tmp_path / "bad.csv")
        ran = cli(*words(tables, tmp_path / "no", "--penalty", "0.3", "--penalty-weights", tmp_path / "bad.csv"))
        assert ran.code == 3 and why in ran.err


def test_what_is_no_penalty_is_refused(tables: Path, cli: Cli, tmp_path: Path) -> None:
    for text in ("1", "-0.5", "0.5,x", "0.5:0.1:4", "0.1:0.5", "nan"):
        ran = cli(*words(tables, tmp_path / "no", f"--penalty={text}"))
        assert ran.code == 2 and "penalties" in ran.err


def test_values_are_read_as_they_are_written() -> None:
    assert spread("30") == 30 and spread(30) == 30 and asks_many(30, float)
    assert spread("0.5") == 0.5 and spread(0.5) == 0.5 and not asks_many(0.5, float)
    assert spread("0.1, 0.5,0.2") == (0.5, 0.2, 0.1) == spread([0.1, 0.5, 0.2]) == spread(["0.1", 0.5, 0.2])
    assert spread("1.0") == 1.0 and spread("0.3,0.3") == 0.3
    assert spread("0.1:1:3") == (1.0, 0.3162, 0.1)
    for text in ("1", "0", "", "x", "0.1:", "1:0.1:3", "0.1:1:1", "0:1:3", "inf", True, None, [], str(MOST + 1), -3):
        assert spread(text) is None


@given(st.lists(st.floats(0.0, 1e6), min_size=2, max_size=20, unique=True))
def test_a_list_is_its_own_value_from_the_largest(numbers: list[float]) -> None:
    once = spread(numbers)
    assert once == tuple(sorted(numbers, reverse=True)) == spread(once) == spread(",".join(map(repr, numbers)))
