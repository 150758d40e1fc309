"""Each kind of plot has its place in what users see: the list of names, the docs, and pages of reports."""

from __future__ import annotations

import re
from pathlib import Path

from plncli.names import PLOTS
from plncli.plots import KINDS

DOCS = Path(__file__).parents[2] / "docs"
PLOTS_PAGE = (DOCS / "reference" / "plots.md").read_text(encoding="utf-8")


def test_names_are_those_of_the_kinds() -> None:
    assert [(name, response) for name, response, _ in PLOTS] == [*KINDS]


def test_kinds_are_told_apart_by_their_titles_and_explained() -> None:
    for response in ("counts", "classes", "numbers"):
        titles = [kind.title for (_, own), kind in KINDS.items() if own in ("", response)]
        assert len(set(titles)) == len(titles)
    assert [name for (name, _), kind in KINDS.items() if not kind.caption] == [
        "feature",  # which a click on its name shows
        "sigma",  # of which correlations say most
        "network",  # which answers the pointer there
        "recovery",  # which needs a truth
        "pairs",  # of which the first two say most
        "cos2",  # which follow from arrows
    ]
    assert all(kind.caption.startswith("How to read it: ") for kind in KINDS.values() if kind.caption)


def test_each_kind_is_in_the_docs() -> None:
    rows = re.findall(r"(?m)^\| (`[a-z0-9]+`(?:, `[a-z0-9]+`)*) \|", PLOTS_PAGE)
    told = {name for row in rows for name in re.findall(r"`([a-z0-9]+)`", row)}
    assert {name for name, _ in KINDS} <= told


def test_each_kind_is_in_the_gallery() -> None:
    drawn = re.findall(r"(?m)^plncli plot [\w/.]+ (\w+) ", (DOCS / "gallery.md").read_text(encoding="utf-8"))
    assert sorted(drawn) == sorted([*(name for name, _ in KINDS), "cv"])
