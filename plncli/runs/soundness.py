"""Whether tensors of a model file are what their names say: of their shape and type, and leading somewhere."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from plncli.models.neural.spec import LAYER, check_layers
from plncli.numerics.nesting import SKETCH

FLOATS = ("F64", "F32")


def check_network(
    state: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]], kinds: Mapping[str, str], d: int, p: int
) -> None:
    """ValueError unless a fit without coefficients has a network whose layers follow each other, and its effects."""
    layers = {name.removeprefix("state."): shapes[name] for name in shapes if name.startswith(f"state.{LAYER}")}
    if any(kinds[name] not in FLOATS for name in shapes if name.startswith("state.network")):
        raise ValueError("A network of another type.")
    check_layers(layers, int((state["network_scale"] != 0).sum()), p)
    if not {f"network_{name}" for name in ("centre", "level", "spread", "effects")} <= {*state}:
        raise ValueError("Not all of a network.")
    effects = state["network_effects"]
    if effects.ndim != 2 or effects.shape[1] != 2 + p or not np.isin(effects[:, 0], np.arange(d)).all():
        raise ValueError("Partial effects of other covariates.")


def check_sketch(name: str, shapes: Mapping[str, tuple[int, ...]], kinds: Mapping[str, str], n: int, d: int) -> None:
    """ValueError unless a sketch is of a design of d columns."""
    shape = shapes[name]
    rows = min(n or SKETCH, SKETCH)
    if len(shape) != 2 or shape[1] != d or not (shape[0] == rows or (n == 0 and shape[0] < SKETCH)):
        raise ValueError("A sketch of another design.")
    if kinds[name] not in FLOATS:
        raise ValueError("A sketch of another type.")


def check_limits(
    begin: str,
    state: Mapping[str, np.ndarray],
    shapes: Mapping[str, tuple[int, ...]],
    kinds: Mapping[str, str],
    d: int,
    p: int,
) -> None:
    """ValueError where indices of features, or of the cones of separated ones, lead nowhere (see `PredictorLimits`)."""
    begin = f"{begin}courses_"
    known = {name.removeprefix(begin): shapes[f"state.{name}"] for name in state if name.startswith(begin)}
    if known:
        of, T, kernels, rows = (known[name] for name in ("of", "T", "kernels", "rows"))
        cones, _, free = kernels if len(kernels) == 3 else (0, 0, -1)
        if of != (p,) or (d, d) != T or kernels != (cones, d, free) or rows[::2] != (cones, free) or len(rows) != 3:
            raise ValueError("PredictorLimits of other coefficients.")
        if any(kinds[f"state.{begin}{name}"] not in FLOATS for name in ("T", "kernels", "rows")):
            raise ValueError("PredictorLimits of another type.")
        if not all(np.isfinite(state[f"{begin}{name}"]).all() for name in ("T", "kernels", "rows")):
            raise ValueError("PredictorLimits that are not finite.")
        check_indices(state[f"{begin}of"], -1, cones)


def check_indices(indices: np.ndarray, low: int, end: int) -> None:
    """ValueError unless all are from low to, and without, end."""
    if indices.ndim != 1 or indices.dtype != np.int64 or not ((indices >= low) & (indices < end)).all():
        raise ValueError("Indices that lead nowhere.")


def check_frequencies(state: Mapping[str, np.ndarray]) -> None:
    """ValueError unless how often pairs were linked is all there or not at all, of pairs, and from 0 to 1."""
    names = {"frequency_values", "frequency_first", "frequency_second", "frequencies"}
    there = names & {*state}
    if not there:
        return
    first, second = (state.get(f"frequency_{which}", np.zeros(0)) for which in ("first", "second"))
    if there != names or first.shape != second.shape or not (first < second).all():
        raise ValueError("Frequencies of what are no pairs.")
    if not ((state["frequencies"] >= 0) & (state["frequencies"] <= 1)).all():
        raise ValueError("Frequencies that are no shares.")
