"""Simulated data frames with known truth: `plncli simulate` without files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from plncli.frames.data import Dataset, Frame, check_model, number, one_of, tables_of, whole
from plncli.frames.display import Shown
from plncli.frames.messages import Sayings, speaking, spoken, tell
from plncli.layout import Sheet
from plncli.models import MODELS
from plncli.names import DRAWN_COVARIANCES
from plncli.settings import FRAME
from plncli.simulation.folder import settings, tables
from plncli.simulation.truth import Outcome
from plncli.tables.writing import finite
from plncli.verbs import simulate as simulating

if TYPE_CHECKING:
    import pandas as pd

DEFAULT = next(iter(MODELS))
"""The model of tables where none is named: Poisson log-normal."""
WHOLE = ("p", "numeric", "levels", "rank", "edges")


@dataclass(frozen=True, repr=False)
class Simulation(Shown):
    """Tables that were drawn, and the truth about them. Frames are as the files of `plncli simulate`, None for none.

    counts (pln) or response, covariates, exposure (pln) or offsets: a row a sample. true_coefficients: a row for each
    response and term; true_sigma: p×p; true_loadings: p×rank; true_zero_inflation: logits and probabilities of
    structural zeros; true_edges, true_nodes: of a graph; true_latent: n×p, Z or the linear predictor, with the offset.
    facts: as in simulation.json; settings: of a fit of these tables, as in config.toml. notes: what there is to know of
    them.
    """

    facts: Mapping[str, Any]
    settings: Mapping[str, Any]
    true_coefficients: pd.DataFrame
    true_latent: pd.DataFrame
    true_sigma: pd.DataFrame | None = None
    true_loadings: pd.DataFrame | None = None
    true_zero_inflation: pd.DataFrame | None = None
    true_edges: pd.DataFrame | None = None
    true_nodes: pd.DataFrame | None = None
    counts: pd.DataFrame | None = None
    response: pd.DataFrame | None = None
    covariates: pd.DataFrame | None = None
    exposure: pd.DataFrame | None = None
    offsets: pd.DataFrame | None = None
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        """As `plncli simulate` says it."""
        return f"{simulating.size(self.facts)}."

    def _line(self) -> str:
        return simulating.size(self.facts).removeprefix("Simulated ")

    def _sheet(self) -> Sheet:
        frames = {part.name: getattr(self, part.name) for part in fields(self)}
        sizes = [(name, " × ".join(map(str, made.shape))) for name, made in frames.items() if hasattr(made, "shape")]
        return Sheet(str(self), [("formula", self.settings["formula"]), *sizes])

    @property
    def dataset(self) -> Dataset:
        """The tables as a fit takes them, with the formula that they were drawn by."""
        return Dataset(
            counts=self.counts,
            response=self.response,
            covariates=self.covariates,
            exposure=self.exposure,
            offsets=self.offsets,
            formula=self.settings["formula"],
            all_zero=self.settings.get("all_zero", "error"),
        )


@speaking
def simulate(
    model: str = DEFAULT,
    *,
    n: int | None = None,
    p: int | None = None,
    numeric: int | None = None,
    levels: int | None = None,
    effect: float | None = None,
    rank: int | None = None,
    covariance: str | None = None,
    correlation: float | None = None,
    graph: str | None = None,
    edges: int | None = None,
    sd: float | None = None,
    sigma: Frame = None,
    depth: float | None = None,
    depth_spread: float | None = None,
    zeros: float | None = None,
    zero_inflation: float | None = None,
    zero_inflation_spread: float | None = None,
    zero_inflation_effect: float | None = None,
    seed: int = 0,
) -> Simulation:
    """Draw tables of a design of your choice: `plncli simulate`, whose options these are, with their defaults.

    n samples × p features or responses; sigma: p×p, with names, instead of covariance, correlation, sd and p. The same
    seed draws the same numbers. UsageError: settings that do not go together, or mean nothing.
    """
    chosen = {name: value for name, value in locals().items() if value is not None}
    check_model(model)
    one_of("covariance", covariance, DRAWN_COVARIANCES)
    given: dict[str, Any] = {
        name: (whole if name in WHOLE else number)(name, value)
        for name, value in chosen.items()
        if name not in ("model", "n", "seed", "sigma", "covariance", "graph")
    }
    extra = tables_of(sigma=sigma)
    given |= {name: chosen[name] for name in ("covariance", "graph") if name in chosen} | dict.fromkeys(extra, FRAME)
    size = None if n is None else whole("n", n)
    made = simulating.invented(model, size, given, whole("seed", seed), extra.get("sigma"))
    tell(noted(made))
    return simulation(made)


def noted(made: Outcome) -> Sayings:
    """What there is to say of tables that were drawn."""
    say = Sayings()
    say.notes += made.notes
    return say


def simulation(made: Outcome) -> Simulation:
    """Tables that were drawn, as data frames."""
    frames = {name: table().to_pandas() for name, table in tables(made).items()}
    for name in frames:
        if name not in ("true_coefficients", "true_edges"):
            frames[name] = frames[name].set_index(frames[name].columns[0])
    return Simulation(facts=finite(made.facts), settings=settings(made), notes=tuple(map(spoken, made.notes)), **frames)
