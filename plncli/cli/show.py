"""`plncli show RUN`: a finished fit at a glance."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from plncli import console
from plncli.cli.options import RunFolder, TableJson
from plncli.cli.tables import aligned
from plncli.errors import UsageError, counted, short

WIDTH = 96
Top = Annotated[int, typer.Option("--top", metavar="N", help="Coefficients and correlations to show.")]
COVARIANCES = {
    "full": "full covariance",
    "diagonal": "diagonal covariance (features independent)",
    "spherical": "spherical covariance (one variance)",
    "fixed": "fixed covariance",
}
MODELS = {"pln": "Poisson log-normal", "logistic": "logistic regression", "linear": "linear regression"}


def show(run: RunFolder, top: Top = 10, json: TableJson = False) -> int:
    """Show a finished fit at a glance.

    Model and data, how it ended, criteria, warnings, the clearest coefficients, and the strongest correlations.
    """
    from plncli.runs.overview import overview
    from plncli.runs.run import read_run
    from plncli.tables.writing import to_json

    if top < 0:
        raise UsageError(f"--top must be 0 or more, not {top}.")
    found = overview(read_run(Path(run)), top)
    console.out(to_json(found) if json else "\n".join(lines(found)))
    return 0


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """An overview (`files.overview`) for a reader."""
    noun = "feature" if found["model"] == "pln" else "response"
    covariance = f", {COVARIANCES[found['covariance']]}" if found["covariance"] else ""
    size = f"{counted(found['n_samples'], 'sample')} × {counted(found['n_features'], noun)}"
    facts = [
        ("model", f"{MODELS[found['model']]}{covariance}"),
        ("formula", found["formula"]),
        ("data", f"{size}, {counted(found['n_covariates'], 'coefficient')} each"),
        ("fit", _ending(found)),
        (found["likelihood"], f"{_number(found[found['likelihood']], 4)} with {found['n_parameters']} parameters"),
        (
            "criteria",
            ", ".join(f"{name} {found[name]:.2f}" for name in ("aic", "bic", "icl") if found[name] is not None),
        ),
        ("r2", found["r2"] and _number(found["r2"], 4)),
        ("errors", _errors(found)),
    ]
    yield found["run"]
    yield ""
    for name, text in facts:
        if text:
            yield from wrapped(text, f"{name:<10}")
    for sentence in found["warnings"]:
        yield from wrapped(sentence, "warning   ")
    yield from _coefficients(found, noun)
    yield from _correlations(found, noun)


def _number(value: float | None, digits: int) -> str:
    return "not finite" if value is None else f"{value:.{digits}f}"


def wrapped(text: str, label: str) -> list[str]:
    """Lines of a text that stand beside its label."""
    return textwrap.wrap(text, WIDTH, initial_indent=label, subsequent_indent=" " * len(label), break_long_words=False)


def _ending(found: Mapping[str, Any]) -> str:
    how = (
        f"{found['optimizer']}, {counted(found['steps'], 'step')} in {found['fit_seconds']:.2f} s on {found['device']}"
    )
    if found["gap"] is None:
        return f"{found['status'].replace('_', ' ')} ({how}); how far from the optimum is not known"
    left = f"an estimated {found['gap']:.2g} nats below the optimum"
    if found["converged"]:
        return f"converged ({how}), {left}"
    return f"not converged, {found['status'].replace('_', ' ')} ({how}), {left}"


def _errors(found: Mapping[str, Any]) -> str:
    if found["se"] == "none":
        return "none"
    empty = f", none for {counted(found['without_std_error'], 'coefficient')}" if found["without_std_error"] else ""
    return f"{found['se']}, intervals at {found['level']:g}{empty}"


def _coefficients(found: Mapping[str, Any], noun: str) -> Iterator[str]:
    if found["significant"]:
        yield ""
        yield f"q < 0.05, of {counted(found['n_features'], noun)}"
        yield from (f"  {line}" for line in aligned([[k, str(v)] for k, v in found["significant"].items()]))
    if not found["coefficients"]:
        return
    yield ""
    yield f"Clearest coefficients, by |estimate / std_error| ({100 * found['level']:g} % intervals)"
    rows = [[noun, "term", "estimate", "from", "to", "statistic", "q"]]
    rows += [
        [
            short(row["response"], 24),
            short(row["term"], 24),
            *(f"{row[name]:.4g}" for name in ("estimate", "conf_low", "conf_high", "statistic")),
            f"{row['q_value']:.2g}",
        ]
        for row in found["coefficients"]
    ]
    yield from (f"  {line}" for line in aligned(rows, left=2))


def _correlations(found: Mapping[str, Any], noun: str) -> Iterator[str]:
    if not found["correlations"]:
        return
    kind = "latent" if found["model"] == "pln" else "residual"
    yield ""
    yield f"Strongest {kind} correlations"
    rows = [[noun, noun, "correlation"]]
    rows += [
        [short(row["first"], 32), short(row["second"], 32), f"{row['correlation']:.3f}"]
        for row in found["correlations"]
    ]
    yield from (f"  {line}" for line in aligned(rows, left=2))
