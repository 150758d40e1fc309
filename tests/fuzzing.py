"""Files that are damaged at random, read in processes of their own: they may hang, crash, or take all memory."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import random
import re
import resource
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from written import WRITERS

SECONDS = 20.0  # that one file may take
MEMORY = 3 << 30  # bytes of address space that reading may add
LARGEST = 1 << 28  # bytes that readers are told the machine can take
RESIDENT = 1 << 30  # bytes that a process may ever have held


class Seed(NamedTuple):
    """Content to damage, and what makes a file of it."""

    content: bytes
    place: Callable[[Path, bytes], Path]


class Found(NamedTuple):
    """What came of a file."""

    kind: str
    case: int
    what: str


def tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Small counts, and what is known of their samples."""
    rng = np.random.default_rng(5)
    samples = [f"s{i}" for i in range(6)]
    counts = pd.DataFrame(rng.poisson(3, (6, 5)) + 1, index=samples, columns=["g1", "Ünï", "g 3", "4", "g5"])
    about = pd.DataFrame({"x": [1.5, 2, 3, 4, 5, np.nan], "tree": list("uvuvuv")}, index=samples)
    return counts, about


PIECES = (".zmetadata", "X/0.0", "X/data/0", "X/indices/0", "X/indptr/0")
"""Of zarr stores, what is damaged."""


def seeds(folder: Path) -> dict[str, Seed]:
    """A valid file of each format, whole or one of its parts."""

    def put(name: str) -> Callable[[Path, bytes], Path]:
        def place(here: Path, content: bytes) -> Path:
            (here / name).write_bytes(content)
            return here / name

        return place

    def member(archive: bytes, name: str) -> Callable[[Path, bytes], Path]:
        def place(here: Path, content: bytes) -> Path:
            with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(here / "t.zip", "w") as new:
                for each in old.namelist():
                    new.writestr(each, content if each == name else old.read(each))
            return here / "t.zip"

        return place

    def among(others: dict[str, bytes], name: str) -> Callable[[Path, bytes], Path]:
        def place(here: Path, content: bytes) -> Path:
            for each, whole in (others | {name: content}).items():
                (here / each).parent.mkdir(parents=True, exist_ok=True)
                (here / each).write_bytes(whole)
            return here

        return place

    def store(others: dict[str, bytes], name: str) -> Callable[[Path, bytes], Path]:
        into = among(others, name)
        return lambda here, content: into(here / "t.zarr", content)

    counts, about = tables()
    made: dict[str, Seed] = {}
    for kind, write in WRITERS.items():
        here = folder / kind.replace(" ", "-")
        here.mkdir()
        path = write(here, counts, about)
        if path == here:
            files = {file.name: file.read_bytes() for file in sorted(here.iterdir())}
            made |= {f"{kind}: {name}": Seed(content, among(files, name)) for name, content in files.items()}
            continue
        if path.is_dir():
            files = {
                str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()
            }
            made |= {f"{kind}: {name}": Seed(files[name], store(files, name)) for name in PIECES if name in files}
            continue
        content = path.read_bytes()
        made[kind] = Seed(content, put(path.name))
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                for name in archive.namelist():
                    if re.search(r"sheet1.xml|workbook.xml$|sharedStrings|[.]biom|styles", name):
                        made[f"{kind}: {name}"] = Seed(archive.read(name), member(content, name))
    text = counts.to_csv(sep="\t")
    made["tsv"] = Seed(text.encode(), put("t.tsv"))
    made["semicolons"] = Seed(counts.to_csv(sep=";", quoting=1).encode(), put("t.csv"))
    made["utf-16"] = Seed(text.encode("utf-16"), put("t.txt"))
    for module in ("gzip", "bz2", "lzma"):
        made[module] = Seed(__import__(module).compress(text.encode()), put("t.packed"))
    return made


HEADS = (
    b"\x89HDF\r\n\x1a\n", b"PK\x03\x04", b"PAR1", b"ARROW1\x00\x00", b"\x1f\x8b", b"BZh9", b"{", b"\xff\xfe", b"# ",
    b"%%MatrixMarket matrix coordinate integer general\n", b"\xd0\xcf\x11\xe0", b"sep=;\n", b"\xfd7zXZ\x00",
)  # fmt: skip
WORDS = (
    b"\xff" * 8, b"\x00" * 8, b"\x7f" + b"\xff" * 7, b"999999999999", b"-1", b"1e999", b"nan", b'"', b",", b";", b"\t",
    b"\n", b"\r", b"\x00", b"\x1b[2J", b"#", b"::", b"null", b"[]", b"{}", b"\xe2\x80\xa8",
)  # fmt: skip


