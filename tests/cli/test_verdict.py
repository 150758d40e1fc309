"""The verdict as it is read: short lines, all names in summary.json, and the same wherever it is told."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tries import quickly

from plncli.models.findings import FINE, LOOK, NOTE, Check

Cli = Callable[..., Any]
CASE = Path(__file__).parents[1] / "field" / "expected-counts-beyond-sense"
LONGEST = 300
"""Signs of a line that is read."""


@pytest.fixture
def awkward(tmp_path: Path) -> Path:
    """Many rare features with long names, never seen in some group; two groups of one sample; few samples."""
    draw = np.random.default_rng(4)
    names = [f"d__Bacteria;p__Proteobacteria;c__Gamma;o__Order_{j};g__{'x' * (j % 60)}" for j in range(90)]
    samples = [f"a_rather_long_name_of_a_sample_{i}" for i in range(18)]
    group = np.array(["control"] * 8 + ["treated_with_a_long_word"] * 8 + ["lone", "single"])
    on = draw.random((3, 90)) < 0.6
    place = np.array([0] * 8 + [1] * 8 + [2] * 2)
    Y = draw.poisson(np.exp(draw.normal(0, 2.5, (18, 90)))) * on[place]
    Y[0, Y.sum(0) == 0] = 1
    Y[Y.sum(1) == 0, 0] = 3
    pd.DataFrame(Y, samples, names).to_csv(tmp_path / "counts.csv")
    pd.DataFrame({"group": group, "dose": draw.normal(size=18)}, samples).to_csv(tmp_path / "about.csv")
    return tmp_path


@pytest.mark.parametrize(
    "words",
    quickly(
        [["--formula", "~ group"], ["--formula", "~ group + dose"], ["--covariance=diagonal"]], ["--formula", "~ group"]
    ),
)
def test_no_line_of_an_awkward_fit_is_long_and_all_names_are_in_the_summary(
    cli: Cli, awkward: Path, words: list[str]
) -> None:
    ran = cli("fit", "pln", "--counts", "counts.csv", "--covariates", "about.csv", *words, "--out", "run", "--tol=1e-4")
    assert ran.code in (0, 4), ran.err
    said = [line for line in ran.err.splitlines() if line.startswith(("warning: ", "note: "))]
    found = json.loads((awkward / "run" / "summary.json").read_text())
    longest = max([*said, *found["warnings"]], key=len)
    assert found["warnings"] and len(longest) <= LONGEST, longest
    told = [check for check in found["checks"] if check["state"] != FINE]
    assert len(said) >= len(told)
    for finding in found["findings"]:
        assert finding["message"] in ran.err.replace("\n", " ") or finding["code"] == "few-samples"
        if " more (summary.json)" in finding["message"]:
            more = int(finding["message"].split(" and ")[-1].split()[0])
            assert len(finding["names"]) == more + 5
    assert not any(name in line for line in found["warnings"] for name in ("separation", "never seen"))


# Expected counts beyond sense


@pytest.fixture
def case(tmp_path: Path) -> Path:
    for file in CASE.iterdir():
        shutil.copy(file, tmp_path)
    return tmp_path


def test_expected_counts_beyond_sense_are_told_by_every_verb_that_uses_them(cli: Cli, case: Path) -> None:
    tables = ["--counts", "counts.csv", "--exposure", "exposure.csv"]
    ran = cli("fit", "pln", *tables, "--out", "r1")
    assert ran.code == 0
    told = next(line for line in ran.err.splitlines() if "beyond sense" in line)
    assert told.startswith("warning: Marginal expected counts of 16 features") and "(`fit logistic`)" in told
    finding = next(one for one in json.loads((case / "r1/summary.json").read_text())["findings"])
    new = ["--covariates", "covariates.csv", "--exposure", "exposure.csv"]
    assert told in cli("predict", "r1", *new, "--out", "p.csv").err
    assert told in cli("simulate", "--from", "r1", "--out", "sim").err
    fitted = cli("predict", "r1", *new, "--counts", "counts.csv", "--out", "f.csv")
    assert fitted.code == 0 and "beyond sense" not in fitted.err  # these know the counts
    # The rule, by the table of predictions: features whose average exceeds the largest count.
    predicted = pd.read_csv(case / "p.csv").groupby("response")["marginal"].mean()
    largest = pd.read_csv(case / "counts.csv", index_col=0).max()
    beyond = predicted / largest[predicted.index]
    assert {*finding["names"]} == {*beyond.index[beyond > 1]}
    assert finding["names"][0] == beyond.idxmax()
    assert "beyond sense for" in cli("cv", "pln", *tables, "--folds", "2").err


def test_tables_that_a_fit_describes_are_not_beyond_sense(cli: Cli, fits: Path) -> None:
    for name in ("tree", "part-tree"):
        found = json.loads((fits / name / "summary.json").read_text())
        assert "expected-counts" not in [one["code"] for one in found["findings"]], name


# One list


@pytest.mark.parametrize("run", ["part-tree", "markers", "soil"])
def test_a_diagnosis_tells_what_the_end_of_the_fit_told_and_more(cli: Cli, fits: Path, run: str) -> None:
    ended = json.loads((fits / run / "summary.json").read_text())["checks"]
    shown = cli("diagnose", fits / run, "--draws", "0")
    diagnosed = json.loads(cli("diagnose", fits / run, "--draws", "0", "--json").out)["checks"]
    names = {check["name"]: check for check in diagnosed}
    assert "fit-of-features" in names
    for check in ended:
        assert check["name"] == "influence" or names[check["name"]] == check
    text = " ".join(shown.out.split())
    assert all(f"{Check.from_json(check).mark} {Check.from_json(check).line}" in text for check in diagnosed)
    order = [check["state"] for check in diagnosed]
    assert order == sorted(order, key=[LOOK, NOTE, FINE].index)
