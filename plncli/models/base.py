"""What a model is: settings in a frozen record, mathematics in pure methods, and abilities that it has or has not.

A model is complete once its `Spec` and its objective are written: gradient and Hessian products come from autograd, and
the methods of `Model` do for parameters that are estimated as they are declared (`Symbol.free`).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar, runtime_checkable

import torch
from torch import Tensor

from plncli.arrays import Differentiated, Params
from plncli.dataset import Dataset
from plncli.errors import DataError, some
from plncli.models.findings import Finding
from plncli.models.spec import Spec
from plncli.models.uncertainty import Ratios, Uncertainty
from plncli.numerics.linalg import orthonormal_basis
from plncli.numerics.rows import least, most, total
from plncli.sparse import column_totals

Init = Mapping[str, Tensor]
"""Estimates of an earlier fit, matched to the rows and columns of the data (`INIT`); nan where there are none."""
INIT: Mapping[str, tuple[str, ...]] = {
    "B": ("term", "response"),
    "B_finite": ("term", "response"),
    "C": ("response", "component"),
    "Omega": ("response", "response"),
    "tau": ("sample", "cluster"),
    "M_finite": ("sample", "response"),
    "S": ("sample", "response"),
    "zeta_all": (),
    "zeta_response": ("response",),
    "zeta_sample": ("sample",),
    "zeta_cells": ("sample", "response"),
}
"""Symbol -> axes of what a fit may start from: M_finite and S where there is a latent layer, and what else there is.

Logits of structural zeros are −inf where there are none, and inf where all zeros are.
"""


def startable(spec: Spec, known: Mapping[str, Any]) -> dict[str, Any]:
    """What of the symbols of a fit another may start from: matrices p×p only where the model asks for them."""
    large = {symbol.name for symbol in spec.symbols if symbol.square and not symbol.start}
    return {name: known[name] for name in INIT if name in known and name not in large}


class Prepared(Protocol):
    """Checked data, and whatever a model computes of them once."""

    @property
    def data(self) -> Dataset:
        """What is fitted."""
        ...


P = TypeVar("P", bound=Prepared)
Q = TypeVar("Q", bound=Prepared, contravariant=True)


@dataclass(frozen=True)
class Checked:
    """Data that a model can be fitted to, and nothing besides."""

    data: Dataset


class Model(ABC, Generic[P]):
    """A statistical model of a table, as optimizers and verbs see it; P: what `prepare` makes of the data.

    Its settings are the fields of a frozen dataclass. Where nothing else is said, parameters are the free symbols of
    the Spec, each in its own shape, and all start at 0.
    """

    spec: ClassVar[Spec]

    @property
    def penalised(self) -> bool:
        """Whether a penalty is part of the objective: then it is no likelihood, and there are no criteria."""
        return False

    @classmethod
    def of(cls, own: Mapping[str, Any], matrices: Mapping[str, Tensor]) -> Self:
        """The model with the settings that it adds (`Spec.settings`), and the tables that some of them name."""
        if not is_dataclass(cls):
            return cls()
        tables = {setting.name: matrices.get(setting.name) for setting in cls.spec.settings if setting.matrix}
        names = {each.name for each in fields(cls)}
        return cls(**{name: value for name, value in {**own, **tables}.items() if name in names})

    def fittable(self, data: Dataset) -> Tensor:
        """(p,) booleans: the responses of which `data` say anything; `prepare` refuses the others."""
        if data.sparse:
            return column_totals(data.Y) > 0
        if self.spec.response.required:
            return total(data.Y if data.K is None else data.Y * data.K) > 0
        return least(data.Y) < most(data.Y)

    def among(self, responses: Tensor) -> Self:
        """The same model of some responses alone, given by index."""
        del responses
        return self

    def prepare(self, data: Dataset) -> P:
        """Check `data` (DataError says what is wrong) and precompute; a frozen record with `.data`."""
        orthonormal_basis(data.X, data.w, data.terms)  # refuses a design whose columns depend on each other
        empty = [data.responses[j] for j in (~self.fittable(data)).nonzero()[:, 0].tolist()]
        if empty:
            raise DataError(f"{some(empty)}: {self.spec.response.null} in all samples. Leave out what tells nothing.")
        return Checked(data)  # type: ignore[return-value]

    def start(self, prepared: P, init: Init | None = None) -> Params:
        """Where an optimizer begins: from the data alone, or from an earlier fit as far as `init` knows it."""
        data = prepared.data
        sizes = {"sample": data.n, "response": data.p, "term": data.d}
        made = {
            symbol.name: data.Y.new_zeros([sizes[axis] for axis in symbol.axes])
            for symbol in self.spec.symbols
            if symbol.free
        }
        if init is not None:
            known = {name: init[name].to(zero) for name, zero in made.items() if name in init}
            made |= {name: torch.where(torch.isfinite(value), value, made[name]) for name, value in known.items()}
        return made

    def sampled(self, prepared: P) -> Mapping[str, int]:
        """Parameters that have a row for each sample, by name, with the axis on which the samples are."""
        axes = {symbol.name: symbol.axes for symbol in self.spec.symbols if symbol.free}
        return {name: found.index("sample") for name, found in axes.items() if "sample" in found}

    @abstractmethod
    def objective(self, params: Params, prepared: P) -> Tensor:
        """Minus the log-likelihood or the ELBO in nats, constants included; inf where it is not defined."""

    def estimates(self, params: Params, prepared: P) -> dict[str, Tensor]:
        """Quantities of interest by symbol: B (d×p) and whatever else the Spec declares, but for `state`."""
        del prepared
        return {name: tensor.detach() for name, tensor in params.items()}

    def n_parameters(self, prepared: P, params: Params | None = None) -> int:
        """Number of free parameters of the statistical model (not of the variational distribution).

        params: of a fit, where it depends on that; without, the most that there can be.
        """
        del params
        return sum(tensor.numel() for tensor in self.start(prepared).values())

    def facts(self, params: Params, prepared: P, bic: float) -> dict[str, float]:
        """Numbers by name that the summary of a fit tells besides; bic: of the fit."""
        del params, prepared, bic
        return {}

    def r2(self, params: Params, prepared: P) -> float:
        """Share of the null deviance (intercept and offset alone) that the fit explains; nan if there is none."""
        del params, prepared
        return math.nan

    def state(self, params: Params, prepared: P) -> dict[str, Tensor]:
        """Further tensors by name that prediction and a warm start need."""
        del params, prepared
        return {}

    def findings(self, params: Params, prepared: P, gap: float) -> tuple[Finding, ...]:
        """What the user must be told about this fit; `gap` is the certificate, nats left at `params`."""
        del params, prepared, gap
        return ()


# Abilities: what a model may offer besides, asked by isinstance


@runtime_checkable
class Preconditioned(Protocol[Q]):
    """A model that knows an approximation of the inverse Hessian."""

    exact_preconditioner: ClassVar[bool]

    def preconditioner(self, params: Params, prepared: Q) -> Callable[[Params], Params]:
        """Linear map v -> P^-1 v, symmetric positive definite, at `params`."""
        ...

    def curvature(self, params: Params, prepared: Q) -> Params:
        """Positive estimate of the Hessian's diagonal at `params`."""
        ...