def damage(content: bytes, other: bytes, rng: random.Random) -> bytes:
    """A file with one to four faults."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = rng.randrange(len(data) + 1)
        size = min(rng.choice((1, 1, 2, 4, 8, 64, 512)), len(data) - at)
        match rng.randrange(11):
            case 0 | 1 if at < len(data):
                data[at] ^= 1 << rng.randrange(8)
            case 2:
                del data[at:]
            case 3:
                del data[at : at + size]
            case 4:
                data[at:at] = rng.randbytes(rng.choice((1, 2, 8)))
            case 5:
                data[at : at + rng.choice((0, 1, 8))] = rng.choice(WORDS)
            case 6:
                data[at:at] = data[at : at + size] * rng.choice((1, 2, 40))
            case 7:
                start = rng.randrange(len(other))
                data[at : at + size] = other[start : start + size]
            case 8:
                lines = data.splitlines(keepends=True)
                rng.shuffle(lines)
                data = bytearray(b"".join(lines))
            case 9:
                head = rng.choice(HEADS)
                data[: rng.choice((0, len(head)))] = head
            case _ if found := list(re.finditer(rb"\d+", data)):
                number = rng.choice(found)
                data[number.start() : number.end()] = rng.choice(
                    (b"0", b"-7", b"1000000000000", b"9" * 30, b"4294967296", b"2147483647", b"1.5", b"1,234")
                )
    return bytes(data)


def case(made: dict[str, Seed], kind: str, number: int) -> bytes:
    """The damaged content that a number stands for."""
    rng = random.Random(f"{kind} {number}")
    return damage(made[kind].content, made[rng.choice(list(made))].content, rng)


def outcome(path: Path, option: str) -> str:
    """`read`, `refused`, or what else came out of reading a table and its numbers."""
    from plncli.errors import PlncliError
    from plncli.tables.numbers import missing_cells, numbers
    from plncli.tables.reading import read_table
    from plncli.tables.table import Table

    try:
        table = read_table(str(path), option)
        assert isinstance(table, Table) and len(table.samples) == table.cells.num_rows > 0
        assert len(set(table.samples)) == len(table.samples) and len(set(table.columns)) == len(table.columns)
        missing_cells(table)
        values, _ = numbers(table, "Give numbers.")
        assert values.shape == (len(table.samples), len(table.columns))
    except PlncliError as error:
        return _message(str(error))
    except Exception as error:  # noqa: BLE001 (that is what is looked for)
        return f"{type(error).__name__}: {error}"
    return "read"


def _message(text: str) -> str:
    """`refused`, or what is wrong with the sentences of a refusal."""
    odd = re.search(r"[\x00-\x1f\x7f-\x9f]|Traceback|<[a-z_]+\.|object at 0x|[Uu]nable to allocate|bad_alloc", text)
    if odd or len(text) > 1500 or not text.rstrip().endswith((".", "?")):
        return f"message: {text}"
    return "refused"


def dry_run(path: Path) -> str:
    """What `plncli fit pln --dry-run` says of the file."""
    from plncli import cli

    said, old = io.StringIO(), sys.argv
    sys.argv = ["plncli", "fit", "pln", "--counts", str(path), "--dry-run", "--all-zero", "drop"]
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            code = cli._run()
    finally:
        sys.argv = old
    if code in (0, 2, 3) and "Traceback" not in said.getvalue():
        return "read" if code == 0 else "refused"
    return f"exit code {code}: {said.getvalue()}"


def most_held() -> int:
    """Bytes that this process has held at most; getrusage would count those of the process that started it, too."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) << 10


def limit_memory() -> None:
    """Let this process take only so much more than it has."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))


def _work(kinds: Sequence[str], first: int, last: int, dry: int, pipe: Any) -> None:
    """Read the files of some numbers, and send what came of each before the next is begun."""
    from plncli.tables import content

    warnings.simplefilter("ignore")
    content.most_bytes = lambda: LARGEST
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "seeds").mkdir()
        made = seeds(folder / "seeds")
        here = folder / "here"
        here.mkdir()
        for kind in kinds:
            outcome(made[kind].place(here, made[kind].content), "counts")  # packages are loaded
        if dry:
            dry_run(made["csv"].place(folder, made["csv"].content))
        limit_memory()
        most = max(RESIDENT, most_held() + RESIDENT // 2)  # a fork begins with all that the process before it held
        for number in range(first, last):
            kind = kinds[number % len(kinds)]
            path = made[kind].place(here, case(made, kind, number))
            option = "covariates" if number % 3 == 2 else "counts"
            said = dry_run(path) if dry and number % dry == 0 else outcome(path, option)
            if most_held() > most:
                said = "memory"
            pipe.send((number, said))
            if said == "memory":
                break  # in a new process the most that was ever held is small again
    pipe.send((last, ""))


def found_in(kinds: Sequence[str], first: int, last: int, dry: int = 0) -> Iterator[Found]:
    """What came of the files first to last − 1, of formats in turn; every `dry`-th is given to the whole program."""
    start = "fork" if last - first < 500 else "spawn"  # a few are not worth the seconds of a start from nothing
    for number, said in in_processes(_work, lambda start: (kinds, start, last, dry), first, last, SECONDS, start):
        yield Found(kinds[number % len(kinds)], number, said)


def in_processes(
    work: Callable[..., None],
    arguments: Callable[[int], tuple[Any, ...]],
    first: int,
    last: int,
    seconds: float,
    start: str = "spawn",
) -> Iterator[tuple[int, str]]:
    """Numbers first to last − 1, and what `work(*arguments(first), pipe)` sends of each.

    After a failure it goes on in a new process. `hang` is said of one that takes longer than `seconds`, `crash` of one
    that takes its process with it.
    """
    context = multiprocessing.get_context(start)
    while first < last:
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=work, args=(*arguments(first), theirs))
        process.start()
        theirs.close()
        try:
            patience = 120.0  # until it is ready
            while first < last and ours.poll(patience):
                number, said = ours.recv()
                if not said:
                    break
                yield number, said
                first, patience = number + 1, seconds
            else:
                if first < last:
                    yield first, "hang"
                    first += 1
        except EOFError:
            process.join()
            yield first, f"crash ({process.exitcode})"
            first += 1
        finally:
            process.kill()
            process.join()
