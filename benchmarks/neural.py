"""What `--hidden` is worth: how well new samples are predicted with a network and with a line, by simulation.

    python -m benchmarks.neural                                                the whole grid
    python -m benchmarks.neural --n 200 --seeds 1 --hidden 16 --name part

Each table has three covariates, uniform on (−2, 2), and four responses whose mean moves up or down with a sine of the
first, the product of the first two, or a line; 2000 new samples tell the log-likelihood (of `pln`: its bound), in nats
a sample. Writes benchmarks/results/NAME.md, a row a model, truth and number of samples: means over seeds, which are
those of the table, of the weights at the start and of the samples held out. seconds: CPU time of one thread, a fit.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from plncli import optim
from plncli.dataset import Dataset
from plncli.fitting import fit
from plncli.models import MODELS
from plncli.models.abilities import Scoring

RESULTS = Path(__file__).parent / "results"
NAMES = ("pln", "logistic", "linear")
TRUTHS = ("sine", "product", "line")
SIZES = (200, 1000)
RESPONSES, NEW = 4, 2000


class Found(NamedTuple):
    """Of one fit: nats a new sample, r2 by the deviances of new samples, and seconds."""

    score: float
    deviance: float
    seconds: float


def truth(kind: str, x: Tensor) -> Tensor:
    """(n,) the mean that a response follows."""
    if kind == "sine":
        return torch.sin(2.0 * x[:, 0])
    return 0.6 * x[:, 0] * x[:, 1] if kind == "product" else 0.5 * x[:, 0] - 0.3 * x[:, 1]


def drawn(name: str, kind: str, n: int, generator: torch.Generator) -> Dataset:
    """n samples of a model."""
    x = 4.0 * torch.rand(n, 3, generator=generator, dtype=torch.float64) - 2.0
    f = truth(kind, x)[:, None] * torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=torch.float64)
    noise = torch.randn(n, RESPONSES, generator=generator, dtype=torch.float64)
    if name == "pln":
        Y = torch.poisson((1.0 + f + 0.4 * noise).exp(), generator=generator)
    elif name == "logistic":
        Y = (torch.rand(n, RESPONSES, generator=generator, dtype=torch.float64) < torch.sigmoid(2.0 * f)).double()
    else:
        Y = f + 0.5 * noise
    X = torch.cat([torch.ones(n, 1, dtype=torch.float64), x], 1)
    return Dataset(Y, X, torch.zeros_like(X[:, :1]), torch.ones_like(X[:, 0]), terms=("Intercept", "a", "b", "c"))


def measured(name: str, hidden: str, data: Dataset, new: Dataset, seed: int) -> Found:
    """One fit, judged by new samples."""
    spec = MODELS[name]
    own: dict[str, Any] = {setting.name: setting.default for setting in spec.settings} | {"hidden": hidden}
    model = spec.load_model().of({**own, "seed": seed}, {})
    began = time.process_time()
    result = fit(model, data, optim.build((spec.optimizers(own) or ("newton-cg",))[0]))
    seconds = time.process_time() - began
    if not result.done:
        raise SystemExit(f"{name} --hidden {hidden}: {result.optimum.status.sentence}")
    fitted = result.fitted
    assert isinstance(fitted, Scoring)
    score = fitted.score_samples(new.X, new.O, new.Y, torch.ones_like(new.Y, dtype=torch.bool))
    return Found(float(score.loglik.mean()), float(score.deviance.mean()), seconds)


def rows(sizes: Sequence[int], seeds: int, hidden: Sequence[str]) -> list[list[str]]:
    """The table: a row a model, truth and size."""
    made = []
    for name in NAMES:
        for kind in TRUTHS:
            for n in sizes:
                found: dict[str, list[Found]] = {"none": [], **{widths: [] for widths in hidden}}
                for seed in range(seeds):
                    generator = torch.Generator().manual_seed(1000 * n + seed)
                    data, new = (drawn(name, kind, many, generator) for many in (n, NEW))
                    for widths, done in found.items():
                        done.append(measured(name, widths, data, new, seed))
                made.append([name, kind, str(n), *_cells(found)])
                print(" | ".join(made[-1]), flush=True)
    return made


def _cells(found: dict[str, list[Found]]) -> list[str]:
    line = found["none"]
    cells = [f"{_mean([one.score for one in line]):.3f}"]
    for widths, done in found.items():
        if widths == "none":
            continue
        gains = [one.score - other.score for one, other in zip(done, line, strict=True)]
        saved = _mean([one.deviance for one in done]) / _mean([one.deviance for one in line])
        cells += [f"{_mean(gains):+.3f} ({min(gains):+.3f} to {max(gains):+.3f})", f"{100.0 * (saved - 1.0):+.0f} %"]
        cells.append(f"{_mean([one.seconds for one in done]):.1f}")
    return cells


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, nargs="*", default=list(SIZES))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--hidden", nargs="*", default=["16", "32,32"])
    parser.add_argument("--name", default="neural")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    made = rows(asked.n, asked.seeds, asked.hidden)
    header = ["model", "truth", "n", "linear"]
    for widths in asked.hidden:
        header += [f"`--hidden {widths}`", "deviance", "seconds"]
    text = [
        "# A neural and a linear mean",
        "",
        f"Log-likelihood of {NEW} new samples, nats each (pln: its bound): of a linear mean, and what a network gains, "
        f"mean over {asked.seeds} seeds, and least and greatest; change of the deviance of new samples; one thread.",
        "",
        f"| {' | '.join(header)} |",
        f"|{'---|' * len(header)}",
        *(f"| {' | '.join(row)} |" for row in made),
    ]
    (RESULTS / f"{asked.name}.md").write_text("\n".join(text) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
