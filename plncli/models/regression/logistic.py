"""Logistic regression: Bernoulli responses with log-odds O + XB, each by itself, with Firth's penalty or without."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from plncli.arrays import Params, Parts
from plncli.dataset import Dataset, Stored
from plncli.errors import TERMS, DataError, counted, short, some
from plncli.models.base import Init, Model
from plncli.models.findings import IN_FULL, Finding
from plncli.models.fused import Fused
from plncli.models.neural.spec import has_network
from plncli.models.regression.evaluation import Prepared
from plncli.models.regression.profile import held, likelihood_ratios
from plncli.models.regression.separated import Separated, dividing, separated_by_blocks, separated_responses
from plncli.models.regression.spec import FIRTH
from plncli.models.regression.spec import LOGISTIC as SPEC
from plncli.models.regression.standard_errors import logistic_uncertainty
from plncli.models.spec import Spec
from plncli.models.uncertainty import Interrupted, Ratios, Uncertainty, from_inverses
from plncli.names import PROFILE
from plncli.numerics.likelihoods import bernoulli_loglik
from plncli.numerics.linalg import ImplicitBasis, basis_of, inverses
from plncli.numerics.rows import extremes, number, over_parts, total, weighted_total


class Loss(Fused):
    """Minus the log-likelihood of gamma, penalised or not."""


@dataclass(frozen=True)
class Logistic(Model[Prepared]):
    """Y_ij ~ Bernoulli(1/(1 + exp(−eta_ij))), eta = O + XB, by maximum likelihood; weights count samples.

    The parameter gamma (d×p) holds the coefficients in an orthonormal basis of the design: neither the units of a
    covariate nor what is added to it change the fit. Separated classes have no maximum; `findings` says so exactly.
    penalty: `firth` adds half the log-determinant of the information, and there always is one (`firth.py`).
    """

    penalty: str = "none"

    spec: ClassVar[Spec] = SPEC
    exact_preconditioner: ClassVar[bool] = True

    @classmethod
    def of(cls, own: Mapping[str, Any], matrices: Mapping[str, Tensor]) -> Model[Any]:  # type: ignore[override]
        """The model with these settings: one with a neural mean where it has hidden layers."""
        if not has_network(own):
            return super().of(own, matrices)
        from plncli.models.regression.neural import NeuralLogistic

        return NeuralLogistic.of(own, matrices)

    def prepare(self, data: Dataset) -> Prepared:
        """Check that Y is complete, 0 or 1, and of two classes in each response, and that X has full rank."""
        check_classes(data)
        if data.stored and self.penalised:
            raise DataError("Firth's penalty needs all samples in memory: leave out --block-rows, or --penalty.")
        return Prepared(data, basis_of(data), self.penalised)

    def start(self, prepared: Prepared, init: Init | None = None) -> Params:
        """The constant log-odds of each response, as far as the design can express them.

        init: B of an earlier fit, for the responses of which all coefficients are known.
        """
        data, basis = prepared.data, prepared.basis
        ones, wbar = over_parts(lambda part: (weighted_total(part.w, part.Y), total(part.w)), data, "Yw")
        gamma = torch.outer(torch.mv(basis.U.mT, basis.total) / wbar, torch.logit(ones / wbar))
        if init is not None and "B" in init:
            earlier = basis.T @ init["B"].to(gamma)
            gamma = torch.where(torch.isfinite(earlier).all(0), earlier, gamma)
        return {"gamma": gamma}

    def objective(self, params: Params, prepared: Prepared) -> Tensor:
        """Minus the log-likelihood, in nats: −sum_ij w_i log p(y_ij | eta_ij); less the penalty, if there is one."""
        return Loss.apply(params["gamma"], prepared)

    def at(self, params: Params, prepared: Prepared) -> Parts:
        """The loss at gamma."""
        return Parts({"gamma": prepared.at(params["gamma"])})

    def plain_start(self, prepared: Prepared) -> Params:
        """The same start."""
        return self.start(prepared)

    def plain_objective(self, params: Params, prepared: Prepared) -> Tensor:
        """The objective in ordinary tensor operations: what the fast path is held against."""
        data, basis = prepared.data, prepared.basis
        eta = data.O + basis.A @ basis.inner(params["gamma"])
        loss = -weighted_total(data.w, bernoulli_loglik(2.0 * data.Y - 1.0, eta)).sum()
        if not prepared.penalised:
            return loss
        spread = torch.sigmoid(eta) * torch.sigmoid(-eta) * data.w[:, None]
        information = torch.einsum("ik,ij,il->jkl", data.X, spread, data.X)
        return loss - 0.5 * torch.logdet(information).sum()

    def preconditioner(self, params: Params, prepared: Prepared) -> Callable[[Params], Params]:
        """Inverse of the Hessian of each response, d×d; of the information where a penalised one is not convex.

        Under separation curvature vanishes along some directions. There the inverse is cut off at 1e12 times that of
        the stiffest direction, which bounds the search direction and leaves the objective, and its optimum, alone.
        """
        at = prepared.at(params["gamma"])
        convex = torch.linalg.eigvalsh(at.hessians)[:, :1, None] > 0 if prepared.penalised else None
        H = at.hessians if convex is None else torch.where(convex, at.hessians, at.information)
        values, V = torch.linalg.eigh(H)
        tiny = torch.finfo(values.dtype).tiny
        inverse = 1.0 / torch.maximum(values, (1e-12 * values[:, -1:]).clamp(min=tiny))

        def apply(v: Params) -> Params:
            inner = torch.matmul(V.mT, v["gamma"].mT.unsqueeze(2)) * inverse.unsqueeze(2)
            return {"gamma": (V @ inner).squeeze(2).mT}

        return apply

    def curvature(self, params: Params, prepared: Prepared) -> Params:
        """Diagonal of the Hessian, d×p, kept off zero where separation has flattened it."""
        information = prepared.at(params["gamma"]).information
        return {"gamma": information.diagonal(dim1=1, dim2=2).mT.clamp_min(1e-6)}

    def estimates(self, params: Params, prepared: Prepared) -> dict[str, Tensor]:
        """B (d×p), log odds ratios per unit of X's own columns."""
        return {"B": prepared.basis.coefficients(params["gamma"])}

    def n_parameters(self, prepared: Prepared, params: Params | None = None) -> int:
        """One coefficient for each term and response."""
        return prepared.data.d * prepared.data.p

    def r2(self, params: Params, prepared: Prepared) -> float:
        """1 − deviance / null deviance, McFadden's, since the saturated log-likelihood of 0/1 data is 0."""
        return 1.0 + float(prepared.at(params["gamma"]).loglik) / float(null_loss(prepared.data))

    def default_se(self, prepared: Prepared) -> str:
        """Model-based standard errors: they cost next to nothing; robust ones where samples come in clusters.

        With the penalty, tests and intervals by likelihood ratios: near separation Wald's are far off.
        """
        if prepared.penalised:
            return PROFILE
        return "fisher" if prepared.data.clusters is None else "robust"

    def uncertainty(
        self, params: Params, prepared: Prepared, method: str, gap: float, cancelled: Callable[[], bool]
    ) -> Uncertainty:
        """Covariance of B; with `profile`, likelihood ratios beside it.

        With the penalty it is the inverse of the information at the estimates, as Heinze & Schemper (2002) take it.
        """
        gamma, at = params["gamma"], prepared.at(params["gamma"])
        B, basis = prepared.basis.coefficients(gamma), prepared.basis
        if prepared.penalised:
            found = from_inverses(method, basis, inverses(at.information), torch.zeros_like(B, dtype=torch.bool))
        else:
            kind = "fisher" if method == PROFILE else method
            data = prepared.data
            separated = _separated(data, basis, B, gap)
            found = replace(logistic_uncertainty(data, basis, B, at.information, kind, separated), method=method)
        if method != PROFILE:
            return found

        def stop() -> None:
            if cancelled():
                raise Interrupted

        infinite = torch.isnan(found.variance).any(0).expand_as(B)
        return replace(found, ratios=likelihood_ratios(prepared, gamma, infinite, found.variance, stop))

    def held(
        self, B: Tensor, prepared: Prepared, rows: Tensor, values: Tensor, std_error: Tensor, level: float | None
    ) -> Ratios:
        """Likelihood ratios, penalised ones with the penalty: see `profile.held`."""
        return held(prepared, prepared.basis.T @ B, rows, values, std_error, level)

    @property
    def penalised(self) -> bool:
        """Whether Firth's penalty is part of the objective."""
        return self.penalty == FIRTH

    def findings(self, params: Params, prepared: Prepared, gap: float) -> tuple[Finding, ...]:
        """Separated responses, with every term that has no finite coefficient."""
        if prepared.penalised:
            return ()  # the estimates are finite
        data = prepared.data
        cells: list[tuple[str, str]] = []
        told = []
        if isinstance(data, Stored):
            separated = separated_by_blocks(data, prepared.basis, self.estimates(params, prepared)["B"], gap)
        else:
            separated = separated_responses(data, prepared.at(params["gamma"]).margin, gap)
        for j, found in separated.items():
            response, terms = data.responses[j], [data.terms[k] for k in found.cone.infinite().nonzero()[:, 0].tolist()]
            cells += [(response, term) for term in terms]
            told.append(_told(response, number(data.n), found.number, terms, dividing(data, j)))
        if not told:
            return ()
        names = tuple(dict.fromkeys(response for response, _ in cells))
        more = f", and of {counted(len(told) - 1, 'other response')} ({IN_FULL})" if len(told) > 1 else ""
        message = f"{told[0]}{more}: these coefficients are infinite, and have no standard errors."
        remedy = "Use --penalty firth, which keeps them finite, leave out the term, or merge its levels."
        return (Finding("separation", message, names, tuple(cells), remedy),)


