"""plncli from Python: data frames in, a fit with the command line's verbs out, by the same code as files.

A frame becomes a table as if it had been read from a file; its index names the samples. What the command line says in
notes and warnings is a Python warning here, and its errors are `PlncliError`s in Python's words.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import wraps
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar

from plncli.cli import compare as comparing
from plncli.cli import fit as fitting
from plncli.cli import predict as predicting
from plncli.cli import show as showing
from plncli.cli import transform as transforming
from plncli.cli import wald as testing
from plncli.cli.signals import Cancellation
from plncli.console import Console
from plncli.errors import DataError, PlncliError, UsageError, nearest, some
from plncli.files import artifacts
from plncli.files import config as configuration
from plncli.files.artifacts import Outcome
from plncli.files.comparison import Ratio, compare
from plncli.files.config import FRAME, FitConfig
from plncli.files.newdata import Sources
from plncli.files.output import FORMATS
from plncli.files.overview import overview
from plncli.files.runs import Run, read_run
from plncli.files.tables import Table, table_of
from plncli.names import MODEL_NAMES
from plncli.results import AXES
from plncli.runtime import left_as_it_was, memory_guard

if TYPE_CHECKING:
    import pandas as pd

Frame = Any
"""A pandas DataFrame or Series, or None for no table."""

P = ParamSpec("P")
R = TypeVar("R")

TABLES = ("counts", "response", "covariates", "offsets", "exposure", "weights", "cluster")
COLUMNS = ("weights", "cluster")  # tables that may be columns of the covariates
DATA = (*TABLES, "formula", "missing", "all_zero")
"""Settings of the command line that belong to the data."""
OUTPUT = ("out", "overwrite", "format", "latent", "allow_unconverged", "sample_names")
"""Settings of the command line that Python has elsewhere, or not."""
THIS = "this fit"


# What is said, in Python's words


class Sayings(Console):
    """What the command line would say, kept: all of it for run.log, and apart what must not be missed."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.kept: list[str] = []

    def note(self, text: str) -> None:
        """Keep notes; what is no note but a report is for run.log alone."""
        super().note(text)
        if text.startswith("note: "):
            self.kept.append(text.removeprefix("note: "))

    def warn(self, text: str) -> None:
        """Keep a warning."""
        super().warn(text)
        self.kept.append(text)


def _spoken(text: str) -> str:
    """A sentence of the command line with arguments in place of options: `--missing drop` is `missing="drop"`."""
    text = re.sub(r"`plncli fit (\w+)`", r'`fit("\1", ...)`', text)
    text = text.replace("The first column of each must hold", "The index of each must hold")
    text = re.sub(rf"^{THIS}", THIS.capitalize(), text)
    return re.sub(r"`[^`]*`|--([a-z][a-z-]*)(?: ([\w.-]*\w))?", _argument, text)


def _argument(found: re.Match[str]) -> str:
    """One option, with its value if what follows it is one."""
    if not found[1]:
        return found[0]
    name, word = found[1].replace("-", "_"), found[2]
    setting = configuration.settings().get(name)
    after = "" if word is None else f" {word}"
    if word and word.isupper() and word != "N":
        after, shown = "", name  # a placeholder such as FILE
    elif word and setting and word in setting[1].choices:
        after, shown = "", f'{name}="{word}"'
    elif word and re.fullmatch(r"[\d.]*\d", word):
        after, shown = "", f"{name}={word}"
    else:
        shown = f"{name}=True" if setting and setting[0].default is False else name
    return f"`{shown}`{after}"


