"""Files of an adversary: checksums fit, links lead elsewhere, little holds much, names are code. All are but data."""

from __future__ import annotations

import copy
import json
import random
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Ran
from safetensors.numpy import load, save

from plncli.files.checkpoints import checksum
from plncli.files.runs import _sum

Cli = Callable[..., Ran]
TABLES = ("--counts", "made/counts.csv", "--covariates", "made/covariates.csv", "--exposure", "made/exposure.csv")
FIT = ("fit", "pln", *TABLES, "--formula", "~ x")
ODD: tuple[Any, ...] = (
    *(None, True, -1, 0, 1.5, 10**30, float("nan"), float("inf"), "", "x", "../../x", "/etc/passwd", "a\0b"),
    *([], [None], [[]], {}, {"": None}),
)
"""What may stand where something else is expected."""
GONE = object()


@pytest.fixture
def made(cli: Cli, tmp_path: Path) -> Path:
    """A folder with simulated tables in `made`."""
    assert cli("simulate", "--n", "40", "--p", "5", "--levels", "2", "--out", "made", "-q").code == 0
    return tmp_path


def places(content: Any, most: int = 3) -> Iterator[tuple[Any, ...]]:
    """Paths to all that is in JSON, of lists to the first few entries."""
    yield ()
    inside = enumerate(content[:most]) if isinstance(content, list) else ()
    for key, value in content.items() if isinstance(content, dict) else inside:
        yield from ((key, *path) for path in places(value, most))


def altered(content: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy with another value at a path, or without it."""
    if not path:
        return value
    made = copy.copy(content)
    if len(path) == 1 and value is GONE:
        del made[path[0]]
    else:
        made[path[0]] = altered(content[path[0]], path[1:], value)
    return made


def alterations(content: Any, each: int) -> Iterator[tuple[str, Any]]:
    """JSON with one place forged, and where; `each`: every so many of them, at random."""
    pairs = [(path, value) for path in places(content) if path for value in (GONE, *ODD)]
    for path, value in random.Random(0).sample(pairs, len(pairs) // each):
        told = "gone" if value is GONE else repr(value)
        yield f"{'.'.join(map(str, path))} {told}", altered(content, path, value)


def apart(content: bytes) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Tensors and facts of a safetensors file, without their checksum."""
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    texts = header["__metadata__"]
    return load(content), {name: json.loads(text) for name, text in texts.items() if name != "sha256"}


def checkpoint(arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any], raw: tuple[str, ...] = ()) -> bytes:
    """A checkpoint of any content, with the checksum of it; raw: facts that are given as text."""
    texts = {name: value if name in raw else json.dumps(value) for name, value in facts.items()}
    return save(dict(arrays), {**texts, "sha256": checksum(arrays, texts)})


def model(arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> bytes:
    """A model file of any content, with the checksum of it."""
    texts = {name: json.dumps(value) for name, value in facts.items()}
    return save(dict(arrays), {**texts, "sha256": _sum(texts, {name: array.shape for name, array in arrays.items()})})


def tensors(arrays: Mapping[str, np.ndarray]) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """The same with a tensor forged, and how."""
    for name, array in arrays.items():
        if array.dtype.kind == "f":
            yield f"{name} nan", {**arrays, name: np.full_like(array, np.nan)}
            yield f"{name} inf", {**arrays, name: np.full_like(array, np.inf)}
            yield f"{name} huge", {**arrays, name: np.full_like(array, 1e300)}
            yield f"{name} text", {**arrays, name: array.astype(np.int8)}
        else:
            for value in (-1, 99, 2**31 - 1):
                yield f"{name} {value}", {**arrays, name: np.full_like(array, value)}
            yield f"{name} number", {**arrays, name: array.astype(np.float64)}
        yield f"{name} zero", {**arrays, name: np.zeros_like(array)}
        yield f"{name} flat", {**arrays, name: array.reshape(-1)[:1]}
        yield f"{name} empty", {**arrays, name: array.reshape(-1)[:0]}
        yield f"{name} wider", {**arrays, name: np.stack([array, array])}
        yield f"{name} gone", {key: value for key, value in arrays.items() if key != name}
        yield f"{name} renamed", {f"{key}/../x" if key == name else key: value for key, value in arrays.items()}


def refused_or_done(ran: Ran, codes: tuple[int, ...] = (0, 2, 3)) -> bool:
    """Whether a command ended well, or with one sentence."""
    told = ran.err.count("plncli: error: ") == (ran.code in (2, 3, 5))
    return ran.code in codes and told and "Traceback" not in ran.err and len(ran.err) < 4000


# Model files with a checksum that fits

READERS = {
    "show": ("show", "bad"),
    "json": ("show", "bad", "--json"),
    "predict": ("predict", "bad", *TABLES[2:]),
    "fitted": ("predict", "bad", *TABLES),
    "transform": ("transform", "bad", *TABLES),
    "test": ("test", "bad", "--contrast", "x"),
    "equal": ("test", "bad", "--equal", "group"),
    "compare": ("compare", "bad", "run"),
    "diagnose": ("diagnose", "bad"),
    "simulate": ("simulate", "--from", "bad", "--out", "drawn"),
    "coefficients": ("plot", "bad", "coefficients", "--out", "c.svg"),
    "loss": ("plot", "bad", "loss", "--out", "l.svg"),
    "pca": ("plot", "bad", "pca", "--out", "p.svg"),
    "report": ("report", "bad", "--no-diagnose", "--out", "r.html", "--multiqc", "mqc"),
    "init": (*FIT, "--init", "bad", "--out", "other"),
}
MODELS = {
    "pln": ("fit", "pln", *TABLES, "--formula", "~ x + group", "--offset-method", ""),
    "logistic": ("fit", "logistic", "--covariates", "made/covariates.csv", "--formula", "group ~ x"),
}


def cleared(folder: Path) -> None:
    for name in ("drawn", "other", "mqc"):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in ("c.svg", "l.svg", "p.svg", "r.html"):
        (folder / name).unlink(missing_ok=True)


@pytest.mark.parametrize(
    "each", [300, pytest.param(int(__import__("os").environ.get("EACH", "3")), marks=pytest.mark.slow)]
)
def test_model_files_whose_checksum_fits_are_held_to_what_they_say(cli: Cli, made: Path, each: int) -> None:
    assert cli("fit", "pln", *TABLES, "--formula", "~ x + group", "--out", "run").code == 0
    shutil.copytree(made / "run", made / "bad")
    arrays, facts = apart((made / "run/model.safetensors").read_bytes())
    forged = [(name, model(arrays, one)) for name, one in alterations(facts, each)]
    forged += [(name, model(one, facts)) for name, one in tensors(arrays)][:: max(each // 6, 1)]
    wrong = []
    for number, (name, content) in enumerate(forged):
        (made / "bad/model.safetensors").write_bytes(content)
        for verb in [list(READERS)[number % len(READERS)], list(READERS)[(7 * number + 3) % len(READERS)]]:
            ran = cli(*READERS[verb])
            cleared(made)
            if not refused_or_done(ran, (0, 2, 3, 4)):
                wrong.append((name, verb, ran.code, ran.err[-700:]))
    assert not wrong, f"{len(wrong)} of {len(forged)}: {wrong[:3]}"
