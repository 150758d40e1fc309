"""Tables at the edge of what can be fitted: each ends certified, honestly short of it, or refused in a sentence."""

from __future__ import annotations

import csv
import json
import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import tries
from tables import dataset, pln_table
from torch import Tensor

from plncli.dataset import Dataset
from plncli.errors import PlncliError
from plncli.fitting import fit
from plncli.inference.wald import InferenceRule
from plncli.models.base import Model
from plncli.models.beginning import Searching
from plncli.models.mixture.model import Mixture
from plncli.models.network.model import Network
from plncli.models.pca.model import PCA
from plncli.models.pln.model import PLN
from plncli.models.regression.linear import Linear
from plncli.models.regression.logistic import Logistic
from plncli.names import OPTIMIZER_NAMES
from plncli.optim import OPTIMIZERS
from plncli.optim.base import Status, StopRule
from plncli.results import FitResult

F64 = {"dtype": torch.float64}
MODELS: dict[str, Model] = {
    "full": PLN(),
    "diagonal": PLN("diagonal"),
    "spherical": PLN("spherical"),
    "pca": PCA(rank=2),
    "logistic": Logistic(),
    "linear": Linear(),
}
BEYOND = ("all 1e9", "outlier of 1e15", "one sample of weight", "weights of 1e-8 and 1e8")
"""Tables of counts whose mixtures are lost in rounding, or in the weight of one sample."""
ENDINGS = {*Status} - {Status.INTERRUPTED, Status.DEGENERATE}
UNDETERMINED = {"B", "Omega", "M", "Sigma_unbiased", "zeta_all", "zeta_response", "zeta_sample"}
"""Symbols that may hold what is not finite: no finite estimate, no variance left, weights that do not exceed d, logits
of probabilities of 0."""


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), **F64)


def column(*values: float) -> Tensor:
    return torch.tensor(values, **F64)[:, None]


