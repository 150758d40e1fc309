"""The page: facts of runs as plain dictionaries, and the templates that write them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from shlex import quote
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from torch import Generator

from plncli.errors import UNCUT, DataError, PlncliError, UsageError, counted, number, some
from plncli.inference.hypotheses import INTERCEPT
from plncli.models.abilities import Tabulating
from plncli.models.findings import NOTE, Check
from plncli.names import SCALES, TRAINED
from plncli.plots.source import Source, coefficient_scale
from plncli.reports import clusters, effects, features, figures, groups, network, sentences
from plncli.runs.comparison import compare
from plncli.runs.folder import STATUSES, coefficient_columns
from plncli.runs.overview import overview
from plncli.runs.run import Run
from plncli.runs.scales import Scale, scale_of, with_scale
from plncli.verbs.diagnosis import diagnose, judged

ROWS = 25
"""Rows that a table shows at a time."""
TOP = 10
DRAWS = 1000
LONG = 1e11
MANY = 2**22  # counts from which their residuals take minutes
"""Samples × features² × draws beyond which the likelihood is not estimated: about half a minute."""
LABELS = {
    "std_error": "standard error",
    "p_value": "p",
    "q_value": "q",
    "conf_low": "from",
    "conf_high": "to",
    "log2_ratio": "log2 ratio",
    "log2_ratio_low": "from",
    "log2_ratio_high": "to",
    "ratio_low": "from",
    "ratio_high": "to",
}
"""Headings of columns that are not called like them."""


def run_names(sources: Sequence[Source]) -> list[str]:
    """What runs are called: by the names of their folders, and by their paths where these are not unique.

    UsageError for a run that is given twice.
    """
    places = [source.run.path.resolve() for source in sources]
    for source, place in zip(sources, places, strict=True):
        if places.count(place) > 1:
            raise UsageError(f"{source.run.place} is given twice.")
    short = [source.name for source in sources]
    return [
        name if short.count(name) == 1 else str(source.run.place) for name, source in zip(short, sources, strict=True)
    ]


def facts(sources: Sequence[Source], names: Sequence[str], diagnosed: bool, scale: str = SCALES[0]) -> dict[str, Any]:
    """All that the page says of runs, called `names`.

    diagnosed: read the tables of the fits again, and check models; scale: of coefficients.

    DataError for a run without a summary; UsageError for coefficients that have no such scale.
    """
    pairs = list(zip(sources, names, strict=True))
    runs = [
        _run(source, name, f"run{k}", diagnosed, scale_of(source.run.spec, scale))
        for k, (source, name) in enumerate(pairs, 1)
    ]
    return {
        "title": f"Report of {some(names, 3)}",
        "runs": runs,
        "comparison": _comparison([source.run for source in sources], names) if len(sources) > 1 else None,
    }


def render(content: Mapping[str, Any], version: str, made: str) -> str:
    """The page as HTML. version: of plncli; made: when, as text."""
    return _environment().get_template("report.html.j2").render(**content, version=version, made=made)


@cache
def _environment() -> Environment:
    """Where the templates are, and what they may call: made once, for compiling them takes longer than filling them."""
    environment = Environment(
        loader=PackageLoader("plncli.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "embedded": embedded, "data_uri": figures.data_uri}
    environment.globals |= {"counted": counted, "some": partial(some, width=UNCUT)}  # a page has room for names
    return environment


def embedded(content: Any) -> Markup:
    """JSON that may stand within a script element, whatever the texts in it: no sign of it ends or opens a tag."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Markup(re.sub("[<>&\u2028\u2029]", lambda sign: f"\\u{ord(sign[0]):04x}", text))


# A run


