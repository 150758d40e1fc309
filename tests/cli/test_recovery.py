"""Edges of fits against true ones: `compare --truth`, the picture, and the same from Python."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

import plncli
from plncli.errors import PlncliError
from plncli.frames.recovery import truth_of
from plncli.frames.simulation import Simulation
from plncli.plots import draw, kinds
from plncli.plots.network import recovery as picture
from plncli.plots.source import Wanted
from plncli.runs.network.recovery import recovery
from plncli.runs.run import read_run

Cli = Callable[..., Any]
P = 12


@cache
def simulated() -> Simulation:
    return plncli.simulate("pln", graph="hub", p=P, n=200, seed=4)


@cache
def fitted() -> plncli.FitResult:
    given: dict[str, Any] = {"penalty": (0.5, 0.3, 0.15), "select": "stars", "subsamples": 4, "se": "none"}
    return plncli.fit("pln-network", simulated().dataset, **given)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables of which the network is known, in `known`, and a path of fits of them, in `run`."""
    folder = tmp_path_factory.mktemp("recovery")
    (folder / "known").mkdir()
    sim = simulated()
    assert sim.true_edges is not None
    sim.true_edges.to_csv(folder / "known" / "true_edges.csv", index=False)
    sim.true_coefficients.to_csv(folder / "known" / "true_coefficients.csv", index=False)
    fitted().save(folder / "run")
    return folder


def pairs(edges: pd.DataFrame) -> dict[frozenset[str], float]:
    """Pairs of features by name, with the size of their partial correlation."""
    sizes = edges["partial_correlation"].abs()
    return {frozenset(ends): size for *ends, size in zip(edges["feature_a"], edges["feature_b"], sizes, strict=True)}


def all_pairs() -> list[frozenset[str]]:
    names = list(simulated().true_sigma.columns)  # type: ignore[union-attr]
    return [frozenset((a, b)) for i, a in enumerate(names) for b in names[i + 1 :]]


