"""What a finished fit of a Poisson log-normal network answers: as `FittedPLN`, and its edges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from plncli.models.links import PairFrequencies, edge_columns, linked_pairs, partial_correlations
from plncli.models.pln.finished.fitted import FittedPLN
from plncli.numerics.covariance import Covariance, DenseCovariance


@dataclass(frozen=True)
class FittedNetwork(FittedPLN):
    """A finished fit: with the sparse inverse of the covariance."""

    @cached_property
    def covariance(self) -> Covariance | None:
        """The inverse of Omega among the features that vary, 0 elsewhere."""
        Omega = self.tensor("Omega")
        varied = torch.isfinite(Omega.diagonal())
        place, Sigma = varied[:, None] & varied, torch.zeros_like(Omega)
        inverse = torch.linalg.inv(Omega[varied][:, varied])
        Sigma[place] = (0.5 * (inverse + inverse.mT)).flatten()
        return DenseCovariance(Sigma, Omega)

    @cached_property
    def partial_correlations(self) -> Tensor:
        """Of two features given all others, p×p, 1 on the diagonal, 0 for features without variance."""
        return partial_correlations(self.tensor("Omega"))

    @cached_property
    def edges(self) -> tuple[Tensor, Tensor]:
        """Pairs of features j < k whose partial correlation is not 0, strongest first."""
        return linked_pairs(self.partial_correlations)

    @property
    def pair_frequencies(self) -> PairFrequencies | None:
        """How often pairs were linked in subsamples, at the penalties that were tried; None without them."""
        if "frequencies" not in self.state:
            return None
        first, second = (torch.as_tensor(self.state[f"frequency_{which}"]).cpu() for which in ("first", "second"))
        return PairFrequencies(self.tensor("frequency_values"), first, second, self.tensor("frequencies"))

    def further_tables(self, samples: Sequence[str]) -> dict[str, dict[str, Any]]:
        """`edges`, `nodes`, and what structural zeros have."""
        (j, k), Omega, names = self.edges, self.tensor("Omega"), self.responses
        edges = edge_columns(Omega, names)
        if "frequency" in self.state:
            edges["frequency"] = self.tensor("frequency")[j, k]
        nodes = {
            "feature": list(names),
            "degree": torch.bincount(torch.cat([j, k]), minlength=len(names)),
            "omega": Omega.diagonal(),
            "latent_variance": self.latent.variances,
        }
        return {**super().further_tables(samples), "edges": edges, "nodes": nodes}
