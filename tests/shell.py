"""A shell in which `plncli` is born of this process, where torch is loaded already: commands as a reader types them."""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

from forked import RESET
from parsed import parser

import plncli.cli

CLIENT = """#!{python} -SI
import array, json, os, socket, sys
ask = socket.socket(socket.AF_UNIX)
ask.connect({address!r})
what = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
ask.sendmsg([len(what).to_bytes(4, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))])
ask.sendall(what)
sys.exit(int(ask.makefile().read() or 70))
"""
PLAIN = {"NO_COLOR": "1", "COLUMNS": "90", "OMP_NUM_THREADS": "1"}


class Shell:
    """Run scripts of bash in a folder; each `plncli` in them is a fork of this process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        _load()
        self._place = TemporaryDirectory(prefix="plncli-")  # of the program that stands for plncli, and a short path
        place = Path(self._place.name)
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(place / "s"))
        self._socket.listen()
        self._socket.setblocking(False)
        client = place / "plncli"
        client.write_text(CLIENT.format(python=shutil.which("python3"), address=str(place / "s")))
        client.chmod(0o755)
        found = {name: value for name, value in os.environ.items() if not name.startswith("PLNCLI_")}
        self._environment = found | PLAIN | {"PATH": f"{place}{os.pathsep}{os.environ['PATH']}"}

    def run(self, script: str, timeout: float = 300.0) -> tuple[int, str]:
        """The exit code of the script, which stops at the first command that fails, and all that it printed."""
        shell = subprocess.Popen(
            ["bash", "-e", "-o", "pipefail", "-c", script],
            cwd=self.folder, env=self._environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert shell.stdout is not None
        os.set_blocking(shell.stdout.fileno(), False)
        said, running, until = bytearray(), dict[int, socket.socket](), time.monotonic() + timeout
        try:
            while shell.poll() is None:
                said += shell.stdout.read() or b""
                self._answer(running)
                if time.monotonic() > until:
                    raise subprocess.TimeoutExpired("bash", timeout)
                time.sleep(0.002)
        finally:
            shell.kill()
            for pid in running:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
        said += shell.stdout.read() or b""
        shell.stdout.close()
        return shell.returncode, said.decode()

    def _answer(self, running: dict[int, socket.socket]) -> None:
        """Start what is asked for, and tell of what has ended."""
        with suppress(BlockingIOError):
            ask, _ = self._socket.accept()
            ask.setblocking(True)
            length, streams, _, _ = socket.recv_fds(ask, 4, 3)
            words, folder, environment = json.loads(ask.makefile("rb").read(int.from_bytes(length, "big")))
            pid = os.fork()
            if not pid:
                _become(words, folder, environment, streams)
            for stream in streams:
                os.close(stream)
            running[pid] = ask
        for pid in [*running]:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                with suppress(BrokenPipeError), running.pop(pid) as ask:
                    ask.sendall(str(os.waitstatus_to_exitcode(status) % 256).encode())

    def close(self) -> None:
        """Answer no more."""
        self._socket.close()
        self._place.cleanup()


@cache
def _load() -> None:
    """Load all of the program, that a command need not."""
    for module in pkgutil.walk_packages(plncli.__path__, "plncli."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


def _become(words: list[str], folder: str, environment: Mapping[str, str], streams: list[int]) -> NoReturn:
    """Be the command, and never come back."""
    gc.freeze()  # what the tests made is no concern of its collector
    try:
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        for signum in RESET:
            signal.signal(signum, signal.default_int_handler if signum == signal.SIGINT else signal.SIG_DFL)
        opened: Any = open  # not closed: they live as long as the process
        sys.stdin, sys.stdout = opened(0, closefd=False), opened(1, "w", closefd=False)
        sys.stderr = opened(2, "w", buffering=1, closefd=False)
        sys.argv = ["plncli", *words]
        plncli.cli.application = parser
        plncli.cli.program()
    finally:
        os._exit(70)
