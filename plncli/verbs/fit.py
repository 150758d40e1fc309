"""`fit`: from files, or tables, to a folder of results."""

from __future__ import annotations

import math
import os
import shlex
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from plncli import console
from plncli import settings as configuration
from plncli.cancellation import Cancellation, cancellation
from plncli.console import Console
from plncli.errors import counted, some
from plncli.settings import FitConfig
from plncli.verbs.planning import check_memory, init_of, memory_told, model_of, named_tables

if TYPE_CHECKING:
    from plncli.inputs.loading import Inputs
    from plncli.models.base import Init
    from plncli.models.findings import Finding
    from plncli.optim.base import Optimizer, State
    from plncli.results import FitResult
    from plncli.runs.checkpoints import Keeper
    from plncli.runs.folder import Outcome
    from plncli.runs.journal import Journal
    from plncli.runs.run import Run
    from plncli.runtime import Runtime
    from plncli.tables.table import Table


def fit(
    config: FitConfig, *, dry_run: bool, resume: bool, json: bool, quiet: bool, verbose: bool, no_progress: bool
) -> int:
    """Read, fit, write, report; the exit code says whether the fit converged."""
    configuration.check(config)
    out = configuration.output_folder(config)
    say = Console(quiet, verbose, not no_progress)
    for sentence in configuration.ignored(os.environ):
        say.note(f"note: {sentence}")
    with cancellation() as state, ExitStack() as stack:
        from plncli import runtime
        from plncli.runs import checkpoints
        from plncli.runs import folder as artifacts
        from plncli.runs.finished import finished
        from plncli.tables import writing as output

        if not dry_run:
            stack.enter_context(checkpoints.locked(out))
        if resume and (done := finished(out, config)) is not None:
            say.note(f"The fit in {out} is done already.")
            return int(done["exit_code"])
        checkpoints.check_unfinished(out, resume, config.overwrite)
        config = replace(config, overwrite=config.overwrite or (resume and out.is_dir()))
        artifacts.check_folder(out, config.overwrite)
        say.detail(f"results go to {out}")
        with runtime.memory_guard():
            command = shlex.join(["plncli", *sys.argv[1:]])
            keep = Keep(out, resume)
            with keep.left(say):
                outcome = fitted(config, say, state, command, dry_run=dry_run, keep=keep)
            if outcome is None:
                say.note(f"Nothing was fitted or written (--dry-run); results would go to {out}.")
                return 0
            with say.stage("writing the results"):
                artifacts.write(out, replace(outcome, log=tuple(say.log)))
        say.note(f"The results are in {out}.")
        keep.end(outcome, say)
    if not json and not outcome.manifest["cut_short"]:
        say.next("plncli", "report", out, "--out", f"{out}.html")
    if json:
        console.out(output.to_json(artifacts.summary(outcome)))
    return int(outcome.manifest["exit_code"])


