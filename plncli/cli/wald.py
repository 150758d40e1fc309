"""`plncli test RUN`: tests of terms, of equal levels, and of contrasts."""

from __future__ import annotations

from typing import Annotated

import typer

from plncli.cli.options import (
    MOVED,
    CoefficientScale,
    Overwrite,
    Quiet,
    RunFolder,
    TableFile,
    TableJson,
    TextFormat,
    with_moved,
)
from plncli.console import Console

TermNames = Annotated[
    list[str] | None,
    typer.Option(
        "--terms",
        metavar="TERM",
        help="All coefficients of this term of the formula are 0, or this one coefficient is; `all`: each term.",
        show_default=False,
    ),
]
EqualLevels = Annotated[
    list[str] | None,
    typer.Option("--equal", metavar="FACTOR", help="All levels of this factor are equal.", show_default=False),
]
Contrasts = Annotated[
    list[str] | None,
    typer.Option(
        "--contrast",
        metavar="TEXT",
        help="A combination of coefficients, such as `tree[a] - tree[b]`, `name: (a + b)/2 - c` or `slope = 1`.",
        show_default=False,
    ),
]
Level = Annotated[
    float | None, typer.Option(metavar="X", help="Of confidence intervals [default: the fit's].", show_default=False)
]
Top = Annotated[int, typer.Option("--top", metavar="N", help="Rows shown on a terminal, by p-value.")]
LikelihoodRatio = Annotated[
    bool,
    typer.Option(
        "--lr", help="logistic: by (penalised) likelihood ratios, not Wald's; the tables of the fit are read again."
    ),
]


@with_moved(*MOVED)
def wald(
    run: RunFolder,
    *,
    moved: dict[str, str],
    terms: TermNames = None,
    equal: EqualLevels = None,
    contrast: Contrasts = None,
    lr: LikelihoodRatio = False,
    level: Level = None,
    scale: CoefficientScale = "log",
    top: Top = 10,
    out: TableFile = None,
    overwrite: Overwrite = False,
    format: TextFormat = None,
    json: TableJson = False,
    quiet: Quiet = False,
) -> int:
    """Test coefficients of a finished fit.

    By Wald's tests, or by likelihood ratios. Each response is tested by itself; --terms, --equal and --contrast may be
    given several times.
    """
    from plncli.verbs.tables import destination
    from plncli.verbs.wald import test

    to, say = destination(out, overwrite, format, json), Console(quiet)
    return test(
        run,
        to,
        say,
        terms=terms or [],
        equal=equal or [],
        contrasts=contrast or [],
        level=level,
        scale=scale,
        top=top,
        lr=lr,
        moved=moved,
    )
