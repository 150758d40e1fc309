"""What the encoded design of a run says, without building it: terms, what was left out, where offsets come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plncli.inference.hypotheses import Terms


def aliased_of(design: Mapping[str, Any]) -> tuple[tuple[int, str], ...]:
    """Places among all columns of the design, and names, of those that were left out of it."""
    found = (design.get("x") or {}).get("aliased") or {"places": (), "names": ()}
    return tuple(zip(found["places"], found["names"], strict=True))


def zero_terms_of(design: Mapping[str, Any]) -> tuple[str, ...]:
    """Columns of the design of structural zeros; none without one."""
    zeros = design.get("zeros")
    return () if zeros is None else ("Intercept",) if zeros["x"] is None else tuple(zeros["x"]["terms"])


def terms_of(design: Mapping[str, Any], names: tuple[str, ...]) -> Terms:
    """The coefficients of these names by term of the formula, and the levels of its factors."""
    state = (design.get("x") or {}).get("state", {})
    groups = {"Intercept" if term == "1" else term: tuple(ks) for term, ks in state.get("columns", {}).items()}
    levels = {
        factor: tuple(map(str, dict(learnt["items"])["categories"]))
        for factor, (kind, learnt) in state.get("encoders", {}).items()
        if kind == "categorical"
    }
    aliased = tuple(name for _, name in aliased_of(design))
    return Terms(names, groups or {name: (k,) for k, name in enumerate(names)}, levels, aliased)


def offset_of(settings: Mapping[str, Any], design: Mapping[str, Any]) -> str:
    """How the offset was given: exposure, offsets, formula, or `offset_method:NAME`; empty where there is none."""
    given = [name for name in ("exposure", "offsets") if settings.get(name)]
    given += [f"offset_method:{settings.get('offset_method')}"] * bool(settings.get("offset_method"))
    given += ["formula"] * bool(design["formula"].get("offsets"))
    return given[-1] if given else ""
