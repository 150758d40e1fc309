"""How settings resolve: defaults <- TOML file <- environment <- flags; a value of the wrong kind is refused by name."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from plncli.errors import ConfigError, PlncliError, UsageError, nearest
from plncli.models import MODELS
from plncli.models.spec import Setting
from plncli.settings.common import FitConfig
from plncli.settings.listing import choices, option, settings
from plncli.settings.values import each, spread, values

COUNTING = ("threads", "workers", "folds")  # texts, but a number in a file will do
SURROGATE = r"[\ud800-\udfff]"
"""How Python passes bytes that are no text."""


class _Given(NamedTuple):
    """A value as it was given, where, and the error that a bad one is."""

    value: Any
    where: str
    error: type[PlncliError]
    text: bool = False  # an environment variable is text, whatever it holds


def resolve(model: str, flags: Mapping[str, Any], file: str | None, environment: Mapping[str, str]) -> FitConfig:
    """The configuration of `plncli fit MODEL`: flags beat the environment, it beats the file, and that the defaults.

    `flags` holds None where none was given. An empty text unsets what a weaker source has set.
    """
    given = _from_file(model, Path(file)) if file else {}
    given |= _from_environment(model, environment)
    given |= _from_flags(flags)
    return built(model, {name: _checked(settings(model)[name], value, model) for name, value in given.items()})


def built(model: str, values: Mapping[str, Any]) -> FitConfig:
    """The configuration with these values of settings, whether the model adds them or all have them."""
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    own = {setting.name for setting in MODELS[model].settings}
    common = {name: value for name, value in values.items() if name not in own}
    chosen = {name: value for name, value in values.items() if name in own}
    if suited := MODELS[model].optimizers(chosen):
        common = {"optimizer": suited[0]} | common
    return FitConfig(model, own=chosen, **common)


def checked(model: str, flags: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that flags give, None where one was not given; UsageError for a value that cannot be."""
    known = settings(model)
    return dict(flags) | {name: _checked(known[name], value, model) for name, value in _from_flags(flags).items()}


def _from_flags(flags: Mapping[str, Any]) -> dict[str, _Given]:
    return {
        name: _Given(value, option(name), UsageError, text=isinstance(value, str))
        for name, value in flags.items()
        if value is not None and value != []  # an option that may be given several times, and was not
    }


def recorded(model: Any, values: Mapping[str, Any], where: Any) -> FitConfig:
    """The configuration of a fit as the file `where` of it says. Settings that are none any more are left out.

    ConfigError for a value of the wrong kind.
    """
    if not isinstance(model, str) or model not in MODELS:
        raise ConfigError(f"{where} is of no model that there is.")
    given = {}
    for name, setting in settings(model).items():
        value = values.get(name)
        if value is not None:
            given[name] = _checked(setting, _Given(value, f"`{name}` in {where}", ConfigError), model)
    return built(model, given)


def ignored(environment: Mapping[str, str]) -> list[str]:
    """A sentence for each variable that looks like a setting and is none: a misspelt one must not go unnoticed."""
    known = [name.upper() for name in settings()]
    unknown = sorted({v.removeprefix("PLNCLI_") for v in environment if v.startswith("PLNCLI_")} - set(known))
    return [
        f"The environment variable PLNCLI_{name} sets nothing.{nearest(name, known).replace('`', '`PLNCLI_', 1)}"
        for name in unknown
    ]