def _speaking(verb: Callable[P, R]) -> Callable[P, R]:
    """Errors in Python's words, without the way they took; torch left as it was."""

    @wraps(verb)
    def spoken(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            with left_as_it_was():
                return verb(*args, **kwargs)
        except PlncliError as error:
            raise type(error)(_spoken(str(error))) from None

    return spoken


def _tell(say: Sayings) -> None:
    """Warn of what was kept, as of the line that called the verb."""
    for text in dict.fromkeys(say.kept):
        warnings.warn(_spoken(text), stacklevel=4)  # of _tell, the verb, and what wraps it (twice: see _speaking)


# Fits


class Dataset:
    """Tables to fit models to, and how: pandas data frames of a row a sample, matched by their indices."""

    @_speaking
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
        all_zero: str = "error",
    ) -> None:
        """Named as the options of `plncli fit`, and with their meaning.

        counts: for pln; response: for logistic and linear, or name a column of the covariates left of `~`. exposure,
        offsets: a Series for all features, or a column for each. weights, cluster: a Series, or the name of a column of
        the covariates. Levels of factors are sorted, whatever the order of a categorical. DataError: what is no table.
        """
        frames = {name: value for name, value in locals().items() if name in TABLES and value is not None}
        self.tables: Mapping[str, Table] = {
            name: table_of(value, name) for name, value in frames.items() if not isinstance(value, str)
        }
        named = {name: value for name, value in frames.items() if isinstance(value, str)}
        known = self.tables["covariates"].columns if "covariates" in self.tables else ()
        for name, column in named.items():
            if name not in COLUMNS or column not in known:
                what = "no column of `covariates`" if name in COLUMNS else "no data frame"
                raise DataError(f"`{name}` is the text `{column}`, which is {what}.{nearest(column, known)}")
        settings = {"formula": formula, "missing": missing, "all_zero": all_zero}
        chosen = {name: value for name, value in settings.items() if value not in (None, "error")}
        self.settings: Mapping[str, str] = dict.fromkeys(self.tables, FRAME) | named | chosen

    def __repr__(self) -> str:
        """Its tables with their sizes, and its settings."""
        sizes = [f"{name}: {len(table.samples)} × {len(table.columns)}" for name, table in self.tables.items()]
        told = [f"{name}={value!r}" for name, value in self.settings.items() if name not in self.tables]
        return f"Dataset({', '.join([*sizes, *told])})"


@_speaking
def fit(
    model: str, data: Dataset, *, init: FitResult | None = None, precision: Frame = None, **settings: Any
) -> FitResult:
    """Fit `pln`, `logistic` or `linear` to data: `plncli fit`, without files.

    settings: the options of `plncli fit`, with underscores: covariance="diagonal", se="bootstrap", max_iter=100. init:
    an earlier fit to start from; precision: p×p, for covariance="fixed". A fit that ends without converging is a result
    like any other, and a warning says so.
    """
    if precision is not None:
        settings["precision"] = FRAME
    if init is not None:
        settings["init"] = str(init.run.place)
    config = _configured(model, data, settings)
    given = dict(data.tables) if precision is None else {**data.tables, "precision": table_of(precision, "precision")}
    say = Sayings()
    with memory_guard():
        earlier = None if init is None else init.run
        outcome = fitting.fitted(config, say, Cancellation(), "plncli.fit", given=given, earlier=earlier)
    assert outcome is not None
    _tell(say)
    return FitResult(artifacts.run_of(outcome, THIS), replace(outcome, log=tuple(say.log)))


