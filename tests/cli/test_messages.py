"""Every fault of input has its message and exit code, as a user meets them, and leaves nothing behind."""

from __future__ import annotations

import errno
import gzip
import json
import os
import shlex
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest

Cli = Callable[..., Any]

COUNTS = """sample,ash,elm,oak
s1,3,1,4
s2,1,5,9
s3,2,6,5
s4,3,5,8
s5,9,7,9
s6,3,2,3
"""
COVARIATES = """sample,height,light,site,soil,depth,case
s1,1.5,10,north,clay,100,no
s2,2.5,30,south,clay,200,yes
s3,3.0,20,north,clay,300,no
s4,4.5,50,south,clay,400,yes
s5,5.5,40,north,clay,500,yes
s6,6.0,70,south,clay,600,no
"""
EXPOSURE = "sample,effort\ns1,1\ns2,2\ns3,3\ns4,1\ns5,2\ns6,3\n"
PARQUET = BytesIO()
pd.DataFrame({"a": range(99)}, index=[f"s{i}" for i in range(99)]).to_parquet(PARQUET)


class Fault(NamedTuple):
    """A command, the words of its message, its exit code, and the files that differ from those above."""

    command: str
    words: tuple[str, ...]
    code: int = 3
    files: dict[str, str | bytes] = {}  # noqa: RUF012 (never written to)


def bad(content: str | bytes, *words: str) -> Fault:
    """A fault of bad.csv, given as counts."""
    return Fault("pln --counts bad.csv", ("bad.csv", *words), files={"bad.csv": content})


def cell(value: str, *words: str) -> Fault:
    """A fault of one entry of bad.csv, sample s4 and feature elm."""
    return bad(COUNTS.replace("s4,3,5,8", f"s4,3,{value},8"), *words, "sample s4, feature elm")


def formula(text: str, *words: str, code: int = 3) -> Fault:
    """A fault of a formula for the counts."""
    return Fault(f"pln --counts counts.csv --covariates covariates.csv --formula '{text}'", words, code)


def regression(model: str, text: str, *words: str, code: int = 3) -> Fault:
    """A fault of a formula whose response is a covariate."""
    return Fault(f"{model} --covariates covariates.csv --formula '{text}'", words, code)


def exposure(content: str, *words: str) -> Fault:
    """A fault of bad.csv, given as exposure."""
    return Fault("pln --counts counts.csv --exposure bad.csv", ("bad.csv", *words), files={"bad.csv": content})


