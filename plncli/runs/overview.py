"""What there is to see of a run at a glance."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from plncli.inference.hypotheses import INTERCEPT
from plncli.runs.network.links import links
from plncli.runs.run import Run
from plncli.runs.scales import NATURAL, Scale, on_scale, scale_of

SIGNIFICANT = 0.05
SHOWN = ("estimate", "std_error", "statistic", "p_value", "q_value", "conf_low", "conf_high")


def overview(run: Run, top: int, scale: Scale | None = None) -> dict[str, Any]:
    """The summary, how many coefficients stand out, the `top` clearest ones, and the `top` strongest correlations.

    Of a network also its `top` hubs and strongest links.

    Intercepts are no finding: they are among the clearest coefficients only where there is nothing else. Coefficients
    have their values on `scale` beside them, if it is not the one of the estimates.
    """
    scale = scale or scale_of(run.spec, NATURAL)
    return {
        "run": str(run.place),
        "formula": run.formula,
        "terms": run.terms,
        "aliased": [name for _, name in run.aliased],
        "likelihood": run.likelihood[0],
        **run.summary,
        "without_std_error": int(np.isnan(run.inference["std_error"]).sum()) if run.inference else None,
        "significant": _significant(run),
        "scale": scale.name,
        "coefficients": [row | _as_floats(on_scale(row, scale)) for row in _clearest(run, top)],
        "correlations": list(_strongest(run, top)),
        **_network(run, top),
    }


def _network(run: Run, top: int) -> dict[str, Any]:
    """hubs: features with the most edges; links: the strongest edges; nothing where the model has no network."""
    found = links(run)
    if found is None:
        return {}
    names, strongest = run.responses, zip(found.first[:top], found.second[:top], found.partial[:top], strict=True)
    return {
        "hubs": [{"feature": names[j], "edges": int(found.degree[j])} for j in found.hubs[:top]],
        "links": [{"first": names[j], "second": names[k], "partial_correlation": float(r)} for j, k, r in strongest],
    }


def _as_floats(row: dict[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in row.items()}


def _significant(run: Run) -> dict[str, int]:
    """How many responses have q < SIGNIFICANT, by term."""
    if not run.inference:
        return {}
    many = (run.inference["q_value"] < SIGNIFICANT).sum(1).tolist()
    return {term: count for term, count in zip(run.terms, many, strict=True) if term != INTERCEPT}


def _clearest(run: Run, top: int) -> Iterator[dict[str, Any]]:
    if not run.inference:
        return
    tables = {name: run.inference[name] for name in SHOWN[1:]} | {"estimate": run.coefficient_table}
    size = np.abs(tables["statistic"])
    rows = [k for k, term in enumerate(run.terms) if term != INTERCEPT] or range(len(run.terms))
    order = np.argsort(-size[rows], axis=None, kind="stable")  # nan last
    for place in order[:top].tolist():
        k, j = rows[place // size.shape[1]], place % size.shape[1]
        if np.isnan(size[k, j]):
            return
        numbers = {name: float(tables[name][k, j]) for name in SHOWN}
        yield {"response": run.responses[j], "term": run.terms[k]} | numbers


def _strongest(run: Run, top: int) -> Iterator[dict[str, Any]]:
    """The pairs of responses with the largest correlation in Sigma; none where all are 0."""
    found: list[tuple[float, int, int]] = []
    for rows, block in _correlations(run):
        R = np.triu(np.nan_to_num(block), rows.start + 1)
        chosen = np.argpartition(-np.abs(R), min(top, R.size) - 1, axis=None)[:top] if R.size else ()
        places = (divmod(place, R.shape[1]) for place in map(int, chosen))
        found += [(float(R[i, j]), rows.start + i, j) for i, j in places if R[i, j]]
        found = sorted(found, key=lambda pair: -abs(pair[0]))[:top]
    for correlation, i, j in found:
        yield {"first": run.responses[i], "second": run.responses[j], "correlation": correlation}


def _correlations(run: Run) -> Iterator[tuple[slice, np.ndarray]]:
    """Correlations of responses by blocks of rows, nan without variance; without torch where Sigma is kept whole."""
    if (Sigma := run.estimates.get("Sigma")) is not None:
        with np.errstate(divide="ignore", invalid="ignore"):
            sd = np.sqrt(np.diagonal(Sigma))
            yield slice(0, len(Sigma)), Sigma / np.outer(sd, sd)
    elif (covariance := run.fitted.covariance) is not None:
        yield from ((rows, block.numpy()) for rows, block in covariance.correlations())
