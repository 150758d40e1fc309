"""What the CPU time of fits is made of: products of matrices, exponentials, and everything else.

    python -m benchmarks.arithmetic            microcosm and single-cell, on one thread

Every operation of torch is timed (CPU seconds) in a second fit of the same table; what that itself costs is the
difference between the two fits, and left out. The peak is that of a product of two matrices 1500 × 1500, taken before
each. Writes benchmarks/results/arithmetic.md. The tables come with pyPLNmodels, which must be installed.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks import machine, problems
from plncli.dataset import Dataset
from plncli.fitting import fit
from plncli.models.pln.model import PLN

RESULTS = Path(__file__).parent / "results"
FACTORS = {"mm": 0, "bmm": 0, "addmm": 1, "addmm_": 1}
"""Products of matrices, and which of their arguments the first factor is."""
HEADER = "| problem | n × p | products | s | in products of matrices | of their peak | in exponentials | in the rest |"


class Timed(TorchDispatchMode):
    """CPU seconds by operation, and multiplications and additions in products of matrices."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.operations = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        began = time.process_time()
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        self.seconds[name] += time.process_time() - began
        if name in FACTORS:
            first, second = args[FACTORS[name] : FACTORS[name] + 2]
            self.operations += 2.0 * first.numel() * second.shape[-1]
        return out


def peak() -> float:
    """Multiplications and additions a second in a product of large matrices."""
    A = torch.randn(1500, 1500, dtype=torch.float64)
    _ = A @ A
    began = time.process_time()
    _ = A @ A @ A
    return 4.0 * 1500**3 / (time.process_time() - began)


def row(name: str) -> str:
    """A problem's line."""
    problem = problems.load(name)
    tables = (torch.tensor(table) for table in (problem.Y, problem.X, problem.O))
    data = Dataset(*tables, w=torch.ones(problem.n, dtype=torch.float64))
    most = peak()
    began = time.process_time()
    found = fit(PLN(), data).optimum
    took = time.process_time() - began
    with Timed() as timed:
        fit(PLN(), data)
    products = sum(timed.seconds[name] for name in FACTORS)
    exponentials = sum(seconds for name, seconds in timed.seconds.items() if name.startswith("exp"))
    shares = products / took, timed.operations / products / most, exponentials / took
    cells = f"{problem.n} × {problem.p}", found.products, f"{took:.2f}", *(f"{100 * share:.0f} %" for share in shares)
    rest = 1.0 - (products + exponentials) / took
    return "| " + " | ".join(map(str, (name, *cells, f"{100 * rest:.0f} %"))) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.arithmetic", description=__doc__)
    parser.add_argument("problems", nargs="*", default=["microcosm", "single-cell"])
    given = parser.parse_args()
    torch.set_num_threads(1)
    lines = [HEADER, "|" + "---|" * 8, *map(row, given.problems)]
    text = f"Where CPU seconds of fits go, on one thread. {machine.describe()}.\n\n" + "\n".join(lines) + "\n"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "arithmetic.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
