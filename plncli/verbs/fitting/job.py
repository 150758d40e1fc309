"""One fit of tables that were read: run, judged and told."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from plncli import ranks
from plncli import settings as configuration
from plncli.cancellation import Cancellation
from plncli.console import Console
from plncli.errors import counted, some
from plncli.settings import FitConfig
from plncli.verbs.fitting import sharing
from plncli.verbs.fitting.keeping import Keep
from plncli.verbs.planning import model_of, named_tables
from plncli.verbs.show import choice

if TYPE_CHECKING:
    from plncli.dataset import Dataset
    from plncli.inputs.loading import Inputs
    from plncli.models.base import Init
    from plncli.models.findings import Finding
    from plncli.optim.base import Optimizer
    from plncli.results import FitResult
    from plncli.runs.outcome import Outcome
    from plncli.runtime import Runtime
    from plncli.tables.table import Table


@dataclass(frozen=True)
class Job:
    """Tables that were read, where they are fitted, how, and who is told; began: when all of it did, in seconds.

    whole: all samples, on the first process of several, where `read` has those of one.
    """

    read: Inputs
    where: Runtime
    optimizer: Optimizer
    say: Console
    state: Cancellation
    command: str
    began: float
    started: datetime
    whole: Dataset | None = None

    @staticmethod
    def begun(
        config: FitConfig, say: Console, state: Cancellation, command: str, given: Mapping[str, Table] | None
    ) -> Job:
        """Read what a configuration names (given: see `inputs.load`), and say what is fitted."""
        from plncli import optim, runtime
        from plncli.inputs.blocks.loading import load_for_fit

        began, started = time.perf_counter(), datetime.now(UTC)
        optimizer = optim.build(config.optimizer, config.learning_rate)
        where = runtime.start(config.device, config.dtype, config.seed)
        with say.stage(f"reading {some(named_tables(config))}"):
            read = load_for_fit(config, device=where.device, dtype=where.dtype, given=given)
        sharing.checked(read)
        threads = runtime.use_threads(read.data.n, read.data.p, read.data.d, config.threads)
        _report_inputs(say, config, read, where, threads)
        return Job(read, where, optimizer, say, state, command, began, started)

    def fit(
        self, config: FitConfig, init: Init | None, method: str | Finding, workers: int, keep: Keep | None
    ) -> FitResult:
        """Fit as a configuration says, with standard errors by `method`; its state is kept where `keep` says.

        Where several processes share the samples, the fit of all of them is the first one's.
        """
        with ranks.together():
            result = self._fit(config, init, method, workers, keep)
        return result if self.whole is None else sharing.whole(result, self.whole)

    def shared(self, init: Init | None) -> tuple[Job, Init | None]:
        """The job of this process, and what of an earlier fit is of its samples."""
        if ranks.known() is None:
            return self, init
        here, init = sharing.own(self.read, init)
        return replace(self, read=here, whole=here.data if ranks.follows() else self.read.data), init

    def _fit(
        self, config: FitConfig, init: Init | None, method: str | Finding, workers: int, keep: Keep | None
    ) -> FitResult:
        """The same of the samples that are here."""
        from plncli.fitting import fit as run
        from plncli.inference.resampling import Resampling
        from plncli.inference.wald import InferenceRule
        from plncli.optim.base import StopRule
        from plncli.runs.trace import watched

        read, say = self.read, self.say
        limit = StopRule().time_limit if config.time_limit is None else config.time_limit
        stop = StopRule(config.tol, config.max_iter, limit, sharing.asking(self.state))
        self.state.savable = True
        name = config.spec.likelihood
        show = say.fitting(name, config.tol * read.data.total_weight)
        kept, found = keep.begin(config, read, say) if keep else (None, None)
        keeper, begun = sharing.keeping(kept), sharing.agreeing(found)
        out, events = (None, None) if ranks.follows() else (keep.out if keep else None, config.tensorboard)
        with watched(out, name, events, show, say.note) as on_step, sharing.rescuing(keeper):
            result = run(
                model_of(config, read),
                read.data,
                self.optimizer,
                stop,
                on_step,
                InferenceRule(method, config.level, config.vcov, say.waiting("standard errors")),
                init=init,
                seed=config.seed,
                on_search=say.waiting("looking for a start"),
                resampling=Resampling(
                    config.resamples, config.seed, workers, say.counting(config.se), keep.journal if keep else None
                ),
                offer=None if keeper is None else keeper.offer,
                state=begun,
            )
        say.clear()
        if isinstance(keeper, sharing.Collecting) and result.cut_short:
            keeper.tell()
        matched = () if read.positions is None else (read.positions.finding,)
        return replace(result, findings=(*matched, *result.findings))

    def exit_code(self, config: FitConfig, result: FitResult) -> int:
        """Whether the fit converged, and was done to its end."""
        if result.optimum.status.name == "INTERRUPTED" or self.state.cancelled():
            return 128 + self.state.signum
        return 0 if (result.done and not result.cut_short) or config.allow_unconverged else 4

    def outcome(self, config: FitConfig, result: FitResult) -> Outcome:
        """All that the files of the fit tell."""
        from plncli import runtime
        from plncli.runs.folder import with_checks
        from plncli.runs.outcome import Outcome
        from plncli.runs.run import SCHEMA_VERSION

        read, where, code = self.read, self.where, self.exit_code(config, result)
        design = read.design.to_json()
        if read.size_factors is not None:
            design["size_factors"] = read.size_factors.to_json()
        manifest = {
            "schema_version": SCHEMA_VERSION,
            "command": self.command,
            "folder": str(Path.cwd()),
            "configuration": configuration.applying(config),
            **runtime.describe(where),
            "seed": config.seed,
            "inputs": [asdict(source) for source in read.sources],
            "dropped": [asdict(drop) for drop in read.dropped],
            "by_position": read.positions.tables if read.positions else (),
            "notes": read.notes,
            "start": self.started.isoformat(),
            "end": datetime.now(UTC).isoformat(),
            "exit_code": code,
            "cut_short": result.cut_short or code in (130, 143),
            **sharing.recorded(),
        }
        seconds = time.perf_counter() - self.began
        known = (result, config, design, read.classes, where.device_name, seconds, manifest)
        return with_checks(Outcome(*known, features=read.features))


def _report_inputs(say: Console, config: FitConfig, read: Inputs, where: Runtime, threads: int) -> None:
    from plncli.dataset import Stored

    data = read.data
    for source in read.sources:
        say.detail(f"read {source.role} from {source.path}: {' × '.join(map(str, source.shape))}")
    if read.positions:
        say.warn(read.positions.finding.message)
    for note in read.notes:
        say.note(f"note: {note}")
    spec, structure = config.spec, config.spec.structure(config.own)
    what = f"{spec.name} ({structure} covariance)" if structure else spec.name
    for name, value in spec.told(config.own).items():
        setting = spec.setting(name)
        what += f" ({setting.title(value) or value if setting else value})"
    if config.path is not None:
        what += f" along {_values(config, config.path)}"
    say.note(
        f"Fitting {what}: {counted(data.n, 'sample')} × {counted(data.p, spec.noun)}, "
        f"{counted(data.d, 'coefficient')} each ({some(data.terms)}), "
        f"by {config.optimizer} on {where.device_name} "
        f"({where.dtype_name}, {counted(threads, 'thread')}{sharing.told()})."
    )
    if isinstance(data, Stored) and data.source is not None:
        say.note(f"note: The rows stay in {read.sources[0].path}, and are read by blocks of {data.source.rows}.")


def _values(config: FitConfig, path: str) -> str:
    values = config.own[path]
    return f"{path} {', '.join(map(str, values))}" if isinstance(values, tuple) else f"{values} values of {path}"


def _starts(result: FitResult) -> list[tuple[str, str]]:
    """The row about searches from several starts, if there were any."""
    starts = result.optimum.starts
    if starts is None:
        return []
    others = "" if starts.agree == starts.number else f", the others end up to {starts.worst:.4g} nats below"
    return [("starts", f"{starts.agree} of {starts.number} found this optimum{others}")]


def _training(result: FitResult) -> list[tuple[str, str]]:
    """The rows about samples held out and the step that was kept, if it was trained."""
    facts, kept = result.facts, result.optimum.kept
    if kept is None:
        return []
    known = ("held_out_loss", "training_loss")
    rows = [(name.replace("_", " "), f"{facts[name]:.4f} nats a sample") for name in known if name in facts]
    return [("kept", f"step {kept}"), ("weights", f"{facts['n_weights']:.0f}"), *rows]


def _errors(result: FitResult) -> list[tuple[str, str]]:
    """The row about standard errors, if there are any."""
    found = result.inference
    if found is None:
        return []
    sizes = {"resamples": "fits", "clusters": "clusters"}
    of = [f"of {found.facts[name]} {noun}" for name, noun in sizes.items() if name in found.facts]
    return [("se", " ".join([found.method, *of, f"in {found.seconds:.2f} s"]))]


def report(say: Console, outcome: Outcome) -> None:
    """The short table that ends every fit."""
    from plncli.models.findings import LOOK, told

    result, criteria, optimum = outcome.result, outcome.result.criteria, outcome.result.optimum
    rows = [
        *([("chosen", choice(outcome.path.told()))] if outcome.path else []),
        (outcome.config.spec.likelihood, f"{criteria.loglik:z.4f}"),
        ("parameters", str(criteria.n_parameters)),
        ("aic", f"{criteria.aic:.2f}"),
        ("bic", f"{criteria.bic:.2f}"),
        ("icl", f"{criteria.icl:.2f}"),
        ("r2", f"{criteria.r2:.4f}"),
        ("status", optimum.status.name.lower()),
        ("gap", f"{optimum.gap:.2g} nats"),
        ("steps", f"{optimum.steps} in {optimum.seconds:.2f} s"),
        *_training(result),
        *_starts(result),
        *_errors(result),
    ]
    say.table([(name, value) for name, value in rows if not value.startswith("nan")])
    for check in told(outcome.checks):
        say.warn(check.line) if check.state == LOOK else say.note(f"note: {check.line}")