def _configured(model: str, data: Dataset, settings: Mapping[str, Any]) -> FitConfig:
    """The configuration of the command that would fit this; UsageError for settings that it does not know."""
    if model not in MODEL_NAMES:
        raise UsageError(
            f"There is no model {model!r}; there are {some(MODEL_NAMES)}.{nearest(str(model), MODEL_NAMES)}"
        )
    if not isinstance(data, Dataset):
        raise UsageError(f"The data must be a Dataset, but are a {type(data).__name__}: Dataset(counts=...).")
    known, everywhere = configuration.settings(model), configuration.settings()
    offered = [name for name in known if name not in (*OUTPUT, *DATA)]
    for name in settings:
        if name in DATA:
            raise UsageError(f"`{name}` belongs to the data: Dataset({name}=...).")
        if name not in offered:
            applies = (
                f"is not for {model} fits" if name in everywhere and name not in OUTPUT else "is no setting of fit"
            )
            raise UsageError(f"`{name}` {applies}.{nearest(name, offered)}")
    for name in data.settings:
        if name not in known:
            raise UsageError(f"The data have `{name}`, which is not for {model} fits.")
    if model == "pln" and "counts" not in data.tables:
        raise UsageError("A pln fit needs counts: Dataset(counts=...).")
    if model != "pln" and not ({"response", "covariates"} & set(data.tables)):
        raise UsageError(
            f"A {model} fit needs a response: Dataset(response=...), or covariates and a formula with a column of "
            "theirs left of `~`."
        )
    flags = {name: value.item() if hasattr(value, "item") else value for name, value in settings.items()}
    return configuration.resolve(model, {**data.settings, **flags}, None, {})


@_speaking
def load(folder: str | os.PathLike[str]) -> FitResult:
    """The fit in a folder that `FitResult.save` or `plncli fit` wrote."""
    return FitResult(read_run(Path(folder)))


# What there is to do with a fit


class Latent(NamedTuple):
    """Latent means and standard deviations, n×p, a row a sample and a column a feature."""

    mean: pd.DataFrame
    sd: pd.DataFrame


class Comparison(NamedTuple):
    """criteria: a row a fit; tests: a row a likelihood-ratio test of a `large` model against a `small` one in it."""

    criteria: pd.DataFrame
    tests: pd.DataFrame