def _run(source: Source, name: str, key: str, diagnosed: bool, scale: Scale) -> dict[str, Any]:
    """What is said of one run; `key` makes the ids of its parts unique."""
    run = source.run
    found, told = overview(run, TOP), source.manifest
    dropped = [one["reason"] for one in told.get("dropped", ())]
    differing, slopes = effects.differences(run), effects.slopes(run)
    diagnosis = _diagnosis(source, diagnosed)
    with_data = diagnosed and diagnosis["facts"] is not None
    drawn, not_drawn = figures.pictures(source, with_data, scale.name)
    return {
        "key": key,
        "name": name,
        **_model(run),
        "overview": found,
        "network": _network(source, name, key),
        "groups": groups.groups(source),
        "clusters": clusters.clusters(source),
        "data": sentences.data(run, told),
        "left_out": dropped,
        "notes": [note for note in told.get("notes", ()) if note not in dropped],
        "manifest": told,
        "ending": sentences.convergence(run.summary),
        "certificate": "" if run.summary["status"] in TRAINED else sentences.CERTIFICATE,
        "warnings": sentences.warnings(run),
        "differences": [
            one | {"table": _table(f"{key}-levels{k}", f"{name}-{one['factor']}", one["columns"])}
            for k, one in enumerate(differing, 1)
        ],
        "slopes": slopes,
        **_mean(run, name, key, scale),
        "features": features.features(source) if with_data else None,
        "pictures": {picture["kind"]: picture for picture in drawn},
        "not_drawn": not_drawn,
        "correlations": [[row["first"], row["second"], f"{row['correlation']:.3f}"] for row in found["correlations"]],
        "not_diagnosed": diagnosis["note"],
        "diagnosed": sentences.diagnosis(diagnosis["facts"] or {}),
        "worst": _worst(diagnosis["facts"] or {}, effects.noun(run)),
        "inputs": [
            [one["role"], one["path"], " × ".join(map(str, one["shape"])), one["sha256"]]
            for one in told.get("inputs", ())
        ],
        "trace": figures.trace(source),
        "contents": _contents(
            run, bool(differing or slopes), bool({"correlation", "pca", "scree"} & {one["kind"] for one in drawn})
        ),
        "verdicts": list(_verdicts(run, diagnosis)),
        "again": _again(run) if source.told is None else "",
    }


def _mean(run: Run, name: str, key: str, scale: Scale) -> dict[str, Any]:
    """Coefficients, and how many have no finite value; of a neural mean its partial effects, in `effects`."""
    if run.has_coefficients:
        table = _table(f"{key}-coefficients", f"{name}-coefficients", _coefficients(run, scale))
        return {"coefficients": table, "not_finite": int((~np.isfinite(run.estimates["B"])).sum()), "effects": None}
    fitted = run.fitted
    assert isinstance(fitted, Tabulating)
    columns = {
        name: values if isinstance(values, list) else values.numpy()
        for name, values in fitted.further_tables(run.samples)["partial_effects"].items()
    }
    return {"coefficients": None, "not_finite": 0, "effects": _table(f"{key}-effects", f"{name}-partial", columns)}


def _model(run: Run) -> dict[str, Any]:
    """What is said of the model of a fit."""
    return {
        "response": run.spec.response.name,
        "latent": run.spec.latent,
        "low_rank": run.spec.has("C"),
        "times": run.spec.words.effect == "times",
        "structure": run.spec.words.covariance_title,
        "noun": effects.noun(run),
        "model_name": sentences.title(run),
        "formula": run.formula,
        "model_words": sentences.model(run),
        "offset": sentences.offset(run),
        "terms": list(sentences.terms(run)),
        "criteria": run.spec.criteria,
        "path": sentences.path(run),
        "r2": sentences.explained(run),
        "scale": coefficient_scale(run),
        "components": sentences.components(run),
    }


def _network(source: Source, name: str, key: str) -> dict[str, Any] | None:
    """The network, its features in a table of the page; None where the model has none."""
    found = network.network(source)
    if found is not None and "nodes" in found:
        found["nodes"] = _table(f"{key}-nodes", f"{name}-nodes", found["nodes"])
    return found


def _again(run: Run) -> str:
    """The command that makes the fit once more, of the settings in its folder."""
    return f"plncli fit {run.model} --config {quote(str(run.path.parent / 'config.toml'))} --out again"


def _contents(run: Run, effect: bool, latent: bool) -> list[tuple[str, str]]:
    """Sections by the end of their id."""
    found = [("brief", "In brief"), ("model", "What was fitted"), ("end", "How the fit ended")]
    found += [("path", "The path of fits")] if "path" in run.summary else []
    found += [("warnings", "Findings of the fit")] if run.summary["findings"] else []
    found += [("effects", "What the covariates change")] if effect else []
    found += [("coefficients", "Coefficients" if run.has_coefficients else "Partial effects")]
    found += [("network", "Network")] if "edges" in dict(run.spec.further) else []
    found += [("groups", "Groups")] if run.spec.grouped else []
    found += [("clusters", "Clusters")] if run.clusters else []
    title = run.spec.words.covariance_title
    found += [("latent", title)] if latent else []
    return [*found, ("diagnosis", "Does the model hold?"), ("again", "How to reproduce it")]


def _worst(found: Mapping[str, Any], noun: str) -> list[dict[str, Any]]:
    """Tables of the responses and samples that fit worst."""
    tables = [(f"{noun}s", found.get("worst_features")), ("samples", found.get("worst_samples"))]
    return [
        {
            "title": f"The {title} that fit worst",
            "heads": [name.replace("_", " ") for name in rows[0]],
            "rows": [[cell if isinstance(cell, str) else number(cell, 3) for cell in row.values()] for row in rows],
        }
        for title, rows in tables
        if rows
    ]


