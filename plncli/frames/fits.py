"""A fit, and what there is to do with it: each method is a verb of the command line, by the same code."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from plncli.cli import compare as comparing
from plncli.cli import fit as fitting
from plncli.cli import predict as predicting
from plncli.cli import show as showing
from plncli.cli import transform as transforming
from plncli.cli import wald as testing
from plncli.cli.signals import Cancellation
from plncli.errors import UsageError
from plncli.files import artifacts
from plncli.files import config as configuration
from plncli.files.artifacts import Outcome
from plncli.files.comparison import Ratio, compare
from plncli.files.config import FRAME
from plncli.files.output import FORMATS
from plncli.files.overview import overview
from plncli.files.runs import Run, read_run
from plncli.files.tables import table_of
from plncli.frames.data import Dataset, Frame, by_sample, configured, frame, listed, sources
from plncli.frames.words import THIS, Sayings, speaking, tell
from plncli.results import AXES
from plncli.runtime import memory_guard

if TYPE_CHECKING:
    import pandas as pd


@speaking
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
    config = configured(model, data, settings)
    given = dict(data.tables) if precision is None else {**data.tables, "precision": table_of(precision, "precision")}
    say = Sayings()
    with memory_guard():
        earlier = None if init is None else init.run
        outcome = fitting.fitted(config, say, Cancellation(), "plncli.fit", given=given, earlier=earlier)
    assert outcome is not None
    tell(say)
    return FitResult(artifacts.run_of(outcome, THIS), replace(outcome, log=tuple(say.log)))


@speaking
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

    @speaking
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
        say, new = Sayings(), sources(covariates, counts, given, exposure, offsets, missing)
        columns = predicting.predicted(self.run, new, say, listed(interval), level, wide)
        tell(say)
        return by_sample(columns) if wide else frame(columns)

    @speaking
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
        say, new = Sayings(), sources(covariates, counts, None, exposure, offsets, missing)
        tables = transforming.transformed(self.run, new, say, remove_covariates)
        tell(say)
        return Latent(*map(by_sample, tables))

    @speaking
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
        columns = testing.tested(self.run, say, listed(terms), listed(equal), listed(contrast), level)
        tell(say)
        return frame(columns)

    @speaking
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
        tell(say)
        criteria = frame(comparing.columns(found))
        criteria["converged"] = criteria["converged"] == "true"
        ratios = {part.name: [getattr(ratio, part.name) for ratio in found.ratios] for part in fields(Ratio)}
        return Comparison(criteria, frame(ratios))

    @speaking
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