def check_classes(data: Dataset) -> None:
    """DataError unless Y is complete, 0 or 1, and of two classes in each response."""
    if data.K is not None:
        raise DataError("Logistic regression takes no missing responses; leave those samples out (--missing drop).")
    binary = extremes(lambda part: (part.Y == 0) | (part.Y == 1), data, "Y")[0]
    if not bool(binary.all()):
        names = some(f"`{data.responses[j]}`" for j in (~binary).nonzero()[:, 0].tolist())
        raise DataError(f"Logistic regression needs responses of 0 and 1; {names} holds other values.")
    lowest, highest = extremes(lambda part: part.Y, data, "Y")
    single = lowest == highest
    if bool(single.any()):
        n = number(data.n)
        names = some(
            f"`{data.responses[j]}` ({lowest[j]:.0f} in all {n} samples)" for j in single.nonzero()[:, 0].tolist()
        )
        raise DataError(f"A response needs both classes: {names}. Leave it out, or check how it was coded.")


def _separated(data: Dataset, basis: ImplicitBasis, B: Tensor, gap: float) -> dict[int, Separated]:
    """The separated responses at coefficients B (d×p)."""
    if isinstance(data, Stored):
        return separated_by_blocks(data, basis, B, gap)
    return separated_responses(data, (2.0 * data.Y - 1.0) * (data.O + data.X @ B), gap)