@runtime_checkable
class Differentiable(Protocol[Q]):
    """A model whose objective knows its own derivatives."""

    def at(self, params: Params, prepared: Q) -> Differentiated:
        """The objective at `params`: what autograd finds in `objective`, without its bookkeeping."""
        ...


@runtime_checkable
class Elementary(Protocol[Q]):
    """A model that fits by an objective with derivatives of its own, and can also show it in elementary operations."""

    def plain_start(self, prepared: Q) -> Params:
        """Where an optimizer begins, in the parameters of `plain_objective`."""
        ...

    def plain_objective(self, params: Params, prepared: Q) -> Tensor:
        """The objective in ordinary tensor operations, differentiated by autograd alone."""
        ...


@runtime_checkable
class Alternating(Protocol[P]):
    """A model part of whose parameters has a closed form given the rest (an exact M-step)."""

    def conditional(self, params: Params, prepared: P) -> tuple[Model[P], P]:
        """The model and prepared data in which the closed-form part is held where it is best for `params`."""
        ...


@runtime_checkable
class Revisable(Protocol[P]):
    """A model whose optimum may lie on a boundary that is solved by changing the problem."""

    def resume(self, prepared: P, init: Init) -> tuple[Params, P]:
        """Start and prepared data of the problem as an earlier fit left it, its boundary included."""
        ...

    def boundary_state(self, prepared: P) -> dict[str, Tensor]:
        """How the problem has been changed so far (its active set), by name, for `at_boundary_state`."""
        ...

    def at_boundary_state(self, prepared: P, state: Mapping[str, Tensor]) -> P:
        """Prepared data as they were when `boundary_state` was asked of them; DataError where they cannot be."""
        ...

    def degenerate(self, params: Params, prepared: P) -> bool:
        """Cheap sign, looked at after each step, that `revise` may have something to change."""
        ...

    def revise(self, params: Params, prepared: P, *, settled: bool) -> tuple[Params, P] | None:
        """Start and prepared data of the changed problem, or None when this one stands.

        `settled`: the optimizer ended here; otherwise it was stopped because of `degenerate`.
        """
        ...


