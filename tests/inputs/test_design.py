"""Designs: what a formula means, that new data get the same encoding, and that formulas cannot run code."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from plncli.errors import DataError, FormulaError
from plncli.inputs.designs.design import Design, expression, make_design
from plncli.inputs.formula import parse

FRAME = pd.DataFrame(
    {
        "x": [1.0, 2, 3, 4, 5, 7],
        "z": [3.0, 1, 4, 1, 5, 9],
        "tree": pd.Categorical(["u", "v", "w"] * 2),
        "block": [1.0, 2, 1, 2, 1, 2],
        "depth": [10.0, 20, 30, 40, 50, 60],
        "a b": [1.0, 2, 3, 1, 2, 9],
        "my.col": [1.0, 2, 3, 4, 5, 9],
        "log2": [1.0, 3, 2, 3, 4, 5],
        "1": [1.0, 3, 2, 3, 4, 5],
        "class": [1.0, 3, 2, 3, 4, 5],
        "one": pd.Categorical(["u"] * 6),
        "three": [3.0] * 6,
    }
)
COLUMNS = tuple(FRAME.columns)
SAMPLES = [f"s{i}" for i in range(6)]


def made(text: str) -> tuple[Design, np.ndarray, np.ndarray | None]:
    formula = parse(text, COLUMNS, "covariates.csv")
    return make_design(formula, FRAME[list(formula.columns)], SAMPLES, "covariates.csv")


TERMS = {
    "~ 1": ("Intercept",),
    "~ x": ("Intercept", "x"),
    "x + z": ("Intercept", "x", "z"),
    "~ tree": ("Intercept", "tree[T.v]", "tree[T.w]"),
    "~ 0 + tree": ("tree[u]", "tree[v]", "tree[w]"),
    "~ -1 + `a b`": ("a b",),
    "~ C(block)": ("Intercept", "C(block)[T.2]"),
    "~ C(tree, contr.sum)": ("Intercept", "C(tree, contr.sum)[S.u]", "C(tree, contr.sum)[S.v]"),
    "~ C(tree, Treatment('v'))": (
        "Intercept",
        "tree[T.u]",
        "tree[T.w]",
    ),
    "~ np.log(x) + sqrt(z)": ("Intercept", "np.log(x)", "sqrt(z)"),
    "~ scale(x) + center(z):tree": (
        "Intercept", "scale(x)", "center(z):tree[u]", "center(z):tree[v]", "center(z):tree[w]",
    ),
    "~ poly(x, 2)": ("Intercept", "poly(x, 2)[1]", "poly(x, 2)[2]"),
    "~ 0 + bs(x, df=4)": tuple(f"bs(x, df=4)[{k}]" for k in range(1, 5)),
    "~ 0 + cr(x, df=3)": tuple(f"cr(x, df=3)[{k}]" for k in range(1, 4)),
    "~ x*tree": ("Intercept", "x", "tree[T.v]", "tree[T.w]", "x:tree[T.v]", "x:tree[T.w]"),
    "~ I(x > 3)": ("Intercept", "I(x > 3)"),
    "~ I((x > 3) ^ (z > 3))": ("Intercept", "I((x > 3) ^ (z > 3))"),
    "~ my.col + log10(`my.col`)": ("Intercept", "my.col", "log10(`my.col`)"),
    "~ offset(log(depth)) - 1 + x": ("x",),
}  # fmt: skip


@pytest.mark.parametrize("text", TERMS)
def test_terms_and_their_encoding_survive_json(text: str) -> None:
    design, X, _ = made(text)
    assert sorted(design.terms) == sorted(TERMS[text])
    again = Design.from_json(json.loads(json.dumps(design.to_json())))
    assert again.terms == design.terms
    assert np.array_equal(again.build(FRAME), X)
    for row in (0, 5):  # a sample alone gets the row that it had among the others
        assert np.array_equal(again.build(FRAME.iloc[[row]]), X[[row]])


def test_offsets_add_and_leave_the_terms_alone() -> None:
    design, _, offset = made("~ x + offset(log(depth)) + offset(z * 2)")
    assert design.terms == ("Intercept", "x")
    expected = np.log(FRAME.depth.to_numpy()) + 2 * FRAME.z.to_numpy()
    assert offset is not None
    assert np.allclose(offset, expected, rtol=1e-15)
    again = Design.from_json(json.loads(json.dumps(design.to_json())))
    assert np.array_equal(again.offset(FRAME), offset)
    assert again.columns == ("x", "depth", "z")
    assert made("~ offset(depth)")[0].terms == ("Intercept",)
    assert not made("~ x")[0].offset(FRAME).any()


def test_left_hand_side() -> None:
    formula = parse("log(depth) + `a b` ~ .", ("depth", "a b", "x", "z"), "covariates.csv")
    assert formula.lhs == ("log(depth)", "a b")
    assert set(formula.columns) == {"depth", "a b", "x", "z"}
    assert np.array_equal(expression("log(depth)", formula, FRAME, SAMPLES, "covariates.csv"), np.log(FRAME.depth))


def test_boolean_levels_are_the_same_whatever_their_type() -> None:
    words = pd.DataFrame({"sex": pd.Categorical(["True", "False", "True"])})
    design, X, _ = make_design(parse("~ sex", ("sex",), "c"), words, SAMPLES, "c")
    assert design.terms == ("Intercept", "sex[T.True]")
    assert np.array_equal(design.build(pd.DataFrame({"sex": [True, False, True]})), X)


REFUSED = {
    "~ x z": "cannot be read: Missing operator between `x` and `z`, at character 3 (`x z`)",
    "~ (x": "cannot be read: Could not find matching bracket, at character 3",
    "~ x +": "cannot be read: Operator `+` lacks a term beside it",
    "~ log(x": "cannot be read: Formula ended before quote context was closed",
    "~ log(x,,z)": "cannot be read: in `log(x,,z)`, invalid syntax",
    "~ x ~ z": "more than one `~`",
    "~ x + (1|tree)": "terms with bars",
    "~ 0": "has no terms",
    "~ dept": "uses `dept`, which is no column of covariates.csv. Did you mean `depth`? Its columns are: x, z, tree",
    "~ log(dept)": "Did you mean `depth`?",
    "~ my.cool": "uses `my.cool`, which is no column of covariates.csv. Did you mean `my.col`?",
    "~ a b": "Write the name of the column in backticks: `a b`",
    "~ `1`": "cannot tell the column `1` of covariates.csv from the sign",
    "~ I(`class` * 2)": "cannot take a column called `class`; rename the column",
    "~ x > 3": "Comparisons and arithmetic go inside I(...)",
    "~ factor(block)": "Labels that are numbers are written `C(x)`",
    "~ as.factor(block)": "Labels that are numbers are written `C(x)`",
    "~ log(x, z)": "`log(x, z)` must have one argument",
    "~ log(x, out=z)": "must have one argument: `log(x)`",
    "~ log(2)": "`log(2)` names no column",
    "~ x + offset(2)": "names no column",
    "~ I(x * 'a')": "calculates with what is no number",
    "offset(x) ~ z": "Left of `~` in `offset(x) ~ z` stands `offset(x)`",
    "~ poly(x, 1e9)": "The term `poly(x, 1000000000.0)` cannot be computed",
    "~ lgo(x)": "calls `lgo`, which is not available. Did you mean `log`?",
    "~ I(x^2)": "`I(x^2)` holds `^`, which is no power inside brackets: write `I(x**2)`",
    "~ log(1 + x^0.5)": "write `log(1 + x**0.5)`",
    "~ log2(x)": "calls `log2`, but a column has that name too",
    "~ log10(my.col)": "Write the name of the column in backticks: `my.col`",
    "~ log(tree)": "`log(tree)` needs numbers, and column `tree` of covariates.csv holds",
    "cbind(x, z) ~ depth": "Several responses are written `y1 + y2 ~ ...`",
    "x*z ~ depth": "write one response, or several as `y1 + y2 ~ ...`",
    "~ x - offset(depth)": "must be added on its own",
    "~ x:offset(depth)": "must be added on its own",
    "~ (x + offset(depth))": "must be added on its own",
    "~ log(offset(depth))": "`offset(...)` must be a term of its own",
}


@pytest.mark.parametrize("text", REFUSED)
def test_formulas_that_cannot_be_meant(text: str) -> None:
    with pytest.raises(FormulaError) as caught:
        made(text)
    assert REFUSED[text] in str(caught.value)


def test_names_without_a_table() -> None:
    with pytest.raises(FormulaError, match=r"no table of covariates is given. Add --covariates FILE"):
        parse("~ x")


@pytest.mark.parametrize(
    "text", ["I(x * 9**9**9)", "I(x**9**9**9)", "I(x + (9**9)**99)", "poly(x, 9**999)", "I(x**-(9**9))"]
)
def test_numbers_too_large_to_calculate_are_refused_at_once(text: str) -> None:
    with pytest.raises(FormulaError, match="power"):
        parse(f"~ {text}", COLUMNS, "covariates.csv")
    assert made("~ I((x + 1)**2) + I(z**-1) + I(10**3 * x**z)")[0].terms[0] == "Intercept"


def test_a_label_for_each_sample_is_refused_before_the_matrix_is_made() -> None:
    n = 100_000  # whose matrix would take 80 GB
    labels = pd.DataFrame({"id": pd.Categorical.from_codes(range(n), [f"s{i:06d}" for i in range(n)])})
    with pytest.raises(
        DataError, match=r"`id` of c has a different label \(s000000, s000001, s000002 and 99997 more\)"
    ):
        make_design(parse("~ id", ("id",), "c"), labels, [], "c")


ATTACKS = [
    "~ __import__('os').system('touch {}')",
    "~ __import__('os').system('touch {}')(1)",
    "~ I(__import__('os').system('touch {}'))",
    "~ {{__import__('os').system('touch {}')}}",
    "~ log(().__class__.__base__.__subclasses__())",
    "~ I((lambda: open('{}', 'w'))())",
    "~ I([open('{}', 'w') for i in x])",
    "~ x[open('{}', 'w')]",
    "~ np.save('{}', x)",
    "~ np.lib.format.open_memmap('{}', 'w+', shape=1)",
    "~ offset(open('{}', 'w'))",
    "open('{}', 'w') ~ x",
    "~ Q(open('{}', 'w'))",
    "~ log(`x'`, open('{}', 'w'))",
    "~ I(f\"{{open('{}', 'w')}}\")",
    "~ I(y := open('{}', 'w'))",
    "~ poly(x, 2, _state=open('{}', 'w'))",
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_formulas_run_no_code(attack: str, tmp_path: object) -> None:
    target = f"{tmp_path}/hacked"
    with pytest.raises(FormulaError):
        made(attack.format(target))
    stored = {"formula": {"text": "~ x"}, "offset": None}
    encoding = {"formula": attack.format(target).partition("~")[2], "columns": {"x": None}, "state": {}, "terms": []}
    with pytest.raises(FormulaError):
        Design.from_json({**stored, "x": encoding} if not attack.startswith("open") else _left(target)).build(FRAME)
    assert not pd.io.common.file_exists(target)


def _left(target: str) -> dict[str, object]:
    encoding = {"formula": f"open('{target}', 'w')", "columns": {"x": None}, "state": {}, "terms": []}
    return {"formula": {"text": "~ x"}, "offset": None, "x": encoding}


COLUMN_FAULTS = {
    "~ one": "Column `one` of covariates.csv has one level (`u`) in 6 samples kept",
    "~ C(three)": "Column `C(three)` of covariates.csv has one level (`3`)",
    "~ three": "The term `three` (from covariates.csv) is 3 in all 6 samples, so it is collinear with the intercept",
    "~ log(x - 1)": "The term `log(x - 1)` is not a finite number in 1 sample (s0)",
    "~ log(x - 9)": "is not a finite number in 6 samples (s0, s1, s2, s3, s4 and 1 more)",
    "~ offset(log(x - 1))": "The term `offset(log(x - 1))` is not a finite number in 1 sample (s0)",
}


@pytest.mark.parametrize("text", COLUMN_FAULTS)
def test_columns_that_explain_nothing(text: str) -> None:
    with pytest.raises(DataError) as caught:
        made(text)
    assert COLUMN_FAULTS[text] in str(caught.value)


def test_new_data_must_fit_the_encoding() -> None:
    design, _, _ = made("~ tree + x + C(block)")
    with pytest.raises(DataError, match="used the columns tree, which this table does not have"):
        design.build(FRAME.drop(columns="tree"))
    with pytest.raises(DataError, match=r"`tree` holds levels that the fit has not seen: q. It has u, v, w"):
        design.build(FRAME.assign(tree=["q", *"uvwuv"]))
    with pytest.raises(DataError, match=r"levels that the fit has not seen: 3"):
        design.build(FRAME.assign(block=3.0))
    with pytest.raises(DataError, match="`x` was numeric when the model was fitted, and holds text here"):
        design.build(FRAME.assign(x="much"))
