"""Commands that are run in processes of their own, and what each of them must keep to, however it is asked."""

from __future__ import annotations

import gc
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import tomllib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np
import torch
from drawn import MAY_WRITE, Case, case
from fuzzing import in_processes, limit_memory, most_held
from parsed import parser

from plncli import cli
from plncli.models import MODELS

SECONDS = 40.0  # that one command may take
RESIDENT = 5 << 28  # bytes that a process may ever have held: torch, pandas and matplotlib take 0.6 GB of it
DEEP = Path("a", "b", "c", "work")  # so that `../../x` is a place that is looked at
LONGEST = 3000  # signs of an error
BOUNDED = {"PLNCLI_WORKERS": "1", "PLNCLI_RESAMPLES": "4", "NO_COLOR": "1", "COLUMNS": "80"}


# The place where they run


def run(words: list[str]) -> int:
    """The exit code of a command, run within this process."""
    sys.argv = ["plncli", *words]
    cli.application = parser  # built once
    try:
        cli.main()
    except SystemExit as ending:
        return int(ending.code or 0)
    raise AssertionError("the program did not exit")


MADE = ("--n", "16", "--p", "3", "--levels", "2", "-q")
FURNITURE: tuple[tuple[str, ...], ...] = (
    ("simulate", *MADE, "--out", "made"),
    ("simulate", "logistic", "--n", "60", "--p", "2", "--effect", "0.2", "--levels", "2", "-q", "--out", "cases"),
    ("simulate", "linear", *MADE, "--out", "plots"),
    ("convert", "made/counts.csv", "made/a.tsv", "-q"),
    ("fit", "pln", "--config", "made/config.toml", "--out", "run", "--vcov", "-q"),
    ("fit", "pln", "--config", "made/config.toml", "--out", "diag", "--covariance", "diagonal", "-q"),
    ("fit", "logistic", "--config", "cases/config.toml", "--out", "logit", "-q"),
    ("fit", "linear", "--config", "plots/config.toml", "--out", "lin", "-q"),
    ("fit", "pln", "--config", "made/config.toml", "--out", "cut", "--max-iter", "2", "-q", "--allow-unconverged"),
    ("cv", "pln", "--config", "made/config.toml", "--folds", "2", "-q", "--out", "scores.csv"),
)  # fmt: skip


def furnish() -> None:
    """Put tables, fits, and what is neither, into the current folder."""
    for words in FURNITURE:
        code = run(list(words))
        assert code == 0, (words, code)
    features, *rows = (row.split(",") for row in Path("made/counts.csv").read_text().splitlines())
    samples = [row[0] for row in rows]
    for name, lines in {
        "weights.csv": ["sample,weight", *(f"{s},{1 + k % 2}" for k, s in enumerate(samples))],
        "clusters.csv": ["sample,cluster", *(f"{s},c{k % 5}" for k, s in enumerate(samples))],
        "names.txt": samples[:10],
        "features.txt": features[1:3],
        "blocks.csv": ["feature,block", *(f"{f},b" for f in features[1:])],
        "empty.csv": [],
    }.items():
        Path(name).write_text("".join(f"{each}\n" for each in lines))
    Path("binary.csv").write_bytes(random.Random(1).randbytes(300))
    Path("empty").mkdir()
    Path("dangling").symlink_to("nothing")
    shutil.copy("made/counts.csv", "ünï [bold] %s.csv")
    shutil.copytree("run", "damaged")
    model = Path("damaged/model.safetensors")
    model.write_bytes(model.read_bytes()[:-100])
    shutil.copytree("run", "bare")
    Path("bare/summary.json").unlink()


def seen(place: Path) -> dict[str, bytes]:
    """Everything below a folder by its path: files with their bytes, folders, and links."""
    found = {}
    for path in place.rglob("*"):
        name = str(path.relative_to(place))
        if path.is_symlink():
            found[name] = b"link " + os.fsencode(path.readlink())
        else:
            found[name] = b"file " + path.read_bytes() if path.is_file() else b"folder"
    return found


def restore(place: Path, before: dict[str, bytes], now: dict[str, bytes]) -> None:
    """Put back what was there."""
    changed = sorted(name for name in before | now if before.get(name) != now.get(name))
    for name in reversed(changed):
        path = place / name
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink(missing_ok=True)
    for name in changed:
        kind, _, content = before.get(name, b"").partition(b" ")
        if kind == b"folder":
            (place / name).mkdir()
        elif kind == b"link":
            (place / name).symlink_to(os.fsdecode(content))
        elif kind == b"file":
            (place / name).write_bytes(content)


# What each must keep to


