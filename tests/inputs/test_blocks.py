"""Tables that are read by blocks give the data set that they give in memory, whatever the formula."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from plncli.errors import PlncliError
from plncli.inputs.blocks.loading import load_by_blocks
from plncli.inputs.loading import Inputs, load
from plncli.settings import resolve

N = 240


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Columns of every type, with levels and values that come late; rows with missing entries of all types."""
    draw = np.random.default_rng(8)
    late = np.where(np.arange(N) >= N - 4, "late", draw.choice(["m", "k"], N))
    columns: dict[str, Any] = {
        "a": draw.normal(size=N),
        "half": pa.array(draw.normal(size=N).astype(np.float32)),
        "count": pa.array(draw.integers(0, 9, N), pa.uint8()),
        "long": draw.integers(-(10**12), 10**12, N),
        "flag": draw.random(N) < 0.5,
        "text": draw.choice(["x", " x", "Y", "NA", ""], N, p=[0.3, 0.3, 0.36, 0.02, 0.02]),
        "late": pa.array(late).dictionary_encode(),
        "digits": draw.choice(["1", "2", "10"], N),
        "decimals": draw.choice(["1.5", "2", "+3e1"], N),
        "levels": np.where(np.arange(N) == N - 1, 2.5, draw.integers(1, 4, N)),
        "whole": draw.integers(1, 4, N).astype(float),
        "gaps": pa.array(np.where(draw.random(N) < 0.1, np.nan, draw.normal(size=N)), from_pandas=True),
        "none": pa.array([None if i % 50 == 7 else bool(i % 3) for i in range(N)]),
        "day": pa.array(draw.choice(np.array(["2026-01-01", "2026-01-02"], "datetime64[D]"), N)),
        "price": pa.array([f"{x:.2f}" for x in draw.random(N)]).cast(pa.decimal128(5, 2)),
        "w": draw.integers(0, 3, N),
        "one two": draw.normal(size=N),
        "y": draw.choice(["no", "yes"], N),
        "z": draw.normal(size=N),
    }
    place = tmp_path_factory.mktemp("blocks") / "table.parquet"
    pq.write_table(pa.table({"id": [f"é{i}" for i in range(N)], **columns}), place, row_group_size=70)
    return place


def loaded(path: Path, model: str, formula: str, rows: int | None, **more: Any) -> Inputs | str:
    """The data set, or the sentence that refuses it."""
    own = {} if rows is None else {"block_rows": rows}
    config = resolve(model, {"covariates": str(path), "formula": formula, **own, **more}, None, {})
    kind: dict[str, Any] = {"device": torch.device("cpu"), "dtype": torch.float64}
    try:
        read = load(config, **kind) if rows is None else load_by_blocks(config, **kind)[0]
    except PlncliError as error:
        return str(error)
    assert read is not None
    return read