def test_edges_are_judged_by_what_the_tables_say(place: Path, cli: Cli, tmp_path: Path) -> None:
    """By scikit-learn, of the tables that were written."""
    ran = cli("compare", place / "run", "--truth", place / "known", "--json", "--out", "judged.csv")
    assert (ran.code, ran.err) == (0, "")
    (row,) = json.loads(ran.out)
    table = pd.read_csv(tmp_path / "judged.csv").iloc[0].to_dict()
    assert (row.pop("run"), [*row]) == (table.pop("run"), [*table])
    assert row == pytest.approx(table, rel=1e-6, abs=1e-6)
    true = pairs(pd.read_csv(place / "known" / "true_edges.csv"))
    own = pairs(pd.read_csv(place / "run" / "edges.csv"))
    y = [pair in true for pair in all_pairs()]
    c, size = [pair in own for pair in all_pairs()], [own.get(pair, 0.0) for pair in all_pairs()]
    assert (row["pairs"], row["true_edges"], row["edges"]) == (P * (P - 1) // 2, len(true), len(own))
    for name, judge in (
        ("precision", metrics.precision_score),
        ("recall", metrics.recall_score),
        ("f1", metrics.f1_score),
        ("mcc", metrics.matthews_corrcoef),
    ):
        assert row[name] == pytest.approx(judge(y, c), abs=1e-9), name
    assert row["auc_size"] == pytest.approx(metrics.roc_auc_score(y, size))
    assert row["average_precision_size"] == pytest.approx(metrics.average_precision_score(y, size))
    along = [pairs(pd.read_csv(fit / "edges.csv")) for fit in sorted((place / "run" / "path").iterdir())]
    score = [
        next((len(along) - k + own[pair] for k, own in enumerate(along) if pair in own), 0.0) for pair in all_pairs()
    ]
    assert row["auc_path"] == pytest.approx(metrics.roc_auc_score(y, score))
    assert row["average_precision_path"] == pytest.approx(metrics.average_precision_score(y, score))
    assert row["auc_path"] > 0.9
    frequency = read_run(place / "run").state["frequency"][np.triu_indices(P, 1)]
    assert row["auc_frequency"] == pytest.approx(metrics.roc_auc_score(y, frequency))


def test_several_fits_stand_below_each_other(place: Path, cli: Cli) -> None:
    runs = [place / "run", *sorted((place / "run" / "path").iterdir())]
    ran = cli("compare", *runs, "--truth", place / "known", env={"COLUMNS": "140"})
    assert ran.code == 0
    chosen, ranked = ran.out.split("\n\n")
    assert len(chosen.splitlines()) == 2 + len(runs)
    assert len(ranked.splitlines()) == 2 + 3 + (1 + 1 + 2)  # the chosen one has frequencies in its own folder too
    assert "given twice" in cli("compare", runs[0], runs[0], "--truth", place / "known").err


def test_a_table_of_edges_is_truth_too_whatever_their_order(place: Path) -> None:
    known = pd.read_csv(place / "known" / "true_edges.csv")[["feature_a", "feature_b"]].iloc[::-1]
    turned = known.rename(columns={"feature_a": "feature_b", "feature_b": "feature_a"})
    by_frame = fitted().recovery(pd.concat([turned, known.head(2)]))
    pd.testing.assert_series_equal(by_frame, fitted().recovery(simulated()))
    pd.testing.assert_series_equal(by_frame, fitted().recovery(place / "known"))
    itself = fitted().recovery(fitted().edges)
    assert (itself["f1"], itself["mcc"], itself["auc_size"]) == (1.0, 1.0, 1.0)


def test_true_edges_of_features_that_were_not_fitted_are_left_out_and_told(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = pd.read_csv(place / "known" / "true_edges.csv")
    more = pd.concat([known, pd.DataFrame({"feature_a": ["f01"], "feature_b": ["f99"]})])
    assert fitted().recovery(more)["true_edges"] == len(known)
    told = "note: 1 true edge left out, of features that the fit does not have: f01 and f99."
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("edges", "told"),
    [
        ({"feature_a": ["f01"], "b": ["f02"]}, "no table of edges: it has no column feature_b"),
        ({"feature_a": ["x"], "feature_b": ["y"]}, "no edge between features of"),
        ({"feature_a": ["f01"], "feature_b": ["f01"]}, "Row 1 of .* links `f01` with itself"),
        ({"feature_a": ["f01", "f02"], "feature_b": ["f02", ""]}, "Row 2 of .* lacks a feature"),
    ],
)
def test_what_is_no_truth_is_refused(edges: dict[str, list[str]], told: str, tmp_path: Path) -> None:
    pd.DataFrame(edges).to_csv(tmp_path / "truth.csv", index=False)
    with pytest.raises(PlncliError, match=told):
        recovery(fitted().run, str(tmp_path / "truth.csv"), [])


def test_pairs_that_are_all_true_edges_are_refused() -> None:
    ends = [sorted(pair) for pair in all_pairs()]
    with pytest.raises(PlncliError, match="All pairs"):
        fitted().recovery(pd.DataFrame(ends, columns=["feature_a", "feature_b"]))


def test_the_folder_of_another_simulation_is_refused(place: Path, cli: Cli, tmp_path: Path) -> None:
    assert cli("simulate", "pln", "--graph", "random", "--p", "9", "--out", "other", "-q").code == 0
    ran = cli("compare", place / "run", "--truth", "other")
    assert ran.code == 3
    assert "other was not what" in ran.err
    assert cli("simulate", "pln", "--p", "9", "--out", "full", "-q").code == 0
    assert "full has no true_edges" in cli("compare", place / "run", "--truth", "full").err


def test_a_fit_without_a_network_is_refused(fits: Path, place: Path, cli: Cli) -> None:
    ran = cli("compare", fits / "tree", "--truth", place / "known")
    assert ran.code == 3
    assert "has no network" in ran.err


def test_a_path_that_lost_a_fit_is_refused(place: Path) -> None:
    run = read_run(place / "run")
    told = {**run.summary["path"], "fits": run.summary["path"]["fits"][:2]}
    with pytest.raises(PlncliError, match="has 3 fits"):
        recovery(replace(run, summary={**run.summary, "path": told}), str(place / "known"))


def test_the_picture_needs_a_truth_and_shows_what_compare_tells(place: Path, cli: Cli, tmp_path: Path) -> None:
    assert "Give --truth" in cli("plot", place / "run", "recovery").err
    assert "--truth does not go with network" in cli("plot", place / "run", "network", "--truth", place / "known").err
    ran = cli("plot", place / "run", "recovery", "--truth", place / "known", "--out", "points.csv")
    assert ran.code == 0
    points, row = pd.read_csv(tmp_path / "points.csv"), fitted().recovery(simulated())
    for name, own in points.groupby("ranking"):
        assert own["pairs"].iloc[-1] == row["pairs"]
        x, y = (np.append(0.0, own[rate]) for rate in ("false_positive_rate", "recall"))
        assert np.trapezoid(y, x) == pytest.approx(row[f"auc_{name}"], abs=1e-6)
    pd.testing.assert_frame_equal(
        fitted().plot_data("recovery", truth=simulated()).reset_index(), points, rtol=1e-6, atol=1e-6
    )


def test_the_picture_has_a_line_a_ranking() -> None:
    record = picture.content(fitted()._source(None), Wanted(truth=truth_of(simulated())))
    figure = draw(kinds("pln-network")["recovery"], record)
    left, right = figure.axes
    assert len(left.lines) == 1 + 2 * 3 + 2
    assert "AUC" in picture.describe(record)
    assert right.lines[0].get_ydata()[0] == pytest.approx(record.share)  # type: ignore[index]
