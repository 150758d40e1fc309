"""Files of an adversary: checksums fit, links lead elsewhere, little holds much, names are code. All are but data."""

from __future__ import annotations

import copy
import json
import os
import random
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Ran
from safetensors.numpy import load, save

from plncli.runs.run import _sum
from plncli.runs.unfinished.checkpoints import checksum

Cli = Callable[..., Ran]
TABLES = ("--counts", "made/counts.csv", "--covariates", "made/covariates.csv", "--exposure", "made/exposure.csv")
FIT = ("fit", "pln", *TABLES, "--formula", "~ x")
ODD: tuple[Any, ...] = (
    *(None, True, -1, 0, 1.5, 10**30, float("nan"), float("inf"), "", "x", "../../x", "/etc/passwd", "a\0b"),
    *([], [None], [[]], {}, {"": None}),
)
"""What may stand where something else is expected."""
GONE = object()


pytestmark = pytest.mark.usefixtures("unpainted")


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


SOME = [60, pytest.param(1, marks=pytest.mark.slow)]  # each sixtieth, or all


# Model files with a checksum that fits

READERS = {
    "show": ("show", "bad"),
    "json": ("show", "bad", "--json"),
    "contrast": ("test", "bad", "--contrast", "x"),
    "equal": ("test", "bad", "--equal", "group"),
    "terms": ("test", "bad", "--terms", "group"),
    "compare": ("compare", "bad", "run"),
    "diagnose": ("diagnose", "bad"),
    "simulate": ("simulate", "--from", "bad", "--out", "drawn"),
    "coefficients": ("plot", "bad", "coefficients", "--out", "c.svg"),
    "report": ("report", "bad", "--no-diagnose", "--out", "r.html", "--multiqc", "mqc"),
    "init": ("fit", "MODEL", "--config", "made/config.toml", "--init", "bad", "--out", "other"),
}
OF_ROWS = {"predict": ("predict", "bad", "--covariates", "made/covariates.csv")}
OF_ONE = {
    "pln": {
        "predict": ("predict", "bad", *TABLES[2:]),
        "fitted": ("predict", "bad", *TABLES),
        "transform": ("transform", "bad", *TABLES),
        "loss": ("plot", "bad", "loss", "--out", "p.svg"),
        "pca": ("plot", "bad", "pca", "--out", "p.svg"),
    },
    "logistic": {**OF_ROWS, "roc": ("plot", "bad", "roc", "--out", "p.svg")},
    "linear": {**OF_ROWS, "sigma": ("plot", "bad", "sigma", "--out", "p.svg")},
}