def _from_file(model: str, path: Path) -> dict[str, _Given]:
    """The settings in a TOML file; relative paths in it are relative to its folder."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"Cannot read the configuration `{path}`: {error.strerror or error}.") from None
    except (ValueError, RecursionError) as error:  # also numbers of thousands of digits, and lists within lists
        raise ConfigError(
            f'`{path}` is not a TOML file: {error}. Texts and paths stand in quotes: formula = "~ 1".'
        ) from None
    content = {key.replace("-", "_"): value for key, value in content.items()}
    meant = content.pop("model", model)
    if meant != model:
        raise ConfigError(
            f"`{path}` is for the model {meant!r}, and the command is for {model}. Write {meant} in its place."
        )
    known, everywhere = settings(model), settings()
    given = {}
    for key, value in content.items():
        if key in everywhere and key not in known:
            raise ConfigError(f"Key `{key}` in `{path}` does not apply to the model {model}; remove it.")
        if key not in known:
            raise ConfigError(f"`{path}` has an unknown key `{key}`.{nearest(key, list(known))}")
        given[key] = _Given(_beside(path, known[key], value), f"Key `{key}` in `{path}`", ConfigError)
    return given


def _beside(config: Path, setting: Setting, value: Any) -> Any:
    """A path of a configuration file, which is relative to the folder of that file."""
    if not setting.path or not isinstance(value, str) or value in ("", "-"):
        return value
    beside = config.parent / value
    return value if setting.path == "maybe" and not beside.is_file() else str(beside)


def _from_environment(model: str, environment: Mapping[str, str]) -> dict[str, _Given]:
    given = {}
    for name in settings(model):
        variable = f"PLNCLI_{name.upper()}"
        if text := environment.get(variable):
            value = text.split(",") if settings(model)[name].kind is tuple else text
            given[name] = _Given(value, f"The environment variable {variable}", ConfigError, isinstance(value, str))
    return given


def _checked(setting: Setting, given: _Given, model: str) -> Any:
    """The value in its type, or an error that names where it came from, what it is and what is expected."""
    wanted = setting.kind
    if given.value == "" and setting.default is None:
        return None
    _check_text(setting, given)
    several = spread if setting.kind is float else values
    value: Any = several(given.value) if setting.several else None
    if not setting.several:
        value = _parsed(given.value, wanted) if given.text else _converted(given.value, wanted, setting.name)
    if value is None:
        kinds = {str: "text", bool: "true or false", int: "an integer", float: "a number", tuple: "a list of texts"}
        raise given.error(f"{given.where} is {_shown(given.value)}, but must be {setting.expects or kinds[wanted]}.")
    known = choices(setting)
    value = value.strip() if setting.formula and isinstance(value, str) else value
    if known and value not in known and not setting.is_formula(value):  # one of another model: `check` says why
        offered = choices(setting, model)
        or_else = ", or a formula that begins with `~`" if setting.formula else ""
        raise given.error(
            f"{given.where} is {_shown(value)}, but must be one of {', '.join(offered)}{or_else}."
            f"{nearest(value, offered)}"
        )
    if setting.check and not all(map(setting.check, each(value) if setting.several else (value,))):
        raise given.error(f"{given.where} is {_shown(given.value)}, but must be {setting.expects}.")
    return value


def _check_text(setting: Setting, given: _Given) -> None:
    """An error for text with characters that nothing can record: whatever it is for, it ends in files of results."""
    value = [*given.value, *given.value.values()] if isinstance(given.value, Mapping) else given.value
    for text in value if isinstance(value, list | tuple) else [value]:
        if isinstance(text, str) and re.search(SURROGATE, text):
            remedy = "Rename the file" if setting.path else "Write it in UTF-8"
            raise given.error(f"{given.where} holds bytes that are not UTF-8, which no file can record. {remedy}.")
        if isinstance(text, str) and "\0" in text:
            raise given.error(f"{given.where} holds a character NUL. Take it out.")


def _parsed(text: str, wanted: type) -> Any:
    """A text as the wanted type, or None when it is not one."""
    if wanted is tuple:
        return _texts([text])
    if wanted is bool:
        return {
            "1": True,
            "true": True,
            "yes": True,
            "on": True,
            "0": False,
            "false": False,
            "no": False,
            "off": False,
        }.get(text.lower())
    try:
        return wanted(text)
    except ValueError:
        return None


def _converted(value: Any, wanted: type, name: str) -> Any:
    """A typed value as the wanted type, or None when it is none: an integer is a number too, and can count threads."""
    if wanted is tuple:
        return _texts([value] if isinstance(value, str) else value)
    if type(value) is int and (wanted is float or name in COUNTING):
        try:
            return wanted(value)
        except (OverflowError, ValueError):  # hundreds of digits, which no float holds; thousands, which no text does
            return None
    return value if type(value) is wanted else None


def _texts(values: Any) -> tuple[str, ...] | None:
    """Several texts without outer blanks, none of them empty; None where they are something else."""
    if isinstance(values, Mapping):  # FACTOR = LEVEL, as a table of TOML and a dictionary say it
        values = [f"{name}={value}" for name, value in values.items()]
    if not isinstance(values, list | tuple) or not all(isinstance(value, str) for value in values):
        return None
    return tuple(dict.fromkeys(text for value in values if (text := value.strip())))


def _shown(value: Any) -> str:
    if isinstance(value, list) and len(value) == 1:
        return _shown(value[0])
    if isinstance(value, str):
        return f"`{value}`"
    return repr(value) if isinstance(value, float) else json.dumps(value, default=str)  # `inf`, as TOML has it
