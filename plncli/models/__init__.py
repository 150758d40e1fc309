"""Models by name."""

from __future__ import annotations

from plncli.models.pln import PLN

MODELS = {PLN.name: PLN}
