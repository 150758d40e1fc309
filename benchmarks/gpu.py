"""plncli on a GPU: `python -m benchmarks.gpu [--device cuda] [--quick] [--seconds 480]`, which needs torch alone.

First every model by every optimizer that suits it, on the device against the processor; then how often a fit waits for
the device; then times and peak memory of large fits, simulated on the device. What the seconds do not allow is left
out, and said. The table is written to benchmarks/results/gpu.md; the exit code is 1 where the device disagrees.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks import machine
from plncli.dataset import Dataset
from plncli.fitting import fit
from plncli.models import MODELS
from plncli.optim import OPTIMIZERS, build
from plncli.optim.base import StopRule
from plncli.sparse import csr

RESULT = Path(__file__).parent / "results" / "gpu.md"
NATS = {"float64": 1e-6, "float32": 1e-2}
"""How far log-likelihoods may be apart, relative to the number of samples."""
STOCHASTIC = ("sgd", "rmsprop", "adagrad", "adamax", "nadam", "radam", "adam", "rprop")
"""Optimizers that need not end at the optimum: there the gap that they tell may lie between the two."""
N, P = 60, 5


# The device against the processor


def small(kind: str, groups: bool) -> Dataset:
    """A table of a kind of response, with an intercept (or two groups) and a covariate."""
    g = torch.Generator().manual_seed(0)
    X = torch.cat([torch.ones(N, 1), torch.randn(N, 1, generator=g)], 1).double()
    B = torch.cat([torch.full((1, P), 1.0), 0.4 * torch.randn(1, P, generator=g)]).double()
    O = 0.2 * torch.randn(N, 1, generator=g).double()
    eta = O + X @ B + 0.7 * torch.randn(N, 2, generator=g).double() @ torch.randn(2, P, generator=g).double()
    if kind == "counts":
        Y = torch.poisson(eta.exp(), generator=g)
    elif kind == "classes":
        Y = (torch.rand(N, P, generator=g).double() < torch.sigmoid(0.5 * eta)).double()
    else:
        Y = eta + torch.randn(N, P, generator=g).double()
    if groups:
        one = (torch.arange(N) % 2 == 0).double()
        return Dataset(Y, torch.stack([one, 1.0 - one, X[:, 1]], 1), O, torch.ones(N).double(), terms=("a", "b", "x"))
    return Dataset(Y, X, O, torch.ones(N).double(), terms=("Intercept", "x"))


VARIANTS: dict[str, list[dict[str, Any]]] = {
    "pln": [{}, {"covariance": "diagonal"}, {"covariance": "spherical"}, {"zero_inflation": "feature"}],
    "pln-pca": [{"rank": 2}, {"rank": 2, "block_rows": 16}],
    "pln-network": [{"penalty": 20.0}],
    "pln-mixture": [{"clusters": 2}],
}
"""Settings, by model, with which each is tried; of the others, the defaults."""


def cases() -> Iterator[tuple[str, dict[str, Any], str]]:
    """A model, its settings, and an optimizer."""
    for name, spec in MODELS.items():
        for own in VARIANTS.get(name, [{}]):
            suited = spec.optimizers({setting.name: setting.default for setting in spec.settings} | own) or OPTIMIZERS
            for optimizer in suited:
                if optimizer != "vem" or (spec.alternating and "zero_inflation" not in own):
                    yield name, own, optimizer


def disagreement(name: str, own: dict[str, Any], optimizer: str, device: str, dtype: torch.dtype) -> tuple[float, str]:
    """Nats a sample between fits on the device and on the processor beyond their gaps, and how the first ended."""
    spec = MODELS[name]
    settings = {setting.name: setting.default for setting in spec.settings} | own
    grouping = next((setting.name for setting in spec.settings if setting.grouping == "column"), "")
    model = spec.load_model().of(settings | ({grouping: "g"} if grouping else {}), {})
    data = small(spec.response.name, bool(grouping)).to(dtype=dtype)
    stop = StopRule(max_iter=300 if optimizer in STOCHASTIC else None, time_limit=60)
    here, there = (fit(model, one, build(optimizer), stop) for one in (data, data.to(device)))
    apart = abs(here.criteria.loglik - there.criteria.loglik)
    gaps = [result.optimum.gap for result in (here, there)]
    allowed = sum(gap if gap == gap else 1.0 for gap in gaps)  # nan: it was not known
    return max(apart - allowed, 0.0) / data.n, there.optimum.status.name.lower()


def agreement(device: str, quick: bool, left: Callable[[], float]) -> tuple[list[str], int]:
    """Lines of the table, and how many cases disagree."""
    lines, bad, tried = [], 0, Counter[str]()
    dtypes = ("float64",) if quick or device == "cpu" else ("float64", "float32")
    for name, own, optimizer in cases():
        if quick and optimizer not in ("newton-cg", "lbfgs", "vem"):
            continue
        for dtype in dtypes:
            if left() < 0:
                tried["left out"] += 1
                continue
            apart, status = disagreement(name, own, optimizer, device, getattr(torch, dtype))
            tried["tried"] += 1
            if not apart <= NATS[dtype]:
                bad += 1
                told = ", ".join(f"{key} {value}" for key, value in own.items())
                lines.append(f"- {name} {told} by {optimizer} in {dtype}: {apart:.2g} nats a sample apart ({status})")
    known = f"{tried['tried']} fits on the device and on the processor: {bad} disagree."
    return [known + (f" {tried['left out']} left out for want of time." if tried["left out"] else ""), *lines], bad


# How often the host waits


class Waits(TorchDispatchMode):
    """Counts numbers that the host reads, and tables that go from one device to another."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = self.copies = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Each operation of torch."""
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        self.reads += name == "_local_scalar_dense"
        tensors = [each for each in (*args, out) if isinstance(each, Tensor)]
        moved = len({each.device.type for each in tensors}) > 1
        self.copies += moved and name in ("_to_copy", "copy_")
        return out