FAULTS = {
    # files
    "missing file": Fault("pln --counts count.csv", ("count.csv does not exist. Did you mean `counts.csv`?",
                          "Check the path given to --counts.")),
    "folder as file": Fault("pln --counts .", (". is a folder. One with a single matrix.mtx",)),
    "empty file": bad("", "is empty. --counts needs a table with a header line and a line per sample"),
    "binary file": bad(b"\x00\x01\x02\xff" * 99, "it is binary. Text tables, Parquet, Feather, Excel, AnnData"),
    "Excel workbook": bad(b"PK\x03\x04" + b"\x14" * 99, "is damaged, or not quite a zip archive"),
    "truncated gzip": bad(gzip.compress(COUNTS.encode())[:-9], "is damaged", "cut short", "fetch or write it again"),
    "truncated Parquet": bad(PARQUET.getvalue()[:-99], "is damaged", "Parquet", "fetch it again"),
    "no header": bad(COUNTS.partition("\n")[2], "has no header: its first line holds numbers (3, 1, 4)",
                     "Add a first line with the names of the columns"),
    "header alone": bad("sample,ash\n", "has a header line but no rows"),
    "ragged rows": bad(COUNTS.replace("s3,2,", "s3,"), "is ragged: 1 line of another length than the 4 fields of the ",
                       "line 4 has 3", "missing or stray separators (commas)"),
    "duplicate samples": bad(COUNTS.replace("s3", "s2"), "1 sample name used more than once: s2 (2 times)",
                             "make each name unique"),
    "duplicate features": bad(COUNTS.replace("elm", "ash"), "1 column name used more than once: ash",
                              "Make each name unique"),
    # counts
    "negative count": cell("-5", "1 negative count", "(-5)", "Counts must be whole numbers of 0 or more."),
    "fractional count": cell("0.25", "1 fractional count", "(0.25)", "use --round; else give the raw counts"),
    "infinite count": cell("inf", "1 infinite count", "(inf)"),
    "hexadecimal count": cell("0x1F", "1 non-numeric entry", "(`0x1F`)"),
    "textual count": cell("many", "1 non-numeric entry", "(`many`)", "Counts must be whole numbers", "write NA"),
    "missing count": cell("NA", "1 missing entry", "--missing drop", "--missing keep"),
    "many faults": bad(COUNTS.replace(",", ",-").replace("-ash,-elm,-oak", "ash,elm,oak"), "18 negative counts",
                       "first: sample s1, feature ash (-3)"),
    "empty sample and feature": bad("sample,ash,elm\ns1,3,0\ns2,0,0\ns3,1,0\n",
                                    "1 sample without any count (s2)", "1 feature without any count (elm)",
                                    "Leave them out with --all-zero drop."),
    # matching samples
    "no common sample": Fault("pln --counts counts.csv --covariates bad.csv --formula '~ x'",
                              ("counts.csv and bad.csv have no sample name in common", "s1, s2, s3", "t1, t2"),
                              files={"bad.csv": "id,x\nt1,1\nt2,2\n"}),
    "transposed": Fault("pln --counts bad.csv --covariates covariates.csv --no-transpose",
                        ("bad.csv looks transposed: 3 of its columns", "samples of covariates.csv (s1, s2, s3)",
                         "Samples must be rows"),
                        files={"bad.csv": "feature,s1,s2,s3\nash,3,1,4\nelm,1,5,9\n"}),
    "exposure lacks a feature": exposure("id,ash,elms\n" + "".join(f"s{i},1,1\n" for i in range(1, 7)),
                                         "lacks 2 of the 3 features: elm, oak", "Did you mean `elms`?"),
    # offsets
    "zero exposure": exposure(EXPOSURE.replace("s3,3", "s3,0"), "1 zero or negative exposure: sample s3",
                              "effort (0)", "must be positive"),
    "negative exposure": exposure(EXPOSURE.replace("s3,3", "s3,-3").replace("s5,2", "s5,-2"),
                                  "2 zero or negative exposures, first: sample s3"),
    "offsets and exposure": Fault("pln --counts counts.csv --exposure exposure.csv --offsets exposure.csv",
                                  ("Both --offsets exposure.csv and --exposure exposure.csv are set; give one",), 2),
    # designs
    "one level": formula("~ soil", "Column `soil` of covariates.csv has one level (`clay`) in 6 samples kept",
                         "Take it out of the formula"),
    "collinear": formula("~ height + I(2 * height)", "`I(2 * height)` is a linear combination of `height`",
                         "Take the redundant ones out"),
    "collinear with the intercept": formula("~ cr(height, df=3)", "of `Intercept`, `cr(height, df=3)[1]`, ",
                                            "or the intercept with `~ 0 + ...`."),
    "too many coefficients": formula("~ poly(height, 3) + poly(light, 3)", "more coefficients (7: Intercept, poly(",
                                     "than samples (6)", "Take terms out of the formula, or add samples."),
    "a label a sample": formula("~ C(depth)", "`C(depth)` of covariates.csv has a different label (100, 200, 300 "
                                "and 3 more) in each of the 6 samples", "or merge its levels."),
    "unknown name": formula("~ heigth", "uses `heigth`, which is no column of covariates.csv",
                            "Did you mean `height`?", "Its columns are: height, light, site"),
    "no covariates": Fault("pln --counts counts.csv --formula '~ height'",
                           ("uses `height`, but no table of covariates is given. Add --covariates FILE",)),
    "column of names": formula("~ sample", "`sample`, which is the column of sample names of covariates.csv"),
    "power of R": formula("~ I(height^2)", "`I(height^2)` holds `^`, which is no power", "write `I(height**2)`."),
    "response left of the counts": formula("ash ~ height", "has `ash` left of `~`, but the counts come from --counts"),
    "response twice": Fault("linear --response counts.csv --covariates covariates.csv --formula 'ash ~ height'",
                            ("given twice: by --response counts.csv, ", "left of `~` in `ash ~ height`",
                             "Write `~ height`.")),
    "text in features in rows": bad("# Constructed from biom file\n#OTU ID\ts1\ts2\nash\t1\t2\nelm\t2\tx3\n",
                                    "1 non-numeric entry: sample s2, feature elm (`x3`)"),
    "columns of text": bad("sample,ash,site,elm\ns1,1,gut,2\ns2,3,skin,4\ns3,5,gut,6\n",
                           "1 column of bad.csv holds text: `site` (`gut`)", "describes samples by --covariates"),
    "bad syntax": formula("~ height +", "`~ height +` cannot be read", "Operator `+` lacks a term beside it"),
    "unknown function": formula("~ lgo(height)", "calls `lgo`, which is not available. Did you mean `log`?"),
    "logarithm of zero": formula("~ log(height - 1.5)", "The term `log(height - 1.5)` is not a finite number in "
                                 "1 sample (s1)"),
    "missing covariate": Fault("pln --counts counts.csv --covariates bad.csv --formula '~ height'",
                               ("bad.csv: 1 missing entry: sample s2, column height", "--missing drop"),
                               files={"bad.csv": COVARIATES.replace("s2,2.5", "s2,")}),
    # responses
    "one class": regression("logistic", "soil ~ height", "`soil` of covariates.csv is `clay` in all 6 samples",
                            "needs two classes"),
    "three classes": regression("logistic", "depth ~ height", "`depth` of covariates.csv has 6 different values"),
    "textual response": regression("linear", "case ~ height", "6 non-numeric entries", "sample s1, column case (`no`)"),
    "no response": regression("linear", "~ height", "has no response left of `~`", "or give --response", code=2),
    "no table": Fault("pln", ("needs a table of counts: --counts FILE",), 2),
    # options
    "two tables from standard input": Fault("pln --counts - --exposure -",
                                            ("Standard input can be read once, but --counts and --exposure",), 2),
    "alternating steps": Fault("linear --covariates covariates.csv --formula 'height ~ light' --optimizer vem",
                               ("--optimizer vem alternates with a latent layer", "Use newton-cg"), 2),
    "name of other bytes": Fault("pln --counts caf\udce9.csv", ("--counts holds bytes that are not UTF-8",), 2),
    "missing entries of other bytes": Fault("pln --counts counts.csv --na-values caf\udce9",
                                            ("--na-values holds bytes that are not UTF-8", "Write it in UTF-8."), 2),
    "a NUL in a file": Fault("pln --counts counts.csv --config fit.toml",
                             ("Key `na_values` in `fit.toml` holds a character NUL",),
                             files={"fit.toml": 'na-values = ["a\\u0000"]\n'}),
    "learning rate without use": Fault("pln --counts counts.csv --learning-rate 0.1",
                                       ("newton-cg", "leave out --learning-rate"), 2),
    "fixed covariance without precision": Fault("pln --counts counts.csv --covariance fixed",
                                                ("needs the precision matrix: --precision FILE",), 2),
    "unknown key": Fault("pln --config fit.toml", ("fit.toml", "unknown key `counst`. Did you mean `counts`?"),
                         files={"fit.toml": "counst = 'counts.csv'\n"}),
    "bad TOML": Fault("pln --config fit.toml", ("fit.toml", "line 1"), files={"fit.toml": "counts = \n"}),
    "unknown option": Fault("pln --count counts.csv", ("--count", "--counts"), 2),
    # the folder of results
    "output is a file": Fault("pln --counts counts.csv --out covariates.csv",
                              ("--out covariates.csv is a file", "Choose another --out."), 2),
    "output below a file": Fault("pln --counts counts.csv --out covariates.csv/a",
                                 ("--out covariates.csv/a cannot be made", "is a file"), 2),
}  # fmt: skip


