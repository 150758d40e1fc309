"""Designs without full rank: what is said of them, and that leaving columns out changes no fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from plncli.errors import DataError, FormulaError
from plncli.inputs.designs.dependence import dependent, empty_combinations
from plncli.inputs.designs.design import Design, make_design
from plncli.inputs.designs.encoding import Encoding
from plncli.inputs.formula import parse

FIELD = Path(__file__).parents[1] / "field"
EMPTY = FIELD / "empty-cell-of-interaction"
TABLES = [f"--counts={EMPTY / 'counts.csv'}", f"--covariates={EMPTY / 'cov.csv'}"]
Cli = Callable[..., Any]


def frame_of(cells: list[tuple[str, ...]], each: int = 3, names: str = "ab") -> pd.DataFrame:
    rows = cells * each
    frame = pd.DataFrame({name: pd.Categorical([row[k] for row in rows]) for k, name in enumerate(names)})
    return frame.assign(x=np.random.default_rng(1).normal(size=len(rows)))


def made(formula: str, frame: pd.DataFrame, aliased: str = "error") -> tuple[Design, np.ndarray]:
    parsed = parse(formula, tuple(frame.columns), "t.csv")
    samples = [f"s{i}" for i in range(len(frame))]
    return make_design(parsed, frame[list(parsed.columns)], samples, "t.csv", aliased=aliased)[:2]


CELLS = [cell for cell in product("uvw", "xyz") if cell not in (("u", "x"), ("v", "z"))]


def test_empty_combinations_are_named() -> None:
    with pytest.raises(DataError) as refused:
        made("~ a * b", frame_of(CELLS))
    told = str(refused.value)
    assert told.startswith("No sample has a u and b x, or a v and b z, so 2 coefficients cannot be estimated: ")
    assert "--aliased drop" in told and "`~ interaction(a, b)`" in told
    made("~ a + b", frame_of(CELLS))
    made("~ a * b", frame_of(list(product("uvw", "xyz"))))


def test_the_smallest_empty_combination_is_named() -> None:
    """Not those of three factors that it is part of."""
    cells = [cell for cell in product("uv", "xy", "pq") if cell[:2] != ("u", "y") and cell != ("v", "y", "q")]
    frame = frame_of(cells, names="abc")
    encoding = Encoding.fit("a * b * c", frame[list("abc")])[0]
    # without v y q, none of y has q: that is smaller still
    assert empty_combinations(encoding, frame) == [(("a", "b"), ("u", "y")), (("b", "c"), ("y", "q"))]


def test_other_dependence_is_told_as_before_and_with_the_way_out() -> None:
    frame = frame_of(list(product("uvw", "xy"))).assign(twice=lambda f: 2 * f.x)
    with pytest.raises(DataError, match="`twice` is a linear combination of `x`.*--aliased drop leaves it empty"):
        made("~ x + twice", frame)
    nested = pd.DataFrame({"patient": pd.Categorical([f"p{i}" for i in range(6)] * 2), "group": ["g", "h"] * 6})
    with pytest.raises(DataError, match="each `patient` has one `group`, so their effects cannot be told apart"):
        made("~ group + patient", nested.assign(group=pd.Categorical(nested.group)))


FORMULAS = ["~ a * b", "~ 0 + a * b", "~ a / b", "~ b * a", "~ C(a, contr.sum) * b", "~ a * b * x"]


@pytest.mark.parametrize("formula", FORMULAS)
def test_what_is_left_spans_the_same(formula: str) -> None:
    frame = frame_of(CELLS)
    design, X = made(formula, frame, "drop")
    assert design.encoding is not None and design.encoding.aliased is not None
    rhs = design.formula.rhs
    full, matrix = Encoding.fit(rhs, frame[list(design.formula.columns)])
    rank = np.linalg.matrix_rank(matrix)
    assert X.shape[1] == rank == np.linalg.matrix_rank(X) == np.linalg.matrix_rank(np.hstack([X, matrix]))
    assert design.encoding.aliased.among(design.terms) == full.terms
    assert all(k not in dict(dependent(matrix)) or full.terms[k] not in design.terms for k in range(len(full.terms)))
    again = Design.from_json(json.loads(json.dumps(design.to_json())))
    assert again == design and np.array_equal(again.build(frame), X)
    kept = {k for at in design.encoding.state["columns"].values() for k in at}
    assert kept == set(range(len(design.terms)))


def test_later_columns_are_left_out_as_in_r() -> None:
    """R 4: coef(glm(y ~ site * time)) is NA for siteV:timet2 alone; of a constant beside an intercept, the constant."""
    frame = pd.read_csv(EMPTY / "cov.csv").astype({"site": "category", "time": "category"})
    design, _ = made("~ site * time", frame, "drop")
    assert design.encoding is not None and design.encoding.aliased is not None
    assert design.encoding.aliased.names == ("site[T.V]:time[T.t2]",)
    whole = frame_of(list(product("uv", "xy"))).assign(one=1.0, twice=lambda f: 2 * f.x)
    design, _ = made("~ one + x + twice + a", whole, "drop")
    assert design.terms == ("Intercept", "x", "a[T.v]")
    assert made("~ a * b", frame_of(list(product("uv", "xy"))), "drop")[0].encoding.aliased is None  # type: ignore[union-attr]


def test_new_samples_that_are_not_estimable_are_refused() -> None:
    design, _ = made("~ a * b", frame_of(CELLS), "drop")
    new = pd.DataFrame({"a": ["u", "u", "v"], "b": ["y", "x", "z"]}, index=["n1", "n2", "n3"])
    assert design.build(new.iloc[:1]).shape == (1, len(design.terms))
    with pytest.raises(DataError, match=r"nothing of 2 samples \(a u, b x; a v, b z\): n2, n3\. It has no"):
        design.build(new)


def test_units_do_not_matter() -> None:
    frame = frame_of(CELLS)
    frame["x"] *= 1e9
    design, X = made("~ a * b * x", frame, "drop")
    assert np.allclose(design.build(frame), X)


def test_interaction_is_one_factor_of_what_occurs() -> None:
    frame = frame_of(CELLS)
    design, X = made("~ 0 + interaction(a, b)", frame)
    assert design.terms == tuple(f"interaction(a, b)[{a}.{b}]" for a, b in sorted(CELLS))
    assert (X.sum(axis=0) == 3).all()
    new = pd.DataFrame({"a": ["u", "u"], "b": ["y", "x"]}, index=["n1", "n2"])
    with pytest.raises(DataError, match=r"has not seen: 'u\.x'"):
        design.build(new)
    assert design.build(new.iloc[:1]).sum() == 1
    numbers = frame.assign(k=[1.0, 2.0, 3.0] * 7)
    assert "interaction(a, k)[T.u.2]" in made("~ interaction(a, k)", numbers)[0].terms
    for formula, message in {
        "~ interaction(a)": "two columns or more",
        "~ interaction(a, log(x))": "two columns or more",
        "~ interaction(a, b, sep='_')": "two columns or more",
    }.items():
        with pytest.raises(FormulaError, match=message):
            made(formula, frame)
    clash = pd.DataFrame({"a": pd.Categorical(["u", "u.v"] * 3), "b": pd.Categorical(["v.w", "w"] * 3)})
    with pytest.raises(FormulaError, match=r"would be called `u\.v\.w`"):
        made("~ interaction(a, b)", clash)


def test_the_field_case_is_told_and_has_ways_out(cli: Cli, tmp_path: Path) -> None:
    for formula in ("~ site * time", "~ 0 + site * time", "~ site / time"):
        (fault,) = json.loads(cli("validate", "pln", *TABLES, f"--formula={formula}", "--json").out)["faults"]
        assert fault.startswith("No sample has site M and time t0, so 1 coefficient cannot be estimated: ")
    by_hand = pd.read_csv(EMPTY / "cov.csv")
    by_hand.assign(cell=by_hand.site + "." + by_hand.time).to_csv(tmp_path / "hand.csv", index=False)
    quick = ("pln", TABLES[0], "--covariance=diagonal", "-q")
    ways = {
        "drop": (TABLES[1], "--formula=~ site * time", "--aliased=drop"),
        "one": (TABLES[1], "--formula=~ interaction(site, time)"),
        "hand": ("--covariates=hand.csv", "--formula=~ cell"),
    }
    found = {}
    for name, words in ways.items():
        assert cli("fit", *quick, *words, "--out", name).code == 0
        found[name] = json.loads((tmp_path / name / "summary.json").read_text())
    for name in ("one", "hand"):
        assert found[name]["elbo"] == pytest.approx(found["drop"]["elbo"], abs=1e-4)
        assert found[name]["n_parameters"] == found["drop"]["n_parameters"]
    manifest = json.loads((tmp_path / "drop" / "manifest.json").read_text())
    (drop,) = manifest["dropped"]
    assert (drop["kind"], drop["names"]) == ("term", ["site[T.V]:time[T.t2]"])
    table = pd.read_csv(tmp_path / "drop" / "coefficients.csv")
    empty = table[table.status == "aliased"]
    assert set(empty.term) == {"site[T.V]:time[T.t2]"} and len(empty) == 5 and empty.estimate.isna().all()
    assert len(table) == 5 * 12 and (table.status != "aliased").sum() == 5 * 11
    assert "left empty: site[T.V]:time[T.t2]" in cli("show", "drop").out
    first, second = (cli("predict", name, TABLES[1]).out.splitlines() for name in ("drop", "one"))
    assert [float(line.split(",")[3]) for line in first[1:]] == pytest.approx(
        [float(line.split(",")[3]) for line in second[1:]], rel=1e-4
    )
    assert "the same model, written in two ways" in cli("compare", "drop", "one").err
    ran = cli("test", "drop", "--terms=site:time", "--json")
    assert {row["df"] for row in json.loads(ran.out)} == {5}
    refused = cli("test", "drop", "--contrast", "site[V]:time[t2] - site[N]:time[t2]")
    assert refused.code == 2 and "was left empty (--aliased drop)" in refused.err
    (tmp_path / "new.csv").write_text("id,site,time\nn1,M,t0\nn2,M,t1\n")
    refused = cli("predict", "drop", "--covariates=new.csv")
    assert refused.code == 3 and "can say nothing of 1 sample (site M, time t0): n1" in refused.err
    assert "'M.t0'" in cli("predict", "one", "--covariates=new.csv").err
    assert cli("rerun", "drop", "--check").code == 0
    ran = cli("cv", *quick, TABLES[1], "--formula=~ site * time", "--aliased=drop", "--folds=2")
    assert ran.code == 0 and "not estimable from the training samples" not in ran.out


def test_values_are_those_of_statsmodels(cli: Cli, tmp_path: Path) -> None:
    """Least squares by the pseudo-inverse of the whole design: the same fitted values, and residual degrees."""
    frame = frame_of(CELLS).assign(y=lambda f: f.x + np.random.default_rng(2).normal(size=len(f)))
    frame.index = pd.Index([f"s{i}" for i in range(len(frame))], name="id")
    frame.to_csv(tmp_path / "t.csv")
    command = ("linear", "--covariates=t.csv", "--formula=y ~ a * b + x", "--aliased=drop", "--out=r", "-q")
    assert cli("fit", *command).code == 0
    matrix = Encoding.fit("a * b + x", frame[["a", "b", "x"]].reset_index(drop=True))[1]
    referee = sm.OLS(frame.y.to_numpy(), matrix).fit()
    mean = [row["mean"] for row in json.loads(cli("predict", "r", "--covariates=t.csv", "--json").out)]
    assert mean == pytest.approx(referee.fittedvalues, rel=1e-7)
    table = pd.read_csv(tmp_path / "r" / "coefficients.csv").set_index("term")
    x = list(Encoding.fit("a * b + x", frame[["a", "b", "x"]].reset_index(drop=True))[0].terms).index("x")
    assert [table.estimate["x"], table.std_error["x"]] == pytest.approx([referee.params[x], referee.bse[x]], rel=1e-6)
    assert table.status.value_counts().to_dict() == {"estimated": 8, "aliased": 2}


def test_nested_factors_can_be_fitted_with_their_group(cli: Cli, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    rows = [f"s{i},p{i % 6},{'gh'[i % 2]},{rng.normal():.3f}" for i in range(24)]
    (tmp_path / "t.csv").write_text("\n".join(["id,patient,group,y", *rows]) + "\n")
    command = ("linear", "--covariates=t.csv", "--formula=y ~ group + patient", "-q")
    assert "each `patient` has one `group`" in cli("fit", *command).err
    assert cli("fit", *command, "--aliased=drop", "--out=r").code == 0
    refused = cli("test", "r", "--equal=patient")
    assert refused.code == 2 and "Some levels of `patient` were left empty" in refused.err
    assert cli("test", "r", "--terms=patient").code == 0
    assert cli("report", "r", "--out=r.html", "-q").code == 0 and "p5" in (tmp_path / "r.html").read_text()


@pytest.mark.parametrize(
    "change",
    [
        {"places": [8, 8]}, {"places": [0, 40]}, {"places": [9, 8]}, {"names": ["a"]}, {"shares": [[0.0, 1.0]]},
        {"shares": [[0.0]] * 7}, {"shares": [[float("nan"), 0.0]] * 7},
    ],
)  # fmt: skip
def test_a_damaged_design_is_refused(change: dict[str, Any]) -> None:
    design, _ = made("~ a * b", frame_of(CELLS), "drop")
    content = json.loads(json.dumps(design.to_json()))
    assert len(content["x"]["aliased"]["shares"]) == 7
    content["x"]["aliased"] |= change
    with pytest.raises(DataError, match="damaged"):
        Design.from_json(content)
