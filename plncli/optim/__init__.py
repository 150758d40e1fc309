"""Optimizers by name."""

from __future__ import annotations

from plncli.optim.newton_cg import NewtonCG

OPTIMIZERS = {NewtonCG.name: NewtonCG}