@dataclass(frozen=True, repr=False)
class FitResult:
    """A finished fit. Printed, it is what `plncli show` shows; names of samples are text, in all that it gives.

    run: all that the verbs ask of it; outcome: all that `save` writes, None for a fit that was loaded.
    """

    run: Run
    outcome: Outcome | None = None

    def __repr__(self) -> str:
        """As `plncli show` prints it."""
        return "\n".join(showing.lines(overview(self.run, 10)))

    @property
    def summary(self) -> dict[str, Any]:
        """As in summary.json: sizes, criteria, how the fit ended, warnings."""
        return dict(self.run.summary)

    @property
    def converged(self) -> bool:
        """Whether the fit was certified to be at the optimum, within the tolerance."""
        return bool(self.run.summary["converged"])

    @property
    def coefficients(self) -> pd.DataFrame:
        """As coefficients.csv: a row for each response and term, with tests and intervals."""
        return artifacts.coefficients(self.run).to_pandas()

    @property
    def sigma(self) -> pd.DataFrame:
        """The covariance Sigma, p×p: of the latent layer, or (linear) of the residuals."""
        return self._matrix("Sigma")

    @property
    def omega(self) -> pd.DataFrame:
        """The inverse of Sigma, p×p; empty for features without variance."""
        return self._matrix("Omega")

    @property
    def latent_mean(self) -> pd.DataFrame:
        """Means of the latent layer, n×p: they contain XB, not the offset."""
        return self._matrix("M")

    @property
    def latent_sd(self) -> pd.DataFrame:
        """Standard deviations of the latent layer, n×p."""
        return self._matrix("S")

    def _matrix(self, symbol: str) -> pd.DataFrame:
        if symbol not in self.run.estimates:
            raise AttributeError(f"A {self.run.model} fit has no {AXES[symbol][0]}.")
        frame = artifacts.matrix(self.run, symbol).to_pandas()
        return frame.set_index(frame.columns[0])

    @_speaking
    def predict(
        self,
        covariates: Frame = None,
        *,
        counts: Frame = None,
        given: Frame = None,
        exposure: Frame | float = None,
        offsets: Frame | float = None,
        interval: str | Sequence[str] = (),
        level: float | None = None,
        wide: str | None = None,
        missing: str = "error",
    ) -> pd.DataFrame:
        """What new samples are expected to show: `plncli predict`.

        counts: of all features, for fitted counts; given: of some, for conditional counts of the others. interval:
        "confidence", "prediction" or both. A row for each sample and response; with `wide`, the name of a column, that
        column as samples × responses.
        """
        say, sources = Sayings(), _sources(covariates, counts, given, exposure, offsets, missing)
        columns = predicting.predicted(self.run, sources, say, _listed(interval), level, wide)
        _tell(say)
        return _by_sample(columns) if wide else _frame(columns)

    @_speaking
    def transform(
        self,
        counts: Frame,
        covariates: Frame = None,
        *,
        exposure: Frame | float = None,
        offsets: Frame | float = None,
        remove_covariates: bool = False,
        missing: str = "error",
    ) -> Latent:
        """Latent values of new samples, from their counts: `plncli transform`."""
        say, sources = Sayings(), _sources(covariates, counts, None, exposure, offsets, missing)
        tables = transforming.transformed(self.run, sources, say, remove_covariates)
        _tell(say)
        return Latent(*map(_by_sample, tables))

    @_speaking
    def test(
        self,
        *,
        terms: str | Sequence[str] = (),
        equal: str | Sequence[str] = (),
        contrast: str | Sequence[str] = (),
        level: float | None = None,
    ) -> pd.DataFrame:
        """Wald tests, a row for each test and response: `plncli test`."""
        say = Sayings()
        columns = testing.tested(self.run, say, _listed(terms), _listed(equal), _listed(contrast), level)
        _tell(say)
        return _frame(columns)

    @_speaking
    def compare(self, *others: FitResult) -> Comparison:
        """Criteria of this fit and others to the same data, and likelihood-ratio tests: `plncli compare`."""
        runs = [result.run for result in (self, *others)]
        if len({id(run) for run in runs}) < len(runs):
            raise UsageError("A fit is given twice; compare it with others.")
        named = [
            replace(run, place=Path(f"fit {i}")) if str(run.place) == THIS else run for i, run in enumerate(runs, 1)
        ]
        found, say = compare(named), Sayings()
        say.kept += [*found.notes, *found.warnings]
        _tell(say)
        criteria = _frame(comparing.columns(found))
        criteria["converged"] = criteria["converged"] == "true"
        ratios = {part.name: [getattr(ratio, part.name) for ratio in found.ratios] for part in fields(Ratio)}
        return Comparison(criteria, _frame(ratios))

    @_speaking
    def save(
        self, out: str | os.PathLike[str], *, overwrite: bool = False, format: str = "csv", latent: bool = True
    ) -> None:
        """Write the folder that `plncli fit --out` writes; `load` reads it."""
        if self.outcome is None:
            raise UsageError(f"This fit was loaded from {self.run.place}, which holds its files; copy them.")
        if format not in FORMATS:
            raise UsageError(f"`format` must be one of {', '.join(FORMATS)}, not {format!r}.")
        config = replace(self.outcome.config, out=str(out), overwrite=overwrite, format=format, latent=latent)
        manifest = {**self.outcome.manifest, "configuration": configuration.applying(config)}
        artifacts.write(Path(out), replace(self.outcome, config=config, manifest=manifest))


def _sources(covariates: Frame, counts: Frame, given: Frame, exposure: Any, offsets: Any, missing: str) -> Sources:
    """Where new samples are, tables and numbers as the command line takes them."""
    frames = {"covariates": covariates, "counts": counts, "given": given, "exposure": exposure, "offsets": offsets}
    known: dict[str, Any] = {
        name: repr(float(value)) if isinstance(value, Real) else table_of(value, name)
        for name, value in frames.items()
        if value is not None
    }
    return Sources(**known, missing=missing)


def _listed(names: str | Sequence[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)


def _frame(columns: Mapping[str, Any]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(dict(columns))


def _by_sample(columns: Mapping[str, Any]) -> pd.DataFrame:
    return _frame(columns).set_index("sample")
