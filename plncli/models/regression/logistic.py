"""Logistic regression: Bernoulli responses with log-odds O + XB, each response by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from plncli.arrays import Evaluated, Params
from plncli.dataset import Dataset
from plncli.errors import TERMS, DataError, counted, short, some
from plncli.models.base import Init, Model
from plncli.models.findings import IN_FULL, Finding
from plncli.models.fused import Fused
from plncli.models.regression.spec import LOGISTIC as SPEC
from plncli.models.regression.standard_errors import logistic_uncertainty, separated_responses
from plncli.models.spec import Spec
from plncli.models.uncertainty import Uncertainty
from plncli.numerics.likelihoods import bernoulli_loglik
from plncli.numerics.linalg import ImplicitBasis, implicit_basis, weighted_grams
from plncli.numerics.rows import gram, over_rows, total, weighted_total
from plncli.numerics.separation import Recession


@dataclass(frozen=True)
class Prepared:
    """Data, and an orthonormal basis of the design. The latest evaluation is kept, since several methods ask for it."""

    data: Dataset
    basis: ImplicitBasis
    last: dict[str, Evaluation] = field(default_factory=dict, repr=False, compare=False)

    def at(self, gamma: Tensor) -> Evaluation:
        """The evaluation at gamma (d×p)."""
        known = self.last.get("gamma")
        if known is None or not torch.equal(known.gamma, gamma):
            self.last.clear()
            known = self.last["gamma"] = Evaluation(gamma.detach().clone(), self)
        return known


class Evaluation:
    """Value (scalar) and gradient (d×p) at gamma, from one pass over blocks of rows; the Hessian when asked for.

    Only the margins (2Y − 1)·eta (n×p) stay; what else has a row for each sample lives as long as its block.
    """

    def __init__(self, gamma: Tensor, prepared: Prepared) -> None:
        self.gamma, self.prepared = gamma, prepared
        data, basis = prepared.data, prepared.basis
        A, B = basis.A, basis.inner(gamma)
        self.margin = torch.empty_like(data.Y)

        def add(rows: slice) -> tuple[Tensor, Tensor]:
            sign, w = 2.0 * data.Y[rows] - 1.0, data.w[rows]
            margin = torch.mm(A[rows], B, out=self.margin[rows])
            margin.add_(data.O[rows]).mul_(sign)
            sign.mul_(torch.sigmoid(-margin)).mul_(w.unsqueeze(1))
            return weighted_total(w, logsigmoid(margin)).sum(), gram(A[rows], sign)

        loglik, slope = over_rows(add, A, max(data.d, data.p))
        self.value, self._gradient = -loglik, torch.mm(basis.U.mT, slope.neg_())

    def gradient(self) -> Tensor:
        """Gradient in gamma, d×p."""
        return self._gradient.clone()

    @cached_property
    def hessians(self) -> Tensor:
        """Hessian Q' diag(w mu (1 − mu)) Q of each response, p×d×d."""
        data, basis = self.prepared.data, self.prepared.basis

        def add(rows: slice) -> tuple[Tensor]:
            margin = self.margin[rows]
            weights = torch.sigmoid(margin).mul_(torch.sigmoid(-margin)).mul_(data.w[rows].unsqueeze(1))
            return (weighted_grams(basis.A[rows], weights),)

        (G,) = over_rows(add, basis.A, max(data.d, data.p))
        return torch.matmul(basis.U.mT, G) @ basis.U

    def product(self, dgamma: Tensor) -> Tensor:
        """Hessian times dgamma, d×p."""
        return (self.hessians @ dgamma.mT.unsqueeze(2)).squeeze(2).mT


class Loss(Fused):
    """Minus the log-likelihood of gamma."""


