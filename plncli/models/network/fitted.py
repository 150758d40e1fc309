"""What a finished fit of a Poisson log-normal network answers: as `FittedPLN`, and its edges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from plncli.models.pln.finished.fitted import FittedPLN
from plncli.numerics.covariance import Covariance, DenseCovariance


@dataclass(frozen=True)
class FittedNetwork(FittedPLN):
    """A finished fit: with the sparse inverse of the covariance, or, of a design that is drawn from, a covariance."""

    @cached_property
    def covariance(self) -> Covariance | None:
        """The inverse of Omega among the features that vary, 0 elsewhere."""
        if "Omega" not in self.estimates:
            return super().covariance
        Omega = self.tensor("Omega")
        varied = torch.isfinite(Omega.diagonal())
        place, Sigma = varied[:, None] & varied, torch.zeros_like(Omega)
        inverse = torch.linalg.inv(Omega[varied][:, varied])
        Sigma[place] = (0.5 * (inverse + inverse.mT)).flatten()
        return DenseCovariance(Sigma, Omega)

    @cached_property
    def partial_correlations(self) -> Tensor:
        """−omega_jk / sqrt(omega_jj omega_kk), p×p, 1 on the diagonal, 0 for features without variance."""
        Omega = self.tensor("Omega").nan_to_num(nan=0.0)
        scale = Omega.diagonal().clamp_min(0.0).sqrt()
        scale = torch.where(scale > 0, 1.0 / scale, 0.0)
        found = -Omega * scale * scale[:, None]
        found.fill_diagonal_(1.0)
        return found

    @cached_property
    def edges(self) -> tuple[Tensor, Tensor]:
        """Pairs of features j < k whose partial correlation is not 0, strongest first."""
        j, k = torch.triu(self.partial_correlations, 1).nonzero(as_tuple=True)
        order = self.partial_correlations[j, k].abs().argsort(descending=True, stable=True)
        return j[order], k[order]

    def further_tables(self, samples: Sequence[str]) -> dict[str, dict[str, Any]]:
        """`edges`, `nodes`, and what structural zeros have."""
        (j, k), Omega, names = self.edges, self.tensor("Omega"), self.responses
        partial = self.partial_correlations[j, k]
        edges = {
            "feature_a": [names[place] for place in j.tolist()],
            "feature_b": [names[place] for place in k.tolist()],
            "omega": Omega[j, k],
            "partial_correlation": partial,
            "sign": ["positive" if value > 0 else "negative" for value in partial.tolist()],
        }
        if "frequency" in self.state:
            edges["frequency"] = self.tensor("frequency")[j, k]
        degree = torch.bincount(torch.cat([j, k]), minlength=len(names))
        nodes = {
            "feature": list(names),
            "degree": degree,
            "omega": Omega.diagonal(),
            "latent_variance": self.latent.variances,
        }
        return {**super().further_tables(samples), "edges": edges, "nodes": nodes}
