"""Simulate the logistic, linear and study sample tables: `python simulate.py [FOLDER]`.

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

STUDY_SEED, STUDY_FEATURES, STUDY_GROUP = 72, 60, 24
TREATMENTS = ("control", "antibiotic", "probiotic")
BLOOM, LOWERED, RAISED = 1, range(10, 22), range(30, 34)
"""Numbers of the features that antibiotics multiply by e^5, divide by e^1.5, and that probiotics multiply by e^1.2."""


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


def study() -> tuple[list[list[str]], list[list[object]]]:
    """The metadata and the counts (a row a sample, below a header) of stool samples under three treatments.

    A feature's counts are Poisson, log-normal between samples with standard deviation 0.7, and follow the sequencing
    depth of the sample, which varies 20-fold. Age matters to none.
    """
    rng = random.Random(STUDY_SEED)
    level = [rng.gauss(0, 1.6) for _ in range(STUDY_FEATURES)]
    level[BLOOM - 1] = 1.0
    metadata = [["sample-id", "treatment", "age", "run"], ["#q2:types", "categorical", "numeric", "categorical"]]
    counts: list[list[object]] = [["sample", *(f"asv{j + 1:02}" for j in range(STUDY_FEATURES))]]
    for i in range(STUDY_GROUP * len(TREATMENTS)):
        name, treatment = f"S{i + 1:02}", TREATMENTS[i % len(TREATMENTS)]
        metadata.append([name, treatment, str(rng.randint(21, 70)), str(1 + i // (STUDY_GROUP * 3 // 2))])
        depth = math.exp(rng.uniform(math.log(1000), math.log(20000)))
        row = []
        for j, mean in enumerate(level, start=1):
            effect = 0.0
            if treatment == "antibiotic":
                effect = 5.0 if j == BLOOM else -1.5 if j in LOWERED else 0.0
            elif treatment == "probiotic":
                effect = 1.2 if j in RAISED else 0.0
            row.append(_poisson(rng, depth / 300 * math.exp(mean + effect + rng.gauss(0, 0.7))))
        counts.append([name, *row])
    return metadata, counts


def _poisson(rng: random.Random, mean: float) -> int:
    """Arrivals within a unit of time at that rate; far from 0, in steps that a product of uniforms can take."""
    count = 0
    while mean > 0:
        step, mean = min(mean, 500.0), mean - 500.0
        limit, product = math.exp(-step), rng.random()
        while product > limit:
            count, product = count + 1, product * rng.random()
    return count


def _dot(x: list[float], b: tuple[float, ...]) -> float:
    return sum(a * c for a, c in zip(x, b, strict=True))


def write(folder: Path) -> None:
    """Write the tables below `folder`, but for `study/table.qza`, whose counts are those of `study()`."""
    for name, rows in (("logistic/patients.csv", patients()), ("linear/plots.csv", plots())):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with (folder / name).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)
    (folder / "study").mkdir(exist_ok=True)
    lines = ["\t".join(row) for row in study()[0]]
    (folder / "study/metadata.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