class Keep:
    """Where a fit keeps its results, and, while it is not done, its state."""

    def __init__(self, out: Path, resume: bool) -> None:
        self.out, self.resume = out, resume
        self.keeper: Keeper | None = None
        self.journal: Journal | None = None

    def begin(self, config: FitConfig, read: Inputs, say: Console) -> tuple[Keeper, State | None]:
        """What keeps the state of the fit, and the state from which it goes on, if there is one; and its resamples."""
        from plncli.inference.resampling import Replicate
        from plncli.runs import checkpoints
        from plncli.runs.journal import Journal

        about = checkpoints.about_fit(config, read.sources)
        every = config.checkpoint_every or math.inf
        self.keeper = checkpoints.Keeper(checkpoints.folder_of(self.out), about, every, beside=self.resume)
        if not self.resume:
            self.keeper.discard()  # of what --overwrite replaces
        self.journal = Journal(
            checkpoints.folder_of(self.out) / checkpoints.JOURNAL,
            checkpoints.about_fit(config, read.sources, checkpoints.RESAMPLED),
            every,
            Replicate,
            lambda found: found.sound(read.data.d, read.data.p),
            self.resume,
        )
        if not self.resume:
            return self.keeper, None
        state, notes = checkpoints.taken_up(self.out, about)
        if self.journal.found:
            notes = (*notes, f"{counted(len(self.journal.found), 'fit')} of {config.se} are done already.")
        for note in filter(None, (*notes, self.journal.note)):
            say.note(f"note: {note}")
        return self.keeper, state

    @contextmanager
    def left(self, say: Console) -> Iterator[None]:
        """Where the device fails, say how to go on from what is kept."""
        from plncli.runs import checkpoints

        try:
            yield
        except (MemoryError, RuntimeError):
            say.clear()
            if self.keeper is not None and checkpoints.unfinished(self.out):
                say.next("plncli", "resume", self.out, what="Go on with")
            raise

    def end(self, outcome: Outcome, say: Console) -> None:
        """Keep the state of a fit that was cut short, and say how to go on; else let the checkpoints go."""
        assert self.keeper is not None and self.journal is not None
        if not outcome.manifest["cut_short"]:
            self.keeper.discard()
        elif self.keeper.save():
            self.journal.save()
            say.next("plncli", "resume", self.out, what="Go on with")
        elif self.keeper.failure:
            say.warn(f"The state of the fit could not be kept: {self.keeper.failure}")


def fitted(
    config: FitConfig,
    say: Console,
    state: Cancellation,
    command: str,
    *,
    given: Mapping[str, Table] | None = None,
    earlier: Run | None = None,
    dry_run: bool = False,
    keep: Keep | None = None,
) -> Outcome | None:
    """Read, fit, report; None for a dry run.

    given: see `inputs.load`; earlier: the run of --init, if it is read; keep: where the results will be, if anywhere.
    """
    from plncli import optim, runtime
    from plncli.inputs import loading as inputs

    began, started = time.perf_counter(), datetime.now(UTC)
    optimizer = optim.build(config.optimizer, config.learning_rate)
    where = runtime.start(config.device, config.dtype, config.seed)
    with say.stage(f"reading {some(named_tables(config))}"):
        read = inputs.load(config, device=where.device, dtype=where.dtype, given=given)
    threads = runtime.use_threads(read.data.n, read.data.p, read.data.d, config.threads)
    _report_inputs(say, config, read, where, threads)
    init = init_of(config, read, say, earlier)
    planned, workers, method = check_memory(config, read, where)
    if dry_run:
        model_of(config, read).prepare(read.data)  # refuses what a fit would refuse
        say.note(memory_told(planned, where))
        return None
    result = _fitted(config, read, optimizer, init, say, state, workers, method, keep)
    code = _exit_code(config, result, state)
    outcome = _outcome(config, read, result, where, command, started, time.perf_counter() - began, code)
    _report(say, outcome)
    return outcome


def _fitted(
    config: FitConfig,
    read: Inputs,
    optimizer: Optimizer,
    init: Init | None,
    say: Console,
    state: Cancellation,
    workers: int,
    method: str | Finding,
    keep: Keep | None,
) -> FitResult:
    from plncli.fitting import fit as run
    from plncli.inference.resampling import Resampling
    from plncli.inference.wald import InferenceRule
    from plncli.optim.base import StopRule
    from plncli.runs.trace import watched

    limit = StopRule().time_limit if config.time_limit is None else config.time_limit
    stop = StopRule(config.tol, config.max_iter, limit, state.cancelled)
    state.savable = True
    name = config.spec.likelihood
    show = say.fitting(name, config.tol * read.data.total_weight)
    keeper, begun = keep.begin(config, read, say) if keep else (None, None)
    with watched(keep.out if keep else None, name, config.tensorboard, show, say.note) as on_step:
        result = run(
            model_of(config, read),
            read.data,
            optimizer,
            stop,
            on_step,
            InferenceRule(method, config.level, config.vcov, say.waiting("standard errors")),
            init=init,
            resampling=Resampling(
                config.resamples, config.seed, workers, say.counting(config.se), keep.journal if keep else None
            ),
            offer=None if keeper is None else keeper.offer,
            state=begun,
        )
    say.clear()
    matched = () if read.positions is None else (read.positions.finding,)
    return replace(result, findings=(*matched, *result.findings))


