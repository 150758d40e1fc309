"""Damaged files of any format end in a table or a refusal in one sentence or two: never in anything else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
from fuzzing import found_in, seeds
from hypothesis import given
from hypothesis import strategies as st
from tries import examples
from written import WRITERS

from plncli.errors import FormulaError
from plncli.inputs.filter import holds
from plncli.inputs.formula import parse
from plncli.tables.reading import table_of

SINGLE = [kind for kind in WRITERS if "folder" not in kind and "zarr" not in kind]
PARTS = (
    *(f"{kind}: {name}" for kind, name in (
        ("qza", "0a/data/feature-table.biom"),
        *(("xlsx", f"xl/{part}.xml") for part in ("worksheets/sheet1", "styles", "workbook")),
        *(("10x folder", name) for name in ("matrix.mtx", "barcodes.tsv", "features.tsv")),
        *(("10x folder, packed", f"{name}.gz") for name in ("matrix.mtx", "barcodes.tsv", "features.tsv")),
        *(("zarr", name) for name in (".zmetadata", "X/0.0")),
        *(("zarr of csr", name) for name in (".zmetadata", "X/data/0", "X/indices/0", "X/indptr/0")),
        *(("10x folder, old", name) for name in ("matrix.mtx", "barcodes.tsv", "genes.tsv")),
    )),
    "tsv", "semicolons", "utf-16", "gzip", "bz2", "lzma",
)  # fmt: skip
KINDS = (*SINGLE, *PARTS)
BY_LIBRARY = ("h5ad", "biom 2.1", "qza", "10x v", "zarr")
OF_LIBRARY = ("crash", "hang", "memory")
FEW = 0.01
"""Share of damaged files at which libhdf5, or zarr's codecs, may crash or never come back: no caller prevents it."""


def judged(kinds: Sequence[str], first: int, last: int, dry: int) -> Counter[str]:
    """How many files were read and refused; fails on anything else."""
    found = list(found_in(kinds, first, last, dry))
    odd = [each for each in found if each.what not in ("read", "refused")]
    theirs = [each for each in odd if each.kind.startswith(BY_LIBRARY) and each.what.startswith(OF_LIBRARY)]
    assert len(theirs) <= FEW * (last - first)
    assert len(odd) == len(theirs), [each for each in odd if each not in theirs][:5]
    assert len(found) == last - first
    return Counter(each.what for each in found)


def test_every_format_is_damaged(tmp_path: Path) -> None:
    assert set(KINDS) == set(seeds(tmp_path))


def test_some_damaged_files() -> None:
    told = judged([kind for kind in KINDS if not kind.startswith(BY_LIBRARY)], 0, 200, dry=40)
    assert told["read"] > 10 and told["refused"] > 100
    assert judged(["parquet"], 0, 150, dry=0)["refused"] > 100  # pyarrow once ended the process at the 122nd


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files(kind: str) -> None:
    assert judged([kind], 0, 650, dry=25)["refused"] > 100


FACTS = {"x": [1.5, 2, None], "tree": ["oak", "elm", None], "case": [True, False, True], "a b": 1}
TABLE = table_of(pd.DataFrame(FACTS, index=["s1", "s2", "s3"]), "covariates")
PIECES = st.sampled_from(
    ["x", "tree", "case", "`a b`", "1", "2.5", "'oak'", "+", "-", "*", "/", "**", "==", "<", "in", "[", "]", "(", ")",
     "and", "or", "not", "isna", "~", "&", "|", ":", ",", "%in%", "^", "`", "{", "}", '"', "\\", "0", "log", "C", "bs",
     "offset", "df", "=", ".", "lambda", "1e999", "_column_0", "9" * 400, "if", "else", "ä", "\x00", "\ud800", "#",
     "\n"]
)  # fmt: skip
WORDS = st.lists(PIECES, max_size=9).flatmap(lambda words: st.sampled_from([" ".join(words), "".join(words)]))


def test_a_column_may_be_called_as_what_stands_in_for_others() -> None:
    table = table_of(pd.DataFrame({"_column_0": [1], "my_column_0": [2], "a b": [3]}, index=["s1"]), "covariates")
    for condition in ("_column_0 == 1", "my_column_0 == 2 and `a b` == 3"):
        assert holds(condition, table)[0].all()


@examples(120, 800)
@given(text=WORDS | st.text(max_size=20))
def test_any_condition_holds_or_is_refused(text: str) -> None:
    try:
        found, _ = holds(text, TABLE)
    except FormulaError:
        return
    assert found.shape == (3,) and found.dtype == bool


@examples(120, 800)
@given(text=WORDS | st.text(max_size=20))
def test_any_formula_is_taken_apart_or_refused(text: str) -> None:
    try:
        formula = parse(f"~ {text}", TABLE.columns, "covariates.csv", "id")
    except FormulaError:
        return
    assert set(formula.columns) <= set(TABLE.columns)
