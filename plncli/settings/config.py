"""The settings of a fit: defaults <- TOML file <- environment <- flags.

`FitConfig` is the one list of settings: flags and their help, TOML keys, environment variables, checks of values and
comments of a saved configuration are all read off its fields. Standard library only, for help must not wait for torch.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

from plncli.errors import ConfigError, PlncliError, UsageError, nearest
from plncli.names import (
    CLUSTERED,
    COVARIANCES,
    LAST_SEED,
    MODEL_NAMES,
    OFFSET_METHODS,
    OFFSET_SCALES,
    OPTIMIZER_NAMES,
    RESAMPLING,
    SE_METHODS,
)

PLN = ("pln",)
REGRESSIONS = ("logistic", "linear")

INPUT, MODEL, OPTIMIZER, RUNTIME, OUTPUT = "Input", "Model", "Optimizer", "Where it runs", "Output"
SELECTION = "What is chosen of the tables"
INFERENCE = "Standard errors"
ROBUST = tuple(method for method in SE_METHODS["linear"] if method not in SE_METHODS["pln"])
COUNTS = ("threads", "workers")  # texts, but a number in a file will do
MOST_THREADS = 1024  # more than that is a slip, and systems refuse it in ways of their own
FRAME = "<DataFrame>"
"""What stands for the path of a table that Python gave as a data frame."""
NO_NAME = r"[\0\ud800-\udfff]"
"""Characters that neither the name of a file nor a text has: NUL, and how Python passes bytes that are no text."""
NOWHERE = (None, "-", FRAME)  # paths that lead to no file


class Setting(NamedTuple):
    """What there is to know about a setting besides its name, type and default; the metadata of its field."""

    help: str
    panel: str
    metavar: str = ""
    choices: tuple[str, ...] = ()
    latent: tuple[str, ...] = ()  # those of the choices that only models with a latent layer have
    regression: tuple[str, ...] = ()  # those that only the others have
    path: str = ""  # "file", "folder", or "maybe" (a file if there is one of that name)
    models: tuple[str, ...] = MODEL_NAMES
    check: Callable[[Any], bool] | None = None
    expects: str = ""


def _setting(default: Any, help: str, panel: str, **more: Any) -> Any:
    return field(default=default, metadata={"setting": Setting(help, panel, **more)})


def _positive(value: float) -> bool:
    return 0.0 < value < float("inf")


def _threads(value: str) -> bool:
    return value == "auto" or (value.isdecimal() and len(value) < 5 and 0 < int(value) <= MOST_THREADS)


def _device(value: str) -> bool:
    return re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", value) is not None


@dataclass(frozen=True)
class FitConfig:
    """Every setting of `plncli fit`, resolved. Names are the long options with underscores; a path `-` is stdin."""

    model: str
    counts: str | None = _setting(
        None,
        "Table of counts: a row a sample, the sample name in the first column (`-`: standard input; `FILE::NAME`: a "
        "sheet of a workbook or a layer of an AnnData file; or the folder of a Matrix Market file).",
        INPUT,
        metavar="FILE",
        path="file",
        models=PLN,
    )
    response: str | None = _setting(
        None,
        "Table of responses, one fit a column. Or leave it out and name the response left of `~` in --formula.",
        INPUT,
        metavar="FILE",
        path="file",
        models=REGRESSIONS,
    )
    covariates: str | None = _setting(
        None, "Table of covariates, matched to the samples by name, in any order.", INPUT, metavar="FILE", path="file"
    )
    formula: str | None = _setting(
        None,
        "Terms that explain the response, such as `~ tree + log(depth)`; `~ 1` when absent.",
        INPUT,
        metavar="TEXT",
    )
    transpose: bool = _setting(False, "The table of counts has features in rows: turn it.", INPUT, models=PLN)
    offsets: str | None = _setting(
        None,
        "Offsets on the log scale, added as they are; one column, or one a feature.",
        INPUT,
        metavar="FILE",
        path="file",
    )
    exposure: str | None = _setting(
        None,
        "Exposure on the natural scale (depth, effort): its log is the offset.",
        INPUT,
        metavar="FILE",
        path="file",
    )
    offset_method: str | None = _setting(
        None,
        "Estimate the depth of each sample from its counts; its log is the offset.",
        INPUT,
        choices=OFFSET_METHODS,
        models=PLN,
    )
    offset_scale: str = _setting(
        "counts",
        "Scale of estimated depths: their geometric mean is that of the total counts (counts), or 1 (proportions).",
        INPUT,
        choices=OFFSET_SCALES,
        models=PLN,
    )
    offset_blocks: str | None = _setting(
        None,
        "Estimate depths by block of features: a table with the name of each feature and of its block.",
        INPUT,
        metavar="FILE",
        path="file",
        models=PLN,
    )
    weights: str | None = _setting(
        None,
        "Weights of the samples: a table, or a column of --covariates.",
        INPUT,
        metavar="FILE|COLUMN",
        path="maybe",
    )
    missing: str = _setting(
        "error",
        "Empty or NA entries: refuse them, drop the sample, or (counts) keep them as unobserved.",
        INPUT,
        choices=("error", "drop", "keep"),
        latent=("keep",),
    )
    all_zero: str = _setting(
        "error",
        "Rows or columns of counts without any count: refuse or drop them.",
        INPUT,
        choices=("error", "drop"),
        models=PLN,
    )
    sample_names: bool = _setting(
        True, "Take sample names from the first column; --no-sample-names matches rows by their position.", INPUT
    )
    samples: str | None = _setting(
        None, "Fit these samples alone: a text file with a name a line.", SELECTION, metavar="FILE", path="file"
    )
    filter: str | None = _setting(
        None,
        "Fit the samples for which this holds of their covariates, such as `tree == 'resistant' and depth > 100`.",
        SELECTION,
        metavar="CONDITION",
    )
    min_depth: float | None = _setting(
        None,
        "Leave out samples with a smaller total count, of all their features.",
        SELECTION,
        models=PLN,
        check=_positive,
        expects="a positive number",
    )
    features: str | None = _setting(
        None,
        "Fit these features alone: a text file with a name a line.",
        SELECTION,
        metavar="FILE",
        path="file",
        models=PLN,
    )
    min_prevalence: float | None = _setting(
        None,
        "Leave out features that are seen in a smaller share of the samples, such as 0.1.",
        SELECTION,
        models=PLN,
        check=lambda v: 0.0 <= v <= 1.0,
        expects="a share from 0 to 1",
    )
    min_total: float | None = _setting(
        None,
        "Leave out features with a smaller total count, over the samples.",
        SELECTION,
        models=PLN,
        check=_positive,
        expects="a positive number",
    )
    top: int | None = _setting(
        None,
        "Fit the N features with the largest totals alone, of those that are left.",
        SELECTION,
        metavar="N",
        models=PLN,
        check=lambda v: v >= 1,
        expects="an integer from 1",
    )
    covariance: str = _setting("full", "Covariance of the latent layer.", MODEL, choices=COVARIANCES, models=PLN)
    precision: str | None = _setting(
        None,
        "Precision matrix of the latent layer, for --covariance fixed.",
        MODEL,
        metavar="FILE",
        path="file",
        models=PLN,
    )
    optimizer: str = _setting(
        "newton-cg", "How the objective is minimised.", OPTIMIZER, choices=OPTIMIZER_NAMES, latent=("vem",)
    )
    init: str | None = _setting(
        None,
        "Start from an earlier fit of the same or like tables: the same optimum, in fewer steps.",
        OPTIMIZER,
        metavar="RUN",
        path="folder",
    )
    learning_rate: float | None = _setting(
        None,
        "Step of a first-order optimizer; each has its own default.",
        OPTIMIZER,
        check=_positive,
        expects="a positive number",
    )
    max_iter: int | None = _setting(
        None,
        "Most steps; each optimizer has its own default.",
        OPTIMIZER,
        check=lambda v: v >= 1,
        expects="an integer from 1",
    )
    tol: float = _setting(
        1e-6,
        "Stop when an estimated TOL nats per sample are left to gain.",
        OPTIMIZER,
        check=_positive,
        expects="a positive number",
    )
    time_limit: float | None = _setting(
        None,
        "Most seconds spent fitting, each time that it is taken up.",
        OPTIMIZER,
        check=_positive,
        expects="a positive number of seconds",
    )
    se: str = _setting(
        "auto",
        "Standard errors of the coefficients; auto: sandwich for pln, fisher (model-based) for the others.",
        INFERENCE,
        choices=("auto", "sandwich", "fisher", *ROBUST, *RESAMPLING, "none"),
        latent=("sandwich",),
        regression=ROBUST,
    )
    cluster: str | None = _setting(
        None,
        "Samples that belong together, such as visits of a patient: a table, or a column of --covariates. Standard "
        "errors then allow them to err together.",
        INFERENCE,
        metavar="FILE|COLUMN",
        path="maybe",
    )
    resamples: int = _setting(
        200, "Fits of --se bootstrap.", INFERENCE, check=lambda v: v >= 2, expects="an integer from 2"
    )
    workers: str = _setting(
        "auto",
        "Processes that share the fits of --se bootstrap or jackknife; auto: a core each, as far as memory goes.",
        INFERENCE,
        metavar="N|auto",
        check=_threads,
        expects=f"auto or an integer from 1 to {MOST_THREADS}",
    )
    level: float = _setting(
        0.95,
        "Level of the confidence intervals.",
        INFERENCE,
        check=lambda v: 0.0 < v < 1.0,
        expects="a number between 0 and 1",
    )
    vcov: bool = _setting(False, "Write the covariance matrix of all coefficients too.", INFERENCE)
    device: str = _setting(
        "auto",
        "Device: auto takes a GPU when there is one.",
        RUNTIME,
        metavar="auto|cpu|cuda|cuda:N|mps",
        check=_device,
        expects="auto, cpu, cuda, cuda:N or mps",
    )
    dtype: str = _setting("float64", "Number type.", RUNTIME, choices=("float64", "float32"))
    threads: str = _setting(
        "auto",
        "CPU threads: auto goes by the size of the problem.",
        RUNTIME,
        metavar="N|auto",
        check=_threads,
        expects=f"auto or an integer from 1 to {MOST_THREADS}",
    )
    seed: int = _setting(
        0,
        "Seed of the random numbers, for what needs any.",
        RUNTIME,
        check=lambda v: 0 <= v <= LAST_SEED,
        expects=f"an integer from 0 to {LAST_SEED}",
    )
    out: str | None = _setting(
        None,
        "Folder for the results; NAME-MODEL in the current folder when absent.",
        OUTPUT,
        metavar="DIR",
        path="folder",
    )
    overwrite: bool = _setting(False, "Replace the results of an earlier fit in that folder.", OUTPUT)
    format: str = _setting("csv", "Format of the tables written.", OUTPUT, choices=("csv", "tsv", "parquet", "feather"))
    latent: bool = _setting(
        True, "Write the tables of the latent layer too; each is as large as the counts.", OUTPUT, models=PLN
    )
    checkpoint_every: float = _setting(
        60.0,
        "Seconds between checkpoints of a fit, beside the results until it is done; 0: only where it is cut short.",
        OUTPUT,
        check=lambda v: 0.0 <= v < float("inf"),
        expects="0 or a positive number of seconds",
    )
    tensorboard: str | None = _setting(
        None,
        "Folder for event files of TensorBoard, written while the fit goes on.",
        OUTPUT,
        metavar="DIR",
        path="folder",
    )
    allow_unconverged: bool = _setting(False, "Exit with 0 instead of 4 when the fit ends without converging.", OUTPUT)


def settings(model: str | None = None) -> dict[str, tuple[Field[Any], Setting]]:
    """The settings by name, those of `model` alone when it is given."""
    known = {f.name: (f, f.metadata["setting"]) for f in fields(FitConfig) if "setting" in f.metadata}
    return {name: pair for name, pair in known.items() if model is None or model in pair[1].models}


def choices(setting: Setting, model: str) -> tuple[str, ...]:
    """The values of a setting that can be chosen for `model`; none where it is free."""
    return tuple(c for c in setting.choices if c not in (setting.regression if model in PLN else setting.latent))


def option(name: str) -> str:
    """The long option of a setting: `max_iter` -> `--max-iter`."""
    return "--" + name.replace("_", "-")


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
    known = settings(model)
    return FitConfig(model, **{name: _checked(*known[name], value, model) for name, value in given.items()})


def checked(model: str, flags: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that flags give, None where one was not given; UsageError for a value that cannot be."""
    known = settings(model)
    return dict(flags) | {name: _checked(*known[name], value, model) for name, value in _from_flags(flags).items()}


