"""Networks in the folder of a fit, at a glance, side by side, and on a page."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import browser
import networkx as nx
import numpy as np
import pandas as pd
import pytest
from parsed import parser
from scipy.io import mmread

from plncli import cli as command_line
from plncli.runs.comparison import compare
from plncli.runs.network.graphml import graphml
from plncli.runs.network.market import matrix_market
from plncli.runs.run import read_run
from plncli.verbs.show import choice

Cli = Callable[..., Any]
ODD = ('<b>"bold"</b>', "a & b", "it's é 𝄞", "f 4", "f5", "f6", "f7", "f8")
FIT = ("fit", "pln-network", "--counts", "counts.csv", "--penalty", "0.7,0.3,0.2", "--se", "none", "-q")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of counts of which the first four go together, and `run`, a path of networks of it."""
    folder = tmp_path_factory.mktemp("network")
    r = np.random.RandomState(1)
    Z = 2.5 + 0.6 * r.normal(size=(80, len(ODD)))
    Z[:, :4] += r.normal(size=(80, 1)) * [1.0, 0.9, -0.9, 0.8]
    pd.DataFrame(r.poisson(np.exp(Z)), [f"s{i}" for i in range(80)], list(ODD)).to_csv(folder / "counts.csv")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(command_line, "application", parser)
        patch.setattr(sys, "argv", ["plncli", *FIT, "--out", "run"])
        with pytest.raises(SystemExit) as exited:
            command_line.main()
    assert not exited.value.code
    return folder


