"""How well the coefficients are known: what `sandwich` needs of a fit, and which method a fit should have."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from plncli.arrays import Params
from plncli.errors import counted
from plncli.models.findings import Finding
from plncli.models.inflation.spec import SAMPLE
from plncli.models.pln import spec
from plncli.models.pln.errors import inflated
from plncli.models.pln.errors.sandwich import Cells, sandwich, scales
from plncli.models.pln.estimates import covariance, expected_counts
from plncli.models.pln.prepared import Prepared
from plncli.models.pln.separation import without_estimate
from plncli.models.pln.structures import factored
from plncli.models.uncertainty import (
    Determined,
    Uncertainty,
    alone_finding,
    cluster_correction,
    from_inverses,
    resting_on_one,
)
from plncli.numerics.linalg import weighted_grams
from plncli.numerics.rows import number

NAIVE = (
    "Standard errors `fisher` of a Poisson log-normal model take the latent layer as known: they are far too small "
    "(intervals of 95 % cover about 20 %)."
)
FEW = (
    "{n} samples are few for {d} coefficients a feature: the standard errors are asymptotic, and somewhat too "
    "large below 4 samples a coefficient."
)


STRUCTURAL = "No standard errors: there are none of kind `fisher` where zeros may be structural."


def default_se(prepared: Prepared) -> str | Finding:
    """`sandwich`, unless that would take much longer than the fit."""
    joint, d, inflation = len(_joint(prepared)), prepared.data.d, prepared.inflation
    shared = inflation is not None and inflation.kind != SAMPLE
    zeros = -(-inflation.n_parameters // prepared.data.p) if inflation is not None and shared else 0
    each = d if prepared.inflation is None else d + 1 + zeros  # log sd and logits go with the coefficients
    n = number(prepared.data.n)
    in_factors = prepared.inflation is None and factored(prepared.table.layer, n, joint)
    if spec.sandwich(n, joint, each, factored=in_factors).bearable:
        return "sandwich"
    message = f"No standard errors, for those of {counted(joint, 'correlated feature')} would take minutes or more."
    remedy = "Ask for them with --se sandwich, or fit with --covariance diagonal."
    return Finding("no-standard-errors", message, remedy=remedy)


def uncertainty(
    params: Params, prepared: Prepared, method: str, cancelled: Callable[[], bool]
) -> Uncertainty | Finding:
    """Covariance of B: `sandwich` (see there), or `fisher`, as if the latent layer had been observed.

    Coefficients without a finite value have none; the finite ones of the same feature rest on the cells left.
    Raises Interrupted when `cancelled` says so.
    """
    if prepared.inflation is not None and method == "fisher":
        return Finding("no-standard-errors", STRUCTURAL, remedy="Use --se sandwich, jackknife or bootstrap.")
    if prepared.inflation is not None:
        inflation, zeta = prepared.inflation.widened(params["zeta"])
        prepared, params = replace(prepared, inflation=inflation), {**params, "zeta": zeta}
    if method == "fisher":
        data, basis = prepared.data, prepared.basis
        weighted = data.w[:, None] * _counted_means(params, prepared)
        inverses = Determined.by(basis.Q, data.w, prepared.counted).inverse(weighted_grams(basis.Q, weighted))
        found = from_inverses(method, basis, inverses, without_estimate(data, prepared.separated))
        return replace(found, findings=(Finding("naive-standard-errors", NAIVE, remedy="Use --se sandwich."),))

    def covariance(at: Determined, missing: Tensor) -> Uncertainty | None:
        if prepared.inflation is not None:
            return inflated.sandwich(params, prepared, at, missing, cancelled)
        return sandwich(_cells(params, prepared, at), missing, cancelled)

    return joint(prepared, covariance)


def joint(prepared: Prepared, covariance: Callable[[Determined, Tensor], Uncertainty | None]) -> Uncertainty | Finding:
    """What is told of a covariance beside it, or why there is none.

    covariance: of the coefficients, as far as they are determined; the second argument, d×p, are those without one.
    """
    data, basis = prepared.data, prepared.basis
    at = Determined.by(basis.Q, data.w, prepared.counted)
    missing = without_estimate(data, prepared.separated)
    alone = resting_on_one(basis, data.w, prepared.counted, at, data.p, data.clusters) & ~missing
    answer = covariance(at, missing | alone)
    if answer is None:
        return Finding(
            "no-standard-errors", "No standard errors: minus the Hessian of the bound is not positive definite."
        )
    n = number(data.n)
    few = (Finding("few-samples", FEW.format(n=n, d=data.d)),) if n < 4 * data.d else ()
    return replace(answer, findings=(*few, *alone_finding(alone, data)))


def _joint(prepared: Prepared) -> Tensor:
    """Features that Sigma correlates with others, or structural zeros."""
    if prepared.inflation is not None:
        return torch.arange(prepared.data.p, device=prepared.latent.device)
    return prepared.latent if prepared.structure.correlated else prepared.latent[:0]


def _counted_means(params: Params, prepared: Prepared) -> Tensor:
    """Expected counts A, n×p, 0 in cells that don't count."""
    A = expected_counts(params, prepared)
    return A if prepared.counted is None else A * prepared.counted


def _cells(params: Params, prepared: Prepared, at: Determined) -> Cells:
    """What the sandwich needs of the fit."""
    data, latent, structure = prepared.data, prepared.latent, prepared.structure
    A = _counted_means(params, prepared)
    Y = data.Y if prepared.counted is None else data.Y * prepared.counted
    Sigma, omega = covariance(params, prepared), A.new_full((data.p,), math.inf)
    if len(latent):
        omega[latent] = prepared.at(params).layer.precision
    E, H = Y - A, A / (1.0 + 0.5 * A / (A + omega).square())
    free = torch.where(omega.isinf(), 0.0, omega) * structure.estimated
    moving = scales(data.w, A, E, H, Sigma, free, shared=structure.shared)
    clusters, factor = data.clusters, 1.0 if data.clusters is None else cluster_correction(data)
    return Cells(prepared.basis, data.w, E, H, Sigma, _joint(prepared), at, moving, clusters, factor)
