"""Processes that share the samples of a fit: which of them this one is, and what they tell each other.

`torchrun` starts them and tells them by the environment which they are (`announced`). While a fit is on (`together`)
each has samples of its own, and all that is summed over samples is summed over ranks too; elsewhere, in the work on a
block of rows, and where all rows are at hand (`alone`), each is by itself. All ranks run the same program, so each must
come to the same decisions: what a clock, a signal or rounding decides is `agreed` on, or the `same` as on the first.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from plncli.errors import RankLost, UsageError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

T = TypeVar("T")
PLACE = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""Variables of the environment by which torchrun tells a process its place."""
PATIENCE = timedelta(days=30)
"""How long a rank waits for another that is alive: the first may write for long."""
WORD = timedelta(seconds=3)
"""How long a rank that has lost another waits for what that says of it."""
ENDED, SPOKEN, HEARD = "plncli/ended", "plncli/spoken", "plncli/heard"


@dataclass(frozen=True)
class Ranks:
    """The processes of a run. number: how many; own: which this is, from 0; device: where what they exchange lies.

    store: texts by name, which all of them see, also where one has failed.
    """

    number: int
    own: int
    device: torch.device
    store: Any = field(repr=False)

    def summed(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """The sums over ranks of tensors of one type, in one exchange, the same bits on all."""
        return self._reduced(tensors, "SUM")

    def least(self, tensor: Tensor) -> Tensor:
        """The smallest over ranks, entry by entry."""
        return self._reduced((tensor,), "MIN")[0]

    def most(self, tensor: Tensor) -> Tensor:
        """The largest over ranks, entry by entry."""
        return self._reduced((tensor,), "MAX")[0]

    def _reduced(self, tensors: Sequence[Tensor], how: str) -> tuple[Tensor, ...]:
        import torch
        from torch import distributed

        if any(tensor.requires_grad for tensor in tensors) and torch.is_grad_enabled():
            raise NotImplementedError("Sums over ranks have no derivatives of autograd's; the model must know its own.")
        kind, home = tensors[0].dtype, tensors[0].device
        parts = [tensor.detach().reshape(-1) for tensor in tensors]
        whole = parts[0].clone() if len(parts) == 1 else torch.cat(parts)
        whole = (whole.to(torch.uint8) if kind == torch.bool else whole).to(self.device)
        if whole.numel():
            self.heard(lambda: distributed.all_reduce(whole, getattr(distributed.ReduceOp, how)))
        found = whole.to(home, kind).split([tensor.numel() for tensor in tensors])
        return tuple(part.view(tensor.shape) for part, tensor in zip(found, tensors, strict=True))

    def counts(self, number: int) -> list[int]:
        """A whole number of each rank, in order."""
        import torch

        of_each = torch.zeros(self.number, dtype=torch.int64)
        of_each[self.own] = number
        return self.summed(of_each)[0].tolist()

    def gathered(self, rows: Tensor) -> Tensor:
        """The rows (n×anything) of all ranks, in order, on each of them."""
        import torch
        from torch import distributed

        sizes = self.counts(len(rows))
        padded = rows.new_zeros((max(sizes), *rows.shape[1:]), device=self.device)
        padded[: len(rows)] = rows.detach()
        sent = padded.to(torch.uint8) if rows.dtype == torch.bool else padded
        parts = [torch.empty_like(sent) for _ in sizes]
        if sent.numel():
            self.heard(lambda: distributed.all_gather(parts, sent))
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)]).to(rows.device, rows.dtype)

    def collected(self, rows: Tensor) -> Tensor | None:
        """The rows (n×anything) of all ranks, in order, on the first; None on the others."""
        import torch
        from torch import distributed

        sizes = self.counts(len(rows))
        sent = rows.detach().to(self.device, torch.uint8 if rows.dtype == torch.bool else rows.dtype).contiguous()
        if self.own:
            self.heard(lambda: distributed.send(sent, 0))
            return None
        whole = sent.new_empty((sum(sizes), *sent.shape[1:]))
        whole[: len(sent)] = sent
        place = len(sent)
        for rank, size in enumerate(sizes[1:], start=1):
            part = sent.new_empty((size, *sent.shape[1:]))
            self.heard(lambda part=part, rank=rank: distributed.recv(part, rank))  # type: ignore[misc]
            whole[place : place + size] = part
            place += size
        return whole.to(rows.device, rows.dtype)

    def first(self, numbers: Tensor) -> Tensor:
        """The numbers of the first rank, of that shape and type on all."""
        from torch import distributed

        sent = numbers.detach().to(self.device).clone()
        self.heard(lambda: distributed.broadcast(sent, 0))
        return sent.to(numbers.device)

    def heard(self, exchange: Callable[[], T]) -> T:
        """What an exchange gives; RankLost where another rank is not there any more."""
        try:
            return exchange()
        except RuntimeError as error:
            raise RankLost(
                f"One of the {self.number} processes has ended without a word: it was killed, for want of memory "
                "perhaps, or its machine was lost. No results were written."
            ) from error


_known: Ranks | None = None
_fitting = False
_work = threading.local()