class Ended(NamedTuple):
    """How a command ended, what it said, and what was there before and after."""

    code: int
    out: str
    err: str
    before: dict[str, bytes]
    now: dict[str, bytes]


def places(done: Case) -> set[Path]:
    """What a command may write: what its line, configuration and environment name, and what it does by default."""
    words, named = done.words, []
    for option in MAY_WRITE:
        named += [words[k + 1] for k, word in enumerate(words[:-1]) if word == option]
        named += [word.partition("=")[2] for word in words if word.startswith(f"{option}=")]
        named.append(done.environment.get(f"PLNCLI_{option[2:].upper()}", ""))
    try:
        configured = tomllib.loads(done.config.decode())
        named += [str(configured.get(name, "")) for name in ("out", "tensorboard")]
    except (ValueError, RecursionError):
        pass
    if {"convert", "resume", "sample-data"} & {*words}:
        named += words
    named += [name for verb, name in (("simulate", "simulated"), ("report", "report.html")) if verb in words]
    named += ["nothing"] if "dangling" in named else []  # to which it leads
    return {Path(os.path.normpath(DEEP / name)) for name in named if name and "\0" not in name}


DEFAULTS = re.compile(rf".*-({'|'.join(MODELS)}|pictures|[a-z]+[.](png|svg|pdf))", re.S)
"""Names that `fit` and `plot` give to what they write."""


def trouble(done: Case, ended: Ended) -> str:
    """What is wrong with how a command ended; empty where nothing is."""
    if ended.code not in (0, 2, 3, 4, 5):
        return f"exit code {ended.code}: {ended.err[-900:]}"
    return _said(done, ended) or _written(done, ended)


ILL = r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]|Traceback|object at 0x|<class|[Uu]nable to allocate|bad_alloc"


def _said(done: Case, ended: Ended) -> str:
    """What is wrong with its words."""
    if odd := re.search(ILL, ended.err):
        return f"says {odd[0]!r}: {ended.err[-900:]}"
    _, *errors = re.split(r"^plncli: error: ", ended.err, flags=re.M)
    if len(errors) > 1:
        return f"{len(errors)} errors: {ended.err[-900:]}"
    if errors and (len(errors[0]) > LONGEST or not errors[0].rstrip().endswith((".", "?"))):
        return f"error of {len(errors[0])} signs: {errors[0][:800]} ... {errors[0][-300:]}"
    if ended.code in (2, 5) and not errors and "Usage: " not in ended.err and "validate" not in done.words:
        return f"no word on exit code {ended.code}: {ended.err[-800:]}"
    if ended.code == 0 and errors:
        return f"an error and exit code 0: {ended.err[-800:]}"
    if "--json" in done.words and ended.code == 0 and ended.out.startswith(("{", "[")):
        try:
            json.loads(ended.out)
        except ValueError as error:
            return f"standard output is no JSON: {error}: {ended.out[:300]}"
    return ""


def _written(done: Case, ended: Ended) -> str:
    """What is wrong with what it wrote."""
    before, now = ended.before, ended.now
    changed = [name for name in sorted(before | now) if before.get(name) != now.get(name)]
    if changed and (ended.code in (2, 5) or (ended.code == 3 and "rerun" not in done.words)):
        return f"refused, and wrote {changed[:5]}: {ended.err[-500:]}"
    allowed = places(done)
    allowed |= {place.with_name(place.name + ".checkpoint") for place in allowed if place.name}
    for name in changed:
        path = Path(name)
        above = [path, *path.parents]
        own = {*above} & allowed or any(p.parent == DEEP and DEFAULTS.fullmatch(p.stem + p.suffix) for p in above)
        checkpoint = any(p.parent == DEEP and DEFAULTS.fullmatch(p.name.removesuffix(".checkpoint")) for p in above)
        leads_there = any(path in place.parents for place in allowed) and now.get(name) == b"folder"
        if not (own or checkpoint or leads_there):
            return f"wrote {name}"
        if name in now and re.search(r"[.](partial|lock|old|tmp)$|[.]loss_trace[.]csv$", name):
            return f"left {name}"
        if now.get(name, b"").startswith(b"file ") and (fault := unread(path.name, now[name][5:])):
            return f"{name} cannot be read: {fault}"
    return ""


