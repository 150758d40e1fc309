"""The tables of a finished fit as data frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from plncli.frames.data import frame
from plncli.frames.display import Shown
from plncli.frames.messages import speaking
from plncli.runs import folder as artifacts
from plncli.runs.run import Run
from plncli.verbs import show as showing

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class Estimates(Shown):
    """Estimates with the names of their rows and columns; those of samples are text."""

    run: Run

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
        return self.coefficients_on("log")

    @speaking
    def coefficients_on(self, scale: str) -> pd.DataFrame:
        """The coefficients, and beside them log2 or ratios with their intervals: `plncli show --coefficients`.

        scale: "log2" adds log2_ratio, log2_ratio_low and log2_ratio_high; "ratio" adds ratio, ratio_low and ratio_high;
        "log" nothing. UsageError for a model whose coefficients are no logarithms of ratios.
        """
        return frame(showing.all_coefficients(self.run, scale))

    @property
    def sigma(self) -> pd.DataFrame:
        """The covariance Sigma, p×p: of the latent layer, or (linear) of the residuals."""
        return self._table("sigma")

    @property
    def omega(self) -> pd.DataFrame:
        """The inverse of Sigma, p×p; empty for features without variance."""
        return self._table("omega")

    @property
    def latent_mean(self) -> pd.DataFrame:
        """Means of the latent layer, n×p: they contain XB, not the offset."""
        return self._table("latent_mean")

    @property
    def latent_sd(self) -> pd.DataFrame:
        """Standard deviations of the latent layer, n×p."""
        return self._table("latent_sd")

    def __getattr__(self, name: str) -> pd.DataFrame:
        """The table of that name, of those that the model leaves (`Spec.symbols`)."""
        if name.startswith("_") or name not in artifacts.table_names():
            raise AttributeError(f"A fit has no {name}.")
        return self._table(name)

    def _table(self, name: str) -> pd.DataFrame:
        if name == "features" and self.run.features:
            return artifacts.features(self.run).to_pandas().set_index("feature")
        others = artifacts.further(self.run)
        if name in others:
            frame = others[name]().to_pandas()
            return frame.set_index(frame.columns[0])
        symbol = next((symbol for symbol in self.run.spec.tables if symbol.table == name), None)
        if symbol is None or symbol.name not in self.run.estimates:
            raise AttributeError(f"A {self.run.model} fit has no {name}" + (": give sigma=True." if symbol else "."))
        frame = artifacts.matrix(self.run, symbol).to_pandas()
        return frame.set_index(frame.columns[0])

    @property
    def path(self) -> pd.DataFrame:
        """As path.csv, of a path of fits: a row each, the one that was chosen among them."""
        told = self.run.summary.get("path")
        if told is None:
            raise AttributeError("This is a single fit, not one of a path.")
        return frame(told["fits"])
