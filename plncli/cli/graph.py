"""`plncli graph MODEL`: the graph that autograd records for a model's objective."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from plncli import settings as configuration
from plncli.cli.help import COMMAND, Group
from plncli.cli.options import ConfigFile, each_model, group
from plncli.verbs.settings import PROBLEM

Dot = Annotated[bool, typer.Option("--dot", help="Print it in the DOT language of Graphviz.", rich_help_panel=COMMAND)]
Fused = Annotated[
    bool,
    typer.Option(
        "--fused",
        help="The objective as a fit evaluates it; that of pln is one operation with derivatives of its own.",
        rich_help_panel=COMMAND,
    ),
]
SWITCHES = {"config": ConfigFile, "dot": Dot, "fused": Fused}


def graph(model: str, flags: dict[str, Any], *, config: str | None, dot: bool, fused: bool) -> int:
    """Print the graph of an objective."""
    resolved = configuration.resolve(model, flags, config, os.environ)
    from plncli.verbs import graph as verb

    return verb.graph(resolved, dot=dot, fused=fused)


def app() -> Group:
    """The verb, with a command for each model."""
    return each_model(
        group("graph", "Print the autograd graph of an objective.\n\nWithout tables, of a tiny example."),
        graph,
        SWITCHES,
        PROBLEM,
    )
