"""Shape vocabulary. n samples, p features (responses), d coefficients per feature (terms)."""

from __future__ import annotations

from torch import Tensor

Params = dict[str, Tensor]
"""Free variables of an objective by symbol, each a floating tensor of one device and dtype."""
