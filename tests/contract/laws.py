"""What every model must keep to, whichever it is: laws that its declaration and its objective alone promise.

Each law takes a declaration and tries it on a small table of its kind of response. They hold for models that are not
written yet: `test_contract` tries them on all of MODELS, `test_toy_model` on a model that is made for the purpose.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from plncli.dataset import Dataset
from plncli.fitting import fit, problem_of
from plncli.models.base import Model
from plncli.models.spec import Spec
from plncli.optim.base import StopRule
from plncli.results import FitResult

N, P = 48, 3
TIGHT = StopRule(tol=1e-12)
Law = Callable[[Spec], None]


def table(spec: Spec, seed: int = 0) -> Dataset:
    """A table of the model's kind of response with an intercept and two covariates, an offset, and no separation."""
    g = torch.Generator().manual_seed(seed)
    X = torch.cat([torch.ones(N, 1), torch.randn(N, 2, generator=g)], 1).double()
    B = torch.cat([torch.full((1, P), 1.0), 0.4 * torch.randn(2, P, generator=g)]).double()
    O = 0.2 * torch.randn(N, 1, generator=g).double()
    noise = torch.randn(N, P, generator=g).double()
    eta = O + X @ B
    if spec.response.name == "counts":
        Y = torch.poisson((eta + 0.8 * noise).exp(), generator=g)
    elif spec.response.name == "classes":
        Y = (torch.rand(N, P, generator=g).double() < torch.sigmoid(0.5 * eta)).double()
    else:
        Y = eta + noise
    if groups_of(spec):
        X = torch.stack([(X[:, 1] <= 0).double(), (X[:, 1] > 0).double(), X[:, 2]], 1)
        return Dataset(Y, X, O, torch.ones(N).double(), terms=("g[a]", "g[b]", "x2"))
    return Dataset(Y, X, O, torch.ones(N).double(), terms=("Intercept", "x1", "x2"))


def groups_of(spec: Spec) -> str:
    """The setting that names a column of groups; nothing for models without."""
    return next((setting.name for setting in spec.settings if setting.grouping == "column"), "")


def model_of(spec: Spec) -> Model:
    """The model with the defaults of its settings, and the groups of the table."""
    own = {setting.name: setting.default for setting in spec.settings}
    return spec.load_model().of(own | ({groups_of(spec): "g"} if groups_of(spec) else {}), {})


def fitted(spec: Spec, data: Dataset | None = None) -> FitResult:
    """A tight fit to a table of its own, or to `data`."""
    result = fit(model_of(spec), table(spec) if data is None else data, stop=TIGHT)
    assert result.converged or result.optimum.gap < 1e-9, (spec.name, result.optimum)
    return result


def close(a: Tensor, b: Tensor, rtol: float = 1e-5, atol: float = 1e-6) -> None:
    np.testing.assert_allclose(a.double().numpy(), b.double().numpy(), rtol=rtol, atol=atol)


def allowed(spec: Spec) -> tuple[float, float]:
    """rtol and atol of estimates: clusters of a table that has none are told apart by next to no nats."""
    clustered = any("cluster" in symbol.axes for symbol in spec.symbols)
    return (1e-4, 1e-4) if clustered else (1e-5, 1e-6)


# Derivatives


def derivatives_are_those_of_the_objective(spec: Spec) -> None:
    """Gradient and Hessian products that optimizers get, against central differences of the objective."""
    model, data = model_of(spec), table(spec)
    prepared = model.prepare(data)
    g = torch.Generator().manual_seed(1)
    start = {
        name: (tensor + 0.1 * torch.randn(tensor.shape, generator=g).double()).detach()
        for name, tensor in model.start(prepared).items()
    }
    direction = {name: torch.randn(t.shape, generator=g).double() for name, t in start.items()}

    def along(h: float) -> dict[str, Tensor]:
        return {name: tensor + h * direction[name] for name, tensor in start.items()}

    def gradient(h: float) -> tuple[float, dict[str, Tensor]]:
        params = {name: tensor.clone().requires_grad_(True) for name, tensor in along(h).items()}
        loss = model.objective(params, prepared)
        slopes = torch.autograd.grad(loss, list(params.values()), allow_unused=True)
        known = {
            name: torch.zeros_like(start[name]) if slope is None else slope
            for name, slope in zip(params, slopes, strict=True)
        }
        return float(loss.detach()), known

    h = 1e-5
    (up, _), (down, _) = gradient(h), gradient(-h)
    slope = sum(float((value * direction[name]).sum()) for name, value in gradient(0.0)[1].items())
    assert abs((up - down) / (2.0 * h) - slope) <= 1e-5 * (1.0 + abs(slope))
    problem = problem_of(model, prepared, start)
    if problem.at is not None:
        known = problem.at(start)
        for name, value in gradient(0.0)[1].items():
            close(known.gradient()[name], value, rtol=1e-9, atol=1e-9)
        high, low = gradient(h)[1], gradient(-h)[1]
        for name, turned in known.product(direction).items():
            close(turned, (high[name] - low[name]) / (2.0 * h), rtol=1e-4, atol=1e-4)