SOUND: list[tuple[str, dict[str, Any]]] = [
    ("y ~ a + half + count + long", {}),
    ("y ~ flag + late + whole", {}),
    ("y ~ C(levels) + C(whole)", {}),
    ("y ~ C(late, contr.helmert) * a", {}),
    ("y ~ C(late, Treatment('m')) + a:flag", {}),
    ("y ~ late:flag", {}),
    ("y ~ 0 + late + a", {}),
    ("y ~ interaction(late, flag) + interaction(digits, whole):a", {}),
    ("y ~ digits + decimals", {}),
    ("y ~ C(digits)", {}),
    ("y ~ day + price", {}),
    ("y ~ text + a", {"missing": "drop"}),
    ("y ~ gaps + none", {"missing": "drop"}),
    ("y ~ scale(gaps) * late", {"missing": "drop", "weights": "w"}),
    ("y ~ center(a) + standardize(long) + scale(`one two`)", {}),
    ("y ~ log(1 + count) + I(a * half) + exp(a)", {}),
    ("y ~ a + offset(half) + offset(log1p(count))", {}),
    ("y ~ a ** 2 + (a + half) ** 2", {}),
    ("y ~ I(a ** 2) + late", {"reference": ("late=m",)}),
    ("y + flag ~ a", {}),
    ("digits ~ a", {"filter": "digits != '10'"}),
    ("count ~ a", {"filter": "count in [3, 4] and not isna(gaps)"}),
    ("y ~ a", {"filter": "late == 'late' or a > 0", "weights": "w"}),
    ("y ~ a", {"sample_names": False}),
    ("none ~ 1", {"missing": "drop"}),
    ("text ~ a", {"missing": "drop"}),
]
REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("y ~ gaps", {}),
    ("y ~ a + I(a - 1)", {}),
    ("y ~ late", {"filter": "late == 'late'"}),
    ("y ~ log(a)", {}),
    ("y ~ a + late", {"reference": ("late=zz",)}),
    ("y ~ a + 1 |", {}),
    ("digits ~ a", {}),
    ("y ~ a + offset(1000 * half)", {}),
    ("y ~ a", {"weights": "a"}),
    ("y ~ id", {}),
    ("y ~ a", {"filter": "late > 3"}),
    ("y ~ a", {"filter": "a > 99"}),
]


def check_same(one: Inputs, other: Inputs) -> None:
    assert one.data.terms == other.data.terms and one.data.responses == other.data.responses
    assert one.classes == other.classes and one.dropped == other.dropped and one.sources == other.sources
    assert one.notes == other.notes
    parts = list(other.data.parts())
    for letter in "YXOw":
        found = torch.cat([getattr(part, letter) for part in parts])
        torch.testing.assert_close(found, getattr(one.data, letter), rtol=1e-12, atol=1e-12)
    assert tuple(other.data.samples) == tuple(one.data.samples)
    assert [other.data.samples[i] for i in (0, -1)] == [one.data.samples[i] for i in (0, -1)]
    new = pd.DataFrame(_columns(one))
    if one.design.encoding is not None:
        assert other.design.encoding is not None
        np.testing.assert_allclose(other.design.build(new), one.design.build(new), rtol=1e-12, atol=1e-12)


def _columns(read: Inputs) -> dict[str, Any]:
    """A few rows of new data."""
    assert read.design.encoding is not None or not read.design.columns
    encodings = read.design.encodings
    known = {name: levels for encoding in encodings for name, levels in encoding.columns.items()}
    return {name: [levels[0], levels[-1]] if levels else [1.0, 2.0] for name, levels in known.items()}


@pytest.mark.parametrize(("formula", "more"), SOUND, ids=lambda each: str(each))
def test_the_data_set_is_the_same(table: Path, formula: str, more: dict[str, Any]) -> None:
    whole = loaded(table, "logistic", formula, None, **more)
    assert not isinstance(whole, str), whole
    for rows in (17, 70, 1000):
        blocks = loaded(table, "logistic", formula, rows, **more)
        assert not isinstance(blocks, str), blocks
        check_same(whole, blocks)


@pytest.mark.parametrize(("formula", "more"), REFUSED, ids=lambda each: str(each))
def test_it_is_refused_by_the_same_words(table: Path, formula: str, more: dict[str, Any]) -> None:
    whole, blocks = (loaded(table, "logistic", formula, rows, **more) for rows in (None, 23))
    assert isinstance(whole, str) and isinstance(blocks, str)
    assert blocks.split()[:6] == whole.split()[:6], (whole, blocks)


@pytest.mark.parametrize("formula", ["z ~ a + late", "log(count + 1) + z ~ gaps:late", "long ~ a + offset(half)"])
def test_numbers_are_explained_alike(table: Path, formula: str) -> None:
    reads: list[Callable[[], Inputs | str]] = [
        lambda rows=rows: loaded(table, "linear", formula, rows, missing="drop") for rows in (None, 50)
    ]
    whole, blocks = (read() for read in reads)
    assert not isinstance(whole, str) and not isinstance(blocks, str)
    check_same(whole, blocks)
