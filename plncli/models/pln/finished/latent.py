"""What all answers of a finished fit rest on: its latent layer, its structural zeros, and the variational step."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from plncli.models.fitted import Fitted
from plncli.models.inflation.cells import FINEST
from plncli.models.inflation.closing import Cells
from plncli.models.inflation.entries import Inflation
from plncli.models.inflation.finished import StructuralZeros
from plncli.models.inflation.own import cells_among, with_own_logits
from plncli.models.pln.variational_step import Step, variational_step
from plncli.numerics.covariance import Covariance, Precision


@dataclass(frozen=True)
class FittedLatent(Fitted):
    """A finished fit with a latent layer, and perhaps structural zeros.

    X0: n×c, rows of the design of structural zeros of the samples that are asked about; None: those of the fit.
    """

    X0: Tensor | None = field(repr=False, default=None)

    def of_samples(self, X0: Tensor | None) -> FittedLatent:
        """As it answers for samples with these rows of the design of structural zeros, if it has one."""
        super().of_samples(X0)
        if X0 is None or "zeta_terms" not in self.state:
            return self
        made = replace(self, X0=X0.detach().cpu().double())
        kept = ("covariance", "latent", "B", "C")
        made.__dict__.update({name: self.__dict__[name] for name in kept if name in self.__dict__})
        return made

    @cached_property
    def latent(self) -> Covariance:
        """Covariance of the latent layer."""
        assert self.covariance is not None
        return self.covariance

    @cached_property
    def zeros(self) -> StructuralZeros | None:
        """Structural zeros; None where the model has none."""
        if self.X0 is not None:
            return StructuralZeros.of_samples(self.state, self.X0)
        return StructuralZeros.left(self.state)

    def telling(self, counted: Tensor) -> Tensor:
        """Cells that count, of these (n×p): not where zeros are structural for sure, or nobody knows."""
        doubtful = None if self.zeros is None else self.zeros.doubtful
        return counted if doubtful is None else counted * doubtful.to(counted.dtype)

    @property
    def counted(self) -> Tensor | float:
        """Probability that a count of a new sample is no structural zero, 1×1 or 1×p."""
        return 1.0 if self.zeros is None else 1.0 - self.zeros.expected

    def own_logits(self, n: int) -> Tensor | None:
        """Of structural zeros in the n samples of the fit, n×p."""
        return None if self.zeros is None else self.zeros.logits.expand(n, len(self.responses))

    def step(self, Y: Tensor, counted: Tensor, O: Tensor, C: Tensor, Omega: Precision) -> tuple[Step, Tensor | None]:
        """q of samples in the features with a latent layer, and logits of structural zeros in all features, n×p.

        Y, counted (1 where a cell counts), O, C: n×p. Where each sample has a probability of its own, it is the one
        that is best for its counts, as in the fit.
        """
        v = self.latent.varied
        known = (Y[:, v], counted[:, v], O[:, v], C[:, v], Omega)
        if self.zeros is None:
            return variational_step(*known), None
        if self.zeros.of == "sample":
            return self._with_own(Y, counted, O, C, Omega)
        logits = self.zeros.logits.expand_as(Y)
        return variational_step(*known, Z=logits[:, v], nodes=FINEST), logits

    def _with_own(self, Y: Tensor, counted: Tensor, O: Tensor, C: Tensor, Omega: Precision) -> tuple[Step, Tensor]:
        assert self.zeros is not None
        v, flat = self.latent.varied, (self.latent.variances == 0).nonzero()[:, 0]
        of_counts, start = Inflation.of("sample", counted), None

        def fitted(zeta: Tensor) -> tuple[Step, list[Cells]]:
            nonlocal start
            logits = zeta.expand_as(Y)
            step = variational_step(Y[:, v], counted[:, v], O[:, v], C[:, v], Omega, start, logits[:, v], FINEST)
            start = (step.M, 2.0 * step.S.log())
            eta, sd = O + C.index_copy(1, v, step.M), torch.zeros_like(C).index_copy(1, v, step.S)
            return step, [cells_among(Y, counted, eta, sd, of_counts, features) for features in (v, flat)]

        step, zeta = with_own_logits(of_counts, self.zeros.expected.logit(), fitted)
        return step, zeta.expand_as(Y)