def counts() -> dict[str, Dataset]:
    """Tables of counts."""
    plain = pln_table(20, 4, seed=1)[0]
    Y, X, n = plain.Y, plain.X, plain.n

    def other(**parts: Any) -> Dataset:
        return replace(plain, terms=(), responses=(), **parts)

    def hidden(K: Tensor) -> Dataset:
        return other(Y=Y * K, K=K)

    def put(value: float) -> Tensor:
        changed = Y.clone()
        changed[4, 1] = value
        return changed

    rare = torch.zeros(400, 5)
    rare[[3, 9, 77, 150, 199], range(5)] = 1.0
    in_one_group = Y.clone()
    in_one_group[:10, 1] = 0.0
    small, single = Y[:2].clone(), torch.zeros(n, 4, dtype=torch.bool)
    small[:, (small == 0).all(0)] = 1.0
    single[range(4), range(4)] = True
    equal_rows = torch.cat([Y[:1] + 1.0, torch.full((n - 1, 4), 3.0, **F64)])
    return {
        "p > n": pln_table(5, 12, seed=2)[0],
        "one sample": dataset(torch.tensor([[3.0, 1.0, 7.0]])),
        "one entry": dataset(torch.tensor([[3.0]])),
        "one feature": pln_table(20, 1, seed=3)[0],
        "two samples": dataset(small),
        "two samples, two coefficients": dataset(small, torch.tensor([[1.0, 0.0], [1.0, 1.0]])),
        "as many coefficients as samples": dataset(Y[:3] + 1.0, noise(3, 3)),
        "more coefficients than samples": dataset(Y[:3] + 1.0, noise(3, 5)),
        "all equal": dataset(torch.full((10, 3), 4.0)),
        "rows constant": dataset(torch.arange(1.0, 11.0)[:, None].expand(10, 3).clone()),
        "most rows alike": other(Y=equal_rows),
        "up to 1e9": dataset((1e9 * noise(12, 3).abs()).round()),
        "all 1e9": dataset(torch.full((8, 2), 1e9)),
        "99.75 % zeros": dataset(rare),
        "a single one": dataset(torch.eye(1000)[:, :1]),
        "an empty sample": other(Y=torch.cat([torch.zeros(1, 4, **F64), Y[1:]])),
        "an empty feature": other(Y=Y * (torch.arange(4) != 2)),
        "each feature twice": other(Y=torch.cat([Y, Y], 1)),
        "each feature and its thousandfold": other(Y=torch.cat([Y, 1000.0 * Y], 1)),
        "outlier of 1e9": other(Y=put(1e9)),
        "outlier of 1e15": other(Y=put(1e15)),
        "offsets from -30 to 30": other(O=torch.linspace(-30, 30, n, **F64)[:, None]),
        "offsets of each cell": other(O=torch.linspace(-30, 30, 4 * n, **F64).reshape(n, 4)),
        "offsets of -700": other(O=torch.full((n, 1), -700.0, **F64)),
        "offsets of 700": other(O=torch.full((n, 1), 700.0, **F64)),
        "one offset of 700": other(O=700.0 * torch.eye(n, 1, **F64)),
        **{
            f"covariate times {unit:g}": other(X=X * torch.tensor([1.0, unit], **F64))
            for unit in (1e12, 1e-12, 1e150, 1e-150)
        },
        **{f"covariate plus {far:g}": other(X=X + torch.tensor([0.0, far], **F64)) for far in (1e6, 1e12)},
        "collinear": other(X=torch.cat([X, 2.0 * X[:, 1:] - X[:, :1]], 1)),
        "nearly collinear": other(X=torch.cat([X, X[:, 1:] + 1e-9 * noise(n, 1)], 1)),
        "column of zeros": other(X=torch.cat([X, torch.zeros(n, 1, **F64)], 1)),
        **{f"weights of {w:g}": other(w=plain.w * w) for w in (1e-8, 1e8)},
        "weights of 1e-8 and 1e8": other(w=torch.tensor([1e-8, 1e8], **F64).repeat(n // 2)),
        "one sample of weight": other(w=1e-8 + 1e8 * torch.eye(n, 1, **F64)[:, 0]),
        "nine in ten unobserved": hidden(noise(n, 4, seed=5) > 1.0),
        "an entry a feature observed": hidden(single),
        "nothing observed": hidden(torch.zeros(n, 4, dtype=torch.bool)),
        "a feature unobserved": hidden((torch.arange(4) != 2).expand(n, 4)),
        "separated": other(Y=in_one_group, X=torch.eye(2, **F64).repeat_interleave(10, 0)),
    }


def classes() -> dict[str, Dataset]:
    """Tables of zeros and ones."""
    X = torch.cat([torch.ones(40, 1, **F64), noise(40, 1, seed=5)], 1)
    x = X[:, 1:]
    y = (x + noise(40, 1, seed=1) > 0).double()
    apart = (x > 0).double()
    far = x.clone()
    far[-1] = 1e4
    return {
        "separated": dataset(apart, X),
        "nearly separated": dataset(apart, torch.cat([X[:, :1], (x > 0.5).double()], 1)),
        "separated, among others": dataset(apart, torch.cat([X, noise(40, 3, seed=9)], 1)),
        "one sample": dataset(column(1.0)),
        "two samples": dataset(column(0.0, 1.0)),
        "two samples, two coefficients": dataset(column(0.0, 1.0), torch.tensor([[1.0, 0.0], [1.0, 1.0]])),
        "one class": dataset(torch.ones(10, 1)),
        "one case": dataset(torch.eye(1000)[:, :1]),
        **{f"covariate times {unit:g}": dataset(y, X * torch.tensor([1.0, unit], **F64)) for unit in (1e12, 1e-12)},
        "covariate plus 1e10": dataset(y, X + torch.tensor([0.0, 1e10], **F64)),
        "collinear": dataset(y, torch.cat([X, 2.0 * x], 1)),
        "outlier": dataset(y, torch.cat([X[:, :1], far], 1)),
        "offsets from -700 to 700": dataset(y, X, torch.linspace(-700, 700, 40)[:, None]),
        **{f"weights of {w:g}": dataset(y, X, w=torch.full((40,), w)) for w in (1e-8, 1e8)},
        "weights from 1e-8 to 1e8": dataset(y, X, w=torch.logspace(-8, 8, 40)),
        "each response twice": dataset(torch.cat([y, y], 1), X),
    }


def responses() -> dict[str, Dataset]:
    """Tables of real numbers."""
    X = torch.cat([torch.ones(40, 1, **F64), noise(40, 1, seed=5)], 1)
    x, y = X[:, 1:], noise(40, 2, seed=1)
    return {
        "perfect": dataset(X @ noise(2, 2), X),
        "one response perfect": dataset(torch.cat([y, 2.0 * x + 1.0], 1), X),
        "constant": dataset(torch.full((10, 2), 4.0)),
        "zero": dataset(torch.zeros(10, 1)),
        "one sample": dataset(column(1.0)),
        "two samples": dataset(column(0.0, 1.0)),
        "as many coefficients as samples": dataset(y[:2], X[:2]),
        "p > n": dataset(noise(5, 9), X[:5]),
        **{f"responses times {unit:g}": dataset(unit * y, X) for unit in (1e150, 1e-150, 1e300)},
        "responses of 1e-8 and 1e8": dataset(y * torch.tensor([1e-8, 1e8], **F64), X),
        "responses plus 1e12": dataset(y + 1e12, X),
        **{
            f"covariate times {unit:g}": dataset(y, X * torch.tensor([1.0, unit], **F64))
            for unit in (1e12, 1e-12, 1e150)
        },
        "covariate plus 1e10": dataset(y, X + torch.tensor([0.0, 1e10], **F64)),
        "each response twice": dataset(torch.cat([y, y], 1), X),
        "outlier": dataset(y + 1e12 * torch.eye(40, 2, **F64), X),
        "offsets from -30 to 30": dataset(y, X, torch.linspace(-30, 30, 40)[:, None]),
        **{f"weights of {w:g}": dataset(y, X, w=torch.full((40,), w)) for w in (1e-8, 1e8)},
        "weights from 1e-8 to 1e8": dataset(y, X, w=torch.logspace(-8, 8, 40)),
    }


TABLES: dict[str, Callable[[], dict[str, Dataset]]] = {
    **dict.fromkeys(("full", "diagonal", "spherical", "pca", "network"), counts),
    "logistic": classes,
    "linear": responses,
}


def fitted(model: Model, data: Dataset, optimizer: str, stop: StopRule) -> FitResult | None:
    """The fit, None where it is refused, in a sentence, by one of the program's own errors."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return fit(model, data, OPTIMIZERS[optimizer](), stop, inference=InferenceRule())
    except PlncliError as refusal:
        said, code = str(refusal), refusal.exit_code
    assert said.endswith(".") and code in (2, 3, 4), said
    return None


def left_to_gain(model: Model, data: Dataset, result: FitResult, best: float) -> float:
    """Nats between a fit and the best that is known of its table, both as float64 sees them."""
    init = {symbol: value.double() for symbol, value in {**result.estimates, **result.state}.items()}
    here = fit(model, data, stop=StopRule(max_iter=0), init=init).optimum.value
    further = fit(model, data, stop=StopRule(tol=1e-10, max_iter=200), init=init).optimum.value
    return here - min(best, further)


def rounding(data: Dataset, value: float) -> float:
    """Nats that float64 cannot tell: of the objective, and of the sums that cancel in it."""
    size = float((data.w[:, None] * data.Y.abs() * (1.0 + data.Y.abs().log1p())).sum())
    return 10.0 * torch.finfo(torch.float64).eps * max(abs(value), size)


@cache
def best(name: str, table: str) -> float | None:
    """Nats at the optimum that a tight fit of its own finds; None of a model with many of them."""
    model, data = MODELS[name], TABLES[name]()[table]
    if isinstance(model, Searching) and model.searches(model.prepare(data), None):
        return None
    return fit(model, data, stop=StopRule(tol=1e-10, max_iter=200)).optimum.value


def judge(name: str, table: str, optimizer: str, dtype: torch.dtype, stop: StopRule) -> str:
    """How a fit ended; fails where it says what is not so."""
    model, data = MODELS[name], TABLES[name]()[table]
    result = fitted(model, data.to(dtype=dtype), optimizer, stop)
    if result is None:
        return "refused"
    ending, gap = result.optimum.status, result.optimum.gap
    assert ending in ENDINGS
    if ending is Status.DIVERGED:  # which says that there are no numbers, and leaves cells empty
        assert result.inference is None and not result.converged
        return ending.name
    assert all(math.isfinite(number) for number in (result.optimum.value, result.criteria.aic, result.criteria.bic))
    for symbol, value in {**result.estimates, **result.state}.items():
        assert symbol in UNDETERMINED or bool(torch.isfinite(value).all()), symbol
    if not result.findings:
        assert bool(torch.isfinite(result.estimates["B"]).all())
    if result.inference is not None:
        for part in ("std_error", "statistic", "p_value", "q_value"):
            assert not bool(torch.isinf(getattr(result.inference, part)).any()), part
    if ending is Status.CONVERGED:
        known = best(name, table)
        if known is None:  # of many optima the one that was found
            init = {**result.estimates, **result.state}
            known = fit(model, data, stop=StopRule(tol=1e-10, max_iter=200), init=init).optimum.value
        left = left_to_gain(model, data, result, known)
        most = max(10.0 * gap, 1e-6 * data.total_weight, rounding(data, known))
        assert left <= most, f"{table}: {left:.3g} nats left, not {gap:.3g}"
    return ending.name


# Of the covariances one: the tables, and nearly all of the code, are those of the others. Of low rank some tables.
LONG = ("diagonal", "spherical", "pca")
ONE_OF_A_KIND = [pytest.param(name, marks=pytest.mark.slow if name in LONG else ()) for name in MODELS]


def test_low_rank_on_some_nasty_tables() -> None:
    some = [table for table in TABLES["pca"]() if table != "outlier of 1e15"][::15]
    ended = [judge("pca", table, "newton-cg", torch.float64, StopRule()) for table in some]
    assert set(ended) <= {"CONVERGED", "refused"} and ended.count("CONVERGED") > len(some) // 2


@pytest.mark.parametrize("name", ONE_OF_A_KIND)
def test_newton_cg_on_every_nasty_table(name: str) -> None:
    tables = [*TABLES[name]()][:: 1 if tries.ALL or name != "full" else 2]  # each second takes seconds
    ended = {table: judge(name, table, "newton-cg", torch.float64, StopRule()) for table in tables}
    honest = {table for table, ending in ended.items() if ending not in ("CONVERGED", "refused")}
    assert honest <= {"outlier of 1e15"}  # where a count has more digits than its likelihood
    assert sum(ending == "CONVERGED" for ending in ended.values()) >= len(ended) // 2 - 1


ALL_BUT = ("outlier of 1e15",)
"""Tables with counts of more digits than a likelihood has."""


@pytest.mark.parametrize(
    ("kind", "covariance", "step"),
    [
        pytest.param("feature", "full", 12, id="some"),
        *(pytest.param(kind, "full", 1, marks=pytest.mark.slow) for kind in ("single", "feature", "sample")),
        *(pytest.param("feature", covariance, 1, marks=pytest.mark.slow) for covariance in ("diagonal", "spherical")),
    ],
)
def test_zero_inflation_is_never_worse_than_none(kind: str, covariance: str, step: int) -> None:
    """Each nasty table ends certified, or is refused, as it is without; and with no lower bound."""
    for table, data in list(counts().items())[::step]:
        plain = fitted(PLN(covariance), data, "newton-cg", StopRule())
        inflated = fitted(PLN(covariance, zero_inflation=kind), data, "newton-cg", StopRule())
        assert (plain is None) == (inflated is None), table
        if plain is None or inflated is None or table in ALL_BUT:
            continue
        assert inflated.converged or not plain.converged, f"{table}: {inflated.optimum.status}"
        slack = 4e-6 * data.total_weight + rounding(data, plain.criteria.loglik)
        assert inflated.criteria.loglik >= plain.criteria.loglik - slack, table


@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_networks_end_certified_or_refused(step: int) -> None:
    """Both stages: edges, and the fit of those that are found; a tight fit finds the same, and nothing better."""
    for table, data in list(counts().items())[::step]:
        result = fitted(Network(penalty=0.3), data, "newton-cg", StopRule())
        if result is None or table in ALL_BUT:
            continue
        assert result.converged, f"{table}: {result.optimum.status}"
        tight = fit(Network(penalty=0.3), data, stop=StopRule(tol=1e-10))
        most = max(10.0 * result.optimum.gap, 1e-6 * data.total_weight, rounding(data, tight.optimum.value))
        assert abs(result.optimum.value - tight.optimum.value) <= most, table
        assert result.facts["edges"] == tight.facts["edges"], table


@pytest.mark.parametrize("step", [9, pytest.param(1, marks=pytest.mark.slow)])
def test_two_clusters_end_certified_and_no_worse_than_one(step: int) -> None:
    """Or refused; what is beyond the digits of the numbers, or of one sample's weight, ends honestly."""
    for table, data in list(counts().items())[::step]:
        two = fitted(Mixture(2), data, "newton-cg", StopRule())
        if two is None or table in BEYOND:
            continue
        hidden = torch.finfo(data.Y.dtype).eps * float((data.Y * data.Y.log1p()).sum())  # by rounding, of the value
        assert two.converged or two.optimum.gap <= hidden, f"{table}: {two.optimum.status}"
        one = fit(Mixture(1), data)
        slack = one.optimum.gap + two.optimum.gap + 1e-5 * data.total_weight
        assert two.criteria.loglik >= one.criteria.loglik - slack, table


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("optimizer", OPTIMIZER_NAMES)
@pytest.mark.parametrize("name", [name for name in MODELS if name != "pca"])  # whose optima are many
def test_every_optimizer_on_every_nasty_table(name: str, optimizer: str, dtype: torch.dtype) -> None:
    if optimizer == "vem" and name in ("logistic", "linear"):
        pytest.skip("vem is for models with a latent layer")
    stop = StopRule(max_iter=300, time_limit=3.0)
    ended = [judge(name, table, optimizer, dtype, stop) for table in TABLES[name]()]
    assert len(ended) >= 15 and "refused" in ended and "CONVERGED" in ended


# The files


def written(data: Dataset, name: str, folder: Path) -> list[str]:
    """The tables of a data set as files, and the words of a fit to them."""
    kind = {"pca": "pln-pca", "network": "pln-network", "logistic": "logistic", "linear": "linear"}.get(name, "pln")
    table = "response" if name in ("logistic", "linear") else "counts"
    Y: list[list[Any]] = data.Y.tolist()
    if kind != "linear":
        Y = [[int(value) for value in row] for row in Y]
    if data.K is not None:
        Y = [["NA" if not seen else y for y, seen in zip(*rows, strict=True)] for rows in zip(Y, data.K, strict=True)]
    covariates = [f"c{k}" for k in range(data.d)]
    parts = {
        table: (data.responses, Y),
        "covariates": (covariates, data.X.tolist()),
        "weights": (("w",), data.w[:, None].tolist()),
        "offsets": (data.responses if data.O.shape[1] == data.p else ("o",), data.O.tolist()),
    }
    words = ["fit", kind, "--formula", f"~ 0 + {' + '.join(covariates)}"]
    words += ["--all-zero", "drop"] * (table == "counts") + ["--covariance", name] * (kind == "pln")
    words += ["--penalty", "0.3"] * (kind == "pln-network")
    words += ["--missing", "keep"] * (data.K is not None)
    for part, (names, rows) in parts.items():
        with (folder / f"{part}.csv").open("w", newline="") as file:
            csv.writer(file).writerow(["id", *names])
            csv.writer(file).writerows([sample, *row] for sample, row in zip(data.samples, rows, strict=True))
        words += [f"--{part}", f"{part}.csv"]
    return words


def check_numbers(run: Path) -> None:
    """No nan anywhere, and inf only where it means something: coefficients and latent means without finite estimate."""
    for path in run.glob("*.csv"):
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                status = row.pop("status", None)
                assert path.name != "coefficients.csv" or ("inf" in row["estimate"]) is (status == "infinite"), row
                for name, text in row.items():
                    assert text.casefold() not in ("nan", "-nan"), (path.name, row)
                    if "inf" in text.casefold():
                        assert name == "estimate" or path.name == "latent_mean.csv", (path.name, row)

    def refuse(word: str) -> None:
        raise AssertionError(word)

    for name in ("summary.json", "manifest.json"):
        assert json.loads((run / name).read_text(), parse_constant=refuse)


@pytest.mark.parametrize(
    "name", [*(pytest.param(name, marks=pytest.mark.slow) for name in ("full", "pca", "network")), "logistic", "linear"]
)
def test_the_files_of_nasty_tables_hold_numbers_alone(cli: Callable[..., Any], tmp_path: Path, name: str) -> None:
    codes = []
    for table, data in TABLES[name]().items():
        ran = cli(*written(data, name, tmp_path), "--out", "run", "--overwrite")
        assert ran.code in (0, 3, 4) and "Traceback" not in ran.err, (table, ran.err)
        codes.append(ran.code)
        if "The results are in run." in ran.err:
            check_numbers(tmp_path / "run")
            assert json.loads((tmp_path / "run/summary.json").read_text())["converged"] is (ran.code == 0), table
            assert cli("show", "run").code == 0, table
        else:
            assert ran.code in (3, 4) and "plncli: error: " in ran.err, (table, ran.err)
    assert codes.count(0) > 5 and codes.count(3) > 3