def waits(name: str, own: dict[str, Any], device: str) -> str:
    """What a fit by Newton-CG reads and copies, a Hessian product."""
    spec = MODELS[name]
    model = spec.load_model().of({setting.name: setting.default for setting in spec.settings} | own, {})
    data = small(spec.response.name, False).to(device)
    with Waits() as counted:
        result = fit(model, data, stop=StopRule(max_iter=8))
    products = max(result.optimum.products, 1)
    return f"| {name} | {products} | {counted.reads / products:.1f} | {counted.copies / products:.2f} |"  # table row


# Large fits


@dataclass(frozen=True)
class Large:
    """A fit of simulated counts: n samples × p features, of a model; share: of counts above 0, about, None for many."""

    model: str
    n: int
    p: int
    own: dict[str, Any]
    share: float | None = None

    def drawn(self, device: str) -> Dataset:
        """Counts of the model, made on the device, a block of samples at a time; sparse where most are 0."""
        g = torch.Generator(device=device).manual_seed(1)
        q, rows = 10, max(1, (1 << 25) // self.p)
        like = {"generator": g, "device": device, "dtype": torch.float64}
        level = torch.randn(self.p, **like) + (1.0 if self.share is None else torch.tensor(self.share).log().item())
        C = torch.randn((self.p, q), **like) * (0.4 / q**0.5)
        parts = []
        for begin in range(0, self.n, rows):
            b = min(rows, self.n - begin)
            Y = torch.poisson((level + torch.randn((b, q), **like) @ C.mT).exp(), generator=g)
            Y[0] += 1.0  # no feature is without counts
            parts.append(Y if self.share is None else _without_zeros(Y))
        ones = torch.ones(self.n, dtype=torch.float64, device=device)
        if self.share is None:
            Y = torch.cat(parts)
        else:
            sizes, columns, values = (torch.cat(each) for each in zip(*parts, strict=True))
            indptr = torch.zeros(self.n + 1, dtype=torch.int64, device=device)
            indptr[1:] = sizes.cumsum(0)
            Y = csr(indptr, columns, values, self.p)
        return Dataset(Y, ones[:, None], torch.zeros_like(ones)[:, None], ones)

    def timed(self, device: str, seconds: float) -> str:
        """A row of the table."""
        spec = MODELS[self.model]
        model = spec.load_model().of({setting.name: setting.default for setting in spec.settings} | self.own, {})
        data = self.drawn(device)
        if device == "cuda":
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        began = time.perf_counter()
        result = fit(model, data, stop=StopRule(time_limit=seconds))
        if device == "cuda":
            torch.cuda.synchronize()
        took = time.perf_counter() - began
        peak = torch.cuda.max_memory_allocated() / 1e9 if device == "cuda" else machine.peak_mb() / 1e3
        told = ", ".join(f"{key} {value}" for key, value in self.own.items())
        optimum = result.optimum
        table = f"{self.n} × {self.p}{' sparse' if data.sparse else ''}"
        return (
            f"| {self.model} {told} | {table} | {took:.1f} | {optimum.steps} "
            f"| {optimum.products} | {optimum.gap:.2g} | {optimum.status.name.lower()} | {peak:.1f} |"
        )


def _without_zeros(Y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of a block, how many counts above 0 each row has, their columns, and them."""
    rows, columns = Y.nonzero(as_tuple=True)
    return (Y != 0).sum(1), columns.int(), Y[rows, columns]


LARGE = (
    Large("pln", 4000, 500, {}),
    Large("pln", 20_000, 2000, {}),
    Large("pln", 100_000, 2000, {}),
    Large("pln-pca", 1_000_000, 2000, {"rank": 20}, share=0.03),
)
QUICK = (Large("pln", 300, 20, {}), Large("pln-pca", 2000, 40, {"rank": 3, "block_rows": 256}, share=0.03))


def main() -> int:
    """Run it all, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--quick", action="store_true", help="small tables: to see that all of it runs")
    parser.add_argument("--seconds", type=float, default=480.0)
    parser.add_argument("--out", type=Path, default=RESULT)
    settings = parser.parse_args()
    began = time.perf_counter()

    def left() -> float:
        return settings.seconds - (time.perf_counter() - began)

    card = torch.cuda.get_device_name(0) if settings.device == "cuda" else machine.describe()
    told = [f"# On {card}", "", f"torch {torch.__version__}, Python {platform.python_version()}, float64.", ""]

    def say(*lines: str) -> None:
        told.extend(lines)
        print(*lines, sep="\n", flush=True)

    print(*told, sep="\n")
    of_agreement = until(left, 0.4 * settings.seconds)
    lines, bad = agreement(settings.device, settings.quick, of_agreement)
    say("## The device against the processor", "", *lines, "")
    say("## What the host waits for, a Hessian product", "", "| model | products | numbers read | tables copied |")
    say("|---|---|---|---|")
    for name, own in (("pln", {}), ("pln-pca", {"rank": 2}), ("logistic", {})):
        say(waits(name, own, settings.device))
    say("", "## Large tables", "")
    say("| model | table | seconds | steps | products | gap, nats | status | peak memory, GB |", f"|{'---|' * 8}")
    for large in QUICK if settings.quick else LARGE:
        if left() < 20.0:
            say(f"| {large.model} | {large.n} × {large.p} | left out for want of time | | | | | |")
            continue
        try:
            say(large.timed(settings.device, left() - 10.0))
        except torch.OutOfMemoryError:
            say(f"| {large.model} | {large.n} × {large.p} | does not fit into memory | | | | | |")
            torch.cuda.empty_cache()
    settings.out.parent.mkdir(parents=True, exist_ok=True)
    settings.out.write_text("\n".join(told) + "\n", encoding="utf-8")
    return 1 if bad else 0


def until(left: Callable[[], float], least: float) -> Callable[[], float]:
    """What is left until only `least` seconds of the whole are."""
    return lambda: left() - least


if __name__ == "__main__":
    sys.exit(main())
