"""The harness of the benchmarks: it runs, scores and tabulates. No timing is asserted."""

import importlib.util
import json
import math
import sys

import numpy as np
import pytest
import torch
from scipy import optimize, special
from tries import quickly

from benchmarks import coverage, foretold, gpu, problems, report, run, unchanged, worker
from benchmarks.commands import chosen
from benchmarks.launch import launch
from benchmarks.rivals import RIVALS, by_plncli
from benchmarks.rivals.base import Settings
from benchmarks.score import score
from plncli.cli.examples import VERBS
from plncli.dataset import Dataset
from plncli.fitting import fit
from plncli.models.pln.model import PLN
from plncli.models.regression.linear import Linear
from plncli.models.regression.logistic import Logistic
from plncli.optim.base import StopRule

SETTINGS = Settings(threads=1, time_limit=30.0)
PACKAGE = {"pyPLNmodels": "pyPLNmodels", "statsmodels": "statsmodels", "scikit-learn": "sklearn", "glum": "glum"}
PACKAGE |= {"scikit-learn-svd": "sklearn"}


def tiny(name="tiny-49x17"):
    return problems.load(name)


def small(model):
    return problems._regression("small", model, n=500, d=4)


def low_rank(rank=2, table="tiny-49x17"):
    return problems._pca(f"pca-{rank}", rank=rank, table=lambda _: tiny(table))


def data(problem):
    tables = (torch.tensor(table) for table in (problem.Y, problem.X, problem.O))
    return Dataset(*tables, w=torch.ones(problem.n, dtype=torch.float64))


@pytest.fixture(scope="module")
def reference():
    return worker.execute(tiny(), "reference", SETTINGS)


@pytest.mark.parametrize("rival", ["plncli", pytest.param("torch-lbfgs", marks=pytest.mark.slow)])
def test_a_rival_ends_near_the_reference_and_not_above(reference, rival):
    row = worker.execute(tiny(), rival, SETTINGS)
    assert row["status"] == "ok"
    gap = reference["likelihood"] - row["likelihood"]
    assert -1e-6 <= gap <= 1e-3 * 49  # the reference is within 1e-9 nats per sample of the optimum
    times, values = zip(*row["trace"], strict=True)
    assert list(times) == sorted(times) and list(values) == sorted(values)
    assert row["peak_mb"] >= row["base_mb"] > 0


def skip_without(rival):
    package = PACKAGE.get(rival)
    if package is not None and importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")


@pytest.mark.slow
@pytest.mark.parametrize("rival", sorted(set(RIVALS) - {"plncli", "torch-lbfgs", "scikit-learn-svd"}))
def test_every_rival_ends_near_the_optimum(rival):
    skip_without(rival)
    for problem in (tiny(), small("logistic"), small("linear")):
        if not RIVALS[rival].takes(problem):
            continue
        optimum = worker.execute(problem, "reference", SETTINGS)["likelihood"]
        row = worker.execute(problem, rival, SETTINGS)
        assert row["status"] == "ok", row["note"]
        assert -1e-6 <= optimum - row["likelihood"] <= 1e-3 * problem.n


@pytest.mark.parametrize("name", ["tiny-49x17", "rare-groups-of-20", "oaks-tree"])
def test_the_referee_agrees_with_the_program(name):
    problem = tiny(name)
    result = fit(PLN(), data(problem), stop=StopRule(1e-11))
    params = {"M": result.state["M_finite"].numpy(), "S": result.estimates["S"].numpy()}
    separated = np.isneginf(result.estimates["M"].numpy())
    assert score(problem, params, separated) == pytest.approx(result.criteria.loglik, rel=1e-11)
    assert score(problem, params) <= score(problem, params, separated)


@pytest.mark.parametrize(("name", "model"), [("logistic", Logistic()), ("linear", Linear())])
def test_the_referee_agrees_on_regressions(name, model):
    problem = small(name)
    result = fit(model, data(problem))
    assert score(problem, {"B": result.estimates["B"].numpy()}) == pytest.approx(result.criteria.loglik, rel=1e-12)


