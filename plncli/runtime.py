"""Device, dtype, seed and threads: resolved once, and described for the manifest. Only this module says "cuda"."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from plncli import ranks
from plncli.arrays import out_of_memory
from plncli.errors import DeviceError
from plncli.version import __version__

PACKAGES = ("torch", "numpy", "scipy", "pandas", "pyarrow", "formulaic", "safetensors", "typer")
SHARE = 5e6  # n·p² that is worth a thread of its own
ALL_THREADS = torch.get_num_threads()  # the cores, or what OMP_NUM_THREADS says


@dataclass(frozen=True)
class Runtime:
    """Where a fit runs, and in which numbers."""

    device: torch.device
    dtype: torch.dtype

    @property
    def device_name(self) -> str:
        """`cpu`, `cuda:0`, `mps`: as it is reported."""
        return str(self.device)

    @property
    def dtype_name(self) -> str:
        """`float64` or `float32`."""
        return str(self.dtype).removeprefix("torch.")


def start(device: str, dtype: str, seed: int) -> Runtime:
    """Resolve device and dtype, seed the generators, and try the device; DeviceError says what is not there."""
    torch.manual_seed(seed)
    resolved = Runtime(torch.device(_device(_own(device), dtype)), getattr(torch, dtype))
    try:
        torch.zeros(1, device=resolved.device, dtype=resolved.dtype)
    except RuntimeError as error:
        first_line = str(error).splitlines()[0]
        raise DeviceError(f"--device {device}: the device does not answer ({first_line}). Use --device cpu.") from None
    return resolved


def join(runtime: Runtime) -> ranks.Ranks | None:
    """Join the other processes of the run; None for one by itself. What they exchange lies on the device."""
    kind = runtime.device.type
    if kind == "mps" and ranks.announced():
        raise DeviceError("--device mps: several processes cannot share a fit on it. Use --device cpu.")
    if kind == "cuda" and ranks.announced():
        torch.cuda.set_device(runtime.device)  # where NCCL works
    return ranks.start(runtime.device, "cpu:gloo,cuda:nccl" if kind == "cuda" else "gloo")


def _own(device: str) -> str:
    """The device of this process: of several on a machine each has a GPU of its own, the one of its number there."""
    if not ranks.announced() or device not in ("auto", "cuda"):
        return device
    number = int(os.environ.get("LOCAL_RANK", 0))
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto" and not there:
        return "cpu"
    if number >= max(there, 1):
        raise DeviceError(
            f"There are more processes than GPUs here ({there}). Start as many (--nproc-per-node), or use --device cpu."
        )
    return f"cuda:{number}"


def _device(device: str, dtype: str) -> str:
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    mps = torch.backends.mps.is_available()
    if device == "auto":
        if gpus:
            return "cuda:0"
        return "mps" if mps and dtype == "float32" else "cpu"
    if device == "mps":
        if not mps:
            raise DeviceError("--device mps: this machine has no Apple GPU that torch can use. Use --device cpu.")
        if dtype == "float64":
            raise DeviceError("--device mps has no float64. Use --dtype float32, or --device cpu.")
        return device
    if device.startswith("cuda"):
        if not gpus:
            why = "" if torch.version.cuda else " (this torch is built without CUDA)"
            raise DeviceError(f"--device {device}: torch finds no NVIDIA GPU on this machine{why}. Use --device cpu.")
        index = int(device.partition(":")[2] or 0)
        if index >= gpus:
            there = "one GPU, cuda:0" if gpus == 1 else f"{gpus} GPUs, cuda:0 to cuda:{gpus - 1}"
            raise DeviceError(f"--device {device}: this machine has {there}.")
        return f"cuda:{index}"
    return device


def use_threads(n: int, p: int, d: int, requested: str) -> int:
    """Set the CPU threads for a problem of n samples, p responses and d coefficients each; how many they are."""
    count = threads_for(n, p, d, requested)
    torch.set_num_threads(count)
    return count


def threads_for(n: int, p: int, d: int, requested: str) -> int:
    """As many as requested; for `auto`, one for each `SHARE` of the work in a Hessian product, up to all there are."""
    if requested != "auto":
        return int(requested)
    return max(1, min(ALL_THREADS, int(n * max(p, d) ** 2 / SHARE)))


def free_memory(device: torch.device) -> float | None:
    """Bytes that a fit can still take on the device without anything being killed; None where nobody says."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    limits = [_available(), _under_ulimit(), *_under_cgroups()]
    known = [limit for limit in limits if limit is not None]
    return max(0.0, min(known)) if known else None


