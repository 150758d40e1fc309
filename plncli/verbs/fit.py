"""`fit`: from files, or tables, to a folder of results."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from plncli import console, ranks
from plncli import settings as configuration
from plncli.cancellation import Cancellation, cancellation
from plncli.console import Console
from plncli.settings import FitConfig
from plncli.verbs.fitting import sharing
from plncli.verbs.fitting.job import Job, report
from plncli.verbs.fitting.keeping import Keep, KeepPath
from plncli.verbs.fitting.path import along_path
from plncli.verbs.fitting.stability import SUBSAMPLES, stability_of, with_frequencies
from plncli.verbs.groups.judged import FOLDS, check_folds, judged, told
from plncli.verbs.planning import check_memory, init_of, memory_told, model_of

if TYPE_CHECKING:
    from plncli.runs.outcome import Outcome
    from plncli.runs.run import Run
    from plncli.tables.table import Table


def fit(
    config: FitConfig, *, dry_run: bool, resume: bool, json: bool, quiet: bool, verbose: bool, no_progress: bool
) -> int:
    """Read, fit, write, report; the exit code says whether the fit converged."""
    configuration.check(config)
    out = configuration.output_folder(config)
    sharing.join(config)
    if ranks.follows():
        return _followed(config, out, dry_run=dry_run, resume=resume)
    code = _fit(config, out, Console(quiet, verbose, not no_progress), dry_run=dry_run, resume=resume, json=json)
    return ranks.told(code) if ranks.known() else code


def _followed(config: FitConfig, out: Path, *, dry_run: bool, resume: bool) -> int:
    """The part of a process that follows the first."""
    from plncli import runtime

    say = Console(quiet=True, progress=False)
    with cancellation() as state, runtime.memory_guard():
        return sharing.follow(
            lambda keep: fitted(config, say, state, "", dry_run=dry_run, keep=keep), out, resume=resume
        )


def _fit(config: FitConfig, out: Path, say: Console, *, dry_run: bool, resume: bool, json: bool) -> int:
    """The fit, by the first of several processes, or the only one."""
    for sentence in configuration.ignored(os.environ):
        say.note(f"note: {sentence}")
    with cancellation() as state, ExitStack() as stack:
        from plncli import runtime
        from plncli.runs import folder as artifacts
        from plncli.runs.finished import finished
        from plncli.runs.unfinished import checkpoints
        from plncli.tables import writing as output

        if not dry_run:
            stack.enter_context(checkpoints.locked(out))
        if resume and (done := finished(out, config)) is not None:
            say.note(f"The fit in {out} is done already.")
            return int(done["exit_code"])
        checkpoints.check_unfinished(out, resume, config.overwrite)
        config = replace(config, overwrite=config.overwrite or (resume and out.is_dir()))
        artifacts.check_folder(out, config.overwrite)
        if ranks.known() is not None:
            ranks.told(sharing.GO_ON)
        say.detail(f"results go to {out}")
        with runtime.memory_guard():
            command = shlex.join(["plncli", *sys.argv[1:]])
            keep = (Keep if config.path is None else KeepPath)(out, resume)
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
    """Read, fit, report; None for a dry run, and for a process that follows another.

    given: see `inputs.load`; earlier: the run of --init, if it is read; keep: where the results will be, if anywhere.
    """
    job = Job.begun(config, say, state, command, given)
    if config.path is not None:
        assert keep is None or isinstance(keep, KeepPath)
        return along_path(config, job, earlier, dry_run=dry_run, keep=keep)
    check_folds(config, job)
    init = init_of(config, job.read, say, earlier)
    planned, workers, method = check_memory(config, job.read, job.where)
    if dry_run:
        model_of(config, job.read).prepare(job.read.data)  # refuses what a fit would refuse
        say.note(memory_told(planned, job.where))
        return None
    job, init = job.shared(init)
    result = job.fit(config, init, method, workers, keep)
    if ranks.follows():
        return None
    result = judged(config, job, result, workers, keep)
    outcome = job.outcome(config, result)
    if config.own.get(SUBSAMPLES) and not outcome.manifest["cut_short"]:
        outcome = with_frequencies(outcome, stability_of([config], job, workers))
    report(say, outcome)
    if sentence := told(result.facts, str(config.own.get(FOLDS))):
        say.note(sentence)
    return outcome
