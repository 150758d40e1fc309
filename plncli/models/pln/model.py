"""Multivariate Poisson log-normal regression, fitted by its profiled variational bound."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from plncli.arrays import Evaluated, Params
from plncli.dataset import Dataset
from plncli.errors import DataError, counted, some, unfit
from plncli.models.base import Init, Model
from plncli.models.findings import Finding
from plncli.models.pln.elbo import (
    LatentTable,
    block_curvature,
    feature_preconditioner,
    objective,
    plain_objective,
    weigh,
)
from plncli.models.pln.poisson import PoissonTable
from plncli.models.pln.sandwich import Cells, sandwich, scales, work
from plncli.models.pln.structures import Diagonal, Fixed, Full, Layer
from plncli.models.pln.variational_step import variational_step
from plncli.models.uncertainty import (
    Determined,
    Uncertainty,
    alone_finding,
    cluster_correction,
    from_inverses,
    resting_on_one,
)
from plncli.names import COVARIANCES
from plncli.numerics.likelihoods import log_factorial, poisson_deviance
from plncli.numerics.linalg import Basis, cholesky_scaled, orthonormal_basis, weighted_grams
from plncli.numerics.separation import Courses, poisson_separation

POISSON_SHARE = 0.95
"""Share of q's own variance in Sigma_jj above which a feature may have no extra-Poisson variance at all."""
RETRY = 0.1
"""A feature that was not moved to the boundary is looked at again when its variance has fallen by this factor."""
MAX_RETURNS = 2
"""How often a feature may come back from the boundary."""
MOST_WORK = 2e12
"""Multiplications that the sandwich may take by default: about a minute on one core."""
MOST_NUMBERS = 2e8
"""Entries of the largest matrix that the sandwich may hold by default: (14 000 coefficients)², 1.6 GB."""
NAIVE = (
    "Standard errors `fisher` of a Poisson log-normal model take the latent layer as known: they are far too small "
    "(intervals of 95 % cover about 20 %). Use --se sandwich."
)
FEW = (
    "{n} samples are few for {d} coefficients a feature: the standard errors rest on large samples and come out "
    "somewhat large below 4 samples a coefficient."
)


@dataclass(frozen=True)
class Prepared:
    """Data split for the solver: `latent` features have a latent layer, `poisson` ones sit at Sigma_jj = 0.

    latent, poisson: (q,) and (p − q,) indices of features; separated: n×p, cells whose expected count is 0 at the
    supremum, and limits: d×p, where coefficients go (0 a finite value, ±1 to ±inf, nan open), both None when all are
    finite; counted: n×p, 1 where the cell counts (observed and not separated), None when all do; tried: (p,) variance
    at which a feature was last kept off the boundary; returns: (p,) how often it came back from there; courses: where
    linear predictors of other samples go, None as limits.
    """

    data: Dataset
    basis: Basis
    separated: Tensor | None
    limits: Tensor | None
    counted: Tensor | None
    latent: Tensor
    poisson: Tensor
    table: LatentTable
    boundary: PoissonTable
    tried: Tensor
    returns: Tensor
    courses: Courses | None = None


