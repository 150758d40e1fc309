"""A notebook that runs: tables and pictures in it, notes in no red box."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

CELLS = """
import pandas as pd
from plncli import Dataset, fit
names = ("counts", "covariates", "exposure")
counts, covariates, exposure = (pd.read_csv(f"{folder}/{name}.csv", index_col=0) for name in names)
kept = counts.sum().nlargest(5).index
data = Dataset(counts=counts[kept], exposure=exposure[kept], covariates=covariates.iloc[2:], formula="~ tree")
result = fit("pln", data)
---
result
---
result.plot("coefficients")
---
result.compare(fit("pln", Dataset(counts=counts[kept], exposure=exposure[kept], covariates=covariates.iloc[2:])))
---
result.report(diagnose=False)
---
fit("pln", Dataset(counts=counts[kept], exposure=exposure[kept]), max_iter=1, se="none")
"""


@pytest.mark.slow  # starts a kernel, which takes seconds
def test_a_notebook_shows_results(oaks: Any, tmp_path: Path) -> None:
    folder = str(Path(oaks.counts).parent)
    cells = [nbformat.v4.new_code_cell(cell) for cell in (f"folder = {folder!r}\n" + CELLS).split("---\n")]
    book = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(book, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    told = [[(one.get("name", ""), set(one.get("data", ()))) for one in cell.outputs] for cell in book.cells]
    assert {name for name, _ in told[0]} == {"stdout"}
    assert "note: 2 samples of `counts` not in `covariates`" in "".join(one["text"] for one in book.cells[0].outputs)
    assert told[1] == [("", {"text/html", "text/plain"})]
    assert told[2][-1] == ("", {"image/png", "text/plain"})
    assert all(one[-1] == ("", {"text/html", "text/plain"}) for one in told[3:])
    assert book.cells[4].outputs[-1]["data"]["text/html"].startswith("<iframe")
    assert "stderr" in {name for name, _ in told[5]}  # not converged, which is harm
    assert "stderr" not in {name for cell in told[:5] for name, _ in cell}