# What a table says does not depend on how it is written


def order_of_samples_is_no_matter(spec: Spec) -> None:
    data = table(spec)
    order = torch.randperm(N, generator=torch.Generator().manual_seed(2))
    turned = replace(data, Y=data.Y[order], X=data.X[order], O=data.O[order])
    a, b = fitted(spec, data), fitted(spec, turned)
    assert abs(a.criteria.loglik - b.criteria.loglik) < 1e-6
    for symbol in spec.symbols:
        if not symbol.state and symbol.name in a.estimates:
            value = a.estimates[symbol.name]
            close(value[order] if symbol.axes[0] == "sample" else value, b.estimates[symbol.name], *allowed(spec))


def order_of_responses_is_no_matter(spec: Spec) -> None:
    data = table(spec)
    order = torch.tensor([2, 0, 1])
    turned = replace(data, Y=data.Y[:, order], responses=tuple(data.responses[j] for j in order.tolist()))
    a, b = fitted(spec, data), fitted(spec, turned)
    assert abs(a.criteria.loglik - b.criteria.loglik) < 1e-6
    for symbol in spec.symbols:
        if not symbol.state and symbol.name in a.estimates:
            value = a.estimates[symbol.name]
            for axis, name in enumerate(symbol.axes):
                value = value.index_select(axis, order) if name == "response" else value
            close(value, b.estimates[symbol.name], *allowed(spec))


def weight_two_is_two_samples(spec: Spec) -> None:
    data = table(spec)
    twice = torch.arange(N) < 7
    again = torch.cat([torch.arange(N), torch.arange(N)[twice]])
    repeated = replace(
        data, Y=data.Y[again], X=data.X[again], O=data.O[again], w=torch.ones(len(again)).double(),
        samples=tuple(f"s{i}" for i in range(len(again))),
    )  # fmt: skip
    a, b = fitted(spec, replace(data, w=1.0 + twice.double())), fitted(spec, repeated)
    close(a.estimates["B"], b.estimates["B"])
    assert abs(a.criteria.loglik - b.criteria.loglik) < 1e-5


def an_offset_lowers_the_intercept(spec: Spec) -> None:
    data = table(spec)
    a, b = fitted(spec, data), fitted(spec, replace(data, O=data.O + 0.7))
    constant = (data.X.abs().amin(0) == 1) | bool(groups_of(spec)) * (data.X * (1 - data.X) == 0).all(0)
    expected = a.estimates["B"].clone()
    expected[constant] -= 0.7
    close(b.estimates["B"], expected)
    assert abs(a.criteria.loglik - b.criteria.loglik) < 1e-6


# Numbers, wherever they are


def float32_agrees(spec: Spec) -> None:
    data = table(spec)
    single = fit(model_of(spec), data.to(dtype=torch.float32))
    close(single.estimates["B"], fitted(spec, data).estimates["B"], rtol=2e-2, atol=2e-2)
    assert single.estimates["B"].dtype == torch.float32


def symbols_are_as_declared(spec: Spec) -> None:
    """Every symbol that is not optional is there, has its axes, and is finite where that is said."""
    result = fitted(spec)
    sizes = {"sample": N, "response": P, "term": 3}
    sizes |= {
        s.axes[0]: len(result.estimates[s.name]) for s in spec.symbols if s.axes in (("component",), ("cluster",))
    }
    for symbol in spec.symbols:
        group = result.state if symbol.state else result.estimates
        assert symbol.optional or symbol.name in group, symbol.name
        if symbol.name in group and not symbol.indices:
            tensor = group[symbol.name]
            assert tuple(tensor.shape) == tuple(sizes[axis] for axis in symbol.axes), symbol.name
            assert not symbol.finite or bool(torch.isfinite(tensor).all()), symbol.name
    assert {*result.estimates} <= {symbol.name for symbol in spec.symbols if not symbol.state}


def names_of_settings_are_their_own(spec: Spec) -> None:
    from plncli.settings.common import FitConfig

    common = {*FitConfig.__dataclass_fields__}
    for setting in spec.settings:
        assert setting.name and setting.name not in common
        assert setting.help.endswith(".")
    assert spec.help.strip() and spec.title


LAWS: tuple[Law, ...] = (
    derivatives_are_those_of_the_objective,
    order_of_samples_is_no_matter,
    order_of_responses_is_no_matter,
    weight_two_is_two_samples,
    an_offset_lowers_the_intercept,
    float32_agrees,
    symbols_are_as_declared,
    names_of_settings_are_their_own,
)
