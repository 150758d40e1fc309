"""Whether a model is a case of another, as far as their designs tell, and how large a ratio of likelihoods is then."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from plncli.dataset import Dataset, Stored

SKETCH = 1024
"""Rows of what is kept of a design matrix."""


def sketch(X: Tensor) -> Tensor:
    """At most SKETCH × d numbers that span what the columns of X (n×d) span, as far as other designs can tell.

    Row i is the sum of the samples i, i + SKETCH, ..., each times a random number that depends on its place alone, so
    two designs of the same samples are sketched alike: columns that combine to another's do so in the sketch, and
    while there are fewer of them than rows, those that don't do not (with probability 1; Clarkson & Woodruff 2013).
    """
    import numpy as np
    import torch

    n, d = X.shape
    # numpy promises that this old generator's numbers never change.
    draws = X.new_tensor(np.random.RandomState(0).uniform(-1.0, 1.0, n))
    scale = draws + draws.sign()
    rows = min(n, SKETCH)
    end = n - n % rows
    out = torch.einsum("kid,ki->id", X[:end].reshape(-1, rows, d), scale[:end].reshape(-1, rows))
    out[: n - end] += X[end:] * scale[end:, None]
    return out


def sketch_of(data: Dataset) -> Tensor:
    """The sketch of the design of a data set, whose samples may come by blocks."""
    from plncli.dataset import Stored

    if not isinstance(data, Stored):
        return sketch(data.X)
    if "sketch" not in data.known:
        data.known["sketch"] = _by_blocks(data)
    found: Tensor = data.known["sketch"]
    return found


def _by_blocks(data: Stored) -> Tensor:
    import numpy as np

    generator, rows, first = np.random.RandomState(0), min(data.n, SKETCH), 0
    out = data.X.new_zeros((rows, data.d))
    for part in data.parts("X"):
        draws = part.X.new_tensor(generator.uniform(-1.0, 1.0, part.n))
        scaled = part.X * (draws + draws.sign())[:, None]
        lead = -first % rows  # up to where a row of the sketch is the first one again
        whole = lead + (part.n - lead) // rows * rows if part.n > lead else part.n
        head = scaled[: min(lead, part.n)]
        out[first % rows : first % rows + len(head)] += head
        out += scaled[len(head) : whole].reshape(-1, rows, data.d).sum(0)  # of blocks of samples, not over ranks
        out[: part.n - whole] += scaled[whole:]
        first += part.n
    return out


def spans(large: Any, small: Any, n: int, tolerance: float) -> bool:
    """Whether the columns of one sketch (k×d) combine to those of the other (k×c), of designs with n rows."""
    import numpy as np

    k, d = large.shape
    if small.shape[1] > d or (n > SKETCH and d >= k):
        return False
    Q, inner = _orthonormal(large), _orthonormal(small)
    outside = inner - Q @ (Q.T @ inner)
    return float(np.linalg.norm(outside, axis=0).max()) <= tolerance


def _orthonormal(X: Any) -> Any:
    """An orthonormal basis of the columns (k×d) of full rank."""
    import numpy as np

    X = X.astype(np.float64)
    return np.linalg.qr(X / np.linalg.norm(X, axis=0)).Q


def mixture_p_value(statistic: float, df: int, edge: int) -> float:
    """P(chi2 > statistic), the degrees of freedom being df less a binomial number, of `edge` trials, ½ each."""
    import numpy as np
    from scipy.special import chdtrc, gammaln

    missing = np.arange(edge + 1)
    weights = np.exp(gammaln(edge + 1) - gammaln(missing + 1) - gammaln(edge - missing + 1) - edge * math.log(2.0))
    none = df == missing  # of a chi2 without degrees of freedom, which is 0
    tails = np.where(none, float(statistic <= 0.0), chdtrc(np.where(none, 1, df - missing), statistic))
    return float(weights @ tails)
