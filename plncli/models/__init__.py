"""Models by name. Adding one is a file of its own and a line here."""

from __future__ import annotations

from typing import Any

from plncli.models.linear import Linear
from plncli.models.logistic import Logistic
from plncli.models.pln import PLN

MODELS: dict[str, Any] = {model.name: model for model in (PLN, Logistic, Linear)}
