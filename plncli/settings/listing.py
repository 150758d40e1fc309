"""The settings that there are, by name: those that all models have, and those that a model adds."""

from __future__ import annotations

from dataclasses import fields, replace
from functools import cache
from typing import Any

from plncli.models import MODELS
from plncli.models.spec import Setting
from plncli.names import PANELS
from plncli.settings.common import FitConfig

KINDS: dict[str, type] = {"str": str, "bool": bool, "int": int, "float": float, "tuple[str, ...]": tuple}


@cache
def _common() -> tuple[Setting, ...]:
    """The settings that are fields of a configuration, each with its name and the type of its value when it is set."""
    return tuple(
        replace(f.metadata["setting"], name=f.name, kind=KINDS[str(f.type).removesuffix(" | None")])
        for f in fields(FitConfig)
        if "setting" in f.metadata
    )


def settings(model: str | None = None) -> dict[str, Setting]:
    """The settings by name, in the order of the help; those of `model` alone when it is given."""
    return dict(_settings(tuple(MODELS) if model is None else (model,)))


@cache
def _settings(models: tuple[str, ...]) -> dict[str, Setting]:
    """The settings of some models; asked for dozens of times in each command."""
    specs = [MODELS[model] for model in models]
    own = {setting.name: setting for spec in specs for setting in spec.settings}
    known = [setting for setting in _common() if any(setting.of(spec) for spec in specs)]
    known = [setting for panel in PANELS for setting in (*known, *own.values()) if setting.panel == panel]
    return {setting.name: setting for setting in known}


def choices(setting: Setting, model: str | None = None) -> tuple[str, ...]:
    """The values of a setting that can be chosen for `model`, or for any; none where it is free."""
    if setting.offered is None:
        return setting.choices
    specs = MODELS.values() if model is None else (MODELS[model],)
    return tuple(dict.fromkeys(choice for spec in specs for choice in setting.offered(spec)))


def option(name: str) -> str:
    """The long option of a setting: `max_iter` -> `--max-iter`."""
    return "--" + name.replace("_", "-")


def applying(config: FitConfig) -> dict[str, Any]:
    """The settings that apply to the model, by name, and the model itself, as JSON holds them."""
    values = {name: config.value(name) for name in settings(config.model)}
    return {"model": config.model} | {n: list(v) if isinstance(v, tuple) else v for n, v in values.items()}
