"""`plncli fit MODEL`: from files to files."""

from __future__ import annotations

import os
from typing import Any

from plncli import console
from plncli import settings as configuration
from plncli.cli.help import Group
from plncli.cli.options import SWITCHES, each_model, group


def fit(model: str, flags: dict[str, Any], *, config: str | None, print_config: bool, **switches: bool) -> int:
    """Fit a model, or print how."""
    resolved = configuration.resolve(model, flags, config, os.environ)
    if print_config:
        console.out(configuration.to_toml(configuration.absolute(resolved)))
        return 0
    from plncli.verbs import fit as verb

    return verb.fit(resolved, **switches)


def app() -> Group:
    """The verb, with a command for each model."""
    return each_model(group("fit", "Fit a model to tables; write a folder."), fit, SWITCHES)
