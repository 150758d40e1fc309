"""Whether a model file is what `fit` writes: facts of the right kind, and tensors of the shapes that they say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from plncli.inputs.designs.aliasing import Aliased
from plncli.models.spec import CLASSES, Symbol
from plncli.names import COLUMNS
from plncli.runs import schema as schemas
from plncli.settings import recorded

if TYPE_CHECKING:
    from plncli.runs.run import Run

SKETCH = 1024
"""Rows of what is kept of a design matrix."""
FLOATS = ("F64", "F32")


def check(run: Run, shapes: Mapping[str, tuple[int, ...]], kinds: Mapping[str, str]) -> None:
    """ValueError or DataError where facts are of the wrong kind, or tensors of another shape or type than they say."""
    n, p, d = len(run.samples), len(run.responses), len(run.terms)
    for names in (run.samples, run.responses, run.terms):
        if len(set(names)) < len(names):
            raise ValueError("Names that are not unique.")
    recorded(run.model, run.settings, run.path)
    _check_design(run)
    _check_summary(run)
    if any(len(texts) != p for texts in run.features.values()):
        raise ValueError("What is said of other responses.")
    if run.spec.response is CLASSES and len(run.classes or ()) not in (0, p):
        raise ValueError("Classes of other responses.")
    c = len(run.zero_terms)
    sizes = {"sample": n, "response": p, "term": d, "component": len(run.components), "zero_term": c}
    expected: dict[str, tuple[int, ...]] = {
        "inference.df": (),
        "inference.blocks": (p, d, d),
        "state.courses_T": (d, d),
        "state.zero_courses_T": (c, c),
    }
    for symbol in (symbol for symbol in run.spec.symbols if not symbol.indices):
        names = (_place(symbol), *(f"inference.{symbol.name}_{part}" for part in ("se", "low", "high")))
        expected |= dict.fromkeys(names, tuple(sizes[axis] for axis in symbol.axes))
    expected |= dict.fromkeys((f"inference.{name}" for name in COLUMNS), (d, p))
    there = {name.partition(".")[2] for name in shapes}
    held = {
        f"{'state' if symbol.state else 'estimates'}.{symbol.name}"
        for symbol in run.spec.symbols
        if not symbol.optional and not (symbol.instead and {*symbol.instead} <= there)
    }
    if not {"sketch.X", *held} <= {*shapes}:
        raise ValueError("Not all tensors of the model.")
    for name, shape in expected.items():
        if name in shapes and (shapes[name] != shape or kinds[name] not in FLOATS):
            raise ValueError(f"{name} is of another shape or type.")
    present = {name.removeprefix("inference.") for name in shapes if name.startswith("inference.")}
    if present and not {*COLUMNS, "blocks", "df"} <= present:
        raise ValueError("Standard errors without all that follows from them.")
    _check_sketch("sketch.X", shapes, kinds, n, d)
    if "sketch.X0" in shapes:
        _check_sketch("sketch.X0", shapes, kinds, n, c)
    for begin, columns in (("", d), ("zero_", c)):
        _check_limits(begin, run.state, shapes, kinds, columns, p)
    for symbol in run.spec.symbols:
        if symbol.indices:
            _check_indices((run.state if symbol.state else run.estimates)[symbol.name], 0, p)


def _place(symbol: Symbol) -> str:
    """The name of a symbol's tensor in the file."""
    return f"{'state' if symbol.state else 'estimates'}.{symbol.name}"


def _check_sketch(name: str, shapes: Mapping[str, tuple[int, ...]], kinds: Mapping[str, str], n: int, d: int) -> None:
    shape = shapes[name]
    rows = min(n or SKETCH, SKETCH)
    if len(shape) != 2 or shape[1] != d or not (shape[0] == rows or (n == 0 and shape[0] < SKETCH)):
        raise ValueError("A sketch of another design.")
    if kinds[name] not in FLOATS:
        raise ValueError("A sketch of another type.")


def _check_limits(
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
        _check_indices(state[f"{begin}of"], -1, cones)


def _check_indices(indices: np.ndarray, low: int, end: int) -> None:
    if indices.ndim != 1 or indices.dtype != np.int64 or not ((indices >= low) & (indices < end)).all():
        raise ValueError("Indices that lead nowhere.")


def _check_design(run: Run) -> None:
    """ValueError unless the design has the terms of the run; whether it can be built, is found where it is."""
    d, x = len(run.terms), run.design["x"]
    if (("Intercept",) if x is None else tuple(x["terms"])) != tuple(run.terms):
        raise ValueError("A design of other terms.")
    zeros = run.design.get("zeros")
    _check_parts(run.design)
    if zeros is not None:
        _check_parts(zeros)
    known = run.coefficients
    if any(k >= d for places in known.groups.values() for k in places):
        raise ValueError("Terms that are not there.")
    learnt = run.design.get("size_factors")
    if learnt is not None:
        _check_size_factors(learnt, len(run.responses))


def _check_parts(design: Mapping[str, Any]) -> None:
    """ValueError unless the encodings of a design are sound."""
    for part in filter(None, (design["x"], design["offset"])):
        columns = part["state"].get("columns", {}).values()
        if any(not 0 <= k < len(part["terms"]) for places in columns for k in places):
            raise ValueError("Columns that are not there.")
        if part.get("aliased"):
            Aliased.from_json(part["aliased"], len(part["terms"]))
        if not {*part["columns"]} <= {*design["formula"]["columns"]}:
            raise ValueError("Columns that the formula does not name.")


def _check_size_factors(learnt: Mapping[str, Any], p: int) -> None:
    """ValueError unless what a method has learnt of size factors fits its blocks (see `SizeFactors`)."""
    block, blocks, references = learnt["block"], learnt["blocks"], learnt["references"]
    if len(block) != len(learnt.get("features") or range(p)) or not {*block} <= {*range(len(blocks))}:
        raise ValueError("Size factors of other features.")
    if references is None:
        return
    sizes = [len(one) for one in references]
    by_feature = learnt["method"] not in ("total", "css")
    if len(sizes) != len(blocks) or (by_feature and sizes != [block.count(b) for b in range(len(blocks))]):
        raise ValueError("Size factors of other blocks.")
    if len(learnt.get("shifts") or ()) != len(blocks):
        raise ValueError("Size factors of other blocks.")
    if learnt["method"] == "css" and any(len(one) != 1 for one in references):
        raise ValueError("Size factors without a quantile.")


def _check_summary(run: Run) -> None:
    """ValueError where the summary is not what its schema says, or is of another fit."""
    schemas.check(run.summary, "summary")
    n, sizes = len(run.samples), [run.summary[f"n_{what}"] for what in ("samples", "features", "covariates")]
    if sizes != [n or sizes[0], len(run.responses), len(run.terms)] or run.summary["model"] != run.model:
        raise ValueError("The summary of another fit.")
    if run.inference and run.summary["level"] is None:
        raise ValueError("Intervals of no level.")
    structured = run.spec.setting("covariance") is not None
    if (run.summary["covariance"] is not None) != structured or run.spec.likelihood not in run.summary:
        raise ValueError("The summary of another model.")
