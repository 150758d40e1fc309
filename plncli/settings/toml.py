"""A configuration as TOML: what runs a fit again."""

from __future__ import annotations

import json
from typing import Any

from plncli.settings.common import FitConfig
from plncli.settings.listing import choices, settings


def to_toml(config: FitConfig) -> str:
    """The configuration as TOML, with every key that applies, its comment, and its value (or its place, when unset)."""
    lines = [f"# plncli fit {config.model} --config THIS_FILE", "", f"model = {_toml(config.model)}"]
    panel = ""
    for name, setting in settings(config.model).items():
        if setting.panel != panel:
            panel = setting.panel
            lines += ["", f"# --- {panel} ---"]
        value = config.value(name)
        offered = choices(setting, config.model)
        one_of = f" One of: {', '.join(offered)}." if offered else ""
        unset = f"# {name} = {_toml('') if setting.kind is str else '...'}"
        lines += ["", f"# {setting.help}{one_of}", unset if value is None else f"{name} = {_toml(value)}"]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    """A TOML value: JSON's texts and booleans are TOML's too, but for the character DEL."""
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
