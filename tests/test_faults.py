"""What goes wrong around a fit: kills, full disks, lost devices, forged files. Nothing is half written, or claimed."""

from __future__ import annotations

import csv
import errno
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Ran
from forked import Forked
from safetensors.numpy import load, save
from tries import quickly

from plncli.errors import UsageError
from plncli.optim.base import Point, Problem
from plncli.runs.unfinished.checkpoints import locked

Cli = Callable[..., Ran]


@pytest.fixture
def made(cli: Cli, tmp_path: Path) -> Path:
    """A folder with simulated tables in `made`."""
    assert cli("simulate", "--n", "40", "--p", "6", "--out", "made", "-q").code == 0
    return tmp_path


def results(place: Path) -> dict[str, bytes | list[Any]]:
    """What must come out the same in two runs: tables as they are, the trace and the summary without times."""
    if place.is_file():
        return {"": place.read_bytes()}
    found: dict[str, bytes | list[Any]] = {}
    for path in sorted(place.iterdir()):
        if path.name == "loss_trace.csv":
            with path.open(newline="") as file:
                found[path.name] = [[v for k, v in row.items() if k != "seconds"] for row in csv.DictReader(file)]
        elif path.name == "summary.json":
            found[path.name] = [(k, v) for k, v in json.loads(path.read_text()).items() if "seconds" not in k]
        elif path.suffix == ".csv":
            found[path.name] = path.read_bytes()
        else:
            found[path.name] = b""  # is there
    return found


def left_beside(folder: Path, *names: str) -> set[str]:
    """What is in a folder besides what was put there."""
    return {path.name for path in folder.iterdir()} - {"made", *names}


# Kills

JOBS = {
    "rprop": ("fit", "pln", "--optimizer", "rprop", "--tol", "1e-7", "--se", "none", "--checkpoint-every", "0.02"),
    "bootstrap": ("fit", "pln", "--se", "bootstrap", "--resamples", "40", "--checkpoint-every", "0.02"),
    "cv": ("cv", "pln", "--folds", "5", "--formula", "~ 1", "--formula", "~ x", "--checkpoint-every", "0.02"),
}


def job(name: str, out: str) -> tuple[str, ...]:
    tables = ("--counts", "made/counts.csv", "--covariates", "made/covariates.csv")
    formula = () if name == "cv" else ("--formula", "~ x")
    return (*JOBS[name], *tables, *formula, *(("--workers", "1") if name != "rprop" else ()), "--out", out, "--resume")