@dataclass(frozen=True)
class Logistic(Model[Prepared]):
    """Y_ij ~ Bernoulli(1/(1 + exp(−eta_ij))), eta = O + XB, by maximum likelihood; weights count samples.

    The parameter gamma (d×p) holds the coefficients in an orthonormal basis of the design: neither the units of a
    covariate nor what is added to it change the fit. Separated classes have no maximum; `findings` says so exactly.
    """

    spec: ClassVar[Spec] = SPEC
    exact_preconditioner: ClassVar[bool] = True

    def prepare(self, data: Dataset) -> Prepared:
        """Check that Y is complete, 0 or 1, and of two classes in each response, and that X has full rank."""
        if data.K is not None:
            raise DataError("Logistic regression takes no missing responses; leave those samples out (--missing drop).")
        binary = ((data.Y == 0) | (data.Y == 1)).all(0)
        if not bool(binary.all()):
            names = some(f"`{data.responses[j]}`" for j in (~binary).nonzero()[:, 0].tolist())
            raise DataError(f"Logistic regression needs responses of 0 and 1; {names} holds other values.")
        single = ~self.fittable(data)
        if bool(single.any()):
            names = some(
                f"`{data.responses[j]}` ({data.Y[0, j]:.0f} in all {data.n} samples)"
                for j in single.nonzero()[:, 0].tolist()
            )
            raise DataError(f"A response needs both classes: {names}. Leave it out, or check how it was coded.")
        return Prepared(data, implicit_basis(data.X, data.w, data.terms))

    def start(self, prepared: Prepared, init: Init | None = None) -> Params:
        """The constant log-odds of each response, as far as the design can express them.

        init: B of an earlier fit, for the responses of which all coefficients are known.
        """
        data, basis = prepared.data, prepared.basis
        odds = torch.logit(weighted_total(data.w, data.Y) / total(data.w))
        gamma = torch.outer(torch.mv(basis.U.mT, basis.total) / total(data.w), odds)
        if init is not None:
            earlier = basis.T @ init["B"].to(gamma)
            gamma = torch.where(torch.isfinite(earlier).all(0), earlier, gamma)
        return {"gamma": gamma}

    def objective(self, params: Params, prepared: Prepared) -> Tensor:
        """Minus the log-likelihood, in nats: −sum_ij w_i log p(y_ij | eta_ij)."""
        return Loss.apply(params["gamma"], prepared)

    def parts(self, params: Params, prepared: Prepared) -> dict[str, Evaluated]:
        """The one part there is."""
        return {"gamma": prepared.at(params["gamma"])}

    def plain_start(self, prepared: Prepared) -> Params:
        """The same start."""
        return self.start(prepared)

    def plain_objective(self, params: Params, prepared: Prepared) -> Tensor:
        """The objective in ordinary tensor operations: what the fast path is held against."""
        data, basis = prepared.data, prepared.basis
        eta = data.O + basis.A @ basis.inner(params["gamma"])
        return -weighted_total(data.w, bernoulli_loglik(2.0 * data.Y - 1.0, eta)).sum()

    def preconditioner(self, params: Params, prepared: Prepared) -> Callable[[Params], Params]:
        """Inverse of the Hessian Q' diag(w mu (1 − mu)) Q of each response, d×d.

        Under separation curvature vanishes along some directions. There the inverse is cut off at 1e12 times that of
        the stiffest direction, which bounds the search direction and leaves the objective, and its optimum, alone.
        """
        values, V = torch.linalg.eigh(prepared.at(params["gamma"]).hessians)
        tiny = torch.finfo(values.dtype).tiny
        inverse = 1.0 / torch.maximum(values, (1e-12 * values[:, -1:]).clamp(min=tiny))

        def apply(v: Params) -> Params:
            inner = torch.matmul(V.mT, v["gamma"].mT.unsqueeze(2)) * inverse.unsqueeze(2)
            return {"gamma": (V @ inner).squeeze(2).mT}

        return apply

    def curvature(self, params: Params, prepared: Prepared) -> Params:
        """Diagonal of the Hessian, d×p, kept off zero where separation has flattened it."""
        hessians = prepared.at(params["gamma"]).hessians
        return {"gamma": hessians.diagonal(dim1=1, dim2=2).mT.clamp_min(1e-6)}

    def estimates(self, params: Params, prepared: Prepared) -> dict[str, Tensor]:
        """B (d×p), log odds ratios per unit of X's own columns."""
        return {"B": prepared.basis.coefficients(params["gamma"])}

    def n_parameters(self, prepared: Prepared) -> int:
        """One coefficient for each term and response."""
        return prepared.data.d * prepared.data.p

    def r2(self, params: Params, prepared: Prepared) -> float:
        """1 − deviance / null deviance, McFadden's, since the saturated log-likelihood of 0/1 data is 0."""
        return 1.0 - float(prepared.at(params["gamma"]).value) / float(_null_loss(prepared.data))

    def default_se(self, prepared: Prepared) -> str:
        """Model-based standard errors: they cost next to nothing; robust ones where samples come in clusters."""
        return "fisher" if prepared.data.clusters is None else "robust"

    def uncertainty(
        self, params: Params, prepared: Prepared, method: str, gap: float, cancelled: Callable[[], bool]
    ) -> Uncertainty:
        """Covariance of B."""
        return logistic_uncertainty(
            prepared.data,
            prepared.basis,
            prepared.basis.coefficients(params["gamma"]),
            prepared.at(params["gamma"]).hessians,
            method,
            gap,
        )

    def findings(self, params: Params, prepared: Prepared, gap: float) -> tuple[Finding, ...]:
        """Separated responses, with every term that has no finite coefficient."""
        data = prepared.data
        cells: list[tuple[str, str]] = []
        told = []
        for j, cone in separated_responses(data, prepared.at(params["gamma"]).margin, gap).items():
            response, terms = data.responses[j], [data.terms[k] for k in cone.infinite().nonzero()[:, 0].tolist()]
            cells += [(response, term) for term in terms]
            told.append(_told(response, cone, terms, _dividing(data, j)))
        if not told:
            return ()
        names = tuple(dict.fromkeys(response for response, _ in cells))
        more = f", and of {counted(len(told) - 1, 'other response')} ({IN_FULL})" if len(told) > 1 else ""
        message = f"{told[0]}{more}: these coefficients are infinite, and have no standard errors."
        remedy = "Leave out the term or merge its levels, or use a penalised (Firth) regression."
        return (Finding("separation", message, names, tuple(cells), remedy),)


