"""What sharing the samples among processes costs: two processes of one thread each against one.

    python -m benchmarks.ranks                       pln 4000 × 200 and pln-pca 20000 × 300 of rank 5
    python -m benchmarks.ranks --repeats 1 --name part

Simulated counts of three latent factors, no covariates. One process and two take turns, so that what else the machine
does falls on both; of each the fastest counts. Each has fitted a small table by itself before. Wall: seconds of the
fit, without start, reading and writing; with two processes at best half. CPU: seconds of all processes together; what
two take more than one is exchanges and what each does for itself. Processes that wait for each other sleep. Efficiency:
wall of one over twice that of two. On a machine without two free cores it says nothing, and CPU seconds of one over
those of two are what it would come to there, but for the waits.
Writes benchmarks/results/NAME.md.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

RESULTS = Path(__file__).parent / "results"
TABLES = {"pln": (4000, 200), "pln-pca": (20000, 300)}
RANK, FACTORS = 5, 3


class Measured(NamedTuple):
    """Of a fit: seconds by the clock, CPU seconds of all processes, nats, steps and Hessian products."""

    wall: float
    cpu: float
    value: float
    steps: int
    products: int


def worker(model: str, n: int, p: int) -> None:
    """Fit the samples of this process, and tell what it took, as JSON."""
    import torch

    from plncli import ranks
    from plncli.dataset import Dataset
    from plncli.fitting import fit
    from plncli.models import MODELS

    torch.set_num_threads(1)
    group = ranks.start(torch.device("cpu"), "gloo")
    number, own = (1, 0) if group is None else (group.number, group.own)
    g = torch.Generator().manual_seed(1)
    loadings = 0.5 * torch.randn(FACTORS, p, generator=g).double()
    Z = 1.0 + torch.randn(n, FACTORS, generator=g).double() @ loadings
    Y = torch.poisson((Z + 0.3 * torch.randn(n, p, generator=g).double()).exp(), generator=g)
    rows = slice(n * own // number, n * (own + 1) // number)
    here = len(Y[rows])
    ones, zeros = torch.ones(here, 1).double(), torch.zeros(here, 1).double()
    data = Dataset(Y=Y[rows].clone(), X=ones, O=zeros, w=ones[:, 0])
    made = MODELS[model].load_model()
    small = Dataset(Y=data.Y[:100, :10], X=ones[:100], O=zeros[:100], w=ones[:100, 0])
    fit(made(rank=2) if model == "pln-pca" else made(), small)  # what torch loads when it is first asked
    with ranks.together():
        began, cpu = time.perf_counter(), time.process_time()
        found = fit(made(rank=RANK) if model == "pln-pca" else made(), data).optimum
        took = Measured(time.perf_counter() - began, time.process_time() - cpu, *found_of(found))
    print(json.dumps(took))


def found_of(optimum: object) -> tuple[float, int, int]:
    """What tells that two fits were the same."""
    return optimum.value, optimum.steps, optimum.products  # type: ignore[attr-defined]


def measured(model: str, n: int, p: int, number: int) -> Measured:
    """A fit by that many processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    place = {"WORLD_SIZE": str(number), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "benchmarks.ranks", "--worker", model, str(n), str(p)]
    processes = [
        subprocess.Popen(command, env={**os.environ, **place, "RANK": str(rank)}, stdout=subprocess.PIPE)
        for rank in range(number)
    ]
    told = [Measured(*json.loads(process.communicate()[0])) for process in processes]
    found = told[0]._replace(wall=max(each.wall for each in told), cpu=sum(each.cpu for each in told))
    print(model, number, found, file=sys.stderr, flush=True)
    return found


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--name", default="ranks")
    parser.add_argument("--only", choices=TABLES)
    parser.add_argument("--share", type=int, default=1, help="one in so many of the samples")
    parser.add_argument("--worker", nargs=3)
    given = parser.parse_args()
    if given.worker:
        worker(given.worker[0], int(given.worker[1]), int(given.worker[2]))
        return
    lines = [
        "| model | table | processes | steps | products | wall, s | CPU, s | efficiency | CPU of one / of two |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    load = os.getloadavg()[0]
    for model, (n, p) in TABLES.items():
        if given.only not in (None, model):
            continue
        n //= given.share
        turns = [[measured(model, n, p, number) for number in (1, 2)] for _ in range(given.repeats)]
        one, two = (min(each) for each in zip(*turns, strict=True))
        cpu = [min(each.cpu for each in of) for of in zip(*turns, strict=True)]
        for number, best, seconds in ((1, one, cpu[0]), (2, two, cpu[1])):
            end = f"{one.wall / (2.0 * two.wall):.2f} | {cpu[0] / cpu[1]:.2f}" if number == 2 else "| "
            row = f"| {model} | {n} × {p} | {number} | {best.steps} | {best.products} "
            lines.append(f"{row}| {best.wall:.1f} | {seconds:.1f} | {end} |")
        print("\n".join(lines[-2:]), flush=True)
    lines += ["", f"{os.cpu_count()} cores; load when it began: {load:.1f}; fastest of {given.repeats} turns."]
    (RESULTS / f"{given.name}.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
