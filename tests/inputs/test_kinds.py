"""Columns that are nearly numbers, or whole numbers that may be labels: refused, or told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from plncli.errors import DataError
from plncli.inputs.designs.design import make_design
from plncli.inputs.designs.kinds import Uses, slope_notes, texts_among_numbers
from plncli.inputs.formula import parse

FIELD = Path(__file__).parents[1] / "field"
FEW_TEXTS = FIELD / "numbers-with-a-few-texts"
WHOLE = FIELD / "factor-in-whole-numbers"
Cli = Callable[..., Any]


def tables(folder: Path) -> list[str]:
    return [f"--{name}={folder / file}.csv" for name, file in (("counts", "counts"), ("covariates", "cov"))]


def made(column: list[Any], formula: str, types: dict[str, str] | None = None) -> tuple[str, ...]:
    """Terms of the design of a column x, text unless all are numbers, as a file has it."""
    values = pd.Series(column) if all(isinstance(v, float | int) for v in column) else pd.Categorical(map(str, column))
    samples = [f"s{i}" for i in range(len(column))]
    frame = pd.DataFrame({"x": values, "y": np.arange(len(column)) % 2})
    parsed = parse(formula, ("x", "y"), "t.csv")
    return make_design(parsed, frame[list(parsed.columns)], samples, "t.csv", types=types)[0].terms


@pytest.mark.parametrize("text", ["unknown", ".", "-", "missing", "n.d.", "<0.1", ">100", "1.5 mg", "50%"])
def test_numbers_but_for_a_text(text: str) -> None:
    """Also where numbers repeat, and the column looks like a factor; C() says that it is one."""
    for numbers in ([1.5, 2, 3.25, 4, 5, 6, 7, 8], [0, 50, 0, 50, 60, 60, 0, 50]):
        column = [*numbers, text, text]
        with pytest.raises(DataError, match=r"`x` of t.csv is numeric but for 2 of its 10 entries: ") as refused:
            made(column, "~ x")
        assert f"`{text}` (s8, s9)" in str(refused.value) and "--na-values " in str(refused.value)
        with pytest.raises(DataError, match="numeric but for"):
            made(column, "~ x:y")
    assert len(made([*numbers, text, text], "~ C(x)")) == 4
    assert len(made([*numbers, text, text], "~ x", {"x": "categorical"})) == 4


def test_labels_are_no_numbers_with_texts() -> None:
    for labels in (["a", "b"] * 4, ["1", "treated", "control", "wild"] * 2, ["1a", "1b", "2a", "2b"] * 2):
        assert len(made(labels, "~ x")) == len(set(labels))
    assert texts_among_numbers(["1", "a", "b"], {"1": 9, "a": 4, "b": 4}) == ["a", "b"]  # half of the entries
    assert texts_among_numbers(["1", "2", "a", "b"], {"1": 1, "2": 1, "a": 9, "b": 9}) == ["a", "b"]  # of the levels
    assert texts_among_numbers(["1", "a", "b"], {"1": 1, "a": 1, "b": 1}) == []


def test_decimal_commas_are_called_so() -> None:
    with pytest.raises(DataError, match=r"holds decimal commas: `1,5` \(s0\), `2,5` \(s1\)"):
        made(["1,5", "2,5", "3", "4"], "~ x")
    with pytest.raises(DataError, match="numeric but for 1 of its 4 entries: `low`"):
        made(["1,5", "2,5", "3,5", "low"], "~ x")


@pytest.mark.parametrize(
    "call", ["scale(x)", "center(x)", "standardize(x)", "poly(x, 2)", "bs(x, df=4)", "cr(x, df=4)", "log(x)", "sqrt(x)",
             "I(x**2)", "I(x > 2)", "abs(x)", "I(x + y)", "log(x + 1)"],
)  # fmt: skip
def test_transforms_name_the_texts(call: str) -> None:
    for formula in (f"~ {call}", f"~ y + offset({call})"):
        with pytest.raises(DataError, match=r"needs numbers, and column `x` of t.csv holds 1 text: `none` \(s6\)"):
            made([1.5, 2, 3, 4, 5, 6, "none"], formula)
    with pytest.raises(DataError, match="Use a column of numbers there"):
        made(["a", "b"] * 4, f"~ {call}")


def test_comparisons_and_labels_need_no_numbers() -> None:
    assert made(["a", "b"] * 4, "~ I(x == 'a')") != ()
    assert len(made(["a", "b"] * 4, "~ C(x, contr.sum)")) == 2


def test_nearly_a_level_for_each_sample() -> None:
    labels = [*"abcdefghij", "j", "i"]
    with pytest.raises(DataError, match=r"10 different labels in 12 samples \(a, b, c and 7 more\)"):
        made(labels, "~ x")
    assert len(made(labels, "~ C(x)")) == 10
    assert len(made([*"abcdef"] * 2, "~ x")) == 6  # pairs


def notes(column: list[float], types: dict[str, str] | None = None) -> list[str]:
    return slope_notes(Uses.of(["x"], "~ x"), pd.DataFrame({"x": np.array(column, float)}), "t.csv", types or {})


def test_whole_numbers_that_repeat_are_told() -> None:
    (note,) = notes([1, 2, 3, 4, 5, 6] * 2)
    assert "`x` of t.csv enters as a slope over 6 whole numbers (1 to 6), each in 2 samples" in note
    assert "`C(x)`" in note
    assert "each in 2 to 3 samples" in notes([0, 7, 14, 0, 7, 14, 14])[0]
    assert notes([*range(1, 31)] * 2)  # patients
    for column in (
        [0, 1] * 6,  # an indicator: the slope is the difference of the levels
        [1, 2] * 6,
        [1.5, 2.5, 3.5] * 4,
        [*range(20, 50)] * 2,  # ages
        [*range(20, 26), *range(20, 25)],  # one of them in a single sample
    ):
        assert notes(column) == []
    assert notes([1, 2, 3] * 4, {"x": "numeric"}) == []


def test_a_slope_of_whole_numbers_in_a_transform_is_meant(cli: Cli) -> None:
    for formula in ("~ C(patient) + drug", "~ scale(patient)"):
        ran = cli("validate", "pln", *tables(WHOLE), f"--formula={formula}")
        assert "enters as a slope" not in ran.out


def test_numbers_with_a_few_texts(cli: Cli) -> None:
    command = ("pln", *tables(FEW_TEXTS), "--missing=keep", "--formula")
    ran = cli("validate", *command, "~ percent + pH", "--json")
    faults = json.loads(ran.out)["faults"]
    assert ran.code == 3 and [fault.split()[1] for fault in faults] == ["`percent`", "`pH`"]
    assert "`not collected` (s2, s9)" in faults[1] and "--na-values 'not collected'" in faults[1]
    for verb in ("fit", "cv"):
        refused = cli(verb, *command, "~ percent + pH", "-q")
        assert refused.code == 3 and "`None` (s4)" in refused.err
    for function in ("scale", "log"):
        (fault,) = json.loads(cli("validate", *command, f"~ {function}(pH)", "--json").out)["faults"]
        assert f"`{function}(pH)` needs numbers" in fault and "`not collected` (s2, s9)" in fault


def test_entries_taken_as_missing(cli: Cli) -> None:
    command = ("pln", *tables(FEW_TEXTS), "--formula=~ percent + pH", "--na-values=None", "--na-values=not collected")
    found = json.loads(cli("validate", *command, "--json").out)["data"]
    assert found["missing"] == {"percent": 1, "pH": 2}
    assert found["numbers"]["percent"] == {"min": 0, "max": 80, "distinct": 5, "whole": True}
    shown = cli("validate", *command).out
    assert "numbers   pH: " in shown and "different values; 2 missing" in shown
    assert cli("fit", *command, "--missing=drop", "--out=r", "-q", "--covariance=diagonal").code == 0
    ran = cli("predict", "r", f"--covariates={FEW_TEXTS / 'cov.csv'}", "--missing=drop")
    assert ran.code == 0 and len(ran.out.splitlines()) == 1 + 17 * 5
    again = cli("rerun", "r", "--check")
    assert again.code == 0, again.err


def test_a_text_in_new_samples_is_missing_by_name(cli: Cli, tmp_path: Path) -> None:
    assert cli("fit", "pln", *tables(WHOLE), "--formula=~ patient", "--out=r", "-q", "--covariance=diagonal").code == 0
    new = tmp_path / "new.csv"
    new.write_text("id,patient\nn1,2\nn2,who?\n")
    refused = cli("predict", "r", f"--covariates={new}")
    assert refused.code == 3 and "`who?`" in refused.err and "--na-values" in refused.err
    ran = cli("predict", "r", f"--covariates={new}", "--na-values=who?", "--missing=drop")
    assert ran.code == 0 and "n2," not in ran.out and "n1," in ran.out


def test_a_factor_in_whole_numbers(cli: Cli) -> None:
    slope = cli("fit", "pln", *tables(WHOLE), "--formula=~ patient + drug", "--covariance=diagonal", "--out=slope")
    assert slope.code == 0 and "enters as a slope over 6 whole numbers (1 to 6), each in 2 samples" in slope.err
    assert (
        "numbers   patient: 1 to 6, 6 different whole numbers"
        in cli("validate", "pln", *tables(WHOLE), "--formula=~ patient + drug").out
    )


def test_a_category_of_a_data_frame_is_a_factor() -> None:
    import plncli

    index = [f"s{i}" for i in range(12)]
    counts = pd.DataFrame(np.random.default_rng(1).poisson(20, (12, 3)) + 1, index, columns=list("abc"))
    block = pd.Series([1, 2, 3] * 4, index)
    terms = {}
    for name, column in {"slope": block, "factor": block.astype("category")}.items():
        data = plncli.Dataset(counts=counts, covariates=column.to_frame("block"), formula="~ block")
        terms[name] = plncli.fit("pln", data, covariance="diagonal", se="none").run.terms
    assert terms == {"slope": ("Intercept", "block"), "factor": ("Intercept", "block[T.2]", "block[T.3]")}
    texts = pd.DataFrame({"x": ["1", "2", "?"] * 4}, index)
    with pytest.raises(DataError, match="numeric but for 4 of its 12 entries"):
        plncli.fit("pln", plncli.Dataset(counts=counts, covariates=texts, formula="~ x"))
    data = plncli.Dataset(counts=counts, covariates=texts, formula="~ x", na_values="?", missing="drop")
    assert plncli.fit("pln", data, covariance="diagonal", se="none").run.terms == ("Intercept", "x")
