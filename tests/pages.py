"""The pages of the docs as programs: their blocks are run in order, and what they show is what is printed.

A block ```` ```sh ```` is run by bash and ```` ```python ```` by Python, both in one folder a page; `<!-- sh ... -->`
is run before, and not shown. A block ```` ```text ```` after one of them is what it prints: a line `...` stands for any
lines, and numbers of seconds and bytes may differ. `pictures/PAGE/NAME` is the file NAME that the page has drawn.

Run as a program, this puts what is printed now into the pages, for whoever changed it to read (`make docs-output`), or
only draws their pictures (`--pictures`, for `make docs`).
"""

from __future__ import annotations

import atexit
import contextlib
import io
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from shutil import copyfile, copytree, rmtree
from typing import Any

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [
    ROOT / "README.md",
    *sorted(page for page in DOCS.rglob("*.md") if not {"_build", "generated"} & {*page.parts}),
]

FENCE = re.compile(r"^```(\w+)\n(.*?)^```$|^<!-- (sh)\n(.*?)^-->$", re.M | re.S)
PICTURE = re.compile(r"\]\(pictures/\w+/([^)]+)\)")
NUMBER = re.compile(r"(?<![\w.])[-−+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?(?![\w]|\.\d)")
VARYING = re.compile(r"^(gap|steps|se|time|memory|total|speed) |\b(m?s|[kMG]B|minutes|free)\b")
"""Lines of which the numbers are of the machine, or of the last steps of a fit."""
INDENTED = " " * 10
"""What a line begins with that goes on with the one before."""


@dataclass(frozen=True)
class Block:
    """A block of a page: language, text, and where the text lies in the page; `hidden` ones are preparation."""

    language: str
    text: str
    start: int
    hidden: bool
    shows: Block | None = None


def blocks(page: str) -> list[Block]:
    """All of them in order; the output that a block shows is part of it."""
    found: list[Block] = []
    for match in FENCE.finditer(page):
        hidden = match[3] is not None
        text, start = (match[4], match.start(4)) if hidden else (match[2], match.start(2))
        block = Block(match[3] or match[1], text, start, hidden)
        runs = found and found[-1].language in ("sh", "python") and found[-1].shows is None
        if block.language == "text" and runs:
            found[-1] = replace(found[-1], shows=block)
        else:
            found.append(block)
    return found


def same(shown: str, printed: str) -> bool:
    """Whether two lines tell the same, but for blanks and for numbers that another machine or run would change."""
    if shown.endswith("...") and shown != "...":
        return printed.startswith(shown[:-3].rstrip()) or same(shown[:-3], printed[: len(shown) - 3])
    words = [NUMBER.sub("0", re.sub(r"[ ─━-]{2,}", " ", line)).split() for line in (shown, printed)]
    if words[0] != words[1]:
        return False
    if VARYING.search(shown):
        return True
    numbers = [[float(each.replace("−", "-")) for each in NUMBER.findall(line)] for line in (shown, printed)]
    return all(abs(one - other) <= 0.02 * max(abs(one), 1e-3) for one, other in zip(*numbers, strict=True))


def unwrapped(text: str) -> list[str]:
    """The lines of a block; one with numbers that vary, whose length does so too, with those that it goes on in."""
    found: list[str] = []
    for line in text.splitlines():
        if found and VARYING.search(found[-1]) and line.startswith(INDENTED):
            found[-1] += " " + line.removeprefix(INDENTED)
        else:
            found.append(line)
    return found


def difference(shown: str, printed: str) -> str | None:
    """The first line of a block that is not printed in its place, or nothing."""
    lines, rest = unwrapped(shown), unwrapped(printed)
    at, free = 0, False
    for number, line in enumerate(lines):
        if line.strip() == "...":
            free = True
            continue
        after = sum(each.strip() != "..." for each in lines[number:])
        last = len(rest) - after if "..." not in lines[number:] else len(rest)
        places = range(at, last + 1) if free else range(at, at + 1)
        if free and "..." not in lines[number:]:
            places = range(last, last + 1)  # the end is the end
        place = next((place for place in places if place < len(rest) and same(line, rest[place])), None)
        if place is None:
            return line
        at, free = place + 1, False
    return None if free or at == len(rest) else f"{rest[at]} (printed, not shown)"


def renewed(shown: str, printed: str) -> str:
    """What is printed, left out where the page leaves out: as many lines before and after `...` as it has."""
    lines = shown.splitlines()
    if "..." not in lines:
        return printed
    at = lines.index("...")
    rest, last = printed.splitlines(), len(lines) - at - 1
    return "".join(f"{line}\n" for line in [*rest[:at], "...", *(rest[-last:] if last else [])])


def run(page: Path, folder: Path, shell: Any) -> Iterator[tuple[Block, str]]:
    """Run the blocks of a page: each with what it printed. A block that fails is an error."""
    names: dict[str, Any] = {}
    for block in blocks(page.read_text(encoding="utf-8")):
        if block.language == "sh" and not block.hidden:
            code, printed = shell.run(block.text)
            assert code == 0, f"{page}: {block.text}{printed}"
            yield block, printed
        elif block.language == "python":
            out = io.StringIO()
            with contextlib.chdir(folder), contextlib.redirect_stdout(out):
                exec(compile(block.text, str(page), "exec"), names)
            yield block, out.getvalue()


@cache
def prepared(script: str) -> Path:
    """A folder after some preparation, made once for all pages that begin with it."""
    from shell import Shell

    folder = Path(tempfile.mkdtemp(prefix="pages-"))
    atexit.register(rmtree, folder, ignore_errors=True)
    shell = Shell(folder)
    code, printed = shell.run(script)
    shell.close()
    assert code == 0, printed
    return folder


def begin(page: Path, folder: Path) -> Any:
    """A shell in a folder that holds what the page takes for granted."""
    from shell import Shell

    hidden = "".join(block.text for block in blocks(page.read_text(encoding="utf-8")) if block.hidden)
    if hidden:
        copytree(prepared(hidden), folder, dirs_exist_ok=True)
    else:
        folder.mkdir(exist_ok=True)
    return Shell(folder)


def renew(page: Path, *, drawn: bool) -> None:
    """Put the pictures of a page beside it and, unless only these are wanted, what is printed now into it."""
    text, moved = page.read_text(encoding="utf-8"), 0
    pictures = PICTURE.findall(text)
    if drawn and not pictures:
        return
    print(page.relative_to(ROOT), flush=True)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "work"
        shell = begin(page, folder)
        for block, printed in [*run(page, folder, shell)]:
            if drawn or block.shows is None or difference(block.shows.text, printed) is None:
                continue
            start = block.shows.start + moved
            now = renewed(block.shows.text, printed)
            text = text[:start] + now + text[start + len(block.shows.text) :]
            moved += len(now) - len(block.shows.text)
            print(f"  after {block.text.splitlines()[-1]}")
        shell.close()
        for name in pictures:
            target = page.parent / "pictures" / page.stem / name
            target.parent.mkdir(parents=True, exist_ok=True)
            copyfile(folder / name, target)
    if not drawn:
        page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    words = sys.argv[1:]
    for path in [Path(word).resolve() for word in words if word != "--pictures"] or PAGES:
        renew(path, drawn="--pictures" in words)
