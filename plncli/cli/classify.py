"""`plncli classify RUN`: which group new samples are of."""

from __future__ import annotations

from typing import Annotated

import typer

from plncli.cli.options import (
    NewCovariates,
    NewExposure,
    NewMatch,
    NewMissing,
    NewNaValues,
    NewOffsets,
    NewRound,
    NewTranspose,
    NoSampleNames,
    Overwrite,
    Quiet,
    RunFolder,
    TableFile,
    TableJson,
    TextFormat,
)
from plncli.console import Console

Counts = Annotated[str, typer.Option("--counts", metavar="FILE", help="Counts of the new samples.", show_default=False)]


def classify(
    run: RunFolder,
    counts: Counts,
    covariates: NewCovariates = None,
    exposure: NewExposure = None,
    offsets: NewOffsets = None,
    missing: NewMissing = "error",
    na_values: NewNaValues = None,
    transpose: NewTranspose = None,
    no_sample_names: NoSampleNames = False,
    match: NewMatch = "name",
    round: NewRound = False,
    out: TableFile = None,
    overwrite: Overwrite = False,
    format: TextFormat = None,
    json: TableJson = False,
    quiet: Quiet = False,
) -> int:
    """Tell which group new samples are of, by a pln-lda fit.

    A row a sample: the most probable group, the probability of each given the sample's counts (and covariates), and
    `elbo`, the bound of its log-likelihood. Where the covariates have the column of groups, a confusion matrix too.
    """
    from plncli.runs.new_data import Sources
    from plncli.verbs.groups import classify as verb
    from plncli.verbs.tables import destination

    to = destination(out, overwrite, format, json)
    sources = Sources(
        covariates,
        counts,
        None,
        exposure,
        offsets,
        missing=missing,
        sample_names=not no_sample_names,
        transpose=transpose,
        na_values=tuple(na_values or ()),
        match=match,
        round=round,
    )
    return verb.classify(run, sources, to, Console(quiet))