@pytest.mark.parametrize("table", quickly(["tiny-49x17", "rare-groups-of-20"], "tiny-49x17"))
def test_the_referee_agrees_on_components_and_does_not_see_their_axes(table):
    problem = low_rank(3, table)
    outcome = by_plncli.run(problem, SETTINGS)
    B, C, separated = (outcome.params[name] for name in ("B", "C", "separated"))
    assert separated.any() == (table == "rare-groups-of-20")
    found = score(problem, outcome.params, separated)
    assert found == pytest.approx(outcome.trace[-1][1], abs=1e-6)
    turned, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))
    assert score(problem, {"B": B, "C": C @ turned}, separated) == pytest.approx(found, abs=1e-6)
    assert score(problem, {"B": B, "C": 1.05 * C}, separated) < found - 0.1


def test_the_referee_scores_posteriors_that_are_at_their_best():
    """One component, each sample's mean and standard deviation by scipy."""
    problem = low_rank(1)
    rng = np.random.default_rng(0)
    B, c = 0.3 * rng.standard_normal((problem.d, problem.p)), 0.5 * rng.standard_normal(problem.p)
    total = 0.0
    for y, predictor in zip(problem.Y, problem.O + problem.X @ B, strict=True):

        def minus_bound(at, y=y, predictor=predictor):
            m, s2 = at[0], np.exp(at[1])
            eta = predictor + m * c
            cells = y * eta - np.exp(eta + 0.5 * s2 * c**2) - special.gammaln(y + 1.0)
            return 0.5 * (m**2 + s2 - at[1] - 1.0) - cells.sum()

        total -= optimize.minimize(minus_bound, np.array([0.0, -3.0]), tol=1e-10).fun
    assert score(problem, {"B": B, "C": c[:, None]}) == pytest.approx(total, abs=1e-4)


@pytest.mark.slow  # packages of the rivals are loaded, and the search of one is long
@pytest.mark.parametrize("rival", [name for name, rival in RIVALS.items() if rival.takes(low_rank())])
def test_a_rival_that_finds_components_is_scored(rival):
    skip_without(rival)
    problem = low_rank()
    optimum = worker.execute(problem, "reference", SETTINGS)["likelihood"]
    row = worker.execute(problem, rival, SETTINGS)
    assert row["status"] == "ok", row["note"]
    # Per sample: an SVD of log counts knows no bound, and pyPLNmodels ends after 400 steps, tenths of a nat away.
    most = {"plncli": 1e-3, "pyPLNmodels": 1.0}.get(rival, math.inf)
    assert -1e-6 <= optimum - row["likelihood"] < most * problem.n


def test_a_rival_that_raises_is_a_row_that_says_so(monkeypatch):
    broken = RIVALS["plncli"].__class__(lambda problem, settings: 1 / 0, ("pln",))
    monkeypatch.setitem(RIVALS, "broken", broken)
    row = worker.execute(tiny(), "broken", SETTINGS)
    assert row["status"] == "failed" and "ZeroDivisionError" in row["note"]


def test_problems_are_the_same_every_time_and_hold_no_empty_row_or_column():
    for name in ("tiny-49x17", "rare-groups-of-4", "sparse-500x200", "oaks-tree", "pca-oaks-5"):
        once, again = problems.load(name), problems.load(name)
        assert np.array_equal(once.Y, again.Y) and np.array_equal(once.O, again.O)
        assert once.Y.sum(0).all() and once.Y.sum(1).all()
        assert len(once.X) == len(once.O) == once.n and np.linalg.matrix_rank(once.X) == once.d
    assert problems.load("sparse-500x200").zeros == pytest.approx(0.9, abs=0.02)
    few = problems._components("few", n=200, p=50, rank=3, zeros=0.8)
    assert few.zeros == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize("problem", [tiny(), low_rank(2)], ids=lambda problem: problem.name)
def test_a_problem_is_stored_and_read_back(problem, tmp_path):
    problem.save(tmp_path / "problem.npz")
    again = problems.read(tmp_path / "problem.npz")
    assert (again.name, again.model, again.rank) == (problem.name, problem.model, problem.rank)
    assert all(np.array_equal(getattr(again, table), getattr(problem, table)) for table in "YXO")


