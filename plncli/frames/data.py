"""Data frames as the tables and settings of the command line, and what comes back as data frames."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from plncli import settings as configuration
from plncli.errors import DataError, UsageError, nearest, some
from plncli.frames.messages import speaking
from plncli.inputs.alignment.positions import POSITION, named_by_position
from plncli.inputs.selection import list_of
from plncli.models import MODELS
from plncli.models.spec import Setting
from plncli.runs.new_data import Sources
from plncli.settings import FRAME, FitConfig
from plncli.tables.reading import table_of
from plncli.tables.table import Table

if TYPE_CHECKING:
    import pandas as pd

Frame = Any
"""A pandas DataFrame or Series, or None for no table."""

TABLES = ("counts", "response", "covariates", "offsets", "exposure", "weights", "cluster")
COLUMNS = ("weights", "cluster")  # tables that may be columns of the covariates
LISTS = ("samples", "features")
RULES = ("filter", "min_depth", "min_prevalence", "min_total", "top")
DATA = (*TABLES, *LISTS, *RULES, "formula", "missing", "na_values", "all_zero", "match", "round", "transpose")
"""Settings of the command line that belong to the data."""
OUTPUT = ("out", "overwrite", "format", "latent", "checkpoint_every", "tensorboard", "allow_unconverged")
ELSEWHERE = (*OUTPUT, "sample_names")
"""Settings of the command line that Python has elsewhere, or not."""


class Dataset:
    """Tables to fit models to, and how: pandas data frames of a row a sample, matched by their indices."""

    @speaking
    def __init__(
        self,
        *,
        counts: Frame = None,
        response: Frame = None,
        covariates: Frame = None,
        formula: str | None = None,
        exposure: Frame = None,
        offsets: Frame = None,
        weights: Frame | str = None,
        cluster: Frame | str = None,
        missing: str = "error",
        na_values: str | Sequence[str] = (),
        all_zero: str = "error",
        match: str = "name",
        round: bool = False,
        samples: Collection[object] | None = None,
        features: Collection[object] | None = None,
        filter: str | None = None,
        min_depth: float | None = None,
        min_prevalence: float | None = None,
        min_total: float | None = None,
        top: int | None = None,
        transpose: bool | None = None,
    ) -> None:
        """Named as the options of `plncli fit`, and with their meaning.

        counts: for pln; response: for logistic and linear, or name a column of the covariates left of `~`. exposure,
        offsets: a Series for all features, or a column for each. weights, cluster: a Series, or the name of a column of
        the covariates. match: "position" takes frames whose indices have nothing in common in the same order. round:
        counts are estimates. samples, features: names of those to fit. na_values: entries that are missing, such as
        "unknown". transpose: whether `counts` have features in rows; without it, their names and content tell. Levels
        of factors are sorted, whatever the order of a categorical. DataError: what is no table.
        """
        rules = {name: value for name, value in locals().items() if name in RULES and value is not None}
        lists = {name: value for name, value in locals().items() if name in LISTS and value is not None}
        frames = {name: value for name, value in locals().items() if name in TABLES and value is not None}
        absent = [str(word) for word in listed(na_values)]
        main = next((name for name in TABLES if name in frames), "")
        self.tables: dict[str, Table] = {
            name: table_of(value, name, na_values=absent, unnamed=match == POSITION and name != main)
            for name, value in frames.items()
            if not isinstance(value, str)
        }
        named = {name: value for name, value in frames.items() if isinstance(value, str)}
        known = self.tables["covariates"].columns if "covariates" in self.tables else ()
        for name, column in named.items():
            if name not in COLUMNS or column not in known:
                what = "no column of `covariates`" if name in COLUMNS else "no data frame"
                raise DataError(f"`{name}` is the text `{column}`, which is {what}.{nearest(column, known)}")
        settings = {"formula": formula, "missing": missing, "all_zero": all_zero, "match": match, "round": round}
        chosen: dict[str, Any] = {
            name: value for name, value in settings.items() if value not in (None, "error", "name", False)
        }
        chosen |= {} if transpose is None else {"transpose": transpose}
        chosen |= {"na_values": absent} if absent else {}
        self.tables |= {name: list_of(value, name) for name, value in lists.items()}
        self.settings: Mapping[str, Any] = dict.fromkeys(self.tables, FRAME) | named | chosen | rules

    @property
    def covariates(self) -> Table | None:
        """The table of covariates, with the names of its samples where these are matched by position."""
        table, main = self.tables.get("covariates"), next(iter(self.tables.values()))
        by_position = table is not None and self.settings.get("match") == POSITION
        return named_by_position(table, main.samples) if by_position and table else table

    def __repr__(self) -> str:
        """Its tables with their sizes, and its settings."""
        sizes = [
            f"{name}: {len(table.samples)}" + f" × {len(table.columns)}" * (name not in LISTS)
            for name, table in self.tables.items()
        ]
        told = [f"{name}={value!r}" for name, value in self.settings.items() if name not in self.tables]
        return f"Dataset({', '.join([*sizes, *told])})"


def check_model(model: str) -> None:
    """UsageError for a name of no model."""
    if model not in MODELS:
        raise UsageError(f"There is no model {model!r}; there are {some(MODELS)}.{nearest(str(model), tuple(MODELS))}")


def check_data(model: str, data: Dataset) -> None:
    """UsageError for data that a model cannot be fitted to."""
    if not isinstance(data, Dataset):
        raise UsageError(f"The data must be a Dataset, but are a {type(data).__name__}: Dataset(counts=...).")
    known = configuration.settings(model)
    for name in data.settings:
        if name not in known:
            raise UsageError(f"The data have `{name}`, which is not for {model} fits.")
    spec = MODELS[model]
    if spec.response.required and spec.response.option not in data.tables:
        raise UsageError(f"A {model} fit needs counts: Dataset(counts=...).")
    if not spec.response.required and not ({"response", "covariates"} & set(data.tables)):
        raise UsageError(
            f"A {model} fit needs a response: Dataset(response=...), or covariates and a formula with a column of "
            "theirs left of `~`."
        )


def arguments(offered: Collection[str], model: str | None = None) -> dict[str, Setting]:
    """The settings among those `offered` that are arguments of a verb, for a model or any: neither data nor files."""
    known = configuration.settings(model)
    return {name: known[name] for name in known if name in offered and name not in (*ELSEWHERE, *DATA)}


def configured(
    verb: str, model: str, data: Dataset, settings: Mapping[str, Any], offered: Collection[str]
) -> FitConfig:
    """The configuration of the command that would do this; UsageError for settings other than those `offered`."""
    check_model(model)
    check_data(model, data)
    everywhere = configuration.settings()
    names = list(arguments(offered, model))
    for name in settings:
        if name in DATA:
            raise UsageError(f"`{name}` belongs to the data: Dataset({name}=...).")
        if name not in names:
            foreign = name in everywhere and name in offered and name not in ELSEWHERE
            applies = f"is not for {model} fits" if foreign else f"is no setting of {verb}"
            raise UsageError(f"`{name}` {applies}.{nearest(name, names)}")
    flags = {name: value.item() if hasattr(value, "item") else value for name, value in settings.items()}
    return configuration.resolve(model, {**data.settings, **flags}, None, {})


def sources(
    covariates: Frame = None,
    counts: Frame = None,
    given: Frame = None,
    exposure: Any = None,
    offsets: Any = None,
    *,
    na_values: Sequence[str] = (),
    **rules: Any,
) -> Sources:
    """Where new samples are, tables and numbers as the command line takes them.

    na_values: entries that are missing, those of the fit among them; rules: missing, match and round.
    """
    frames = {"covariates": covariates, "counts": counts, "given": given, "exposure": exposure, "offsets": offsets}
    known: dict[str, Any] = {
        name: repr(float(value))
        if isinstance(value, Real)
        else table_of(
            value,
            name,
            na_values=[str(word) for word in na_values],
            unnamed=rules.get("match") == POSITION and name not in ("counts", "given"),
        )
        for name, value in frames.items()
        if value is not None
    }
    return Sources(**known, **rules)


def tables_of(**frames: Frame) -> dict[str, Table]:
    """The tables of settings that are data frames, by name."""
    return {name: table_of(value, name) for name, value in frames.items() if value is not None}


def one_of(name: str, value: object, known: Sequence[str]) -> None:
    """UsageError for a value of an argument that is none of those known; None stands for its default."""
    if value is not None and value not in known:
        raise UsageError(f"`{name}` is `{value}`, but must be one of {', '.join(known)}.{nearest(str(value), known)}")


def whole(name: str, value: Any) -> int:
    """The value of an argument that counts; UsageError for what is no whole number of 0 or more."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 0:
        raise UsageError(f"`{name}` must be a whole number of 0 or more, not {value!r}.")
    return int(value)


def number(name: str, value: Any) -> float:
    """The value of an argument that measures; UsageError for what is no number."""
    if not isinstance(value, Real) or isinstance(value, bool):
        raise UsageError(f"`{name}` must be a number, not {value!r}.")
    return float(value)


def listed(names: str | Sequence[str]) -> list[str]:
    """One name, or several, as a list."""
    return [names] if isinstance(names, str) else list(names)


def frame(content: Mapping[str, Any] | list[dict[str, Any]]) -> pd.DataFrame:
    """Columns by name, or a list of rows."""
    import pandas as pd

    return pd.DataFrame(content if isinstance(content, list) else dict(content))


def by_sample(columns: Mapping[str, Any]) -> pd.DataFrame:
    """Columns by name, the first of which, the names of the samples, is the index."""
    made = frame(columns)
    return made.set_index(made.columns[0]).rename_axis("sample")


def labelled(values: Any, rows: Sequence[str], columns: Sequence[str]) -> pd.DataFrame:
    """A matrix with the names of its rows and columns."""
    import pandas as pd

    return pd.DataFrame(values, index=pd.Index(rows, name="sample"), columns=list(columns))
