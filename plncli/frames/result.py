"""What there is to do with a fit: each method is a verb of the command line, by the same code."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from plncli import settings as configuration
from plncli.errors import UsageError
from plncli.frames.data import Dataset, Frame, by_sample, check_data, frame, labelled, listed, sources, whole
from plncli.frames.display import html
from plncli.frames.estimates import Estimates
from plncli.frames.findings import Comparison, Diagnosis, Latent
from plncli.frames.messages import Sayings, speaking, spoken, tell
from plncli.frames.plots import figure, numbers, source_of
from plncli.frames.recovery import Truth, recovered
from plncli.frames.report import Report, reported, told_apart
from plncli.frames.simulation import Simulation, noted, simulation
from plncli.inputs.abundances.rounding import rounded
from plncli.layout import Sheet
from plncli.runs import folder as artifacts
from plncli.runs.comparison import Ratio, compare
from plncli.runs.outcome import Outcome
from plncli.runs.overview import overview
from plncli.runs.path import folders
from plncli.runs.run import Run, read_run
from plncli.runs.training_data import Origin, given_again, manifest, read_again
from plncli.tables.reading import table_of
from plncli.tables.table import Table
from plncli.tables.writing import FORMATS, finite
from plncli.verbs import compare as comparing
from plncli.verbs import diagnose as diagnosing
from plncli.verbs import predict as predicting
from plncli.verbs import show as showing
from plncli.verbs import simulate as simulating
from plncli.verbs import size_factors as estimating
from plncli.verbs import wald as testing
from plncli.verbs.groups import classify as classifying
from plncli.verbs.samples import transform as transforming

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from plncli.plots.source import Source
    from plncli.runs.new_data import Sources

SHOWN = 10
"""Coefficients and correlations of a fit that are shown at a glance."""


@dataclass(frozen=True, repr=False)
class FitResult(Estimates):
    """A finished fit. Printed, it is what `plncli show` shows; names of samples are text, in all that it gives.

    run: all that most verbs ask of it; outcome: all that `save` writes, with the data that `diagnose` needs, None for a
    fit that was loaded; covariates: the table that a fit was given, for `simulate`.
    """

    outcome: Outcome | None = None
    covariates: Table | None = None

    def __str__(self) -> str:
        """As `plncli show` prints it."""
        return "\n".join(showing.lines(overview(self.run, SHOWN)))

    def _line(self) -> str:
        return showing.line(overview(self.run, 0))

    def _sheet(self) -> Sheet:
        return showing.sheet(overview(self.run, SHOWN))

    def _repr_html_(self) -> str:
        """As a notebook shows it: with its notes, which were told where it was made."""
        return html(self._sheet(), self.notes)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was worth knowing of the tables, in sentences: what was left out, what was taken for what."""
        return tuple(map(spoken, self._told.get("notes", ())))

    @property
    def _told(self) -> Mapping[str, Any]:
        """As in manifest.json."""
        return manifest(self.run) if self.outcome is None else self.outcome.manifest

    @property
    def members(self) -> dict[Any, FitResult]:
        """The fits of the path that this one was chosen from, by their value; empty for a single fit."""
        told = self.run.summary.get("path")
        if told is None:
            return {}
        if self.outcome is None or self.outcome.path is None:
            found = [FitResult(read_run(place)) for place in folders(Path(self.run.place))]
        else:
            found = [
                FitResult(artifacts.run_of_member(one), replace(one.place, config=one.config), self.covariates)
                for one in self.outcome.path.members
                if not isinstance(one.place, Path)
            ]
        return dict(zip((row[told["setting"]] for row in told["fits"]), found, strict=True))

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
        na_values: str | Sequence[str] = (),
        match: str = "name",
        round: bool = False,
    ) -> pd.DataFrame:
        """Predictions for new samples: `plncli predict`.

        counts: of all features, for fitted counts; given: of some, for conditional counts of the others. interval:
        "confidence", "prediction" or both. A row for each sample and response (pln: `median` of the rate beside its
        mean); with `wide`, a column as samples × responses. missing, na_values, match, round: as of a Dataset.
        """
        rules = {"missing": missing, "match": match, "round": round}
        say, new = Sayings(), self._sources(na_values, covariates, counts, given, exposure, offsets, **rules)
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
        na_values: str | Sequence[str] = (),
        match: str = "name",
        round: bool = False,
    ) -> Latent:
        """Latent values of new samples, from their counts: `plncli transform`."""
        rules = {"missing": missing, "match": match, "round": round}
        say, new = Sayings(), self._sources(na_values, covariates, counts, None, exposure, offsets, **rules)
        tables = transforming.transformed(self.run, new, say, remove_covariates)
        tell(say)
        return Latent(*map(by_sample, tables))

    @speaking
    def classify(
        self,
        counts: Frame,
        covariates: Frame = None,
        *,
        exposure: Frame | float = None,
        offsets: Frame | float = None,
        missing: str = "error",
        na_values: str | Sequence[str] = (),
        match: str = "name",
        round: bool = False,
    ) -> pd.DataFrame:
        """Which group new samples are of, a row each, by a fit that tells groups apart: `plncli classify`."""
        rules = {"missing": missing, "match": match, "round": round}
        say, new = Sayings(), self._sources(na_values, covariates, counts, None, exposure, offsets, **rules)
        made = classifying.classified(self.run, new, say)
        tell(say)
        return by_sample(made.columns)

    @speaking
    def test(
        self,
        data: Dataset | None = None,
        *,
        terms: str | Sequence[str] = (),
        equal: str | Sequence[str] = (),
        contrast: str | Sequence[str] = (),
        lr: bool = False,
        level: float | None = None,
        scale: str = "log",
    ) -> pd.DataFrame:
        """Tests, a row for each test and response: `plncli test`. scale: see `coefficients_on`.

        lr: by likelihood ratios, with the data of the fit; `data`: see `diagnose`.
        """
        say, wanted = Sayings(), (listed(terms), listed(equal), listed(contrast))
        again = (lambda: self._data_of(data).data) if lr else None
        columns = testing.tested(self.run, say, *wanted, level, scale, again)
        tell(say)
        return frame(columns)

    @speaking
    def compare(self, *others: FitResult) -> Comparison:
        """Criteria of this fit and others to the same data, and likelihood-ratio tests: `plncli compare`."""
        runs = [result.run for result in (self, *others)]
        if len({id(run) for run in runs}) < len(runs):
            raise UsageError("A fit is given twice; compare it with others.")
        found, say = compare(told_apart(runs)), Sayings()
        say.notes += found.notes
        say.warnings += found.warnings
        tell(say)
        criteria = frame(comparing.columns(found))
        criteria["converged"] = criteria["converged"] == "true"
        ratios = {part.name: [getattr(ratio, part.name) for ratio in found.ratios] for part in fields(Ratio)}
        return Comparison(criteria, frame(ratios), found)

    @speaking
    def recovery(self, truth: Truth) -> pd.Series:
        """How well the edges of a network are the true ones: `plncli compare --truth`.

        truth: what `simulate` drew, a folder of `plncli simulate`, or a frame with columns feature_a and feature_b.
        """
        return recovered(self.run, self._member_runs(), truth)

    @speaking
    def diagnose(self, data: Dataset | None = None, *, draws: int = 1000, seed: int = 0) -> Diagnosis:
        """How good the bound is, and whether the model holds: `plncli diagnose`.

        data: what was fitted, for a fit that was loaded, and made to data frames; what the Dataset does not say of
        formula, missing and all_zero is as in the fit. draws: of each sample, for the likelihood of pln; 0: without it.
        DataError: files that have changed, or data that are not those of the fit, and in what.
        """
        diagnosing.check_draws(whole("draws", draws))
        origin = self._origin("Give its tables as `data`") if data is None else self._given(data)
        say = Sayings()
        found = diagnosing.diagnosed(self.run, origin.data, int(draws), whole("seed", seed), say)
        for sentence in diagnosing.warnings(found.facts):
            say.warn(sentence)
        tell(say)
        residuals = labelled(found.residuals.numpy(), found.samples, found.responses)
        tables = {name: frame(columns) for name, columns in found.tables.items()}
        return Diagnosis(facts=finite(found.facts), residuals=residuals, **tables)

    @speaking
    def simulate(
        self,
        n: int | None = None,
        covariates: Frame = None,
        exposure: Frame | float = None,
        *,
        na_values: str | Sequence[str] = (),
        match: str = "name",
        seed: int = 0,
    ) -> Simulation:
        """Draw tables with the parameters of the fit: `plncli simulate --from`.

        For its own samples, n of them drawn with replacement, or new ones, of which covariates and exposure are given;
        na_values (beside those of the fit) and match: as of a Dataset.
        """
        given = covariates is not None or exposure is not None
        new = self._sources(na_values, covariates, exposure=exposure, match=match) if given else None
        size = None if n is None else whole("n", n)

        def own(_: Run) -> Origin:
            return self._origin("Give the covariates or the exposure of new samples")

        made = simulating.resampled(self.run, size, new, whole("seed", seed), own)
        say = noted(made)
        say.warnings += predicting.beyond_sense(self.run)
        tell(say)
        return simulation(made)

    @speaking
    def offsets(self, counts: Frame, *, log: bool = False, round: bool = False) -> pd.DataFrame:
        """Size factors of new samples relative to those of the fit, by its offset_method: `plncli offsets --from`."""
        say = Sayings()
        table = table_of(counts, "counts")
        found = estimating.against(self.run, rounded(table) if round else table, say)
        tell(say)
        return by_sample(estimating.columns(found, log))

    def _sources(self, na_values: str | Sequence[str], *frames: Any, **rules: Any) -> Sources:
        """New tables, in which the missing entries of the fit are missing, and others."""
        return sources(*frames, na_values=(*self.run.settings.get("na_values", ()), *listed(na_values)), **rules)

    def _origin(self, advice: str) -> Origin:
        """What the fit was made to: as it was kept, or read again from files."""
        if self.outcome is None:
            return read_again(self.run, advice=advice)
        return Origin(self.outcome.result.data.to("cpu", torch.float64), self.covariates)

    def _given(self, data: Dataset) -> Origin:
        """The same, of data that are given for it."""
        check_data(self.run.model, data)
        return given_again(self.run, data.tables, data.settings)

    @speaking
    def plot(
        self,
        kind: str,
        data: Dataset | None = None,
        *,
        top: int | None = None,
        term: str | Sequence[str] = (),
        only: str | Sequence[str] = (),
        contrast: str | Sequence[str] = (),
        scale: str = "log",
        max_q: float = 0.05,
        min_effect: float = 0.0,
        by: str | None = None,
        group_by: str | None = None,
        color: str | None = None,
        remove_covariates: bool | None = None,
        axes: int | Sequence[int] = (),
        ellipse: str = "normal",
        of: str = "features",
        truth: Truth = None,
        seed: int = 0,
        width: float | None = None,
    ) -> Figure:
        """A picture of the fit, as a matplotlib figure: `plncli plot`; `savefig` writes it.

        kind: such as "coefficients" or "pca"; width: in mm. The other arguments are the options of `plncli plot`. data:
        what the fit was made to, if it was loaded and its tables were data frames. UsageError for a kind that is not
        for the model.
        """
        options = {name: value for name, value in locals().items() if name not in ("self", "kind", "data", "width")}
        return figure(self._source(data), kind, width, options)

    @speaking
    def plot_data(
        self,
        kind: str,
        data: Dataset | None = None,
        *,
        axes: int | Sequence[int] = (),
        of: str = "features",
        remove_covariates: bool | None = None,
        truth: Truth = None,
    ) -> pd.DataFrame:
        """The numbers of a picture of components, such as "cos2", of all features or samples: see `plot`."""
        options = {"axes": axes, "of": of, "remove_covariates": remove_covariates, "truth": truth}
        return numbers(self._source(data), kind, options)

    @speaking
    def report(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        others: Sequence[FitResult] = (),
        data: Dataset | None = None,
        diagnose: bool = True,
        scale: str = "log",
        overwrite: bool = False,
    ) -> Report:
        """One page of HTML about this fit, and others compared with it: `plncli report`. A notebook shows the page.

        path: of a file to write it to, too. data: what this fit was made to, if it was loaded and its tables were data
        frames. diagnose: check whether the model holds, which needs the data. scale: of coefficients.
        """
        results = (self, *others)
        named = told_apart([result.run for result in results])
        sources = [
            replace(result._source(data if result is self else None), run=run)
            for result, run in zip(results, named, strict=True)
        ]
        say = Sayings()
        made = reported(sources, say, diagnose, scale)
        if path is not None:
            made.save(path, overwrite=overwrite)
        tell(say)
        return made

    def _source(self, data: Dataset | None) -> Source:
        return source_of(self.run, self.outcome, lambda: self._data_of(data), self._member_runs)

    def _member_runs(self) -> list[Run]:
        return [one.run for one in self.members.values()]

    def _data_of(self, data: Dataset | None) -> Origin:
        """What the fit was made to: what was given, or what it knows."""
        return self._origin("Give the data, `data=`") if data is None else self._given(data)

    @speaking
    def save(
        self, out: str | os.PathLike[str], *, overwrite: bool = False, format: str = "csv", latent: bool | None = None
    ) -> None:
        """Write the folder that `plncli fit --out` writes; `load` reads it."""
        if self.outcome is None:
            raise UsageError(f"This fit was loaded from {self.run.place}, which holds its files; copy them.")
        if format not in FORMATS:
            raise UsageError(f"`format` must be one of {', '.join(FORMATS)}, not {format!r}.")
        config = self.outcome.config.but(out=str(out), overwrite=overwrite, format=format, latent=latent)
        path = self.outcome.path and self.outcome.path.saved_as(Path(out), format=format, latent=latent)
        manifest = {**self.outcome.manifest, "configuration": configuration.applying(path.config if path else config)}
        artifacts.write(Path(out), replace(self.outcome, config=config, manifest=manifest, path=path))
