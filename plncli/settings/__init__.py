"""Settings: the list of what can be set, and how it resolves: defaults <- TOML file <- environment <- flags.

What may enter: names, types, defaults, help and checks of single values. Help reads them, so nothing here loads torch.
Never: tables, or what a setting does.
"""

from plncli.settings.checks import check, suited_optimizer
from plncli.settings.common import FitConfig
from plncli.settings.listing import applying, choices, option, settings
from plncli.settings.paths import FRAME, absolute, named_folder, output_folder, split_part
from plncli.settings.resolve import built, checked, ignored, recorded, resolve
from plncli.settings.toml import to_toml

__all__ = [
    "FRAME",
    "FitConfig",
    "absolute",
    "applying",
    "built",
    "check",
    "checked",
    "choices",
    "ignored",
    "named_folder",
    "option",
    "output_folder",
    "recorded",
    "resolve",
    "settings",
    "split_part",
    "suited_optimizer",
    "to_toml",
]
