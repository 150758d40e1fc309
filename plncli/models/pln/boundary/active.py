"""The boundary Sigma_jj = 0, solved exactly by an active set: features without extra-Poisson variance.

Such a feature drives its variance to 0 for ever, Omega and the gradient without bound. It is moved to the active set
instead, where it is a Poisson regression beside the rest (`poisson`), and taken back if the score of a variance at 0,
½ sum_i w_i (e_i² − mu_i) and what correlations add to it, is positive at the optimum of the rest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from plncli.arrays import Params
from plncli.errors import unfit
from plncli.models.base import Init
from plncli.models.pln.prepared import Prepared
from plncli.models.pln.start import start
from plncli.numerics.rows import every_row, most, some_row, total, weigh

INVISIBLE = 0.01
"""Extra-Poisson variance A² Sigma_jj of a count, as a share of its Poisson variance A, that is hardly told from none; a
feature below it in all cells may be on its way to 0 while the others still explain what is left of its variance."""
POISSON_SHARE = 0.95
"""Share of q's own variance in Sigma_jj above which a feature may have no extra-Poisson variance at all."""
RETRY = 0.1
"""A feature that was not moved to the boundary is looked at again when its variance has fallen by this factor."""
SIDES = ("latent", "poisson", "tried", "returns")
MAX_RETURNS = 10
"""How often a feature may come back from the boundary."""


def suspects(params: Params, prepared: Prepared) -> Tensor:
    """(q,) booleans: latent features whose variance is almost all S², or hardly seen; all or none if it is shared.

    Those that were tried and kept are looked at again once their variance has fallen by RETRY.
    """
    table = prepared.table
    if not len(prepared.latent):
        return torch.zeros_like(prepared.latent, dtype=torch.bool)
    at = prepared.at(params)
    own = total(weigh(table.w, at.S2)) / table.wbar
    variance = own + total(weigh(table.w, at.R.square())) / table.wbar
    A = at.cells.curvature if table.w is None else at.cells.curvature / table.w[:, None]
    extra = variance * most(A)
    if prepared.structure.shared:
        own, variance, extra = (one.expand_as(own) for one in (own.mean(), variance.mean(), extra.max()))
    near = (own > POISSON_SHARE * variance) | (extra < INVISIBLE)
    return near & (variance < RETRY * prepared.tried[prepared.latent])


def degenerate(params: Params, prepared: Prepared) -> bool:
    """Whether some feature that was not looked at yet has little but q's own variance left."""
    return prepared.structure.estimated and bool(suspects(params, prepared).any())


def resume(prepared: Prepared, init: Init) -> tuple[Params, Prepared]:
    """Begin where an earlier fit ended: features that it left on the boundary start there; `revise` judges them.

    Beside the boundary they would take steps to come back to it, and might end in another of its minima.
    """
    params = start(prepared, init)
    S = init["S"].to(prepared.tried)
    stay = some_row(S == 0) & every_row((S == 0) | S.isnan()) & prepared.structure.estimated
    if prepared.structure.shared:
        stay = stay.all().expand_as(stay)
    if not bool(stay.any()):
        return params, prepared
    return _move(params, prepared, stay, stay[:0], prepared.tried.clone())


def revise(params: Params, prepared: Prepared, *, settled: bool) -> tuple[Params, Prepared] | None:
    """Move features to the boundary Sigma_jj = 0, or, once `settled`, back; None when nothing changes.

    A feature goes to the boundary when a Poisson regression is at least as good as what it has now and the score of
    its variance at 0 is not positive; it comes back when that score is positive at the optimum of the rest. One beside
    the boundary with a positive score is lifted: on the scale of its logarithm so small a variance hardly has a slope.
    """
    if not prepared.structure.estimated:
        return None
    enter, lifted, tried = _enter(params, prepared)
    leave = _leave(params, prepared) if settled else torch.zeros_like(prepared.poisson, dtype=torch.bool)
    if lifted is not None:
        params, prepared = {**params, "q": lifted[0]}, replace(prepared, returns=lifted[1])
    if not bool(enter.any() or leave.any()):
        if lifted is None and (settled or tried is prepared.tried):
            return None
        return params, replace(prepared, tried=tried)
    return _move(params, prepared, enter, leave, tried)


def _enter(params: Params, prepared: Prepared) -> tuple[Tensor, tuple[Tensor, Tensor] | None, Tensor]:
    """(q,) features to move to the boundary; q and `returns` with others lifted off it; and what was tried."""
    suspected = suspects(params, prepared)
    if not bool(suspected.any()):
        return suspected, None, prepared.tried
    table, structure = prepared.table, prepared.structure
    M, psi = params["q"].detach()
    at, zeta = prepared.at(params), _zeta(params)
    chosen = suspected.nonzero()[:, 0]
    candidate = prepared.regressions(prepared.latent[chosen]).given(zeta)
    gamma = candidate.fit(table.mean.coefficients(M)[:, chosen])
    poisson_loss = candidate.losses(gamma)
    cells = weigh(table.w, table.emission.losses(M, at.S2, zeta) - 0.5 * psi)
    now = total(cells)[chosen] - 0.5 * table.wbar * at.layer.precision.log()[chosen]
    others = ~suspected
    followed = structure.followed(prepared.latent[chosen], prepared.latent[others])
    rest = (at.R[:, others], at.S2[:, others], followed)
    score = candidate.variance_scores(gamma, *rest)
    if structure.shared:  # sums over features
        poisson_loss, now, score = poisson_loss.sum(), now.sum(), score.sum()
    rounding = 1e-12 * (1.0 + now.abs())
    enter = torch.zeros_like(suspected)
    enter[chosen] = ((poisson_loss <= now + rounding) & (score <= 0.0)).expand(len(chosen))
    tried = prepared.tried.clone()
    tried[prepared.latent[chosen]] = at.layer.precision.reciprocal()[chosen]
    if structure.shared or not bool((score > 0.0).any()):
        return enter, None, tried
    M, psi = candidate.small_variance(gamma, *rest)
    rises = (score > 0.0) & (at.layer.precision[chosen] * psi.exp() > 1.0)
    rises &= prepared.returns[prepared.latent[chosen]] < MAX_RETURNS
    lifted = params["q"].detach().clone()
    lifted[0][:, chosen[rises]], lifted[1][:, chosen[rises]] = M[:, rises], psi[rises]
    if not bool(rises.any()) or not float(table.at(lifted, zeta).value) < float(at.value):
        return enter, None, tried
    returns, risen = prepared.returns.clone(), prepared.latent[chosen[rises]]
    returns[risen] += 1
    tried[risen] = math.inf
    return enter, (lifted, returns), tried


