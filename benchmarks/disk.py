"""Regressions of a table that memory does not hold: `python -m benchmarks.disk [--quick] [--folder DIR]`.

A Parquet file of 20 000 000 rows × 20 covariates (float64, drawn normal, in row groups of 2^20 rows) with two responses
is written piece by piece, then fitted by the commands, each in a process of its own with one thread: seconds (others
may be at work on the machine), those of the processor, the most memory that the process held (its resident set, as
`/usr/bin/time -v` tells it), and how far the estimates are from what the table was drawn from, in standard errors. The
table goes to benchmarks/results/disk.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import machine

RESULT = Path(__file__).parent / "results" / "disk.md"
ROWS, COVARIATES, GROUP = 20_000_000, 20, 1 << 20
FITS = {
    "logistic": ("logistic", "y"),
    "logistic, hc3": ("logistic", "y", "--se", "hc3"),
    "linear": ("linear", "z"),
}


def truth() -> np.ndarray:
    """The intercept, and coefficients of the covariates."""
    return np.concatenate([[-1.0], np.linspace(-0.5, 0.5, COVARIATES)])


def write(path: Path, rows: int) -> None:
    """The table, a row group at a time."""
    draw, beta, writer = np.random.default_rng(0), truth(), None
    for first in range(0, rows, GROUP):
        n = min(GROUP, rows - first)
        X = draw.normal(size=(n, COVARIATES))
        eta = beta[0] + X @ beta[1:]
        columns = {f"x{k + 1}": X[:, k] for k in range(COVARIATES)}
        columns["y"] = draw.random(n) < 1.0 / (1.0 + np.exp(-eta))
        columns["z"] = eta + draw.normal(size=n)
        table = pa.table(columns)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()


def run(command: list[str]) -> tuple[float, float, float]:
    """Seconds of a command, those of the processor, and the most memory that it held, in GB; it must end with 0."""
    began = time.perf_counter()
    started = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(started.pid, 0)
    started.returncode = os.waitstatus_to_exitcode(status)
    if started.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {started.returncode}.")
    return time.perf_counter() - began, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / 1e9


def fitted(name: str, table: Path) -> dict[str, Any]:
    """A fit, and how it came out."""
    model, response, *more = FITS[name]
    out = table.parent / f"{model}-{len(more)}"
    formula = f"{response} ~ " + " + ".join(f"x{k + 1}" for k in range(COVARIATES))
    command = [sys.executable, "-m", "plncli", "fit", model, "--covariates", str(table), "--no-sample-names"]
    command += ["--formula", formula, "--out", str(out), "--overwrite", "-q", *more]
    seconds, processor, memory = run(command)
    summary = json.loads((out / "summary.json").read_text())
    found = pd.read_csv(out / "coefficients.csv")
    off = (found["estimate"].to_numpy() - truth()) / found["std_error"].to_numpy()
    known = {"seconds": seconds, "processor": processor, "memory": memory, "summary": summary}
    return {**known, "off": float(np.abs(off).max())}


def main() -> int:
    """Write the table, fit, and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a hundredth of the rows, which would stay in memory")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--folder", type=Path, help="where the table is kept; a folder that is removed, else")
    parser.add_argument("--only", choices=FITS, action="append")
    parser.add_argument("--out", type=Path, default=RESULT)
    settings = parser.parse_args()
    rows = settings.rows // 100 if settings.quick else settings.rows
    with tempfile.TemporaryDirectory() as temporary:
        folder = settings.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        table = folder / f"table-{rows}.parquet"
        if not table.exists():
            write(table, rows)
        told = [
            "# Regressions of a table that memory does not hold",
            "",
            f"`python -m benchmarks.disk`: {rows} rows × {COVARIATES} covariates of float64 in Parquet "
            f"({table.stat().st_size / 1e9:.2f} GB; {rows * COVARIATES * 8 / 1e9:.1f} GB in memory), one thread and "
            f"another that reads. Memory is the largest resident set of the process. {machine.describe()}.",
            "",
            "| fit | status | gap, nats | steps | seconds | of the processor | memory, GB | largest error, in SE |",
            "|---|---|---|---|---|---|---|---|",
        ]
        for name in settings.only or FITS:
            row = fitted(name, table)
            summary = row["summary"]
            told.append(
                f"| {name} | {summary['status']} | {summary['gap']:.2g} | {summary['steps']} | "
                f"{row['seconds']:.0f} | {row['processor']:.0f} | {row['memory']:.2f} | {row['off']:.2f} |"
            )
            print(told[-1], flush=True)
    settings.out.write_text("\n".join(told) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
