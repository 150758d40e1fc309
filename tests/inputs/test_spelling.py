"""Hints for names that are nearly the same: one rule, pairs one to one, and nothing where names only look alike."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from plncli.errors import DataError
from plncli.inputs.alignment.spelling import RULES, near
from plncli.inputs.loading import load
from plncli.settings import built

NAMES = [f"Site{i:02d}" for i in range(1, 13)]
PLAIN = ["ab1", "cd2", "ef3"]
NEAR = {
    "characters that cannot be seen": (PLAIN, ["\ufeffab1", "cd\u200b2", "ef3\u00ad"]),
    "case": (NAMES, [name.upper() for name in NAMES]),
    "blanks and the signs - _ .": (["a 1", "b-2", "c_3"], ["a.1", "b2", "c 3"]),
    "what R makes of names (X before a digit, . for other signs)": (["1-a", "2 b", "3+c"], ["X1.a", "X2.b", "X3.c"]),
    "leading zeros": (["s1", "s2", "s10"], ["s01", "s02", "s010"]),
    "zeros after the decimal point": (["1", "2", "3"], ["1.0", "2.0", "3.0"]),
    "folder and suffix of a file": (["bam/s1.bam", "bam/s2.sorted.bam"], ["s1", "s2"]),
    "the file in each folder": (["quants/s1/quant.sf", "quants/s2/quant.sf"], ["s1", "s2"]),
    "what sequencing adds (_S1_L001_R1_001)": (["S1_S7_L001_R1_001", "S2_S8_L001_R1_001"], ["S1", "S2"]),
    "case, signs, leading zeros, or parts of the names of files": (["runs/PA-01.fastq.gz", "runs/PB-02.fastq.gz"],
                                                                   ["pa1", "pb2"]),
}  # fmt: skip


@pytest.mark.parametrize("rule", [rule for rule, _ in RULES])
def test_each_rule_is_named(rule: str) -> None:
    names, others = NEAR[rule]
    for a, b in ((names, others), (others, names)):
        found = near(a, b[::-1])
        assert found is not None and found.rule == rule and found.whole
        assert found.pairs == tuple(zip(a, b, strict=True))
        assert found.same_order(a, b) and not found.same_order(a, b[::-1])
        shown = [ascii(name)[1:-1] for name in (a[0], b[0], a[1], b[1])]
        assert found.examples == "`{}` and `{}`, `{}` and `{}`".format(*shown)


FILES = ["x/s1_Aligned.sortedByCoord.out.bam", "s1ReadsPerGene.out.tab", "s1.fq.gz", "s1_ReadsPerGene.out.tab",
         r"c:\s1.txt", "s1.genes.results", "s1.htseq.counts.txt"]  # fmt: skip


@pytest.mark.parametrize("file", FILES)
def test_files_of_other_programs(file: str) -> None:
    others = ["s1", "t2"]
    found = near([file, file.replace("s1", "t2")], others)
    assert found is not None and found.pairs[0] == (file, "s1")


@pytest.mark.parametrize(("before", "after"), [("sample", ""), ("", ".x"), ("plot ", " (a)"), ("WT", "")])
def test_what_all_names_begin_or_end_with(before: str, after: str) -> None:
    short = ["10", "11", "12", "20"]
    long = [f"{before}{name}{after}" for name in short]
    for names, others in ((long, short), (short, long), ([*long, "blank"], short)):
        found = near(names, others[::-1])
        assert found is not None and found.whole and len(found.pairs) == 4
        assert all(f"`{word}`" in found.rule for word in (before, after) if word) or "signs" in found.rule


def test_no_rule_where_names_only_look_alike() -> None:
    for names, others in (
        (["s1", "s2", "s3"], ["t1", "t2", "t3"]),
        (["B0", "B1", "B2"], ["1", "2", "3"]),  # row numbers, one off
        (["p_1", "p_2"], ["p"]),  # two of them would be one
        (["a"], ["b"]),
        (["Aa", "aA"], ["aa"]),
    ):
        assert near(names, others) is None


@given(st.lists(st.text(min_size=1, max_size=6), min_size=1, max_size=6, unique=True), st.data())
def test_pairs_are_one_to_one(names: list[str], data: st.DataObject) -> None:
    others = data.draw(st.lists(st.sampled_from(names).map(str.upper) | st.text(min_size=1), unique=True, min_size=1))
    found = near(names, others)
    if found is not None:
        firsts, seconds = zip(*found.pairs, strict=True)
        assert len(set(firsts)) == len(firsts) and set(firsts) <= set(names)
        assert len(set(seconds)) == len(seconds) and set(seconds) <= set(others)
        assert found.whole == (len(firsts) == min(len(names), len(others)))


# --- told, and never applied ---


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    pd.DataFrame({"a": range(1, 13), "b": 5}, index=NAMES).to_csv("counts.csv")
    return tmp_path


def covariates(names: list[str], **columns: object) -> None:
    pd.DataFrame({"x": range(len(names)), **columns}, index=names).to_csv("covariates.csv")


def read(model: str = "pln", **more: object):
    given = {"counts": "counts.csv"} if model == "pln" else {}
    config = built(model, {**given, "covariates": "covariates.csv", "formula": "~ x", **more})
    return load(config, device=torch.device("cpu"), dtype=torch.float64)


def test_what_to_do_depends_on_the_order(here: Path) -> None:
    files = [f"bam/{name}.bam" for name in NAMES]
    covariates(files)
    told = "The names differ by folder and suffix of a file alone: `Site01` and `bam/Site01.bam`, `Site02` and"
    with pytest.raises(DataError) as caught:
        read()
    assert told in str(caught.value)
    assert str(caught.value).endswith(
        "Make them the same in both tables, or use --match position: the order is the same."
    )
    covariates(files[::-1])
    with pytest.raises(DataError) as caught:
        read()
    assert told in str(caught.value) and str(caught.value).endswith("Make them the same in both tables.")


def test_names_of_a_few_samples(here: Path) -> None:
    covariates([name.lower() if i < 2 else name for i, name in enumerate(NAMES)])
    got = read()
    assert got.data.n == 10
    assert "The names differ by case alone: `Site01` and `site01`, `Site02` and `site02`." in " ".join(got.notes)


def test_lists_and_features_too(here: Path) -> None:
    covariates(NAMES)
    Path("list.txt").write_text("\n".join(name.upper() for name in NAMES))
    with pytest.raises(DataError, match=r"names no sample of .* differ by case alone"):
        read(samples="list.txt")
    Path("list.txt").write_text("A\nB")
    with pytest.raises(DataError, match=r"names no feature of .* differ by case alone"):
        read(features="list.txt")
    pd.DataFrame({"A": 1.0, "B": 2.0}, index=NAMES).to_csv("exposure.csv")
    with pytest.raises(DataError, match=r"exposure.csv lacks 2 of the 2 features: a, b.* differ by case alone"):
        read(exposure="exposure.csv")


def test_levels_that_differ_by_case_or_blanks(here: Path) -> None:
    group = ["Control", "control", "case", "Case 1", "case  1", "x"] * 2
    covariates(NAMES, group=group, other=["u", "v", "v", "u"] * 3)
    notes = [note for note in read(formula="~ group + other").notes if "Levels of" in note]
    assert notes == [
        'Levels of `group` that differ by case, blanks or signs alone count as different: "Case 1" and "case  1", '
        '"Control" and "control". If they are the same, correct covariates.csv.'
    ]
    assert not [note for note in read(formula="~ other").notes if "Levels of" in note]
    covariates(NAMES, ill=["Yes", "yes", "no"] * 4)
    with pytest.raises(DataError, match=r'3 different values.*"Yes" and "yes" differ by case'):
        read("logistic", formula="ill ~ x")