def unread(name: str, content: bytes) -> str:
    """Why a file that was written cannot be read; empty where it can."""
    try:
        match name.rpartition(".")[2].lower():
            case "csv" | "tsv":
                assert content.decode().splitlines(), "empty"
            case "json":
                json.loads(content)
            case "toml":
                tomllib.loads(content.decode())
            case "svg":
                ElementTree.fromstring(content)
            case "html":
                assert content.rstrip().endswith(b"</html>"), "cut"
            case "png":
                assert content.startswith(b"\x89PNG") and b"IEND" in content[-16:], "cut"
            case "pdf":
                assert content.startswith(b"%PDF") and b"%%EOF" in content[-16:], "cut"
            case "parquet":
                assert content[:4] == content[-4:] == b"PAR1", "cut"
            case "feather":
                assert content[:6] == content[-6:] == b"ARROW1", "cut"
            case "safetensors":
                from safetensors.numpy import load

                load(content)
    except Exception as error:  # noqa: BLE001 (whatever it is, it is unreadable)
        return f"{type(error).__name__}: {error}"
    return ""


def state() -> dict[str, Any]:
    """What a command must leave as it was in the process that ran it."""
    return {
        "folder": str(Path.cwd()),
        **{f"${name}": value for name, value in os.environ.items()},
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)],
        "number type": torch.get_default_dtype(),
        "numpy": np.geterr(),
        "recursion": sys.getrecursionlimit(),
        "open files": len(os.listdir("/proc/self/fd")),  # noqa: PTH208
    }


class Bench:
    """A furnished folder, and commands that are run in it. The process is this one's alone from then on."""

    def __init__(self, place: Path) -> None:
        self.place, self.here = place, place / DEEP
        self.here.mkdir(parents=True)
        os.chdir(self.here)
        os.environ |= BOUNDED | {"HOME": str(place)}
        self.streams = [(place.parent / f"{place.name}.{number}").open("w+b") for number in (1, 2)]
        for number, stream in enumerate(self.streams, 1):
            os.dup2(stream.fileno(), number)
        sys.stdout = open(1, "w", encoding="utf-8", errors="strict", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
        furnish()
        self.furnished = seen(place)

    def run(self, done: Case) -> Ended:
        """Run a command, and put everything back."""
        (self.here / "c.toml").write_bytes(done.config)
        before = {**self.furnished, str(DEEP / "c.toml"): b"file " + done.config}
        for stream in self.streams:
            stream.seek(0)
            stream.truncate()
        code = self._run(done)
        said = []
        for stream in self.streams:
            stream.seek(0)
            said.append(stream.read().decode("utf-8", "replace"))
        now = seen(self.place)
        restore(self.place, self.furnished, now)
        return Ended(code, said[0], said[1], before, now)

    def _run(self, done: Case) -> int:
        usual = {name: os.environ.get(name) for name in done.environment}
        os.environ |= done.environment
        try:
            with Path("made/counts.csv" if done.piped else os.devnull).open("rb") as given:
                os.dup2(given.fileno(), 0)
            sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
            return run(done.words)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for name, value in usual.items():
                del os.environ[name]
                if value is not None:
                    os.environ[name] = value

    def judged(self, done: Case) -> str:
        """The exit code of a command, or what is wrong with it."""
        known = state()
        try:
            ended = self.run(done)
        except Exception as error:  # noqa: BLE001 (that is what is looked for)
            return f"{type(error).__name__}: {error}"
        return _changed(known) or trouble(done, ended) or str(ended.code)


def _changed(known: dict[str, Any]) -> str:
    """What is not as it was in this process."""
    now = state()
    if now != known:
        gc.collect()  # a refusal may hold on to the file that it is about
        now = state()
    names = [name for name in known | now if now.get(name) != known.get(name)]
    return "; ".join(f"changed {name} ({known.get(name)} to {now.get(name)})" for name in names)


WARMING = (
    "info",
    "plot run pca --out p.png",
    "report lin --no-diagnose",
    "fit pln --config made/config.toml --optimizer rprop --tensorboard board",
)


def work(first: int, last: int, pipe: Any) -> None:
    """Run the commands of some numbers, and send what came of each before the next is begun."""
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "place"
        place.mkdir()
        bench = Bench(place)
        for words in WARMING:
            bench.run(Case(words.split(), b"", {}, False))  # packages are loaded, and what they keep open is open
        limit_memory()
        most = max(RESIDENT, most_held() + RESIDENT // 2)  # a fork begins with all that the process before it held
        for number in range(first, last):
            said = bench.judged(case(number))
            if most_held() > most:
                said = "memory"
            pipe.send((number, said))
            if said == "memory":
                break  # in a new process the most that was ever held is small again
        pipe.send((last, ""))
        os.chdir("/")


def outcomes(first: int, last: int) -> Iterator[tuple[int, str]]:
    """What came of the commands first to last − 1: the exit code of those that keep to what is promised."""
    start = "fork" if last - first < 100 else "spawn"  # a few are not worth the seconds of a start from nothing
    return in_processes(work, lambda begin: (begin, last), first, last, SECONDS, start)
