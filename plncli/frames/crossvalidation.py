"""Cross-validation of data frames: `plncli cv` without files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from plncli.errors import UsageError, counted
from plncli.frames.data import Dataset, Frame, check_model, configured, frame, listed, tables_of, whole
from plncli.frames.display import Shown
from plncli.frames.help import with_settings
from plncli.frames.messages import Sayings, speaking, tell
from plncli.layout import Grid, Sheet, aligned, table_width
from plncli.models import MODELS
from plncli.settings import FRAME, FitConfig
from plncli.verbs import crossvalidate as comparing
from plncli.verbs import scores
from plncli.verbs.settings import CV, FOLDS, chosen

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class CrossValidation(Shown):
    """How well candidates predict held-out data. Printed, it is what `plncli cv` prints.

    candidates: a row a candidate, means over the folds with their standard errors, in nats a sample, or with entries a
    count; `null`, `best` and `one_se` mark three of them. folds: a row for each candidate and fold. left_out: what is
    scored for no candidate, and why, in sentences. table: the candidates for a reader.
    """

    candidates: pd.DataFrame
    folds: pd.DataFrame
    left_out: tuple[str, ...]
    table: Grid

    def __str__(self) -> str:
        """As `plncli cv` prints it."""
        return "\n".join(aligned(self.table.rows, self.table.left, table_width()))

    def _line(self) -> str:
        best = self.candidates.loc[self.candidates["best"]].iloc[0]
        name = ", ".join(map(str, best.iloc[: self.table.left]))
        folds = counted(self.folds["fold"].nunique(), "fold")
        return f"{counted(len(self.candidates), 'candidate')}, {folds}, best: {name}"

    def _sheet(self) -> Sheet:
        return Sheet("", (), [self.table])


OFFERED = {*(name for name, _ in chosen(None, CV)), "workers", "threads"}
"""The settings of `plncli cv`."""


@with_settings(OFFERED)
@speaking
def cv(
    model: str,
    data: Dataset,
    *,
    formula: str | Sequence[str] = (),
    covariance: str | Sequence[str] = (),
    folds: int = FOLDS,
    entries: float | None = None,
    precision: Frame = None,
    offset_blocks: Frame = None,
    **settings: Any,
) -> CrossValidation:
    """Compare formulas, each with each covariance, by how well they predict held-out samples: `plncli cv`.

    A single formula may be that of the Dataset; several are given here, and then the Dataset has none. entries: hide
    this share of the counts instead of samples (pln). settings: those below. The same seed makes the same
    folds. UsageError, DataError: what cannot be compared.
    """
    check_model(model)
    extra = tables_of(precision=precision, offset_blocks=offset_blocks)
    settings |= {"covariance": covariance} if covariance else {}
    structures = {
        setting.name: listed(settings.pop(setting.name, ())) for setting in MODELS[model].settings if setting.compared
    }

    def resolved(text: str | None, structure: Mapping[str, str | None]) -> FitConfig:
        given = settings | dict.fromkeys(extra, FRAME) | {k: v for k, v in structure.items() if v is not None}
        config = configured("cv", model, data, given, OFFERED)
        return config if text is None else config.but(formula=text)

    resolved(None, {})  # refuses what is no data
    if formula and "formula" in data.settings:
        raise UsageError("The Dataset has a formula, and `formula` is given too. Give all of them as `formula`.")
    if entries is not None and not MODELS[model].latent:
        raise UsageError(f"`entries` hides counts, which {model} fits have not.")
    asked = comparing.asked(resolved, listed(formula), structures, whole("folds", folds), entries)
    say = Sayings()
    compared = comparing.validated(asked, say, {**data.tables, **extra})
    scores.report(say, compared, "`left_out`")
    tell(say)
    return CrossValidation(
        candidates=frame(scores.candidates(compared)),
        folds=frame(scores.columns(compared)),
        left_out=compared.validated.left_out,
        table=scores.grid(compared),
    )
