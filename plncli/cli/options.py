"""The options of the commands: the settings of a fit (`settings`), and switches of their own."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import typer

from plncli.cli.help import COMMAND, HELP_FLAGS, Group, Offer, offer
from plncli.models import MODELS
from plncli.models.spec import Setting, Spec
from plncli.names import SCALES
from plncli.settings import choices, option, settings
from plncli.verbs.settings import chosen

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
CoefficientScale = Annotated[
    str,
    typer.Option(
        "--scale",
        metavar="|".join(SCALES),
        help="Of coefficients: natural logarithms, log2, or ratios (exp). In tables, columns beside the estimate.",
    ),
]


LONGEST = 60
"""Signs of a list of choices that stands beside its option; a longer one is part of the help."""
MOVED = (
    "counts",
    "response",
    "covariates",
    "exposure",
    "offsets",
    "weights",
    "cluster",
    "offset_blocks",
    *dict.fromkeys(setting.name for spec in MODELS.values() for setting in spec.settings if setting.matrix),
)
"""Tables of a fit that are read again, and may be elsewhere now."""


def with_moved(*tables: str) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Give a command an option for each of these tables of a finished fit, in the place of its parameter `moved`.

    `moved` holds the paths of those that were given, by name.
    """

    def decorate(command: Callable[..., int]) -> Callable[..., int]:
        def run(**given: Any) -> int:
            paths = {name: given.pop(name) for name in tables}
            return command(**given, moved={name: path for name, path in paths.items() if path is not None})

        own = list(inspect.signature(command, eval_str=True).parameters.values())
        at = [parameter.name for parameter in own].index("moved")
        options = [parameter(name, None, _moved(name)) for name in tables]
        declare(run, [*own[:at], *options, *own[at + 1 :]], command.__doc__)
        return run

    return decorate


def _moved(name: str) -> Any:
    return Annotated[
        str | None,
        typer.Option(
            option(name),
            metavar="FILE",
            help="Where it is now.",
            rich_help_panel="Tables that have moved since the fit",
            show_default=False,
        ),
    ]


Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the file of --out if there is one.")]
TableJson = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
NoProgress = Annotated[bool, typer.Option("--no-progress", help="Draw no progress line.", rich_help_panel=COMMAND)]


def group(name: str, help: str) -> Group:
    """A verb whose commands are the models."""
    return Group(name=name, help=help, no_args_is_help=True, rich_markup_mode=None, context_settings=HELP_FLAGS)


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


def each_model(
    verb: Group,
    command: Callable[..., int],
    switches: dict[str, Any],
    names: tuple[str, ...] = (),
    special: Callable[[Spec], dict[str, Any]] = lambda _: {},
) -> Group:
    """`verb` with `command(model, flags, **switches)` for each model; see `with_settings`.

    special: switches of one model beside those of all.
    """

    def make(model: str, spec: Spec) -> Any:
        run = with_settings(partial(command, model), model, switches | special(spec), names)
        return offer(model, run).make()

    return verb.offering({model: Offer(spec.help, partial(make, model, spec)) for model, spec in MODELS.items()})


def with_settings(
    command: Callable[..., int], model: str, switches: dict[str, Any], names: tuple[str, ...] = ()
) -> Callable[..., int]:
    """`command(flags, **switches)` as a command whose options are the settings of `model` and the switches.

    names: panels, or names, of the settings that it takes; all without it. A switch takes the place of a setting of
    its name. `flags` holds the settings given on the command line alone, so that weaker sources can fill in the rest.
    """
    taken = {name: setting for name, setting in chosen(model, names) if name not in switches}

    def run(**given: Any) -> int:
        flags = {name: given.pop(name) for name in taken}
        return command(flags, **given)

    parameters = [parameter(name, None, _annotation(setting, model)) for name, setting in taken.items()]
    parameters += [
        parameter(name, False if annotation.__origin__ is bool else None, annotation)
        for name, annotation in switches.items()
    ]
    declare(run, parameters, MODELS[model].help)
    return run


def declare(run: Callable[..., int], parameters: list[inspect.Parameter], help: str | None) -> None:
    """Let typer see `run` as a command with these parameters, and this help."""
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    run.__doc__ = help


def parameter(name: str, default: Any, annotation: Any) -> inspect.Parameter:
    """One that is given by name."""
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def takers(flag: str) -> list[str]:
    """The models that take the option `flag`."""
    return [model for model in MODELS if flag in {option(name) for name in settings(model)}]


def _annotation(setting: Setting, model: str) -> Any:
    """A setting as typer wants it. Its default there is None, which means: not given here.

    Numbers come as text: `FitConfig` reads them, and refuses a bad one with its own words.
    """
    kind, flag = setting.kind, option(setting.name)
    default = "" if setting.default in (None, ()) or kind is bool else f" [default: {setting.default}]"
    offered = choices(setting, model)
    listed = "|".join((*offered, *(["~TERMS"] if setting.formula else [])))
    fits = len(listed) <= LONGEST
    return Annotated[
        (bool if kind is bool else list[str] if kind is tuple else str) | None,
        typer.Option(
            f"{flag}/--no-{flag[2:]}" if kind is bool else flag,
            metavar=setting.metavar or (listed if fits else "NAME") or {int: "N", float: "X"}.get(kind),
            help=setting.help + ("" if fits else f" One of {', '.join(offered)}.") + default,
            show_default=False,
            rich_help_panel=setting.panel,
            autocompletion=(lambda incomplete: [c for c in offered if c.startswith(incomplete)]) if offered else None,
        ),
    ]
