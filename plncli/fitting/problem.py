"""What an optimizer needs to know of a model on its data."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from plncli.arrays import Differentiated, Params
from plncli.dataset import Dataset
from plncli.models.base import Alternating, Differentiable, Elementary, Model, P, Preconditioned, Revisable, Trained
from plncli.optim.base import Problem


def problem_of(model: Model[P], prepared: P, start: Params) -> Problem:
    """What an optimizer needs to know of a model on its data."""
    precondition: Callable[[Params], Callable[[Params], Params]] | None = None
    at: Callable[[Params], Differentiated] | None = None
    curvature: Callable[[Params], Params] | None = None
    alternate: Callable[[Params], Problem] | None = None
    degenerate: Callable[[Params], bool] | None = None
    if isinstance(model, Preconditioned):
        precondition = lambda params: model.preconditioner(params, prepared)  # noqa: E731
        curvature = lambda params: model.curvature(params, prepared)  # noqa: E731
    if isinstance(model, Differentiable):
        at = lambda params: model.at(params, prepared)  # noqa: E731
    if isinstance(model, Alternating):

        def alternate(params: Params) -> Problem:
            return problem_of(*model.conditional(params, prepared), start=params)

    if isinstance(model, Revisable):
        degenerate = lambda params: model.degenerate(params, prepared)  # noqa: E731
    watch: Callable[[Params], float] | None = None
    if isinstance(model, Trained):
        curvature = lambda params: model.curvature(params, prepared)  # noqa: E731
    if isinstance(model, Trained) and model.holds_out(prepared):
        watch = lambda params: model.held_out_loss(params, prepared)  # noqa: E731
    return Problem(
        objective=lambda params: model.objective(params, prepared),
        start=start,
        scale=prepared.data.total_weight,
        precondition=precondition,
        exact=getattr(model, "exact_preconditioner", False),
        curved=getattr(model, "curved", False),
        at=at,
        curvature=curvature,
        alternate=alternate,
        degenerate=degenerate,
        sampled=model.sampled(prepared),
        trained=isinstance(model, Trained),
        watch=watch,
    )


def graph(model: Model[P], data: Dataset, *, fused: bool = False) -> tuple[Tensor, Params]:
    """The objective at its start, with the graph that autograd recorded, and the parameters it was computed from.

    In elementary operations; `fused`: as a fit evaluates it, where the model has an objective with its own derivatives.
    """
    prepared = model.prepare(data)
    if isinstance(model, Elementary) and not fused:
        start, objective = model.plain_start(prepared), model.plain_objective
    else:
        start, objective = model.start(prepared), model.objective
    params = {name: tensor.detach().clone().requires_grad_(True) for name, tensor in start.items()}
    return objective(params, prepared), params
