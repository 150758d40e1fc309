"""`plncli transform RUN`: latent values of new samples."""

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
    TextFormat,
)
from plncli.console import Console

Counts = Annotated[str, typer.Option("--counts", metavar="FILE", help="Counts of the new samples.", show_default=False)]
Deviations = Annotated[
    str | None,
    typer.Option("--sd", metavar="FILE", help="Write the standard deviations there, as --out.", show_default=False),
]
Remove = Annotated[
    bool,
    typer.Option("--remove-covariates", help="Latent means less XB: the part that covariates don't explain."),
]


def transform(
    run: RunFolder,
    counts: Counts,
    covariates: NewCovariates = None,
    exposure: NewExposure = None,
    offsets: NewOffsets = None,
    remove_covariates: Remove = False,
    missing: NewMissing = "error",
    na_values: NewNaValues = None,
    transpose: NewTranspose = None,
    no_sample_names: NoSampleNames = False,
    match: NewMatch = "name",
    round: NewRound = False,
    out: TableFile = None,
    sd: Deviations = None,
    overwrite: Overwrite = False,
    format: TextFormat = None,
    quiet: Quiet = False,
) -> int:
    """Estimate latent means of new samples from their counts.

    With their standard deviations: the variational step of a pln fit with its parameters held fixed; each sample by
    itself. A row a sample and a column a feature, as in latent_mean.csv.
    """
    from plncli.runs.new_data import Sources
    from plncli.verbs import transform as verb
    from plncli.verbs.tables import destination

    to, say = destination(out, overwrite, format, json=False), Console(quiet)
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
    return verb.transform(run, sources, to, sd, say, overwrite=overwrite, remove_covariates=remove_covariates)
