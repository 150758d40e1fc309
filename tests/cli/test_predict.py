"""`plncli predict` and `plncli transform`: new samples through a finished fit."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf

SAMPLE_DATA = Path(__file__).parents[2] / "sample_data"
OAKS = SAMPLE_DATA / "oaks"
COUNTS, EXPOSURE, COVARIATES = (f"--{name}={OAKS / name}.csv" for name in ("counts", "exposure", "covariates"))
PATIENTS = SAMPLE_DATA / "logistic" / "patients.csv"
PLOTS = SAMPLE_DATA / "linear" / "plots.csv"
Cli = Callable[..., Any]


def frame(ran: Any, delimiter: str = ",") -> pd.DataFrame:
    assert ran.code == 0, ran.err
    rows = list(csv.DictReader(ran.out.splitlines(), delimiter=delimiter))
    table = pd.DataFrame(rows)
    return table.apply(lambda column: pd.to_numeric(column) if column.name not in ("sample", "response") else column)


def matrix(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, index_col=0)


def by_hand(run: Path) -> tuple[pd.DataFrame, np.ndarray]:
    """exp(o + xB + Sigma_jj/2) of the oaks, from the files of a fit with `~ 0 + tree`."""
    coefficients = pd.read_csv(run / "coefficients.csv").pivot(index="term", columns="response", values="estimate")
    tree = pd.read_csv(OAKS / "covariates.csv", index_col=0).tree
    sigma = matrix(run / "sigma.csv")
    link = coefficients.loc[[f"tree[{name}]" for name in tree], sigma.columns].to_numpy()
    link = np.log(matrix(OAKS / "exposure.csv").loc[tree.index].to_numpy()) + link
    return tree, np.exp(link + 0.5 * np.diag(sigma))


def test_marginal_counts_follow_from_the_files_of_the_fit(cli: Cli, fits: Path) -> None:
    ran = cli("predict", fits / "means", COVARIATES, EXPOSURE)
    found = frame(ran)
    assert list(found.columns) == ["sample", "response", "link", "marginal", "median"]
    np.testing.assert_allclose(found["median"], np.exp(found.link), rtol=1e-12)
    tree, expected = by_hand(fits / "means")
    np.testing.assert_allclose(found.marginal.to_numpy().reshape(expected.shape), expected, rtol=1e-9)
    assert (found["sample"].iloc[::114] == list(tree.index)).all()
    assert (found.marginal == 0).sum() == 504
    assert "Marginal counts: expected given the covariates alone; 116 samples" in ran.err


def test_intervals_hold_the_expected_count(cli: Cli, fits: Path) -> None:
    ran = cli("predict", fits / "means", COVARIATES, EXPOSURE, "--interval=confidence", "--interval=prediction")
    found = frame(ran)
    ends = ["conf_low", "conf_high", "pred_low", "pred_high"]
    assert list(found.columns)[5:] == ends
    zero = found.marginal == 0
    assert found[zero][ends].isna().all(axis=None) and not found[~zero][ends].isna().any(axis=None)
    rest = found[~zero]
    assert (
        (rest.conf_low < rest.marginal) & (rest.marginal < rest.conf_high) & (rest.pred_low <= rest.pred_high)
    ).all()
    se = pd.read_csv(fits / "means" / "coefficients.csv").set_index(["term", "response"]).std_error
    row = rest.iloc[0]
    tree = pd.read_csv(OAKS / "covariates.csv", index_col=0).tree[row["sample"]]
    reach = 1.959963984540054 * se[f"tree[{tree}]", row.response]
    assert row.conf_high / row.marginal == pytest.approx(np.exp(reach), rel=1e-9)
    assert "504 cells without an interval, for their expected count is exactly 0: f_OTU_4" in ran.err
    assert "they take Sigma as known" in ran.err


def test_a_reference_level_that_is_never_seen_gives_the_same_counts(cli: Cli, fits: Path) -> None:
    """With treatment coding some intercepts are −inf, and other terms inf."""
    a, b = (
        frame(cli("predict", fits / run, COVARIATES, EXPOSURE, "--wide", "marginal")).set_index("sample")
        for run in ("tree", "means")
    )
    assert not a.isna().any(axis=None)
    np.testing.assert_array_equal(a == 0, b == 0)
    np.testing.assert_allclose(a, b, rtol=5e-3)  # both are within their tolerance of the optimum


def test_new_samples_have_their_own_names_order_and_exposure(cli: Cli, fits: Path, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("name,depth,tree\nB,1,resistant\nA,2,susceptible\n")
    (tmp_path / "effort.csv").write_text("name,effort\nA,10\nB,20\n")
    ran = cli("predict", fits / "means", "--covariates", "new.csv", "--exposure", "effort.csv", "--wide", "link")
    one = cli("predict", fits / "means", "--covariates", "new.csv", "--exposure", 1, "--wide", "link")
    zero = cli("predict", fits / "means", "--covariates", "new.csv", "--offsets", 0, "--wide", "link")
    found, at_one = (frame(each).set_index("sample") for each in (ran, one))
    assert list(found.index) == ["B", "A"] and one.out == zero.out
    finite = np.isfinite(at_one.loc["A"])
    np.testing.assert_allclose((found - at_one).loc["B"][np.isfinite(at_one.loc["B"])], np.log(20), rtol=1e-12)
    np.testing.assert_allclose((found - at_one).loc["A"][finite], np.log(10), rtol=1e-12)


@pytest.mark.parametrize("run", ["one", "diagonal"])
def test_a_fit_without_covariates_takes_its_samples_from_the_exposure(cli: Cli, fits: Path, run: str) -> None:
    found = frame(cli("predict", fits / run, EXPOSURE, "--wide", "link")).set_index("sample")
    B = pd.read_csv(fits / run / "coefficients.csv").estimate
    np.testing.assert_allclose(found - np.log(matrix(OAKS / "exposure.csv").to_numpy()), [B] * 116, rtol=1e-9)


def test_fitted_counts_are_those_of_the_fit(cli: Cli, fits: Path) -> None:
    """The fit itself ended within its tolerance of the optimum: its latent values are as near as that."""
    found = frame(cli("predict", fits / "means", COVARIATES, EXPOSURE, COUNTS))
    assert list(found.columns)[2:] == ["latent_mean", "latent_sd", "fitted"]
    M, S = (matrix(fits / "means" / f"latent_{name}.csv") for name in ("mean", "sd"))
    mean = found.latent_mean.to_numpy().reshape(M.shape)
    np.testing.assert_array_equal(np.isneginf(mean), np.isneginf(M))
    finite = np.isfinite(mean)
    np.testing.assert_allclose(mean[finite], M.to_numpy()[finite], atol=5e-3)
    np.testing.assert_allclose(found.latent_sd.to_numpy().reshape(S.shape), S, atol=5e-3)
    Y = matrix(OAKS / "counts.csv").to_numpy()
    fitted = found.fitted.to_numpy().reshape(Y.shape)
    assert np.corrcoef(Y.ravel(), fitted.ravel())[0, 1] > 0.99
    np.testing.assert_allclose(fitted.sum(0), Y.sum(0), rtol=0.05)


def test_conditional_counts_are_nearer_to_the_truth_than_marginal_ones(cli: Cli, fits: Path, tmp_path: Path) -> None:
    Y = matrix(OAKS / "counts.csv")
    Y.iloc[:, :100].to_csv(tmp_path / "part.csv")
    ran = cli("predict", fits / "one", EXPOSURE, "--given", "part.csv", "--interval", "prediction", "--level", "0.9")
    found = frame(ran)
    assert list(found.columns)[2:] == ["latent_mean", "latent_sd", "conditional", "median", "pred_low", "pred_high"]
    exposure = matrix(OAKS / "exposure.csv").iloc[:, 100:].to_numpy().ravel()
    np.testing.assert_allclose(found["median"], exposure * np.exp(found.latent_mean), rtol=1e-9)
    np.testing.assert_allclose(found.conditional, found["median"] * np.exp(found.latent_sd**2 / 2), rtol=1e-9)
    assert list(found.response.unique()) == list(Y.columns[100:])
    marginal = frame(cli("predict", fits / "one", EXPOSURE, "--wide", "marginal")).set_index("sample")[Y.columns[100:]]
    truth = Y.iloc[:, 100:].to_numpy()
    given = found.conditional.to_numpy().reshape(truth.shape)
    errors = [np.abs(np.log1p(truth) - np.log1p(A)).mean() for A in (given, marginal.to_numpy())]
    assert errors[0] < 0.8 * errors[1]
    assert 0.8 < ((found.pred_low <= truth.ravel()) & (truth.ravel() <= found.pred_high)).mean() <= 1
    assert (
        "Conditional counts: expected of the other features, given those observed; 116 samples × 14 features" in ran.err
    )


def test_transform_writes_latent_means_and_deviations(cli: Cli, fits: Path, tmp_path: Path) -> None:
    words = ["transform", fits / "means", COVARIATES, EXPOSURE, COUNTS]
    ran = cli(*words, "--out", "m.parquet", "--sd", "s.tsv")
    assert (ran.code, ran.out) == (0, "")
    M, S = pd.read_parquet(tmp_path / "m.parquet").set_index("sample"), pd.read_table(tmp_path / "s.tsv", index_col=0)
    expected = matrix(fits / "means" / "latent_mean.csv")
    finite = np.isfinite(expected.to_numpy())
    np.testing.assert_allclose(M.to_numpy()[finite], expected.to_numpy()[finite], atol=5e-3)
    assert (S > 0).all(axis=None) and list(S.columns) == list(M.columns) == list(expected.columns)
    removed = frame(cli(*words, "--remove-covariates")).set_index("sample")
    assert np.isfinite(removed).all(axis=None)
    B = pd.read_csv(fits / "means" / "coefficients.csv").pivot(index="term", columns="response", values="estimate")
    tree = pd.read_csv(OAKS / "covariates.csv", index_col=0).tree
    XB = B.loc[[f"tree[{name}]" for name in tree], list(M.columns)].to_numpy()
    np.testing.assert_allclose(removed.to_numpy()[finite], (M.to_numpy() - np.where(finite, XB, 0))[finite], atol=1e-8)


def test_features_are_matched_by_name_and_missing_counts_may_stay(cli: Cli, fits: Path, tmp_path: Path) -> None:
    Y = matrix(OAKS / "counts.csv")
    turned = Y.iloc[::-1, ::-1]
    turned.copy().assign(extra="x").to_csv(tmp_path / "turned.csv")
    a = cli("transform", fits / "one", EXPOSURE, "--counts", "turned.csv")
    b = frame(cli("transform", fits / "one", EXPOSURE, COUNTS)).set_index("sample")
    assert "1 column of turned.csv not used, being no features of the fit: extra" in a.err
    pd.testing.assert_frame_equal(frame(a).set_index("sample").loc[b.index], b, rtol=1e-9)
    holes = Y.astype(float)
    holes.iloc[3, 5] = np.nan
    holes.to_csv(tmp_path / "holes.csv")
    assert "missing entry" in cli("transform", fits / "one", EXPOSURE, "--counts", "holes.csv").err
    ran = cli("transform", fits / "one", EXPOSURE, "--counts", "holes.csv", "--missing", "keep")
    kept = frame(ran).set_index("sample")
    assert "1 missing entry of holes.csv kept as unobserved" in ran.err
    changed = (kept - b).abs().max(axis=1) > 1e-6
    assert list(changed[changed].index) == [Y.index[3]]
    dropped = frame(cli("transform", fits / "one", EXPOSURE, "--counts", "holes.csv", "--missing", "drop"))
    assert len(dropped) == 115


def test_logistic_predictions_equal_statsmodels(cli: Cli, fits: Path) -> None:
    table = pd.read_csv(PATIENTS)
    expected = smf.logit("case ~ marker1 + marker2", table).fit(disp=0, tol=1e-12)
    referee = expected.get_prediction(table).summary_frame(alpha=0.2)
    found = frame(cli("predict", fits / "markers", "--covariates", PATIENTS, "--interval=confidence", "--level=.8"))
    assert list(found.columns) == ["sample", "response", "link", "probability", "class", "conf_low", "conf_high"]
    np.testing.assert_allclose(found.probability, referee.predicted, rtol=1e-6)
    assert (found["class"] == (found.probability >= 0.5)).all()
    eta, se = expected.get_prediction(table, which="linear").summary_frame()[["predicted", "se"]].to_numpy().T
    np.testing.assert_allclose(found.conf_low, 1 / (1 + np.exp(-(eta - 1.2815515655446004 * se))), rtol=1e-6)


def test_several_logistic_responses_have_classes_by_their_labels(cli: Cli, tmp_path: Path) -> None:
    g = np.random.default_rng(0)
    x = g.normal(size=80)
    noise = g.normal(size=(80, 2))
    sick = np.where(x + noise[:, 0] > 0, "sick", "well")
    passed = np.where(x + noise[:, 1] > 0.5, "true", "false")
    pd.DataFrame({"s": range(80), "x": x, "state": sick, "test": passed}).to_csv(tmp_path / "t.csv", index=False)
    assert cli("fit", "logistic", "--covariates=t.csv", "--formula=state + test ~ x", "--out=run").code == 0
    (tmp_path / "new.csv").write_text("s,x\na,-3\nb,3\n")
    found = json.loads(cli("predict", "run", "--covariates", "new.csv", "--json").out)
    likely = [row["probability"] >= 0.5 for row in found]
    labels = [("sick", "well"), ("false", "true")] * 2
    assert [row["class"] for row in found] == [pair[one] for pair, one in zip(labels, likely, strict=True)]
    assert [row["class"] for row in found] == ["well", "false", "sick", "true"]
    wide = cli("predict", "run", "--covariates", "new.csv", "--wide", "class", "--format", "tsv")
    assert wide.out.splitlines()[0] == "sample\tstate\ttest"


def test_linear_predictions_equal_statsmodels(cli: Cli, fits: Path) -> None:
    table = pd.read_csv(PLOTS)
    expected = smf.ols("harvest ~ soil1 + soil2", table).fit().get_prediction(table).summary_frame()
    words = ["predict", fits / "soil", "--covariates", PLOTS, "--interval=confidence", "--interval=prediction"]
    found = frame(cli(*words))
    names = ["mean", "mean_ci_lower", "mean_ci_upper", "obs_ci_lower", "obs_ci_upper"]
    assert list(found.columns)[2:] == ["mean", "conf_low", "conf_high", "pred_low", "pred_high"]
    np.testing.assert_allclose(found[list(found.columns)[2:]], expected[names], rtol=1e-8)


@pytest.mark.parametrize(
    "formula",
    [
        "y ~ bs(age, df=5)",
        "y ~ center(age) + scale(x)",
        "y ~ poly(age, 3)",
        "y ~ C(site) * x",
        "y ~ C(group, contr.sum) + x",
        "y ~ 0 + x + cs(age, df=4)",
        "y ~ age + offset(log(depth))",
        "y ~ 0 + group:x + C(I(age > 50))",
    ],
)
def test_new_samples_are_encoded_as_in_the_fit(cli: Cli, tmp_path: Path, formula: str) -> None:
    """Some of the samples of the fit, in another order, have the predictions that they have among all."""
    g = np.random.default_rng(1)
    table = pd.DataFrame(
        {
            "age": g.uniform(20, 80, 60),
            "x": g.normal(size=60),
            "site": g.integers(1, 4, 60),
            "group": g.choice(["a", "b", "c"], 60),
            "depth": g.uniform(1, 9, 60),
            "y": g.normal(size=60),
        },
        index=pd.Index([f"s{i}" for i in range(60)], name="id"),
    )
    table.to_csv(tmp_path / "t.csv")
    table.drop(columns="y").iloc[[40, 3, 11]].to_csv(tmp_path / "some.csv")
    assert cli("fit", "linear", "--covariates=t.csv", "--formula", formula, "--out=run").code == 0
    whole, some = (
        frame(cli("predict", "run", "--covariates", name, "--interval=confidence")).set_index("sample")
        for name in ("t.csv", "some.csv")
    )
    pd.testing.assert_frame_equal(some, whole.loc[some.index], rtol=1e-10)


def test_labels_that_look_like_numbers_stay_labels(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        "id,site,y\n" + "".join(f"s{i},{('1', '2', 'three')[i % 3]},{i * i % 7}\n" for i in range(12))
    )
    assert cli("fit", "linear", "--covariates=t.csv", "--formula=y ~ C(site)", "--out=run").code == 0
    (tmp_path / "new.csv").write_text("id,site\na,1\nb,2\n")
    whole = frame(cli("predict", "run", "--covariates=t.csv"))
    assert list(frame(cli("predict", "run", "--covariates=new.csv"))["mean"]) == list(whole["mean"][:2])


REFUSED = [
    (["means", "--exposure=1"], 2, "The fit explains by `tree` (`~ 0 + tree`). Give --covariates FILE"),
    (["means", COVARIATES], 2, "Give --exposure FILE of the new samples, or --exposure 1 for predictions at"),
    (["one"], 2, "or --exposure 1"),
    (["one", "--exposure=1"], 2, "There are no samples to predict for: give --covariates FILE, or --exposure FILE."),
    (["one", "--exposure=-1"], 2, "an exposure is a positive number"),
    (["one", EXPOSURE, "--offsets=0"], 2, "--exposure and --offsets say the same"),
    (["one", EXPOSURE, "--interval=tolerance"], 2, "--interval must be confidence or prediction, not tolerance"),
    (["one", EXPOSURE, "--level=95"], 2, "--level must be between 0 and 1"),
    (["one", EXPOSURE, "--wide=fitted"], 2, "no column `fitted` to put --wide; there are link, marginal, median"),
    (["one", EXPOSURE, "--missing=fill"], 2, "--missing must be error, drop or keep"),
    (["one", EXPOSURE, COUNTS, "--given=x.csv"], 2, "--counts holds all features of new samples and --given some"),
    (["one", EXPOSURE, f"--given={OAKS / 'counts.csv'}"], 3, "holds all 114 features of the fit, so none is left"),
    (["one", EXPOSURE, f"--given={OAKS / 'covariates.csv'}"], 3, "holds no feature of the fit"),
    (["one", EXPOSURE, f"--counts={OAKS / 'covariates.csv'}"], 3, "holds no feature of the fit"),
    (["one", EXPOSURE, "--counts=two.csv"], 3, "two.csv lacks 112 of the 114 features of the fit: b_OTU_1093"),
    (["one", "--exposure=none.csv"], 3, "none.csv"),
    (["one", EXPOSURE, COUNTS, "--interval=prediction"], 3, "Fitted counts have no interval"),
    (["stopped", EXPOSURE, "--interval=confidence"], 3, "The fit has no standard errors, which the interval needs"),
    (["means", "--covariates=unseen.csv", "--exposure=1"], 3, "not seen: elm. It has intermediate, resistant"),
    (["means", "--covariates=unseen.csv", "--exposure=1"], 3, "leave these samples out (b)"),
    (["means", "--covariates=trees.csv", "--exposure=1"], 3, "lacks 1 column that the fit used: tree."),
    (["means", "--covariates=empty.csv", "--exposure=1"], 3, "missing entry: sample b, column tree"),
    (["markers", "--covariates=text.csv"], 3, "sample b, column marker2 (`3 mg`). The fit took `marker2` as a number"),
    (["markers", f"--covariates={PATIENTS}", "--interval=prediction"], 3, "has no prediction interval"),
    (
        ["markers", f"--covariates={PATIENTS}", COUNTS],
        2,
        "--counts goes with fits of pln, pln-pca, pln-network, pln-mixture, pln-lda only",
    ),
    (["nowhere", EXPOSURE], 3, "does not exist"),
]


@pytest.mark.parametrize(("words", "code", "message"), REFUSED)
def test_what_cannot_be_predicted_is_refused(
    cli: Cli, fits: Path, tmp_path: Path, words: list[str], code: int, message: str
) -> None:
    for name, text in {
        "unseen": "id,tree\na,resistant\nb,elm\n",
        "trees": "id,trees\na,resistant\nb,resistant\n",
        "empty": "id,tree\na,resistant\nb,\n",
        "text": "id,marker1,marker2\na,1,2\nb,1,3 mg\n",
        "two": "id,b_OTU_1045,b_OTU_109\noak001,1,2\n",
    }.items():
        (tmp_path / f"{name}.csv").write_text(text)
    ran = cli("predict", fits / words[0], *words[1:], "--out", "p.csv")
    assert (ran.code, ran.out) == (code, "")
    assert message in ran.err
    assert not (tmp_path / "p.csv").exists()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["one", EXPOSURE], 2, "--counts"),
        (["soil", COUNTS], 2, "--counts goes with fits of pln, pln-pca, pln-network, pln-mixture, pln-lda only"),
        (["one", EXPOSURE, COUNTS, "--out=m.csv", "--sd=./m.csv"], 2, "--out and --sd are the same file"),
        (["one", EXPOSURE, COUNTS, "--sd=m.xls"], 2, "--sd m.xls must end in one of"),
        (["one", COUNTS], 2, "Give --exposure FILE of the new samples."),
    ],
)
def test_what_cannot_be_transformed_is_refused(
    cli: Cli, fits: Path, tmp_path: Path, words: list[str], code: int, message: str
) -> None:
    ran = cli("transform", fits / words[0], *words[1:])
    assert (ran.code, ran.out) == (code, "")
    assert message in ran.err
    assert list(tmp_path.iterdir()) == []


def test_an_offset_that_the_fit_had_not_is_told(cli: Cli, tmp_path: Path) -> None:
    g = np.random.default_rng(0)
    counts = pd.DataFrame(g.poisson(5, (30, 3)), columns=list("abc"), index=pd.Index(range(30), name="s"))
    counts.to_csv(tmp_path / "c.csv")
    assert cli("fit", "pln", "--counts=c.csv", "--out=run").code == 0
    plain, twice = (cli("predict", "run", "--counts=c.csv", *more) for more in ([], ["--exposure=2"]))
    told = "The fit had neither --exposure nor --offsets"
    assert told in twice.err and told not in plain.err


def test_an_exposure_for_each_feature_is_matched_by_name(cli: Cli, tmp_path: Path) -> None:
    """Also where the counts are of some of the features, and rows go by position."""
    g = np.random.default_rng(0)
    E = pd.DataFrame(g.uniform(1, 9, (40, 3)), columns=list("abc"), index=pd.Index(range(40), name="s"))
    Y = pd.DataFrame(g.poisson(E * np.exp(g.normal(size=(40, 3)))), columns=list("abc"), index=E.index)
    for name, table in {"Y": Y, "E": E, "turned": E[list("cab")].assign(d=1), "part": Y[["b"]]}.items():
        table.to_csv(tmp_path / f"{name}.csv")
        table.to_csv(tmp_path / f"{name}-bare.csv", index=False)
    assert cli("fit", "pln", "--counts=Y.csv", "--exposure=E.csv", "--out=run").code == 0
    outs = {
        cli("predict", "run", "--given=part.csv", f"--exposure={name}.csv", "--wide=conditional").out.split("\n", 1)[1]
        for name in ("E", "turned")
    }
    bare = cli("predict", "run", "--given=part-bare.csv", "--exposure=E-bare.csv", "--no-sample-names", "--wide=link")
    assert bare.code == 2 and "there are latent_mean, latent_sd, conditional, median" in bare.err
    bare = cli("transform", "run", "--counts=Y-bare.csv", "--exposure=E-bare.csv", "--no-sample-names", "-q")
    named = cli("transform", "run", "--counts=Y.csv", "--exposure=turned.csv", "-q")
    assert len(outs) == 1
    values = [frame(ran).set_index("sample").to_numpy() for ran in (bare, named)]
    np.testing.assert_array_equal(*values)


@pytest.mark.slow  # fits of the whole oaks; the contract tries float32 of every model
def test_a_fit_in_float32_predicts_to_its_precision(cli: Cli, fits: Path) -> None:
    words = ["pln", COUNTS, COVARIATES, EXPOSURE, "--formula=~ 0 + tree", "--dtype=float32", "--allow-unconverged"]
    assert cli("fit", *words, "--out=single", "-q").code == 0
    a, b = (
        frame(cli("transform", run, COVARIATES, EXPOSURE, COUNTS)).set_index("sample").replace(-np.inf, 0)
        for run in ("single", fits / "means")
    )
    np.testing.assert_allclose(a, b, atol=0.05)


def test_an_unconverged_fit_is_told(cli: Cli, fits: Path) -> None:
    assert "did not converge" in cli("predict", fits / "stopped", EXPOSURE, "--wide", "marginal").err


def test_the_model_file_is_all_it_takes(cli: Cli, fits: Path, tmp_path: Path) -> None:
    shutil.copy(fits / "means" / "model.safetensors", tmp_path / "m.safetensors")
    words = [COVARIATES, EXPOSURE, COUNTS, "--wide", "fitted"]
    assert cli("predict", "m.safetensors", *words).out == cli("predict", fits / "means", *words).out


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet", "feather"])
def test_a_file_takes_the_table_in_the_format_of_its_suffix(cli: Cli, fits: Path, tmp_path: Path, suffix: str) -> None:
    ran = cli("predict", fits / "one", EXPOSURE, "--out", f"t.{suffix}", "-q")
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    read = {"csv": pd.read_csv, "tsv": pd.read_table, "parquet": pd.read_parquet, "feather": pd.read_feather}[suffix]
    assert list(read(tmp_path / f"t.{suffix}").columns) == ["sample", "response", "link", "marginal", "median"]
    refused = cli("predict", fits / "one", EXPOSURE, "--out", f"t.{suffix}")
    assert refused.code == 2 and "exists. Add --overwrite" in refused.err


def test_predictions_come_from_a_pipe(cli: Cli, fits: Path) -> None:
    text = (OAKS / "exposure.csv").read_text()
    ran = cli("predict", fits / "one", "--exposure", "-", "--wide", "marginal", "-q", stdin=text)
    assert (ran.code, ran.err) == (0, "")
    assert len(ran.out.splitlines()) == 117


def test_a_feature_may_be_called_sample(cli: Cli, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    table = pd.DataFrame(rng.poisson(9, (20, 3)), columns=["sample", "b", "c"], index=[f"s{i}" for i in range(20)])
    table.rename_axis("id").to_csv(tmp_path / "counts.csv")
    assert cli("fit", "pln", "--counts", "counts.csv", "--out", "run").code == 0
    for words in (("predict", "run", "--counts", "counts.csv", "--wide", "fitted"), ("transform", "run", "--counts")):
        ran = cli(*words, *(["counts.csv"] if words[0] == "transform" else []))
        found = pd.read_csv(io.StringIO(ran.out), index_col=0)
        assert ran.code == 0 and list(found.columns) == ["sample", "b", "c"] and list(found.index) == list(table.index)
        assert found.index.name == "sample_name"
