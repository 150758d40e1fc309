"""Firth's penalised likelihood: laws, then published examples of R's logistf, then an independent program."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from contract.laws import LAWS, Law
from scipy.optimize import brentq, minimize
from scipy.stats import chi2
from tables import dataset
from tries import quickly

import plncli
from plncli.errors import DataError, UsageError
from plncli.fitting import fit
from plncli.inference.wald import Inference, InferenceRule
from plncli.models import MODELS
from plncli.models.regression.logistic import Logistic
from plncli.models.regression.spec import FIRTH, LOGISTIC
from plncli.names import PROFILE
from plncli.optim import build
from plncli.optim.base import StopRule
from plncli.reports import sentences
from plncli.runs import schema
from plncli.runs.run import read_run

Cli = Callable[..., Any]
EXAMPLES = Path(__file__).parents[1] / "reference" / "firth"
PENALISED = replace(LOGISTIC, settings=(replace(LOGISTIC.settings[0], default=FIRTH),))


def table(n: int = 40, p: int = 2, seed: int = 0, *, separated: bool = False):
    """Classes explained by a number and a group; the group separates those of the first response, if asked for."""
    g = torch.Generator().manual_seed(seed)
    X = torch.stack([torch.ones(n), torch.randn(n, generator=g), (torch.arange(n) % 3 == 0).float()], 1).double()
    eta = X @ (0.8 * torch.randn(3, p, generator=g).double()) + 0.3
    Y = (torch.rand(n, p, generator=g).double() < torch.sigmoid(eta)).double()
    if separated:
        Y[:, 0] = torch.where(X[:, 2] == 1, 1.0, Y[:, 0])
    w = torch.where(torch.arange(n) < 5, 2.0, 1.0).double()
    O = 0.3 * torch.randn(n, 1, generator=g).double()
    return dataset(Y, X, O, w=w, terms=("Intercept", "x", "group"), responses=tuple(f"y{j}" for j in range(p)))


def fitted(data, method: str = "auto", penalty: str = FIRTH, level: float = 0.95):
    result = fit(Logistic(penalty), data, inference=InferenceRule(method, level))
    assert result.converged
    return result


# --- laws ---


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_the_contract_holds_with_the_penalty(law: Law) -> None:
    law(PENALISED)


@pytest.mark.parametrize("separated", [False, True])
def test_derivatives_are_those_of_the_plain_objective(separated: bool) -> None:
    model, data = Logistic(FIRTH), table(separated=separated)
    prepared = model.prepare(data)
    gamma = torch.randn(3, 2, generator=torch.Generator().manual_seed(3)).double().requires_grad_(True)
    plain = model.plain_objective({"gamma": gamma}, prepared)
    at = prepared.at(gamma.detach())
    assert float(at.value) == pytest.approx(float(plain.detach()), rel=1e-12)
    (slope,) = torch.autograd.grad(plain, gamma, create_graph=True)
    torch.testing.assert_close(at.gradient(), slope.detach(), rtol=1e-10, atol=1e-10)
    for j in range(2):
        for k in range(3):
            (row,) = torch.autograd.grad(slope[k, j], gamma, retain_graph=True)
            torch.testing.assert_close(at.hessians[j, k], row[:, j], rtol=1e-9, atol=1e-9)


def test_swapping_the_classes_turns_the_signs() -> None:
    data = table(separated=True)
    a, b = fitted(data), fitted(replace(data, Y=1.0 - data.Y, O=-data.O))
    torch.testing.assert_close(a.estimates["B"], -b.estimates["B"], rtol=1e-8, atol=1e-8)
    assert a.criteria.loglik == pytest.approx(b.criteria.loglik, abs=1e-9)
    torch.testing.assert_close(a.inference.conf_low, -b.inference.conf_high, rtol=1e-5, atol=1e-6)


def test_units_change_the_penalty_by_a_constant_alone() -> None:
    data = table(separated=True)
    units = torch.tensor([1.0, 1e-3, 10.0]).double()
    a, b = fitted(data), fitted(replace(data, X=data.X * units))
    scale = 1.0 / units[:, None]
    torch.testing.assert_close(a.estimates["B"] * scale, b.estimates["B"], rtol=1e-7, atol=1e-9)
    assert b.criteria.loglik - a.criteria.loglik == pytest.approx(2 * float(units.log().sum()), abs=1e-9)
    for name in ("statistic", "p_value"):
        torch.testing.assert_close(getattr(a.inference, name), getattr(b.inference, name), rtol=1e-6, atol=1e-9)


def test_another_optimizer_finds_the_same() -> None:
    data = table(separated=True)
    found = fit(Logistic(FIRTH), data, build("lbfgs", None)).estimates["B"]
    torch.testing.assert_close(found, fitted(data, "none").estimates["B"], rtol=0.0, atol=5e-3)  # of a loose stop


def test_intervals_and_tests_agree() -> None:
    """An interval leaves 0 out exactly where the test of that level is significant."""
    result = fitted(table(), level=0.9)
    ends = result.inference.conf_low, result.inference.conf_high
    assert bool(((ends[0] > 0) | (ends[1] < 0)).eq(result.inference.p_value < 0.1).all())
    assert bool((ends[0] < result.estimates["B"]).all()) and bool((ends[1] > result.estimates["B"]).all())
    p = float(result.inference.p_value[1, 0])  # at the level of its own p-value an interval ends at 0
    other = fitted(table(), level=1.0 - p).inference
    assert min(abs(float(other.conf_low[1, 0])), abs(float(other.conf_high[1, 0]))) < 1e-6


# --- published examples ---

SEX2 = {  # logistf: coefficient, standard error, profile interval, chi-squared
    "Intercept": (0.120254, 0.485542, -0.818559, 1.07315, 0.06286298),
    "age": (-1.10598, 0.42366, -1.97379, -0.307427, 7.50773092),
    "oc": (-0.0688167, 0.443793, -0.941436, 0.789202, 0.02467044),
    "vic": (2.26887, 0.548416, 1.27304, 3.43543, 22.93139022),
    "vicl": (-2.11141, 0.543082, -3.26086, -1.11774, 19.10407252),
    "vis": (-0.788317, 0.417368, -1.60809, 0.0151846, 3.69740975),
    "dia": (3.09601, 1.67501, 0.774568, 8.03028, 7.89693139),
}


def test_the_sex2_example_of_logistf(cli: Cli, tmp_path: Path) -> None:
    """By pattern and weight; limits are published to about 2e-5, for logistf searches them to 1e-5."""
    formula = f"case ~ {' + '.join(list(SEX2)[1:])}"
    words = ("--covariates", EXAMPLES / "sex2.csv", "--weights", "women", "--formula", formula, "--penalty", FIRTH)
    ran = cli("fit", "logistic", *words, "--out", "run")
    assert ran.code == 0, ran.err
    found = pd.read_csv(tmp_path / "run" / "coefficients.csv").set_index("term")
    for term, (b, se, low, high, chisq) in SEX2.items():
        row = found.loc[term]
        assert row.estimate == pytest.approx(b, rel=1e-5) and row.std_error == pytest.approx(se, rel=1e-5)
        assert row.conf_low == pytest.approx(low, abs=3e-5) and row.conf_high == pytest.approx(high, abs=3e-5)
        assert row.statistic**2 == pytest.approx(chisq, rel=1e-6)
        assert row.p_value == pytest.approx(chi2.sf(chisq, 1), rel=1e-6)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["loglik"] == pytest.approx(-132.5394, abs=5e-5)
    assert (summary["penalty"], summary["se"], summary["aic"], summary["findings"]) == (FIRTH, PROFILE, None, [])
    schema.check(summary, "summary")


def test_the_endometrial_example(cli: Cli, tmp_path: Path) -> None:
    """Heinze & Schemper (2002), table II: NV separates the classes."""
    words = ("--covariates", EXAMPLES / "endometrial.csv", "--formula", "HG ~ NV + PI + EH")
    ran = cli("fit", "logistic", *words, "--out", "free")
    assert "quasi-complete separation" in ran.err and "Use --penalty firth" in ran.err
    ran = cli("fit", "logistic", *words, "--penalty", "firth", "--out", "run")
    assert ran.code == 0 and "warning" not in ran.err and "aic" not in ran.err
    found = pd.read_csv(tmp_path / "run" / "coefficients.csv").set_index("term")
    published = {"NV": (2.93, 0.61, 7.85), "PI": (-0.03, -0.12, 0.04), "EH": (-2.60, -4.37, -1.23)}
    for term, numbers in published.items():
        assert tuple(found.loc[term, ["estimate", "conf_low", "conf_high"]].round(2)) == numbers
    assert found.loc["NV", "std_error"] == pytest.approx(1.55, abs=5e-3)


# --- an independent program ---


def by_scipy(data, j: int, power: float = 0.5) -> tuple[Callable[[np.ndarray], float], np.ndarray]:
    """Minus the penalised log-likelihood of a response, by numpy alone, and where it is least; power 0: no penalty."""
    X, y, w, o = (data.X.numpy(), data.Y[:, j].numpy(), data.w.numpy(), data.O[:, 0].numpy())

    def loss(b: np.ndarray) -> float:
        eta = o + X @ b
        loglik = w @ (y * eta - np.logaddexp(0.0, eta))
        mu = 1.0 / (1.0 + np.exp(-eta))
        sign, logdet = np.linalg.slogdet((X * (w * mu * (1.0 - mu))[:, None]).T @ X)
        return -loglik - power * logdet if sign > 0 else 1e300

    found = minimize(loss, np.zeros(3), method="BFGS", options={"gtol": 1e-7})
    return loss, minimize(loss, found.x, method="Nelder-Mead", options={"xatol": 1e-10, "fatol": 1e-13}).x


@pytest.mark.parametrize(
    ("penalty", "power", "separated"), quickly([(FIRTH, 0.5, True), ("none", 0.0, False)], (FIRTH, 0.5, True))
)
def test_against_scipy(penalty: str, power: float, separated: bool) -> None:
    """Estimates by BFGS with finite differences, tests and limits by bisection on profiles that it finds again."""
    data = table(separated=separated)
    result = fitted(data, PROFILE, penalty)
    assert result.inference is not None
    for j in range(2):
        loss, best = by_scipy(data, j, power)
        np.testing.assert_allclose(result.estimates["B"][:, j], best, atol=2e-6)
        k = 2 - j

        def profile(b: float, k: int = k, loss: Any = loss, best: np.ndarray = best) -> float:
            others = minimize(lambda z: loss(np.insert(z, k, b)), np.delete(best, k), method="BFGS", tol=1e-8)
            return 2.0 * (others.fun - loss(best))

        assert float(result.inference.statistic[k, j]) ** 2 == pytest.approx(profile(0.0), abs=1e-5)
        q, se = chi2.ppf(0.95, 1), float(result.inference.std_error[k, j])
        for side, name in ((-1, "conf_low"), (1, "conf_high")):
            end = brentq(lambda b, q=q: profile(b) - q, best[k], best[k] + side * 12 * se, xtol=1e-7)
            assert float(getattr(result.inference, name)[k, j]) == pytest.approx(end, abs=2e-5)


def test_wald_errors_are_those_of_the_information() -> None:
    data = table(separated=True)
    result = fitted(data, "fisher")
    found = result.inference
    assert isinstance(found, Inference) and found.method == "fisher"
    mu = torch.sigmoid(data.O + data.X @ result.estimates["B"])
    for j in range(2):
        V = torch.linalg.inv((data.X * (data.w * mu[:, j] * (1 - mu[:, j]))[:, None]).mT @ data.X)
        torch.testing.assert_close(found.std_error[:, j], V.diagonal().sqrt(), rtol=1e-8, atol=0.0)
        torch.testing.assert_close(fitted(data, PROFILE).inference.std_error[:, j], found.std_error[:, j])
    torch.testing.assert_close(found.conf_high - found.conf_low, 2 * 1.959963984540054 * found.std_error)


def test_profiles_without_the_penalty_leave_separated_responses_out() -> None:
    found = fitted(table(separated=True), PROFILE, "none").inference
    assert bool(found.statistic[:, 0].isnan().all()) and bool(found.statistic[:, 1].isfinite().all())


def test_profiles_are_cut_short_by_the_time_limit() -> None:
    result = fit(Logistic(FIRTH), table(n=2000), stop=StopRule(cancelled=lambda: True), inference=InferenceRule())
    assert result.inference is None


# --- verbs ---


@pytest.fixture
def run(cli: Cli, tmp_path: Path) -> Path:
    shutil.copy(EXAMPLES / "endometrial.csv", tmp_path / "data.csv")
    assert cli("fit", "logistic", *WORDS, "--penalty", "firth", "--out", "run").code == 0
    return tmp_path / "run"


WORDS = ("--covariates", "data.csv", "--formula", "HG ~ NV + PI + EH")


def test_verbs_after_a_fit(cli: Cli, run: Path, tmp_path: Path) -> None:
    ran = cli("show", "run")
    assert "logistic regression, Firth's penalty" in ran.out and "there are no criteria" in " ".join(ran.out.split())
    assert cli("rerun", "run", "--check").code == 0
    ran = cli("test", "run", "--terms", "NV")
    assert ran.code == 0 and "These tests are Wald's" in ran.err
    ran = cli("predict", "run", "--covariates", "data.csv", "--interval", "confidence")
    assert ran.code == 0 and "separated" not in ran.err
    assert any("penalised (Firth)" in sentence for sentence in sentences.model(read_run(run)))
    assert cli("fit", "logistic", *WORDS, "--out", "free").code == 0
    for pair in (("run", "free"), ("free", "run")):
        ran = cli("compare", *pair)
        assert ran.code == 3 and "run was fitted with --penalty firth" in ran.err and "do not compare" in ran.err
    ran = cli(
        "cv", "logistic", *WORDS, "--penalty", "none", "--penalty", "firth", "--folds", "2", "--workers", "1", "--json"
    )
    assert ran.code == 0
    found = {row["penalty"]: row for row in json.loads(ran.out)["candidates"] if row["formula"] != "~ 1"}
    assert found["firth"]["deviance"] != found["none"]["deviance"]
    ran = cli("fit", "logistic", *WORDS, "--penalty", "firth", "--init", "free", "--out", "warm")
    assert ran.code == 0
    cold, warm = (pd.read_csv(tmp_path / name / "coefficients.csv") for name in ("run", "warm"))
    np.testing.assert_allclose(warm["estimate"], cold["estimate"], rtol=1e-8)


def test_what_does_not_go_with_the_penalty(cli: Cli, run: Path, tmp_path: Path) -> None:
    words = ("fit", "logistic", *WORDS, "--penalty", "firth", "--out", "other")
    for method in ("robust", "hc0", "hc3"):
        ran = cli(*words, "--se", method)
        assert ran.code == 2 and "use --se profile or fisher, bootstrap or jackknife" in ran.err
    ran = cli(*words, "--cluster", "NV")
    assert ran.code == 2 and "--se bootstrap or jackknife" in ran.err
    ran = cli("fit", "linear", "--covariates", "data.csv", "--formula", "EH ~ PI", "--penalty", "firth")
    assert ran.code == 2
    data = pd.read_csv(tmp_path / "data.csv", index_col=0)
    data.assign(unit=np.arange(len(data)) // 4).to_csv(tmp_path / "data.csv")
    ran = cli("cv", "logistic", *WORDS, "--penalty", "firth", "--cluster", "unit", "--folds", "2", "--workers", "1")
    assert ran.code == 0


def test_python(run: Path, tmp_path: Path) -> None:
    covariates = pd.read_csv(tmp_path / "data.csv", index_col=0)
    data = plncli.Dataset(covariates=covariates, formula=WORDS[-1])
    result = plncli.fit("logistic", data, penalty="firth")
    known = plncli.load(run)
    pd.testing.assert_frame_equal(result.coefficients, known.coefficients, check_dtype=False)
    with pytest.warns(UserWarning, match='penalty="firth"'):
        free = plncli.fit("logistic", data)
    with pytest.raises(DataError, match='penalty="firth"'):
        free.compare(result)
    with pytest.raises(UsageError, match='se="hc3"'):
        plncli.fit("logistic", data, penalty="firth", se="hc3")


@pytest.mark.slow  # refits by resampling; the tests of these have the other models
def test_resampled_errors(cli: Cli, run: Path, tmp_path: Path) -> None:
    words = ("--se", "bootstrap", "--resamples", "10", "--workers", "1")
    ran = cli("fit", "logistic", *WORDS, "--penalty", "firth", *words, "--out", "resampled")
    assert ran.code == 0
    found = pd.read_csv(tmp_path / "resampled" / "coefficients.csv")
    assert found["std_error"].notna().all()  # without the penalty that of NV is not


def test_the_setting_is_declared() -> None:
    assert "penalty" in [setting.name for setting in MODELS["logistic"].settings]
    assert MODELS["logistic"].penalised({"penalty": "firth"}) == {"penalty": "firth"}
    assert MODELS["logistic"].penalised({"penalty": "none"}) == MODELS["pln"].penalised({}) == {}


# --- several coefficients at once ---


@pytest.mark.parametrize(("penalty", "power"), [(FIRTH, 0.5), ("none", 0.0)])
def test_joint_ratios_against_scipy(penalty: str, power: float) -> None:
    """Coefficients held in BFGS with finite differences, the penalty being that of the whole design."""
    data = table(separated=penalty == FIRTH)
    result = fitted(data, PROFILE, penalty)
    B, model = result.estimates["B"], Logistic(penalty)
    prepared = model.prepare(data)
    rows, values = torch.tensor([[0.0, 1.0, 0.0], [0.0, 1.0, 1.0]]).double(), torch.tensor([0.0, 0.5]).double()
    found = model.held(B, prepared, rows, values, torch.ones(2).double(), None)
    assert torch.isnan(found.low).all() and torch.isnan(found.high).all()
    for j in range(2):
        loss, best = by_scipy(data, j, power)
        held = minimize(lambda z, loss=loss: loss(np.array([z[0], 0.0, 0.5])), best[:1], method="BFGS", tol=1e-9)
        assert float(found.statistic[j]) == pytest.approx(2.0 * (held.fun - loss(best)), abs=1e-6)


def test_joint_ratios_keep_to_those_of_one_and_to_the_hypothesis() -> None:
    data = table(separated=True)
    result = fitted(data)
    model, B = Logistic(FIRTH), result.estimates["B"]
    prepared, found = model.prepare(data), result.inference
    assert found is not None

    def statistic(rows: Any, values: Any, level: float | None = None) -> Any:
        rows, values = (torch.as_tensor(part, dtype=torch.float64) for part in (rows, values))
        return model.held(B, prepared, rows, values, found.std_error[2], level)

    one = statistic([[0.0, 0.0, 1.0]], [0.0], 0.95)
    torch.testing.assert_close(one.statistic.sqrt(), found.statistic[2].abs(), rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(one.low, found.conf_low[2], rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(one.high, found.conf_high[2], rtol=1e-6, atol=1e-8)
    both, turned = statistic(np.eye(3)[1:], [0.0, 0.0]), statistic([[0, 3.0, -1.0], [0, 1.0, 2.0]], [0.0, 0.0])
    torch.testing.assert_close(both.statistic, turned.statistic, rtol=1e-7, atol=1e-9)  # the same in other words
    assert bool((both.statistic >= one.statistic).all())
    at = statistic(np.eye(3), B[:, 0])
    assert float(at.statistic[0]) == pytest.approx(0.0, abs=1e-9) and float(at.statistic[1]) > 1e-3
    error = torch.tensor([math.nan, 1.0]).double()
    skipped = model.held(B, prepared, torch.eye(3).double(), torch.zeros(3).double(), error, None)
    assert torch.isnan(skipped.statistic).tolist() == [True, False]
    for far in (1e2, 1e4, 1e8):  # is a large ratio, or none, and never a small one
        (value,) = {float(x) for x in statistic([[0.0, 1.0, 0.0]], [far]).statistic[:1]}
        assert math.isnan(value) or value > 50.0


def test_the_command_tests_by_ratios(cli: Cli, run: Path, tmp_path: Path) -> None:
    table = pd.read_csv(run / "coefficients.csv").set_index("term")
    words = [part for name in ("NV", "PI") for part in ("--contrast", name)]
    ran = cli("test", "run", "--lr", *words, "--json")
    assert ran.code == 0 and "Wald" not in ran.err, ran.err
    for row in json.loads(ran.out):
        own = table.loc[row["test"]]
        assert (row["kind"], row["df"], row["df_residual"]) == ("lr", 1, None)
        for name in ("estimate", "std_error", "p_value", "conf_low", "conf_high"):
            assert row[name] == pytest.approx(own[name], rel=1e-6), name
    ran = cli("test", "run", "--lr", "--terms", "all", "--json")
    assert [row["p_value"] for row in json.loads(ran.out)] == pytest.approx(list(table["p_value"][1:]), rel=1e-6)
    known = plncli.load(run)
    frame = known.test(lr=True, contrast=["NV - PI", "PI"])
    assert list(frame["kind"]) == ["lr", "lr"]
    covariates = pd.read_csv(tmp_path / "data.csv", index_col=0)
    fresh = plncli.fit("logistic", plncli.Dataset(covariates=covariates, formula=WORDS[-1]), penalty="firth")
    pd.testing.assert_frame_equal(fresh.test(lr=True, contrast=["NV - PI", "PI"]), frame, rtol=1e-6)
    (tmp_path / "data.csv").rename(tmp_path / "moved.csv")
    ran = cli("test", "run", "--lr", "--terms", "NV")
    assert ran.code == 3 and "is gone. Give the table as it was by --covariates FILE." in ran.err
    assert cli("test", "run", "--lr", "--terms", "NV", "--covariates", "moved.csv").code == 0
    ran = cli("test", "run", "--terms", "NV", "--covariates", "moved.csv")
    assert ran.code == 2 and "--covariates goes with --lr: Wald's tests read no tables." in ran.err
    words = ("--covariates", "moved.csv", "--formula", WORDS[-1], "--cluster", "NV", "--out", "grouped", "-q")
    assert cli("fit", "logistic", *words, "--allow-unconverged").code == 0
    ran = cli("test", "grouped", "--lr", "--terms", "EH")
    assert ran.code == 2 and "--lr takes samples as independent" in ran.err, ran.err
    assert cli("simulate", "linear", "--out", "made", "-q").code == 0
    assert cli("fit", "linear", "--config", "made/config.toml", "--out", "plain", "-q").code == 0
    ran = cli("test", "plain", "--lr", "--terms", "x")
    assert ran.code == 2 and "--lr is not for a fit of the model linear" in ran.err
