"""`cv`: how well candidates predict samples, or counts, that they have not seen."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plncli import console
from plncli import settings as configuration
from plncli.console import Console
from plncli.errors import DataError, UsageError, counted, some
from plncli.inputs.sources import matrix_settings
from plncli.settings import FitConfig
from plncli.verbs.planning import model_of, named_tables, planned
from plncli.verbs.scores import Asked, Compared, columns, content, lines, meaning, report
from plncli.verbs.tables import check

if TYPE_CHECKING:
    from plncli.evaluation.folds import Candidate
    from plncli.inputs.loading import Inputs
    from plncli.optim.base import Optimizer
    from plncli.runs.unfinished.journal import Journal
    from plncli.runtime import Runtime
    from plncli.tables.table import Table


Structure = Mapping[str, str | None]
"""Values of the settings that are compared, by name; None for what the configuration says."""


def asked(
    resolved: Callable[[str | None, Structure], FitConfig],
    formulas: Sequence[str] | None,
    compared: Mapping[str, Sequence[str] | None],
    folds: int,
    entries: float | None,
) -> Asked:
    """What is to be compared.

    resolved: the configuration with a formula and values of settings that are compared, None for what it says;
    compared: the values of each such setting.
    """
    chosen = [
        dict(zip(compared, values, strict=True)) for values in product(*(v or (None,) for v in compared.values()))
    ]
    found = [{name: each.own[name] for name in compared} for one in chosen for each in resolved(None, one).members()]
    structures = [one for k, one in enumerate(found) if one not in found[:k]]
    configs = tuple(_config(resolved(text, chosen[0]), structures) for text in dict.fromkeys(formulas or (None,)))
    if folds < 2:
        raise UsageError(f"--folds must be 2 or more, not {folds}.")
    if entries is not None and not 0.0 < entries < 1.0:
        raise UsageError(f"--entries must be a share between 0 and 1, not {entries:g}.")
    if entries is not None and configs[0].cluster:
        raise UsageError("--cluster keeps samples together, but --entries holds out counts; leave one of them out.")
    return Asked(configs, tuple(structures), folds, entries)


def _config(config: FitConfig, structures: Sequence[Mapping[str, str]]) -> FitConfig:
    """The configuration by which tables are read: without what only `fit` does, with the matrices that some need.

    UsageError for a structure that goes neither with these matrices nor without.
    """
    with_matrices = [one for one in structures if _takes(config.but(**one))]
    for one in structures:
        if one not in with_matrices:
            bare = config.but(**one, **dict.fromkeys(matrix_settings(config)))
            bare.spec.check(bare.own)
    structure = with_matrices[0] if with_matrices else structures[0]
    return config.but(**structure, se="none", vcov=False, out=None, overwrite=False, init=None)


def _takes(config: FitConfig) -> bool:
    """Whether the settings of the model go together as they are, matrices that are given among them."""
    try:
        config.spec.check(config.own)
    except UsageError:
        return False
    return True


def cv(
    asked: Asked, *, out: str | None, overwrite: bool, resume: bool, json: bool, quiet: bool, no_progress: bool
) -> int:
    """Read, hold out, fit, score, report; the exit code says whether all fits converged."""
    say = Console(quiet, progress=not no_progress)
    if resume and out is None:
        raise UsageError("--resume goes with --out FILE: beside it is kept what is done.")
    place = Place(Path(out), resume, overwrite) if out else None
    suffix = check(out, overwrite or resume)
    for sentence in configuration.ignored(os.environ):
        say.note(f"note: {sentence}")
    from plncli.runs.unfinished.checkpoints import locked
    from plncli.tables.writing import to_json

    with nullcontext() if place is None else locked(place.out):
        if place is not None and (done := place.done(asked)) is not None:
            say.note(f"The comparison in {place.out} is done already.")
            return done
        compared = validated(asked, say, place=place)
        code = 4 if compared.unconverged and not asked.config.allow_unconverged else 0
        if place is not None:
            place.write(columns(compared), suffix, code)
    console.out(to_json(content(compared)) if json else "\n".join(lines(compared)))
    say.note(f"note: {meaning(asked)}")
    report(say, compared, "--json")
    return code


class Place:
    """Where the scores go, and, while not all are there, those that are."""

    def __init__(self, out: Path, resume: bool, overwrite: bool) -> None:
        self.out, self.resume, self.overwrite = out, resume, overwrite
        self.journal: Journal | None = None

    def done(self, asked: Asked) -> int | None:
        """The exit code of the comparison where it is done; UsageError where the file is none that a kill left so."""
        from plncli.runs.finished import done
        from plncli.runs.unfinished.checkpoints import unfinished

        code = done(self.out, _chosen(asked), asked.config) if self.resume else None
        if code is None:
            check(str(self.out), self.overwrite or (self.resume and unfinished(self.out)))
        return code

    def begin(self, asked: Asked, read: Sequence[Inputs], say: Console) -> Journal:
        """What keeps each score."""
        from plncli.evaluation.crossvalidation import Scored
        from plncli.runs.unfinished import checkpoints
        from plncli.runs.unfinished.journal import Journal

        every = asked.config.checkpoint_every or math.inf
        about = {"settings": _chosen(asked), "inputs": checkpoints.about_fit(asked.config, read[0].sources)["inputs"]}
        path, p = checkpoints.folder_of(self.out) / checkpoints.JOURNAL, read[0].data.p
        self.journal = Journal(path, about, every, Scored, lambda _, score: score.sound(p), self.resume)
        if self.journal.found:
            say.note(f"note: {counted(len(self.journal.found), 'fit')} are done already.")
        if self.journal.note:
            say.note(f"note: {self.journal.note}")
        return self.journal

    def write(self, scores: Mapping[str, Any], suffix: str, code: int) -> None:
        """All is done. A receipt is left for a job that may be started again, before the scores that it is of."""
        from plncli.runs.finished import forget, write_receipt
        from plncli.tables.atomic import whole_file
        from plncli.tables.writing import table, table_bytes

        assert self.journal is not None
        content = table_bytes(table(scores), suffix)
        if self.resume:
            write_receipt(self.out, content, self.journal.about, code)
        else:
            forget(self.out)
        whole_file(self.out, content)
        self.journal.discard()


def _chosen(asked: Asked) -> dict[str, Any]:
    """The settings of a comparison, to be held against those of another time."""
    from plncli.runs.unfinished.checkpoints import about_fit

    settings = [about_fit(config, (), ("cluster", "max_iter"))["settings"] for config in asked.configs]
    chosen: dict[str, Any] = {"folds": asked.folds, "entries": asked.share}
    chosen |= {name: [one[name] for one in asked.structures] for name in asked.structures[0]}
    return settings[0] | {"formula": [one["formula"] for one in settings]} | chosen


@contextmanager
def _kept(journal: Journal | None, say: Console) -> Iterator[None]:
    """Keep what is done when the rest is not to be."""
    try:
        yield
    except BaseException:
        say.clear()
        if journal is not None and journal.save():
            say.note("What is done is kept: the same command with --resume goes on.")
        raise


def validated(
    asked: Asked, say: Console, given: Mapping[str, Table] | None = None, place: Place | None = None
) -> Compared:
    """Read, hold out, fit and score; given: see `inputs.load`; place: where scores are kept."""
    from plncli import optim, runtime
    from plncli.evaluation import crossvalidation
    from plncli.evaluation.folds import folds_of_cells, folds_of_samples
    from plncli.inputs import loading as inputs
    from plncli.optim.base import StopRule

    config = asked.config
    optimizer = optim.build(config.optimizer, config.learning_rate)
    where = runtime.start(config.device, config.dtype, config.seed)
    with runtime.memory_guard():
        with say.stage(f"reading {some(named_tables(config))}"):
            read = inputs.load_each(_readings(asked), device=where.device, dtype=where.dtype, given=given)
        if read[0].positions:
            say.warn(read[0].positions.finding.message)
        for note in dict.fromkeys(note for one in read for note in one.notes):
            say.note(f"note: {note}")
        candidates, null = _candidates(asked, read)
        data = candidates[0].data
        if asked.share is None:
            folds = folds_of_samples(data, asked.folds, config.seed)
        else:
            folds = folds_of_cells(data, asked.share, asked.folds, config.seed)
        workers = _workers(config, candidates, where)
        stop = StopRule(config.tol, config.max_iter)
        counting = say.counting("cross-validation")
        journal = place.begin(asked, read, say) if place else None
        with _kept(journal, say):
            found = crossvalidation.validate(
                candidates, null, folds, optimizer, stop, workers, counting, journal, _threads(config)
            )
    say.clear()
    return Compared(asked, found, null)


def _readings(asked: Asked) -> list[FitConfig]:
    """Configurations by which tables are read: each formula, with each that structures have besides, and without."""
    return [config.but(**formulas) for config in asked.configs for formulas in _formulas(asked)]


def _formulas(asked: Asked) -> list[dict[str, Any]]:
    """What settings that may be formulas are in the structures: each combination once, no formula being the default."""
    spec = asked.config.spec
    defaults = {setting.name: setting.default for setting in spec.settings if setting.formula}
    found = [defaults | spec.formulas({**asked.config.own, **one}) for one in asked.structures]
    return [one for k, one in enumerate(found) if one not in found[:k]]


def _candidates(asked: Asked, read: Sequence[Inputs]) -> tuple[list[Candidate], int]:
    """Each formula with each covariance, and where the null model is among them: it joins them if it is not there."""
    import torch

    from plncli.evaluation.folds import Candidate

    first = read[0].data
    candidates: list[Candidate] = []
    formulas = _formulas(asked)
    defaults = {setting.name: setting.default for setting in asked.config.spec.settings if setting.formula}
    pairs = [(config, kind) for config in asked.configs for kind in formulas]
    for (config, kind), one in zip(pairs, read, strict=True):
        if one.data.responses != first.responses or not torch.equal(one.data.Y, first.Y):
            raise DataError(
                f"`{asked.config.formula}` and `{config.formula}` explain different responses, so what they predict "
                "does not compare."
            )
        O = first.O if torch.equal(one.data.O, first.O) else one.data.O
        data = replace(one.data, Y=first.Y, K=first.K, w=first.w, O=O)  # kept, and sent to workers, once
        for structure in asked.structures:
            this = config.but(**structure)
            if kind != defaults | this.spec.formulas(this.own):
                continue
            model = model_of(this, one if _takes(this) else None)
            candidates.append(Candidate(config.formula or "~ 1", model, data, structure, _own_optimizer(this)))
    settings = asked.config.spec.settings
    alone = asked.config.but(**{setting.name: setting.null for setting in settings if setting.null is not None})
    data = replace(first, X=torch.ones_like(first.X[:, :1]), terms=("Intercept",), X0=None, zero_terms=())
    null = Candidate("~ 1", model_of(alone, None), data, {name: alone.own[name] for name in asked.structures[0]})
    for number, other in enumerate(candidates):
        same = torch.equal(other.data.X, data.X) and torch.equal(other.data.O, data.O)
        if same and other.labels == null.labels:
            return candidates, number
    return [*candidates, null], len(candidates)


def _own_optimizer(config: FitConfig) -> Optimizer | None:
    """The optimizer of a candidate that the one of all does not suit."""
    from plncli import optim

    suited = configuration.suited_optimizer(config)
    return None if suited == config.optimizer else optim.build(suited)


def _threads(config: FitConfig) -> int:
    """Threads of each fit: one unless more are asked for, since the fits share the cores."""
    return 1 if config.threads == "auto" else int(config.threads)


def _workers(config: FitConfig, candidates: Sequence[Candidate], where: Runtime) -> int:
    """How many fits may run side by side; DeviceError where the largest does not fit into memory."""
    from plncli import runtime
    from plncli.evaluation import memory

    fits = [
        planned(config.but(**candidate.labels), candidate.data, where)
        for candidate in {(id(c.data), *c.labels.values()): c for c in candidates}.values()
    ]
    largest = max(fits, key=lambda fit: fit.needs())
    free = runtime.free_memory(where.device)
    memory.check(largest, free, where.device_name)
    return memory.workers(largest, free, config.workers, runtime.ALL_THREADS // _threads(config) or 1)
