"""Sandwich covariance of coefficients and of the logits of structural zeros, estimated together with the loadings.

As `sandwich`, with zeta among the parameters of the M-estimate: the score of a logit is the sum of pi − rho over its
cells in a sample, rho how probable it is that a count is a structural zero. H is the profile's Hessian in all of them,
a product for each parameter: none of its blocks is short where a zero is in doubt. Probabilities that are 0 are held
there.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from plncli.arrays import Params
from plncli.models.findings import Finding
from plncli.models.inflation.errors import Directions, beside
from plncli.models.pca.errors.sandwich import close, leverage_of, scores_of
from plncli.models.pca.joint import Joint
from plncli.models.pca.prepared import Prepared
from plncli.models.pln.separation import without_estimate
from plncli.models.uncertainty import (
    ALONE,
    Determined,
    Interrupted,
    Uncertainty,
    alone_finding,
    cluster_correction,
    from_influence,
    resting_on_one,
    to_units,
)
from plncli.numerics.linalg import cholesky_scaled


def sandwich(params: Params, prepared: Prepared, cancelled: Callable[[], bool]) -> Uncertainty | Finding:
    """Covariance of B, and the variances of the logits; a finding where H is not positive definite.

    Of one probability, or one a feature. Raises Interrupted.
    """
    data, inflation = prepared.data, prepared.inflation
    assert inflation is not None and inflation.kind != "sample"
    joint = Joint(params, prepared)
    at, table = joint.at, joint.at.table
    d, p, width = table.d, data.p, table.d + table.q
    determined = Determined.by(table.Q, data.w, prepared.counted)
    missing = without_estimate(data, prepared.separated)
    alone = resting_on_one(prepared.basis, data.w, prepared.counted, determined, p, data.clusters) & ~missing
    z = Directions.of(inflation, data.w, p)
    H = _hessian(joint, params, z, cancelled)
    theta = H[: p * width, : p * width].clone().view(p, width, p, width)
    close(theta, at.C, determined, d)
    H[: p * width, : p * width] = theta.view(p * width, -1)
    factor = cholesky_scaled(H)
    if factor is None:
        return Finding(
            "no-standard-errors", "No standard errors: minus the Hessian of the bound is not positive definite."
        )
    leverage = None if data.clusters is not None else leverage_of(at)
    of_logits = _logit_scores(joint, params, prepared, leverage)

    def moved(rows: slice) -> Tensor:
        scores = torch.cat([scores_of(at, rows, leverage).flatten(1), z.scores(of_logits[rows], rows)], 1)
        return factor.solve(scores.mT).mT

    def coefficients(rows: slice) -> Tensor:
        return to_units(prepared.basis, moved(rows)[:, : p * width].view(-1, p, width)[:, :, :d])

    correction = 1.0 if data.clusters is None else cluster_correction(data)
    found = from_influence("sandwich", coefficients, data.w, (d, p), missing | alone, data.clusters, correction)
    answer = Uncertainty(
        found.method, found.blocks, found.covariance, findings=alone_finding(alone, data), facts=found.facts
    )
    own = lambda rows: moved(rows)[:, p * width :]  # noqa: E731
    return beside(answer, z, inflation, params["zeta"], own, data.w, data.clusters, correction)


def _hessian(joint: Joint, params: Params, z: Directions, cancelled: Callable[[], bool]) -> Tensor:
    """H, features outside and their parameters inside, then the logits' directions."""
    joint.gradient()  # brings the posteriors to where they are exact
    theta, zeta = torch.zeros_like(params["theta"]), torch.zeros_like(params["zeta"])
    at_theta, m = theta.mT.numel(), int(z.known.sum())
    along = z.spread(torch.eye(m).to(theta)).mT.reshape(m, *zeta.shape)  # of c×Z, as zeta is
    H = theta.new_empty((at_theta + m, at_theta + m))
    for k in range(len(H)):
        if cancelled():
            raise Interrupted
        v = {"theta": theta.clone(), "zeta": zeta.clone()}
        if k < at_theta:
            v["theta"][k % len(theta), k // len(theta)] = 1.0
        else:
            v["zeta"] = along[k - at_theta]
        Hv = joint.product(v)
        H[k] = torch.cat([Hv["theta"].mT.flatten(), along.flatten(1) @ Hv["zeta"].flatten()])
    return 0.5 * (H + H.mT)


def _logit_scores(joint: Joint, params: Params, prepared: Prepared, leverage: Tensor | None) -> Tensor:
    """Of the logits of cells, without weights, n×p."""
    inflation = prepared.inflation
    assert inflation is not None
    pi = inflation.probabilities(params["zeta"]).expand_as(prepared.data.Y)
    each = (pi if prepared.counted is None else pi * prepared.counted) - joint.at.structural()
    return each if leverage is None else each / (1.0 - leverage).clamp_min(1.0 - ALONE)[:, None]
