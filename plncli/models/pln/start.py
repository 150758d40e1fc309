"""Where an optimizer begins, and where it has ended: q before the fit, and q where it is best for what is reported."""

from __future__ import annotations

import torch

from plncli.arrays import Params
from plncli.models.base import Init
from plncli.models.pln.prepared import Prepared
from plncli.models.pln.structures import held
from plncli.models.pln.variational_step import STEPS, variational_step
from plncli.numerics.rows import total


def start(prepared: Prepared, init: Init | None = None) -> Params:
    """q (2×n×q): M = log(1 + Y) − O and S² = 1/(2 + Y); gamma (d×(p − q)) = 0 of features on the boundary.

    Cells that don't count start at the mean of their feature, S² = ½. init: M_finite and S of an earlier fit, each in
    the cells where it is known; S = 0, of features that were on the boundary, is no start.
    """
    cells = prepared.table.emission
    M = cells.Y.log1p() - cells.O
    psi = -(2.0 + cells.counted()).log()
    if cells.K is not None:
        M = torch.where(cells.K > 0, M, total(M * cells.K) / total(cells.K))
    if init is not None:
        earlier, S = (init[symbol][:, prepared.latent].to(M) for symbol in ("M_finite", "S"))
        M = torch.where(torch.isfinite(earlier), earlier, M)
        psi = torch.where(torch.isfinite(S) & (S > 0), 2.0 * S.log(), psi)
    params = {"q": torch.stack([M, psi])}
    if len(prepared.poisson):
        params["gamma"] = M.new_zeros((prepared.data.d, len(prepared.poisson)))
    if prepared.inflation is not None:
        params["zeta"] = prepared.inflation.begun(init)
    return params


def conditional(params: Params, prepared: Prepared) -> Prepared:
    """The variational step: B and Omega held where they are best for `params` (the exact M-step)."""
    mean = prepared.table.mean.held(params["q"][0])
    return prepared.hold(mean, held(prepared.at(params).layer))


def settle(params: Params, prepared: Prepared, *, steps: int = STEPS) -> tuple[Params, Prepared]:
    """B and Sigma held where they are, q where it is best for them, sample by sample: what new samples get too.

    steps: of Newton's method, at most, whose end is taken then. At the optimum nothing changes. Where the
    tolerance ended the fit, the bound grows by no more than was left.
    """
    if not len(prepared.latent):
        return params, prepared
    layer = prepared.at(params).layer
    if not bool(torch.isfinite(layer.value)):  # a fit that ended where its variance was all but gone
        return params, prepared
    Omega = layer.inverse()
    if not bool(torch.isfinite(Omega.logdet)):
        return params, prepared
    after = conditional(params, prepared)
    cells = after.table.emission
    M, psi = params["q"].detach()
    K = torch.ones_like(M) if cells.K is None else cells.K
    centre, Z = after.table.mean.fitted(M), None if "zeta" not in params else after.logits(params["zeta"])
    step = variational_step(cells.Y, K, cells.O, centre, Omega, (M, psi), Z, prepared.nodes, steps)
    q = torch.stack([step.M, 2.0 * step.S.log()])
    return {**params, "q": q if steps < STEPS else torch.where(step.converged[:, None], q, params["q"])}, after
