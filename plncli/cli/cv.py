"""`plncli cv MODEL`: how well candidates predict samples, or counts, that they have not seen."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from plncli import settings as configuration
from plncli.cli.help import Group
from plncli.cli.options import ConfigFile, NoProgress, Overwrite, Quiet, Resume, TableFile, TableJson, each_model, group
from plncli.models import MODELS
from plncli.models.spec import Setting, Spec
from plncli.settings import FitConfig, option
from plncli.verbs.settings import CV, FOLDS

Formulas = Annotated[
    list[str] | None,
    typer.Option(
        "--formula",
        metavar="TEXT",
        help="Terms that explain the response; `~ 1` when absent. Give several to compare them.",
        show_default=False,
        rich_help_panel="Model",
    ),
]
Folds = Annotated[
    int | None,
    typer.Option(
        "--folds",
        metavar="N",
        help=f"Parts of the samples, each held out in turn; with --entries, how often. [default: {FOLDS}]",
        show_default=False,
        rich_help_panel="Cross-validation",
    ),
]
Entries = Annotated[
    float | None,
    typer.Option(
        "--entries",
        metavar="SHARE",
        help="Hide this share of the counts, rather than samples, and predict them from the others.",
        show_default=False,
        rich_help_panel="Cross-validation",
    ),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="FILE|COLUMN",
        help="Samples that belong together and stay in one fold: a table, or a column of --covariates.",
        show_default=False,
        rich_help_panel="Cross-validation",
    ),
]
Workers = Annotated[
    str | None,
    typer.Option(
        "--workers",
        metavar="N|auto",
        help="Processes that share the fits; auto: a core each, as far as memory goes. [default: auto]",
        show_default=False,
        rich_help_panel="Cross-validation",
    ),
]
Threads = Annotated[
    str | None,
    typer.Option(
        "--threads",
        metavar="N|auto",
        help="CPU threads of each fit; auto: one, since the fits share the cores. [default: auto]",
        show_default=False,
        rich_help_panel="Cross-validation",
    ),
]
SWITCHES: dict[str, Any] = {
    "formula": Formulas,
    "folds": Folds,
    "cluster": Cluster,
    "workers": Workers,
    "threads": Threads,
    "out": TableFile,
    "overwrite": Overwrite,
    "resume": Resume,
    "json": TableJson,
    "config": ConfigFile,
    "quiet": Quiet,
    "no_progress": NoProgress,
}


def _compared(setting: Setting) -> Any:
    """The option of a setting of the model whose values are compared."""
    default = "" if setting.default is None else f" [default: {setting.default}]"
    return Annotated[
        list[str] | None,
        typer.Option(
            option(setting.name),
            metavar="|".join((*setting.choices, *(["~TERMS"] if setting.formula else []))) or "N",
            help=f"{setting.help} Give several to compare them, with each formula.{default}",
            show_default=False,
            rich_help_panel="Model",
        ),
    ]


def _special(spec: Spec) -> dict[str, Any]:
    """Switches of a model beside those of all."""
    compared = {setting.name: _compared(setting) for setting in spec.settings if setting.compared}
    return compared | ({"entries": Entries} if spec.latent else {})


def cv(
    model: str,
    flags: dict[str, Any],
    *,
    formula: list[str] | None,
    folds: int | None,
    cluster: str | None,
    workers: str | None,
    threads: str | None,
    config: str | None,
    entries: float | None = None,
    **switches: Any,
) -> int:
    """Compare each formula with each value of the model's settings that are compared."""
    from plncli.verbs import crossvalidate as verb

    compared = {setting.name: switches.pop(setting.name) for setting in MODELS[model].settings if setting.compared}

    def resolved(formula: str | None, structure: Mapping[str, str | None]) -> FitConfig:
        given = {"formula": formula, "cluster": cluster, "workers": workers, "threads": threads}
        return configuration.resolve(model, {**flags, **given, **structure}, config, os.environ)

    return verb.cv(verb.asked(resolved, formula, compared, FOLDS if folds is None else folds, entries), **switches)


def app() -> Group:
    """The verb, with a command for each model."""
    return each_model(group("cv", "Compare models by how well they predict held-out data."), cv, SWITCHES, CV, _special)
