"""`plncli test`: tests of a finished fit."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy import stats

SAMPLE_DATA = Path(__file__).parents[2] / "sample_data"
Cli = Callable[..., Any]
COLUMNS = ["estimate", "std_error", "statistic", "df", "df_residual", "p_value", "q_value", "conf_low", "conf_high"]
HEADER = ["test", "response", "kind", *COLUMNS, "left_out"]


def rows(text: str, delimiter: str = ",") -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines(), delimiter=delimiter))


def test_a_table_comes_out_with_a_row_for_each_test_and_response(cli: Cli, fits: Path) -> None:
    ran = cli("test", fits / "tree", "--terms", "tree", "--contrast", "r against s: treeresistant - treesusceptible")
    assert ran.code == 0, ran.err
    found = rows(ran.out)
    assert list(found[0]) == HEADER
    assert len(found) == 2 * 114
    assert [row["kind"] for row in found[::114]] == ["chi2", "z"]
    assert found[114]["test"] == "r against s"
    assert "tree: q < 0.05 in 76 of 109 features." in ran.err
    assert "5 features without a test, for a coefficient without finite estimate: f_OTU_" in ran.err
    assert "tested without `tree[T.susceptible]` in " in ran.err and "where it is without a finite estimate" in ran.err
    assert "`plncli compare` of this fit" in ran.err


def test_numbers_follow_from_the_files_of_the_fit(cli: Cli, fits: Path) -> None:
    """By hand from coefficients.csv and vcov.csv."""
    contrast, joint = (
        pd.DataFrame(rows(cli("test", fits / "tree", *words).out)).set_index("response")
        for words in (["--contrast", "treeresistant - 2 * treesusceptible = 1"], ["--terms", "tree"])
    )
    left_out = joint.left_out
    contrast, joint = (table.drop(columns=["test", "kind", "left_out"]) for table in (contrast, joint))
    contrast, joint = (table.apply(pd.to_numeric) for table in (contrast, joint))
    coefficients = pd.read_csv(fits / "tree" / "coefficients.csv").set_index(["response", "term"]).estimate
    vcov = pd.read_csv(fits / "tree" / "vcov.csv").set_index(["response", "term"])
    for name in ("b_OTU_1045", "E_alphitoides"):
        b = coefficients[name].iloc[1:].to_numpy()
        V = vcov.loc[name][[f"{name}:tree[T.resistant]", f"{name}:tree[T.susceptible]"]].iloc[1:].to_numpy()
        c = np.array([1.0, -2.0])
        row = contrast.loc[name]
        assert row.estimate == pytest.approx(c @ b, rel=1e-9)
        assert row.std_error == pytest.approx(np.sqrt(c @ V @ c), rel=1e-9)
        assert row.statistic == pytest.approx((c @ b - 1) / np.sqrt(c @ V @ c), rel=1e-9)
        assert row.p_value == pytest.approx(2 * stats.norm.sf(abs(row.statistic)), rel=1e-8)
        assert row.conf_high == pytest.approx(row.estimate + stats.norm.ppf(0.975) * row.std_error, rel=1e-9)
        statistic = b @ np.linalg.solve(V, b)
        assert joint.loc[name].statistic == pytest.approx(statistic, rel=1e-8)
        assert joint.loc[name].p_value == pytest.approx(stats.chi2.sf(statistic, 2), rel=1e-7)
    assert contrast.q_value.dropna().to_numpy() == pytest.approx(
        stats.false_discovery_control(contrast.p_value.dropna())
    )
    infinite = coefficients[np.isinf(coefficients)].index.get_level_values(0).unique()
    both = [name for name in infinite if not np.isfinite(coefficients[name].iloc[1:]).any()]
    assert set(joint.index[joint.p_value.isna()]) == set(both)
    assert joint.loc[both].isna().all(axis=None)
    for name in sorted(set(infinite) - set(both)):  # what is left is tested: one level against the first
        term = next(k for k, b in coefficients[name].iloc[1:].items() if np.isfinite(b))
        assert left_out[name] == next(k for k in ("tree[T.resistant]", "tree[T.susceptible]") if k != term)
        V = vcov.loc[name].loc[term, f"{name}:{term}"]
        assert joint.loc[name].df == 1
        assert joint.loc[name].statistic == pytest.approx(coefficients[name][term] ** 2 / V, rel=1e-8)


def test_levels_are_equal_whatever_their_coding(cli: Cli, fits: Path) -> None:
    """Treatment coding against a mean for each level: the same hypothesis, where the first level has an estimate."""
    a, b = (json.loads(cli("test", fits / run, "--equal", "tree", "--json").out) for run in ("tree", "means"))
    for left, right in zip(a, b, strict=True):
        assert left["response"] == right["response"]
        if left["df"] is not None:
            assert left["df"] == right["df"]
            assert left["statistic"] == pytest.approx(right["statistic"], rel=1e-3)
    assert sum(row["df"] == 1 for row in a) > 0  # a level without a count: the other two are compared


def test_means_of_0_are_tested_with_a_hint(cli: Cli, fits: Path) -> None:
    ran = cli("test", fits / "means", "--terms", "tree")
    assert "whether the levels differ is tested by --equal tree" in ran.err
    assert "whether the levels differ" not in cli("test", fits / "tree", "--terms", "tree").err


@pytest.mark.parametrize(("run", "fit"), [("markers", smf.logit), ("soil", smf.ols)])
def test_regressions_equal_statsmodels(cli: Cli, fits: Path, run: str, fit: Any) -> None:
    data, formula, first, second = (
        ("logistic/patients.csv", "case ~ marker1 + marker2", "marker1", "marker2")
        if run == "markers"
        else ("linear/plots.csv", "harvest ~ soil1 + soil2", "soil1", "soil2")
    )
    table = pd.read_csv(SAMPLE_DATA / data)
    expected = fit(formula, table).fit(disp=0)
    text = f"2*{first} - {second} + Intercept = 0.5"
    one, term = json.loads(
        cli("test", fits / run, "--contrast", text, "--terms", second, "--level", "0.8", "--json").out
    )[::-1]
    referee = expected.t_test(text.replace("2*", "2 * "))
    low, high = referee.conf_int(0.2)[0]
    names = ("estimate", "std_error", "statistic", "p_value", "conf_low", "conf_high")
    wanted = (referee.effect[0], referee.sd.item(), referee.tvalue.item(), referee.pvalue.item(), low, high)
    assert [one[name] for name in names] == pytest.approx(wanted, rel=1e-6)
    joint = expected.wald_test(f"{second} = 0", scalar=True, use_f=run == "soil")
    assert [term["statistic"], term["p_value"]] == pytest.approx([joint.statistic, joint.pvalue], rel=1e-6)
    assert (one["kind"], term["kind"]) == (("t", "F") if run == "soil" else ("z", "chi2"))
    assert one["df_residual"] == (expected.df_resid if run == "soil" else None)


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet", "feather"])
def test_a_file_takes_the_table_in_the_format_of_its_suffix(cli: Cli, fits: Path, tmp_path: Path, suffix: str) -> None:
    ran = cli("test", fits / "means", "--equal", "tree", "--out", f"t.{suffix}")
    assert (ran.code, ran.out) == (0, "")
    read = {"csv": pd.read_csv, "tsv": pd.read_table, "parquet": pd.read_parquet, "feather": pd.read_feather}[suffix]
    table = read(tmp_path / f"t.{suffix}")
    assert list(table.columns) == HEADER and len(table) == 114
    refused = cli("test", fits / "means", "--equal", "tree", "--out", f"t.{suffix}")
    assert refused.code == 2 and "exists. Add --overwrite" in refused.err
    assert cli("test", fits / "means", "--equal", "tree", "--out", f"t.{suffix}", "--overwrite").code == 0
    assert [path.name for path in tmp_path.iterdir()] == [f"t.{suffix}"]


def test_standard_output_takes_tabs_too(cli: Cli, fits: Path) -> None:
    ran = cli("test", fits / "soil", "--terms", "soil1", "--format", "tsv", "-q")
    assert list(rows(ran.out, "\t")[0]) == HEADER
    assert ran.err == ""


def test_all_terms_are_tested_one_by_one(cli: Cli, fits: Path) -> None:
    assert [row["test"] for row in rows(cli("test", fits / "soil", "--terms", "all").out)] == ["soil1", "soil2"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (
            ["tree"],
            2,
            "Nothing to test: give --terms, --equal or --contrast. The terms of the formula: Intercept, tree.",
        ),
        (["tree", "--terms", "trees"], 2, "There is no term `trees`. Did you mean `tree`?"),
        (["tree", "--contrast", "treeresistant -"], 2, "cannot be read: it ends where a term"),
        (["tree", "--terms", "tree", "--level", "95"], 2, "--level must be between 0 and 1"),
        (["tree", "--terms", "tree", "--out", "t.xlsx"], 2, "must end in one of .csv, .tsv, .parquet, .feather"),
        (["tree", "--terms", "tree", "--out", "no/t.csv"], 2, "there is no folder no"),
        (["tree", "--terms", "tree", "--out", "t.csv", "--format", "csv"], 2, "--format is that of standard output"),
        (["tree", "--terms", "tree", "--format", "parquet"], 2, "--format must be csv or tsv"),
        (
            ["stopped", "--terms", "Intercept"],
            3,
            "has no standard errors, which tests need. No standard errors: they are",
        ),
        (["nowhere", "--terms", "tree"], 3, "does not exist"),
        ([".", "--terms", "tree"], 3, "is not the folder of a fit"),
    ],
)
def test_what_cannot_be_tested_is_refused(cli: Cli, fits: Path, words: list[str], code: int, message: str) -> None:
    ran = cli("test", fits / words[0], *words[1:])
    assert (ran.code, ran.out) == (code, "")
    assert message in ran.err


def test_a_table_for_a_model_file_moved_elsewhere(cli: Cli, fits: Path, tmp_path: Path) -> None:
    """The model file is all it takes."""
    shutil.copy(fits / "soil" / "model.safetensors", tmp_path / "m.safetensors")
    assert cli("test", "m.safetensors", "--terms", "soil1").out == cli("test", fits / "soil", "--terms", "soil1").out


def test_a_reader_at_a_terminal_gets_the_smallest_p_values(
    cli: Cli, fits: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    whole = pd.read_csv(StringIO(cli("test", fits / "tree", "--terms", "tree").out))
    best = whole.sort_values(["p_value", "statistic"], ascending=[True, False])
    monkeypatch.setattr("plncli.console.watched", lambda: True)
    ran = cli("test", fits / "tree", "--terms", "tree")
    header, *rows, last = ran.out.splitlines()
    assert header.split() == ["feature", "statistic", "df", "p", "q"]
    assert [row.split()[0] for row in rows] == best.response[:10].to_list()
    assert max(map(len, [header, *rows, last])) <= 80
    assert last == "10 of 114 rows, by p-value. --out FILE writes all; through a pipe they are CSV."
    assert len(cli("test", fits / "tree", "--terms", "tree", "--top", "200").out.splitlines()) == 116
    for asked in (["--format", "csv"], ["--json"]):  # what is asked for is not cut
        assert cli("test", fits / "tree", "--terms", "tree", *asked).out.count("_OTU_") > 100
    refused = cli("test", fits / "tree", "--terms", "tree", "--top", "0")
    assert refused.code == 2 and "--top must be 1 or more" in refused.err


def test_tests_on_another_scale(cli: Cli, fits: Path) -> None:
    """Natural logarithms stay; a joint test has no estimate, so it has none on any scale."""
    words = ["test", fits / "tree", "--terms", "tree", "--contrast", "tree[T.resistant]"]
    plain, ratios = (pd.read_csv(StringIO(cli(*words, *more).out)) for more in ([], ["--scale", "ratio"]))
    pd.testing.assert_frame_equal(ratios[plain.columns], plain)
    single = ratios.kind != "chi2"
    assert ratios.ratio[~single].isna().all()
    for name, log in (("ratio", "estimate"), ("ratio_low", "conf_low"), ("ratio_high", "conf_high")):
        assert np.allclose(ratios[name][single], np.exp(ratios[log][single]), rtol=1e-14, equal_nan=True)
    refused = cli("test", fits / "soil", "--terms", "soil1", "--scale", "ratio")
    assert refused.code == 2 and "are units of the response" in refused.err


def test_a_level_of_one_sample_does_not_take_the_test_of_its_factor(cli: Cli) -> None:
    """The test is that of the other levels; the level that is left out is named, and the way to test all."""
    field = Path(__file__).parents[1] / "field" / "factor-test-lost"
    tables = (f"--counts={field / 'counts.csv'}", f"--covariates={field / 'cov.csv'}", "--covariance=diagonal", "-q")
    assert cli("fit", "pln", *tables, "--formula=~ soil", "--out=r").code == 0
    assert cli("fit", "pln", *tables, "--formula=~ soil", "--filter=soil != 'd'", "--out=without").code == 0
    ran = cli("test", "r", "--terms=soil", "--equal=soil", "--json")
    found = json.loads(ran.out)
    assert {(row["df"], row["left_out"]) for row in found} == {(2, "soil[T.d]")}
    assert "tested without `soil[T.d]` in 6 features, where it is without a standard error" in ran.err
    assert "`plncli compare` of this fit with one without the term tests the term as a whole." in ran.err
    others = json.loads(cli("test", "without", "--terms=soil", "--json").out)
    for row, other in zip(found, others, strict=False):  # small-sample corrections count the sample
        assert row["statistic"] == pytest.approx(other["statistic"], rel=0.05)