def _told(response: str, cone: Recession, terms: list[str], dividing: list[str]) -> str:
    """What is separated, by which terms."""
    n, separated = len(cone.cells), int(total(cone.cells))
    names = some((f"`{term}`" for term in terms), TERMS, width=48)
    alone = f" ({some((f'`{term}`' for term in dividing[:1]), width=24)} alone does)" if dividing else ""
    whole, where = ("complete", f"all {n}") if separated == n else ("quasi-complete", f"{separated} of {n}")
    return f"{whole} separation of the classes of `{short(response, 24)}` in {where} samples by {names}{alone}"


def _dividing(data: Dataset, j: int) -> list[str]:
    """Terms whose values in the two classes of response j do not overlap, beyond a common end point."""
    one = data.Y[:, j] == 1
    low, high = data.X[one], data.X[~one]
    apart = (low.amax(0) <= high.amin(0)) | (low.amin(0) >= high.amax(0))
    varied = data.X.amax(0) > data.X.amin(0)
    return [data.terms[k] for k in (apart & varied).nonzero()[:, 0].tolist()]


def _null_loss(data: Dataset) -> Tensor:
    """Minus the log-likelihood of an intercept a_j per response beside the offset, maximised over a.

    Newton's method within a bracket, on sum_i w_i (sigmoid(a_j + O_ij) − Y_ij) = 0, which increases in a.
    """
    w = data.w
    number = total(w)
    a = torch.logit(weighted_total(w, data.Y) / number)
    if bool(data.O.amin() == data.O.amax()):
        ones, zeros = weighted_total(w, data.Y), weighted_total(w, 1.0 - data.Y)
        return -(ones @ bernoulli_loglik(torch.ones_like(a), a) + zeros @ bernoulli_loglik(-torch.ones_like(a), a))
    reach = float(data.O.abs().max())
    low, high = a - reach, a + reach  # the root without an offset, moved by no more than the offset
    a = (a - weighted_total(w, data.O.expand_as(data.Y)) / number).clamp(low, high)
    for _ in range(100):
        eta = a + data.O
        slope = weighted_total(w, torch.sigmoid(eta) - data.Y)
        curvature = weighted_total(w, torch.sigmoid(eta) * torch.sigmoid(-eta))
        low, high = torch.where(slope < 0, a, low), torch.where(slope > 0, a, high)
        step = a - slope / curvature
        after = torch.where((step >= low) & (step <= high), step, 0.5 * (low + high))
        done = bool(((after - a).abs() <= 1e-12 * (1.0 + a.abs())).all())
        a = after
        if done:
            break
    return -weighted_total(w, bernoulli_loglik(2.0 * data.Y - 1.0, a + data.O)).sum()
