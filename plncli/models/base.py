"""What a model is: settings in a frozen record, mathematics in pure methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol, runtime_checkable

from torch import Tensor

from plncli.arrays import Evaluated, Params
from plncli.dataset import Dataset
from plncli.models.findings import Finding
from plncli.models.uncertainty import Uncertainty

Init = Mapping[str, Tensor]
"""Estimates of an earlier fit, matched to the rows and columns of the data (`INIT`); nan where there are none."""
INIT = {"B": ("term", "response"), "M_finite": ("sample", "response"), "S": ("sample", "response")}
"""Symbol -> axes of what a fit may start from: M_finite and S where there is a latent layer, B elsewhere."""


@runtime_checkable
class Model(Protocol):
    """A model is complete once its objective is written: gradient and Hessian products come from autograd.

    `prepare` checks the data and computes once what every evaluation needs (an orthonormal basis of the
    design, a mask, constants); its value is what every other method is handed as `prepared`.
    """

    name: ClassVar[str]
    summary: ClassVar[str]

    def fittable(self, data: Dataset) -> Tensor:
        """(p,) booleans: the responses of which `data` say anything; `prepare` refuses the others."""
        ...

    def among(self, responses: Tensor) -> Model:
        """The same model of some responses alone, given by index."""
        ...

    def prepare(self, data: Dataset) -> Any:
        """Check `data` (DataError says what is wrong) and precompute; a frozen record with `.data`."""
        ...

    def start(self, prepared: Any, init: Init | None = None) -> Params:
        """Where an optimizer begins: from the data alone, or from an earlier fit as far as `init` knows it."""
        ...

    def objective(self, params: Params, prepared: Any) -> Tensor:
        """Minus the log-likelihood or the ELBO in nats, constants included; inf where it is not defined."""
        ...

    def estimates(self, params: Params, prepared: Any) -> dict[str, Tensor]:
        """Quantities of interest by symbol: B (d×p), Sigma (p×p), Omega (p×p), M and S (n×p), and others."""
        ...

    def n_parameters(self, prepared: Any) -> int:
        """Number of free parameters of the statistical model (not of the variational distribution)."""
        ...

    def r2(self, params: Params, prepared: Any) -> float:
        """Share of the null deviance (intercept and offset alone) that the fit explains; nan if there is none."""
        ...

    def state(self, params: Params, prepared: Any) -> dict[str, Tensor]:
        """Further tensors by name that prediction and a warm start need."""
        ...

    def findings(self, params: Params, prepared: Any, gap: float) -> tuple[Finding, ...]:
        """What the user must be told about this fit; `gap` is the certificate, nats left at `params`."""
        ...


@runtime_checkable
class Preconditioned(Protocol):
    """A model that knows an approximation of the inverse Hessian."""

    exact_preconditioner: ClassVar[bool]

    def preconditioner(self, params: Params, prepared: Any) -> Callable[[Params], Params]:
        """Linear map v -> P^-1 v, symmetric positive definite, at `params`."""
        ...

    def curvature(self, params: Params, prepared: Any) -> Params:
        """Positive estimate of the Hessian's diagonal at `params`."""
        ...


@runtime_checkable
class Separable(Protocol):
    """A model whose objective is a sum of parts, one for each parameter, that know their own derivatives."""

    def parts(self, params: Params, prepared: Any) -> dict[str, Evaluated]:
        """The parts at `params`, by parameter: what autograd finds in `objective`, without its bookkeeping."""
        ...


@runtime_checkable
class Elementary(Protocol):
    """A model that fits by an objective with derivatives of its own, and can also show it in elementary operations."""

    def plain_start(self, prepared: Any) -> Params:
        """Where an optimizer begins, in the parameters of `plain_objective`."""
        ...

    def plain_objective(self, params: Params, prepared: Any) -> Tensor:
        """The objective in ordinary tensor operations, differentiated by autograd alone."""
        ...


@runtime_checkable
class Alternating(Protocol):
    """A model part of whose parameters has a closed form given the rest (an exact M-step)."""

    def conditional(self, params: Params, prepared: Any) -> tuple[Model, Any]:
        """The model and prepared data in which the closed-form part is held where it is best for `params`."""
        ...


@runtime_checkable
class Revisable(Protocol):
    """A model whose optimum may lie on a boundary that is solved by changing the problem."""

    def resume(self, prepared: Any, init: Init) -> tuple[Params, Any]:
        """Start and prepared data of the problem as an earlier fit left it, its boundary included."""
        ...

    def standing(self, prepared: Any) -> dict[str, Tensor]:
        """How the problem has been changed so far, for `stand`."""
        ...

    def stand(self, prepared: Any, standing: Mapping[str, Tensor]) -> Any:
        """Prepared data as they were when `standing` was asked of them."""
        ...

    def degenerate(self, params: Params, prepared: Any) -> bool:
        """Cheap sign, looked at after each step, that `revise` may have something to change."""
        ...

    def revise(self, params: Params, prepared: Any, *, settled: bool) -> tuple[Params, Any] | None:
        """Start and prepared data of the changed problem, or None when this one stands.

        `settled`: the optimizer ended here; otherwise it was stopped because of `degenerate`.
        """
        ...


@runtime_checkable
class Latent(Protocol):
    """A model with a latent layer: its objective is a bound, and q has an entropy."""

    def settle(self, params: Params, prepared: Any) -> tuple[Params, Any]:
        """The same estimates of the model's parameters, held, with the latent layer where it is best for them."""
        ...

    def entropy(self, params: Params, prepared: Any) -> float:
        """Entropy of q in nats."""
        ...


@runtime_checkable
class Uncertain(Protocol):
    """A model that knows how uncertain its coefficients are."""

    def default_se(self, prepared: Any) -> str | Finding:
        """Method of the standard errors where none was asked for, or why there should be none by default."""
        ...

    def uncertainty(
        self, params: Params, prepared: Any, method: str, gap: float, cancelled: Callable[[], bool]
    ) -> Uncertainty | Finding:
        """Covariance of B at the optimum by a method of `names.SE_METHODS` that takes one fit, or why there is none.

        gap: nats left at `params`; `cancelled` is asked now and then, and answered by raising Interrupted.
        """
        ...
