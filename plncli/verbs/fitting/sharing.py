"""A fit whose samples are shared among processes: what each of them reads, keeps and leaves."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plncli import ranks
from plncli import settings as configuration
from plncli.cancellation import Cancellation
from plncli.errors import DataError, RankLost, UsageError
from plncli.names import RESAMPLING
from plncli.settings import FitConfig
from plncli.verbs.fitting.keeping import Keep

if TYPE_CHECKING:
    from plncli.console import Console
    from plncli.dataset import Dataset
    from plncli.inputs.loading import Inputs
    from plncli.models.base import Init
    from plncli.optim.base import State
    from plncli.results import FitResult
    from plncli.runs.unfinished.checkpoints import Keeper

GO_ON = -1
"""What the first rank tells the others where there is something to do, in the place of an exit code."""


def check(config: FitConfig) -> None:
    """UsageError for a fit whose samples cannot be shared among several processes; of one by itself, nothing."""
    place = ranks.announced()
    if place is None:
        return
    names = configuration.settings(config.model)
    reason = config.spec.shares({**config.own, "covariance": config.spec.structure(config.own)})
    if config.path is not None:
        reason = reason or f"a path of fits, along {config.path}"
    if config.se in RESAMPLING:
        reason = reason or f"--se {config.se}"
    if config.value("cluster"):
        reason = reason or "--cluster"
    if any(config.value(name) == "-" for name, setting in names.items() if setting.path):
        reason = reason or "a table from standard input"
    if reason:
        raise UsageError(
            f"{reason[0].upper()}{reason[1:]} cannot be fitted by several processes ({place[1]} were started). "
            "Run one of them, without torchrun."
        )


def join(config: FitConfig) -> None:
    """Meet the other processes, if there are any."""
    if ranks.announced() is not None:
        check(config)
        from plncli import runtime

        runtime.join(runtime.start(config.device, config.dtype, config.seed))


def checked(read: Inputs) -> None:
    """DataError where processes have read different tables, or there are more of them than samples."""
    group = ranks.known()
    if group is None:
        return
    import torch

    digest = hashlib.sha256("".join(str(source.sha256) for source in read.sources).encode())
    numbers = torch.tensor([*digest.digest()[:8], read.data.n, read.data.p, read.data.d])
    if not torch.equal(group.least(numbers), group.most(numbers)):
        raise DataError("The processes have read different tables: a file differs from one machine to another.")
    if group.number > read.data.n:
        raise DataError(
            f"{group.number} processes are more than the {read.data.n} samples that they would share. Start fewer."
        )


def told() -> str:
    """How many processes share the fit, as the end of a sentence."""
    group = ranks.known()
    return "" if group is None else f" in each of {group.number} processes"


def recorded() -> dict[str, int]:
    """The same for the manifest."""
    group = ranks.known()
    return {} if group is None else {"processes": group.number}


def own(read: Inputs, init: Init | None) -> tuple[Inputs, Init | None]:
    """What this process keeps: its samples, a run of them in order, and of an earlier fit what is of these."""
    group = ranks.known()
    if group is None:
        return read, init
    from plncli.dataset import Stored
    from plncli.models.base import INIT

    if isinstance(read.data, Stored):
        return replace(read, data=read.data.share(group.own, group.number)), init
    n = read.data.n
    rows = slice(n * group.own // group.number, n * (group.own + 1) // group.number)
    data = _part(read.data, rows)
    if init is not None:
        axes = {name: INIT[name].index("sample") for name in init if "sample" in INIT[name]}
        init = {
            name: table.movedim(axes[name], 0)[rows].movedim(0, axes[name]) if name in axes else table
            for name, table in init.items()
        }
    return replace(read, data=data), init


def _part(data: Dataset, rows: slice) -> Dataset:
    """Some samples; on the first process as views of all, which it needs at the end."""
    import torch

    from plncli.sparse import taken

    cut = {letter: getattr(data, letter) for letter in ("X", "O", "w", "K", "X0", *([] if data.sparse else ["Y"]))}
    parts: dict[str, Any] = {
        letter: None if table is None else table[rows].clone() if ranks.follows() else table[rows]
        for letter, table in cut.items()
    }
    if data.sparse:
        parts["Y"] = taken(data.Y, torch.arange(data.n, device=data.Y.device)[rows])
    return replace(data, samples=data.samples[rows], **parts)


def whole(result: FitResult, data: Dataset) -> FitResult:
    """The fit of all samples, on the first process; on the others what they have. data: of all samples."""
    group = ranks.known()
    if group is None:
        return result
    of_samples = {symbol.name for symbol in result.model.spec.symbols if symbol.axes[:1] == ("sample",)}

    def collected(tables: Mapping[str, Any]) -> dict[str, Any]:
        return {name: group.collected(table) if name in of_samples else table for name, table in tables.items()}

    estimates, state = collected(result.estimates), collected(result.state)
    return result if group.own else replace(result, data=data, estimates=estimates, state=state)


def asking(state: Cancellation) -> Callable[[], bool]:
    """Whether the fit was asked to end, on any of the processes; all of them ask together."""
    if ranks.known() is None:
        return state.cancelled

    def asked() -> bool:
        import torch

        group = ranks.now()
        if group is None:
            return ranks.agreed(state.cancelled())
        state.signum = int(group.most(torch.tensor([state.signum]))[0])
        return state.cancelled()

    return asked


class Following(Keep):
    """Of another process than the first: nothing is kept, and a fit that is taken up is read."""

    def begin(  # type: ignore[override]
        self, config: FitConfig, read: Inputs, say: Console
    ) -> tuple[Keeper | None, State | None]:
        """Nothing that keeps, and the state from which the fit goes on, if there is one."""
        from plncli.runs.unfinished import checkpoints

        del say
        if not self.resume:
            return None, None
        return None, checkpoints.taken_up(self.out, checkpoints.about_fit(config, read.sources))[0]


def agreeing(state: State | None) -> State | None:
    """The state; DataError where not all processes have found it."""
    if ranks.agreed(state is None) and state is not None:
        raise DataError("Not all processes see the checkpoint: its folder must be one that all machines share.")
    return state


class Collecting:
    """Told the state between two steps on each process; on the first a keeper is told that of all samples, in time."""

    def __init__(self, keeper: Keeper | None) -> None:
        self.keeper = keeper
        self.latest: State | None = None

    def offer(self, state: State) -> None:
        """Told the state of the samples here."""
        self.latest = state
        if ranks.agreed(self.keeper is not None and self.keeper.due):
            self.tell()

    def tell(self) -> None:
        """Tell the keeper what was offered last."""
        if self.latest is not None:
            state = self.latest.of_all()
            if self.keeper is not None:
                self.keeper.offer(state)

    @contextmanager
    def rescuing(self) -> Iterator[None]:
        """Where another process is lost, save what was offered last, if all have the same."""
        try:
            yield
        except RankLost:
            if self.keeper is not None and self.latest is not None and self.latest.collect is None:
                self.keeper.offer(self.latest)
                self.keeper.save()
            raise


def keeping(keeper: Keeper | None) -> Keeper | Collecting | None:
    """What is told the state of a fit."""
    return keeper if ranks.known() is None else Collecting(keeper)


def rescuing(keeper: Keeper | Collecting | None) -> AbstractContextManager[None]:
    """See `Collecting.rescuing`."""
    return keeper.rescuing() if isinstance(keeper, Collecting) else nullcontext()


def follow(fitted: Callable[[Keep], object], out: Path, *, resume: bool) -> int:
    """The part of another process than the first, which speaks and writes; the exit code is the first one's."""
    code = ranks.told(None)
    if code != GO_ON:
        return code
    fitted(Following(out, resume))
    return ranks.told(None)