def _leave(params: Params, prepared: Prepared) -> Tensor:
    """(p − q,) boundary features whose variance would grow again."""
    if not len(prepared.poisson):
        return torch.zeros_like(prepared.poisson, dtype=torch.bool)
    at, gamma = prepared.at(params), params["gamma"].detach()
    boundary = prepared.boundary.given(_zeta(params))
    followed = prepared.structure.followed(prepared.poisson, prepared.latent)
    score = boundary.variance_scores(gamma, at.R, at.S2, followed)
    if prepared.structure.shared:
        score = score.sum().expand_as(score)
    return (score > 0.0) & (prepared.returns[prepared.poisson] < MAX_RETURNS)


def _move(params: Params, prepared: Prepared, enter: Tensor, leave: Tensor, tried: Tensor) -> tuple[Params, Prepared]:
    """Start and data of the problem with features moved: enter (q,) to the boundary, leave (p − q,) from it."""
    data, table = prepared.data, prepared.table
    q = data.Y.new_zeros((2, data.n, data.p))
    q[:, :, prepared.latent] = params["q"].detach()
    M, psi = q
    gamma = data.Y.new_zeros((data.d, data.p))
    gamma[:, prepared.latent] = table.mean.coefficients(params["q"][0].detach())
    back = prepared.poisson[leave]
    if len(prepared.poisson):
        gamma[:, prepared.poisson] = params["gamma"].detach()
    if bool(leave.any()):
        at = prepared.at(params)
        followed = prepared.structure.followed(prepared.poisson, prepared.latent[~enter])
        rest = (at.R[:, ~enter], at.S2[:, ~enter], followed)
        boundary = prepared.boundary.given(_zeta(params))
        small = boundary.small_variance(params["gamma"].detach(), *rest)
        M[:, back], psi[:, back] = small[0][:, leave], small[1][leave]
    latent = torch.cat([prepared.latent[~enter], back]).sort().values
    poisson = torch.cat([prepared.poisson[~leave], prepared.latent[enter]]).sort().values
    returns = prepared.returns.clone()
    returns[back] += 1
    tried[back] = math.inf
    known = {**state(prepared), "latent": latent, "poisson": poisson, "tried": tried, "returns": returns}
    changed, begin = at_state(prepared, known), {"q": q[:, :, latent]}
    if len(poisson):
        begin["gamma"] = changed.boundary.given(_zeta(params)).fit(gamma[:, poisson])
    return begin | {name: params[name] for name in params if name == "zeta"}, changed


def _zeta(params: Params) -> Tensor | None:
    return params["zeta"].detach() if "zeta" in params else None


def state(prepared: Prepared) -> dict[str, Tensor]:
    """The active set, and what was tried: `latent`, `poisson`, `tried` and `returns` of `Prepared`, by name."""
    return {name: getattr(prepared, name) for name in SIDES}


def at_state(prepared: Prepared, state: Mapping[str, Tensor]) -> Prepared:
    """The data split as `state` says; DataError unless each feature is on one side."""
    known: dict[str, Any] = {name: tensor.to(prepared.data.Y.device) for name, tensor in state.items()}
    _check(known, prepared)
    return replace(prepared, **known)


def _check(known: Mapping[str, Tensor], prepared: Prepared) -> None:
    if {*known} != {*state(prepared)}:
        raise unfit("it splits the features by other names")
    p, whole = prepared.data.p, [known[name] for name in ("latent", "poisson", "returns")]
    if any(tensor.dtype != torch.int64 or tensor.ndim != 1 for tensor in whole):
        raise unfit("it splits the features by what are no numbers of them")
    both = torch.cat(whole[:2])
    in_order = all(bool((part.diff() > 0).all()) for part in whole[:2])
    if not in_order or not torch.equal(both.sort().values, torch.arange(p, device=both.device)):
        raise unfit("it has other features")
    structure = prepared.structure
    if len(known["poisson"]) and (not structure.estimated or (structure.shared and len(known["latent"]))):
        raise unfit("it has features without variance, which this covariance does not")
    tried, returns = known["tried"], known["returns"]
    if len(returns) != p or bool((returns < 0).any() | (returns > MAX_RETURNS).any()):
        raise unfit("it has features come back from nowhere")
    if tried.shape != (p,) or tried.dtype != prepared.tried.dtype or not bool((tried >= 0).all()):
        raise unfit("it has tried what are no variances")