def test_time_is_compared_at_the_same_likelihood():
    reference = report.Reference("x", "pln", 1000, 5, 1, 0.0, 1, -100.0, "")
    shared = {"status": "ok", "first_seconds": 9.0, "load_seconds": 0.0, "peak_mb": 1.0, "base_mb": 1.0}
    shared |= {"threads": 1, "version": "1", "note": "", "problem": "x"}
    ours = shared | {"rival": "plncli", "seconds": 4.0, "likelihood": -100.0, "trace": [[1.0, -105.0], [2.0, -100.5]]}
    blind = shared | {"rival": "blind", "seconds": 8.0, "likelihood": -103.0, "trace": []}
    early = shared | {"rival": "early", "seconds": 8.0, "likelihood": -100.1, "trace": [[6.0, -100.9], [7.0, -100.1]]}
    gone = {"rival": "gone", "problem": "x", "status": "timeout", "note": "no end after 1 s"}
    found = {row["rival"]: row for row in report.summarise(reference, [ours, blind, early, gone])}
    assert found["blind"]["ratio"] == 8.0 / 2.0 and found["blind"]["compared_at"] == 3.0
    assert found["early"]["ratio"] == 6.0 / 2.0 and found["early"]["compared_at"] == 1.0
    assert found["gone"]["status"] == "timeout"
    stopped = ours | {"likelihood": -105.0, "trace": [[1.0, -105.0]]}
    assert math.isnan(report.summarise(reference, [stopped, blind])[1]["ratio"])  # plncli never got there
    assert "| x | gone | timeout |" in report.markdown([reference], list(found.values()), [])


def test_long_problems_are_run_where_they_are_named():
    apart = {*problems.LONG, *problems.GPU_ONLY}
    assert apart < set(problems.PROBLEMS) and set(run._arguments([]).problems) == set(problems.PROBLEMS) - apart
    assert run._arguments(["--problems", *apart]).problems == [*apart]
    assert not set(problems.LONG) & set(run._arguments(["--device", "cuda"]).problems)


@pytest.mark.slow  # two processes that load torch; what they write is tried without them
def test_the_command_line_writes_table_and_csv(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(run, "RESULTS", tmp_path)
    arguments = ["--problems", "tiny-49x17", "--rivals", "plncli", "--repeats", "1", "--threads", "1", "--name", "one"]
    run.main(arguments)
    assert "| tiny-49x17 | plncli |" in (tmp_path / "one.md").read_text(encoding="utf-8")
    assert "| tiny-49x17 | plncli |" in capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} == {"one.md", "one.csv", "one-runs.csv"}


def test_a_launched_command_is_measured_apart_and_ended_at_its_limit():
    figures = launch([sys.executable, "-c", "x = bytearray(100_000_000); raise SystemExit(3)"], 60.0)
    assert figures["exit_code"] == 3 and 100 < figures["peak_mb"] < 200 and math.isfinite(figures["seconds"])
    json.dumps(figures)
    with pytest.raises(TimeoutError):
        launch([sys.executable, "-c", "import time; time.sleep(60)"], 1.0)