def _coefficients(run: Run, scale: Scale) -> dict[str, Any]:
    """coefficients.csv by column, and on the scale beside; without standard errors, the estimates alone.

    The status where it says something.
    """
    made = with_scale(coefficient_columns(run), scale)
    texts, plain = ("response", "term", "status"), set(made["status"]) == {STATUSES[0]}
    known = made if run.inference else ("response", "term", "estimate", "status", *scale.columns[:1])
    return {
        name: list(values) if name in texts else np.asarray(values, dtype=float)
        for name, values in made.items()
        if name in known and not (name == "status" and plain)
    }


def _table(key: str, name: str, columns: Mapping[str, Any]) -> dict[str, Any]:
    """A table for the page: its columns, texts as lists and numbers as arrays, and the rows that it shows at first.

    These are the ones with the smallest p-values, intercepts last, for they are no finding; without p-values, those of
    the file.
    """
    rows = len(next(iter(columns.values())))
    p = columns.get("p_value", np.zeros(rows))
    last = np.array([term == INTERCEPT for term in columns.get("term", ())] or [False] * rows)
    order = np.lexsort((p, last))  # nan last
    plain = {label: values if isinstance(values, list) else _numbers(values) for label, values in columns.items()}
    return {
        "key": key,
        "file": f"{name}.csv",
        "total": rows,
        "columns": [
            {"label": LABELS.get(label, label), "numeric": not isinstance(values, list)}
            for label, values in columns.items()
        ],
        "first": [[values[i] for values in plain.values()] for i in order[:ROWS].tolist()],
        "data": {"columns": list(columns), "values": list(plain.values()), "order": order.tolist()},
    }


def _numbers(values: np.ndarray) -> list[Any]:
    """Numbers as JSON has them: null for none, and words for infinite ones."""
    return [None if math.isnan(x) else x if math.isfinite(x) else "inf" if x > 0 else "-inf" for x in values.tolist()]


def _diagnosis(source: Source, wanted: bool) -> dict[str, Any]:
    """facts: those of `plncli diagnose`, None where there are none; note: what was not done, and why."""
    run = source.run
    if not wanted:
        return {"facts": None, "note": "Whether the model holds was not checked, as was asked."}
    summary = run.summary
    if summary["n_samples"] * summary["n_features"] > MANY:
        long = f"of a table of this size that takes minutes: plncli diagnose {quote(str(run.place))} does it."
        return {"facts": None, "note": f"Whether the model holds was not checked, for {long}"}
    costly = summary["covariance"] in ("full", "fixed")
    costly = costly and summary["n_samples"] * summary["n_features"] ** 2 * DRAWS > LONG
    try:
        found = diagnose(run, source.data, 0 if costly else DRAWS, Generator().manual_seed(0))
    except PlncliError as error:
        return {"facts": None, "note": f"Whether the model holds was not checked. {error}"}
    note = (
        "How far the bound lies below the log-likelihood was not estimated, which would take minutes: "
        f"plncli diagnose {quote(str(run.place))} does."
    )
    return {"facts": found.facts, "note": note if costly else ""}


def _verdicts(run: Run, diagnosis: Mapping[str, Any]) -> Iterator[Check]:
    """Whether to trust the fit: the checks of `plncli diagnose`, or those of the end of the fit."""
    found = diagnosis["facts"]
    known = run.summary.get("checks") if found is None else found["checks"]
    yield from map(Check.from_json, known) if known is not None else judged(run, None, None)
    if found is None:
        yield Check("diagnosis", NOTE, diagnosis["note"])


# Several runs


def _comparison(runs: Sequence[Run], names: Sequence[str]) -> dict[str, Any]:
    """Criteria and likelihood-ratio tests, or why the runs do not compare."""
    try:
        found = compare(runs)
    except DataError as error:
        return {"note": str(error), "rows": [], "ratios": []}
    called = {str(run.place): name for run, name in zip(runs, names, strict=True)}
    shown = [name for name in found.criteria if any(row[name] is not None for row in found.rows)]
    return {
        "note": "",
        "heads": ["run", "formula", "structure", found.likelihood, "parameters", *shown, "converged"],
        "rows": [
            [
                called[row["run"]],
                row["formula"],
                row["structure"],
                f"{row[found.likelihood]:.2f}",
                row["n_parameters"],
                *(_criterion(row[name], row[f"delta_{name}"]) for name in shown),
                "yes" if row["converged"] else "no",
            ]
            for row in found.rows
        ],
        "ratios": [
            [called[r.large], called[r.small], f"{r.statistic:.2f}", r.df, number(r.p_value, 3)] for r in found.ratios
        ],
        "told": [*found.notes, *found.warnings],
    }


def _criterion(value: float | None, delta: float | None) -> str:
    """The best with a star, another with its distance to it."""
    if value is None or delta is None:
        return ""
    return f"{value:.1f} *" if delta == 0.0 else f"{value:.1f} (+{delta:.1f})"
