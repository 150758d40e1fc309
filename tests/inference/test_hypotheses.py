"""Contrasts written as text, terms and levels."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plncli.errors import UsageError
from plncli.inference.hypotheses import Terms

LEVELS = ("intermediate", "resistant", "susceptible")
REDUCED = Terms(
    ("Intercept", "tree[T.resistant]", "tree[T.susceptible]", "depth", "tree[T.resistant]:depth", "log(depth)"),
    {"Intercept": (0,), "tree": (1, 2), "depth": (3,), "depth:tree": (4,), "log(depth)": (5,)},
    {"tree": LEVELS},
)
WHOLE = Terms(
    (*(f"tree[{level}]" for level in LEVELS), "C(site)[T.2]"),
    {"tree": (0, 1, 2), "C(site)": (3,)},
    {"tree": LEVELS, "C(site)": ("1", "2")},
)
ODD = Terms(("a", "b c", "x-y", "2", "I(a + b)", "bs(age, df=4)[1]", "s[T.a b]", "s[T.a: b]", "a.b", "ab"))


def weights(text: str, terms: Terms = REDUCED) -> dict[str, float]:
    (row,) = terms.contrast(text).rows
    return {name: weight for name, weight in zip(terms.names, row, strict=True) if weight}


# -- names -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spelt", "name"),
    [
        ("tree[T.resistant]", "tree[T.resistant]"),
        ("tree[resistant]", "tree[T.resistant]"),
        ("treeresistant", "tree[T.resistant]"),
        ("`tree[T.resistant]`", "tree[T.resistant]"),
        ("(Intercept)", "Intercept"),
        ("treeresistant:depth", "tree[T.resistant]:depth"),
        ("log(depth)", "log(depth)"),
        ("(depth)", "depth"),
    ],
)
def test_names_may_be_spelt_as_in_r_or_patsy(spelt: str, name: str) -> None:
    assert weights(spelt) == {name: 1.0}


@pytest.mark.parametrize("name", ODD.names)
def test_any_name_can_be_written(name: str) -> None:
    assert weights(f"`{name}`", ODD) == {name: 1.0}
    if name != "2":
        assert weights(f"{name} - 3 * a" if name != "a" else "a", ODD)[name] == 1.0


def test_blanks_in_a_name_may_be_left_out() -> None:
    assert weights("bs(age,df=4)[1] - I(a+b)", ODD) == {"bs(age, df=4)[1]": 1.0, "I(a + b)": -1.0}


def test_a_number_is_no_name() -> None:
    assert weights("2 * a", ODD) == {"a": 2.0}


def test_a_spelling_of_two_coefficients_is_refused() -> None:
    with pytest.raises(UsageError, match=r"`ab` may be `a\[b\]` or `a\[T.b\]`; write one of them"):
        Terms(("a[b]", "a[T.b]")).contrast("ab")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("treeresistent", r"no term `treeresistent`. Did you mean `treeresistant`\? There are: Intercept, "),
        ("tree[intermediate] - treeresistant", "is the level of `tree` that the others are compared with, so leave it"),
        ("tree", r"`tree` has 2 coefficients, tree\[T.resistant\], tree\[T.susceptible\]; name one"),
        ("depths", "no term `depths`"),
        ("depth:log(depth)", r"no term `depth:log\(depth\)`"),
        ("2depth", "no term `2depth`"),
        ("depth depth", "`depth` stands where"),
        ("depth -", "ends where a term or a number is expected"),
        ("", "ends where"),
        ("* depth", r"`\*` stands where a term"),
        ("(depth", "bracket is not closed"),
        ("depth)", r"`\)` stands where"),
        ("depth * log(depth)", "a contrast is linear"),
        ("1 / depth", "only numbers other than 0 can divide"),
        ("depth / (1 - 1)", "only numbers other than 0 can divide"),
        ("depth * 1e999", "a number in it is too large"),
        ("3", "names no coefficient, or they cancel"),
        ("depth - depth = 1", "names no coefficient, or they cancel"),
        ("depth = 1 = 1", "`=` stands where"),
        ("(" * 5000 + "depth", "too many brackets"),
        ("__import__('os')", "no term"),
        ("depth; depth", "no term `;`"),
        ("`depth", "no term"),
        ("treeresistant: depth", "write an interaction without blanks"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_reason(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        REDUCED.contrast(text)


# -- expressions -------------------------------------------------------------------------------------------------------


@given(st.text(alphabet="abx2.()+-*/=`[: T\n", max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    terms = Terms(("a", "b[T.x]", "a:x"))
    try:
        found = terms.contrast(text)
    except UsageError:
        return
    assert any(found.rows[0])
    assert all(map(math.isfinite, (*found.rows[0], *found.values)))


VALUES = {"a": 1.7, "b": -0.3, "c": 11.0}
LEAF = st.sampled_from([*VALUES, "2", "0.5", "1e1", "3."])


def _grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    blank = st.sampled_from(["", " "])
    sums = st.tuples(inner, blank, st.sampled_from("+-"), blank, inner).map("".join)
    scaled = st.tuples(st.sampled_from(["2*", "-", "+ ", "- -"]), inner).map(lambda pair: f"{pair[0]}({pair[1]})")
    shared = st.tuples(inner, st.sampled_from(["/4", " * 3", "/2/2", "*2 - 1"])).map(
        lambda pair: f"({pair[0]}){pair[1]}"
    )
    return st.one_of(sums, scaled, shared)


@given(st.recursive(LEAF, _grown, max_leaves=12))
def test_a_contrast_has_the_value_that_python_gives_the_expression(text: str) -> None:
    wanted = eval(text, {}, VALUES)
    try:
        found = Terms(tuple(VALUES)).contrast(text)
    except UsageError:
        assert wanted == pytest.approx(eval(text, {}, {name: 100.0 * v for name, v in VALUES.items()}))
        return
    value = sum(w * v for w, v in zip(found.rows[0], VALUES.values(), strict=True)) - found.values[0]
    assert value == pytest.approx(wanted, rel=1e-12, abs=1e-12)


def test_what_stands_right_of_the_sign_of_equality_is_taken_off() -> None:
    found = REDUCED.contrast("2 * depth + 1 = log(depth) + 4")
    assert (found.rows, found.values) == (((0.0, 0.0, 0.0, 2.0, 0.0, -1.0),), (3.0,))


def test_a_label_comes_before_a_colon_and_a_blank() -> None:
    assert REDUCED.contrast("slope at r: depth + treeresistant:depth").label == "slope at r"
    assert REDUCED.contrast(" depth +  treeresistant:depth").label == "depth + treeresistant:depth"
    assert weights("s[T.a: b] - a", ODD) == {"s[T.a: b]": 1.0, "a": -1.0}


# -- terms and levels --------------------------------------------------------------------------------------------------


def rows_of(found: Any) -> list[dict[int, float]]:
    assert not found.contrast and not any(found.values)
    return [{k: w for k, w in enumerate(row) if w} for row in found.rows]


def test_a_term_stands_for_all_its_coefficients() -> None:
    assert rows_of(REDUCED.zero("tree")) == [{1: 1.0}, {2: 1.0}]
    assert rows_of(REDUCED.zero("tree:depth")) == [{4: 1.0}]
    assert rows_of(REDUCED.zero("log( depth )")) == [{5: 1.0}]


def test_a_coefficient_is_a_term_too() -> None:
    assert rows_of(REDUCED.zero("treeresistant")) == [{1: 1.0}]


def test_all_terms_are_tested_one_by_one_without_the_intercept() -> None:
    assert [found.label for found in REDUCED.all_zero()] == ["tree", "depth", "depth:tree", "log(depth)"]
    with pytest.raises(UsageError, match="no terms besides the intercept"):
        Terms(("Intercept",), {"Intercept": (0,)}).all_zero()


def test_equal_levels_differ_by_nothing() -> None:
    assert rows_of(WHOLE.equal("tree")) == [{0: -1.0, 1: 1.0}, {0: -1.0, 2: 1.0}]
    assert rows_of(REDUCED.equal("tree")) == [{1: 1.0}, {2: 1.0}]
    assert rows_of(WHOLE.equal("C(site)")) == [{3: 1.0}]
    assert (WHOLE.has_level_means("tree"), REDUCED.has_level_means("tree")) == (True, False)


@pytest.mark.parametrize("text", ["depth", "depth:tree", "nothing"])
def test_what_is_no_factor_has_no_levels(text: str) -> None:
    with pytest.raises(UsageError, match="is not a factor, so it has no levels to compare. There are: tree"):
        REDUCED.equal(text)


def test_a_column_in_c_goes_by_its_own_name() -> None:
    coded = Terms(
        ("Intercept", "C(site, contr.treatment('2'))[T.1]", "C(time)[T.b]:x"),
        {"Intercept": (0,), "C(site, contr.treatment('2'))": (1,), "C(time):x": (2,)},
        {"C(site, contr.treatment('2'))": ("1", "2"), "C(time)": ("a", "b")},
    )
    assert rows_of(coded.zero("site")) == rows_of(coded.equal("site")) == [{1: 1.0}]
    assert rows_of(coded.zero("x:time")) == [{2: 1.0}]
    assert list(weights("site[1] - 2 * timeb:x", coded).values()) == [1.0, -2.0]
    assert list(weights("C(site,contr.treatment('2'))[T.1]", coded).values()) == [1.0]