def _exit_code(config: FitConfig, result: FitResult, state: Cancellation) -> int:
    if result.optimum.status.name == "INTERRUPTED" or state.cancelled():
        return 128 + state.signum
    return 0 if (result.converged and not result.cut_short) or config.allow_unconverged else 4


def _outcome(
    config: FitConfig,
    read: Inputs,
    result: FitResult,
    where: Runtime,
    command: str,
    started: datetime,
    seconds: float,
    code: int,
) -> Outcome:
    from plncli import runtime
    from plncli.runs.folder import Outcome, with_checks
    from plncli.runs.run import SCHEMA_VERSION

    design = read.design.to_json()
    if read.size_factors is not None:
        design["size_factors"] = read.size_factors.to_json()
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "command": command,
        "folder": str(Path.cwd()),
        "configuration": configuration.applying(config),
        **runtime.describe(where),
        "seed": config.seed,
        "inputs": [asdict(source) for source in read.sources],
        "dropped": [asdict(drop) for drop in read.dropped],
        "by_position": read.positions.tables if read.positions else (),
        "notes": read.notes,
        "start": started.isoformat(),
        "end": datetime.now(UTC).isoformat(),
        "exit_code": code,
        "cut_short": result.cut_short or code in (130, 143),
    }
    known = (result, config, design, read.classes, where.device_name, seconds, manifest)
    return with_checks(Outcome(*known, features=read.features))


def _report_inputs(say: Console, config: FitConfig, read: Inputs, where: Runtime, threads: int) -> None:
    data = read.data
    for source in read.sources:
        say.detail(f"read {source.role} from {source.path}: {' × '.join(map(str, source.shape))}")
    if read.positions:
        say.warn(read.positions.finding.message)
    for note in read.notes:
        say.note(f"note: {note}")
    spec, structure = config.spec, config.spec.structure(config.own)
    what = f"{spec.name} ({structure} covariance)" if structure else spec.name
    what += "".join(f" ({name} {value})" for name, value in spec.penalised(config.own).items())
    say.note(
        f"Fitting {what}: {counted(data.n, 'sample')} × {counted(data.p, spec.noun)}, "
        f"{counted(data.d, 'coefficient')} each ({some(data.terms)}), "
        f"by {config.optimizer} on {where.device_name} ({where.dtype_name}, {counted(threads, 'thread')})."
    )


def _errors(result: FitResult) -> list[tuple[str, str]]:
    """The row about standard errors, if there are any."""
    found = result.inference
    if found is None:
        return []
    sizes = {"resamples": "fits", "clusters": "clusters"}
    of = [f"of {found.facts[name]} {noun}" for name, noun in sizes.items() if name in found.facts]
    return [("se", " ".join([found.method, *of, f"in {found.seconds:.2f} s"]))]


def _report(say: Console, outcome: Outcome) -> None:
    """The short table that ends every fit."""
    from plncli.models.findings import LOOK, told

    result, criteria, optimum = outcome.result, outcome.result.criteria, outcome.result.optimum
    rows = [
        (outcome.config.spec.likelihood, f"{criteria.loglik:z.4f}"),
        ("parameters", str(criteria.n_parameters)),
        ("aic", f"{criteria.aic:.2f}"),
        ("bic", f"{criteria.bic:.2f}"),
        ("icl", f"{criteria.icl:.2f}"),
        ("r2", f"{criteria.r2:.4f}"),
        ("status", optimum.status.name.lower()),
        ("gap", f"{optimum.gap:.2g} nats"),
        ("steps", f"{optimum.steps} in {optimum.seconds:.2f} s"),
        *_errors(result),
    ]
    say.table([(name, value) for name, value in rows if not value.startswith("nan")])
    for check in told(outcome.checks):
        say.warn(check.line) if check.state == LOOK else say.note(f"note: {check.line}")
