"""What pictures are made from: a finished fit, its tables read again when they are asked for, and what is wanted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from plncli.errors import DataError, nearest, some
from plncli.names import ELLIPSES, OF, SCALES
from plncli.runs.overview import SIGNIFICANT
from plncli.runs.run import Run
from plncli.tables.reading import read_table
from plncli.tables.table import Table

if TYPE_CHECKING:
    from torch import Tensor

    from plncli.dataset import Dataset
    from plncli.models.abilities import CountCells, Counting
    from plncli.runs.training_data import Origin

PANELS = 6
"""Responses that a picture shows unless some are named."""


@dataclass(frozen=True)
class Wanted:
    """What is drawn of a fit. top: None for what suits the kind; terms, responses: by name, all where there is none.

    contrasts: of coefficients, as `plncli test` reads them. scale: of coefficients (`names.SCALES`); max_q, min_effect:
    what a q-value is below, and the size of an estimate on that scale, where a response is marked. color, by: columns
    of the covariates; group_by: a rank of taxa; remove_covariates: latent means less XB, None for what suits the model;
    axes: components from 1, none for the first; ellipse: about levels (`names.ELLIPSES`); of: of what (`names.OF`);
    seed: of random numbers; truth: true edges (`runs.network.truth`).
    """

    top: int | None = None
    terms: tuple[str, ...] = ()
    responses: tuple[str, ...] = ()
    contrasts: tuple[str, ...] = ()
    scale: str = SCALES[0]
    max_q: float = SIGNIFICANT
    min_effect: float = 0.0
    color: str | None = None
    by: str | None = None
    group_by: str | None = None
    remove_covariates: bool | None = None
    axes: tuple[int, ...] = ()
    ellipse: str = ELLIPSES[0]
    of: str = OF[0]
    seed: int = 0
    truth: str | Table | None = None


@dataclass(frozen=True)
class Source:
    """A finished fit.

    moved: tables that are elsewhere now, by option; they are read once, when they are asked for. own: what the fit was
    made to, trace: its course, told: its manifest, and fits: those of its path, where they are not in files.
    """

    run: Run
    moved: Mapping[str, str] = field(default_factory=dict)
    own: Callable[[], Origin] | None = None
    trace: Table | None = None
    told: Mapping[str, Any] | None = None
    fits: Callable[[], Sequence[Run]] | None = None

    @property
    def members(self) -> Sequence[Run]:
        """The fits of the path that it was chosen from, in order; none of a single one."""
        from plncli.runs.path import member_runs

        return member_runs(self.run) if self.fits is None else self.fits()

    def of_samples(self, symbol: str) -> np.ndarray:
        """A table n×p that the fit has of its samples; DataError where it has none, having been fitted by blocks."""
        run = self.run
        tables = run.estimates if symbol in run.estimates else run.state
        if symbol not in tables:
            raise DataError(
                f"{run.place} has no latent means of its samples: a large table was fitted by blocks, which leaves "
                "their scores alone. `plncli transform` gives the latent means of some of them."
            )
        return tables[symbol].astype(float)

    @property
    def manifest(self) -> Mapping[str, Any]:
        """What the fit says of its inputs: nothing where the model file was given alone."""
        from plncli.runs.training_data import manifest

        return manifest(self.run) if self.told is None else self.told

    @property
    def name(self) -> str:
        """What files about the run are called: the name of its folder, where it has one."""
        return self.run.path.resolve().parent.name if self.told is None else str(self.run.place)

    @cached_property
    def _again(self) -> Origin:
        from plncli import runtime
        from plncli.runs.training_data import read_again

        if self.own is not None:
            return self.own()

        runtime.use_threads(self.run.summary.get("n_samples", 1), len(self.run.responses), len(self.run.terms), "auto")
        return read_again(self.run, self.moved, "Give the table as it was by {} FILE")

    @property
    def data(self) -> Dataset:
        """What was fitted. DataError or UsageError where tables are gone or have changed."""
        return self._again.data

    @cached_property
    def covariates(self) -> Table:
        """The table of covariates: that of the fit, or the one given instead."""
        by_name = self.run.settings.get("match", "name") == "name"
        found = (self.moved.get("covariates") if by_name else None) or self._again.covariates
        if not found:
            raise DataError(f"{self.run.place} was fitted without covariates. Give their table by --covariates FILE.")
        if isinstance(found, Table):
            return found
        known = self.run.settings
        named, missing = known.get("sample_names", True), known.get("na_values", ())
        return read_table(found, "covariates", sample_names=named, na_values=missing)

    @property
    def counting(self) -> Counting:
        """What the fit says of counts."""
        from plncli.models.abilities import Counting

        known = self.run.fitted
        if not isinstance(known, Counting):
            raise DataError(f"A {self.run.model} fit has no distribution of counts.")
        return known

    @cached_property
    def cells(self) -> CountCells:
        """Counts of the fit and their linear predictors."""
        return self.counting.cells(self.data)

    @property
    def mean_residuals(self) -> Tensor:
        """By sample (n,): the mean of its standardised latent residuals."""
        from plncli.models.abilities import MeanResiduals

        known = self.run.fitted
        if not isinstance(known, MeanResiduals):
            raise DataError(f"A {self.run.model} fit has no latent residuals.")
        return known.mean_residuals(self.data)

    def normalised(self) -> tuple[np.ndarray, bool]:
        """Counts over exp(offset), relative to the geometric mean of that by feature (n×p), nan where one is missing.

        And whether there is an offset that varies.
        """
        data = self.data
        offset = data.O.double().expand_as(data.Y)
        values = (data.Y.double() / (offset - offset.mean(0)).exp()).numpy()
        seen = np.ones(values.shape, bool) if data.K is None else data.K.numpy()
        return np.where(seen, values, np.nan), bool((offset.max(0).values - offset.min(0).values).max() > 1e-9)

    def residuals(self, seed: int) -> np.ndarray:
        """Randomised quantile residuals of counts, n×p, nan where a cell does not count; drawn once."""
        drawn = self.__dict__.setdefault("_residuals", {})
        if seed not in drawn:
            import torch

            drawn[seed] = self.counting.count_residuals(self.data, torch.Generator().manual_seed(seed)).numpy()
        return drawn[seed]


def coefficient_scale(run: Run) -> str:
    """What coefficients of the model are measured in."""
    return run.spec.words.scale


def chosen_responses(run: Run, names: Sequence[str], most: int = PANELS) -> tuple[list[int], tuple[str, ...]]:
    """Indices of the responses named, else of the first `most`; and a note of how many are left out."""
    if names:
        return [response_index(run, name) for name in names], ()
    left = len(run.responses) - most
    note = f"The first {most} of {len(run.responses)} responses; --only NAME draws another."
    return list(range(min(most, len(run.responses)))), (note,) if left > 0 else ()


def response_index(run: Run, name: str) -> int:
    """Where a response is. DataError for one that is not there."""
    if name not in run.responses:
        raise DataError(
            f"{run.place} has no response `{name}`: it has {some(run.responses)}.{nearest(name, run.responses)}"
        )
    return run.responses.index(name)