def _from_flags(flags: Mapping[str, Any]) -> dict[str, _Given]:
    return {
        name: _Given(value, option(name), UsageError, text=isinstance(value, str))
        for name, value in flags.items()
        if value is not None
    }


def recorded(model: Any, values: Mapping[str, Any], where: Any) -> FitConfig:
    """The configuration of a fit as the file `where` of it says. Settings that are none any more are left out.

    ConfigError for a value of the wrong kind.
    """
    if model not in MODEL_NAMES:
        raise ConfigError(f"{where} is of no model that there is.")
    given = {}
    for name, (f, setting) in settings(model).items():
        value = values.get(name)
        if value is None:
            continue
        if isinstance(value, str) and re.search(NO_NAME, value):
            raise ConfigError(f"`{name}` in {where} holds characters that no name of a file can.")
        given[name] = _checked(f, setting, _Given(value, f"`{name}` in {where}", ConfigError), model)
    return FitConfig(model, **given)


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
            f"`{path}` is for the model {meant!r}, and the command is `fit {model}`. Use `plncli fit {meant}`."
        )
    known, everywhere = settings(model), settings()
    given = {}
    for key, value in content.items():
        if key in everywhere and key not in known:
            raise ConfigError(f"Key `{key}` in `{path}` does not apply to the model {model}; remove it.")
        if key not in known:
            raise ConfigError(f"`{path}` has an unknown key `{key}`.{nearest(key, list(known))}")
        given[key] = _Given(_beside(path, known[key][1], value), f"Key `{key}` in `{path}`", ConfigError)
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
        if environment.get(variable):
            given[name] = _Given(environment[variable], f"The environment variable {variable}", ConfigError, text=True)
    return given


