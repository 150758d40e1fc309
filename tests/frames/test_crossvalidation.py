"""Cross-validation from Python: the candidates, folds and scores of `plncli cv`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from tries import quickly

from plncli import Dataset, PlncliError, cv, simulate

Cli = Callable[..., Any]
EXACT: dict[str, Any] = {"check_dtype": False, "rtol": 1e-9, "atol": 1e-9}


@pytest.mark.parametrize("how", quickly([{}, {"entries": 0.1}], {}), ids=["samples", "entries"])
def test_pln_is_compared_as_by_the_command(
    how: dict[str, float], cli: Cli, tables: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    flags = [part for name in tables for part in (f"--{name}", f"{name}.csv")]
    flags += ["--formula", "~ 1", "--formula", "~ tree", "--covariance", "full", "--covariance", "diagonal"]
    flags += ["--folds", "2", "--seed", "7", "--workers", "1"]
    flags += [part for name, value in how.items() for part in (f"--{name}", str(value))]
    printed, ran = cli("cv", "pln", *flags), cli("cv", "pln", *flags, "--json")
    assert ran.code == 0, ran.err
    expected = json.loads(ran.out)
    found = cv(
        "pln",
        Dataset(**tables),
        formula=["~ 1", "~ tree"],
        covariance=["full", "diagonal"],
        folds=2,
        seed=7,
        workers=1,
        **how,
    )
    assert_frame_equal(found.candidates, pd.DataFrame(expected["candidates"]), **EXACT)
    assert_frame_equal(found.folds, pd.DataFrame(expected["by_fold"]), **EXACT)
    assert list(found.left_out) == expected["left_out"]
    assert str(found) == printed.out.rstrip("\n")


@pytest.mark.parametrize("model", ["logistic", "linear"])
def test_regressions_too_by_the_formula_of_the_data(model: str, cli: Cli) -> None:
    assert cli("simulate", model, "--levels", "2", "--n", "90", "--out", "made").code == 0
    ran = cli("cv", model, "--config", "made/config.toml", "--folds", "4", "--json", "--workers", "1")
    assert ran.code == 0, ran.err
    made = simulate(model, levels=2, n=90)
    found = cv(model, made.dataset, folds=4, workers=1)
    assert_frame_equal(found.candidates, pd.DataFrame(json.loads(ran.out)["candidates"]), **EXACT)
    assert found.candidates["formula"].tolist() == ["~ x + group", "~ 1"]
    same = cv(model, Dataset(response=made.response, covariates=made.covariates), formula="~ x + group", folds=4)
    assert_frame_equal(same.candidates, found.candidates, check_exact=True)


def test_what_is_left_out_is_told(tables: dict[str, pd.DataFrame]) -> None:
    counts = tables["counts"].copy()
    counts.iloc[:, 0] = 0
    counts.iloc[3, 0] = 5
    with pytest.warns(UserWarning, match="Not all held-out data are scored"):
        found = cv("pln", Dataset(counts=counts, exposure=tables["exposure"]), folds=3, covariance="diagonal")
    assert len(found.left_out) == 1
    assert "left out, having no count in the samples that are fitted" in found.left_out[0]
    with pytest.warns(UserWarning, match="did not converge: their scores are those of where they stopped"):
        cv("pln", Dataset(**tables), folds=2, max_iter=1)


def test_a_precision_is_one_of_the_structures(tables: dict[str, pd.DataFrame]) -> None:
    names = tables["counts"].columns
    unit = pd.DataFrame([[float(a == b) for a in names] for b in names], index=names, columns=names)
    found = cv("pln", Dataset(**tables), covariance=["fixed", "spherical"], precision=unit, folds=2)
    assert found.candidates["covariance"].tolist()[:2] == ["fixed", "spherical"]


SMALL = pd.DataFrame({"a": [1, 2, 5, 3], "b": [0, 3, 4, 9]}, index=list("wxyz"))
REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "two places": (
        lambda: cv("pln", Dataset(counts=SMALL, covariates=SMALL, formula="~ a"), formula="~ b"),
        "The Dataset has a formula, and `formula` is given too. Give all of them as `formula`",
    ),
    "no data": (lambda: cv("pln", SMALL), "must be a Dataset"),  # type: ignore[arg-type]
    "model": (lambda: cv("plm", Dataset(counts=SMALL)), "Did you mean `pln`"),
    "setting": (lambda: cv("pln", Dataset(counts=SMALL), se="none"), "`se` is no setting of cv"),
    "another's": (lambda: cv("linear", Dataset(response=SMALL), covariance="full"), "`covariance` is not for linear"),
    "structure": (lambda: cv("pln", Dataset(counts=SMALL), covariance="ful"), "`covariance` is `ful`, but must be one"),
    "one fold": (lambda: cv("pln", Dataset(counts=SMALL), folds=1), "`folds` must be 2 or more, not 1"),
    "half a fold": (lambda: cv("pln", Dataset(counts=SMALL), folds=2.5), "`folds` must be a whole number"),  # type: ignore[arg-type]
    "many folds": (lambda: cv("pln", Dataset(counts=SMALL), folds=9), "9 folds are more than the 4 samples"),
    "share": (lambda: cv("pln", Dataset(counts=SMALL), entries=1.5), "`entries` must be a share between 0 and 1"),
    "entries": (lambda: cv("linear", Dataset(response=SMALL), entries=0.1), "`entries` hides counts, which linear"),
    "clusters": (
        lambda: cv("pln", Dataset(counts=SMALL, cluster=pd.Series(list("aabb"), index=SMALL.index)), entries=0.1),
        "`cluster` keeps samples together, but `entries` holds out counts",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_are_in_the_words_of_python(name: str) -> None:
    call, message = REFUSED[name]
    with pytest.raises(PlncliError, match=message) as caught:
        call()
    assert "--" not in str(caught.value)
