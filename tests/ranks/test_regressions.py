"""Logistic and linear regressions whose samples are shared among processes: those of one process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from forked import Forked
from ranked import check_same, ended, shared, started


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables of 101 samples: uneven slices; `one` is 1 in the last sample alone, where `edge` is too."""
    folder, draw, n = tmp_path_factory.mktemp("ranks"), np.random.default_rng(5), 101
    table = pd.DataFrame({"id": [f"s{i}" for i in range(n)], "a": draw.normal(size=n), "b": 1e3 * draw.normal(size=n)})
    table["g"] = draw.choice(list("uvw"), n)
    table["w"] = draw.integers(1, 4, n)
    eta = 0.8 * table["a"] - 1e-3 * table["b"] + (table["g"] == "v")
    table["y"] = np.where(draw.random(n) < 1.0 / (1.0 + np.exp(-eta)), "yes", "no")
    table["z"], table["t"] = (size * eta + draw.normal(size=n) for size in (1.0, -0.3))
    table["edge"] = np.where(np.arange(n) == n - 1, "in", "out")
    table.loc[n - 1, "y"] = "yes"
    table.to_csv(folder / "table.csv", index=False)
    table.to_parquet(folder / "table.parquet", index=False, row_group_size=30)
    return folder


FITS = {
    "linear": ("linear", "--formula", "z + t ~ a + b + g"),
    "linear-robust": ("linear", "--formula", "z ~ a + b + g", "--se", "hc3", "--weights", "w"),
    "logistic": ("logistic", "--formula", "y ~ a + b + g"),
    "logistic-robust": ("logistic", "--formula", "y ~ a + b + g", "--se", "hc3", "--weights", "w"),
    "firth": ("logistic", "--formula", "y ~ a + g", "--penalty", "firth"),
    "separated-on-one": ("logistic", "--formula", "y ~ a + edge"),
}


QUICK = ("linear", "logistic-robust", "separated-on-one")


@pytest.mark.parametrize(
    "name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in FITS if name not in QUICK)]
)
def test_is_the_fit_of_one_process(place: Path, name: str) -> None:
    words = ("fit", *FITS[name], "--covariates", "table.csv", "--out")
    alone = Forked((*words, f"{name}-1"), place)
    said = shared(2, (*words, f"{name}-2"), place)
    _, own = alone.communicate()
    assert alone.wait() == 0, own
    assert "-2." in said
    check_same(place / f"{name}-1", place / f"{name}-2")


@pytest.mark.parametrize(
    "name", ["logistic-robust", "separated-on-one", pytest.param("linear", marks=pytest.mark.slow)]
)
def test_rows_that_stay_in_their_file_are_shared(place: Path, name: str) -> None:
    """Each process reads its own; some that are left out are not spread evenly."""
    words = ("fit", *FITS[name], "--covariates", "table.parquet", "--filter", "b > -900 or a < 0", "--out")
    alone = Forked((*words, f"{name}-stored-1"), place)
    shared(2, (*words, f"{name}-stored-2", "--block-rows", "13"), place)
    assert alone.wait() == 0
    check_same(place / f"{name}-stored-1", place / f"{name}-stored-2")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("cv", "linear", "--formula", "z ~ a"), "takes one process"),
        (("fit", "linear", "--formula", "z ~ a", "--se", "bootstrap"), "--se bootstrap cannot be fitted by several"),
        (("fit", "linear", "--formula", "z ~ a", "--cluster", "g"), "--cluster cannot be fitted by several"),
        (("fit", "linear", "--formula", "z ~ a", "--hidden", "4"), "A neural mean cannot be fitted by several"),
    ],
)
def test_what_cannot_be_shared_is_refused_once(place: Path, words: tuple[str, ...], sentence: str) -> None:
    codes, said = ended(started(2, (*words, "--covariates", "table.csv", "--out", "refused"), place))
    assert codes == [2, 2], said
    assert sentence in said[0] and not said[1]
    assert not (place / "refused").exists()


def test_an_error_of_all_is_said_once(place: Path) -> None:
    codes, said = ended(started(2, ("fit", "linear", "--formula", "z ~ a", "--covariates", "none.csv"), place))
    assert codes == [3, 3], said
    assert "".join(said).count("none.csv") == 1


def test_more_processes_than_samples_are_refused(place: Path) -> None:
    few = "few.csv"
    pd.read_csv(place / "table.csv").head(3).to_csv(place / few, index=False)
    codes, said = ended(started(4, ("fit", "linear", "--formula", "z ~ 1", "--covariates", few), place))
    assert codes == [3] * 4, said
    assert "".join(said).count("4 processes are more than the 3 samples") == 1


def test_a_place_that_is_none_is_refused(place: Path) -> None:
    (process,) = started(1, ("fit", "linear", "--formula", "z ~ a", "--covariates", "table.csv"), place, {"RANK": "7"})
    _, said = process.communicate()
    assert process.wait() == 2
    assert "RANK=7 and WORLD_SIZE=1" in said