@pytest.mark.slow  # a process that loads torch
def test_coverage_counts_intervals_and_what_has_none(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(coverage, "RESULTS", tmp_path)
    asked = {"--n": 20, "--p": 3, "--depth": 4, "--sets": 4, "--processes": 1, "--name": "part"}
    monkeypatch.setattr(sys, "argv", ["coverage", *(str(word) for pair in asked.items() for word in pair)])
    coverage.main()
    rows = [line.split(",") for line in (tmp_path / "part.csv").read_text().splitlines()]
    assert [row[4] for row in rows[1:]] == [*coverage.TERMS, "all"]
    intervals, without = (sum(int(row[k]) for row in rows[1:6]) for k in (5, 6))
    seen = sum(int((coverage.drawn(coverage.Cell(20, 3, 4.0), seed)[0].Y.sum(0) > 0).sum()) for seed in range(4))
    assert intervals + without == 5 * seen
    assert all(0.5 < float(row[7]) <= 1.0 for row in rows[1:])
    assert (tmp_path / "part.md").read_text().count("|") == capsys.readouterr().out.count("|")


def test_the_error_of_a_coverage_is_that_of_independent_sets():
    """Intervals of a set that all hold or all miss count as one: the binomial error of the sets."""
    counts = torch.zeros(400, 3, dtype=torch.float64)
    counts[:, 1] = 7.0
    counts[:380, 0] = 7.0
    share = coverage.share(counts)
    assert share.value == pytest.approx(0.95)
    assert share.error == pytest.approx(math.sqrt(0.95 * 0.05 / 399), rel=1e-9)


def test_the_commands_that_show_changes_do_all_that_there_is():
    words = [words for _, code, words, _ in chosen("") if code == 0]
    assert {verb for verbs in VERBS.values() for verb in verbs} <= {verb for verb, *rest in words if rest != ["--help"]}
    assert [words[:2] for _, _, words, _ in chosen("resume")] == [
        ["fit", "pln"],
        ["resume", "cut"],
        ["resume", "--help"],
    ]


def test_a_number_that_changed_is_told_from_a_time_and_from_words(tmp_path):
    for name, was, now, values, words in (
        ("loss_trace.csv", "step,seconds,loss\n0,0.1,7.5\n", "step,seconds,loss\n0,0.2,7.5\n", 0, []),
        ("sigma.csv", ",a\na,0.1\n", ",a\na,0.1000\n", 1, []),
        ("summary.json", '{"fit_seconds": 1, "gap": 0.1}', '{"fit_seconds": 2, "gap": 0.1}', 0, []),
        ("summary.json", '{"warnings": ["2 samples"]}', '{"warnings": ["3 samples"]}', 0, [True]),
        ("summary.json", '{"warnings": ["2 samples"]}', '{"warnings": ["2 rows here"]}', 0, [False]),
        ("config.toml", "# What\nseed = 0\n", "# Which\nseed = 0\n", 0, [False]),
        ("config.toml", "# What\nseed = 0\n", "# What\nseed = 1\n", 1, []),
        ("run.log", "2026-01-01T00:00 reading: 0.1 s\n", "2026-01-02T00:00 reading: 0.2 s\n", 0, []),
    ):
        contents = []
        for text in (was, now):
            (tmp_path / name).write_text(text)
            contents.append(unchanged.content(tmp_path / name))
        (a, said), (b, said_now) = contents
        assert len(list(unchanged.values_apart(a, b))) == values, name
        assert [wrong for wrong, _ in unchanged.words_apart(said, said_now)] == words, name


@pytest.mark.slow  # the whole table of a benchmark
def test_what_is_foretold_is_tabulated_beside_what_came():
    table = foretold.drawn(2)
    assert 40 <= table.n <= 200 and bool((table.Y.sum(0) > 0).all() and (table.Y.sum(1) > 0).all())
    row = foretold.measured(data(tiny()))
    assert (row.n, row.p) == (49, 17) and 0 < row.low < row.high and row.points > 0 and row.products > 0
    text = foretold.table([row._replace(p=80), row._replace(took=9 * row.high)])
    assert [line.split(" | ")[1] for line in text.splitlines()[2:4]] == ["17", "80"]
    assert "p ≤ n: 0 of 1 within a factor of 3, 0 between both ends." in text


@pytest.mark.parametrize("name", ["pln", "pln-pca", "logistic"])
def test_what_a_fit_reads_of_a_device_is_counted(name):
    _, told, products, reads, copies, _ = gpu.waits(name, {}, "cpu").split("|")
    assert told.strip() == name and int(products) > 0 and float(reads) > 0.0 and float(copies) == 0.0


def test_fits_that_are_apart_are_found(monkeypatch):
    """The same fit is not apart from itself, and one of other data is."""
    apart, status = gpu.disagreement("logistic", {}, "newton-cg", "cpu", torch.float64)
    assert apart == 0.0 and status == "converged"
    first, second = gpu.small("classes", False), gpu.small("classes", False)
    second.Y[:3] = 1.0 - second.Y[:3]
    tables = iter([first])
    monkeypatch.setattr(gpu, "small", lambda kind, groups: next(tables))
    monkeypatch.setattr(Dataset, "to", lambda self, device=None, dtype=None: self if device is None else second)
    assert gpu.disagreement("logistic", {}, "newton-cg", "cpu", torch.float64)[0] > 1e-3


def test_a_large_table_is_drawn_by_blocks():
    data = gpu.Large("pln-pca", 500, 30, {"rank": 2}, share=0.05).drawn("cpu")
    assert data.sparse and (data.n, data.p) == (500, 30) and 0.0 < len(data.Y.values()) < 0.5 * 500 * 30
    assert not gpu.Large("pln", 50, 3, {}).drawn("cpu").sparse
