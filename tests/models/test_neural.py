"""A neural mean: laws of its training, and truths that a linear mean misses."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from plncli import optim
from plncli.dataset import Dataset
from plncli.errors import DataError
from plncli.fitting import fit, graph
from plncli.fitting.problem import problem_of
from plncli.models import MODELS
from plncli.models.neural.effects import curves, groups
from plncli.models.neural.model import training_rows
from plncli.models.neural.network import layers
from plncli.models.pln.neural.model import NeuralPLN
from plncli.models.regression.neural import NeuralLinear, NeuralLogistic
from plncli.optim.base import State, Status, StopRule
from plncli.results import FitResult

NAMES = ("pln", "logistic", "linear")
RESPONSES = {"pln": 4, "logistic": 3, "linear": 3}


def truth(kind: str, x: Tensor) -> Tensor:
    """(n, 1) a sine of the first covariate, a product of two, or a line."""
    if kind == "sine":
        return torch.sin(2.0 * x[:, :1])
    return 0.6 * x[:, :1] * x[:, 1:2] if kind == "interaction" else 0.5 * x[:, :1] - 0.3 * x[:, 1:2]


def drawn(name: str, n: int, seed: int, kind: str = "sine") -> Dataset:
    """n samples of three covariates, uniform on (−2, 2)."""
    generator = torch.Generator().manual_seed(seed)
    x = 4.0 * torch.rand(n, 3, generator=generator, dtype=torch.float64) - 2.0
    p = RESPONSES[name]
    f = truth(kind, x) * torch.where(torch.arange(p) % 2 == 0, 1.0, -1.0)
    noise = torch.randn(n, p, generator=generator, dtype=torch.float64)
    if name == "pln":
        Y = torch.poisson((1.0 + f + 0.4 * noise).exp(), generator=generator)
    elif name == "logistic":
        Y = (torch.rand(n, p, generator=generator, dtype=torch.float64) < torch.sigmoid(2.0 * f)).double()
    else:
        Y = 10.0 * (f + 0.5 * noise)
    X = torch.cat([torch.ones(n, 1).double(), x], 1)
    return Dataset(Y, X, torch.zeros(n, 1).double(), torch.ones(n).double(), terms=("Intercept", "a", "b", "c"))


def model_of(name: str, **own: Any) -> Any:
    spec = MODELS[name]
    return spec.load_model().of({s.name: s.default for s in spec.settings} | {"hidden": "8", "seed": 1} | own, {})


def trained(name: str, data: Dataset, optimizer: str = "lbfgs", **own: Any) -> FitResult:
    return fit(model_of(name, **own), data, optim.build(optimizer))


@pytest.fixture(scope="module")
def data() -> dict[str, Dataset]:
    return {name: drawn(name, 120, 3) for name in NAMES}


@pytest.fixture(scope="module")
def fits(data: dict[str, Dataset]) -> dict[str, FitResult]:
    return {name: trained(name, data[name]) for name in NAMES}


# -- laws --------------------------------------------------------------------------------------------------------------


def test_layers_are_those_of_a_first_course() -> None:
    module = layers(3, (16, 8), 2)
    assert [type(part) for part in module] == [nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear]
    assert [tuple(part.weight.shape) for part in module[::2]] == [(16, 3), (8, 16), (2, 8)]


@pytest.mark.parametrize("name", NAMES)
def test_without_hidden_layers_it_is_the_linear_model(name: str, data: dict[str, Dataset]) -> None:
    kind = {"pln": NeuralPLN, "logistic": NeuralLogistic, "linear": NeuralLinear}[name]
    found = fit(kind(hidden="none", weight_decay=0.0, validation=0.0), data[name], optim.build("lbfgs"), StopRule(1e-9))
    assert found.optimum.status is Status.STATIONARY
    linear = fit(model_of(name, hidden="none"), data[name])
    assert found.criteria.loglik == pytest.approx(linear.criteria.loglik, abs=2e-3)
    X = data[name].X
    assert torch.allclose(found.fitted.mean(X), linear.fitted.mean(X), atol=0.02 * float(data[name].Y.std()))


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_bits_and_another_other_weights(
    name: str, data: dict[str, Dataset], fits: dict[str, FitResult]
) -> None:
    again, other = trained(name, data[name]), trained(name, data[name], seed=2)
    for symbol, tensor in fits[name].state.items():
        assert torch.equal(again.state[symbol], tensor)
    assert not torch.equal(other.state["network.0.weight"], fits[name].state["network.0.weight"])


@pytest.mark.parametrize("name", NAMES)
def test_the_lowest_held_out_loss_is_kept(name: str, data: dict[str, Dataset]) -> None:
    model = model_of(name)
    prepared = model.prepare(data[name])
    problem = problem_of(model, prepared, model.start(prepared))
    seen: list[float] = []
    watch = problem.watch
    assert watch is not None

    def watched(params: Any) -> float:
        seen.append(watch(params))
        return seen[-1]

    found = optim.build("lbfgs").minimise(replace(problem, watch=watched), StopRule())
    assert found.status is Status.EARLY_STOPPED
    assert found.kept == min(range(len(seen)), key=seen.__getitem__) < found.steps
    assert watch(found.params) == pytest.approx(min(seen), rel=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_samples_is_no_matter(name: str, data: dict[str, Dataset], fits: dict[str, FitResult]) -> None:
    order = torch.randperm(data[name].n, generator=torch.Generator().manual_seed(5))
    turned = data[name].take(order, torch.ones(len(order)))
    stop = StopRule(max_iter=8)  # rounding grows with the steps
    one, other = (fit(model_of(name), each, optim.build("lbfgs"), stop) for each in (data[name], turned))
    assert one.facts["n_held_out"] == other.facts["n_held_out"] == 24
    assert torch.allclose(one.fitted.mean(data[name].X), other.fitted.mean(data[name].X), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_weights_are_repetition(name: str, data: dict[str, Dataset]) -> None:
    whole = data[name].take(torch.arange(40), torch.ones(40))
    times = torch.arange(40) % 3 + 1
    weighted = replace(whole, w=times.double())
    repeated = whole.take(torch.repeat_interleave(torch.arange(40), times), torch.ones(int(times.sum())))
    repeated = replace(repeated, samples=tuple(f"r{i}" for i in range(repeated.n)))
    model = model_of(name, validation=0.0)
    values = []
    for each in (weighted, repeated):
        prepared = model.prepare(each)
        prepared = replace(prepared, network=replace(prepared.network, **units(model, weighted)))
        values.append(float(model.objective(model.start(prepared), prepared)))
    assert values[0] == pytest.approx(values[1], rel=1e-10)


def units(model: Any, data: Dataset) -> dict[str, Tensor]:
    network = model.prepare(data).network
    return {name: getattr(network, name) for name in ("centre", "scale")}


@pytest.mark.parametrize("name", NAMES)
def test_a_shift_of_the_offset_lowers_the_mean(name: str, data: dict[str, Dataset]) -> None:
    here = data[name]
    one = trained(name, here)
    other = trained(name, replace(here, O=here.O + 0.7))
    assert torch.allclose(other.fitted.mean(here.X), one.fitted.mean(here.X) - 0.7, atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_its_derivatives_are_those_of_its_elementary_operations(name: str, data: dict[str, Dataset]) -> None:
    found = []
    for fused in (False, True):
        loss, params = graph(model_of(name), data[name], fused=fused)
        found.append((loss, torch.autograd.grad(loss, list(params.values()))))
    assert float(found[0][0].detach()) == pytest.approx(float(found[1][0].detach()), rel=1e-12)
    for plain, fast in zip(found[0][1], found[1][1], strict=True):
        assert torch.allclose(plain, fast, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
@pytest.mark.parametrize("name", NAMES)
def test_it_goes_on_to_the_same_bits(name: str, optimizer: str, data: dict[str, Dataset]) -> None:
    kept: list[State] = []

    def keep(state: State) -> None:
        if len(kept) == 12:
            return
        copied = {each: tensor.clone() for each, tensor in state.tensors.items()}
        kept.append(replace(state, tensors=copied, trace=tuple(state.trace)))

    model, stop = model_of(name), StopRule(max_iter=30)
    whole = fit(model, data[name], optim.build(optimizer), stop, offer=keep)
    again = fit(model, data[name], optim.build(optimizer), stop, state=kept[-1])
    assert again.optimum.kept == whole.optimum.kept
    for symbol, tensor in whole.state.items():
        assert torch.equal(tensor, again.state[symbol])


def test_missing_counts_tell_nothing() -> None:
    data = drawn("pln", 100, 4)
    K = torch.rand(data.Y.shape, generator=torch.Generator().manual_seed(1)) > 0.1
    one = trained("pln", replace(data, K=K, Y=torch.where(K, data.Y, 0.0)))
    other = trained("pln", replace(data, K=K, Y=torch.where(K, data.Y, 99.0)))
    assert torch.allclose(one.fitted.mean(data.X), other.fitted.mean(data.X), atol=1e-6)


def test_clusters_are_held_out_whole() -> None:
    data = replace(drawn("linear", 90, 1), clusters=torch.arange(90) // 3)
    rows = training_rows(data, 0.2, 0)
    assert int((~rows).sum()) == 18
    assert all(len(set(rows[data.clusters == c].tolist())) == 1 for c in range(30))


@pytest.mark.parametrize("optimizer", ["adam", "rprop"])
def test_other_optimizers_train(optimizer: str, data: dict[str, Dataset], fits: dict[str, FitResult]) -> None:
    found = trained("linear", data["linear"], optimizer)
    assert found.optimum.status.done
    assert found.facts["held_out_loss"] == pytest.approx(fits["linear"].facts["held_out_loss"], abs=0.5)


# -- what it answers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_effects_are_means_over_samples(name: str, data: dict[str, Dataset], fits: dict[str, FitResult]) -> None:
    fitted, X = fits[name].fitted, data[name].X
    table = fitted.further_tables(data[name].samples)["partial_effects"]
    at = next(i for i, covariate in enumerate(table["covariate"]) if covariate == "b")
    moved = X.clone()
    moved[:, 2] = X[:, 2].min()
    assert float(table["mean"][at]) == pytest.approx(float(fitted.mean(moved).mean(0)[0]))


def test_columns_of_a_factor_move_together() -> None:
    terms = ("Intercept", "a", "site[T.elm]", "site[T.oak]", "a:site[T.elm]")
    assert groups(terms) == [(1,), (2, 3), (4,)]
    X = torch.tensor([[1, 0.5, 0, 0, 0], [1, 0.1, 1, 0, 0.1], [1, 0.2, 0, 1, 0]]).double()
    rows = next(curve for curve in curves(X, terms) if curve.factor).rows
    assert sorted(rows.tolist()) == [[0, 0], [0, 1], [1, 0]]


def test_prediction_intervals_hold_new_values() -> None:
    data, new = drawn("linear", 400, 1), drawn("linear", 2000, 2)
    found = trained("linear", data, hidden="16").fitted.predict(new.X, new.O, ("prediction",), 0.9).columns
    inside = (found["pred_low"] <= new.Y) & (found["pred_high"] >= new.Y)
    assert float(inside.double().mean()) == pytest.approx(0.9, abs=0.05)
    with pytest.raises(DataError, match="confidence"):
        trained("linear", data).fitted.predict(new.X, new.O, ("confidence",), 0.9)


@pytest.mark.parametrize("name", NAMES)
def test_draws_and_scores(name: str, data: dict[str, Dataset], fits: dict[str, FitResult]) -> None:
    fitted, here = fits[name].fitted, data[name]
    drawn_ = fitted.simulate(here.X, here.O, torch.Generator().manual_seed(0)).Y
    assert drawn_.shape == here.Y.shape
    score = fitted.score_samples(here.X, here.O, here.Y, torch.ones_like(here.Y, dtype=torch.bool))
    assert float(score.loglik.sum()) == pytest.approx(fits[name].criteria.loglik, rel=1e-6)


def test_criteria_are_none_of_it(fits: dict[str, FitResult]) -> None:
    assert math.isnan(fits["pln"].criteria.aic)
    assert fits["pln"].facts["n_weights"] == 8 * 4 + 9 * 4


# -- what it refuses ---------------------------------------------------------------------------------------------------


def test_bad_input_is_named(data: dict[str, Dataset]) -> None:
    linear = data["linear"]
    with pytest.raises(DataError, match="nothing to learn"):
        trained("linear", replace(linear, X=linear.X[:, :1], terms=("Intercept",)))
    with pytest.raises(DataError, match="`c` has one value"):
        trained("linear", replace(linear, X=torch.where(torch.arange(4) == 3, 5.0, linear.X)))
    with pytest.raises(DataError, match="hold out 2 of 10"):
        trained("linear", linear.take(torch.arange(10), torch.ones(10)))


# -- truths that a linear mean misses ----------------------------------------------------------------------------------


def beside_linear(name: str, kind: str, seed: int, n: int = 300) -> tuple[float, float]:
    """Log-likelihoods a new sample, of a network and of a linear mean."""
    data, new = drawn(name, n, seed, kind), drawn(name, 500, 100 + seed, kind)
    every = torch.ones_like(new.Y, dtype=torch.bool)
    found = (trained(name, data, hidden="16", seed=seed), fit(model_of(name, hidden="none"), data))
    neural, linear = (float(one.fitted.score_samples(new.X, new.O, new.Y, every).loglik.mean()) for one in found)
    return neural, linear


@pytest.mark.parametrize("kind", ["sine", "interaction"])
@pytest.mark.parametrize("name", NAMES)
def test_it_finds_what_a_linear_mean_misses(name: str, kind: str) -> None:
    neural, linear = beside_linear(name, kind, 0)
    assert neural > linear + 0.1


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_five_seeds(name: str) -> None:
    for kind in ("sine", "interaction"):
        gains = [neural - linear for neural, linear in (beside_linear(name, kind, seed) for seed in range(5))]
        assert min(gains) > 0.05
    losses = [linear - neural for neural, linear in (beside_linear(name, "line", seed) for seed in range(5))]
    assert sum(losses) / 5 < 0.2
