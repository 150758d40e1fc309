"""Cross-validation of data frames: `plncli cv` without files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from plncli.cli import cv as comparing
from plncli.cli.options import chosen
from plncli.errors import UsageError
from plncli.frames.data import Dataset, Frame, configured, frame, listed, tables_of, whole
from plncli.frames.messages import Sayings, speaking, tell
from plncli.settings.config import FRAME, FitConfig

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class CrossValidation:
    """What candidates foretell of what they have not seen. Printed, it is what `plncli cv` prints.

    candidates: a row a candidate, means over the folds with their standard errors, in nats a sample, or with entries a
    count; `null`, `best` and `one_se` mark three of them. folds: a row for each candidate and fold. left_out: what is
    scored for no candidate, and why, in sentences.
    """

    candidates: pd.DataFrame
    folds: pd.DataFrame
    left_out: tuple[str, ...]
    text: str

    def __repr__(self) -> str:
        """As `plncli cv` prints it."""
        return self.text


@speaking
def cv(
    model: str,
    data: Dataset,
    *,
    formula: str | Sequence[str] = (),
    covariance: str | Sequence[str] = (),
    folds: int = comparing.FOLDS,
    entries: float | None = None,
    precision: Frame = None,
    offset_blocks: Frame = None,
    **settings: Any,
) -> CrossValidation:
    """Compare formulas, each with each covariance, by what they foretell of held-out samples: `plncli cv`.

    A single formula may be that of the Dataset; several are given here, and then the Dataset has none. entries: hide
    this share of the counts instead of samples (pln). settings: the options of `plncli cv`, with underscores. The same
    seed makes the same folds. UsageError, DataError: what cannot be compared.
    """
    extra = tables_of(precision=precision, offset_blocks=offset_blocks)
    offered = {*(name for name, _ in chosen(None, comparing.TAKEN)), "workers"}

    def resolved(text: str | None, structure: str | None) -> FitConfig:
        given = settings | dict.fromkeys(extra, FRAME) | ({} if structure is None else {"covariance": structure})
        config = configured("cv", model, data, given, offered)
        return config if text is None else replace(config, formula=text)

    resolved(None, None)  # refuses what is no data
    if formula and "formula" in data.settings:
        raise UsageError("The Dataset has a formula, and `formula` is given too. Give all of them as `formula`.")
    if entries is not None and model != "pln":
        raise UsageError(f"`entries` hides counts, which {model} fits have not.")
    asked = comparing.asked(resolved, listed(formula), listed(covariance), whole("folds", folds), entries)
    say = Sayings()
    compared = comparing.validated(asked, say, {**data.tables, **extra})
    comparing.report(say, compared, "`left_out`")
    tell(say)
    return CrossValidation(
        candidates=frame(comparing.candidates(compared)),
        folds=frame(comparing.columns(compared)),
        left_out=compared.validated.left_out,
        text="\n".join(comparing.lines(compared)),
    )
