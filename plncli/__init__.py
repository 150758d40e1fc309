"""Poisson log-normal, logistic and linear models, fitted on torch.

From Python: `from plncli import Dataset, fit, predict, transform`; `fit` gives a `FitResult`, which the others take.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plncli.dataset import Dataset
    from plncli.fitting import fit
    from plncli.prediction import predict, transform
    from plncli.results import FitResult

__version__ = "0.1.0"
__all__ = ["Dataset", "FitResult", "__version__", "fit", "predict", "transform"]

_HOMES = {
    "Dataset": "plncli.dataset",
    "FitResult": "plncli.results",
    "fit": "plncli.fitting",
    "predict": "plncli.prediction",
    "transform": "plncli.prediction",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: `plncli --help` has no use for torch."""
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