def cleared(folder: Path) -> None:
    for name in ("drawn", "other", "mqc"):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in ("c.svg", "p.svg", "r.html"):
        (folder / name).unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("model_name", "each"),
    [
        ("pln", 2000),
        *(
            pytest.param(name, each, marks=pytest.mark.slow)
            for name, each in (("pln", 8), ("logistic", 12), ("linear", 12))
        ),
    ],
)
def test_model_files_whose_checksum_fits_are_held_to_what_they_say(
    cli: Cli, tmp_path: Path, model_name: str, each: int
) -> None:
    assert cli("simulate", model_name, "--n", "40", "--p", "4", "--levels", "2", "--out", "made", "-q").code == 0
    assert cli("fit", model_name, "--config", "made/config.toml", "--out", "run").code == 0
    readers = READERS | OF_ONE[model_name]
    readers["init"] = tuple(model_name if word == "MODEL" else word for word in READERS["init"])
    shutil.copytree(tmp_path / "run", tmp_path / "bad")
    for verb, words in readers.items():
        ran = cli(*words)
        assert ran.code == 0 or verb == "compare", (verb, ran.err)
        cleared(tmp_path)
    arrays, facts = apart((tmp_path / "run/model.safetensors").read_bytes())
    forged = [(name, model(arrays, one)) for name, one in alterations(facts, each)]
    forged += [(name, model(one, facts)) for name, one in tensors(arrays)][:: max(each // 6, 1)]
    wrong, verbs = [], list(readers)
    for number, (name, content) in enumerate(forged):
        (tmp_path / "bad/model.safetensors").write_bytes(content)
        for verb in {verbs[number % len(verbs)], verbs[(7 * number + 3) % len(verbs)]}:
            ran = cli(*readers[verb])
            cleared(tmp_path)
            if not refused_or_done(ran, (0, 2, 3, 4)):
                wrong.append((name, verb, ran.code, ran.err[-700:]))
    assert not wrong, f"{len(wrong)} of {len(forged)}: {wrong[:3]}"


# Checkpoints with a checksum that fits

STATES = {
    "newton-cg": ("--optimizer", "newton-cg", "--max-iter", "2"),
    "lbfgs": ("--optimizer", "lbfgs", "--max-iter", "5"),
    "adam": ("--optimizer", "adam", "--max-iter", "5"),
    "vem": ("--optimizer", "vem", "--max-iter", "2", "--covariance", "diagonal"),
}


@pytest.mark.parametrize("optimizer", STATES)
@pytest.mark.parametrize("each", SOME)
def test_checkpoints_whose_checksum_fits_go_on_to_the_optimum_or_are_refused(
    cli: Cli, made: Path, optimizer: str, each: int
) -> None:
    assert cli(*FIT, *STATES[optimizer][:2], *STATES[optimizer][4:], "--out", "whole").code == 0
    assert cli(*FIT, *STATES[optimizer], "--out", "run").code == 4
    path = made / "run.checkpoint/a.safetensors"
    best = json.loads((made / "whole/summary.json").read_text())["elbo"]
    arrays, facts = apart(path.read_bytes())
    facts.pop("schema_version")
    forged = [(name, checkpoint(arrays, {"schema_version": 1, **one})) for name, one in alterations(facts, 10 * each)]
    forged += [(name, checkpoint(one, {"schema_version": 1, **facts})) for name, one in tensors(arrays)][::each]
    deep = {"schema_version": 1, **facts, "facts": "[" * 100_000 + "]" * 100_000}
    forged += [("deep", checkpoint(arrays, deep, ("facts",)))]
    told, wrong = {path.name for path in made.iterdir()}, []
    for name, content in forged:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        ran = cli("resume", "run", "--max-iter", "500")
        if not refused_or_done(ran, (0, 2, 3, 4)):
            wrong.append((name, ran.code, ran.err[-900:]))
        elif ran.code == 0:
            found = json.loads((made / "run/summary.json").read_text())
            if abs(found["elbo"] - best) > 1e-3 or found["gap"] > 1e-3:
                wrong.append((name, found["elbo"], found["gap"]))
        assert {path.name for path in made.iterdir()} <= told, name
        shutil.rmtree(path.parent, ignore_errors=True)
    assert not wrong, f"{len(wrong)} of {len(forged)}: {wrong[:3]}"


def test_a_checkpoint_of_a_descent_that_says_it_is_done_is_not_believed(cli: Cli, made: Path) -> None:
    assert cli(*FIT, "--optimizer", "adam", "--out", "whole").code == 0
    assert cli(*FIT, "--optimizer", "adam", "--max-iter", "3", "--out", "run").code == 4
    path = made / "run.checkpoint/a.safetensors"
    arrays, facts = apart(path.read_bytes())
    for ended in ("CONVERGED", "STALLED", "DEGENERATE", "DIVERGED"):
        state = {**facts["facts"]["state"], "ended": ended, "gap": 0.0, "best": -1e9}
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(checkpoint(arrays, {**facts, "facts": {**facts["facts"], "state": state}}))
        ran = cli("resume", "run")
        found = json.loads((made / "run/summary.json").read_text())
        if ended == "STALLED" and found["converged"]:  # what is stuck is begun anew, and then it is found out
            whole = json.loads((made / "whole/summary.json").read_text())
            assert ran.code == 0 and found["elbo"] == pytest.approx(whole["elbo"], abs=1e-3)
            continue
        assert not found["converged"] and ran.code in (3, 4), (ended, ran.err)
        assert found["gap"] is None or found["gap"] > 1e-3, ended
        assert found["elbo"] < 0.0 and found["se"] == "none"


def resettled(path: Path, **changes: Any) -> None:
    """Change the configuration, and the settings, that a checkpoint is about."""
    arrays, facts = apart(path.read_bytes())
    for part in ("configuration", "settings"):
        facts["about"][part] = {**facts["about"][part], **changes}
    path.write_bytes(checkpoint(arrays, facts))


def test_a_checkpoint_leads_to_no_other_files(cli: Cli, made: Path) -> None:
    secret = made / "secret.csv"
    secret.write_text("id,f1\ns01,hunter2\n")
    assert cli(*FIT, "--out", "run", "--max-iter", "2").code == 4
    path = made / "run.checkpoint/a.safetensors"
    whole, before = path.read_bytes(), {path.name for path in made.iterdir()}
    for changes in (
        {"counts": str(secret)},
        {"covariates": str(secret)},
        {"offsets": str(secret), "exposure": None},
        {"weights": str(secret)},
        {"samples": str(secret)},
        {"init": str(secret)},
        {"counts": "/dev/zero"},
        {"counts": "/dev/tty"},
    ):
        path.write_bytes(whole)
        resettled(path, **changes)
        ran = cli("resume", "run")
        assert refused_or_done(ran, (2, 3)) and "hunter2" not in ran.err + ran.out, (changes, ran.err)
        assert {path.name for path in made.iterdir()} == before
    path.write_bytes(whole)
    resettled(path, tensorboard=str(made / "events"), out=str(made / "elsewhere"), overwrite=True)
    ran = cli("resume", "run")
    assert ran.code == 0 and "Nothing is written into" in ran.err
    assert {path.name for path in made.iterdir()} == before - {"run.checkpoint"}


def test_a_run_leads_to_no_other_files(cli: Cli, made: Path) -> None:
    assert cli(*FIT, "--out", "run").code == 0
    (made / "secret.csv").write_text("id,f1\ns01,hunter2\n")
    arrays, facts = apart((made / "run/model.safetensors").read_bytes())
    for name in ("counts", "weights", "offsets", "cluster"):
        facts["settings"][name] = str(made / "secret.csv")
        facts["fingerprint"] = {}
        (made / "run/model.safetensors").write_bytes(model(arrays, facts))
        for words in (("diagnose", "run"), ("report", "run", "--out", "r.html", "--overwrite")):
            ran = cli(*words)
            page = (made / "r.html").read_text() if (made / "r.html").exists() else ""
            assert refused_or_done(ran) and "hunter2" not in ran.err + page


@pytest.mark.parametrize("each", [900, pytest.param(10, marks=pytest.mark.slow)])
@pytest.mark.parametrize("file", ["manifest", "summary"])
def test_forged_manifests_and_summaries(cli: Cli, made: Path, file: str, each: int) -> None:
    assert cli(*FIT, "--out", "run").code == 0
    shutil.copytree(made / "run", made / "bad")
    path, wrong = made / f"bad/{file}.json", []
    whole = path.read_text()
    content = json.loads(whole)
    forged = [*alterations(content, each), *((repr(value), value) for value in ODD[:: max(each // 20, 1)])]
    texts = [(name, json.dumps(one)) for name, one in forged] + [("deep", "[" * 99_999), ("bytes", "\udcff")]
    for number, (name, text) in enumerate(texts):
        verbs = [
            *(("rerun", "bad", "--check"), ("compare", "bad", "run"), ("show", "bad"), ("diagnose", "bad")),
            ("report", "bad", "--out", "r.html", "--overwrite", "--no-diagnose"),
            (*FIT, "--out", "bad", "--resume"),
        ]
        path.write_bytes(text.encode(errors="surrogateescape"))
        ran = cli(*verbs[number % len(verbs)])
        if not refused_or_done(ran, (0, 2, 3)) and not (ran.code == 3 and "not repeated to the bit" in ran.err):
            wrong.append((name, verbs[number % len(verbs)], ran.code, ran.err[-700:]))
        path.write_text(whole)
    assert not wrong, f"{len(wrong)} of {len(texts)}: {wrong[:3]}"


def test_forgeries_of_one_value(cli: Cli, made: Path) -> None:
    """Those that a check of types alone lets through: a gap that is not known, a model that is a list, a huge count."""
    assert cli(*FIT, "--out", "run").code == 0
    arrays, facts = apart((made / "run/model.safetensors").read_bytes())
    shutil.copytree(made / "run", made / "bad")
    for name, value in facts["summary"].items():
        for huge in (10**30, -(2**64)) if type(value) is int else ():
            (made / "bad/model.safetensors").write_bytes(model(arrays, altered(facts, ("summary", name), huge)))
            ran = cli("compare", "bad", "run")
            assert refused_or_done(ran, (3,)) and "its content is not that of a model file" in ran.err, (name, ran.err)
    (made / "run/model.safetensors").write_bytes(model(arrays, altered(facts, ("summary", "gap"), None)))
    assert cli("report", "run", "--out", "r.html", "--no-diagnose").code == 0
    assert "how far it is from the optimum is not known" in (made / "r.html").read_text()

    manifest = json.loads((made / "run/manifest.json").read_text())
    manifest["configuration"]["model"] = [[]]
    (made / "run/manifest.json").write_text(json.dumps(manifest))
    ran = cli(*FIT, "--out", "run", "--resume")
    assert refused_or_done(ran, (0,)), ran.err  # as if there were none

    for optimizer in ("lbfgs", "adam"):
        assert cli(*FIT, *STATES[optimizer], "--out", optimizer).code == 4
        path = made / f"{optimizer}.checkpoint/a.safetensors"
        arrays, facts = apart(path.read_bytes())
        if optimizer == "lbfgs":
            assert isinstance(facts["facts"]["state"]["optimizer"]["t"], float)
            path.write_bytes(checkpoint(arrays, altered(facts, ("facts", "state", "optimizer", "t"), 10**30)))
            ran = cli("resume", optimizer)
            assert refused_or_done(ran, (3,)) and "its optimizer remembers another t" in ran.err, ran.err
        path.write_bytes(checkpoint(arrays, altered(facts, ("about", "configuration", "model"), [[]])))
        ran = cli("resume", optimizer)
        assert refused_or_done(ran, (3,)) and "is of no model that there is" in ran.err, ran.err


# Links


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def elsewhere(made: Path) -> Path:
    """A folder of somebody's own, with files of names that plncli uses too."""
    folder = made / "elsewhere"
    folder.mkdir()
    for name in ("a.safetensors", "b.safetensors", "pieces", "coefficients.csv", "own.txt"):
        (folder / name).write_text(f"my {name}")
    return folder


@pytest.mark.parametrize(
    "target", ["elsewhere", pytest.param("elsewhere/own.txt", marks=pytest.mark.slow), "elsewhere/none"]
)
@pytest.mark.parametrize("link", ["run.checkpoint", ".run.lock", "run.loss_trace.csv", ".{}.partial.a.safetensors"])
def test_links_beside_the_results_are_not_followed(
    cli: Cli, made: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch, link: str, target: str
) -> None:
    monkeypatch.setattr("plncli.runs.trace.LONG", 0.0)
    (made / link.format(os.getpid())).symlink_to(target)
    before = snapshot(elsewhere)
    refused = link in ("run.checkpoint", ".run.lock")
    for more in ((), ("--overwrite",), ("--resume",), ("--overwrite", "--checkpoint-every", "1e-9", "--max-iter", "2")):
        ran = cli(*FIT, "--out", "run", *more)
        assert refused_or_done(ran, (2,) if refused else (0, 4)), ran.err
        assert not refused or "is a link, through which nothing is read, written or removed" in ran.err
        assert snapshot(elsewhere) == before, more
    assert refused_or_done(cli("resume", "run"), (2,) if refused else (0,))
    words = ("cv", "pln", *TABLES, "--folds", "2", "--workers", "1", "--out", "run.csv")
    (made / "run.csv.checkpoint").symlink_to("elsewhere")
    assert cli(*words).code == 2 and snapshot(elsewhere) == before
    (made / "run.csv.checkpoint").unlink()
    assert cli(*words).code == 0 and snapshot(elsewhere) == before


@pytest.mark.parametrize("name", ["a.safetensors", "b.safetensors", "pieces"])
def test_links_among_checkpoints_are_not_followed(cli: Cli, made: Path, elsewhere: Path, name: str) -> None:
    (made / "run.checkpoint").mkdir()
    before = snapshot(elsewhere)
    for more in (("--overwrite", "--max-iter", "2"), ("--resume", "--max-iter", "3"), ("--resume",)):
        (made / "run.checkpoint").mkdir(exist_ok=True)
        (made / "run.checkpoint" / name).unlink(missing_ok=True)
        (made / "run.checkpoint" / name).symlink_to(elsewhere / name)
        ran = cli(*FIT, "--se", "bootstrap", "--resamples", "4", "--checkpoint-every", "1e-9", "--out", "run", *more)
        assert refused_or_done(ran, (0, 3, 4)), ran.err
        assert snapshot(elsewhere) == before, more


def test_the_end_of_a_fit_removes_checkpoints_alone(cli: Cli, made: Path) -> None:
    (made / "run.checkpoint").mkdir()
    (made / "run.checkpoint/own.txt").write_text("mine")
    assert cli(*FIT, "--out", "run", "--checkpoint-every", "1e-9").code == 0
    assert snapshot(made / "run.checkpoint") == {"own.txt": b"mine"}


def test_overwriting_replaces_what_a_link_leads_to_and_no_file_of_others(cli: Cli, made: Path, elsewhere: Path) -> None:
    before = snapshot(elsewhere)
    (made / "run").symlink_to("elsewhere")
    ran = cli(*FIT, "--out", "run", "--overwrite")
    assert ran.code == 2 and "would remove what plncli did not write" in ran.err and snapshot(elsewhere) == before
    (made / "run").unlink()
    assert cli(*FIT, "--out", "real").code == 0
    (made / "run").symlink_to("real")
    (made / "real/run.log").unlink()
    (made / "real/run.log").symlink_to(elsewhere / "own.txt")
    assert cli(*FIT, "--out", "run", "--overwrite").code == 0
    assert (made / "run").is_symlink() and not (made / "real/run.log").is_symlink() and snapshot(elsewhere) == before
    (made / "real/run.log").unlink()
    (made / "real/run.log").mkdir()
    (made / "real/run.log/own.txt").write_text("mine")
    ran = cli(*FIT, "--out", "run", "--overwrite")
    assert ran.code == 2 and "would remove what plncli did not write from run: run.log" in ran.err
    assert (made / "real/run.log/own.txt").read_text() == "mine"


# Little that holds much


def bombs(folder: Path) -> dict[str, Path]:
    """Files of a few MB at most that unpack to 600 MB and more, as they are honestly written."""
    import h5py
    import pyarrow as pa
    from pyarrow import feather, parquet

    n = 1_000_000
    ids = pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), pa.array(["x" * 1000]))
    zeros = pa.array(np.zeros(n))
    wide = pa.table({"id": ids.slice(0, n // 50), **{f"f{j}": zeros.slice(0, n // 50) for j in range(4000)}})
    tall = pa.table({"id": ids, "f1": zeros})
    parquet.write_table(tall, folder / "tall.parquet", compression="zstd")
    parquet.write_table(wide, folder / "wide.parquet", compression="zstd")
    feather.write_feather(tall, str(folder / "tall.feather"), compression="zstd")
    feather.write_feather(wide, str(folder / "wide.feather"), compression="zstd")
    nothing = pa.Array.from_buffers(pa.null(), 2**31 - 1, [None])
    nulls = pa.record_batch([nothing, nothing], names=["id", "f1"])
    with pa.OSFile(str(folder / "nulls.feather"), "wb") as sink, pa.ipc.new_file(sink, nulls.schema) as writer:
        writer.write_batch(nulls)
    with h5py.File(folder / "huge.h5", "w") as file:
        group = file.create_group("matrix")
        for name in ("data", "indices", "indptr", "shape", "barcodes"):
            group.create_dataset(name, (1 << 40,), np.int64, chunks=(1024,), compression="gzip")
    with h5py.File(folder / "huge.h5ad", "w") as file:
        for name in ("obs", "var"):
            file.create_group(name).create_dataset("_index", (1 << 40,), np.int64, chunks=(1024,))
    return {path.name: path for path in folder.iterdir() if path.is_file()}


def test_bombs_are_refused_before_they_unpack(cli: Cli, made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    (made / "bombs").mkdir()
    made_of = bombs(made / "bombs")
    assert max(path.stat().st_size for path in made_of.values()) < 40e6
    monkeypatch.setattr("plncli.tables.content.most_bytes", lambda: 1 << 28)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, path in made_of.items():
        for option in ("--counts", "--covariates"):
            rest = () if option == "--counts" else ("--counts", "made/counts.csv", "--formula", "~ f1")
            ran = cli("fit", "pln", option, path, *rest, "--out", "run")
            assert ran.code == 3 and refused_or_done(ran) and "half of this machine's memory" in ran.err, (
                name,
                ran.err,
            )
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10 < 400e6


@pytest.mark.parametrize("each", [7, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("suffix", ["feather", "parquet"])
def test_forged_columns_are_read_or_refused(cli: Cli, made: Path, suffix: str, each: int) -> None:
    assert cli("convert", "made/counts.csv", f"counts.{suffix}").code == 0
    assert cli("fit", "pln", "--counts", f"counts.{suffix}", "--out", "run").code == 0
    content, chance, wrong = (made / f"counts.{suffix}").read_bytes(), random.Random(suffix), []
    for number in range(280 // each):
        forged = bytearray(content)
        for _ in range(chance.choice((1, 2, 8))):
            place = chance.randrange(8, len(content) - 8)
            forged[place : place + 4] = chance.choice(
                (b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\1\0\0\0", chance.randbytes(4))
            )
        (made / f"bad.{suffix}").write_bytes(forged)
        ran = cli("convert", f"bad.{suffix}", "made.csv", "--overwrite")
        if not refused_or_done(ran, (0, 3)):
            wrong.append((number, ran.code, ran.err[-700:]))
    assert not wrong, f"{len(wrong)}: {wrong[:3]}"


@pytest.mark.parametrize("p", [5_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_a_table_of_very_many_columns_is_read_or_refused(
    cli: Cli, made: Path, monkeypatch: pytest.MonkeyPatch, p: int
) -> None:
    monkeypatch.setattr("plncli.runtime.free_memory", lambda device: 1e9)  # whatever the machine: no fit is timed
    (made / "wide.csv").write_text(",".join(f"f{j}" for j in range(p)) + "\n" + ",".join("1" * p) + "\n")
    ran = cli("validate", "pln", "--counts", "wide.csv")
    assert ran.code in (0, 3, 5) and "Traceback" not in ran.err, ran.err[-500:]