@pytest.fixture
def here(tmp_path: Path) -> Path:
    for name, content in {"counts.csv": COUNTS, "covariates.csv": COVARIATES, "exposure.csv": EXPOSURE}.items():
        (tmp_path / name).write_text(content)
    return tmp_path


def refused(cli: Cli, here: Path, command: str, code: int, *words: str, **more: Any) -> None:
    """An error as the last line of standard error, notes before it; no standard output, nothing new in the folder."""
    before = {path: path.stat().st_mtime_ns for path in here.rglob("*")}
    ran = cli("fit", *shlex.split(command), **more)
    for word in words:
        assert word in ran.err
    assert (ran.code, ran.out) == (code, ""), ran.err
    *notes, error = ran.err.splitlines()
    assert error.startswith("plncli: error: ")
    assert "  " not in error
    assert all(note.startswith(("note: ", "Fitting ")) for note in notes)
    assert {path: path.stat().st_mtime_ns for path in here.rglob("*")} == before


@pytest.mark.parametrize("name", FAULTS)
def test_refusals(cli: Cli, here: Path, name: str) -> None:
    fault = FAULTS[name]
    for path, content in fault.files.items():
        (here / path).write_bytes(content.encode() if isinstance(content, str) else content)
    refused(cli, here, fault.command, fault.code, *fault.words)


