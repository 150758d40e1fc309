"""The job script of the docs, under a queue that stops jobs early, kills them, and starts them again."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from conftest import ROOT, Oaks
from forked import kept_since

from plncli.runs.reproduction import compared

SRUN = '#!/bin/bash\necho $$ > step.pid\nexec "$@"\n'
SCONTROL = '#!/bin/bash\n[ "$1" = requeue ] && echo "$2" >> requeued\n'
SLOW = {"PLNCLI_SE": "none", "PLNCLI_CHECKPOINT_EVERY": "0.1", "PLNCLI_TOL": "1e-7"}
"""What makes the fit of the script long enough to be stopped; the script itself is as the docs have it."""


def script() -> str:
    """The job script in the docs."""
    page = (ROOT / "docs" / "howto" / "long-fits.md").read_text(encoding="utf-8")
    found = re.search(r"^```bash\n(#!/bin/bash\n#SBATCH.*?)^```$", page, re.M | re.S)
    assert found is not None
    return found.group(1)


class Queue:
    """A folder with the job's tables, and programs by the names of Slurm's."""

    def __init__(self, folder: Path, oaks: Oaks, optimizer: str) -> None:
        self.folder = folder
        programs = folder / "bin"
        programs.mkdir()
        for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        for name in ("counts", "exposure"):
            shutil.copy(getattr(oaks, name), folder / f"{name}.csv")
        (folder / "job.sh").write_text(script())
        path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]])
        slow = {**SLOW, "PLNCLI_OPTIMIZER": optimizer, "SLURM_JOB_ID": "7", "OMP_NUM_THREADS": "1"}
        self.environment = os.environ | slow | {"PATH": path}

    def start(self) -> subprocess.Popen[str]:
        """Start the job, in a process group of its own."""
        for name in ("requeued", "step.pid"):
            (self.folder / name).unlink(missing_ok=True)
        return subprocess.Popen(
            ["bash", "job.sh"],
            cwd=self.folder,
            env=self.environment,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def kept_after(self, moment: float) -> bool:
        """Whether the fit has kept its state since that time."""
        return kept_since(self.folder / "runs/pln.checkpoint", moment)

    @property
    def requeued(self) -> bool:
        """Whether the job has asked to be queued again."""
        return (self.folder / "requeued").exists()


def test_the_job_script_of_the_docs_is_one(tmp_path: Path) -> None:
    (tmp_path / "job.sh").write_text(script())
    assert subprocess.run(["bash", "-n", "job.sh"], cwd=tmp_path).returncode == 0


@pytest.mark.slow  # four processes and more that begin from nothing; signals and kills are tried with `Forked`
@pytest.mark.parametrize(("optimizer", "most"), [("rprop", 2), ("sgd", 4)])
def test_the_job_script_of_the_docs_ends_in_the_same_bits(
    tmp_path: Path, oaks: Oaks, optimizer: str, most: int
) -> None:
    queue, chance, met = Queue(tmp_path, oaks, optimizer), random.Random(most), Counter[str]()
    while True:
        began, process = time.time(), queue.start()
        while met.total() < most and process.poll() is None and not queue.kept_after(began):
            time.sleep(0.02)
        if met.total() < most and process.poll() is None:
            time.sleep(chance.uniform(0.0, 0.3))
            how = ("its limit", "a node that went down", "pre-emption")[met.total() % 3]
            if how == "a node that went down":
                os.killpg(process.pid, signal.SIGKILL)
            else:
                step = int((tmp_path / "step.pid").read_text())
                os.kill(step, signal.SIGUSR1 if how == "its limit" else signal.SIGTERM)
            err = process.communicate(timeout=120)[1]
            met[how] += 1
            assert queue.requeued == (how != "a node that went down"), err
            if queue.requeued:
                assert process.returncode == 0 and "Go on with: plncli resume runs/pln" in err
            continue
        err = process.communicate(timeout=300)[1]
        assert process.returncode == 0 and not queue.requeued, err
        break
    assert met.total() == most, met
    process = queue.start()
    assert "The fit in runs/pln is done already." in process.communicate(timeout=120)[1]
    shutil.move(tmp_path / "runs/pln", tmp_path / "stopped")
    assert list((tmp_path / "runs").iterdir()) == []
    assert queue.start().wait(timeout=300) == 0
    found = compared(tmp_path / "runs/pln", tmp_path / "stopped")
    assert found.different == () and {"model.safetensors", "coefficients.csv", "loss_trace.csv"} <= set(found.same)
