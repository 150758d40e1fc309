"""Custom content for MultiQC: a table of runs, their course, and pictures (docs.seqera.io/multiqc/custom_content).

MultiQC puts names of samples into its page as they are, as if they were HTML; so those of runs are escaped here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from plncli.plots import KINDS
from plncli.tables.atomic import whole_file, whole_folder, write_file
from plncli.tables.target import check_place
from plncli.tables.writing import to_json

FITS, TRACE = "plncli_fits_mqc.json", "plncli_trace_mqc.json"
CALLED = {"pca": "components", "roc": "curves", "qq": "quantiles"}
"""Kinds of pictures that have another name in files, which are headings in MultiQC."""
HEADERS = {
    "model": {"title": "Model", "description": "Model and covariance"},
    "samples": {"title": "Samples", "description": "Rows of the table", "format": "{:,.0f}", "scale": "Greys"},
    "features": {"title": "Features", "description": "Columns of the table", "format": "{:,.0f}", "scale": "Greys"},
    "elbo": {"title": "ELBO", "description": "Bound of the log-likelihood, nats", "format": "{:,.2f}"},
    "loglik": {"title": "log-lik", "description": "Log-likelihood, nats", "format": "{:,.2f}"},
    "bic": {"title": "BIC", "description": "Smaller is better, for fits of the same data", "format": "{:,.2f}"},
    "gap": {"title": "Gap", "description": "Estimated nats below the optimum", "format": "{:.2g}", "scale": "OrRd"},
    "converged": {
        "title": "Converged",
        "description": "Whether the gap is within the tolerance",
        "cond_formatting_rules": {"pass": [{"s_eq": "yes"}], "fail": [{"s_eq": "no"}]},
    },
    "warnings": {"title": "Warnings", "description": "Checks that need a look", "format": "{:,.0f}", "scale": "OrRd"},
}


def check(folder: Path, overwrite: bool, names: Sequence[str]) -> None:
    """Refuse files of runs of these names that are in the way, before any work is done; other files may be there."""
    if folder.exists():
        kinds = dict.fromkeys(name for (name, _), kind in KINDS.items() if kind.caption)  # those of pages
        files = (_file(name, place, kind) for place, name in enumerate(names, 1) for kind in kinds)
        for name in (FITS, TRACE, *files):
            check_place(folder / name, overwrite, "--multiqc")


def _file(name: str, place: int, kind: str) -> str:
    """The file of a picture, which MultiQC makes its heading from; the place of the run makes it unique.

    MultiQC shows sections in the order of these names, so that the table of fits stands first, and drops last letters
    that `.png` has too.
    """
    called = CALLED.get(kind, kind)
    called += "s" if called[-1] in "png" else ""
    return f"plncli_picture_{place}_{re.sub(r'[^A-Za-z0-9.-]+', '_', name)[:60]}_{called}_mqc.png"


def write(folder: Path, runs: Sequence[Mapping[str, Any]]) -> None:
    """Write the files of `runs`, which are those of `page.facts`, into a folder, which is made where there is none."""
    files = {FITS: to_json(fits(runs)).encode()}
    if any(run["trace"] for run in runs):
        files[TRACE] = to_json(trace(runs)).encode()
    for place, run in enumerate(runs, 1):
        files |= {_file(run["name"], place, kind): picture["png"] for kind, picture in run["pictures"].items()}
    if folder.exists():
        for name, content in files.items():
            whole_file(folder / name, content)
        return
    with whole_folder(folder) as partial:
        for name, content in files.items():
            write_file(partial / name, content)


def fits(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A row of general facts for each run."""
    rows = {escape(run["name"]): _row(run["overview"]) for run in runs}
    shown = {name: header for name, header in HEADERS.items() if any(name in row for row in rows.values())}
    return {
        "id": "plncli_fits",
        "section_name": "plncli: fits",
        "description": "Fits by plncli: how large they are, how well they fit, and how they ended.",
        "plot_type": "table",
        "pconfig": {"id": "plncli_fits_table", "title": "plncli: fits", "col1_header": "Run"},
        "headers": shown,
        "data": rows,
    }


def _row(found: Mapping[str, Any]) -> dict[str, Any]:
    covariance = f", {found['covariance']}" if found["covariance"] else ""
    row = {
        "model": f"{found['model']}{covariance}",
        "samples": found["n_samples"],
        "features": found["n_features"],
        found["likelihood"]: found[found["likelihood"]],
        "bic": found["bic"],
        "gap": found["gap"],
        "converged": "yes" if found["converged"] else "no",
        "warnings": len(found["warnings"]),
    }
    return {name: value for name, value in row.items() if value is not None}


def trace(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The gap against the step of each run, on a log scale."""
    return {
        "id": "plncli_trace",
        "section_name": "plncli: course of the fits",
        "description": "Estimated distance to the optimum at each step: it ought to fall to the end.",
        "plot_type": "linegraph",
        "pconfig": {
            "id": "plncli_trace_plot",
            "title": "plncli: course of the fits",
            "xlab": "step",
            "ylab": "gap (nats)",
            "ylog": True,
        },
        "data": {escape(run["name"]): {str(step): gap for step, gap in run["trace"]} for run in runs if run["trace"]},
    }