def announced(environ: Mapping[str, str] = os.environ) -> tuple[int, int] | None:
    """Which process this is, and of how many, where torchrun started several; UsageError where it says what cannot be.

    None of one by itself.
    """
    if not all(environ.get(name) for name in PLACE):
        return None
    try:
        own, number = int(environ["RANK"]), int(environ["WORLD_SIZE"])
    except ValueError:
        own, number = -1, 0
    if not 0 <= own < max(number, 1):
        raise UsageError(
            f"RANK={environ['RANK']} and WORLD_SIZE={environ['WORLD_SIZE']} of the environment are no place among "
            "processes: start them with torchrun, or unset them."
        )
    return (own, number) if number > 1 else None


def start(device: torch.device, backend: str, environ: Mapping[str, str] = os.environ) -> Ranks | None:
    """Join the others, whose exchanges will be of tensors on a device; None for a process by itself.

    backend: of torch.distributed, as it names them.
    """
    global _known
    place = announced(environ)
    if place is None or _known is not None:
        return _known
    from torch import distributed

    own, number = place
    store = meeting(environ)
    try:
        distributed.init_process_group(backend, store=store, rank=own, world_size=number, timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        raise RankLost(f"The {number} processes could not reach each other: {str(error).splitlines()[0]}.") from error
    _known = Ranks(number, own, device, store)
    return _known


def meeting(environ: Mapping[str, str] = os.environ) -> Any:
    """The store where the ranks meet."""
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    own, number = int(environ["RANK"]), int(environ["WORLD_SIZE"])
    where = environ["MASTER_ADDR"], int(environ["MASTER_PORT"])
    return TCPStore(*where, number, is_master=own == 0 and not _hosted(environ), wait_for_workers=False)


def _hosted(environ: Mapping[str, str]) -> bool:
    """Whether torchrun itself keeps the store, so that it is there whoever fails."""
    return environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"


def known() -> Ranks | None:
    """The processes of this run, None for one by itself."""
    return _known


def follows() -> bool:
    """Whether this is another rank than the first, which alone speaks and writes."""
    return _known is not None and _known.own > 0


@contextmanager
def together() -> Iterator[None]:
    """Within, samples are shared: sums over them are sums over ranks."""
    global _fitting
    before, _fitting = _fitting, True
    try:
        yield
    finally:
        _fitting = before


@contextmanager
def alone() -> Iterator[None]:
    """Within, in this thread, sums are of the rows at hand."""
    before = getattr(_work, "alone", False)
    _work.alone = True
    try:
        yield
    finally:
        _work.alone = before


def now() -> Ranks | None:
    """The ranks that share the samples, here and now; None where all rows, or those of a block, are at hand."""
    return _known if _fitting and not getattr(_work, "alone", False) else None


def first() -> bool:
    """Whether this is the first of the ranks that share the samples: what all have is its to add to their sums."""
    group = now()
    return group is None or not group.own


def agreed(flag: bool) -> bool:
    """Whether it is so on any rank. Within the work on a block, where nobody can be asked, it is not."""
    if _known is None or not _fitting:
        return flag
    import torch

    group = now()
    return group is not None and bool(group.most(torch.tensor([flag]))[0])


def same(number: float) -> float:
    """The number of the first rank: rounding may differ from one machine to another, and decisions must not."""
    group = now()
    if group is None:
        return number
    import torch

    return float(group.first(torch.tensor([number], dtype=torch.float64))[0])


def told(number: int | None) -> int:
    """A whole number that the first rank tells the others, as its exit code at the end; None: wait for it."""
    if _known is None:
        assert number is not None
        return number
    import torch

    return int(_known.first(torch.tensor([number or 0]))[0])


def last_word(code: int, say: Callable[[], None], *, lost: bool = False) -> int:
    """End with an error, of which the first process to get here tells (`say`); the exit code.

    lost: for want of another process, whose code it is where that has told why.
    """
    environ, place = os.environ, _place()
    if place is None:
        say()
        return code
    if _known is None and not _hosted(environ):  # nobody may be there to be met
        if place[0] == 0:
            say()
        return code
    try:
        store = _known.store if _known is not None else meeting(environ)
        known = _word(store) if lost else None
        if known is None:
            store.set(ENDED, str(code))
            if store.add(SPOKEN, 1) == 1:
                say()
        if store.add(HEARD, 1) < place[1] and place[0] == 0 and not _hosted(environ):
            _stay(store, place[1])
    except RuntimeError:  # nobody is left to ask
        known = None
        say()
    return code if known is None else known


def _place() -> tuple[int, int] | None:
    """As `announced`, and None where the environment says what cannot be."""
    try:
        return announced()
    except UsageError:
        return None


def several() -> bool:
    """Whether this is one of several processes."""
    return _place() is not None


def _word(store: Any) -> int | None:
    """The code with which another process has ended; None where it said nothing."""
    try:
        store.wait([ENDED], WORD)
    except RuntimeError:
        return None
    return int(store.get(ENDED))


def _stay(store: Any, number: int) -> None:
    """Leave the exchanges, but stay until all processes have read why, for the store goes with this one."""
    if _known is not None and _known.device.type == "cpu":
        from torch import distributed

        distributed.destroy_process_group()
    until = time.monotonic() + WORD.total_seconds()
    while store.add(HEARD, 0) < number and time.monotonic() < until:
        time.sleep(0.01)
