"""Conditions on covariates: what holds for whom, and that nothing but a condition is ever evaluated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plncli.errors import FormulaError
from plncli.inputs.filter import holds
from plncli.tables.reading import table_of
from plncli.tables.table import Table

FRAME = pd.DataFrame(
    {
        "tree": ["ash", "elm", "oak", None],
        "height": [1.0, 2.5, np.nan, 4.0],
        "plots": [1, 2, 3, 4],
        "wet": [True, False, True, False],
        "odd name": [0.5, 1.5, 2.5, 3.5],
        "and": list("abcd"),
    },
    index=list("pqrs"),
)
TABLE: Table = table_of(FRAME, "covariates")

CONDITIONS = {
    "tree == 'ash'": "1000",
    "tree != 'ash'": "0110",
    "not tree == 'ash'": "0110",  # what is missing is neither
    "height > 2": "0101",
    "not height > 2": "1000",
    "height > 2 or tree == 'oak'": "0111",
    "height > 2 and tree == 'elm'": "0100",
    "1 < plots <= 3": "0110",
    "tree in ['ash', 'oak']": "1010",
    "tree not in ('ash', 'oak')": "0100",
    "plots in [1, 4.0]": "1001",
    "wet": "1010",
    "not wet": "0101",
    "wet == False": "0101",
    "isna(tree)": "0001",
    "not isna(height) and plots < 4": "1100",
    "`odd name` * 2 - 1 == plots * 2 - 2": "1111",
    "(`odd name` > 1) & wet": "0010",
    "(plots > 3) | ~wet": "0101",
    "`and` == 'b'": "0100",
    "plots / 2 > -height + 1.5": "0101",
    "height == height": "1101",
}


@pytest.mark.parametrize("condition", CONDITIONS)
def test_what_holds(condition: str) -> None:
    kept, notes = holds(condition, TABLE)
    assert "".join(str(int(yes)) for yes in kept) == CONDITIONS[condition] and notes == ()


REFUSED = {
    "tree = 'ash'": "Equality is written ==.",
    "tree == ash": "uses `ash`, which is no column of `covariates`",
    "heigth > 1": "Did you mean `height`?",
    "tree > 3": "compares `tree` (text) and `3` (a number)",
    "wet == 1": "compares `wet` (true or false) and `1` (a number)",
    "tree": "is no condition that is true or false for each sample",
    "height + 1": "is no condition",
    "True": "is no condition",
    "tree + 1 > 2": "calculates with `tree`, which is no number",
    "height and wet": "takes `height` as true or false, which it is not",
    "plots in height": "asks what is in `height`, which is no list",
    "plots in []": "which is no list",
    "height ** 2 > 1": "holds `height ** 2`, which conditions do not take",
    "__import__('os').system('touch gone')": "which conditions do not take",
    "height.__class__ == 1": "which conditions do not take",
    "(lambda: 1)() == 1": "which conditions do not take",
    "[x for x in tree] == 1": "which conditions do not take",
    "tree is None": "which conditions do not take",
    "height >": "cannot be read",
    "": "cannot be read",
    "(" * 300 + "wet" + ")" * 300: "cannot be read",
}


@pytest.mark.parametrize("condition", REFUSED)
def test_what_is_no_condition(condition: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FormulaError) as caught:
        holds(condition, TABLE)
    assert REFUSED[condition] in str(caught.value) and str(caught.value).startswith("--filter `")
    assert not list(tmp_path.iterdir())


def test_a_level_that_nobody_has_is_told() -> None:
    kept, notes = holds("tree != 'elf'", TABLE)
    assert kept.tolist() == [True, True, True, False]
    assert notes == ("--filter: no sample has the entry `elf`. Did you mean `elm`?",)


@given(
    st.floats(-2, 6, allow_nan=False),
    st.sampled_from(["==", "!=", "<", "<=", ">", ">="]),
    st.sampled_from(["height", "plots"]),
)
def test_comparisons_are_those_of_pandas_but_for_what_is_missing(bound: float, sign: str, name: str) -> None:
    found = holds(f"{name} {sign} {bound!r}", TABLE)[0]
    assert (found == (FRAME.eval(f"{name} {sign} {bound!r}") & FRAME[name].notna()).to_numpy()).all()
    opposite = holds(f"not ({name} {sign} {bound!r})", TABLE)[0]
    assert not (found & opposite).any() and ((found | opposite) == FRAME[name].notna()).all()
