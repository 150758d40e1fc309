"""What is found of finished fits: latent values, a diagnosis, a comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from plncli.errors import counted
from plncli.frames.display import Shown
from plncli.layout import Grid, Sheet
from plncli.models import MODELS
from plncli.runs import comparison
from plncli.verbs import compare as comparing
from plncli.verbs import diagnose as diagnosing

if TYPE_CHECKING:
    import pandas as pd

HEAD = 5
"""Rows and columns of a table of latent values that a notebook shows."""


@dataclass(frozen=True, repr=False)
class Latent(Shown):
    """Latent means and standard deviations, n×p, a row a sample and a column a feature."""

    mean: pd.DataFrame
    sd: pd.DataFrame

    def _line(self) -> str:
        n, p = self.mean.shape
        return f"mean and sd: {counted(n, 'sample')} × {counted(p, 'feature')}"

    def _sheet(self) -> Sheet:
        return Sheet("", (), [_head("mean", self.mean), _head("sd", self.sd)])


def _head(name: str, values: pd.DataFrame) -> Grid:
    """The first rows and columns of a table."""
    n, p = values.shape
    part = values.iloc[:HEAD, :HEAD]
    rows = [["sample", *map(str, part.columns)]]
    rows += [[str(sample), *(f"{value:.4g}" for value in row)] for sample, *row in part.itertuples(name=None)]
    more = f" (the first {len(part)} × {part.shape[1]} of {n} × {p})" if part.size < values.size else ""
    return Grid(f".{name}{more}", rows)


@dataclass(frozen=True, repr=False)
class Diagnosis(Shown):
    """How good the bound is, and how well the model holds. Printed, it is what `plncli diagnose` prints.

    facts: as in diagnosis.json. samples, features (pln), responses (logistic, linear), bins (logistic): as the files
    of these names, None where there are none. residuals: n×p, a row a sample.
    """

    facts: Mapping[str, Any]
    samples: pd.DataFrame
    residuals: pd.DataFrame
    features: pd.DataFrame | None = None
    responses: pd.DataFrame | None = None
    bins: pd.DataFrame | None = None

    def __str__(self) -> str:
        """As `plncli diagnose` prints it."""
        return "\n".join(diagnosing.lines(self.facts))

    def _line(self) -> str:
        facts = self.facts
        poor = f"{facts['poor']} of {counted(facts['n_features'], MODELS[facts['model']].noun)} fit poorly"
        return f"{facts['run']}, {counted(facts['n_samples'], 'sample')}: {poor}"

    def _sheet(self) -> Sheet:
        return diagnosing.sheet(self.facts)


@dataclass(frozen=True, repr=False)
class Comparison(Shown):
    """Criteria and tests of fits to the same data. Printed, it is what `plncli compare` prints.

    criteria: a row a fit; tests: a row a likelihood-ratio test of a `large` model against a `small` one in it; found:
    both, and what must be known to read them.
    """

    criteria: pd.DataFrame
    tests: pd.DataFrame
    found: comparison.Comparison = field(compare=False)

    def __str__(self) -> str:
        """As `plncli compare` prints it."""
        return "\n".join(comparing.lines(self.found))

    def _line(self) -> str:
        best = next((row["run"] for row in self.found.rows if row["delta_bic"] == 0.0), None)
        told = f", best by bic: {best}" if best else ""
        return f"{counted(len(self.criteria), 'fit')}{told}, {counted(len(self.tests), 'test')}"

    def _sheet(self) -> Sheet:
        return Sheet("", (), comparing.grids(self.found))
