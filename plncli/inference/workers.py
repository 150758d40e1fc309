"""Many independent fits, shared among processes: the same numbers come from one or from many, in any order.

What a part finds depends on its index alone, and each process has one thread. Workers end when the program does.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Protocol

import torch

from plncli.errors import DeviceError
from plncli.models.uncertainty import Interrupted
from plncli.progress import Done, OnDone

WORTH = 3.0
"""Seconds that worker processes must save: each takes about 1.5 to load torch, and a second core may be busy."""
LOOK = 0.1  # seconds between two looks at whether to go on


class Kept(Protocol):
    """Answers of an earlier time, and what keeps those of now."""

    @property
    def found(self) -> Mapping[int, Any]:
        """Answers by the index of their part."""
        ...

    def keep(self, index: int, answer: Any) -> None:
        """Keep one."""
        ...


class WorkerLost(DeviceError):
    """A worker process ended by itself."""


class Task(Protocol):
    """Work in parts. It is pickled, so its functions are those of modules."""

    @property
    def on_cpu(self) -> bool:
        """Whether processes can share it: they would be in each other's way on another device."""
        ...

    def __len__(self) -> int:
        """Number of parts."""
        ...

    def name(self, index: int) -> str:
        """What that part is called."""
        ...

    def part(self, index: int, cancelled: Callable[[], bool] = lambda: False) -> Any:
        """What that part finds; raises Interrupted when `cancelled` says so."""
        ...


def shared(
    task: Task,
    workers: int,
    on_done: OnDone | None,
    cancelled: Callable[[], bool],
    kept: Kept | None = None,
    threads: int = 1,
) -> list[Any]:
    """All parts of a task, in order, by at most so many processes; in this one as long as others are not worth it.

    kept: has answers of an earlier time, which are taken as they are, and keeps the others.

    on_done is told of each part that is done. Raises Interrupted when `cancelled` says so, and
    WorkerLost. threads: of each part; more than one round differently, and wait for each other.
    """
    total = len(task)
    done: dict[int, Any] = {} if kept is None else {i: kept.found[i] for i in range(total) if i in kept.found}
    todo, known = [i for i in range(total) if i not in done], len(done)
    began = time.perf_counter()

    def add(index: int, answer: Any, seconds: float) -> None:
        done[index] = answer
        if kept is not None:
            kept.keep(index, answer)
        if on_done is not None:
            on_done(Done(len(done), total, task.name(index), seconds))

    with _threads(threads):
        for index in todo:
            if cancelled():
                raise Interrupted
            add(index, *_timed(task, index, cancelled))
            left = (time.perf_counter() - began) / (len(done) - known) * (total - len(done))
            workers = min(workers, total - len(done))
            if task.on_cpu and workers > 1 and left * (1.0 - 1.0 / workers) > WORTH:
                break
    if len(done) < total:
        _share(task, [index for index in todo if index not in done], workers, threads, add, cancelled)
    return [done[index] for index in range(total)]


def _timed(task: Task, index: int, cancelled: Callable[[], bool]) -> tuple[Any, float]:
    """What a part finds, and the seconds that it took."""
    began = time.perf_counter()
    return task.part(index, cancelled), time.perf_counter() - began


@contextmanager
def _threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


SERVE = "import sys; sys.path[:] = {path!r}; from plncli.inference.workers import serve; serve({parent}, {threads})"
"""What a worker runs. Not multiprocessing: that would run the program's main module again, or fork torch's threads."""


def _share(
    task: Task,
    indices: Sequence[int],
    workers: int,
    threads: int,
    add: Callable[[int, Any, float], None],
    cancelled: Callable[[], bool],
) -> None:
    """Let worker processes do the parts, each handed one at a time, and end them whatever happens.

    They have sessions of their own, so that Ctrl-C reaches this process alone, and end by themselves when it is gone.
    """
    content = pickle.dumps(task)
    todo: SimpleQueue[int] = SimpleQueue()
    answers: SimpleQueue[tuple[int, Any, float]] = SimpleQueue()
    for index in indices:
        todo.put(index)
    command = [sys.executable, "-c", SERVE.format(path=sys.path, parent=os.getpid(), threads=threads)]
    settings = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(workers):
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                env=settings,
            )
            processes.append(process)
            Thread(target=_attend, args=(process, content, todo, answers), daemon=True).start()
        left = len(indices)
        while left:
            if cancelled():
                raise Interrupted
            with suppress(Empty):
                index, answer, seconds = answers.get(timeout=LOOK)
                if isinstance(answer, BaseException):
                    raise answer
                add(index, answer, seconds)
                left -= 1
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()


def _attend(
    process: subprocess.Popen[bytes],
    content: bytes,
    todo: SimpleQueue[int],
    answers: SimpleQueue[tuple[int, Any, float]],
) -> None:
    """Hand a worker one index after the other; a thread for each worker."""
    assert process.stdin is not None and process.stdout is not None
    try:
        process.stdin.write(content)
        while True:
            index = todo.get_nowait()
            pickle.dump(index, process.stdin)
            process.stdin.flush()
            answers.put((index, *pickle.load(process.stdout)))
    except Empty:
        return
    except (OSError, EOFError, pickle.UnpicklingError):
        answers.put((-1, WorkerLost(_lost(process.wait())), 0.0))
    except BaseException as error:  # noqa: BLE001 (it is raised again where the work is waited for)
        answers.put((-1, error, 0.0))


def _lost(code: int) -> str:
    how = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
    why = ", as the system does where memory runs out" if code == -9 else ""
    return f"A worker process ended before its work was done ({how}{why}). Use fewer (--workers 1 fits in one process)."


def serve(parent: int, threads: int = 1) -> None:
    """The life of a worker: a task, then indices, come in on standard input; what is found goes out, pickled."""
    source, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing else may write among the answers
    torch.set_num_threads(threads)
    with suppress(EOFError, BrokenPipeError):
        task: Task = pickle.load(source)
        while True:
            index = pickle.load(source)
            try:
                answer: Any = _timed(task, index, lambda: os.getppid() != parent)
            except Exception as error:  # noqa: BLE001 (it is raised again where the user is)
                answer = error, 0.0
            pickle.dump(answer, answers)
            answers.flush()
