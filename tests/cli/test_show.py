"""`plncli show`: a finished fit at a glance."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

Cli = Callable[..., Any]


def test_the_run_at_a_glance(cli: Cli, fits: Path) -> None:
    ran = cli("show", fits / "tree")
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert max(map(len, lines[1:])) <= 80
    assert "model     Poisson log-normal, full covariance" in lines
    assert "formula   ~ tree" in lines
    assert "data      116 samples × 114 features, 3 coefficients each" in lines
    assert any(re.match(r"fit       converged \(newton-cg, \d+ steps in .*\), an estimated", line) for line in lines)
    assert any(line.startswith("elbo      -31381.98") and line.endswith("with 6897 parameters") for line in lines)
    assert "errors    sandwich, intervals at 0.95, none for 17 coefficients" in lines
    assert any(line.startswith("  • 9 features are never seen in some group: 17 coefficients") for line in lines)
    assert "Strongest latent correlations" in lines


def test_json_holds_the_same_for_machines(cli: Cli, fits: Path) -> None:
    found = json.loads(cli("show", fits / "tree", "--json", "--top", "7").out)
    summary = json.loads((fits / "tree" / "summary.json").read_text())
    assert {key: found[key] for key in summary} == summary
    assert found["formula"] == "~ tree"
    assert len(found["coefficients"]) == len(found["correlations"]) == 7


def test_the_clearest_coefficients_and_strongest_correlations_are_those_of_the_files(cli: Cli, fits: Path) -> None:
    found = json.loads(cli("show", fits / "tree", "--json", "--top", "12").out)
    table = pd.read_csv(fits / "tree" / "coefficients.csv")
    slopes = table[table.term != "Intercept"]
    best = slopes.reindex(slopes.statistic.abs().sort_values(ascending=False).index)[:12]
    assert [[row["response"], row["term"]] for row in found["coefficients"]] == best[
        ["response", "term"]
    ].values.tolist()
    assert [row["conf_low"] for row in found["coefficients"]] == pytest.approx(best.conf_low.to_list(), rel=1e-12)
    many = slopes[slopes.q_value < 0.05].groupby("term").size()
    assert found["significant"] == many.to_dict()
    Sigma = pd.read_csv(fits / "tree" / "sigma.csv", index_col=0)
    sd = np.sqrt(np.diag(Sigma))
    R = np.abs(np.triu(Sigma / np.outer(sd, sd), 1))
    assert [abs(row["correlation"]) for row in found["correlations"]] == pytest.approx(np.sort(R.ravel())[:-13:-1])
    first = found["correlations"][0]
    assert R[Sigma.index.get_loc(first["first"]), Sigma.index.get_loc(first["second"])] == R.max()


def test_intercepts_are_shown_where_there_is_nothing_else(cli: Cli, fits: Path) -> None:
    found = json.loads(cli("show", fits / "one", "--json").out)
    assert (found["significant"], {row["term"] for row in found["coefficients"]}) == ({}, {"Intercept"})


@pytest.mark.parametrize(
    ("run", "present", "absent"),
    [
        ("diagonal", "diagonal covariance (features independent)", "correlations"),
        ("markers", "logistic regression", "correlations"),
        ("soil", "linear regression", "correlations"),
        ("stopped", "not converged, max iter (newton-cg, 2 steps", "Clearest"),
    ],
)
def test_each_kind_of_run_has_its_own(cli: Cli, fits: Path, run: str, present: str, absent: str) -> None:
    ran = cli("show", fits / run)
    assert ran.code == 0, ran.err
    assert present in ran.out
    assert absent not in ran.out
    assert "nan" not in ran.out and "None" not in ran.out


def test_top_limits_the_lists(cli: Cli, fits: Path) -> None:
    assert "Clearest" not in cli("show", fits / "tree", "--top", "0").out
    refused = cli("show", fits / "tree", "--top", "-1")
    assert (refused.code, "--top must be 0 or more" in refused.err) == (2, True)


def test_no_run_no_show(cli: Cli, fits: Path, tmp_path: Path) -> None:
    ran = cli("show", tmp_path)
    assert (ran.code, "is not the folder of a fit: it has no model.safetensors" in ran.err) == (3, True)
    (tmp_path / "model.safetensors").write_bytes((fits / "soil" / "model.safetensors").read_bytes()[:-9])
    ran = cli("show", tmp_path)
    assert (ran.code, "is damaged" in ran.err) == (3, True)


def test_the_clearest_coefficients_on_another_scale(cli: Cli, fits: Path) -> None:
    found = json.loads(cli("show", fits / "markers", "--json", "--scale", "ratio").out)
    assert found["scale"] == "ratio" and found["coefficients"]
    for row in found["coefficients"]:
        assert row["ratio"] == pytest.approx(np.exp(row["estimate"]), rel=1e-14)
        assert row["ratio_low"] == pytest.approx(np.exp(row["conf_low"]), rel=1e-14)
    ran = cli("show", fits / "markers", "--scale", "ratio")
    assert "(95 % intervals), odds ratio" in ran.out
    assert f"{found['coefficients'][0]['ratio']:.4g}" in ran.out
    refused = cli("show", fits / "soil", "--scale", "log2")
    assert refused.code == 2 and "--scale log2 is for coefficients that are logarithms of ratios" in refused.err


def test_the_whole_table_of_coefficients(cli: Cli, fits: Path, tmp_path: Path) -> None:
    """As the file of the fit, with what another scale adds; where there is no standard error, nothing is made up."""
    written = pd.read_csv(fits / "tree" / "coefficients.csv")
    assert cli("show", fits / "tree", "--coefficients").out == (fits / "tree" / "coefficients.csv").read_text()
    ran = cli("show", fits / "tree", "--coefficients", "--scale", "log2", "--out", "log2.parquet")
    assert (ran.code, ran.out) == (0, "")
    table = pd.read_parquet(tmp_path / "log2.parquet")
    pd.testing.assert_frame_equal(table[written.columns], written)
    assert list(table.columns)[-3:] == ["log2_ratio", "log2_ratio_low", "log2_ratio_high"]
    assert np.allclose(table.log2_ratio * np.log(2), table.estimate, rtol=1e-15, equal_nan=True)
    assert table.log2_ratio_low.isna().equals(table.conf_low.isna())
    refused = cli("show", fits / "tree", "--out", "x.csv")
    assert refused.code == 2 and "--out goes with --coefficients" in refused.err
