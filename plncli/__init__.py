"""Poisson log-normal, logistic and linear models, fitted on torch.

From Python: `from plncli import Dataset, fit`; data frames in, and a `FitResult` out that has the verbs of a fit.
"""

from __future__ import annotations

from plncli.version import __version__

TYPE_CHECKING = False  # without typing, whose import would be the first thing that an interrupt could meet
if TYPE_CHECKING:
    from typing import Any

    from plncli.errors import PlncliError
    from plncli.frames import Dataset, FitResult, cv, fit, load, offsets, simulate

__all__ = ["Dataset", "FitResult", "PlncliError", "__version__", "cv", "fit", "load", "offsets", "simulate"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: `plncli --help` has no use for torch."""
    from importlib import import_module

    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("plncli.errors" if name == "PlncliError" else "plncli.frames"), name)
