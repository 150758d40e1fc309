"""How a pass of low rank over a large sparse table grows: `python -m benchmarks.atlas [--quick]`.

Each size runs in a process of its own with one thread: the bound and its gradient, and one Hessian product, at a fixed
point. What is told is the time of the processor, which others on the machine change little; slopes are those of its
logarithm against that of the number of samples, or of features. The table goes to benchmarks/results/atlas.md.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks import machine
from benchmarks.gpu import Large
from plncli.models.pca.model import PCA
from plncli.models.pca.profile import evaluated
from plncli.models.pca.starting.start import of_log_counts

RESULT = Path(__file__).parent / "results" / "atlas.md"
RANK, SHARE = 10, 0.03
PARTS = ("bound", "gradient", "product")
SAMPLES, FEATURES = (50_000, 100_000, 200_000, 400_000), (500, 1000, 2000, 4000)


def one(n: int, p: int) -> dict[str, float]:
    """Seconds of the processor for each part, and GB at the peak."""
    torch.set_num_threads(1)
    data = Large("pln-pca", n, p, {"rank": RANK}, share=SHARE).drawn("cpu")
    prepared = PCA(RANK).prepare(data)
    theta = of_log_counts(prepared.table)
    v = torch.randn(theta.shape, generator=torch.Generator().manual_seed(0), dtype=theta.dtype)
    parts = {}

    def timed(name: str, begun: float) -> float:
        parts[name] = time.process_time() - begun
        return time.process_time()

    begun = time.process_time()
    at = evaluated(theta, prepared.table)
    begun = timed("bound", begun)
    at.gradient()
    begun = timed("gradient", begun)
    at.product(v)
    timed("product", begun)
    stored = float(len(data.Y.values())) / (n * p)
    return {**parts, "peak": machine.peak_mb() / 1e3, "above_0": stored}


def slope(sizes: Sequence[int], seconds: Sequence[float]) -> float:
    """Of the logarithms, by least squares."""
    x, y = ([math.log(each) for each in values] for values in (sizes, seconds))
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    return sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / sum((a - mean_x) ** 2 for a in x)


def main() -> int:
    """Run each size, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a hundredth of the samples")
    parser.add_argument("--one", nargs=2, type=int, metavar=("N", "P"), help="one size, as JSON")
    parser.add_argument("--out", type=Path, default=RESULT)
    settings = parser.parse_args()
    if settings.one:
        print(json.dumps(one(*settings.one)))
        return 0
    least = 100 if settings.quick else 1
    told = [
        "# Passes over a large sparse table",
        "",
        f"`python -m benchmarks.atlas`: pln-pca of rank {RANK} in blocks of rows, float64, one thread; seconds of the "
        f"processor. {machine.describe()}, torch {torch.__version__}.",
        "",
        "| samples × features | above 0 | bound | gradient | product | peak memory, GB |",
        "|---|---|---|---|---|---|",
    ]
    slopes = []
    for name, sizes in (
        ("samples", [(n // least, FEATURES[0]) for n in SAMPLES]),
        ("features", [(SAMPLES[0] // least, p) for p in FEATURES]),
    ):
        found = []
        for n, p in sizes:
            command = [sys.executable, "-m", "benchmarks.atlas", "--one", str(n), str(p)]
            row = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            found.append(row)
            cells = " | ".join(f"{row[part]:.2f}" for part in (*PARTS, "peak"))
            told.append(f"| {n} × {p} | {100 * row['above_0']:.1f} % | {cells} |")
            print(told[-1], flush=True)
        grown = [size[name == "features"] for size in sizes]
        each = [f"{part} {slope(grown, [row[part] for row in found]):.2f}" for part in PARTS]
        slopes.append(f"{name}: {', '.join(each)}")
    told += ["", "Slopes of log time against log size, of " + "; of ".join(slopes) + "."]
    print(told[-1])
    settings.out.write_text("\n".join(told) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