@runtime_checkable
class Trained(Protocol[Q]):
    """A model with optima beyond counting, none of which a certificate can judge: it is trained.

    Which samples are held out, if any, is part of what it prepares.
    """

    def held_out_loss(self, params: Params, prepared: Q) -> float:
        """Minus the log-likelihood, or its bound, of the samples held out, in nats a sample."""
        ...

    def holds_out(self, prepared: Q) -> bool:
        """Whether there are any."""
        ...

    def whole_loss(self, params: Params, prepared: Q) -> float:
        """Minus the log-likelihood of all samples, in nats, without any penalty."""
        ...

    def curvature(self, params: Params, prepared: Q) -> Params:
        """Positive estimate of the Hessian's diagonal at the start."""
        ...


@runtime_checkable
class Staged(Protocol[P]):
    """A model that is fitted in stages: the optimum of one tells which problem is next."""

    def next_stage(self, params: Params, prepared: P, gap: float) -> tuple[Params, P] | None:
        """Start and prepared data of the next stage, or None after the last; gap: nats left at `params`."""
        ...


@runtime_checkable
class Along(Protocol):
    """A model of which the data tell the values of a setting along which a path is fitted."""

    def simplest(self) -> Model[Any]:
        """The model at the beginning of a path."""
        ...

    def path(self, left: Mapping[str, Tensor], data: Dataset, number: int) -> tuple[float, ...]:
        """That many values, in order; left: estimates and state of the fit of `simplest`."""
        ...


@runtime_checkable
class Linking(Protocol):
    """A model that links pairs of responses, the more of them the further along a path."""

    def selecting(self, value: float) -> Model[Any]:
        """The model that chooses links at a value of the path, and does nothing else."""
        ...

    def links(self, left: Mapping[str, Tensor]) -> Tensor:
        """Pairs that are linked, p×p booleans, False on the diagonal; left: estimates of a fit."""
        ...


@runtime_checkable
class Latent(Protocol[P]):
    """A model with a latent layer: its objective is a bound, and q has an entropy."""

    def settle(self, params: Params, prepared: P) -> tuple[Params, P]:
        """The same estimates of the model's parameters, held, with the latent layer where it is best for them."""
        ...

    def entropy(self, params: Params, prepared: P) -> float:
        """Entropy of q in nats."""
        ...


@runtime_checkable
class Uncertain(Protocol[Q]):
    """A model that knows how uncertain its coefficients are."""

    def default_se(self, prepared: Q) -> str | Finding:
        """Method of the standard errors where none was asked for, or why there should be none by default."""
        ...

    def uncertainty(
        self, params: Params, prepared: Q, method: str, gap: float, cancelled: Callable[[], bool]
    ) -> Uncertainty | Finding:
        """Covariance of B at the optimum by a method of `Spec.standard_errors`, or why there is none.

        gap: nats left at `params`; `cancelled` is asked now and then, and answered by raising Interrupted.
        """
        ...


@runtime_checkable
class RatioTesting(Protocol[Q]):
    """A model that tests hypotheses about coefficients by fitting again with them held."""

    def held(
        self, B: Tensor, prepared: Q, rows: Tensor, values: Tensor, std_error: Tensor, level: float | None
    ) -> Ratios:
        """Ratios where rows (r×d, of rank r) times the coefficients of a response are values (r); B: d×p, the optimum.

        std_error: (p,), nan for responses that are not tested; level: of the interval of a single row, None for none.
        """
        ...


@runtime_checkable
class SeparatedCells(Protocol):
    """A model of which some cells have a finite supremum only at the boundary, where they expect exactly 0."""

    def cell_limits(self, training: Dataset, X: Tensor, X0: Tensor | None = None) -> Tensor | None:
        """Where linear predictors of samples X (m×d) go in a fit to `training`, m×p: 0, ±1, nan; None: all finite.

        X0: m×c, their columns of the design of structural zeros.
        """
        ...
