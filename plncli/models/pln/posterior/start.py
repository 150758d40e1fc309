"""Where the optimizer begins: at log counts, and after a few rounds that cost less than its steps.

A round is one of EM, then a Newton step of each feature's coefficients and row of C with the samples' standardised
latent values held. EM creeps where counts tell little of the latent values and where Sigma becomes singular, and the
other where they tell much: by turns each goes on where the other stands (Yu & Meng 2011, JCGS 20, of samplers).
"""

from __future__ import annotations

import torch
from torch import Tensor

from plncli.arrays import Params
from plncli.models.base import Init
from plncli.models.pln.posterior.profile import Evaluation, Table
from plncli.numerics.rows import gram, total, weigh

ROUNDS = 4
HALVINGS = 8


def start(table: Table, init: Init | None = None) -> Params:
    """G (d×p), C (p×p) where it is estimated, and log rates t (n×p). init: M_finite and S of an earlier fit."""
    M, S2 = (table.Y + 0.5).log() - table.O, (table.Y + 0.5).reciprocal()
    if table.K is not None:
        M = torch.where(table.K > 0, M, total(M * table.K) / total(table.K).clamp_min(1.0))
    if init is not None:
        earlier, S = (init[symbol].to(M) for symbol in ("M_finite", "S"))
        known = torch.isfinite(earlier) & torch.isfinite(S)
        M, S2 = torch.where(known, earlier, M), torch.where(known, S.square(), S2)
    G = gram(weigh(table.w, table.Q), M) / table.wbar
    params = {"G": G, "t": (table.Y + 0.5).log()}
    if table.held is None:
        R = M - table.Q @ G
        Sigma = gram(R, weigh(table.w, R)) + total(weigh(table.w, S2)).diag()
        params = {"G": G, "C": root(Sigma / table.wbar), "t": params["t"]}
    return nearer(table, params)


def root(Sigma: Tensor) -> Tensor:
    """C with CC' = Sigma, p×p."""
    values, V = torch.linalg.eigh(Sigma)
    return V * values.clamp_min(0.0).sqrt()


def nearer(table: Table, params: Params) -> Params:
    """After a few rounds, as far as they lower F."""
    at = Evaluation(params, table)
    for _ in range(ROUNDS if table.held is None else 0):
        after = _stepped(Evaluation(at.em(), table))
        if not bool(after.value < at.value):
            break
        at = after
    return {**at.params, "t": at.z.t}


def _stepped(at: Evaluation) -> Evaluation:
    """After a step of each feature, halved until F falls."""
    step = at.by_features(at.gradient())
    step = {name: -tensor for name, tensor in step.items()}
    carried = at.curve(step)["t"]
    for halving in range(HALVINGS):
        size = 0.5**halving
        params = {name: tensor + size * step[name] for name, tensor in at.params.items()}
        after = Evaluation({**params, "t": params["t"] + size * carried}, at.table)
        if bool(after.value < at.value):
            return after
    return at
