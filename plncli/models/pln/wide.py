"""The full covariance of more features than samples, in matrices of samples × samples: nothing p×p is formed.

Sigma^ = D + V'V with D = diag(sum_i w_i s_i²)/wbar and V = W^½R/wbar^½ (n×p). With T = V D^-½ and C = I + TT' (n×n),
the matrix inversion lemma (Woodbury 1950) gives

    log|Sigma^| = log|D| + log|C|,    Omega = D^-1 − D^-½ T'C^-1T D^-½,    V Omega = U D^-½,    U = C^-1T

and what follows costs n²p where the p×p form (`structures.Full`) costs n p².
"""

from __future__ import annotations

import torch
from torch import Tensor

from plncli.numerics.covariance import Covariance, FactoredCovariance, FactoredPrecision, Precision
from plncli.numerics.linalg import Factor, cholesky_scaled
from plncli.numerics.rows import total, weigh


class Wide:
    """Sigma^ = (R'WR + diag(sum_i w_i s_i²)) / wbar, as `structures.Full` has it; needs all rows at once."""

    def __init__(self, R: Tensor, S2: Tensor, w: Tensor | None, wbar: float) -> None:
        self._wbar = wbar
        self._root = None if w is None else w.sqrt()
        self._D = total(weigh(w, S2)).div_(wbar)
        self._sd = self._D.sqrt()
        self._T = self._scaled(R)
        self._C = self._T @ self._T.mT
        self._C.diagonal().add_(1.0)
        self._factor = cholesky_scaled(self._C) if bool((self._D > 0).all()) else None
        self.value = R.new_full((), float("inf"))
        if self._factor is not None:
            self.value = 0.5 * wbar * (self._D.log().sum() + self._factor.logdet)
        self._kept: dict[str, Tensor] = {}

    @property
    def _solid(self) -> Factor:
        assert self._factor is not None
        return self._factor

    @property
    def _inverse(self) -> Tensor:
        """C^-1 (n×n)."""
        if "C^-1" not in self._kept:
            self._kept["C^-1"] = self._solid.inverse()
        return self._kept["C^-1"]

    @property
    def _U(self) -> Tensor:
        if "U" not in self._kept:
            self._kept["U"] = self._inverse @ self._T
        return self._kept["U"]

    @property
    def _leverage(self) -> Tensor:
        """h_j = t_j'C^-1t_j (p,): the share of a feature's variance that the others' residuals explain."""
        if "h" not in self._kept:
            self._kept["h"] = total(self._T * self._U)
        return self._kept["h"]

    @property
    def precision(self) -> Tensor:
        """Diagonal of Omega (p,)."""
        return (1.0 - self._leverage) / self._D

    def _scaled(self, A: Tensor) -> Tensor:
        """W^½ A D^-½ / wbar^½ (n×p): from the units of R to those of T."""
        return weigh(self._root, A) / (self._sd * self._wbar**0.5)

    def _unscaled(self, A: Tensor) -> Tensor:
        """W^-½ A D^-½ wbar^½ (n×p): from the units of T to those of R Omega; A may be overwritten."""
        A.mul_(self._wbar**0.5 / self._sd)
        return A if self._root is None else A.div_(self._root[:, None])

    @property
    def pull(self) -> Tensor:
        """R Omega (n×p)."""
        if "pull" not in self._kept:
            self._kept["pull"] = self._unscaled(self._U.clone())
        return self._kept["pull"]

    def turn(self, dR: Tensor, dS2: Tensor) -> tuple[Tensor, Tensor]:
        """Derivative of (R Omega, diag Omega) along (dR, dS2), in three products of n×n×p; dR may be overwritten.

        With dT what dR makes of T, t = dD/D, and dC = FT' + TF' of the whole change F = dT − ½ T diag(t) of T,

            d(V Omega) = (C^-1 (dT − dC U) − U diag(t)) D^-½,    d omega = −(diag(U'(2 dT − dC U)) + t (1 − 2h)) / D
        """
        w = None if self._root is None else self._root.square()
        T, U = self._T, self._U
        dT = self._scaled(dR)
        share = total(weigh(w, dS2)) / (self._wbar * self._D)
        half = torch.addcmul(dT, T, share, value=-0.5) @ T.mT
        moved = torch.addmm(dT, half + half.mT, U, alpha=-1.0)
        dprecision = total(dT.add_(moved).mul_(U)) + share * (1.0 - 2.0 * self._leverage)
        dpull = torch.mm(self._inverse, moved).addcmul_(U, share, value=-1.0)
        return self._unscaled(dpull), -dprecision / self._D

    def curve(self, dR: Tensor) -> Tensor:
        """As `structures.Full.curve`, in six products of size n×n×p."""
        E = self._scaled(dR)
        inverse = self._inverse
        Q = (inverse @ (E @ self._U.mT)) @ E
        Q -= (Q @ self._U.mT) @ self._T
        Q.mul_(self._sd * self._wbar**0.5)
        return Q if self._root is None else Q.div_(self._root[:, None])

    def couple(self, dR: Tensor, dS2: Tensor) -> tuple[Tensor, Tensor] | None:
        """The diagonals (p,) of what `structures.Full.couple` answers: among many features, pairs hardly matter."""
        E = self._scaled(dR)
        along = total(self._U * E)
        quadratic = self._D * (total(E.square()) - total(E * (self._inverse @ E)))
        quadratic = quadratic + dS2 * (along + 0.25 * dS2 * self.precision)
        held = self._wbar * self._D * total(E.square()) * self.precision
        return held, self._wbar * ((along + 0.5 * dS2 * self.precision).square() + quadratic * self.precision)

    def _principal(self, floor: float) -> tuple[Tensor, Tensor]:
        """Eigenvectors (n×m) and eigenvalues (m,) of W^½ R Omega R'W^½/wbar = I − C^-1, those above the floor."""
        if "vectors" not in self._kept:
            values, self._kept["vectors"] = torch.linalg.eigh(self._C)
            self._kept["leverages"] = 1.0 - 1.0 / values
        keep = self._kept["leverages"] > floor
        return self._kept["vectors"][:, keep], self._kept["leverages"][keep]

    def bent(self, floor: float) -> tuple[Tensor, Tensor] | None:
        """As `structures.Full.bent`."""
        vectors, leverage = self._principal(floor)
        return (weigh(self._root, vectors), leverage) if len(leverage) else None

    def loadings(self, floor: float) -> tuple[Tensor, Tensor, Tensor] | None:
        """1/D, and the right singular vectors of T over the roots of D: T'C^-1T has their leverages."""
        vectors, leverage = self._principal(floor)
        if not len(leverage):
            return None
        size = (leverage / (1.0 - leverage)).sqrt()  # singular values of T
        return 1.0 / self._D, (vectors.mT @ self._T) / size[:, None] / self._sd, leverage

    def covariance(self) -> Covariance:
        """Sigma, as D and V."""
        return FactoredCovariance(self._D, self._T * self._sd)

    def inverse(self) -> Precision:
        """Omega = D^-1 − G'G."""
        G = torch.linalg.solve_triangular(self._solid.L, self._T, upper=False).div_(self._sd)
        return FactoredPrecision(1.0 / self._D, G, -(self._D.log().sum() + self._solid.logdet))
