"""Information criteria, constants included; smaller is better for aic, bic and icl."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Criteria:
    """`loglik` is the log-likelihood, or the ELBO of a latent model, in nats; `icl` is nan without a latent layer.

    Where the likelihood is penalised, `loglik` is so too, and there are no criteria.
    """

    loglik: float
    n_parameters: int
    n_samples: int
    aic: float
    bic: float
    icl: float
    r2: float


def criteria(
    loglik: float, n_parameters: int, n_samples: int, r2: float, entropy: float = math.nan, *, penalised: bool = False
) -> Criteria:
    """AIC = −2ℓ + 2k, BIC = −2ℓ + k log n, ICL = BIC + 2·entropy of q.

    Akaike 1974; Schwarz 1978; Biernacki, Celeux & Govaert 2000 with the entropy of the variational distribution.
    """
    if penalised:
        return Criteria(loglik, n_parameters, n_samples, math.nan, math.nan, math.nan, r2)
    aic = -2.0 * loglik + 2.0 * n_parameters
    bic = -2.0 * loglik + n_parameters * math.log(n_samples)
    return Criteria(loglik, n_parameters, n_samples, aic, bic, bic + 2.0 * entropy, r2)
