"""The options of the commands: the settings of a fit, off the fields of `FitConfig`, and switches of their own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import Field
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from plncli.names import MODEL_NAMES
from plncli.settings.config import INPUT, MODEL, SELECTION, Setting, choices, option, settings, value_type

COMMAND = "Command line"

ConfigFile = Annotated[
    str | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="TOML file of these options. Flags beat PLNCLI_* in the environment, which beats the file.",
        rich_help_panel=COMMAND,
    ),
]
PrintConfig = Annotated[
    bool,
    typer.Option("--print-config", help="Print the resolved options as TOML, and stop.", rich_help_panel=COMMAND),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        metavar=" ",
        help="Read and check everything, say what would be fitted, and stop.",
        rich_help_panel=COMMAND,
    ),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Go on from a checkpoint; without one begin, and where all is done do nothing: for job scripts.",
        rich_help_panel=COMMAND,
    ),
]
Json = Annotated[
    bool,
    typer.Option("--json", help="Print the summary on standard output as JSON.", rich_help_panel=COMMAND),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.", rich_help_panel=COMMAND)]
Verbose = Annotated[
    bool,
    typer.Option("--verbose", "-v", help="Say more: inputs, device, every step.", rich_help_panel=COMMAND),
]
RunFolder = Annotated[
    str, typer.Argument(metavar="RUN", help="Folder that `plncli fit` wrote, or the model file in it.")
]
TableFile = Annotated[
    str | None,
    typer.Option(
        "--out",
        metavar="FILE",
        help="Write the table there: .csv, .tsv, .parquet or .feather. Without it, on standard output.",
        show_default=False,
    ),
]
TextFormat = Annotated[
    str | None,
    typer.Option("--format", metavar="csv|tsv", help="Of standard output [default: csv].", show_default=False),
]
NewCovariates = Annotated[
    str | None,
    typer.Option(
        "--covariates", metavar="FILE", help="Covariates of the new samples, as the fit had.", show_default=False
    ),
]
NewExposure = Annotated[
    str | None,
    typer.Option("--exposure", metavar="FILE|NUMBER", help="Their exposure, on the natural scale.", show_default=False),
]
NewOffsets = Annotated[
    str | None,
    typer.Option("--offsets", metavar="FILE|NUMBER", help="Their offsets, on the log scale.", show_default=False),
]
NewMissing = Annotated[
    str,
    typer.Option(
        "--missing",
        metavar="error|drop|keep",
        help="Empty or NA entries: refuse them, drop the sample, or (counts) keep them as unobserved.",
    ),
]
NewTranspose = Annotated[bool, typer.Option("--transpose", help="The table of counts has features in rows: turn it.")]
NoSampleNames = Annotated[
    bool, typer.Option("--no-sample-names", help="Tables have no column of sample names; rows match by position.")
]


def moved_table(name: str) -> Any:
    """The option of a table of a finished fit that is read again, and is elsewhere now."""
    return typer.Option(
        option(name),
        metavar="FILE",
        help="Where it is now.",
        rich_help_panel="Tables that have moved since the fit",
        show_default=False,
    )


Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the file of --out if there is one.")]
TableJson = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
NoProgress = Annotated[bool, typer.Option("--no-progress", help="Draw no progress line.", rich_help_panel=COMMAND)]


class Command(TyperCommand):
    """A command whose help lists its options by panel, in plain text: option names are never cut short."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options of each panel under its title."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                panels.setdefault(getattr(parameter, "rich_help_panel", None) or "Options", []).append(record)
        panels["Options"] = panels.pop("Options")  # -h last
        for panel, records in panels.items():
            with formatter.section(panel):
                formatter.write_dl(records)


HELP_FLAGS = {"help_option_names": ["-h", "--help"]}


def verb(help: str) -> typer.Typer:
    """A verb whose commands are the models."""
    return typer.Typer(help=help, no_args_is_help=True, rich_markup_mode=None, context_settings=HELP_FLAGS)


SWITCHES: dict[str, Any] = {
    "config": ConfigFile,
    "print_config": PrintConfig,
    "dry_run": DryRun,
    "resume": Resume,
    "json": Json,
    "quiet": Quiet,
    "verbose": Verbose,
    "no_progress": NoProgress,
}
PROBLEM = (INPUT, SELECTION, MODEL)  # the panels that say what is fitted, not how or where


def with_settings(
    command: Callable[..., int], model: str, switches: dict[str, Any], names: tuple[str, ...] = ()
) -> Callable[..., int]:
    """`command(flags, **switches)` as a command whose options are the settings of `model` and the switches.

    names: panels, or names, of the settings that it takes; all without it. A switch takes the place of a setting of
    its name. `flags` holds the settings given on the command line alone, so that weaker sources can fill in the rest.
    """
    taken = {name: pair for name, pair in chosen(model, names) if name not in switches}

    def run(**given: Any) -> int:
        flags = {name: given.pop(name) for name in taken}
        return command(flags, **given)

    parameters = [_parameter(name, None, _annotation(*pair, model)) for name, pair in taken.items()]
    parameters += [
        _parameter(name, False if annotation.__origin__ is bool else None, annotation)
        for name, annotation in switches.items()
    ]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    run.__doc__ = command.__doc__
    return run


def chosen(model: str | None, taken: tuple[str, ...]) -> Iterator[tuple[str, tuple[Field[Any], Setting]]]:
    """The settings of `model`, or of any, whose panel or name is taken; all where nothing is."""
    for name, pair in settings(model).items():
        if not taken or pair[1].panel in taken or name in taken:
            yield name, pair


def _parameter(name: str, default: Any, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def takers(flag: str) -> list[str]:
    """The models that take the option `flag`."""
    return [model for model in MODEL_NAMES if flag in {option(name) for name in settings(model)}]


def _annotation(f: Field[Any], setting: Setting, model: str) -> Any:
    """A setting as typer wants it. Its default there is None, which means: not given here.

    Numbers come as text: `FitConfig` reads them, and refuses a bad one with its own words.
    """
    kind, flag = value_type(f), option(f.name)
    default = "" if f.default is None or kind is bool else f" [default: {f.default}]"
    offered = choices(setting, model)
    return Annotated[
        (bool if kind is bool else str) | None,
        typer.Option(
            f"{flag}/--no-{flag[2:]}" if kind is bool else flag,
            metavar=setting.metavar or "|".join(offered) or {int: "N", float: "X"}.get(kind),
            help=setting.help + default,
            show_default=False,
            rich_help_panel=setting.panel,
            autocompletion=(lambda incomplete: [c for c in offered if c.startswith(incomplete)]) if offered else None,
        ),
    ]
