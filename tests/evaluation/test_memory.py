from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from plncli import runtime
from plncli.dataset import Dataset
from plncli.errors import DeviceError
from plncli.evaluation import memory
from plncli.evaluation.memory import Planned, check, workers
from plncli.fitting import fit
from plncli.inference.wald import InferenceRule
from plncli.models import MODELS
from plncli.models.pln.model import PLN as PoissonLognormal
from plncli.models.spec import Size

Cli = Callable[..., Any]
GB = 1e9


def planned(
    model: str, optimizer: str, covariance: str | None, n: int, p: int, d: int, digits: str, se: str = "none"
) -> Planned:
    own = {} if covariance is None else {"covariance": covariance}
    return Planned(MODELS[model], Size(n, p, d, optimizer, own, se), digits)


PLN = planned("pln", "newton-cg", "full", 50_000, 2_000, 3, "float64")


def test_a_fit_that_fits_is_let_through() -> None:
    check(PLN, PLN.needs(), "cpu")
    check(PLN, None, "cpu")


def test_a_refusal_says_the_estimate_what_is_free_and_what_would_do() -> None:
    with pytest.raises(DeviceError) as raised:
        check(PLN, 24 * GB, "cpu")
    told = str(raised.value)
    assert "needs about 27.8 GB beside its data (50000 samples × 2000 features, float64)" in told
    assert "24 GB are free on cpu" in told
    assert "--dtype float32 (13.9 GB)" in told
    assert "--covariance diagonal" not in told  # it would not fit either
    assert raised.value.exit_code == 5


def test_the_most_features_are_told_and_fit() -> None:
    with pytest.raises(DeviceError, match=r"or at most (\d+) features") as raised:
        check(PLN, 10 * GB, "cpu")
    most = int(str(raised.value).rsplit("at most ", 1)[1].split()[0])
    check(planned("pln", "newton-cg", "full", 50_000, most, 3, "float64"), 10 * GB, "cpu")
    with pytest.raises(DeviceError):
        check(planned("pln", "newton-cg", "full", 50_000, most + 1, 3, "float64"), 10 * GB, "cpu")


def test_a_refused_optimizer_or_covariance_is_named() -> None:
    with pytest.raises(DeviceError, match="--optimizer newton-cg"):
        check(planned("pln", "lbfgs", "full", 50_000, 2_000, 3, "float64"), 60 * GB, "cpu")
    with pytest.raises(DeviceError, match="--covariance diagonal"):
        check(planned("pln", "newton-cg", "full", 12_000, 20_000, 1, "float64"), 90 * GB, "cpu")
    wide = planned("pln", "newton-cg", "full", 100, 20_000, 1, "float64")
    check(wide, 4 * GB, "cpu")
    asked = replace(wide, size=replace(wide.size, own={**wide.size.own, "sigma": True}))
    with pytest.raises(DeviceError, match="--no-sigma"):
        check(asked, 10 * GB, "cpu")


def test_workers_are_as_many_as_asked_for_and_as_memory_takes() -> None:
    small = planned("pln", "newton-cg", "full", 100, 10, 2, "float64")
    assert workers(small, None, "auto", 8) == 8
    assert workers(small, 100 * GB, "3", 8) == 3
    assert workers(small, 1.3 * GB, "auto", 8) == 3
    assert workers(PLN, 60 * GB, "auto", 8) == 1
    assert workers(PLN, 10 * GB, "auto", 8) == 1  # the fit itself is refused by `check`


