"""Each kind of plot has its place in what users see: the list of names, the docs, and pages of reports."""

from __future__ import annotations

import re
from pathlib import Path

from plncli.names import PLOTS
from plncli.plots import KINDS
from plncli.reports.figures import CAPTIONS, TITLES

PLOTS_PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "plots.md").read_text(encoding="utf-8")


def test_names_are_those_of_the_kinds() -> None:
    assert [(name, response) for name, response, _ in PLOTS] == [*KINDS]


def test_pages_have_words_for_each_kind_but_those_they_leave_out() -> None:
    names = {name for name, _ in KINDS}
    assert {*CAPTIONS} == {*TITLES} == names - {"sigma"}  # correlations say more


def test_each_kind_is_in_the_docs() -> None:
    rows = re.findall(r"(?m)^\| (`[a-z]+`(?:, `[a-z]+`)*) \|", PLOTS_PAGE)
    told = {name for row in rows for name in re.findall(r"`([a-z]+)`", row)}
    assert {name for name, _ in KINDS} <= told