@dataclass(frozen=True)
class PLN:
    """Poisson log-normal model. covariance: full, diagonal, spherical, or fixed at the inverse of `precision` (p×p).

    Aitchison & Ho 1989; Chiquet, Mariadassou & Robin 2018, 2021. Two boundaries are solved exactly instead of being
    approached for ever: separated cells, whose expected count falls to 0, leave the likelihood, and features without
    extra-Poisson variance become Poisson regressions beside the rest.
    """

    name: ClassVar[str] = "pln"
    summary: ClassVar[str] = "multivariate Poisson log-normal model of a table of counts"
    exact_preconditioner: ClassVar[bool] = False
    covariance: str = "full"
    precision: Tensor | None = None

    def __post_init__(self) -> None:
        if self.covariance not in COVARIANCES:
            raise DataError(f"Unknown covariance `{self.covariance}`; choose one of {', '.join(COVARIANCES)}.")
        if (self.covariance == "fixed") != (self.precision is not None):
            raise DataError("A precision matrix goes with the covariance `fixed`, and only with it.")

    # -- preparation ---------------------------------------------------------------------------------------------

    def fittable(self, data: Dataset) -> Tensor:
        """Features with a count other than 0."""
        return _counted(data)

    def among(self, responses: Tensor) -> PLN:
        """The model of some features alone: a precision that is given becomes that of their marginal distribution."""
        if self.precision is None:
            return self
        Sigma = torch.linalg.inv(self.precision)[responses][:, responses]
        return replace(self, precision=torch.linalg.inv(Sigma))

    def prepare(self, data: Dataset) -> Prepared:
        """Check counts and design, find separated cells, and split off nothing else yet."""
        _check_counts(data)
        basis = orthonormal_basis(data.X, data.w, data.terms)
        separation = poisson_separation(data.X, data.Y, data.K)
        separated = None if separation is None else separation.cells
        limits = None if separation is None else separation.limits().to(data.Y)
        counted = None if data.K is None else data.K.to(data.Y.dtype)
        if separated is not None:
            kept = (~separated).to(data.Y.dtype)
            counted = kept if counted is None else counted * kept
        latent = torch.arange(data.p, device=data.Y.device)
        table, boundary = self._tables(data, basis, counted, latent, latent[:0])
        tried = torch.full_like(data.Y[0], math.inf)
        return Prepared(
            data,
            basis,
            separated,
            limits,
            counted,
            latent,
            latent[:0],
            table,
            boundary,
            tried,
            torch.zeros_like(latent),
            None if separation is None else separation.courses(),
        )

    def _tables(
        self, data: Dataset, basis: Basis, counted: Tensor | None, latent: Tensor, poisson: Tensor
    ) -> tuple[LatentTable, PoissonTable]:
        def part(features: Tensor) -> tuple[Tensor, Tensor, Tensor | None, float]:
            whole = len(features) == data.p
            Y = data.Y if whole else data.Y[:, features]
            O = data.O if data.O.shape[1] == 1 or whole else data.O[:, features]
            K = counted if counted is None or whole else counted[:, features]
            cells = log_factorial(Y) if K is None else K * log_factorial(Y)
            return Y, O, K, float((data.w[:, None] * cells).sum())

        w = None if bool((data.w == 1).all()) else data.w
        Y, O, K, constant = part(latent)
        table = LatentTable(Y, O, K, w, data.total_weight, basis.Q, None, self._layer(latent), constant)
        Y, O, K, constant = part(poisson)
        return table, PoissonTable(Y, O, K, data.w, basis.Q, constant)

    def _layer(self, latent: Tensor) -> Callable[[Tensor, Tensor, Tensor | None, float], Layer]:
        if self.covariance == "full":
            return Full
        if self.covariance in ("diagonal", "spherical"):
            return partial(Diagonal, shared=self.covariance == "spherical")
        assert self.precision is not None
        Omega = self.precision.to(device=latent.device)[latent][:, latent]
        factor = cholesky_scaled(Omega)
        if factor is None:
            raise DataError("The precision matrix is not positive definite; give one that is symmetric and invertible.")
        return partial(Fixed, Omega=Omega, factor=factor)

    # -- the model, as optimizers see it --------------------------------------------------------------------------

    def start(self, prepared: Prepared, init: Init | None = None) -> Params:
        """M = log(1 + Y) − O and S² = 1/(2 + Y); cells that don't count start at the mean of their feature, S² = ½.

        Coefficients of features on the boundary start at 0. init: M_finite and S of an earlier fit, each in the cells
        where it is known; S = 0, of features that were on the boundary, is no start.
        """
        table = prepared.table
        M = table.Y.log1p() - table.O
        psi = -(2.0 + (table.Y if table.K is None else table.Y * table.K)).log()
        if table.K is not None:
            mean = (M * table.K).sum(0) / table.K.sum(0)
            M = torch.where(table.K > 0, M, mean)
        if init is not None:
            earlier, S = (init[symbol][:, prepared.latent].to(M) for symbol in ("M_finite", "S"))
            M = torch.where(torch.isfinite(earlier), earlier, M)
            psi = torch.where(torch.isfinite(S) & (S > 0), 2.0 * S.log(), psi)
        start = {"q": torch.stack([M, psi])}
        if len(prepared.poisson):
            start["gamma"] = M.new_zeros((prepared.data.d, len(prepared.poisson)))
        return start

    def objective(self, params: Params, prepared: Prepared) -> Tensor:
        """Minus the ELBO in nats, constants included."""
        loss = objective(params["q"], prepared.table)
        return loss if "gamma" not in params else loss + prepared.boundary.objective(params["gamma"])

    def parts(self, params: Params, prepared: Prepared) -> dict[str, Evaluated]:
        """The latent features and those on the boundary, which have nothing to do with each other."""
        parts: dict[str, Evaluated] = {"q": prepared.table.at(params["q"])}
        if "gamma" in params:
            parts["gamma"] = prepared.boundary.at(params["gamma"])
        return parts

    def plain_start(self, prepared: Prepared) -> Params:
        """The start of `plain_objective`: M and psi by their own names."""
        M, psi = self.start(prepared)["q"]
        return {"M": M, "psi": psi}

    def plain_objective(self, params: Params, prepared: Prepared) -> Tensor:
        """The same objective in ordinary tensor operations, differentiated by autograd alone."""
        return plain_objective((params["M"], params["psi"]), prepared.table)

    def preconditioner(self, params: Params, prepared: Prepared) -> Callable[[Params], Params]:
        """Approximate inverse of each latent feature's block, and exact inverse of each boundary feature's Hessian."""
        latent = feature_preconditioner(params["q"], prepared.table)
        if "gamma" not in params:
            return lambda v: {"q": latent(v["q"])}
        poisson = prepared.boundary.preconditioner(params["gamma"])
        return lambda v: {"q": latent(v["q"]), "gamma": poisson(v["gamma"])}

    def curvature(self, params: Params, prepared: Prepared) -> Params:
        """Diagonal of the preconditioner's blocks."""
        diagonal = {"q": torch.stack(block_curvature(prepared.table.at(params["q"]))[::2])}
        if "gamma" in params:
            diagonal["gamma"] = prepared.boundary.curvature(params["gamma"])
        return diagonal

    def conditional(self, params: Params, prepared: Prepared) -> tuple[Model, Prepared]:
        """The variational step: B and Omega held where they are best for `params` (the exact M-step)."""
        table = prepared.table
        layer = table.at(params["q"]).layer
        Omega = layer.inverse()
        factor = cholesky_scaled(Omega)
        assert factor is not None
        held = partial(Fixed, Omega=Omega, factor=factor, Sigma=layer.covariance())
        table = replace(table, centre=table.fitted(params["q"][0]), layer=held)
        return self, replace(prepared, table=table)

    def settle(self, params: Params, prepared: Prepared) -> tuple[Params, Prepared]:
        """B and Sigma held where they are, q where it is best for them, sample by sample: what new samples get too.

        At the optimum nothing changes. Where the tolerance ended the fit, the bound grows by no more than was left.
        """
        if not len(prepared.latent):
            return params, prepared
        Omega = prepared.table.at(params["q"]).layer.inverse()
        if cholesky_scaled(Omega) is None:  # a fit that ended where its variance was all but gone
            return params, prepared
        held = self.conditional(params, prepared)[1]
        table = held.table
        assert table.centre is not None
        M, psi = params["q"].detach()
        K = torch.ones_like(M) if table.K is None else table.K
        step = variational_step(table.Y, K, table.O, table.centre, Omega, (M, psi))
        q = torch.stack([step.M, 2.0 * step.S.log()])
        return {**params, "q": torch.where(step.converged[:, None], q, params["q"])}, held

    # -- the boundary Sigma_jj = 0 ---------------------------------------------------------------------------------

    def degenerate(self, params: Params, prepared: Prepared) -> bool:
        """Whether some feature that was not looked at yet has little but q's own variance left."""
        return self.covariance != "fixed" and bool(self._suspects(params, prepared).any())

    def _suspects(self, params: Params, prepared: Prepared) -> Tensor:
        """(q,) latent features whose variance is almost all S²; with a shared variance, all of them or none."""
        table = prepared.table
        at = table.at(params["q"])
        own = weigh(table, at.S2).sum(0) / table.wbar
        variance = own + weigh(table, at.R.square()).sum(0) / table.wbar
        if self.covariance == "spherical":
            own, variance = own.mean().expand_as(own), variance.mean().expand_as(variance)
        return (own > POISSON_SHARE * variance) & (variance < RETRY * prepared.tried[prepared.latent])

    def resume(self, prepared: Prepared, init: Init) -> tuple[Params, Prepared]:
        """Begin where an earlier fit ended: features that it left on the boundary start there; `revise` judges them.

        Beside the boundary they would take steps to come back to it, and might end in another of its minima.
        """
        params = self.start(prepared, init)
        S = init["S"].to(prepared.tried)
        stay = (S == 0).any(0) & ((S == 0) | S.isnan()).all(0) & (self.covariance != "fixed")
        if self.covariance == "spherical":
            stay = stay.all().expand_as(stay)
        if not bool(stay.any()):
            return params, prepared
        return self._move(params, prepared, stay, stay[:0], prepared.tried.clone())

    def revise(self, params: Params, prepared: Prepared, *, settled: bool) -> tuple[Params, Prepared] | None:
        """Move features to the boundary Sigma_jj = 0, or, once `settled`, back; None when nothing changes.

        A feature goes to the boundary when a Poisson regression is at least as good as what it has now and the score of
        its variance at 0 is not positive; it comes back when that score is positive at the optimum of the rest.
        """
        if self.covariance == "fixed":
            return None
        enter, tried = self._enter(params, prepared)
        leave = self._leave(params, prepared) if settled else torch.zeros_like(prepared.poisson, dtype=torch.bool)
        if not bool(enter.any() or leave.any()):
            return None if settled or tried is prepared.tried else (params, replace(prepared, tried=tried))
        return self._move(params, prepared, enter, leave, tried)

    def _enter(self, params: Params, prepared: Prepared) -> tuple[Tensor, Tensor]:
        """(q,) features to move to the boundary, and the record of what was tried."""
        suspects = self._suspects(params, prepared)
        if not bool(suspects.any()):
            return suspects, prepared.tried
        table = prepared.table
        M, psi = params["q"].detach()
        at = table.at(params["q"])
        chosen = suspects.nonzero()[:, 0]
        candidate = PoissonTable.of(table, chosen, prepared.data.w)
        gamma = candidate.fit(table.coefficients(M)[:, chosen])
        poisson_loss = candidate.losses(gamma)
        linear = table.Y * (table.O + M)
        cells = at.A - weigh(table, (linear if table.K is None else linear * table.K) + 0.5 * psi)
        now = cells.sum(0)[chosen] - 0.5 * table.wbar * at.layer.precision.log()[chosen]
        others = ~suspects
        score = candidate.variance_scores(gamma, at.R[:, others], at.S2[:, others], self.covariance == "full")
        if self.covariance == "spherical":
            poisson_loss, now, score = poisson_loss.sum(), now.sum(), score.sum()
        rounding = 1e-12 * (1.0 + now.abs())
        enter = torch.zeros_like(suspects)
        enter[chosen] = ((poisson_loss <= now + rounding) & (score <= 0.0)).expand(len(chosen))
        tried = prepared.tried.clone()
        tried[prepared.latent[chosen]] = at.layer.precision.reciprocal()[chosen]
        return enter, tried

    def _leave(self, params: Params, prepared: Prepared) -> Tensor:
        """(p − q,) boundary features whose variance would grow again."""
        if not len(prepared.poisson):
            return torch.zeros_like(prepared.poisson, dtype=torch.bool)
        table = prepared.table
        at = table.at(params["q"])
        score = prepared.boundary.variance_scores(params["gamma"].detach(), at.R, at.S2, self.covariance == "full")
        if self.covariance == "spherical":
            score = score.sum().expand_as(score)
        return (score > 0.0) & (prepared.returns[prepared.poisson] < MAX_RETURNS)

    def _move(
        self, params: Params, prepared: Prepared, enter: Tensor, leave: Tensor, tried: Tensor
    ) -> tuple[Params, Prepared]:
        data, table = prepared.data, prepared.table
        q = data.Y.new_zeros((2, data.n, data.p))
        q[:, :, prepared.latent] = params["q"].detach()
        M, psi = q
        gamma = data.Y.new_zeros((data.d, data.p))
        gamma[:, prepared.latent] = table.coefficients(params["q"][0].detach())
        back = prepared.poisson[leave]
        if len(prepared.poisson):
            gamma[:, prepared.poisson] = params["gamma"].detach()
            residual = prepared.boundary.residuals(params["gamma"].detach())[:, leave]
            variance = 0.1 / (1.0 + prepared.boundary.means(params["gamma"].detach()).mean(0)[leave])
            M[:, back] = prepared.basis.Q @ gamma[:, back] + variance * residual
            psi[:, back] = variance.log()
        latent = torch.cat([prepared.latent[~enter], back]).sort().values
        poisson = torch.cat([prepared.poisson[~leave], prepared.latent[enter]]).sort().values
        returns = prepared.returns.clone()
        returns[back] += 1
        tried[back] = math.inf
        standing = {"latent": latent, "poisson": poisson, "tried": tried, "returns": returns}
        changed = self.stand(prepared, standing)
        start = {"q": q[:, :, latent]}
        if len(poisson):
            start["gamma"] = changed.boundary.fit(gamma[:, poisson])
        return start, changed

    def standing(self, prepared: Prepared) -> dict[str, Tensor]:
        """Which features are on the boundary, and what was tried."""
        return {name: getattr(prepared, name) for name in ("latent", "poisson", "tried", "returns")}

    def stand(self, prepared: Prepared, standing: Mapping[str, Tensor]) -> Prepared:
        """The data split as `standing` says; DataError unless each feature stands in one place."""
        known: dict[str, Any] = {name: tensor.to(prepared.data.Y.device) for name, tensor in standing.items()}
        self._check_standing(known, prepared)
        latent, poisson = known["latent"], known["poisson"]
        table, boundary = self._tables(prepared.data, prepared.basis, prepared.counted, latent, poisson)
        return replace(prepared, table=table, boundary=boundary, **known)

    def _check_standing(self, known: Mapping[str, Tensor], prepared: Prepared) -> None:
        if {*known} != {*self.standing(prepared)}:
            raise unfit("it splits the features by other names")
        p, whole = prepared.data.p, [known[name] for name in ("latent", "poisson", "returns")]
        if any(tensor.dtype != torch.int64 or tensor.ndim != 1 for tensor in whole):
            raise unfit("it splits the features by what are no numbers of them")
        split = torch.cat(whole[:2])
        in_order = all(bool((part.diff() > 0).all()) for part in whole[:2])
        if not in_order or not torch.equal(split.sort().values, torch.arange(p, device=split.device)):
            raise unfit("it has other features")
        if len(known["poisson"]) and (
            self.covariance == "fixed" or (self.covariance == "spherical" and len(known["latent"]))
        ):
            raise unfit("it has features without variance, which this covariance does not")
        tried, returns = known["tried"], known["returns"]
        if len(returns) != p or bool((returns < 0).any() | (returns > MAX_RETURNS).any()):
            raise unfit("it has features come back from nowhere")
        if tried.shape != (p,) or tried.dtype != prepared.tried.dtype or not bool((tried >= 0).all()):
            raise unfit("it has tried what are no variances")

    # -- what comes out --------------------------------------------------------------------------------------------

    def estimates(self, params: Params, prepared: Prepared) -> dict[str, Tensor]:
        """B (d×p), Sigma, Omega (p×p), M and S (n×p).

        Separated coefficients are ±inf (nan where not even that is determined) and M is −inf in separated cells. A
        feature on the boundary has exact zeros in Sigma and S, and nan in Omega, which does not exist there.
        """
        data, table, latent = prepared.data, prepared.table, prepared.latent
        B = self._finite_coefficients(params, prepared)
        fitted = data.X @ B
        if prepared.limits is not None:
            B = torch.where(prepared.limits == 0, B, prepared.limits * math.inf)
        Sigma, Omega = B.new_zeros((data.p, data.p)), B.new_full((data.p, data.p), math.nan)
        M, S = fitted, torch.zeros_like(fitted)
        if len(latent):
            layer = table.at(params["q"]).layer
            Sigma[latent[:, None], latent] = layer.covariance()
            Omega[latent[:, None], latent] = layer.inverse()
            M[:, latent] = params["q"][0]
            S[:, latent] = (0.5 * params["q"][1]).exp()
        if prepared.separated is not None:
            M = M.masked_fill(prepared.separated, -math.inf)
        return {"B": B, "Sigma": Sigma, "Omega": Omega, "M": M, "S": S}

    def _finite_coefficients(self, params: Params, prepared: Prepared) -> Tensor:
        G = prepared.data.Y.new_zeros((prepared.data.d, prepared.data.p))
        G[:, prepared.latent] = prepared.table.coefficients(params["q"][0])
        if "gamma" in params:
            G[:, prepared.poisson] = params["gamma"]
        return prepared.basis.coefficients(G)

    def n_parameters(self, prepared: Prepared) -> int:
        """d·p coefficients, and p(p + 1)/2, p, 1 or 0 parameters of Sigma."""
        p = prepared.data.p
        of_Sigma = {"full": p * (p + 1) // 2, "diagonal": p, "spherical": 1, "fixed": 0}
        return prepared.data.d * p + of_Sigma[self.covariance]

    def entropy(self, params: Params, prepared: Prepared) -> float:
        """½ sum_ij w_i log(2πe s_ij²) over the cells with a latent variable, in nats."""
        cells = 0.5 * (params["q"][1] + math.log(2.0 * math.pi * math.e))
        return float(weigh(prepared.table, cells).sum())

    def r2(self, params: Params, prepared: Prepared) -> float:
        """1 − deviance of the fitted means A against that of a Poisson model with intercept and offset alone."""
        data = prepared.data
        fitted = torch.zeros_like(data.Y)
        M, psi = params["q"]
        fitted[:, prepared.latent] = (prepared.table.O + M + 0.5 * psi.exp()).exp()
        if "gamma" in params:
            fitted[:, prepared.poisson] = prepared.boundary.means(params["gamma"])
        if prepared.separated is not None:
            fitted = fitted.masked_fill(prepared.separated, 0.0)
        weight = data.w[:, None].expand_as(data.Y)
        if data.K is not None:
            weight = weight * data.K
        exposure = data.O.exp().expand_as(data.Y)
        null = exposure * (weight * data.Y).sum(0) / (weight * exposure).sum(0)
        deviance = (weight * poisson_deviance(data.Y, fitted)).sum()
        null_deviance = (weight * poisson_deviance(data.Y, null)).sum()
        return float(1.0 - deviance / null_deviance) if float(null_deviance) > 0 else math.nan

    def state(self, params: Params, prepared: Prepared) -> dict[str, Tensor]:
        """Finite coefficients B_finite (d×p), finite latent means M_finite (n×p) and the features on the boundary.

        Where coefficients are not finite, also what tells the course of other linear predictors (`Courses`).
        """
        M = prepared.data.X @ self._finite_coefficients(params, prepared)
        M[:, prepared.latent] = params["q"][0]
        B = self._finite_coefficients(params, prepared)
        courses = {} if prepared.courses is None else prepared.courses.tensors()
        return {"B_finite": B, "M_finite": M, "poisson_features": prepared.poisson, **courses}

    def default_se(self, prepared: Prepared) -> str | Finding:
        """`sandwich`, unless that would take much longer than the fit."""
        joint, d = len(self._joint(prepared)), prepared.data.d
        if work(prepared.data.n, joint, d) <= MOST_WORK and (joint * d) ** 2 <= MOST_NUMBERS:
            return "sandwich"
        message = (
            f"No standard errors, for those of {counted(joint, 'correlated feature')} would take minutes or more; ask "
            "for them with --se sandwich, or fit with --covariance diagonal."
        )
        return Finding("no-standard-errors", message)

    def uncertainty(
        self, params: Params, prepared: Prepared, method: str, gap: float, cancelled: Callable[[], bool]
    ) -> Uncertainty | Finding:
        """Covariance of B: `sandwich` (see `pln_sandwich`), or `fisher`, as if the latent layer had been observed.

        Coefficients without a finite value have none; the finite ones of the same feature rest on the cells left.
        """
        data, basis = prepared.data, prepared.basis
        cells = self._cells(params, prepared)
        missing = torch.zeros(data.d, data.p, dtype=torch.bool, device=data.Y.device)
        if prepared.limits is not None:
            missing |= prepared.limits != 0
        if method == "fisher":
            weighted = data.w[:, None] * self._means(params, prepared)
            found = from_inverses(method, basis, cells.at.inverse(weighted_grams(basis.Q, weighted)), missing)
            return replace(found, findings=(Finding("naive-standard-errors", NAIVE),))
        alone = resting_on_one(basis, data.w, prepared.counted, cells.at, data.p, data.clusters) & ~missing
        answer = sandwich(cells, missing | alone, cancelled)
        if answer is None:
            return Finding("no-standard-errors", "No standard errors: the curvature of the bound is not positive.")
        few = (Finding("few-samples", FEW.format(n=data.n, d=data.d)),) if data.n < 4 * data.d else ()
        return replace(answer, findings=(*few, *alone_finding(alone, data)))

    def _joint(self, prepared: Prepared) -> Tensor:
        """Features that Sigma correlates with others."""
        return prepared.latent if self.covariance in ("full", "fixed") else prepared.latent[:0]

    def _means(self, params: Params, prepared: Prepared) -> Tensor:
        """Expected counts A, n×p, 0 in cells that don't count."""
        A = torch.zeros_like(prepared.data.Y)
        M, psi = params["q"]
        A[:, prepared.latent] = (prepared.table.O + M + 0.5 * psi.exp()).exp()
        if "gamma" in params:
            A[:, prepared.poisson] = prepared.boundary.means(params["gamma"])
        return A if prepared.counted is None else A * prepared.counted

    def _cells(self, params: Params, prepared: Prepared) -> Cells:
        """What the sandwich needs of the fit."""
        data, latent = prepared.data, prepared.latent
        A = self._means(params, prepared)
        Y = data.Y if prepared.counted is None else data.Y * prepared.counted
        Sigma, omega = A.new_zeros((data.p, data.p)), A.new_full((data.p,), math.inf)
        if len(latent):
            layer = prepared.table.at(params["q"]).layer
            Sigma[latent[:, None], latent] = layer.covariance()
            omega[latent] = layer.precision
        E, H = Y - A, A / (1.0 + 0.5 * A / (A + omega).square())
        free = torch.where(omega.isinf(), 0.0, omega) * (self.covariance != "fixed")
        moving = scales(data.w, A, E, H, Sigma, free, shared=self.covariance == "spherical")
        at = Determined.by(prepared.basis.Q, data.w, prepared.counted)
        clusters, factor = data.clusters, 1.0 if data.clusters is None else cluster_correction(data)
        return Cells(prepared.basis, data.w, E, H, Sigma, self._joint(prepared), at, moving, clusters, factor)

    def findings(self, params: Params, prepared: Prepared, gap: float) -> tuple[Finding, ...]:
        """Coefficients without a finite estimate, and features without extra-Poisson variance."""
        return tuple(f for f in (_separated(prepared), _open(prepared), _without_variance(prepared)) if f is not None)


def _counted(data: Dataset) -> Tensor:
    """(p,) features with a count other than 0."""
    return (data.Y if data.K is None else data.Y * data.K).sum(0) > 0


def _check_counts(data: Dataset) -> None:
    Y = data.Y if data.K is None else data.Y[data.K]
    if not bool(((Y >= 0) & (Y.round() == Y) & torch.isfinite(Y)).all()):
        raise DataError("Counts must be finite whole numbers of 0 or more; mark missing ones in the mask K.")
    empty = [data.responses[j] for j in (~_counted(data)).nonzero()[:, 0].tolist()]
    if empty:
        raise DataError(
            f"{len(empty)} features have no count at all: {some(empty)}. They tell nothing about the model; drop them."
        )


def _separated(prepared: Prepared) -> Finding | None:
    if prepared.separated is None or not bool(prepared.separated.any()):
        return None
    cells, told = _infinite(prepared, prepared.separated.any(0))
    message = (
        f"{_count(len(told), 'feature')} without any count in a whole part of the design, such as all samples of a "
        f"group, so {_count(len(cells), 'coefficient')} without finite estimate or standard error: {some(told, 20)}. "
        f"The expected count is exactly 0 in these {int(prepared.separated.sum())} cells; nothing else is affected."
    )
    return Finding("separation", message, tuple(dict.fromkeys(feature for feature, _ in cells)), cells)


def _open(prepared: Prepared) -> Finding | None:
    """Coefficients that the observed cells leave open, in features without separation."""
    if prepared.limits is None or prepared.separated is None:
        return None
    cells, told = _infinite(prepared, ~prepared.separated.any(0))
    if not cells:
        return None
    message = (
        f"{_count(len(told), 'feature')} with too few observed counts to determine "
        f"{_count(len(cells), 'coefficient')}, left empty: {some(told, 20)}."
    )
    return Finding("not-determined", message, tuple(dict.fromkeys(feature for feature, _ in cells)), cells)


def _infinite(prepared: Prepared, among: Tensor) -> tuple[tuple[tuple[str, str], ...], list[str]]:
    """(feature, term) pairs without a finite coefficient among some features (p,), and a phrase for each feature."""
    data, limits = prepared.data, prepared.limits
    assert limits is not None
    value = {1.0: "inf", -1.0: "-inf"}
    cells: list[tuple[str, str]] = []
    told = []
    for j in ((limits != 0).any(0) & among).nonzero()[:, 0].tolist():
        terms = [k for k in range(data.d) if float(limits[k, j]) != 0]
        cells += [(data.responses[j], data.terms[k]) for k in terms]
        where = ", ".join(f"{data.terms[k]} {value.get(float(limits[k, j]), 'not determined')}" for k in terms)
        told.append(f"{data.responses[j]} ({where})")
    return tuple(cells), told


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _without_variance(prepared: Prepared) -> Finding | None:
    if not len(prepared.poisson):
        return None
    names = tuple(prepared.data.responses[j] for j in prepared.poisson.tolist())
    message = (
        f"{_count(len(names), 'feature')} no more variable than Poisson given the covariates, so with a variance of "
        f"exactly 0 in Sigma and an empty row in Omega: {some(names, 12)}."
    )
    return Finding("no-extra-poisson-variance", message, names)