def test_standard_errors_that_do_not_fit_are_left_out_or_refused(
    cli: Cli, oaks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = planned("pln", "newton-cg", "full", 116, 114, 1, "float64")
    both = planned("pln", "newton-cg", "full", 116, 114, 1, "float64", se="sandwich")
    assert both.needs() > alone.needs()
    monkeypatch.setattr(runtime, "free_memory", lambda device: 0.5 * (alone.needs() + both.needs()))
    ran = cli("fit", "pln", "--counts", oaks.counts, "--se", "sandwich", "--out", "asked")
    assert (ran.code, Path("asked").exists()) == (5, False)
    assert "--se none" in ran.err
    ran = cli("fit", "pln", "--counts", oaks.counts, "--out", "left", "--json")
    assert ran.code == 0
    assert "No standard errors, for they need about" in ran.err
    assert json.loads(ran.out)["se"] == "none"


def test_a_fit_outlives_standard_errors_that_run_out_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(PoissonLognormal, "uncertainty", full)
    Y = torch.poisson(torch.full((30, 2), 5.0, dtype=torch.float64))
    data = Dataset(Y, torch.ones(30, 1).double(), torch.zeros(30, 1).double(), torch.ones(30).double())
    result = fit(PoissonLognormal(), data, inference=InferenceRule())
    assert result.converged
    assert result.inference is None
    assert "Out of memory for the standard errors" in result.findings[-1].message


def test_a_small_table_asks_for_little() -> None:
    assert planned("logistic", "newton-cg", None, 100, 1, 3, "float64").needs() < 1e6


@pytest.mark.parametrize("switches", [[], ["--dry-run"]], ids=str)
def test_the_command_refuses_before_it_starts(
    cli: Cli, oaks: Any, monkeypatch: pytest.MonkeyPatch, switches: list[str]
) -> None:
    monkeypatch.setattr(runtime, "free_memory", lambda device: 1e6)
    ran = cli("fit", "pln", "--counts", oaks.counts, "--out", "run", *switches)
    assert ran.code == 5
    assert "and 1 MB are free on cpu" in ran.err
    assert "Traceback" not in ran.err
    assert not Path("run").exists()


def test_a_dry_run_tells_the_estimate(cli: Cli, oaks: Any) -> None:
    ran = cli("fit", "pln", "--counts", oaks.counts, "--dry-run")
    assert "The fit would need about" in ran.err
    assert "free on cpu" in ran.err


def test_groups_that_limit_memory_are_heeded(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    member = tmp_path / "member"
    member.write_text("0::/a/b\n")
    for folder, most, used in (("a", 5000, 3000), ("a/b", "max", 2000)):
        (tmp_path / folder / "memory.max").write_text(f"{most}\n")
        (tmp_path / folder / "memory.current").write_text(f"{used}\n")
        (tmp_path / folder / "memory.stat").write_text("anon 1\ninactive_file 700\n")
    assert runtime._under_cgroups(str(member), str(tmp_path)) == [2700.0]


def test_groups_of_the_first_version_are_heeded(tmp_path: Path) -> None:
    group = tmp_path / "memory"
    group.mkdir()
    member = tmp_path / "member"
    member.write_text("3:cpu:/x\n2:memory:/gone\n")
    (group / "memory.limit_in_bytes").write_text("9000")
    (group / "memory.usage_in_bytes").write_text("4000")
    (group / "memory.stat").write_text("total_inactive_file 500")
    assert runtime._under_cgroups(str(member), str(tmp_path)) == [5500.0]
    assert runtime._under_cgroups(str(tmp_path / "none"), str(tmp_path)) == []


@pytest.mark.slow  # a process that loads torch
@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="reads /proc")
def test_memory_is_free_here_and_an_address_limit_lowers_it() -> None:
    free = runtime.free_memory(torch.device("cpu"))
    assert free is not None
    assert free > 1e6
    code = (
        "import resource, torch; from plncli import runtime\n"
        "used = runtime._fields(runtime.Path('/proc/self/status'))['VmSize:'] * 1024\n"
        "resource.setrlimit(resource.RLIMIT_AS, (int(used + 3e8), -1))\n"
        "print(runtime.free_memory(torch.device('cpu')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert 2e8 < float(done.stdout) <= 3e8


MEASURE = """
import sys, torch
from plncli.dataset import Dataset
from plncli.fitting import fit
from plncli.models import MODELS
from plncli.optim import build
from plncli.optim.base import StopRule
name, optimizer, n, p, d = *sys.argv[1:3], *map(int, sys.argv[3:])
torch.set_num_threads(1)
g = torch.Generator().manual_seed(0)
kind = dict(dtype=torch.float64, generator=g)
X = torch.randn(n, d, **kind)
X[:, 0] = 1
Y = 0.3 * X @ torch.randn(d, p, **kind) + torch.randn(n, p, **kind)
Y = torch.poisson((1 + 0.5 * Y).exp(), generator=g) if name == "pln" else (Y > 0).double() if name == "logistic" else Y
data = Dataset(Y=Y, X=X, O=torch.zeros(n, 1).double(), w=torch.ones(n).double())
few = Dataset(Y=Y[:300, :2], X=X[:300, :2], O=data.O[:300], w=data.w[:300])
field = lambda key: int(open("/proc/self/status").read().split(key)[1].split()[0]) * 1024
fit(MODELS[name].load_model()(), few, build(optimizer), StopRule(max_iter=2))  # what libraries take once
open("/proc/self/clear_refs", "w").write("5")
before = field("VmRSS:")
fit(MODELS[name].load_model()(), data, build(optimizer), StopRule(max_iter=4))
print(field("VmHWM:") - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads /proc")
@pytest.mark.parametrize(
    ("name", "optimizer", "n", "p", "d"),
    [
        ("pln", "newton-cg", 4000, 200, 2),
        ("pln", "newton-cg", 4000, 200, 20),
        ("pln", "newton-cg", 1000, 1000, 2),
        ("pln", "adam", 4000, 200, 2),
        ("pln", "vem", 4000, 200, 2),
        ("logistic", "newton-cg", 300_000, 1, 20),
        ("logistic", "newton-cg", 200_000, 20, 10),
        ("linear", "newton-cg", 200_000, 20, 10),
    ],
)
def test_the_estimate_is_what_a_fit_takes(name: str, optimizer: str, n: int, p: int, d: int) -> None:
    arguments = [sys.executable, "-c", MEASURE, name, optimizer, str(n), str(p), str(d)]
    took = int(subprocess.run(arguments, capture_output=True, text=True, check=True, timeout=300).stdout)
    estimate = planned(name, optimizer, "full" if name == "pln" else None, n, p, d, "float64").needs()
    assert took <= 1.1 * estimate + 1e7, f"took {memory.in_words(took)}, estimated {memory.in_words(estimate)}"
    assert estimate <= 2.5 * took + 8e7, f"took {memory.in_words(took)}, estimated {memory.in_words(estimate)}"