def value_type(f: Field[Any]) -> type:
    """The type of a setting's value when it is set."""
    types: dict[str, type] = {"str": str, "bool": bool, "int": int, "float": float}
    return types[str(f.type).removesuffix(" | None")]


def _checked(f: Field[Any], setting: Setting, given: _Given, model: str) -> Any:
    """The value in its type, or an error that names where it came from, what it is and what is expected."""
    wanted = value_type(f)
    if given.value == "" and f.default is None:
        return None
    value = _parsed(given.value, wanted) if given.text else _converted(given.value, wanted, f.name)
    if value is None:
        kinds = {str: "text", bool: "true or false", int: "an integer", float: "a number"}
        raise given.error(f"{given.where} is {_shown(given.value)}, but must be {setting.expects or kinds[wanted]}.")
    if setting.choices and value not in setting.choices:  # one of another model is refused by `check`, with the reason
        offered = choices(setting, model)
        raise given.error(
            f"{given.where} is {_shown(value)}, but must be one of {', '.join(offered)}.{nearest(value, offered)}"
        )
    if setting.check and not setting.check(value):
        raise given.error(f"{given.where} is {_shown(given.value)}, but must be {setting.expects}.")
    return value


def _parsed(text: str, wanted: type) -> Any:
    """A text as the wanted type, or None when it is not one."""
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
    if type(value) is int and (wanted is float or name in COUNTS):
        try:
            return wanted(value)
        except (OverflowError, ValueError):  # hundreds of digits, which no float holds; thousands, which no text does
            return None
    return value if type(value) is wanted else None


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return f"`{value}`"
    return repr(value) if isinstance(value, float) else json.dumps(value, default=str)  # `inf`, as TOML has it