@pytest.mark.parametrize("variable", ["PLNCLI_NA_VALUES", "PLNCLI_FORMULA", "PLNCLI_COUNTS"])
def test_an_environment_of_other_bytes(cli: Cli, here: Path, variable: str) -> None:
    words = f"The environment variable {variable} holds bytes that are not UTF-8"
    given = "" if variable == "PLNCLI_COUNTS" else " --counts counts.csv"
    refused(cli, here, f"pln{given}", 3, words, env={variable: "a\udcff"})


def test_a_file_that_cannot_be_written_is_told_after_the_fit(cli: Cli, here: Path) -> None:
    ran = cli("fit", "pln", "--counts", "counts.csv", "--out", "/proc/a")  # root may write anywhere else
    assert (ran.code, ran.out) == (3, "")
    assert ran.err.splitlines()[-1].startswith("plncli: error: Cannot write the results into /proc/a: ")
    assert ran.err.splitlines()[-1].endswith("or choose another folder with --out.")


def test_a_full_disk_leaves_nothing(cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("plncli.tables.atomic.os.fsync", full)
    before = sorted(here.rglob("*"))
    ran = cli("fit", "pln", "--counts", "counts.csv", "--out", "runs/a", "-q")
    assert (ran.code, ran.out) == (3, "")
    assert ran.err == (
        "plncli: error: Cannot write the results into runs/a: No space left on device. Nothing was left behind; "
        "free some space, or choose another folder with --out.\n"
    )
    assert sorted(here.rglob("*")) == before


def test_results_in_the_way_are_refused(cli: Cli, here: Path) -> None:
    assert cli("fit", "pln", "--counts", "counts.csv").code == 0
    again = "pln --counts counts.csv"
    refused(cli, here, again, 2, "--out counts-pln exists. Add --overwrite to replace it, or choose another folder")
    (here / "counts-pln" / "mine.txt").touch()
    refused(cli, here, f"{again} --overwrite", 2, "would remove what plncli did not write", "mine.txt")


def test_a_gpu_that_is_not_there(cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    refused(cli, here, "pln --counts counts.csv --device cuda", 5, "no NVIDIA GPU", "Use --device cpu.")


@pytest.mark.parametrize(
    "name",
    [
        "unknown option",
        # A process takes seconds to begin, and these are told in the same way as the other one.
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("missing file", "negative count", "unknown name")),
    ],
)
def test_refusals_of_a_process(run_cli: Cli, here: Path, name: str) -> None:
    test_refusals(run_cli, here, name)


def test_empty_standard_input(cli: Cli, here: Path) -> None:
    command = "pln --counts - --json"
    refused(cli, here, command, 3, "Standard input is empty, but --counts - reads a table from it", stdin="")
    words = ("standard input: 1 negative count: sample s4, feature elm (-5)",)
    refused(cli, here, command, 3, *words, stdin=COUNTS.replace("s4,3,5", "s4,3,-5"))


def test_only_json_on_standard_output(cli: Cli, here: Path) -> None:
    ran = cli("fit", "pln", "--counts", "-", "--exposure", "exposure.csv", "--json", stdin=COUNTS)
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["n_samples"] == 6


# What is told, and no reason to stop


def told(cli: Cli, here: Path, command: str, code: int = 0) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """What a fit into `out` says, its summary and its manifest."""
    ran = cli("fit", *shlex.split(command), "--out", "out")
    assert (ran.code, ran.out) == (code, ""), ran.err
    summary, manifest = (json.loads((here / "out" / f"{name}.json").read_text()) for name in ("summary", "manifest"))
    return ran.err, summary, manifest


def test_samples_of_one_table_alone(cli: Cli, here: Path) -> None:
    (here / "some.csv").write_text("id,x\ns6,1\ns2,2\nt1,2\ns3,4\ns5,3\n")
    err, summary, manifest = told(cli, here, "pln --counts counts.csv --covariates some.csv --formula '~ x'")
    assert "2 samples of counts.csv not in some.csv: s1, s4." in err
    assert "1 sample of some.csv not in counts.csv: t1." in err
    assert "4 samples of counts.csv can be used." in err
    assert summary["n_samples"] == 4
    assert [drop["names"] for drop in manifest["dropped"]] == [["s1", "s4"], ["t1"]]


def test_what_is_dropped_on_request(cli: Cli, here: Path) -> None:
    (here / "gaps.csv").write_text(COUNTS.replace("elm", "fir").replace("s2,1,5,9", "s2,0,0,0").replace("5,8", "NA,8"))
    err, summary, manifest = told(cli, here, "pln --counts gaps.csv --missing drop --all-zero drop")
    assert "1 sample left out, because gaps.csv has missing entries for it: s4." in err
    assert "1 sample left out, because gaps.csv has no counts for it: s2." in err
    assert summary["n_samples"] == 4
    assert [drop["names"] for drop in manifest["dropped"]] == [["s4"], ["s2"]]


def test_different_depths(cli: Cli, here: Path) -> None:
    err, *_ = told(cli, here, "pln --counts counts.csv")
    assert "Total counts vary 3.12-fold between samples (8 in s1, 25 in s5) and no offset is given" in err
    assert "Give --exposure FILE, --offset-method total, or `offset(log(column))` in the formula." in err


def test_separated_classes(cli: Cli, here: Path) -> None:
    (here / "cases.csv").write_text("id,x,z,ill\n" + "".join(f"s{i},{i},{i % 3},{i // 5}\n" for i in range(10)))
    err, summary, _ = told(cli, here, "logistic --covariates cases.csv --formula 'ill ~ x + z'")
    assert "warning: " in err
    assert "warning: complete separation of the classes of `ill`" in err
    assert "`x`" in err.partition("complete separation")[2]
    table = pd.read_csv(here / "out" / "coefficients.csv")
    assert table.estimate.abs().max() < 1e6  # finite, as far as the fit went
    assert table.std_error.isna().all()
    assert summary["converged"]
    assert any("complete separation" in warning for warning in summary["warnings"])


def test_a_fit_that_did_not_converge(cli: Cli, here: Path) -> None:
    err, summary, manifest = told(cli, here, "pln --counts counts.csv --max-iter 1", 4)
    assert "warning: Stopped at the step limit before converging" in err
    assert (summary["converged"], summary["status"], manifest["exit_code"]) == (False, "max_iter", 4)
    assert (here / "out" / "coefficients.csv").exists()
    _, summary, manifest = told(cli, here, "pln --counts counts.csv --max-iter 1 --allow-unconverged --overwrite")
    assert (summary["converged"], manifest["exit_code"]) == (False, 0)
