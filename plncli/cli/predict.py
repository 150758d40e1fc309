"""`plncli predict RUN`: predictions of a finished fit for new samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from plncli.cli.new_data import of_new_samples
from plncli.cli.options import Overwrite, Quiet, RunFolder, TableFile, TableJson, TextFormat
from plncli.console import Console

if TYPE_CHECKING:
    from plncli.runs.new_data import Sources

Counts = Annotated[
    str | None,
    typer.Option(
        "--counts",
        metavar="FILE",
        help="pln: counts of all features of the new samples, for *fitted* counts.",
        show_default=False,
    ),
]
Given = Annotated[
    str | None,
    typer.Option(
        "--given",
        metavar="FILE",
        help="pln: counts of some of the features, for *conditional* counts of the others.",
        show_default=False,
    ),
]
Intervals = Annotated[
    list[str] | None,
    typer.Option(
        "--interval",
        metavar="confidence|prediction",
        help="Of the expected value, or of a new observation; both may be given.",
        show_default=False,
    ),
]
Level = Annotated[
    float | None, typer.Option(metavar="X", help="Of the intervals [default: the fit's].", show_default=False)
]
Wide = Annotated[
    str | None,
    typer.Option(
        "--wide",
        metavar="COLUMN",
        help="A row a sample and a column a response, of this column alone.",
        show_default=False,
    ),
]


@of_new_samples(counts=(Counts, None), given=(Given, None))
def predict(
    run: RunFolder,
    sources: Sources,
    interval: Intervals = None,
    level: Level = None,
    wide: Wide = None,
    out: TableFile = None,
    overwrite: Overwrite = False,
    format: TextFormat = None,
    json: TableJson = False,
    quiet: Quiet = False,
) -> int:
    """Predict the responses of new samples.

    A row for each sample and response: probabilities and classes (logistic), means (linear), or expected counts (pln),
    which are *marginal* from the covariates alone, *fitted* with --counts, and *conditional* with --given. Beside
    marginal and conditional ones is the `median` of the rate, exp(`link`): half of such samples have a rate above it.
    """
    from plncli.verbs import predict as verb
    from plncli.verbs.tables import destination

    to = destination(out, overwrite, format, json)
    return verb.predict(run, sources, to, Console(quiet), interval=interval or [], level=level, wide=wide)