def check(config: FitConfig) -> None:
    """Refuse settings that exclude each other, and a fit without a table to explain."""
    for name in settings(config.model):
        if re.search(r"[\ud800-\udfff]", str(getattr(config, name))):  # how Python passes bytes that are no text
            raise UsageError(
                f"{option(name)} holds bytes that are not UTF-8, which no file can record. Rename the file."
            )
        if "\0" in str(getattr(config, name)):
            raise UsageError(f"{option(name)} holds a character NUL, which no name of a file can. Take it out.")
    if config.model in PLN and not config.counts:
        raise UsageError(
            f"`plncli fit {config.model}` needs a table of counts: --counts FILE, or --counts - for standard input."
        )
    if config.model in REGRESSIONS and not (config.response or config.covariates):
        raise UsageError(
            f"`plncli fit {config.model}` needs a response: --response FILE, "
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
        raise UsageError("--offset-blocks says where depths are estimated apart: give --offset-method too.")
    if config.optimizer == "vem" and config.model not in PLN:
        raise UsageError(
            f"--optimizer vem alternates with a latent layer, which `plncli fit {config.model}` has not. "
            "Use newton-cg or lbfgs."
        )
    if config.se not in SE_METHODS[config.model]:
        offered = ", ".join(SE_METHODS[config.model])
        raise UsageError(f"--se {config.se} is not for `plncli fit {config.model}`; choose one of {offered}.")
    if config.cluster and config.se not in ("auto", "none", *CLUSTERED):
        *others, last = (method for method in CLUSTERED if method in SE_METHODS[config.model])
        raise UsageError(
            f"--se {config.se} takes samples as independent, but --cluster {config.cluster} says which belong "
            f"together. Use --se {', '.join(others)} or {last}, or leave one of the two out."
        )
    if config.vcov and config.se == "none":
        raise UsageError("--vcov needs standard errors, but --se is none.")
    if config.covariance == "fixed" and not config.precision:
        raise UsageError("--covariance fixed needs the precision matrix: --precision FILE.")
    if config.precision and config.covariance != "fixed":
        raise UsageError(f"--precision goes with --covariance fixed, but --covariance is {config.covariance}.")
    if config.missing == "keep" and config.model not in PLN:
        raise UsageError(f"--missing keep is for counts; `plncli fit {config.model}` takes error or drop.")
    standard_input = [option(name) for name in settings(config.model) if getattr(config, name) == "-"]
    if len(standard_input) > 1:
        raise UsageError(f"Standard input can be read once, but {' and '.join(standard_input)} ask for it.")
    if config.overwrite:
        _check_inputs_stay(config)


def _check_inputs_stay(config: FitConfig) -> None:
    """Refuse to replace a folder that holds a table of this very fit, such as the precision of an earlier one."""
    from plncli.settings.paths import split_part

    folder = output_folder(config).resolve()
    for name, (_, setting) in settings(config.model).items():
        value = getattr(config, name)
        if setting.path not in ("file", "maybe") or value in NOWHERE:
            continue
        place = Path(split_part(value)[0])
        if place.exists() and folder in (place.resolve(), *place.resolve().parents):
            raise UsageError(
                f"--overwrite would remove {option(name)} {value}, which this fit reads. "
                "Choose another folder with --out."
            )


def output_folder(config: FitConfig) -> Path:
    """Where the results go: --out, or `<name of the main table>-<model>` in the current folder."""
    if config.out:
        return named_folder(config.out)
    main = config.counts or config.response or config.covariates or ""
    name = "stdin" if main == "-" else Path(main).name.split(".")[0] or "fit"
    return Path(f"{name}-{config.model}")


def named_folder(out: str) -> Path:
    """A folder to write, by a path that ends in its name; UsageError where there is none, as of `/`."""
    path = Path(out)
    if path.name in ("", ".."):  # `.`, or a way up
        path = Path(os.path.realpath(path))
    if not path.name:
        raise UsageError(f"--out {out} has no name under which results could appear. Choose another --out.")
    return path


def applying(config: FitConfig) -> dict[str, Any]:
    """The settings that apply to the model, by name, and the model itself."""
    return {"model": config.model} | {name: getattr(config, name) for name in settings(config.model)}


def absolute(config: FitConfig) -> FitConfig:
    """The same configuration with absolute paths: it means the same from any folder."""
    paths: dict[str, Any] = {}
    for name, (_, setting) in settings(config.model).items():
        value = getattr(config, name)
        if setting.path and value not in NOWHERE and (setting.path != "maybe" or Path(value).is_file()):
            paths[name] = os.path.abspath(value)  # noqa: PTH100 (a link stays a link)
    return replace(config, **paths)


def to_toml(config: FitConfig) -> str:
    """The configuration as TOML, with every key that applies, its comment, and its value (or its place, when unset)."""
    lines = [f"# plncli fit {config.model} --config THIS_FILE", "", f"model = {_toml(config.model)}"]
    panel = ""
    for name, (f, setting) in settings(config.model).items():
        if setting.panel != panel:
            panel = setting.panel
            lines += ["", f"# --- {panel} ---"]
        value = getattr(config, name)
        offered = choices(setting, config.model)
        one_of = f" One of: {', '.join(offered)}." if offered else ""
        unset = f"# {name} = {_toml('') if value_type(f) is str else '...'}"
        lines += ["", f"# {setting.help}{one_of}", unset if value is None else f"{name} = {_toml(value)}"]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    """A TOML value: JSON's texts and booleans are TOML's too, but for the character DEL."""
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