def _available(root: str = "/proc") -> float | None:
    """What the kernel can hand out without swapping: MemAvailable."""
    found = _fields(Path(root) / "meminfo").get("MemAvailable:")
    return None if found is None else found * 1024


def _under_ulimit() -> float | None:
    """What `ulimit -v` leaves of the address space."""
    try:
        import resource
    except ImportError:
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    used = _fields(Path("/proc/self/status")).get("VmSize:")
    return None if limit == resource.RLIM_INFINITY or used is None else limit - used * 1024


def _under_cgroups(membership: str = "/proc/self/cgroup", root: str = "/sys/fs/cgroup") -> list[float]:
    """What each control group of this process, and each around it, leaves: its limit less what cannot be freed."""
    try:
        lines = Path(membership).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    left: list[float] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        top = Path(root, controllers)
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        limit, usage, reclaimable = names if controllers else ("memory.max", "memory.current", "inactive_file")
        folder = top / path.strip("/")
        for group in (folder, *folder.parents):
            if top not in (group, *group.parents):
                break
            try:
                most, used = int((group / limit).read_text()), int((group / usage).read_text())
            except (OSError, ValueError):  # no such file, or `max`: no limit
                continue
            left.append(most - used + _fields(group / "memory.stat").get(reclaimable, 0.0))
    return left


def _fields(path: Path) -> dict[str, float]:
    """The numbers of a file of `name number` lines; none of a file that cannot be read."""
    try:
        words = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    except OSError:
        return {}
    return {line[0]: float(line[1]) for line in words if len(line) > 1 and line[1].isdigit()}


@contextmanager
def left_as_it_was() -> Iterator[None]:
    """Give torch its threads and the state of its random numbers back at the end: those of a program are its own."""
    threads = torch.get_num_threads()
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def memory_guard() -> Iterator[None]:
    """Turn running out of memory on any device, or losing a GPU, into a DeviceError that says what to do."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if "CUDA error" in str(error) and not out_of_memory(error):
            first_line = str(error).splitlines()[0]
            raise DeviceError(f"The GPU does not answer any more ({first_line}). Use --device cpu.") from error
        if not out_of_memory(error):
            raise
        raise DeviceError(
            "Out of memory. Use --dtype float32, which takes half of it, a --device with more, "
            "or fewer features (for pln: --covariance diagonal)."
        ) from error


def versions() -> dict[str, str]:
    """Versions of this program, of Python and of the packages that results depend on."""
    return {"plncli": __version__, "python": platform.python_version(), **_installed()}


@cache
def _installed() -> dict[str, str]:
    """Versions of the packages, for which a file of each is read."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def devices() -> dict[str, str]:
    """The devices that --device can name, with what each is."""
    found = {"cpu": _cpu_name()}
    if torch.cuda.is_available():
        found |= {f"cuda:{i}": torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())}
    if torch.backends.mps.is_available():
        found["mps"] = "Apple GPU (float32 only)"
    return found


def describe(runtime: Runtime | None = None) -> dict[str, Any]:
    """Versions, host and devices for `plncli info`; with a runtime, the device and dtype used too, for the manifest."""
    described: dict[str, Any] = {
        "versions": versions(),
        "host": platform.node(),
        "platform": platform.platform(),
        "executable": sys.executable,
        "cuda": torch.version.cuda,
        "devices": devices(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }
    if runtime:
        described |= {"device": runtime.device_name, "dtype": runtime.dtype_name}
    return described


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
