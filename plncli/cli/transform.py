"""`plncli transform RUN`: latent values of new samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from plncli.cli.new_data import REQUIRED, Counts, of_new_samples
from plncli.cli.options import Overwrite, Quiet, RunFolder, TableFile, TextFormat
from plncli.console import Console

if TYPE_CHECKING:
    from plncli.runs.new_data import Sources

Deviations = Annotated[
    str | None,
    typer.Option("--sd", metavar="FILE", help="Write the standard deviations there, as --out.", show_default=False),
]
Remove = Annotated[
    bool,
    typer.Option("--remove-covariates", help="Latent means less XB: the part that covariates don't explain."),
]


@of_new_samples(counts=(Counts, REQUIRED))
def transform(
    run: RunFolder,
    sources: Sources,
    remove_covariates: Remove = False,
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
    from plncli.verbs.samples import transform as verb
    from plncli.verbs.tables import destination

    to = destination(out, overwrite, format, json=False)
    return verb.transform(
        run, sources, to, sd, Console(quiet), overwrite=overwrite, remove_covariates=remove_covariates
    )