def _told(response: str, n: int, separated: int, terms: list[str], alone: list[str]) -> str:
    """What is separated, by which terms."""
    names = some((f"`{term}`" for term in terms), TERMS, width=48)
    one = f" ({some((f'`{term}`' for term in alone[:1]), width=24)} alone does)" if alone else ""
    whole, where = ("complete", f"all {n}") if separated == n else ("quasi-complete", f"{separated} of {n}")
    return f"{whole} separation of the classes of `{short(response, 24)}` in {where} samples by {names}{one}"


def null_loss(data: Dataset) -> Tensor:
    """Minus the log-likelihood of an intercept a_j per response beside the offset, maximised over a.

    Newton's method within a bracket, on sum_i w_i (sigmoid(a_j + O_ij) − Y_ij) = 0, which increases in a.
    """
    number, ones = over_parts(lambda part: (total(part.w), weighted_total(part.w, part.Y)), data, "Yw")
    a = torch.logit(ones / number)
    lowest, highest = extremes(lambda part: part.O.amin(1), data, "O")[0], extremes(_largest, data, "O")[1]
    if bool(lowest == highest):
        (zeros,) = over_parts(lambda part: (weighted_total(part.w, 1.0 - part.Y),), data, "Yw")
        return -(ones @ bernoulli_loglik(torch.ones_like(a), a) + zeros @ bernoulli_loglik(-torch.ones_like(a), a))
    reach = float(torch.maximum(-lowest, highest))
    low, high = a - reach, a + reach  # the root without an offset, moved by no more than the offset
    (offsets,) = over_parts(lambda part: (weighted_total(part.w, part.O.expand_as(part.Y)),), data, "Ow")
    a = (a - offsets / number).clamp(low, high)

    def slopes(part: Dataset) -> tuple[Tensor, Tensor]:
        eta = a + part.O
        slope = weighted_total(part.w, torch.sigmoid(eta) - part.Y)
        return slope, weighted_total(part.w, torch.sigmoid(eta) * torch.sigmoid(-eta))

    for _ in range(100):
        slope, curvature = over_parts(slopes, data, "YOw")
        low, high = torch.where(slope < 0, a, low), torch.where(slope > 0, a, high)
        step = a - slope / curvature
        after = torch.where((step >= low) & (step <= high), step, 0.5 * (low + high))
        done = bool(((after - a).abs() <= 1e-12 * (1.0 + a.abs())).all())
        a = after
        if done:
            break

    def loglik(part: Dataset) -> tuple[Tensor]:
        return (weighted_total(part.w, bernoulli_loglik(2.0 * part.Y - 1.0, a + part.O)).sum(),)

    return -over_parts(loglik, data, "YOw")[0]


def _largest(part: Dataset) -> Tensor:
    return part.O.amax(1)
