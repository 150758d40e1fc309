"""What a fit of groups side by side estimates, in tables of all samples and features."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from plncli.arrays import Params
from plncli.models.lda.quadratic.prepared import Group, Prepared
from plncli.models.pln.estimates import finite_coefficients as of_part
from plncli.models.pln.prepared import Prepared as Part
from plncli.models.pln.separation import at_supremum, with_limits
from plncli.numerics.covariance import FactoredCovariance

Groups = Sequence[tuple[Params, Part]]


def finite_coefficients(groups: Groups, prepared: Prepared) -> Tensor:
    """B, d×p, finite; 0 where a group has no count of a feature."""
    return prepared.of_coefficients([of_part(*group) for group in groups])


def estimates(groups: Groups, prepared: Prepared, *, whole: bool, full: bool) -> dict[str, Tensor]:
    """B (d×p), V_g (G×p), M and S (n×p); where `whole`, Sigma (p×p), and, of `full` ones, Sigma_g (G×p×p).

    V_g are variances within the groups, 0 where a group has no count of a feature; Sigma is the mean of the groups'
    covariances by their shares of the samples.
    """
    M = at_supremum(latent_means(groups, prepared), prepared.separated, -math.inf)
    found = {"B": with_limits(finite_coefficients(groups, prepared), prepared.separated), "M": M}
    found |= {"S": _deviations(groups, prepared), "V_g": _variances(groups, prepared)}
    if full and (whole or not _factored(groups)):
        p, shares = prepared.data.p, _shares(prepared)
        own = [_covariance(*group, of.features, p) for group, of in _pairs(groups, prepared)]
        found["Sigma_g"] = torch.stack(own)
        found["Sigma"] = torch.einsum("g,gij->ij", shares, found["Sigma_g"])
    elif whole:
        found["Sigma"] = torch.diag(_shares(prepared) @ found["V_g"])
    return found


def state(groups: Groups, prepared: Prepared, *, whole: bool, full: bool) -> dict[str, Tensor]:
    """B_finite (d×p), M_finite (n×p), features without variance in all groups, and where predictors of others go.

    owner, covariate: of each column of the design, (d,) (`Blocks`). Unless `whole`, the mean covariance as factors D
    (p,) and V (n×p), and, of full ones, D_g (G×p): that of group g is diag(D_g) and V'V of its rows over its share.
    """
    data, variances = prepared.data, _variances(groups, prepared)
    limits = {} if prepared.separated is None else prepared.separated.limits_of_others.tensors()
    found = {
        "B_finite": finite_coefficients(groups, prepared),
        "M_finite": latent_means(groups, prepared),
        "poisson_features": (variances == 0).all(0).nonzero()[:, 0],
        "owner": prepared.blocks.owner.to(data.Y),
        "covariate": prepared.blocks.covariate.to(data.Y),
        **limits,
    }
    if whole or (full and not _factored(groups)):
        return found
    if not full:
        return found | {"D": _shares(prepared) @ variances, "V": torch.zeros_like(data.Y)}
    D_g, V = torch.zeros_like(variances), torch.zeros_like(data.Y)
    for g, (group, own) in enumerate(_pairs(groups, prepared)):
        covariance = _factors(*group)
        if covariance is not None:
            at = own.features[group[1].latent]
            D_g[g, at] = covariance.D
            V[own.rows[:, None], at] = _shares(prepared)[g].sqrt() * covariance.V
    return found | {"D": _shares(prepared) @ D_g, "V": V, "D_g": D_g}


def latent_means(groups: Groups, prepared: Prepared) -> Tensor:
    """M, n×p, finite: XB in features without variance."""

    def of_group(params: Params, part: Part) -> Tensor:
        M = part.data.X @ of_part(params, part)
        M[:, part.latent] = params["q"][0]
        return M

    return prepared.of_cells([of_group(*group) for group in groups])


def _deviations(groups: Groups, prepared: Prepared) -> Tensor:
    def of_group(params: Params, part: Part) -> Tensor:
        S = torch.zeros_like(part.data.Y)
        S[:, part.latent] = (0.5 * params["q"][1]).exp()
        return S

    return prepared.of_cells([of_group(*group) for group in groups])


def _variances(groups: Groups, prepared: Prepared) -> Tensor:
    """Of each group, G×p."""
    found = prepared.data.Y.new_zeros((len(prepared.groups), prepared.data.p))
    for g, ((params, part), own) in enumerate(_pairs(groups, prepared)):
        if len(part.latent):
            layer = part.at(params).layer
            inverse = part.structure.correlated
            found[g, own.features[part.latent]] = (
                layer.covariance().variances if inverse else layer.precision.reciprocal().expand(len(part.latent))
            )
    return found


def _covariance(params: Params, part: Part, features: Tensor, p: int) -> Tensor:
    """Of a group, p×p."""
    found = part.data.Y.new_zeros((p, p))
    at = features[part.latent]
    if len(at):
        found[at[:, None], at] = part.at(params).layer.covariance().dense()
    return found


def _factors(params: Params, part: Part) -> FactoredCovariance | None:
    """Of the features of a group that vary, where its covariance is made of factors."""
    covariance = part.at(params).layer.covariance() if len(part.latent) else None
    return covariance if isinstance(covariance, FactoredCovariance) else None


def _factored(groups: Groups) -> bool:
    """Whether the covariances of all groups are, or are none."""
    return all(not len(part.latent) or _factors(params, part) is not None for params, part in groups)


def _shares(prepared: Prepared) -> Tensor:
    """Of the groups in the weight of all samples, (G,)."""
    weights = [part.data.total_weight for part in prepared.parts]
    return prepared.data.Y.new_tensor(weights) / prepared.data.total_weight


def _pairs(groups: Groups, prepared: Prepared) -> Iterator[tuple[tuple[Params, Part], Group]]:
    return zip(groups, prepared.groups, strict=True)
