"""`plncli validate`: every fault at once, none that a fit does not have, and what a fit would see of its tables."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from plncli.errors import FIRST, DataError, Faults
from tests.cli import test_messages
from tests.cli.test_messages import COUNTS, COVARIATES, EXPOSURE, FAULTS

Cli = Callable[..., Any]
here = test_messages.here  # a fixture
OTHER = {  # faults of options, or of a folder of results, that a validation does not take
    "unknown option",
    "learning rate without use",
    "output is a file",
    "output below a file",
}
DATA_KEYS = {
    "n_samples", "n_features", "n_covariates", "terms", "levels", "offset", "numbers", "missing", "counts", "classes",
    "responses", "offset_methods",
}  # fmt: skip


def validated(cli: Cli, command: str, code: int = 0) -> dict[str, Any]:
    """What `validate --json` finds."""
    ran = cli("validate", *shlex.split(command), "--json")
    assert (ran.code, ran.err) == (code, "")
    found: dict[str, Any] = json.loads(ran.out)
    assert set(found) == {"model", "formula", "valid", "faults", "notes", "data", "findings", "memory", "seconds"}
    assert found["valid"] == (not found["faults"]) == (code == 0)
    return found


def written(folder: Path, **tables: str) -> None:
    for name, content in tables.items():
        (folder / f"{name}.csv").write_text(content)


# Faults


@pytest.mark.parametrize("name", sorted(set(FAULTS) - OTHER))
def test_the_first_fault_is_that_of_a_fit(cli: Cli, here: Path, name: str) -> None:
    fault = FAULTS[name]
    for path, content in fault.files.items():
        (here / path).write_bytes(content.encode() if isinstance(content, str) else content)
    before = sorted(here.rglob("*"))
    words = shlex.split(fault.command)
    fitted, ran = cli("fit", *words), cli("validate", *words, "--json")
    sentence = fitted.err.splitlines()[-1].removeprefix("plncli: error: ")
    assert ran.code == fitted.code == fault.code
    if ran.out:
        faults = json.loads(ran.out)["faults"]
        assert faults[0] == sentence
        assert len(faults) == len(set(faults))
    else:  # nothing was read: the command line or the configuration is at fault
        assert ran.err == f"plncli: error: {sentence}\n"
    assert sorted(here.rglob("*")) == before


ALL_BAD = {
    "counts": "sample,ash,elm,oak,fir\ns1,3,-1,4,0\ns2,1,0.5,many,0\n"
    "s3,inf,6,5,0\ns4,0,0,0,0\ns5,9,NA,9,0\ns6,3,2,3,0\n",
    "covariates": COVARIATES.replace("\ns6", "\ns7,6.0,70,south,clay,600,no\ns6"),
    "exposure": "sample,effort\ns1,1\ns2,0\ns3,-3\ns4,5\ns5,inf\ns6,3\n",
    "weights": "sample,weight\ns1,1\ns2,-1\ns3,1\ns4,1\ns5,heavy\ns6,3\n",
}


def test_all_faults_in_one_go(cli: Cli, here: Path) -> None:
    written(here, **ALL_BAD)
    formula = "~ height + I(2 * height) + soil + log(height - 1.5)"
    found = validated(
        cli,
        f"pln --counts counts.csv --covariates covariates.csv --exposure exposure.csv --weights weights.csv "
        f"--formula '{formula}'",
        3,
    )
    starts = [
        "counts.csv: 1 missing entry: sample s5, feature elm",
        "weights.csv: 1 non-numeric entry: sample s5, column weight (`heavy`)",
        "weights.csv: 1 unusable weight: sample s2, column weight (-1)",
        "counts.csv: 1 non-numeric entry: sample s2, feature oak (`many`)",
        "counts.csv: 1 infinite count: sample s3, feature ash (inf)",
        "counts.csv: 1 negative count: sample s1, feature elm (-1)",
        "counts.csv: 1 fractional count: sample s2, feature elm (0.5)",
        "counts.csv has 1 sample without any count (s4) and 1 feature without any count (fir)",
        "Column `soil` of covariates.csv has one level (`clay`) in 6 samples kept",
        "The term `log(height - 1.5)` is not a finite number in 1 sample (s1)",
        "Terms of the design are collinear: `I(2 * height)` is a linear combination of `height`",
        "exposure.csv: 2 zero or negative exposures, first: sample s2, feature effort (0); sample s3",
        "exposure.csv: 1 infinite entry: sample s5, feature effort (inf)",
    ]
    assert [fault[: len(start)] for fault, start in zip(found["faults"], starts, strict=True)] == starts
    assert found["notes"] == [
        "1 sample of covariates.csv not in counts.csv: s7.",
        "6 samples of counts.csv can be used.",
    ]
    assert (found["data"]["n_samples"], found["data"]["n_features"], found["data"]["terms"]) == (6, 4, None)
    assert found["data"]["counts"]["missing"] == 5
    assert (found["findings"], found["memory"], found["seconds"]) == (None, None, None)


@pytest.mark.parametrize(
    ("lost", "command", "left"),
    [
        ("counts", "", ["Column `soil` of", "exposure.csv: 1 zero or negative exposure"]),
        ("covariates", "", ["counts.csv: 1 negative count", "exposure.csv: 1 zero or negative exposure"]),
        ("exposure", "", ["counts.csv: 1 negative count", "Column `soil` of"]),
        ("counts", "--transpose", ["Column `soil` of", "exposure.csv: 1 zero or negative exposure"]),
        ("covariates", "--filter 'height > 2' --weights light", ["counts.csv: 1 negative", "exposure.csv: 1 zero"]),
    ],
)
def test_a_table_that_cannot_be_read_hides_no_other_fault(
    cli: Cli,
    here: Path,
    lost: str,
    command: str,
    left: list[str],
) -> None:
    written(here, counts=COUNTS.replace("s2,1", "s2,-1"), exposure=EXPOSURE.replace("s2,2", "s2,0"))
    (here / f"{lost}.csv").write_bytes(b"\x00\x01\x02\xff" * 99)
    tables = "--counts counts.csv --covariates covariates.csv --exposure exposure.csv"
    faults = validated(cli, f"pln {tables} --formula '~ soil' {command}", 3)["faults"]
    assert faults[0].startswith(f"{lost}.csv")
    assert [fault[: len(start)] for fault, start in zip(faults[1:], left, strict=True)] == left


@pytest.mark.parametrize("formula", ["~ lgo(height)", "~ height +", "~ I(height^2)"])
def test_bad_cells_and_lost_tables_hide_no_fault_of_the_formula(cli: Cli, here: Path, formula: str) -> None:
    written(here, counts=COUNTS.replace("s2,1", "s2,-1"))
    for covariates in ("covariates.csv", "lost.csv"):
        found = validated(cli, f"pln --counts counts.csv --covariates {covariates} --formula '{formula}'", 3)
        assert [fault for fault in found["faults"] if formula.removeprefix("~ ") in fault]
        assert [fault for fault in found["faults"] if "1 negative count" in fault]
        assert len(found["faults"]) == 2 + (covariates == "lost.csv")


def test_refused_cells_are_neither_zero_nor_too_few(cli: Cli, here: Path) -> None:
    """What is at fault may be any count, so no rule on totals may refuse more because of it."""
    written(here, counts="sample,ash,elm\ns1,-1,x\ns2,-1,x\ns3,-2,0.5\ns4,NA,0.5\n")
    found = validated(cli, "pln --counts counts.csv --min-depth 50 --min-total 50 --min-prevalence 0.9", 3)
    assert [fault.split()[2:4] for fault in found["faults"]] == [
        ["missing", "entry:"], ["non-numeric", "entries,"], ["negative", "counts,"], ["fractional", "counts,"],
    ]  # fmt: skip
    assert found["data"]["counts"]["missing"] == 8


def test_samples_without_covariates_go_before_the_design_is_judged(cli: Cli, here: Path) -> None:
    written(here, covariates=COVARIATES.replace("s2,2.5", "s2,"))
    found = validated(cli, "pln --counts counts.csv --covariates covariates.csv --formula '~ height'", 3)
    assert [fault[:36] for fault in found["faults"]] == ["covariates.csv: 1 missing entry: sam"]
    assert (found["data"]["n_samples"], found["data"]["terms"]) == (5, ["Intercept", "height"])


def test_all_faults_of_responses(cli: Cli, here: Path) -> None:
    command = "--covariates covariates.csv --formula 'soil + depth + case ~ heigth'"
    first, *rest = validated(cli, f"logistic {command}", 3)["faults"]
    assert "Did you mean `height`?" in first
    assert [fault[:20] for fault in rest] == ["The response `soil` ", "The response `depth`"]
    written(here, yields="sample,a,b\ns1,1,7\ns2,x,7\ns3,2,inf\ns4,1,7\ns5,2,7\ns6,3,7\n")
    faults = validated(cli, "linear --response yields.csv --covariates covariates.csv --formula '~ site'", 3)["faults"]
    assert [fault.partition(": ")[2][:15] for fault in faults] == ["1 non-numeric e", "1 infinite or h"]


def test_memory_that_is_not_there_is_refused_as_by_a_fit(
    cli: Cli,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("plncli.runtime.free_memory", lambda _: 1e4)
    fitted, found = cli("fit", "pln", "--counts", "counts.csv"), validated(cli, "pln --counts counts.csv", 5)
    assert fitted.code == 5
    assert [f"plncli: error: {fault}" for fault in found["faults"]] == fitted.err.splitlines()[-1:]


def test_faults_are_raised_or_kept() -> None:
    def refuse() -> int:
        raise DataError("no")

    kept = Faults(every=True)
    assert kept.attempt(refuse, 3) == 3
    assert kept.refused(refuse)
    assert not kept.refused(lambda: 1)
    assert kept.each([DataError("no"), DataError("never")])
    assert not kept.each([])
    assert list(map(str, kept.found)) == ["no", "never"]
    for step in (
        lambda: FIRST.attempt(refuse, 3),
        lambda: FIRST.refused(refuse),
        lambda: FIRST.each(iter([DataError("no")])),
    ):
        with pytest.raises(DataError, match="no"):
            step()
    assert FIRST.found == []


# What a fit would see


def fitted(cli: Cli, command: str) -> tuple[dict[str, Any], str]:
    """The summary of a fit of two steps, and what it said."""
    ran = cli("fit", *shlex.split(command), "--json", "--max-iter", "2", "--allow-unconverged", "--se", "none")
    assert ran.code == 0, ran.err
    return json.loads(ran.out), ran.err


def test_the_oaks(cli: Cli, oaks: Any, tmp_path: Path) -> None:
    """Sizes and warnings are those of the fit, facts those of the table."""
    command = f"pln --counts {oaks.counts} --covariates {oaks.covariates} --formula '~ 0 + tree'"
    found, (summary, err) = validated(cli, command), fitted(cli, command)
    data, facts = found["data"], found["data"]["counts"]
    assert set(data) == DATA_KEYS
    assert [data[name] for name in ("n_samples", "n_features", "n_covariates")] == [
        summary[name] for name in ("n_samples", "n_features", "n_covariates")
    ]
    (separation,) = found["findings"]
    assert separation["code"] == "separation"
    assert separation["message"] in [finding["message"] for finding in summary["findings"]]
    assert len(separation["cells"]) == 13
    notes = [f"note: {note}" for note in (*found["notes"], separation["message"])]
    assert notes == [line for line in err.splitlines() if line[:5] == "note:"]
    table = pd.read_csv(oaks.counts, index_col=0)
    depth = table.sum(axis=1)
    assert facts["zeros"] == int((table == 0).to_numpy().sum())
    assert facts["largest"] == table.to_numpy().max() == table.loc[facts["largest_sample"], facts["largest_feature"]]
    assert (facts["depth_min"], facts["depth_median"], facts["depth_max"]) == (depth.min(), depth.median(), depth.max())
    assert (facts["depth_min_sample"], facts["depth_max_sample"]) == (depth.idxmin(), depth.idxmax())
    trees = pd.read_csv(oaks.covariates, index_col=0).tree.value_counts().to_dict()
    assert data["levels"] == {"tree": trees}
    assert found["seconds"]["low"] <= found["seconds"]["high"]
    assert validated(cli, f"{command} --optimizer vem")["seconds"] is None


def test_memory_is_what_a_dry_run_says(cli: Cli, here: Path) -> None:
    from plncli.evaluation.memory import in_words

    needs = validated(cli, "pln --counts counts.csv")["memory"]["needs"]
    assert f"about {in_words(needs)} of memory" in cli("fit", "pln", "--counts", "counts.csv", "--dry-run").err


def test_offset_methods_are_those_of_plncli_offsets(cli: Cli, here: Path) -> None:
    written(here, gaps=COUNTS.replace("s2,1,5,9", "s2,0,5,9").replace("s4,3,5", "s4,3,0").replace("9\ns6", "0\ns6"))
    for name in ("counts", "gaps"):
        methods = {one["method"]: one for one in validated(cli, f"pln --counts {name}.csv")["data"]["offset_methods"]}
        depths = pd.DataFrame(json.loads(cli("offsets", "--counts", f"{name}.csv", "--json").out)).set_index("sample")
        assert {method for method, one in methods.items() if one["defined"]} == set(depths.columns)
        for method, depth in depths.items():
            log_ratio = np.log(depth / depths.total)
            departure = np.exp(np.abs(log_ratio - log_ratio.mean()).max())
            known = methods[str(method)]
            assert known["fold"] == pytest.approx(depth.max() / depth.min(), rel=1e-10)
            assert known["departure"] == pytest.approx(departure, rel=1e-10)
    assert not methods["rle"]["defined"]  # every feature is 0 somewhere
    assert "every feature is 0 in some sample" in methods["rle"]["reason"]
    offset = validated(cli, "pln --counts counts.csv --exposure exposure.csv")["data"]
    assert (offset["offset"], offset["offset_methods"]) == ("exposure", [])


def test_rare_features_and_small_levels(cli: Cli, tmp_path: Path) -> None:
    n = 40
    names = [f"s{i}" for i in range(n)]
    counts = pd.DataFrame({"often": 5, "once": 0, "twice": 0, "thrice": 0}, index=names)
    counts.loc["s0", "once"] = 1
    counts.loc["s1", "twice"] = 2
    counts.loc[["s2", "s3", "s4"], "thrice"] = 1
    counts.to_csv(tmp_path / "counts.csv", index_label="sample")
    site = pd.Series(["a"] * 30 + ["b"] * 9 + ["c"], index=names, name="site")
    site.to_csv(tmp_path / "covariates.csv", index_label="sample")
    command = "pln --counts counts.csv --covariates covariates.csv --formula '~ C(site)'"
    found = validated(cli, command)
    facts = found["data"]["counts"]
    assert [facts[name] for name in ("below_5", "below_10", "in_one_sample", "singletons")] == [2, 3, 2, 1]
    assert (facts["zeros"], facts["share_zeros"]) == (115, 115 / 160)
    assert found["data"]["levels"] == {"C(site)": {"a": 30, "b": 9, "c": 1}}
    report = cli("validate", *shlex.split(command)).out
    assert "C(site): a 30, b 9, c 1; 1 level of a single sample: c" in report
    assert report.endswith("\nNo faults: a fit takes this.\n")


def test_separated_classes_are_those_that_a_fit_warns_of(cli: Cli, tmp_path: Path) -> None:
    table = "id,x,z,ill\n" + "".join(f"s{i},{i},{i % 3},{i // 5}\n" for i in range(10))
    (tmp_path / "cases.csv").write_text(table)
    command = "logistic --covariates cases.csv --formula 'ill ~ x + z'"
    found = validated(cli, command)
    summary = json.loads(cli("fit", *shlex.split(command), "--json").out)
    assert [f"{finding['message']} {finding['remedy']}" for finding in found["findings"]] == summary["warnings"][:1]
    assert found["data"]["classes"] == {"ill": {"0": 5, "1": 5}}
    assert found["data"]["counts"] is None


def test_linear(cli: Cli, here: Path) -> None:
    command = "linear --covariates covariates.csv --formula 'height ~ light + site'"
    found, (summary, _) = validated(cli, command), fitted(cli, command)
    assert found["data"]["n_covariates"] == summary["n_covariates"] == 3
    height = pd.read_csv(here / "covariates.csv").height
    expected = {"mean": height.mean(), "sd": height.std(), "min": height.min(), "max": height.max()}
    assert found["data"]["responses"] == {"height": pytest.approx(expected)}
    assert found["data"]["levels"] == {"site": {"north": 3, "south": 3}}


def test_the_report_for_a_reader(cli: Cli, here: Path) -> None:
    written(here, bad=COUNTS.replace("s2,1", "s2,-1").replace("s4,3", "s4,0.5"))
    (here / "fit.toml").write_text("counts = 'bad.csv'\nexposure = 'exposure.csv'\n")
    ran = cli("validate", "pln", "--config", "fit.toml")
    assert (ran.code, ran.err) == (3, "")
    assert "data      6 samples × 3 features, 1 coefficient each (Intercept)\n" in ran.out
    assert "offset    by exposure\n" in ran.out
    assert "\n2 faults to correct before a fit\n  1. bad.csv: 1 negative count: sample s2" in ran.out
    assert "\n  2. bad.csv: 1 fractional count: sample s4" in ran.out
    quiet = cli("validate", "pln", "--config", "fit.toml", "-q")
    assert (quiet.code, quiet.err) == (3, "")
    assert ran.out.endswith(f"before a fit\n{quiet.out}")
    assert cli("validate", "pln", "--counts", "counts.csv", "-q").out == ""
