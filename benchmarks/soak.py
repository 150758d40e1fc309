"""A soak: random fits for hours, killed, interrupted, starved and damaged at random moments, and taken up again.

    python -m benchmarks.soak                                      two hours
    python -m benchmarks.soak --seconds 60 --seed 7 --name part    a minute, of other jobs

Each job (`plncli fit` or `plncli cv` with random settings, and `--resume`) is first done without any trouble. Then it
is begun again in another place and meets up to six troubles, after each of which what is there must be whole and
honest; and then it is let alone. It must end with the same exit code and the same bits (times left aside), and leave
nothing behind: no file beside its results, none in the folder of temporary files, no process. Then other commands read
what it wrote. Half of the attempts are processes of their own, the others happen in this process, which goes on all the
time: its memory, open files and threads must not grow. Writes benchmarks/results/NAME.md as it goes, and what went
wrong, in full, to NAME-wrong.txt.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import gc
import getpass
import io
import os
import random
import resource
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from benchmarks import machine
from plncli import __version__, cli
from plncli.runs.reproduction import compared
from plncli.runs.unfinished.checkpoints import folder_of, lock_of

RESULTS = Path(__file__).parent / "results"
MARK = "SOAK_OF_PLNCLI"  # in the environment of every process that is started, to find those that stay
SIGNALS = {"INT": signal.SIGINT, "TERM": signal.SIGTERM, "USR1": signal.SIGUSR1}
TORCHS = f"torchinductor_{getpass.getuser()}"  # an empty folder that torch makes in that of temporary files
MOST_TROUBLES = 6
WARM = 10  # jobs after which every package is loaded
PATIENCE = 300.0  # seconds that a process may take
DONE = (0, 4)  # exit codes of a job that has ended by itself


class Job(NamedTuple):
    """A command without its --out."""

    words: tuple[str, ...]
    out: str  # name of its results

    @property
    def fits(self) -> bool:
        """Whether it is one fit, with a folder of results."""
        return self.words[0] == "fit"


class Ran(NamedTuple):
    """An exit code, and what was said."""

    code: int
    err: str


class Size(NamedTuple):
    """What this process holds, after a job."""

    mb: float
    files: int
    threads: int


# Jobs


def tables(folder: Path) -> None:
    """Tables of three models, each small and larger."""
    rng = np.random.default_rng(11)
    for name, n, p in (("small", 24, 4), ("large", 90, 14)):
        rows = [f"s{i}" for i in range(n)]
        x, group, depth = rng.normal(size=n), rng.integers(3, size=n), np.exp(rng.normal(5.0, 0.4, n))
        Z = rng.normal(-1.0, 1.0, p) + np.outer(x, rng.normal(0.0, 0.4, p)) + 0.8 * rng.normal(size=(n, p))
        counts = rng.poisson(depth[:, None] * np.exp(Z) / p)
        counts[0] += 1
        _write(folder / f"{name}-counts.csv", ["id", *(f"f{j}" for j in range(p))], rows, counts)
        _write(folder / f"{name}-exposure.csv", ["id", "depth"], rows, depth[:, None])
        _write(folder / f"{name}-about.csv", ["id", "x", "group"], rows, zip(x, [f"g{k}" for k in group], strict=True))
        noise = rng.normal(size=(n, 3))
        _write(folder / f"{name}-reals.csv", ["id", "a", "b", "c"], rows, x[:, None] + noise)
        _write(folder / f"{name}-twos.csv", ["id", "a", "b"], rows, (x[:, None] + 2.0 * noise[:, :2] > 0).astype(int))


def _write(path: Path, head: Sequence[str], names: Sequence[str], rows: object) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(head)
        writer.writerows([name, *row] for name, row in zip(names, rows, strict=True))  # type: ignore[call-overload]


def a_job(chance: random.Random) -> Job:
    """A random job."""
    model = chance.choices(("pln", "logistic", "linear"), (8, 1, 1))[0]
    name = chance.choice(("small", "large"))
    if model == "pln":
        words = [model, "--counts", f"{name}-counts.csv", "--exposure", f"{name}-exposure.csv"]
        words += ["--covariance", chance.choice(("full", "full", "diagonal", "spherical"))]
    else:
        words = [model, "--response", f"{name}-{'twos' if model == 'logistic' else 'reals'}.csv"]
    words += ["--covariates", f"{name}-about.csv", "--seed", str(chance.randrange(9))]
    words += ["--checkpoint-every", chance.choice(("1e-9", "0.01", "0.1", "60"))]
    if chance.random() < 0.15:
        formulas = chance.choice((("~ 1", "~ x"), ("~ x + group",)))
        folds = ("--folds", str(chance.choice((2, 4))), "--workers", "1")
        return Job(("cv", *words, *folds, *(word for formula in formulas for word in ("--formula", formula))), "cv.csv")
    words += ["--formula", chance.choice(("~ 1", "~ x", "~ x + group"))]
    optimizers = ["newton-cg"] * 4 + ["lbfgs"] * 2 + ["rprop", "adam", "sgd"] + ["vem"] * 2 * (model == "pln")
    words += ["--optimizer", chance.choice(optimizers), "--tol", chance.choice(("1e-3", "1e-6", "1e-9"))]
    words += ["--max-iter", "300", "--dtype", chance.choice(("float64", "float64", "float64", "float32"))]
    se = chance.choice(("none", "auto", "auto", "bootstrap", "jackknife" if name == "small" else "auto"))
    many = ("--resamples", chance.choice(("6", "20"))) if se == "bootstrap" else ()
    workers = ("--workers", chance.choice(("1", "1", "1", "2"))) if se in ("bootstrap", "jackknife") else ()
    written = ("--format", chance.choice(("csv", "csv", "csv", "parquet")))
    return Job(("fit", *words, "--se", se, *many, *workers, *written), "run")


# Running them


def here(words: Sequence[str], signum: int = 0, after: float = 0.0) -> Ran:
    """A command in this process; a signal comes after so many seconds, if it still runs."""
    said, old = io.StringIO(), sys.argv
    timer = threading.Timer(after, os.kill, (os.getpid(), signum))
    sys.argv = ["plncli", *words]
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            if signum:
                timer.start()
            code = cli._run()
    finally:
        timer.cancel()
        if signum:
            timer.join()
        sys.argv = old
    return Ran(code, said.getvalue())


def _limited(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def started(words: Sequence[str], most_bytes: int | None = None) -> subprocess.Popen[bytes]:
    """A command in a process of its own, of which no file may become larger than that."""
    limit = None if most_bytes is None else (lambda: _limited(most_bytes))
    command = [sys.executable, "-m", "plncli", *words]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, preexec_fn=limit)


def ended(process: subprocess.Popen[bytes]) -> Ran:
    try:
        err = process.communicate(timeout=PATIENCE)[1].decode(errors="replace")
    except subprocess.TimeoutExpired:
        process.kill()
        return Ran(-999, "hangs: " + process.communicate()[1].decode(errors="replace"))
    return Ran(process.returncode, err)


def until_begun(process: subprocess.Popen[bytes], out: Path) -> None:
    """Wait until a process has begun with its job: there is its lock, or that of its table of scores."""
    while process.poll() is None and not lock_of(out).exists():
        time.sleep(0.005)


class Soak:
    """What a soak has met so far."""

    def __init__(self, seed: int, folder: Path, temporary: Path) -> None:
        self.chance, self.folder, self.temporary = random.Random(seed), folder, temporary
        self.known = {path.name for path in folder.iterdir()}
        self.told: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.sizes: list[Size] = []

    def blame(self, what: str, job: Job, more: str = "") -> None:
        """Something is not as it must be."""
        self.told["wrong"] += 1
        self.wrong.append(f"{what}: plncli {shlex.join(job.words)} --out {job.out}\n{more}".rstrip())

    def trouble(self, job: Job, lasts: float) -> bool:
        """One attempt at the job that something happens to; whether it was done all the same."""
        words = (*job.words, "--out", job.out, "--resume")
        kinds = ["kill"] * 4 + ["signal"] * 2 + ["signal here"] * 4 + ["twice", "small files", "two at once", "damage"]
        kind = self.chance.choice([*kinds, *(["time limit"] * 2 if job.fits else [])])
        name = self.chance.choice(list(SIGNALS))
        if kind == "damage" and not kept_files(job):
            kind = "kill"
        may = {"kill": {-9}, "small files": {3}, "two at once": {2}, "damage": {3}, "time limit": {4}}.get(
            kind, {130, 143, -SIGNALS[name]}
        )
        match kind:
            case "kill" | "signal" | "twice":
                process = started(words)
                if self.chance.random() < 0.2:
                    time.sleep(self.chance.uniform(0.0, 1.0))  # before the fit begins
                else:
                    until_begun(process, Path(job.out))
                    time.sleep(self.chance.uniform(0.0, 1.3 * lasts))
                process.send_signal(signal.SIGKILL if kind == "kill" else SIGNALS[name])
                if kind == "twice":
                    time.sleep(self.chance.uniform(0.0, 0.05))
                    process.send_signal(signal.SIGINT)
                    may |= {130, -2}
                ran = ended(process)
            case "signal here":
                ran = here(words, SIGNALS[name], self.chance.uniform(0.0, 1.1 * lasts))
            case "time limit":
                ran = here((*words, "--time-limit", f"{self.chance.uniform(1e-6, 0.5 * lasts):.6f}"))
            case "small files":
                ran = ended(started(words, self.chance.choice((0, 500, 3_000, 20_000, 100_000))))
            case "two at once":
                processes = [started(words) for _ in range(2)]
                both = [ended(process) for process in processes]
                ran = max(both, key=lambda one: one.code == 2)
                if not {one.code for one in both} <= {*DONE, 2}:
                    self.blame("two at once", job, str(both))
            case _:
                ran = self.damaged(job, words)
        met = ran.code not in DONE or (kind == "time limit" and ran.code == 4)
        self.told[kind] += 1
        self.told[f"{kind}, met"] += met
        self.told["gone on"] += "Going on after" in ran.err or "done already" in ran.err
        if ran.code in (1, -signal.SIGINT) and name == "INT" and ran.err and "plncli" not in ran.err:
            self.told["too early"] += 1  # Python itself was interrupted
        elif ran.code not in (*DONE, *may) or "Traceback" in ran.err or "This is a bug" in ran.err:
            self.blame(f"{kind} {name} ended with {ran.code}", job, ran.err)
        self.standing(job, kind)
        return ran.code in DONE and not met

    def damaged(self, job: Job, words: Sequence[str]) -> Ran:
        """One of the kept files is damaged; where none is good, they go."""
        path = self.chance.choice(kept_files(job))
        content = bytearray(path.read_bytes())
        at = self.chance.randrange(len(content))
        if self.chance.random() < 0.5:
            del content[at:]
        else:
            content[at] ^= 1 << self.chance.randrange(8)
        path.write_bytes(bytes(content))
        ran = here(words)
        if ran.code == 3 and "Remove " in ran.err:
            remove(folder_of(Path(job.out)))
        return ran

    def standing(self, job: Job, kind: str) -> None:
        """What is there after a trouble is whole."""
        out = Path(job.out)
        if not job.fits or not out.exists():
            return
        ran = here(("show", job.out))
        if ran.code:
            self.blame(f"half written after {kind}", job, ran.err)

    def round(self) -> None:
        """One job, and then nothing is left of it."""
        job = a_job(self.chance)
        try:
            self.live_through(job)
        except Exception:  # noqa: BLE001 (the soak goes on)
            self.blame("the soak failed", job, traceback.format_exc())
        for path in (*self.folder.iterdir(), *self.temporary.iterdir()):
            if path.name not in self.known:
                remove(path)
        gc.collect()
        self.sizes.append(size())

    def live_through(self, job: Job) -> None:
        """Do it without trouble, do it with trouble, and compare."""
        began = time.monotonic()
        whole = here((*job.words, "--out", f"whole-{job.out}"))
        lasts = time.monotonic() - began
        self.told["jobs"] += 1
        if whole.code not in DONE:
            self.blame(f"undisturbed, it ended with {whole.code}", job, whole.err)
        for _ in range(self.chance.randint(1, MOST_TROUBLES)):
            if self.trouble(job, lasts) or (not job.fits and Path(job.out).exists()):
                break  # a table of scores that is there is not replaced
        final = here((*job.words, "--out", job.out, "--resume"))
        if not job.fits and final.code == 2 and "exists" in final.err:
            final = whole  # it was done already
        if final.code != whole.code:
            self.blame(f"ended with {final.code} instead of {whole.code}", job, final.err)
        else:
            self.compare(job, final)
        if job.fits and whole.code == 0:
            self.read(job, everything=self.told["jobs"] <= WARM)
        left = {path.name for path in self.folder.iterdir()} - self.known - {job.out, f"whole-{job.out}"}
        if whole.code == 4:
            left -= {folder_of(Path(out)).name for out in (job.out, f"whole-{job.out}")}  # of a fit that may go on
        left |= {path.name for path in self.temporary.iterdir()} - {TORCHS}
        if left:
            self.told["files left"] += len(left)
            self.blame(f"left behind: {left}", job)
        stay = staying()
        if stay:
            self.told["processes left"] += len(stay)
            self.blame(f"processes stay: {stay}", job)

    def compare(self, job: Job, final: Ran) -> None:
        """The results must be those of the job that nothing happened to."""
        if not job.fits:
            if Path(job.out).read_bytes() != Path(f"whole-{job.out}").read_bytes():
                self.blame("other bits", job, final.err)
            return
        found = compared(Path(job.out), Path(f"whole-{job.out}"))
        self.told["files compared"] += len(found.same)
        if found.different or len(found.same) < 4:
            self.blame(f"other bits, by {found.largest:.1g}, in {found.different}", job, final.err)

    def read(self, job: Job, everything: bool) -> None:
        """Another command takes the results; all of them at first, so that all packages are loaded."""
        model, data = job.words[1], dict(zip(job.words[2::2], job.words[3::2], strict=False))
        taken = ["--covariates", data["--covariates"]]
        taken += ["--exposure", data["--exposure"]] if model == "pln" else []
        commands = [
            ("show", job.out),
            ("predict", job.out, *taken),
            ("diagnose", job.out),
            ("simulate", "--from", job.out, "--out", "drawn"),
            ("plot", job.out, "coefficients", "--out", "picture.png"),
            ("rerun", job.out, "--check"),
            ("compare", job.out, f"whole-{job.out}"),
            ("validate", *job.words[1:4], *taken, "--formula", data["--formula"]),
        ]
        commands += [("transform", job.out, "--counts", data["--counts"], *taken)] if model == "pln" else []
        for words in commands if everything else (self.chance.choice(commands),):
            ran = here(words)
            self.told["other commands"] += 1
            self.told["reruns"] += words[0] == "rerun"
            if ran.code:
                self.blame(f"{shlex.join(words)} ended with {ran.code}", job, ran.err)
            for name in ("drawn", "picture.png"):
                remove(Path(name))


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def kept_files(job: Job) -> list[Path]:
    """What is kept of a job, and has a content to damage."""
    return [path for path in folder_of(Path(job.out)).glob("*") if path.is_file() and path.stat().st_size]


def size() -> Size:
    return Size(machine.resident_mb(), len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task")))  # noqa: PTH208


def staying(patience: float = 10.0) -> list[str]:
    """Processes that were started by this one, or by those, and do not end."""
    mark = f"{MARK}={os.environ[MARK]}".encode()
    until = time.monotonic() + patience
    while True:
        found = [name for name, environment in _environments() if mark in environment]
        if not found or time.monotonic() > until:
            return found
        time.sleep(0.1)


def _environments() -> Iterator[tuple[str, bytes]]:
    """Command lines and environments of the other processes that can be seen."""
    for place in Path("/proc").iterdir():
        if place.name.isdigit() and int(place.name) != os.getpid():
            with contextlib.suppress(OSError):
                yield (place / "cmdline").read_text().replace("\0", " "), (place / "environ").read_bytes()


# What came of it


def report(soak: Soak, seconds: float, seed: int) -> str:
    """The figures, as Markdown."""
    told, sizes = soak.told, soak.sizes
    met = {name.removesuffix(", met"): told[name] for name in told if name.endswith(", met")}
    rows = [
        ("hours", f"{seconds / 3600.0:.2f}"),
        ("jobs: fits and cross-validations with random settings", told["jobs"]),
        *((f"of these troubles: {name} (met before the job was done)", f"{told[name]} ({met[name]})") for name in met),
        ("attempts that went on from what was kept", told["gone on"]),
        ("other commands on the results; of them `rerun --check`", f"{told['other commands']}; {told['reruns']}"),
        ("files of fits compared with those of the undisturbed job", told["files compared"]),
        ("**anything wrong**: lost, half written, other bits, other exit code, a traceback", told["wrong"]),
        ("interrupts before Python had come to plncli, of which it shows its own traceback", told["too early"]),
        ("files left behind", told["files left"]),
        ("processes left behind", told["processes left"]),
    ]
    tenth = max(1, len(sizes) // 10)
    first, last = sizes[tenth : 2 * tenth] or sizes, sizes[-tenth:]
    for name, index in (("memory of the lasting process, MB", 0), ("its open files", 1), ("its threads", 2)):
        a, b = (statistics.median(one[index] for one in part) for part in (first, last))
        rows.append((f"{name}: median in the second and the last tenth", f"{a:.0f}, {b:.0f}"))
    lines = [f"| {name} | {value} |" for name, value in rows]
    head = (
        f"`python -m benchmarks.soak --seed {seed}`; plncli {__version__}, torch {torch.__version__}, one thread, on "
    )
    return "\n".join([f"{head}{machine.describe()}.", "", "| | |", "|---|---:|", *lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=7200.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--name", default="soak", help="of the files written to benchmarks/results")
    given = parser.parse_args()
    for name in [name for name in os.environ if name.startswith("PLNCLI_")]:
        del os.environ[name]
    with tempfile.TemporaryDirectory(prefix="soak-") as place:
        folder, temporary = Path(place, "work"), Path(place, "temporary")
        for path in (folder, temporary):
            path.mkdir()
        cache = os.environ.setdefault("MPLCONFIGDIR", str(Path(place, "matplotlib")))
        os.environ |= {MARK: str(time.time_ns()), "OMP_NUM_THREADS": "1", "NO_COLOR": "1", "TMPDIR": str(temporary)}
        os.environ["PYTHONPATH"] = str(Path(__file__).parent.parent)
        Path(cache).mkdir(exist_ok=True)
        tempfile.tempdir = str(temporary)
        os.chdir(folder)
        torch.set_num_threads(1)
        tables(folder)
        soak = Soak(given.seed, folder, temporary)
        for signum in SIGNALS.values():  # a signal that comes when the command has just ended
            signal.signal(signum, lambda *_: soak.told.update(["signals too late"]))
        try:
            _go_on(soak, given)
        finally:
            os.chdir("/")


def _go_on(soak: Soak, given: argparse.Namespace) -> None:
    began = told = time.monotonic()
    while time.monotonic() - began < given.seconds:
        soak.round()
        if time.monotonic() - told > 30.0 or time.monotonic() - began >= given.seconds:
            told = time.monotonic()
            text = report(soak, told - began, given.seed)
            (RESULTS / f"{given.name}.md").write_text(text, encoding="utf-8")
            wrong = RESULTS / f"{given.name}-wrong.txt"
            if soak.wrong:
                wrong.write_text("\n\n".join(soak.wrong) + "\n", encoding="utf-8")
    print(text)
    sys.exit(bool(soak.told["wrong"]))


if __name__ == "__main__":
    main()
