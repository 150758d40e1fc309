"""Fixtures that every test may use. Threads are pinned to one: tests run side by side on few cores."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from threading import Thread

import pytest
import tries
from hypothesis import settings
from parsed import parser

import plncli.cli

ROOT = Path(__file__).parent.parent
TIMEOUT = 120  # seconds; a fit of the sample data takes about one

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as in a job of a shell that was started with &
    signal.signal(signal.SIGINT, signal.default_int_handler)
for variable in [name for name in os.environ if name.startswith("PLNCLI_")]:
    del os.environ[variable]  # settings of whoever runs the tests must not change them
# Before torch is loaded, which reads them. Threads that wait sleep, as those of the command do: others want the cores.
os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "NO_COLOR": "1", "COLUMNS": "80"}

# Where a change is judged, the examples are the same each time; where it is made, new ones are tried.
settings.register_profile("untimed", deadline=None)  # a busy machine is no fault of an example
settings.load_profile("untimed")
settings.register_profile("judge", derandomize=True, deadline=None)
if os.environ.get("CI"):
    settings.load_profile("judge")


def pytest_configure(config: pytest.Config) -> None:
    tries.ALL = "not slow" not in config.option.markexpr


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    import torch  # which the process that hands out the tests does without

    if not torch.cuda.is_available():
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))


def pytest_collection_finish() -> None:
    gc.freeze()  # what was imported and collected stays: no use in looking through it again and again


@pytest.fixture(scope="session", autouse=True)
def power_stays() -> Iterator[None]:
    """Nothing waits for the disk, which costs milliseconds a file: a kill loses no written file, a power cut might."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@contextmanager
def piped(content: str | bytes | None) -> Iterator[TextIOWrapper]:
    """What a program would have as its standard input: the end of a pipe with that content, or nothing."""
    if content is None:
        with Path(os.devnull).open() as nothing:
            yield nothing
        return
    reading, writing = os.pipe()
    data = content.encode() if isinstance(content, str) else content

    def write() -> None:
        with suppress(BrokenPipeError), os.fdopen(writing, "wb") as pipe:
            pipe.write(data)

    writer = Thread(target=write)
    writer.start()
    with os.fdopen(reading) as source:
        yield source
    writer.join()


@dataclass(frozen=True)
class Ran:
    """A finished command."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Oaks:
    """Paths of the oaks sample data, as text for a command line."""

    counts: str
    exposure: str
    covariates: str


@pytest.fixture(scope="session")
def oaks() -> Oaks:
    folder = ROOT / "sample_data" / "oaks"
    return Oaks(*(str(folder / f"{name}.csv") for name in ("counts", "exposure", "covariates")))


@pytest.fixture
def run_cli(tmp_path: Path) -> Callable[..., Ran]:
    """Run the installed command in an empty folder, in a process of its own; `stdin` is text or bytes."""

    def run(*args: object, stdin: str | bytes | None = None, env: dict[str, str] | None = None) -> Ran:
        done = subprocess.run(
            [sys.executable, "-m", "plncli", *map(str, args)],
            input=stdin.encode() if isinstance(stdin, str) else stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            timeout=TIMEOUT,
            cwd=tmp_path,
            env=os.environ | (env or {}),
        )
        return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())

    return run


@pytest.fixture
def cli(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Ran]]:
    """The same within this process, where torch is loaded already: for all that needs no process of its own."""
    import torch

    threads = torch.get_num_threads()

    def run(*args: object, stdin: str | bytes | None = None, env: dict[str, str] | None = None) -> Ran:
        capfd.readouterr()
        with monkeypatch.context() as patch, piped(stdin) as source:
            patch.setattr(sys, "stdin", source)
            patch.chdir(tmp_path)
            patch.setattr(sys, "argv", ["plncli", *map(str, args)])
            patch.setattr(plncli.cli, "application", parser)
            for name, value in (env or {}).items():
                patch.setenv(name, value)
            with pytest.raises(SystemExit) as exited:
                plncli.cli.main()
        out, err = capfd.readouterr()
        return Ran(int(exited.value.code or 0), out, err)

    yield run
    torch.set_num_threads(threads)


@pytest.fixture
def unpainted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures of pages are composed and told in words, but of one pixel: most of the time of a page goes there."""
    monkeypatch.setattr("plncli.plots.style.pixels", lambda figure, dpi: (bytes(4), 1, 1))