def tables(run: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    return pd.read_csv(run / "edges.csv"), pd.read_csv(run / "nodes.csv")


# The file for other programs


def test_the_graph_is_that_of_the_tables(place: Path) -> None:
    """As networkx reads it: of each fit of the path, whatever features are called."""
    for run in (place / "run", *sorted((place / "run" / "path").iterdir())):
        edges, nodes = tables(run)
        read = nx.read_graphml(run / "network.graphml")
        assert not read.is_directed()
        assert list(read) == [f"n{k}" for k in range(1, len(ODD) + 1)]
        told = pd.DataFrame([known for _, known in read.nodes(data=True)])
        pd.testing.assert_frame_equal(told.rename(columns={"name": "feature"}), nodes)
        names = nx.get_node_attributes(read, "name")
        rows = [{"feature_a": names[a], "feature_b": names[b], **known} for a, b, known in read.edges(data=True)]
        there = pd.DataFrame(rows, columns=edges.columns)
        order = ["feature_a", "feature_b"]
        pd.testing.assert_frame_equal(
            there.sort_values(order, ignore_index=True), edges.sort_values(order, ignore_index=True), check_dtype=False
        )


def test_the_graph_has_what_the_counts_say_of_features(place: Path) -> None:
    """Also where they say it in signs that XML does not have, or by a name that the graph has given."""
    texts = tuple(f"k__{name}\x01\ufffe" if j else None for j, name in enumerate(ODD))
    run = replace(read_run(place / "run"), features={"<lineage>": texts, "degree": ("9",) * len(ODD)})
    read = nx.read_graphml(BytesIO(graphml(run)))
    about = [known for _, known in read.nodes(data=True)]
    assert [known.get("<lineage>") for known in about] == [None, *(f"k__{name}\ufffd\ufffd" for name in ODD[1:])]
    assert {known["feature_degree"] for known in about} == {"9"}
    assert [known["degree"] for known in about] == tables(place / "run")[1]["degree"].tolist()


def test_a_feature_without_variance_has_no_entry_of_omega(place: Path) -> None:
    run = read_run(place / "run")
    Omega = run.estimates["Omega"].copy()
    Omega[-1, :] = Omega[:, -1] = np.nan
    read = nx.read_graphml(BytesIO(graphml(replace(run, estimates={**run.estimates, "Omega": Omega}))))
    assert ["omega" in known for _, known in read.nodes(data=True)] == [True] * (len(ODD) - 1) + [False]


def test_the_sparse_matrix_is_omega_in_the_order_of_nodes(place: Path) -> None:
    """As scipy reads it, to the last bit."""
    for run in (place / "run", *sorted((place / "run" / "path").iterdir())):
        Omega = mmread(run / "omega.mtx")
        assert Omega.nnz == len(ODD) + 2 * len(tables(run)[0])
        assert (np.triu(Omega.toarray()) == np.triu(read_run(run).estimates["Omega"])).all()
        assert Omega.toarray() == pytest.approx(read_run(run).estimates["Omega"], rel=1e-12)
        names = tables(run)[1]["feature"].tolist()
        for row in tables(run)[0].itertuples():
            found = Omega.tocsr()[names.index(row.feature_a), names.index(row.feature_b)]
            assert found == pytest.approx(row.omega, rel=1e-8)


def test_features_without_variance_have_no_entries_in_the_sparse_matrix(place: Path) -> None:
    run = read_run(place / "run")
    Omega = run.estimates["Omega"].copy()
    Omega[2, :] = Omega[:, 2] = np.nan
    made = mmread(BytesIO(matrix_market(replace(run, estimates={**run.estimates, "Omega": Omega}))))
    assert made.shape == Omega.shape
    assert made.toarray() == pytest.approx(np.nan_to_num(Omega), rel=1e-12)


def test_the_graph_does_not_stand_in_the_way_of_another_fit(place: Path, cli: Cli, tmp_path: Path) -> None:
    words = [*FIT[:2], "--counts", place / "counts.csv", *FIT[4:], "--out", "again"]
    assert cli(*words).code == 0
    assert (tmp_path / "again" / "network.graphml").read_bytes() == (place / "run" / "network.graphml").read_bytes()
    assert cli(*words, "--overwrite").code == 0
    (tmp_path / "again" / "other.graphml").write_text("mine")
    refused = cli(*words, "--overwrite")
    assert refused.code != 0
    assert "other.graphml" in refused.err


# At a glance, and side by side


def test_show_tells_edges_hubs_and_the_strongest(place: Path, cli: Cli) -> None:
    edges, nodes = tables(place / "run")
    found = json.loads(cli("show", place / "run", "--json").out)
    assert found["edges"] == len(edges) > 3
    assert [row["partial_correlation"] for row in found["links"]] == edges["partial_correlation"].tolist()[:10]
    assert [row["edges"] for row in found["hubs"]] == sorted(nodes["degree"][nodes["degree"] > 0], reverse=True)
    text = cli("show", place / "run", "--top", "2").out
    assert f"network   {len(edges)} edges, {100 * len(edges) / 28:.2g} % of all pairs; most: " in text
    assert "Strongest edges" in text
    assert "ebic " in text


def test_compare_tells_edges_and_extended_bic_and_tests_nothing(place: Path, cli: Cli, tmp_path: Path) -> None:
    runs = sorted((place / "run" / "path").iterdir())
    ran = cli("compare", *runs, "--out", "made.csv")
    assert ran.code == 0
    assert "the data have chosen the edges" in ran.err
    made, path = pd.read_csv(tmp_path / "made.csv"), pd.read_csv(place / "run" / "path.csv")
    assert made["edges"].tolist() == path["edges"].tolist()
    assert made["delta_ebic"].tolist() == pytest.approx((path["ebic"] - path["ebic"].min()).tolist())
    assert compare([read_run(run) for run in runs]).ratios == ()
    assert "edges" in cli("compare", *runs, env={"COLUMNS": "200"}).out.splitlines()[0].split()


def told(select: str, values: list[float], **columns: list[float]) -> str:
    """What is said of a path of which the last was chosen."""
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    fits = [{"rank": value, "chosen": value == values[-1], **row} for value, row in zip(values, rows, strict=True)]
    return choice({"setting": "rank", "select": select, "chosen": values[-1], "fits": fits})


def test_the_end_of_a_path_is_told_by_its_direction() -> None:
    assert told("bic", [1, 2], bic=[9.0, 8.0]).endswith("rank 1 is next, 1.0 behind; no larger rank was tried")
    assert told("ebic", [0.5, 0.2], ebic=[9.0, 8.0]).endswith("no smaller rank was tried")
    assert told("stars", [0.5, 0.2], instability=[0.0, 0.041], edges=[0, 7]) == (
        "rank 0.2 by stars, of 2 fits; 7 edges have an instability of 0.041"
    )
    assert told("none", [0.5, 0.2], edges=[0, 7]) == "rank 0.2, the last of 2 fits"


# On a page


@pytest.mark.slow  # a browser starts
@pytest.mark.skipif(browser.found() is None, reason="no browser")
def test_the_network_on_a_page_answers_the_pointer(place: Path, cli: Cli, tmp_path: Path) -> None:
    assert cli("report", place / "run", "--no-diagnose", "--out", "page.html", "-q").code == 0
    edges, nodes = tables(place / "run")
    hub = nodes["feature"][nodes["degree"].idxmax()]
    near = {*edges.loc[edges["feature_a"] == hub, "feature_b"], *edges.loc[edges["feature_b"] == hub, "feature_a"]}
    with browser.browser(tmp_path / "profile") as page:
        page.look()
        page.open(tmp_path / "page.html")
        page.run(f"window.hub = [...document.querySelectorAll('.node')].find((node) => "
                 f"node.querySelector('text').textContent === {json.dumps(hub)})")  # fmt: skip
        page.run("hub.scrollIntoView({block: 'center'})")
        box = page.run("(({x, y, width, height}) => [x + width / 2, y + height / 2])"
                       "(hub.querySelector('circle').getBoundingClientRect())")  # fmt: skip
        page.move(*box)
        tip = page.run("document.querySelector('.tip').textContent")
        assert tip.startswith(f"{hub}: {len(near)} edges. Linked with ")
        lit = "[...document.querySelectorAll('.node.lit text')].map((text) => text.textContent)"
        assert page.run(lit) == []
        page.run("hub.dispatchEvent(new MouseEvent('click', {bubbles: true}))")
        assert set(page.run(lit)) == near | {hub}
        assert page.run("document.querySelectorAll('.graph .edge.lit').length") == len(near)
        named = page.run("[...document.querySelectorAll('.told .name')].map((name) => name.textContent)")
        assert named[0] == hub
        assert set(named[1:]) == near
        page.run("document.querySelector('.graph').dispatchEvent(new MouseEvent('click', {bubbles: true}))")
        assert page.run(lit) == []
        page.run("document.querySelector('.node[tabindex=\"0\"]').focus()")
        page.key("Enter", "\r")
        assert hub in page.run(lit) or len(page.run(lit)) > 1
        assert (page.problems, [url for url in page.requests if not url.startswith(("file:", "data:"))]) == ([], [])
