"""Simulate the logistic and linear sample tables: `python simulate.py [FOLDER]`.

Standard library only, since its generator gives the same numbers in every version of Python.
"""

from __future__ import annotations

import csv
import math
import random
import sys
from collections.abc import Iterator
from pathlib import Path

SAMPLES = 100
LOGISTIC_SEED, LOGISTIC_TRUTH = 1584, (1.79, -1.04, -0.97)
LINEAR_SEED, LINEAR_INTERCEPT, LINEAR_SD = 2, 3.0, 0.5
LINEAR_TRUTH = (1.5, -2.0, 0.0, 0.8, 0.0, -0.5, 1.0, 0.0, 0.3, -1.2)


def patients() -> Iterator[list[object]]:
    """Case or control by three standard normal markers, without intercept: P(case) = 1 / (1 + exp(-x'b))."""
    rng = random.Random(LOGISTIC_SEED)
    yield ["sample", "case", "marker1", "marker2", "marker3"]
    for i in range(SAMPLES):
        x = [round(rng.gauss(0, 1), 4) for _ in LOGISTIC_TRUTH]
        probability = 1 / (1 + math.exp(-_dot(x, LOGISTIC_TRUTH)))
        yield [f"patient{i + 1:03}", int(rng.random() < probability), *x]


def plots() -> Iterator[list[object]]:
    """A harvest that is linear in ten standard normal soil measurements, three of which do not matter."""
    rng = random.Random(LINEAR_SEED)
    yield ["sample", "harvest", *(f"soil{j + 1}" for j in range(len(LINEAR_TRUTH)))]
    for i in range(SAMPLES):
        x = [round(rng.gauss(0, 1), 4) for _ in LINEAR_TRUTH]
        y = LINEAR_INTERCEPT + _dot(x, LINEAR_TRUTH) + rng.gauss(0, LINEAR_SD)
        yield [f"plot{i + 1:03}", round(y, 4), *x]


def _dot(x: list[float], b: tuple[float, ...]) -> float:
    return sum(a * c for a, c in zip(x, b, strict=True))


def write(folder: Path) -> None:
    """Write both tables below `folder`."""
    for name, rows in (("logistic/patients.csv", patients()), ("linear/plots.csv", plots())):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with (folder / name).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
