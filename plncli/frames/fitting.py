"""Fits of data frames: `plncli fit` without files."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from plncli import settings as configuration
from plncli.cancellation import Cancellation
from plncli.frames.data import Dataset, Frame, configured, tables_of
from plncli.frames.help import with_settings
from plncli.frames.messages import THIS, Sayings, speaking, tell
from plncli.frames.result import FitResult
from plncli.runs import folder as artifacts
from plncli.runs.run import read_run
from plncli.settings import FRAME
from plncli.verbs import fit as fitting


@with_settings(configuration.settings())
@speaking
def fit(
    model: str,
    data: Dataset,
    *,
    init: FitResult | None = None,
    precision: Frame = None,
    offset_blocks: Frame = None,
    **settings: Any,
) -> FitResult:
    """Fit `pln`, `logistic` or `linear` to data: `plncli fit`, without files.

    settings: those below, such as covariance="diagonal", se="bootstrap", max_iter=100. init: an earlier fit to start
    from; precision: p×p, for covariance="fixed"; offset_blocks: the block of each feature, by its name, for
    offset_method. A fit that ends without converging is a result like any other, and a warning says so.
    """
    if init is not None:
        settings["init"] = str(init.run.place)
    extra = tables_of(precision=precision, offset_blocks=offset_blocks)
    config = configured("fit", model, data, settings | dict.fromkeys(extra, FRAME), configuration.settings())
    given = {**data.tables, **extra}
    say = Sayings()
    earlier = None if init is None else init.run
    outcome = fitting.fitted(config, say, Cancellation(), "plncli.fit", given=given, earlier=earlier)
    assert outcome is not None
    tell(say)
    return FitResult(artifacts.run_of(outcome, THIS), replace(outcome, log=tuple(say.log)), data.covariates)


@speaking
def load(folder: str | os.PathLike[str]) -> FitResult:
    """The fit in a folder that `FitResult.save` or `plncli fit` wrote."""
    return FitResult(read_run(Path(folder)))
