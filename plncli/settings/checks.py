"""Settings that exclude each other, or that cannot be for their model; refused before a table is read."""

from __future__ import annotations

from pathlib import Path

from plncli.errors import UsageError
from plncli.names import CLUSTERED
from plncli.settings.common import FitConfig
from plncli.settings.listing import option, settings
from plncli.settings.paths import NOWHERE, output_folder, split_part


def check(config: FitConfig) -> None:
    """Refuse settings that exclude each other, and a fit without a table to explain."""
    spec = config.spec
    if spec.response.required and not config.counts:
        raise UsageError(
            f"A {config.model} fit needs a table of counts: --counts FILE, or --counts - for standard input."
        )
    if not spec.response.required and not (config.response or config.covariates):
        raise UsageError(
            f"A {config.model} fit needs a response: --response FILE, "
            "or --covariates FILE with the response left of `~` in --formula."
        )
    offsets = {
        name: getattr(config, name) for name in ("offsets", "exposure", "offset_method") if getattr(config, name)
    }
    if len(offsets) > 1:
        *others, last = (f"{option(name)} {value}" for name, value in offsets.items())
        raise UsageError(
            f"{'Both ' if len(others) == 1 else ''}{', '.join(others)} and {last} are set; give one. "
            f"An empty value ({option(next(reversed(offsets)))} '') unsets what a configuration file sets."
        )
    if config.offset_blocks and not config.offset_method:
        raise UsageError("--offset-blocks has size factors estimated block by block: give --offset-method too.")
    if config.optimizer == "vem" and not spec.alternating:
        raise UsageError(
            f"--optimizer vem alternates with a latent layer, which a {config.model} fit has not. "
            "Use newton-cg or lbfgs."
        )
    if config.optimizer != suited_optimizer(config):
        raise UsageError(
            f"--optimizer {config.optimizer} is for objectives with one optimum, which a network has not. With "
            f"--hidden use {', '.join(spec.optimizers(config.own)[:3])} or another first-order one."
        )
    if config.init and spec.optimizers(config.own):
        raise UsageError("--init goes with a linear mean: weights of --hidden begin by chance (--seed). Leave one out.")
    if config.se not in spec.se_methods:
        offered = ", ".join(spec.se_methods)
        raise UsageError(f"--se {config.se} is not for {config.model} fits; choose one of {offered}.")
    if config.cluster and config.se not in ("auto", "none", *CLUSTERED):
        *others, last = (method for method in CLUSTERED if method in spec.se_methods)
        raise UsageError(
            f"--se {config.se} assumes independent samples, but --cluster {config.cluster} gives clusters "
            f"of them. Use --se {', '.join(others)} or {last}, or leave one of the two out."
        )
    if config.vcov and config.se == "none":
        raise UsageError("--vcov needs standard errors, but --se is none.")
    spec.check({**config.own, "se": config.se, "cluster": config.cluster})
    if config.missing == "keep" and not spec.response.required:
        raise UsageError(f"--missing keep is for counts; a {config.model} fit takes error or drop.")
    standard_input = [option(name) for name in settings(config.model) if config.value(name) == "-"]
    if len(standard_input) > 1:
        raise UsageError(f"Standard input can be read once, but {' and '.join(standard_input)} ask for it.")
    if config.overwrite:
        _check_inputs_stay(config)


def suited_optimizer(config: FitConfig) -> str:
    """The optimizer, or the default of those that suit the settings of the model where it does not."""
    suited = config.spec.optimizers(config.own)
    return config.optimizer if not suited or config.optimizer in suited else suited[0]


def _check_inputs_stay(config: FitConfig) -> None:
    """Refuse to replace a folder that holds a table of this very fit, such as the precision of an earlier one."""
    folder = output_folder(config).resolve()
    for name, setting in settings(config.model).items():
        value = config.value(name)
        if setting.path not in ("file", "maybe") or value in NOWHERE:
            continue
        place = Path(split_part(value)[0])
        if place.exists() and folder in (place.resolve(), *place.resolve().parents):
            raise UsageError(
                f"--overwrite would remove {option(name)} {value}, which this fit reads. "
                "Choose another folder with --out."
            )
