"""Whether a change of the code left all that is computed as it was, to the bit.

    git worktree add ../before HEAD~3
    python -m benchmarks.unchanged ../before                     this checkout against that one
    python -m benchmarks.unchanged ../before --only predict      commands with that text, and those that they need

Runs the commands of commands.py, which do all in all what the program can, with the code of both checkouts, side by
side and in one thread each, on the same small tables. Compares exit codes, standard output, and each file that a
command writes: tables, models and JSON by their values, web pages by their headings, pictures and the formats of other
programs by being there. Times, dates and versions are left aside.

Ends with 1 where a number, a file or an exit code differs. Where only words do, in messages, helps, comments and
sentences, it says so and ends with 0. Seeds of hashes are left random: an order that depends on them shows.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from difflib import SequenceMatcher
from itertools import zip_longest
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any, NamedTuple

from pyarrow import feather, parquet
from safetensors import safe_open

from benchmarks.commands import chosen, tables

SERVER = """
import gc, json, os, runpy, sys
import filelock, formulaic, jinja2, matplotlib.backends.backend_agg, matplotlib.figure, pandas, pydantic, torch, typer
import pyarrow.compute, pyarrow.csv, pyarrow.feather, pyarrow.parquet, safetensors.numpy
import scipy.cluster.hierarchy, scipy.io, scipy.optimize, scipy.special
torch.optim.SGD([torch.zeros(1)])  # loads much more
gc.freeze()
for line in sys.stdin:
    words, *streams = json.loads(line)
    child = os.fork()
    if not child:
        for number, name in enumerate(streams):
            os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC if number else os.O_RDONLY), number)
        sys.stdin, sys.argv = open(0, closefd=False), ["plncli", *words]
        if words[0] == "python":
            sys.exit(exec(words[1]))
        runpy.run_module("plncli", run_name="__main__", alter_sys=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""Loads other packages, and forks for each command, `python -m plncli`: most take less time than loading torch."""

FLEETING = re.compile(r"seconds(\.\w+)?$|^\.sha256$|^\.trace\.\d+\.1$|\.(start|end|date|free|versions\.\w+)$")
"""Places of what differs in JSON from run to run, or with the version: times, and the checksum of a file with times."""
MASKS = (
    (r"\n {10,}(?=\S)", " "),  # where a line is broken may depend on how long a time is
    (r"[\d.]+(e[-+]\d+)?(?=( to [-+\d.e]+)? m?s\b)", "#"),
    (r"[\d.]+ [MG]B are free", "# are free"),
    (r"(?m)^\d{4}-\d\d-\d\dT\S+ ", ""),
)


class Ran(NamedTuple):
    """How a command ended; what it said; names of files that it wrote, and of those that it removed, after a `no`."""

    code: int
    out: str
    err: str
    files: set[str]


class Checkout:
    """Runs commands with the code of a checkout, in a folder of its own."""

    def __init__(self, code: Path, folder: Path) -> None:
        if not (code / "plncli" / "__main__.py").is_file():
            raise SystemExit(f"{code} is no checkout of plncli.")
        self.folder = folder
        self.streams = [folder.with_name(f"{folder.name}.{name}") for name in ("out", "err")]
        env = {name: value for name, value in os.environ.items() if not name.startswith("PLNCLI_")}
        env |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NO_COLOR"), "1")
        env |= {"PYTHONPATH": str(code.resolve()), "COLUMNS": "80"}
        command = [sys.executable, "-c", SERVER]
        self.server = Popen(command, cwd=folder, env=env, stdin=PIPE, stdout=PIPE, text=True)

    def run(self, words: list[str], given: str) -> Ran:
        """Run a command to its end; `given` is its standard input."""
        before = self._seen()
        print(json.dumps([words, given, *map(str, self.streams)]), file=self.server.stdin, flush=True)
        code = int(self.server.stdout.readline())
        after = self._seen()
        files = {name for name in after if after[name] != before.get(name)}
        files |= {f"no {name}" for name in before.keys() - after.keys()}
        return Ran(code, *(path.read_text(encoding="utf-8", errors="replace") for path in self.streams), files)

    def _seen(self) -> dict[str, tuple[int, ...]]:
        found = {str(path.relative_to(self.folder)): path.stat() for path in self.folder.rglob("*") if path.is_file()}
        return {name: (stat.st_mtime_ns, stat.st_size, stat.st_ino) for name, stat in found.items()}


Lines = tuple[list[str], list[str]]  # of values, which must be the same; and of words


def content(path: Path) -> Lines:
    """What is compared of a file."""
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode(errors="replace")
    match path.name.removesuffix(".gz").rpartition(".")[2]:
        case "parquet" | "feather" as kind:
            table = (parquet if kind == "parquet" else feather).read_table(path)
            table = table.select([name for name in table.column_names if name != "seconds"])
            return [str(table.schema), *(repr(row) for row in zip(*table.to_pydict().values(), strict=True))], []
        case "safetensors":
            return of_model(path)
        case "json":
            return of_json(json.loads(text))
        case "csv" | "tsv" if path.name.startswith("loss_trace."):
            return [re.sub(r"^(\w+[,\t])[^,\t]*", r"\1", line) for line in text.split("\n")], []  # without seconds
        case "toml":
            return re.findall(r"(?m)^[^#\n].*", text), re.findall(r"(?m)^#.*", text)
        case "html":
            return sorted({*re.findall(r"(?s)<h\d.*?</h\d>", text)}), []
        case "log":
            return [], masked(text)
        case "csv" | "tsv" | "mtx":
            return text.split("\n"), []
    return [], []


def of_model(path: Path) -> Lines:
    """Each number of a safetensors file in a line, and what is said about them, in the order of their names."""
    with safe_open(path, "np") as file:
        arrays, about = {name: file.get_tensor(name) for name in sorted(file.keys())}, sorted(file.metadata().items())
    values = [f"{name} {array.dtype} {array.shape}" for name, array in arrays.items()]
    values += [f"{name} {k} {x!r}" for name, array in arrays.items() for k, x in enumerate(array.ravel().tolist())]
    facts, words = of_json({name: json.loads(text) if text[0] in '{["' else text for name, text in about})
    return values + facts, words


def of_json(value: Any) -> Lines:
    """Each entry in a line with its place; sentences are words."""
    found: Lines = ([], [])
    for place, leaf in _leaves(value, ""):
        if not FLEETING.search(place):
            found[isinstance(leaf, str) and " " in leaf].append(f"{place} {leaf!r}")
    return found


def _leaves(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    if not value or not isinstance(value, dict | list):
        yield place, value
        return
    for key, part in value.items() if isinstance(value, dict) else enumerate(value):
        yield from _leaves(part, f"{place}.{key}")


def masked(text: str) -> list[str]:
    """Lines without what differs from run to run."""
    for pattern, instead in MASKS:
        text = re.sub(pattern, instead, text)
    return text.splitlines()


def values_apart(a: list[str], b: list[str]) -> Iterator[str]:
    """The first line that differs, from the first cell that does, and how many lines do."""
    lines = [(k, *pair) for k, pair in enumerate(zip_longest(a, b, fillvalue="(no line)"), 1) if len({*pair}) > 1]
    for k, *pair in lines[:1]:
        cells = [re.split(r"(?<=[,\t ])", line) for line in pair]
        at = next(at for at, both in enumerate(zip_longest(*cells)) if len({*both}) > 1)
        was, now = ("".join(line[at:])[:70] for line in cells)
        yield f"line {k}, cell {at + 1}: `{was}` is now `{now}` ({len(lines)} of {max(len(a), len(b))} lines differ)"


def words_apart(a: list[str], b: list[str]) -> Iterator[tuple[bool, str]]:
    """Passages that differ, and whether it is by a number among the same words."""
    bare = [[re.sub(r"\d[\d.e+-]*", "#", line) for line in lines] for lines in (a, b)]
    for kind, i, j, k, m in SequenceMatcher(None, *bare, autojunk=False).get_opcodes():
        if kind == "equal":
            yield from ((True, what) for what in values_apart(a[i:j], b[k:m]))
        else:
            was, now = (" / ".join(lines) or "(nothing)" for lines in (a[i:j], b[k:m]))
            at = max(0, next(at for at, both in enumerate(zip_longest(was, now)) if len({*both}) > 1) - 40)
            yield False, f"`{was[at:][:150]}` is now `{now[at:][:150]}`"


def apart(sides: list[Checkout], rans: list[Ran], words: list[str], code: int) -> Iterator[tuple[bool, str, str]]:
    """What differs between two runs of a command: whether it is more than words, where it is, and what."""
    was, now = rans
    if not was.code == now.code == code:
        yield True, "exit code", f"{was.code} is now {now.code}, and ought to be {code}: {now.err[-300:]}"
    for name in sorted(was.files ^ now.files):
        yield True, name, "is no longer written" if name in was.files else "is now written"
    parts = {"messages": [([], masked(ran.err)) for ran in rans]}
    parts["output"] = [([], masked(ran.out)) if "--help" in words else (masked(ran.out), []) for ran in rans]
    if "--json" in words and was.code == now.code == 0:
        parts["output"] = [of_json(json.loads(ran.out)) for ran in rans]
    for name in sorted(was.files & now.files):
        paths = [side.folder / name for side in sides]
        if paths[0].is_file() and paths[0].read_bytes() != paths[1].read_bytes():
            parts[name] = [content(path) for path in paths]
    for name, pair in parts.items():
        (values, said), (values_now, said_now) = (
            [[line.replace(str(side.folder), "FOLDER") for line in lines] for lines in both]
            for side, both in zip(sides, pair, strict=True)
        )
        yield from ((True, name, what) for what in values_apart(values, values_now))
        yield from ((wrong, name, what) for wrong, what in words_apart(said, said_now))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", type=Path, help="checkout that shows how it was")
    parser.add_argument("--here", type=Path, default=Path(__file__).parents[1], help="checkout that is held against it")
    parser.add_argument("--only", default="", metavar="SUBSTRING", help="commands with this text alone")
    parser.add_argument("--work", type=Path, metavar="DIR", help="new folder to work in, which stays there")
    given, began = parser.parse_args(), time.monotonic()
    found: dict[tuple[bool, str], list[str]] = {}
    with tempfile.TemporaryDirectory(prefix="unchanged-") as place, ThreadPoolExecutor(2) as pool:
        work = (given.work or Path(place, "work")).resolve()
        (work / "base").mkdir(parents=True)
        tables(work / "base", given.base / "sample_data")
        shutil.copytree(work / "base", work / "here")
        sides = [Checkout(given.base, work / "base"), Checkout(given.here, work / "here")]
        for line, code, words, source in chosen(given.only):
            started = time.monotonic()
            rans = list(pool.map(Checkout.run, sides, [words] * 2, [source] * 2))
            differ = list(apart(sides, rans, words, code))
            verdict = "DIFFERS" if any(wrong for wrong, *_ in differ) else "words" if differ else "same"
            took = f"{time.monotonic() - started:5.1f} s {len(rans[0].files):3} files"
            print(f"{verdict:7} {took}  {line}", flush=True)
            for wrong, where, what in differ:
                found.setdefault((wrong, what), []).append(f"{line}\n      {where}")
    for title, kind in (("Words that differ", False), ("Numbers, files or exit codes that differ", True)):
        texts = [f"{at[0]} (1 of {len(at)}): {what}" for (wrong, what), at in found.items() if wrong == kind]
        print(f"\n{title}: {len(texts)}", *texts, sep="\n  ")
    print(f"\n{time.monotonic() - began:.0f} s")
    sys.exit(any(wrong for wrong, _ in found))


if __name__ == "__main__":
    main()