def from_nothing(words: tuple[str, ...], folder: Path) -> subprocess.Popen[str]:
    """A command as it is started by a shell."""
    return subprocess.Popen(
        [sys.executable, "-m", "plncli", *words],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def killed_at_random(folder: Path, name: str, kills: int, start: Callable[..., Any]) -> Counter[str]:
    """Start a job again and again, and kill it, until that many kills; fails where one does harm.

    Its moment is random within one part of the time that a whole job takes, the parts by turns in a random order: a few
    dozen kills meet loading, fitting, keeping and writing alike. When the job is done it is begun anew, for more kills.
    Counts kills, jobs, and results that were lost or differ.
    """
    place, whole_place = ("scores.csv", "whole.csv") if name == "cv" else ("run", "whole")
    told, chance, bare = Counter[str](), random.Random(f"{name} {kills}"), False

    def started(out: str) -> Any:
        return start(job(name, out), folder)

    began = time.monotonic()
    assert started(whole_place).wait(timeout=120) == 0
    lasts, whole = time.monotonic() - began, results(folder / whole_place)
    parts = chance.sample(range(kills), kills)
    while told["kills"] < kills or bare:
        process = started(place)
        if told["kills"] < kills:
            try:
                part = (parts[(told["kills"] + told["jobs"]) % kills] + chance.random()) / kills
                process.wait(timeout=(0.5 + 0.6 * part) * lasts)  # half of it is loading
            except subprocess.TimeoutExpired:
                process.kill()
        err = process.communicate(timeout=120)[1]
        if process.returncode == -signal.SIGKILL:
            told["kills"] += 1
            told["with a checkpoint"] += any(folder.glob("*.checkpoint/*"))
            bare = True
            if (folder / place).exists() and results(folder / place) != whole:
                told["half written"] += 1
            continue
        assert process.returncode == 0, err
        told["jobs"] += 1
        told["different"] += results(folder / place) != whole
        beside = left_beside(folder, "whole", "whole.csv", ".whole.csv.done", place, f".{place}.done")
        told["leftovers"] += bool(beside)
        assert not beside, beside
        bare = False
        shutil.rmtree(folder / place) if (folder / place).is_dir() else (folder / place).unlink()
    return told


@pytest.mark.parametrize(
    ("name", "kills", "start"),
    [
        ("cv", 1, Forked),  # and more of rprop among the tests of `resume`
        *(pytest.param(name, 25, from_nothing, marks=pytest.mark.slow) for name in JOBS),
    ],
)
def test_a_job_killed_at_any_moment_loses_nothing(made: Path, name: str, kills: int, start: Callable[..., Any]) -> None:
    told = killed_at_random(made, name, kills, start)
    print(f"{name}: {dict(told)}")
    assert told["kills"] == kills and told["jobs"] >= 1
    assert told["half written"] == told["different"] == told["leftovers"] == 0


def test_what_a_killed_process_left_beside_its_results_goes(cli: Cli, made: Path) -> None:
    foreign = {".run.x.partial", ".run2.7.partial", ".8.partial.run.csv", ".run.9.partial.csv", "run.1.partial"}
    for name in {".run.123.partial", *foreign}:
        (made / name).mkdir()
        (made / name / "coefficients.csv").write_text("half")
    (made / "elsewhere").mkdir()
    (made / ".run.5.partial").symlink_to("elsewhere")
    kept = {*foreign, "elsewhere", ".run.5.partial"}
    assert cli(*FIT, "--out", "run").code == 0
    assert left_beside(made, "run") == kept
    (made / "run").rename(made / ".run.77.old")  # killed between moving the old results aside, and the new ones in
    (made / ".run.77.partial").mkdir()
    ran = cli(*FIT, "--out", "run")
    assert ran.code == 2 and "run exists" in ran.err and left_beside(made, "run") == kept
    assert cli("show", "run").code == 0
    shutil.copytree(made / "run", made / ".run.4.old")  # killed before the old ones were removed
    assert cli(*FIT, "--out", "run", "--resume").code == 0 and left_beside(made, "run") == kept


def test_a_link_to_a_folder_is_locked_as_that_folder(made: Path) -> None:
    (made / "far").mkdir()
    (made / "run").symlink_to("far/run")
    with locked(made / "run"), pytest.raises(UsageError, match="Another plncli is fitting"), locked(made / "far/run"):
        pass
    assert list((made / "far").iterdir()) == []


def test_two_jobs_into_one_folder_at_once(made: Path) -> None:
    both = [Forked((*FIT, "--out", "run"), made) for _ in range(2)]
    told = [(process.communicate(timeout=120)[1], process.returncode) for process in both]
    assert sorted(code for _, code in told) == [0, 2], told
    refusal = next(err for err, code in told if code == 2)
    assert "Another plncli is fitting into run" in refusal or "run exists" in refusal
    assert json.loads((made / "run/summary.json").read_text())["converged"]
    assert left_beside(made, "run") == set()


# Disks that are full, or turn read-only

FIT = ("fit", "pln", "--config", "made/config.toml")
REASONS = {errno.ENOSPC: "No space left on device", errno.EROFS: "Read-only file system"}


def failing_writes(monkeypatch: pytest.MonkeyPatch, where: Callable[[Path], bool], code: int) -> list[Path]:
    """Files that `where` is true of cannot be opened for writing; which these were."""
    tried: list[Path] = []
    opened = Path.open

    def spy(self: Path, mode: str = "r", *args: Any, **more: Any) -> Any:
        if set(mode) & set("wax+") and where(self):
            tried.append(self)
            raise OSError(code, os.strerror(code))
        return opened(self, mode, *args, **more)

    monkeypatch.setattr(Path, "open", spy)
    return tried


@pytest.mark.parametrize("code", REASONS, ids=errno.errorcode.get)
@pytest.mark.parametrize("name", ["coefficients.csv", "model.safetensors", "run.log"])
def test_results_that_cannot_be_written_leave_nothing(
    cli: Cli, made: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: int
) -> None:
    with monkeypatch.context() as patch:
        assert failing_writes(patch, lambda path: path.name == name, code) == []
        ran = cli(*FIT, "--out", "run")
    assert ran.code == 3 and f"Cannot write the results into run: {REASONS[code]}" in ran.err
    assert left_beside(made) == set()
    assert cli(*FIT, "--out", "run").code == 0


@pytest.mark.parametrize("code", REASONS, ids=errno.errorcode.get)
def test_old_results_stand_where_new_ones_cannot_be_written(
    cli: Cli, made: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    assert cli(*FIT, "--out", "run").code == 0
    before = {path.name: path.read_bytes() for path in (made / "run").iterdir()}
    with monkeypatch.context() as patch:
        failing_writes(patch, lambda path: path.name == "summary.json", code)
        ran = cli(*FIT, "--out", "run", "--overwrite", "--tol", "1e-3")
    assert ran.code == 3 and REASONS[code] in ran.err
    assert {path.name: path.read_bytes() for path in (made / "run").iterdir()} == before
    assert left_beside(made, "run") == set()


def test_a_fit_goes_on_where_checkpoints_and_trace_cannot_be_written(
    cli: Cli, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plncli.runs.trace.LONG", 0.0)
    with monkeypatch.context() as patch:
        tried = failing_writes(
            patch, lambda path: path.parent.suffix == ".checkpoint" or path.name == "run.loss_trace.csv", errno.ENOSPC
        )
        ran = cli(*FIT, "--out", "run", "--checkpoint-every", "1e-9")
        assert ran.code == 0 and len(tried) >= 3
        ran = cli(*FIT, "--out", "cut", "--max-iter", "2")
    assert ran.code == 4 and "The state of the fit could not be kept: " in ran.err and "No space left" in ran.err
    assert left_beside(made, "run", "cut") == set()


def test_an_older_checkpoint_loads_after_the_disk_was_full(
    cli: Cli, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli(*FIT, "--out", "whole").code == 0
    assert cli(*FIT, "--out", "run", "--max-iter", "2").code == 4
    with monkeypatch.context() as patch:
        tried = failing_writes(patch, lambda path: path.parent.suffix == ".checkpoint", errno.ENOSPC)
        assert cli("resume", "run", "--max-iter", "3").code == 4
    assert tried
    ran = cli("resume", "run")
    assert ran.code == 0 and "Going on after 2 steps" in ran.err
    assert results(made / "run") == results(made / "whole")
    assert left_beside(made, "run", "whole") == set()


def test_a_full_file_system(cli: Cli, made: Path) -> None:
    small = made / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        (small / "filling").write_bytes(b"x" * 60_000)
        ran = cli(*FIT, "--out", "small/run", "--checkpoint-every", "1e-9")
        assert ran.code == 3 and "No space left on device" in ran.err
        assert [path.name for path in small.iterdir()] == ["filling"]
    finally:
        subprocess.run(["umount", str(small)], check=True)


# Numbers and devices that go


def failing_product(monkeypatch: pytest.MonkeyPatch, number: int, error: BaseException) -> None:
    """The Hessian product of that number fails."""
    product, done = Point.product, [0]

    def spy(self: Point, v: torch.Tensor) -> torch.Tensor:
        done[0] += 1
        if done[0] == number:
            raise error
        return product(self, v)

    monkeypatch.setattr(Point, "product", spy)


GONE = {
    "cpu": RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
    "python": MemoryError(),
    "cuda": RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    "lost": RuntimeError("CUDA error: unspecified launch failure\nCompile with `TORCH_USE_CUDA_DSA`."),
}


@pytest.mark.parametrize("number", quickly([1, 9], 9))
@pytest.mark.parametrize("name", GONE)
def test_a_device_that_fails_ends_a_fit_that_goes_on_from_its_checkpoint(
    cli: Cli, made: Path, monkeypatch: pytest.MonkeyPatch, name: str, number: int
) -> None:
    with monkeypatch.context() as patch:
        failing_product(patch, number, GONE[name])
        ran = cli(*FIT, "--out", "run", "--se", "none")
    assert ran.code == 5 and left_beside(made) == set()
    assert ("The GPU does not answer any more" if name == "lost" else "Out of memory.") in ran.err
    with monkeypatch.context() as patch:
        failing_product(patch, number, GONE[name])
        ran = cli(*FIT, "--out", "run", "--se", "none", "--checkpoint-every", "1e-9")
    assert ran.code == 5 and "Go on with: plncli resume run" in ran.err
    ran = cli("resume", "run", "--device", "cpu")
    assert ran.code == 0 and "Going on after" in ran.err
    assert cli(*FIT, "--out", "whole", "--se", "none").code == 0
    assert results(made / "run") == results(made / "whole")
    assert left_beside(made, "run", "whole") == set()


@pytest.mark.parametrize("optimizer", ["newton-cg", "lbfgs", "rprop", "adam", "vem"])
@pytest.mark.parametrize("after", [0, 5])
def test_nan_in_the_midst_of_a_fit_is_never_called_converged(
    cli: Cli, made: Path, monkeypatch: pytest.MonkeyPatch, optimizer: str, after: int
) -> None:
    made_point, seen = Point.__init__, [0]

    def spy(self: Point, problem: Problem, *rest: Any) -> None:
        made_point(self, problem, *rest)
        seen[0] += 1
        if seen[0] > after:
            self.loss = math.nan

    monkeypatch.setattr(Point, "__init__", spy)
    ran = cli(*FIT, "--out", "run", "--optimizer", optimizer, "--max-iter", "200")
    assert ran.code == 4 and "Traceback" not in ran.err
    if after == 0:
        assert "The objective is not finite at the start of the fit" in ran.err and left_beside(made) == set()
        return
    found = json.loads((made / "run/summary.json").read_text())
    assert not found["converged"] and found["status"] in ("diverged", "stalled", "precision", "max_iter")
    assert "nan" not in (made / "run/coefficients.csv").read_text().casefold()


# Forged files

DEEP = "[" * 100_000 + "]" * 100_000


def taken_apart(content: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and body of a safetensors file."""
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), content[end:]


def joined(header: Mapping[str, Any] | bytes, body: bytes, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + body


def forgeries(content: bytes, of: str, fact: str) -> Iterator[tuple[str, bytes]]:
    """Safetensors files that are no good, by what is wrong; `of`: one of the tensors, `fact`: one of the facts."""
    header, body = taken_apart(content)
    for name, length in (("length 2^60", 1 << 60), ("length 2^63", 1 << 63), ("length 99 MB", 99_000_000)):
        yield name, joined(header, body, length)
    yield from (("empty", b""), ("seven bytes", content[:7]), ("cut", content[:-9]), ("longer", content + b"123"))
    yield "half a header", content[:200]
    size = header[of]["data_offsets"][1] - header[of]["data_offsets"][0]
    for key, values in {
        "data_offsets": ([-8, 8], [8, 0], [1 << 60, (1 << 60) + size], [0, size + 8]),
        "shape": ([1 << 40, 1 << 40], [0, 1 << 62], [-1, 3], [size // 8 + 1], [], "x"),
        "dtype": ("BF16", "I64", "F8_E4M3", "C64", "XX", None),
    }.items():
        for value in values:
            yield f"{key} {value}", joined(header | {of: header[of] | {key: value}}, body)
    for name, text in {
        "no json": "{", "null": "null", "number": "7", "text": '"x"', "list": "[1]", "other": "{}", "deep": DEEP,
        "huge": "1" + "0" * 9999, "bomb": "[" + "[]," * 300_000 + "[]]",
    }.items():  # fmt: skip
        yield f"{fact} {name}", joined(header | {"__metadata__": header["__metadata__"] | {fact: text}}, body)
    yield "no facts", joined({key: part for key, part in header.items() if key != "__metadata__"}, body)
    yield "facts are numbers", joined(header | {"__metadata__": {fact: 7}}, body)
    yield "deep header", joined(b'{"a":' + DEEP.encode() + b"}", b"")
    arrays = load(content)
    yield "paths", save(arrays | {"../../x": np.ones(2), f"{of}/../../x": np.ones(2)}, header["__metadata__"])
    yield "wider", save(arrays | {of: np.ones((3, 3, 3))}, header["__metadata__"])
    yield "without", save({name: array for name, array in arrays.items() if name != of}, header["__metadata__"])


TABLES = ("--covariates", "made/covariates.csv", "--exposure", "made/exposure.csv")
READERS = {
    "show": ("show", "bad"),
    "predict": ("predict", "bad", *TABLES),
    "fitted": ("predict", "bad", *TABLES, "--counts", "made/counts.csv"),
    "transform": ("transform", "bad", *TABLES, "--counts", "made/counts.csv"),
    "test": ("test", "bad", "--contrast", "x"),
    "compare": ("compare", "bad", "run"),
    "diagnose": ("diagnose", "bad"),
    "simulate": ("simulate", "--from", "bad", "--out", "drawn"),
    "plot": ("plot", "bad", "sigma", "--out", "sigma.svg"),
    "init": (*FIT, "--init", "bad", "--out", "other"),
}


def held() -> int:
    """Most bytes that this process has held."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


SOME = [12, pytest.param(1, marks=pytest.mark.slow)]  # each twelfth, or all


@pytest.mark.parametrize("each", SOME)
def test_every_verb_refuses_a_forged_model_file(cli: Cli, made: Path, each: int) -> None:
    assert cli(*FIT, "--out", "run").code == 0
    content = (made / "run/model.safetensors").read_bytes()
    shutil.copytree(made / "run", made / "bad")
    before, wrong = held(), []
    for place, (name, forged) in enumerate([*forgeries(content, "estimates.B", "design")][::each]):
        (made / "bad/model.safetensors").write_bytes(forged)
        for verb in {"show", list(READERS)[place % len(READERS)]} if each > 1 else READERS:
            ran = cli(*READERS[verb])
            one = ran.err.count("plncli: error: ") == 1 and "Traceback" not in ran.err and len(ran.err) < 2000
            if ran.code != 3 or not one or "damaged, or was not written by plncli" not in ran.err:
                wrong.append((name, verb, ran.code, ran.err[-300:]))
    assert not wrong
    assert held() - before < 200e6
    assert left_beside(made, "run", "bad") == set()


def test_numbers_that_are_none_are_refused_or_not_needed(cli: Cli, made: Path) -> None:
    assert cli(*FIT, "--out", "run").code == 0
    content = (made / "run/model.safetensors").read_bytes()
    shutil.copytree(made / "run", made / "bad")
    arrays, facts = load(content), taken_apart(content)[0]["__metadata__"]
    for symbol in ("state.M_finite", "estimates.S", "state.B_finite", "estimates.Sigma"):
        forged = save(arrays | {symbol: np.full_like(arrays[symbol], np.nan)}, facts)
        (made / "bad/model.safetensors").write_bytes(forged)
        codes = set()
        for verb, words in ((verb, words) for verb, words in READERS.items() if verb != "plot"):
            ran = cli(*words)
            assert ran.code == 0 or (ran.code == 3 and "is damaged" in ran.err), (symbol, verb, ran.err)
            codes.add(ran.code)
            for place in ("drawn", "other"):
                shutil.rmtree(made / place, ignore_errors=True)
        assert codes == {0, 3}, symbol


@pytest.mark.parametrize("each", SOME)
def test_forged_checkpoints_are_refused(cli: Cli, made: Path, each: int) -> None:
    assert cli(*FIT, "--out", "run", "--max-iter", "2").code == 4
    path = made / "run.checkpoint/a.safetensors"
    content, before = path.read_bytes(), held()
    for name, forged in [*forgeries(content, "state.x", "facts")][::each]:
        path.write_bytes(forged)
        for words in (("resume", "run"), (*FIT, "--out", "run", "--resume")):
            ran = cli(*words)
            assert ran.code == 3 and "damaged" in ran.err and "Traceback" not in ran.err, (name, ran.err)
            assert "Remove run.checkpoint to begin anew" in ran.err, name
    assert held() - before < 200e6
    path.write_bytes(content)
    assert cli("resume", "run").code == 0


@pytest.mark.parametrize("each", [12, pytest.param(1, marks=pytest.mark.slow)])
def test_forged_pieces_are_done_anew(cli: Cli, made: Path, monkeypatch: pytest.MonkeyPatch, each: int) -> None:
    from plncli.inference.resampling import Task

    bootstrap = (*FIT, "--se", "bootstrap", "--resamples", "6", "--workers", "1")
    assert cli(*bootstrap, "--out", "whole").code == 0
    part = Task.part

    def last(self: Any, index: int, cancelled: Callable[[], bool] = lambda: False) -> Any:
        if index == 4:
            signal.raise_signal(signal.SIGTERM)
        return part(self, index, cancelled)

    with monkeypatch.context() as patch:
        patch.setattr(Task, "part", last)
        assert cli(*bootstrap, "--out", "run").code == 143
    kept = {path.name: path.read_bytes() for path in (made / "run.checkpoint").iterdir()}
    record = kept["pieces"][8 : 8 + int.from_bytes(kept["pieces"][:8], "little")]
    bad = [(b"", "no bytes"), ((1 << 60).to_bytes(8, "little"), "length"), (b"\xff" * 99, "noise")]
    bad += [(len(one).to_bytes(8, "little") + one, name) for name, one in forgeries(record, "B", "facts")]
    for pieces, name in bad[::each]:
        shutil.rmtree(made / "run", ignore_errors=True)
        (made / "run.checkpoint").mkdir(exist_ok=True)
        for file, whole in (kept | {"pieces": pieces}).items():
            (made / "run.checkpoint" / file).write_bytes(whole)
        ran = cli(*bootstrap, "--out", "run", "--resume")
        assert ran.code == 0, (name, ran.err)
        assert results(made / "run") == results(made / "whole"), name


# Names

ODD = (
    "../../x", "/etc/passwd", "line\nbreak", "a,b", 'quo"te', "tab\there", "🌳", "x" * 10_000,
    "\u202eright to left", "=1+1", "~", "C:\\x", "\x1b[2J", " leading",
)  # fmt: skip


def test_names_neither_leave_the_folder_nor_break_a_table(cli: Cli, made: Path) -> None:
    with (made / "made/counts.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    names, wide = list(ODD), len(header) - 1
    with (made / "odd.csv").open("w", newline="") as file:
        csv.writer(file).writerow(["id", *names])
        csv.writer(file).writerows(
            [f"{names[i]}{i}" if i < len(names) else row[0], *(row[1 + j % wide] for j in range(len(names)))]
            for i, row in enumerate(rows)
        )
    for suffix in ("csv", "parquet"):
        ran = cli("fit", "pln", "--counts", "odd.csv", "--covariance", "diagonal", "--format", suffix, "--out", suffix)
        assert ran.code == 0 and "\x1b" not in ran.err, ran.err
        ran = cli("show", suffix)
        assert ran.code == 0 and "\x1b" not in ran.out
    with (made / "csv/coefficients.csv").open(newline="") as file:
        read = [row["response"] for row in csv.DictReader(file)]
    with (made / "csv/latent_mean.csv").open(newline="") as file:
        top, *body = csv.reader(file)
    assert [name.strip() for name in read] == [name.strip() for name in names] == [name.strip() for name in top[1:]]
    assert len(body) == len(rows) and {len(row) for row in body} == {len(names) + 1}
    assert cli("plot", "csv", "coefficients", "--out", "picture.svg").code == 0
    assert left_beside(made, "odd.csv", "csv", "parquet", "picture.svg") == set()
    assert not (made.parent / "x").exists() and not (made.parent.parent / "x").exists()


@pytest.mark.parametrize("name", ["\0", "a\0b"])
def test_a_name_with_nul_is_read_or_refused(cli: Cli, made: Path, name: str) -> None:
    text = (made / "made/counts.csv").read_text()
    (made / "odd.csv").write_text(text.replace("f1", name, 1))
    ran = cli("fit", "pln", "--counts", "odd.csv", "--out", "run")
    assert ran.code in (0, 3) and "\0" not in ran.err and "Traceback" not in ran.err


@pytest.mark.parametrize(
    "words",
    [
        ("--formula", "~ __import__('os').mkdir('escaped')"),
        ("--formula", "~ x.__class__"),
        ("--formula", "~ open('escaped', 'w')"),
        ("--filter", "__import__('os').mkdir('escaped')"),
        ("--filter", "x.__class__ == 1"),
        ("--filter", "(lambda: 1)() == 1"),
        ("--formula", "~ " + "(" * 5_000 + "x" + ")" * 5_000),
        ("--filter", "(" * 5_000 + "x" + ")" * 5_000 + " > 0"),
        ("--formula", "~ " + " + ".join(["x"] * 3_000)),
        ("--filter", "9 ** 9 ** 9 ** 9 > x"),
    ],
    ids=lambda words: f"{words[0]} {words[1][:24]}",
)
def test_formulas_and_conditions_run_nothing(cli: Cli, made: Path, words: tuple[str, str]) -> None:
    given = ("--counts", "made/counts.csv", "--covariates", "made/covariates.csv")
    ran = cli("fit", "pln", *given, *words, "--out", "run")
    assert ran.code in (0, 3) and "Traceback" not in ran.err and len(ran.err) < 20_000
    assert left_beside(made, "run") == set()


@pytest.mark.parametrize(
    "content",
    [
        b'"../../x" = 1\n',
        b"[a.b.c]\nd = 1\n",
        b"tol = [1, 2]\n",
        b"a = " + b"[" * 50_000 + b"]" * 50_000 + b"\n",
        b"seed = " + b"9" * 10_000 + b"\n",
        b"tol = nan\n",
        b"\xff\xfe\x00",
        b'counts = "made/counts.csv"\nout = "a\\u0000b"\n',
        b"__class__ = 1\n",
    ],
)
def test_configurations_of_any_kind_are_refused(cli: Cli, made: Path, content: bytes) -> None:
    (made / "odd.toml").write_bytes(content)
    ran = cli("fit", "pln", "--config", "odd.toml", "--counts", "made/counts.csv")
    assert ran.code in (2, 3) and "Traceback" not in ran.err
    assert left_beside(made, "odd.toml") == set()
