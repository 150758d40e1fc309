"""Run one command and report what it cost: wall seconds, CPU seconds, peak memory.

The command is started by a small process of its own, for the operating system counts the memory of whoever starts a
process towards its peak. `python -S -E launch.py LIMIT COMMAND ...` prints the figures as JSON.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def launch(command: list[str], time_limit: float) -> dict[str, Any]:
    """Keys seconds, cpu_seconds, peak_mb, exit_code (None when the limit ended it) and stderr."""
    printed = subprocess.run(
        [sys.executable, "-S", "-E", __file__, str(time_limit), *command], capture_output=True, text=True, check=True
    )
    figures: dict[str, Any] = json.loads(printed.stdout)
    if figures["exit_code"] is None:
        raise TimeoutError(f"no end after {time_limit:g} s")
    return figures


def _measure(time_limit: float, command: list[str]) -> dict[str, Any]:
    with tempfile.TemporaryFile() as errors, Path(os.devnull).open("r+b") as nothing:
        streams = [
            (os.POSIX_SPAWN_DUP2, file.fileno(), number) for number, file in enumerate((nothing, nothing, errors))
        ]
        began = time.perf_counter()
        child = os.posix_spawnp(command[0], command, os.environ, file_actions=streams, setpgroup=0)
        timed_out = []
        signal.signal(signal.SIGALRM, lambda *_: (timed_out.append(1), os.killpg(child, signal.SIGKILL)))
        signal.setitimer(signal.ITIMER_REAL, time_limit)
        _, status, usage = os.wait4(child, 0)
        seconds = time.perf_counter() - began
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        errors.seek(0)
        return {
            "seconds": seconds,
            "cpu_seconds": usage.ru_utime + usage.ru_stime,
            "peak_mb": usage.ru_maxrss * (1e-6 if sys.platform == "darwin" else 1.024e-3),
            "exit_code": None if timed_out else os.waitstatus_to_exitcode(status),
            "stderr": errors.read().decode(errors="replace")[-100_000:],
        }


if __name__ == "__main__":
    json.dump(_measure(float(sys.argv[1]), sys.argv[2:]), sys.stdout)
