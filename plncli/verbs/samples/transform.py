"""`transform`: latent values of new samples."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plncli.console import Console
from plncli.errors import UsageError, counted
from plncli.verbs.predict import told, warnings
from plncli.verbs.tables import Destination, check, sample_rows, write

if TYPE_CHECKING:
    from torch import Tensor

    from plncli.runs.new_data import NewData, Sources
    from plncli.runs.run import Run

Tables = tuple[dict[str, Any], dict[str, Any]]


def transform(
    run: str,
    sources: Sources,
    to: Destination,
    sd: str | None,
    say: Console,
    *,
    overwrite: bool,
    remove_covariates: bool,
) -> int:
    """Read a run, transform, and deliver the table of means; sd: file of the standard deviations.

    Counts that come without their zeros are worked on by blocks of samples, and the files written so.
    """
    from plncli.runs.run import read_run
    from plncli.sparse import is_sparse

    sd_suffix = check(sd, overwrite, option="--sd") if sd else ""
    if to.out and sd and Path(to.out).resolve() == Path(sd).resolve():
        raise UsageError(f"--out and --sd are the same file, {to.out}.")
    finished = read_run(Path(run))
    data = _loaded(finished, sources, say, sparse=to.out is not None and not to.json)
    if to.out is not None and data.Y is not None and is_sparse(data.Y):
        means = (to.out, to.suffix, "residual" if remove_covariates else "mean")
        _report(finished, data, say, _written(finished, data, [means, *([(sd, sd_suffix, "sd")] if sd else [])]))
        return 0
    mean, deviations = _whole(finished, data, say, remove_covariates)
    if sd:
        write(deviations, sd, sd_suffix)
    to.deliver(mean)
    return 0


def transformed(run: Run, sources: Sources, say: Console, remove_covariates: bool) -> Tables:
    """The tables of latent means, and of standard deviations, by column."""
    return _whole(run, _loaded(run, sources, say), say, remove_covariates)


def _loaded(run: Run, sources: Sources, say: Console, *, sparse: bool = False) -> NewData:
    """New samples, and what must be said of them and of the fit."""
    from plncli import runtime
    from plncli.runs.new_data import load

    data = load(run, sources, sparse=sparse)
    for sentence in data.warnings:
        say.warn(sentence)
    for note in data.notes:
        say.note(f"note: {note}")
    for sentence in warnings(run):
        say.warn(sentence)
    runtime.use_threads(len(data.samples), len(run.responses), len(run.terms), "auto")
    return data


def _whole(run: Run, data: NewData, say: Console, remove_covariates: bool) -> Tables:
    from plncli import runtime
    from plncli.models import fitted

    with runtime.memory_guard():
        assert data.Y is not None
        found = fitted.transform(run.fitted, data.Y, data.X, data.O, data.K, data.X0)
    _report(run, data, say, found.reasons)

    def columns(values: Any) -> dict[str, Any]:
        return sample_rows(data.samples, dict(zip(run.responses, values.mT.numpy(), strict=True)))

    return columns(found.residual if remove_covariates else found.mean), columns(found.sd)


def _written(run: Run, data: NewData, files: list[tuple[str, str, str]]) -> Mapping[str, Tensor]:
    """Write tables by blocks of samples (see `write_blocks`)."""
    from plncli import runtime
    from plncli.runs.latent import latent_blocks, write_blocks
    from plncli.tables.atomic import partial_file

    with runtime.memory_guard(), ExitStack() as stack:
        assert data.Y is not None
        paths = [(stack.enter_context(partial_file(Path(out))), suffix, what) for out, suffix, what in files]
        blocks = latent_blocks(run.fitted, data.Y, data.X, data.O, data.K, data.X0)
        return write_blocks(blocks, paths, data.samples, run.responses)


def _report(run: Run, data: NewData, say: Console, reasons: Mapping[str, Tensor]) -> None:
    """How many latent values there are, and why cells are empty, or how many of each response (1×p)."""
    say.note(f"Latent values of {counted(len(data.samples), 'sample')} × {counted(len(run.responses), 'feature')}.")
    for sentence in told(run, reasons):
        say.note(f"note: {sentence}")
