"""Poisson log-normal, logistic and linear models, fitted on torch.

`from plncli.fit import fit` is the way in from Python; `Dataset` and `FitResult` are what goes in and what comes out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plncli.dataset import Dataset
    from plncli.results import FitResult

__version__ = "0.1.0"
__all__ = ["Dataset", "FitResult", "__version__"]


def __getattr__(name: str) -> Any:
    """Import `Dataset` and `FitResult` when they are first asked for: `plncli --help` has no use for torch."""
    from importlib import import_module

    modules = {"Dataset": "plncli.dataset", "FitResult": "plncli.results"}
    if name not in modules:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(modules[name]), name)
