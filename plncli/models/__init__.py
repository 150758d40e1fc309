"""Models by name. Adding one is a folder and a line here.

What may enter: a model's declaration, its objective, and what it alone can answer of a finished fit.
Never: optimizers, files, options of verbs.
"""

from __future__ import annotations

from typing import Any

from plncli.models.pln.model import PLN
from plncli.models.regression.linear import Linear
from plncli.models.regression.logistic import Logistic

MODELS: dict[str, Any] = {model.name: model for model in (PLN, Logistic, Linear)}
