"""`plncli classify RUN`: which group new samples are of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plncli.cli.new_data import REQUIRED, Counts, of_new_samples
from plncli.cli.options import Overwrite, Quiet, RunFolder, TableFile, TableJson, TextFormat
from plncli.console import Console

if TYPE_CHECKING:
    from plncli.runs.new_data import Sources


@of_new_samples(counts=(Counts, REQUIRED))
def classify(
    run: RunFolder,
    sources: Sources,
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
    from plncli.verbs.groups import classify as verb
    from plncli.verbs.tables import destination

    return verb.classify(run, sources, destination(out, overwrite, format, json), Console(quiet))
