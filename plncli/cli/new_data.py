"""The options that say where new samples of a finished fit are: the same of all commands that take some."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any, get_type_hints

import typer

from plncli.cli.options import declare, parameter

Counts = Annotated[str, typer.Option("--counts", metavar="FILE", help="Counts of the new samples.", show_default=False)]
Covariates = Annotated[
    str | None,
    typer.Option(
        "--covariates", metavar="FILE", help="Covariates of the new samples, as the fit had.", show_default=False
    ),
]
Exposure = Annotated[
    str | None,
    typer.Option("--exposure", metavar="FILE|NUMBER", help="Their exposure, on the natural scale.", show_default=False),
]
Offsets = Annotated[
    str | None,
    typer.Option("--offsets", metavar="FILE|NUMBER", help="Their offsets, on the log scale.", show_default=False),
]
Missing = Annotated[
    str,
    typer.Option(
        "--missing",
        metavar="error|drop|keep",
        help="Empty or NA entries: refuse them, drop the sample, or (counts) keep them as unobserved.",
    ),
]
NaValues = Annotated[
    list[str] | None,
    typer.Option(
        "--na-values",
        metavar="TEXT",
        help="An entry that is taken as missing, beside those that were in the fit; may be given several times.",
        show_default=False,
    ),
]
Transpose = Annotated[
    bool | None,
    typer.Option(
        "--transpose/--no-transpose",
        help="Whether the table of counts has features in rows; without it, names, header and content tell.",
        show_default=False,
    ),
]
NoSampleNames = Annotated[
    bool, typer.Option("--no-sample-names", help="Tables have no column of sample names; rows match by position.")
]
Match = Annotated[
    str,
    typer.Option(
        "--match",
        metavar="name|position",
        help="Match the rows of tables by name, or, where names have nothing in common, in the order of the first.",
    ),
]
Round = Annotated[
    bool, typer.Option("--round", help="Round counts that are estimates to whole numbers, halves to even ones.")
]

OPTIONS: dict[str, tuple[Any, Any]] = {
    "covariates": (Covariates, None),
    "exposure": (Exposure, None),
    "offsets": (Offsets, None),
    "missing": (Missing, "error"),
    "na_values": (NaValues, None),
    "transpose": (Transpose, None),
    "no_sample_names": (NoSampleNames, False),
    "match": (Match, "name"),
    "round": (Round, False),
}
"""Annotations and defaults."""
REQUIRED = inspect.Parameter.empty


def of_new_samples(**tables: tuple[Any, Any]) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Give a command that takes `sources` (`runs.new_data.Sources`) the options that say what these are.

    tables: of counts that it takes besides, by name: annotation and default.
    """

    def declared(command: Callable[..., int]) -> Callable[..., int]:
        hints = get_type_hints(command, localns={"Sources": object}, include_extras=True)
        own = inspect.signature(command).parameters
        taken = {"covariates": OPTIONS["covariates"], **tables, **OPTIONS}

        def run(**given: Any) -> int:
            from plncli.runs.new_data import Sources

            named = {name: given.pop(name) for name in taken}
            named["sample_names"] = not named.pop("no_sample_names")
            named["na_values"] = tuple(named["na_values"] or ())
            return command(**given, sources=Sources(**named))

        added = [parameter(name, default, annotation) for name, (annotation, default) in taken.items()]
        before = [name for name in own if own[name].default is REQUIRED and name != "sources"]
        after = [name for name in own if name not in (*before, "sources")]
        first, last = ([parameter(name, own[name].default, hints[name]) for name in names] for names in (before, after))
        declare(run, [*first, *added, *last], command.__doc__)
        return run

    return declared
