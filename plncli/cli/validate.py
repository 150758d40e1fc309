"""`plncli validate MODEL`: what a fit would see, and everything that it would refuse; nothing is fitted."""

from __future__ import annotations

import os
from typing import Any

from plncli import settings as configuration
from plncli.cli.help import Group
from plncli.cli.options import ConfigFile, Quiet, TableJson, each_model, group
from plncli.verbs.settings import VALIDATE

SWITCHES: dict[str, Any] = {"config": ConfigFile, "json": TableJson, "quiet": Quiet}


def validate(model: str, flags: dict[str, Any], *, config: str | None, json: bool, quiet: bool) -> int:
    """Check what a fit would read."""
    resolved = configuration.resolve(model, flags, config, os.environ)
    from plncli.verbs import validate as verb

    return verb.validate(resolved, json=json, quiet=quiet)


def app() -> Group:
    """The verb, with a command for each model."""
    return each_model(
        group("validate", "Check all tables and the formula of a fit, without fitting."), validate, SWITCHES, VALIDATE
    )
