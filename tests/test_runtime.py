from __future__ import annotations

import pytest
import torch

from plncli import runtime
from plncli.errors import DeviceError


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.usefixtures("no_gpu")
def test_auto_is_the_cpu_where_there_is_nothing_else() -> None:
    where = runtime.start("auto", "float64", 0)
    assert (where.device_name, where.dtype, where.dtype_name) == ("cpu", torch.float64, "float64")


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize("device", ["cuda", "cuda:1", "mps"])
def test_a_device_that_is_not_there_is_refused(device: str) -> None:
    with pytest.raises(DeviceError, match=f"^--device {device}: .*Use --device cpu\\.$"):
        runtime.start(device, "float64", 0)


def test_a_gpu_beyond_the_last_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(DeviceError, match="--device cuda:3: this machine has 2 GPUs, cuda:0 to cuda:1"):
        runtime.start("cuda:3", "float64", 0)


def test_mps_is_taken_only_where_its_numbers_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert runtime.start("auto", "float64", 0).device_name == "cpu"
    with pytest.raises(DeviceError, match=r"--device mps has no float64\. Use --dtype float32"):
        runtime.start("mps", "float64", 0)


def test_the_seed_is_set() -> None:
    draws = []
    for _ in range(2):
        runtime.start("cpu", "float64", 7)
        draws.append(torch.rand(1).item())
    assert draws[0] == draws[1]


@pytest.mark.parametrize(
    ("n", "p", "d", "requested", "threads"),
    [
        (116, 114, 1, "auto", 1),
        (1000, 100, 1, "auto", min(2, runtime.ALL_THREADS)),
        (1000, 2000, 1, "auto", runtime.ALL_THREADS),
        (1_000_000, 1, 20, "auto", runtime.ALL_THREADS),
        (116, 114, 1, "3", 3),
    ],
)
def test_threads_go_by_the_size_of_the_problem(n: int, p: int, d: int, requested: str, threads: int) -> None:
    assert runtime.threads_for(n, p, d, requested) == threads


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("CUDA out of memory. Tried to allocate 8.00 GiB"),
    ],
)
def test_running_out_of_memory_is_told_with_advice(error: Exception) -> None:
    with pytest.raises(DeviceError, match=r"^Out of memory\. Use --dtype float32"), runtime.memory_guard():
        raise error


def test_other_failures_pass_the_guard() -> None:
    with pytest.raises(RuntimeError, match="shapes"), runtime.memory_guard():
        raise RuntimeError("shapes do not match")


def test_a_description_names_versions_and_devices() -> None:
    described = runtime.describe(runtime.start("cpu", "float32", 0))
    assert {"plncli", "python", "torch", "pandas"} <= described["versions"].keys()
    assert (described["device"], described["dtype"]) == ("cpu", "float32")
    assert described["devices"]["cpu"]
