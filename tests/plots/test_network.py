"""Pictures of networks: where features and names lie, which edges are drawn, and what pages tell of them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.collections import LineCollection

from plncli import Dataset, FitResult, fit
from plncli.errors import PlncliError
from plncli.models import MODELS
from plncli.plots import draw, kinds
from plncli.plots.network import drawing, graph, stability
from plncli.plots.network.layout import BETWEEN, NEAREST, layout, pack
from plncli.plots.network.names import beside, crossings
from plncli.plots.source import Source, Wanted
from plncli.reports import figures
from plncli.reports.network import network
from plncli.reports.page import facts, render
from plncli.runs.run import read_run

R = np.random.RandomState
P = 12
NETWORKS = [name for name, spec in MODELS.items() if "edges" in dict(spec.further)]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Of what is said of small tables without an offset."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def table() -> pd.DataFrame:
    """Counts of two groups: a star about f0 and a chain from f6 to f8, with f3 falling as f0 rises; others alone."""
    r = R(3)
    Z = 0.7 * r.normal(size=(90, P))
    Z[:, 1:4] += r.normal(size=(90, 1)) * [1.2, 1.0, -1.1]
    Z[:, 0] += Z[:, 1:4] @ [0.5, 0.5, -0.5]
    Z[:, 7] += 0.9 * Z[:, 6]
    Z[:, 8] += 0.9 * Z[:, 7]
    return pd.DataFrame(r.poisson(np.exp(2.5 + Z)), [f"s{i}" for i in range(90)], [f"f{j}" for j in range(P)])


@cache
def fitted(penalty: float = 0.3) -> FitResult:
    """Of that table."""
    return fit("pln-network", Dataset(counts=table()), penalty=penalty, se="none")


def source(**changes: Any) -> Source:
    made = fitted()._source(None)
    return replace(made, run=replace(made.run, **changes)) if changes else made


# Where all lies


def test_features_do_not_lie_upon_each_other_and_groups_lie_apart() -> None:
    first, second = np.array([0, 0, 0, 4, 5, 7, 8, 8, 9]), np.array([1, 2, 3, 5, 6, 8, 9, 10, 10])
    at = layout(11, first, second, 1.35)
    distance = np.linalg.norm(at[:, None] - at[None], axis=2) + np.eye(11)
    assert distance.min() > 0.9 * NEAREST
    groups = [[0, 1, 2, 3], [4, 5, 6], [7, 8, 9, 10]]
    boxes = [(at[group].min(0), at[group].max(0)) for group in groups]
    for k, (low, high) in enumerate(boxes):
        for other_low, other_high in boxes[k + 1 :]:
            assert ((low - other_high >= 0.99 * BETWEEN) | (other_low - high >= 0.99 * BETWEEN)).any()
    assert (at == layout(11, first, second, 1.35)).all()
    lengths = np.linalg.norm(at[first] - at[second], axis=1)
    assert lengths.max() < 2.0


def test_features_at_one_place_come_apart() -> None:
    """Such as twins, which have the same neighbours, and large groups, which are laid out by forces."""
    m = 240
    first, second = np.zeros(m, int), np.arange(1, m + 1)
    at = layout(m + 1, first, second, 1.35)
    distance = np.linalg.norm(at[:, None] - at[None], axis=2) + np.eye(m + 1) * 9.0
    assert np.isfinite(at).all()
    assert np.quantile(distance.min(1), 0.1) > 0.3 * NEAREST


def test_boxes_that_are_packed_do_not_overlap() -> None:
    for seed, number in ((0, 1), (1, 2), (2, 30), (3, 60)):
        sizes = R(seed).uniform(0.5, 4.0, size=(number, 2))
        low = pack(sizes, 1.35)
        high = low + sizes
        over = ((low[:, None] < high[None] - 1e-9) & (high[:, None] > low[None] + 1e-9)).all(2)
        assert (over == np.eye(number, dtype=bool)).all()
        assert low.min() >= 0.0
        assert sizes.prod(1).sum() > 0.5 * high.max(0).prod()


def test_a_segment_meets_a_box_where_a_point_of_it_lies_in_it() -> None:
    edges = R(0).uniform(-2.0, 2.0, size=(200, 2, 2))
    edges[:20, 1, 0] = edges[:20, 0, 0]  # upright ones
    low, high = np.array([-0.5, -0.7]), np.array([0.8, 0.3])
    share = np.linspace(0.0, 1.0, 4001)[:, None, None]
    points = edges[:, 0] + share * (edges[:, 1] - edges[:, 0])
    told = ((points >= low) & (points <= high)).all(2).any(0)
    assert [crossings(low, high, edge[None]) for edge in edges] == told.astype(int).tolist()


def test_names_cover_no_mark_and_no_name() -> None:
    spots, radii = R(1).uniform(5.0, 75.0, size=(60, 2)), R(2).uniform(0.5, 2.0, size=60)
    boxes, frame = np.tile([9.0, 2.0], (60, 1)), np.array([80.0, 80.0])
    placed = beside(spots, radii, boxes, np.arange(60), frame, np.stack([spots, spots[::-1]], 1))
    middles, half = np.array([middle for middle, _ in placed.values()]), np.array([4.5, 1.0])
    assert 30 < len(placed) <= 60
    apart = np.abs(middles[:, None] - middles[None])
    assert ((apart >= [9.0 - 1e-9, 2.0 - 1e-9]).any(2) | np.eye(len(placed), dtype=bool)).all()
    nearest = np.clip(spots[None], (middles - half)[:, None], (middles + half)[:, None])
    assert (np.linalg.norm(spots[None] - nearest, axis=2) >= radii - 1e-9).all()
    assert (middles - half >= 0.0).all()
    assert (middles + half <= frame).all()


# What is drawn


def test_kinds_of_networks_are_those_of_models_with_edges() -> None:
    for model in MODELS:
        assert ({"network", "adjacency"} <= set(kinds(model))) == (model in NETWORKS)


def test_what_is_drawn_is_the_table_of_edges() -> None:
    made, edges = graph.content(source(), Wanted()), fitted().edges.reset_index()
    assert len(edges) > 3
    assert [made.names[j] for j in made.first] == edges["feature_a"].tolist()
    assert [made.names[k] for k in made.second] == edges["feature_b"].tolist()
    assert made.partial == pytest.approx(edges["partial_correlation"].to_numpy())
    degree = fitted().nodes["degree"]
    assert dict(zip(made.names, made.degree.tolist(), strict=True)) == degree[degree > 0].to_dict()
    assert sorted(made.order.tolist()) == list(range(len(made.names)))
    assert (np.diff(made.degree[made.order]) <= 0).all()
    assert made.notes == (f"Not drawn: {(degree == 0).sum()} of 12 features without edges.",)
    told = graph.describe(made)
    assert f"{len(made.names)} features and {len(edges)} edges" in told
    assert f"{made.names[made.order[0]]} ({made.degree.max()})" in told


def test_a_feature_is_drawn_with_what_it_is_linked_with() -> None:
    edges = nx.from_pandas_edgelist(fitted().edges.reset_index(), "feature_a", "feature_b")
    made = graph.content(source(), Wanted(responses=("f7",)))
    near = {"f7", *edges["f7"]}
    assert set(made.names) == near
    assert len(made.partial) == edges.subgraph(near).number_of_edges()
    lone = next(name for name in fitted().nodes.index if name not in edges)
    with pytest.raises(PlncliError, match=f"{lone} has no edge in"):
        graph.content(source(), Wanted(responses=(lone,)))
    with pytest.raises(PlncliError, match="has no response `f77`.* Did you mean `f7`"):
        graph.content(source(), Wanted(responses=("f77",)))


def test_taxa_have_colours_of_their_own() -> None:
    facts = {"phylum": tuple("ab"[j % 2] for j in range(P)), "class": ("c",) * P, "note": ("x",) * (P - 1) + (None,)}
    made = graph.content(source(features=facts), Wanted())
    assert (made.rank, set(made.taxa)) == ("phylum", {"a", "b"})
    told = dict(zip(made.names, drawing.colours(made), strict=True))
    assert len(set(told.values())) == 2
    assert {told[name] for name in told if int(name[1:]) % 2} != {told[name] for name in told if not int(name[1:]) % 2}
    assert graph.content(source(features=facts), Wanted(group_by="note")).kinds == ("x",)
    with pytest.raises(PlncliError, match="does not know the phylm of its features.* Did you mean `phylum`"):
        graph.content(source(features=facts), Wanted(group_by="phylm"))
    with pytest.raises(PlncliError, match="says nothing of features but their names"):
        graph.content(source(), Wanted(group_by="phylum"))


def test_lines_are_as_wide_as_partial_correlations_and_coloured_by_sign() -> None:
    made = graph.content(source(), Wanted())
    assert (made.partial > 0).any()
    assert (made.partial < 0).any()
    lines = [
        each
        for each in draw(kinds(NETWORKS[0])["network"], made).axes[0].collections
        if isinstance(each, LineCollection)
    ]
    assert [len(each.get_segments()) for each in lines] == [(made.partial > 0).sum(), (made.partial < 0).sum()]
    for each, own in zip(lines, (made.partial[made.partial > 0], -made.partial[made.partial < 0]), strict=True):
        assert np.diff(each.get_linewidths()) == pytest.approx(0.75 * np.diff(np.sort(own)) * 72.0 / 25.4)
    assert len({tuple(each.get_colors()[0]) for each in lines}) == 2


def test_more_edges_than_can_be_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    many = len(fitted().edges)
    monkeypatch.setattr(graph, "MOST", 2)
    made = graph.content(source(), Wanted())
    assert len(made.partial) == 2
    assert made.notes[-1] == f"The 2 strongest of {many} edges; --only NAME draws those about a feature."


def test_the_adjacency_is_that_of_the_partial_correlations() -> None:
    made = kinds(NETWORKS[0])["adjacency"].content(source(), Wanted())
    whole = pd.DataFrame(made.values, made.names, made.names)
    for _, row in fitted().edges.reset_index().iterrows():
        one = whole.loc[row["feature_a"], row["feature_b"]]
        assert one == whole.loc[row["feature_b"], row["feature_a"]] == row["partial_correlation"]
    assert np.count_nonzero(np.nan_to_num(made.values)) == 2 * len(fitted().edges)
    assert np.isnan(np.diagonal(made.values)).all()
    top = kinds(NETWORKS[0])["adjacency"].content(source(), Wanted(top=2))
    assert set(top.names) == set(fitted().edges.reset_index().loc[0, ["feature_a", "feature_b"]])


def test_a_network_without_edges_is_told_and_not_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    none = fitted(0.99)
    assert not len(none.edges)
    for kind in ("network", "adjacency", "correlation"):
        with pytest.raises(PlncliError, match="has no edge|all its correlations are 0"):
            none.plot(kind)
    told = network(none._source(None))
    assert told is not None
    assert told["drawing"] is None
    assert told["told"].startswith("The network has no edge")
    monkeypatch.setattr("plncli.reports.figures.kinds", lambda model, mean: {})  # its pictures take seconds
    assert "The network has no edge" in render(facts([none._source(None)], ["none"], diagnosed=False), "0", "now")


# How stable


@cache
def subsampled(penalty: Any = (0.5, 0.3, 0.2)) -> FitResult:
    """The same table with subsamples: of a path, or of one penalty."""
    given: dict[str, Any] = {"penalty": penalty, "subsamples": 5, "se": "none"}
    return fit("pln-network", Dataset(counts=table()), **given | ({} if penalty == 0.3 else {"select": "stars"}))


def test_frequencies_along_the_path_are_those_of_the_edges() -> None:
    result = subsampled()
    record = stability.content(result._source(None), Wanted())
    edges = result.edges.reset_index()
    told = dict(zip(zip(record.first, record.second, strict=True), record.frequency, strict=True))
    for a, b, frequency in edges[["feature_a", "feature_b", "frequency"]].to_numpy():
        assert told[a, b] == pytest.approx(frequency)
    assert record.values.tolist() == [0.5, 0.3, 0.2]
    assert record.along[record.chosen] == pytest.approx(record.frequency)
    assert (np.diff(record.frequency) <= 0).all()
    signs = {(a, b): r for a, b, r in zip(record.first, record.second, record.partial, strict=True) if r}
    assert signs == pytest.approx(
        {(a, b): r for a, b, r in edges[["feature_a", "feature_b", "partial_correlation"]].to_numpy()}
    )
    pairs = [frozenset(pair) for pair in told]
    assert len(set(pairs)) == len(pairs)
    instability = 2.0 * (record.along * (1.0 - record.along)).sum(1) / (P * (P - 1) / 2)
    assert np.maximum.accumulate(instability) == pytest.approx(result.path["instability"].to_numpy())


def test_the_table_has_a_row_a_pair_and_value() -> None:
    made = subsampled().plot_data("stability").reset_index()
    record = stability.content(subsampled()._source(None), Wanted())
    assert len(made) == 3 * len(record.first)
    row = made[(made["feature_a"] == record.first[1]) & (made["feature_b"] == record.second[1])]
    assert row["penalty"].tolist() == [0.5, 0.3, 0.2]
    assert row["frequency"].tolist() == pytest.approx(record.along[:, 1].tolist())
    one = subsampled(0.3).plot_data("stability").reset_index()
    assert [*one] == ["feature_a", "feature_b", "partial_correlation", "frequency"]


def test_frequencies_of_one_penalty_have_rows_alone() -> None:
    record = stability.content(subsampled(0.3)._source(None), Wanted(top=3))
    assert not len(record.values)
    (axes,) = draw(kinds("pln-network")["stability"], record).axes
    assert len(axes.get_yticks()) == 3
    about = stability.content(subsampled(0.3)._source(None), Wanted(responses=("f7",)))
    assert 0 < len(about.first) < len(record.first)
    assert all("f7" in pair for pair in zip(about.first, about.second, strict=True))


def test_a_page_has_how_stable_edges_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "kinds", lambda model, mean: {"stability": kinds(model, mean)["stability"]})
    for result, there in ((subsampled(0.3), True), (fitted(), False)):
        page = render(facts([result._source(None)], ["run"], diagnosed=False), "0", "now")
        assert ("Stability of edges" in page) == there
        assert "not drawn" not in page


def test_what_was_not_subsampled_has_no_frequencies(tmp_path: Path) -> None:
    with pytest.raises(PlncliError, match="subsamples=20"):
        fitted().plot("stability")
    assert not kinds("pln-network")["stability"].applies(fitted().run)
    subsampled().save(tmp_path / "run")
    for place in (tmp_path / "run", *sorted((tmp_path / "run" / "path").iterdir())):
        run = read_run(place)
        known = kinds("pln-network")["stability"].applies(run)
        assert known == (place.name == "run" or run.settings["penalty"] == subsampled().run.summary["path"]["chosen"])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("frequency_second", torch.zeros(2, dtype=torch.int64)),
        ("frequencies", torch.full((1, 2), 1.5)),
        ("frequencies", torch.full((2, 2), 0.5)),
        ("frequency_first", torch.tensor([3, 99])),
        ("frequency_values", None),
    ],
)
def test_frequencies_that_are_none_are_refused(name: str, value: Any, tmp_path: Path) -> None:
    result = subsampled(0.3)
    assert result.outcome is not None
    own = {"frequency_values": torch.tensor([0.3]).double(), "frequencies": torch.full((1, 2), 0.5)}
    own |= {"frequency_first": torch.tensor([0, 1]), "frequency_second": torch.tensor([1, 2])}
    for state, sound in ((own, True), ({**own, name: value}, False)):
        known = {key: each for key, each in state.items() if each is not None}
        left = {key: each for key, each in result.outcome.result.state.items() if key not in own}
        made = replace(result.outcome, result=replace(result.outcome.result, state={**left, **known}))
        place = tmp_path / str(sound)
        FitResult(result.run, made).save(place)
        if sound:
            assert read_run(place).state["frequency_first"].tolist() == [0, 1]
            continue
        with pytest.raises(PlncliError, match="damaged"):
            read_run(place)


# On pages


def test_a_page_has_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    told = network(source())
    assert told is not None
    edges, nodes = fitted().edges.reset_index(), fitted().nodes
    data = told["drawing"]["data"]
    drawn = [(data["names"][a], data["names"][b], r) for a, b, r in data["edges"]]
    assert drawn == [
        (a, b, round(r, 3)) for a, b, r in edges[["feature_a", "feature_b", "partial_correlation"]].to_numpy()
    ]
    assert f"{len(edges)} edges join {(nodes['degree'] > 0).sum()} of 12 features" in told["told"]
    assert told["nodes"]["edges"].tolist() == sorted(nodes["degree"], reverse=True)
    hub = told["nodes"]["feature"][0]
    near = told["nodes"]["linked with (partial correlation)"][0]
    assert near.count("(") == nodes["degree"][hub]
    assert [row[:2] for row in told["strongest"]["rows"]] == edges[["feature_a", "feature_b"]].to_numpy()[:25].tolist()
    assert all({*row[3:]} <= {"positive", "negative"} for row in told["strongest"]["rows"])
    monkeypatch.setattr("plncli.reports.figures.kinds", lambda model, mean: {})
    page = render(facts([source()], ["one"], diagnosed=False), "0", "now")
    assert page.count('<g class="node') == len(data["names"])
    assert page.count('<path class="edge') == len(edges) + 2  # of the key
    assert network(fit("pln", Dataset(counts=pd.DataFrame(R(0).poisson(9, (20, 3)))), se="none")._source(None)) is None
