"""plncli from Python: what comes out of frames is what the command makes of the same tables as files."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from pandas.testing import assert_frame_equal

import plncli
from plncli import Dataset, FitResult, PlncliError, fit, load
from plncli.frames.data import DATA, OUTPUT
from plncli.frames.messages import spoken
from plncli.models import MODELS
from plncli.names import OUTPUT as OUTPUT_PANEL
from plncli.settings import settings
from plncli.tables.reading import table_of

Cli = Callable[..., Any]


def read(path: Path, **more: Any) -> pd.DataFrame:
    return pd.read_csv(path, **more)


BOTH = ("--interval", "confidence", "--interval", "prediction", "--level", "0.9")
EQUAL: dict[str, Any] = {"check_dtype": False, "check_names": False, "rtol": 1e-10, "atol": 1e-10}


# --- the same as the command ---


def test_a_fit_has_the_tables_of_the_folder(result: FitResult, folder: Path, cli: Cli) -> None:
    assert_frame_equal(result.coefficients, read(folder / "coefficients.csv"), **EQUAL)
    for name in ("sigma", "omega", "latent_mean", "latent_sd"):
        assert_frame_equal(getattr(result, name), read(folder / f"{name}.csv", index_col=0), **EQUAL)
    timed = ("fit_seconds", "se_seconds", "total_seconds", "sigma_unbiased")
    assert {k: v for k, v in result.summary.items() if k not in timed} == {
        k: v for k, v in json.loads((folder / "summary.json").read_text()).items() if k not in timed
    }
    shown, printed = cli("show", folder).out.splitlines(), str(result).splitlines()
    assert [line for line in printed[1:] if not line.startswith("fit ")] == [
        line for line in shown[1:] if not line.startswith("fit ")
    ]


def test_verbs_give_what_the_commands_write(
    result: FitResult, folder: Path, tables: dict[str, pd.DataFrame], cli: Cli, tmp_path: Path
) -> None:
    def written(*args: object) -> pd.DataFrame:
        ran = cli(*args, "--out", "out.csv", "--overwrite")
        assert ran.code == 0, ran.err
        return read(tmp_path / "out.csv")

    new = ("--covariates", "covariates.csv", "--exposure", "exposure.csv")
    covariates, exposure, counts = tables["covariates"], tables["exposure"], tables["counts"]
    found = result.predict(covariates, exposure=exposure, interval=["confidence", "prediction"], level=0.9)
    expected = written("predict", folder, *new, *BOTH)
    assert_frame_equal(found, expected, **EQUAL)

    given = counts.iloc[:, :3]
    given.to_csv(tmp_path / "given.csv")
    found = result.predict(covariates, given=given, exposure=exposure, wide="conditional")
    expected = written("predict", folder, *new, "--given", "given.csv", "--wide", "conditional").set_index("sample")
    assert_frame_equal(found, expected, **EQUAL)

    found = result.predict(covariates, exposure=2)
    assert_frame_equal(found, written("predict", folder, *new[:2], "--exposure", "2"), **EQUAL)

    latent = result.transform(counts, covariates, exposure=exposure, remove_covariates=True)
    flags = ("--counts", "counts.csv", "--remove-covariates", "--sd", "sd.csv")
    expected = written("transform", folder, *new, *flags).set_index("sample")
    assert_frame_equal(latent.mean, expected, **EQUAL)
    assert_frame_equal(latent.sd, read(tmp_path / "sd.csv", index_col=0), **EQUAL)

    contrast = "tree[T.resistant] - tree[T.susceptible]"
    found = result.test(terms="tree", contrast=[contrast], level=0.9)
    expected = written("test", folder, "--terms", "tree", "--contrast", contrast, "--level", 0.9).fillna(
        {"left_out": ""}
    )
    expected["left_out"] = expected.left_out.astype(found.left_out.dtype)
    assert_frame_equal(found, expected, **EQUAL)

    flags = ("--counts", "counts.csv", "--exposure", "exposure.csv", "--covariance", "diagonal", "--out", "small")
    assert cli("fit", "pln", *flags).code == 0
    small = fit("pln", Dataset(counts=counts, exposure=exposure), covariance="diagonal")
    compared = result.compare(small)
    criteria, tests = compared.criteria, compared.tests
    expected = written("compare", folder, tmp_path / "small")
    assert_frame_equal(criteria.drop(columns="run"), expected.drop(columns="run"), **EQUAL)
    assert (criteria.run.tolist(), tests.large.tolist(), tests.small.tolist()) == (
        ["fit 1", "fit 2"],
        ["fit 1"],
        ["fit 2"],
    )
    shown = json.loads(cli("compare", folder, tmp_path / "small", "--json").out)["ratios"][0]
    assert tests.statistic[0] == pytest.approx(shown["statistic"], rel=1e-10)


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("logistic", {"formula": "tall ~ x + site", "weights": "w", "missing": "drop"}),
        ("linear", {"formula": "y + log(z) ~ x + site", "cluster": "site"}),
    ],
)
def test_regressions_too(model: str, options: dict[str, str], tmp_path: Path, cli: Cli) -> None:
    rng = np.random.default_rng(0)
    n = 60
    x = rng.normal(size=n)
    frame = pd.DataFrame(
        {
            "tall": pd.Categorical(np.where(x + rng.normal(size=n) > 0, "yes", "no"), categories=["yes", "no"]),
            "y": x + rng.normal(size=n),
            "z": np.exp(rng.normal(size=n)).astype("float32"),
            "x": pd.array(x, dtype="Float64"),
            "site": pd.Categorical(rng.choice(list("cab"), n), categories=list("cab")),
            "w": rng.integers(1, 4, n),
        },
        index=pd.Index([*range(10, 10 + n)], name="id"),
    )
    frame.loc[12, "x"] = pd.NA if model == "logistic" else 0.0
    frame.to_parquet(tmp_path / "t.parquet")
    flags = [part for name, value in options.items() for part in (f"--{name}", value)]
    ran = cli("fit", model, "--covariates", "t.parquet", *flags, "--out", "run")
    assert ran.code == 0, ran.err
    result = fit(model, Dataset(covariates=frame, **options))
    assert_frame_equal(result.coefficients, read(tmp_path / "run" / "coefficients.csv"), **EQUAL)
    assert cli("predict", "run", "--covariates", "t.parquet", "--missing", "drop", "--out", "p.csv").code == 0
    expected = read(tmp_path / "p.csv", dtype={"sample": str})
    assert_frame_equal(result.predict(frame, missing="drop"), expected, **EQUAL)
    with pytest.raises(AttributeError, match=f"A {model} fit has no latent_mean"):
        result.latent_mean  # noqa: B018


def test_a_precision_and_a_start_are_given_as_they_are(result: FitResult, tables: dict[str, pd.DataFrame]) -> None:
    data = Dataset(**tables, formula="~ tree")
    turned = result.omega.iloc[::-1, ::-1]  # matched by name
    fixed = fit("pln", data, covariance="fixed", precision=turned, init=result, se="none")
    assert fixed.summary["elbo"] == pytest.approx(result.summary["elbo"], abs=1e-3)
    again = fit("pln", data, init=result)
    assert again.summary["steps"] < result.summary["steps"]


# --- saved and loaded ---


def test_what_is_saved_is_the_folder_of_the_command(result: FitResult, folder: Path, tmp_path: Path) -> None:
    result.save(tmp_path / "saved")
    assert {path.name for path in (tmp_path / "saved").iterdir()} == {path.name for path in folder.iterdir()}
    for name in ("coefficients.csv", "sigma.csv", "latent_mean.csv"):
        assert (tmp_path / "saved" / name).read_bytes() == (folder / name).read_bytes()
    back = load(tmp_path / "saved")
    assert_frame_equal(back.coefficients, result.coefficients, check_exact=True)
    assert_frame_equal(back.test(terms="tree"), result.test(terms="tree"), check_exact=True)
    for name in ("model", "design", "classes", "samples", "terms", "responses", "summary", "fingerprint"):
        assert getattr(back.run, name) == getattr(result.run, name)
    for group in ("estimates", "state", "inference", "sketch"):
        kept, made = getattr(back.run, group), getattr(result.run, group)
        assert sorted(kept) == sorted(made)
        for name in kept:
            np.testing.assert_array_equal(kept[name], made[name])
            assert kept[name].shape == made[name].shape
    with pytest.raises(PlncliError, match="exists. Add `overwrite=True` to replace it, or choose another folder"):
        result.save(tmp_path / "saved")
    with pytest.raises(PlncliError, match="was loaded from"):
        back.save(tmp_path / "other")
    result.save(tmp_path / "saved", overwrite=True, format="parquet", latent=False)
    assert not list((tmp_path / "saved").glob("*.csv")) and not list((tmp_path / "saved").glob("latent*"))


def test_a_saved_fit_is_not_repeated_from_tables_it_has_not(
    result: FitResult, tmp_path: Path, cli: Cli, tables: Any
) -> None:
    result.save(tmp_path / "saved")
    ran = cli("fit", "pln", "--config", "saved/config.toml", "--out", "again")
    assert ran.code == 3 and "<DataFrame> does not exist" in ran.err
    flags = [part for name in tables for part in (f"--{name}", f"{name}.csv")]
    assert cli("fit", "pln", "--config", "saved/config.toml", *flags, "--out", "again").code == 0
    files = [tmp_path / name / "coefficients.csv" for name in ("again", "saved")]
    assert files[0].read_bytes() == files[1].read_bytes()


# --- what is said ---


def test_samples_that_do_not_match_are_left_out_with_a_note(
    tables: dict[str, pd.DataFrame], capsys: pytest.CaptureFixture[str]
) -> None:
    counts, covariates = tables["counts"], tables["covariates"]
    data = Dataset(counts=counts, covariates=covariates.drop(index=["oak001", "oak002"]), exposure=tables["exposure"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = fit("pln", data)
    assert result.summary["n_samples"] == 114
    assert "2 samples of `counts` not in `covariates`: oak001, oak002." in result.notes
    told = capsys.readouterr()
    assert told.out == "" and "note: 114 samples of `counts` can be used.\n" in told.err


def test_a_fit_that_ends_early_is_a_result_with_a_warning(tables: dict[str, pd.DataFrame]) -> None:
    with pytest.warns(UserWarning, match="Stopped at the step limit before converging. Raise `max_iter`") as told:
        result = fit("pln", Dataset(**tables), max_iter=1, se="none")
    assert {warning.filename for warning in told} == {__file__}
    assert not result.converged


COUNTS = pd.DataFrame({"a": [1, 2, 5, 3], "b": [0, 3, 4, 9]}, index=list("wxyz"))
REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "a list": (lambda: Dataset(counts=[[1]]), "`counts` must be a pandas DataFrame or Series, but is of the type list"),
    "nothing": (lambda: Dataset(counts=COUNTS.iloc[:0]), "`counts` is empty: it has 0 rows and 2 columns"),
    "two of a name": (
        lambda: Dataset(counts=COUNTS.set_axis(list("wwyz"))),
        r"The index of `counts` has 1 sample name more than once: w \(2 times\)",
    ),
    "no name": (lambda: Dataset(counts=COUNTS.set_axis(["w", None, "y", "z"])), "but is empty in 1 row: 2"),
    "two columns": (lambda: Dataset(counts=COUNTS.set_axis(["a", "a"], axis=1)), "1 column name used more than once"),
    "levels": (lambda: Dataset(counts=COUNTS.set_index("b", append=True)), "The index of `counts` has 2 levels"),
    "mixed": (
        lambda: Dataset(covariates=pd.DataFrame({"c": [1, "x", 2.5, None]})),
        "Column `c` of `covariates` is neither numbers nor text throughout",
    ),
    "names in a column": (
        lambda: Dataset(counts=COUNTS.reset_index(names="id")),
        r"Column `id` of `counts` is text.*use .set_index\('id'\)",
    ),
    "no column": (lambda: Dataset(counts=COUNTS, weights="w"), "`weights` is the text `w`, which is no column of"),
    "no count": (
        lambda: fit("pln", Dataset(counts=COUNTS / 2)),
        r"`counts`: 5 fractional counts, first: sample w, feature a \(0.5\).*`round=True`; else give the raw counts",
    ),
    "missing": (
        lambda: fit("pln", Dataset(counts=COUNTS.replace(9, np.nan))),
        '`counts`: 1 missing entry: sample z, feature b. Use `missing="drop"` to leave .* `missing="keep"`',
    ),
    "turned": (
        lambda: fit("pln", Dataset(counts=COUNTS.T, covariates=COUNTS, transpose=False)),
        "`counts` looks transposed.*Give `counts` turned: `counts.T`",
    ),
    "strangers": (
        lambda: fit("pln", Dataset(counts=COUNTS, covariates=COUNTS.set_axis(list("mnop")))),
        "no sample name in common.*The index of each must hold the same names",
    ),
    "formula": (
        lambda: fit("pln", Dataset(counts=COUNTS, covariates=COUNTS, formula="~ aa")),
        "uses `aa`, which is no column of `covariates`",
    ),
    "code": (
        lambda: fit("pln", Dataset(counts=COUNTS, covariates=COUNTS, formula="~ __import__('os')")),
        "formula",
    ),
    "model": (lambda: fit("plm", Dataset(counts=COUNTS)), "There is no model 'plm'.*Did you mean `pln`"),
    "no data": (lambda: fit("pln", COUNTS), r"must be a Dataset, but are a DataFrame: Dataset\(counts=...\)"),
    "setting": (lambda: fit("pln", Dataset(counts=COUNTS), covarance="full"), "Did you mean `covariance`?"),
    "choice": (
        lambda: fit("pln", Dataset(counts=COUNTS), covariance="ful"),
        "`covariance` is `ful`, but must be one of full, diagonal.*Did you mean `full`",
    ),
    "value": (lambda: fit("pln", Dataset(counts=COUNTS), tol="x"), "`tol` is `x`, but must be a positive number"),
    "not its own": (lambda: fit("linear", Dataset(covariates=COUNTS), covariance="full"), "not for linear fits"),
    "of the data": (
        lambda: fit("pln", Dataset(counts=COUNTS), formula="~ 1"),
        r"belongs to the data: Dataset\(formula",
    ),
    "no counts": (lambda: fit("pln", Dataset(covariates=COUNTS)), "A pln fit needs counts"),
    "no response": (lambda: fit("linear", Dataset(formula="~ 1")), "A linear fit needs a response"),
    "counts of lines": (lambda: fit("linear", Dataset(counts=COUNTS)), "have `counts`, which is not for linear fits"),
    "errors": (
        lambda: fit("pln", Dataset(counts=COUNTS), se="hc3"),
        r'`se="hc3"` is not for pln fits; choose one of auto, sandwich',
    ),
    "fixed": (
        lambda: fit("pln", Dataset(counts=COUNTS), covariance="fixed"),
        "needs the precision matrix: `precision`",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_are_in_the_words_of_python(name: str) -> None:
    call, message = REFUSED[name]
    with pytest.raises(PlncliError, match=message) as caught:
        call()
    assert "--" not in str(caught.value) and caught.value.__cause__ is None


def test_refusals_of_verbs_too(result: FitResult, tables: dict[str, pd.DataFrame]) -> None:
    covariates, exposure = tables["covariates"], tables["exposure"]
    none = fit("pln", Dataset(counts=tables["counts"]), se="none")
    calls: list[tuple[Callable[[], Any], str]] = [
        (
            lambda: result.predict(covariates),
            "The fit had `exposure`.* Give `exposure` of the new samples, or `exposure=1`",
        ),
        (lambda: result.predict(exposure=1), "explains by `tree`.*Give `covariates` with these columns"),
        (lambda: result.predict(covariates, exposure=-1), "`exposure` -1.0: an exposure is a positive number"),
        (lambda: result.predict(covariates.assign(tree="oak"), exposure=1), "levels that the fit has not seen: oak"),
        (lambda: result.predict(covariates, exposure=exposure, interval="both"), "`interval` must be confidence or"),
        (lambda: result.predict(covariates, exposure=exposure, wide="mean"), "no column `mean` to put `wide`"),
        (lambda: result.predict("new.csv", exposure=exposure), "`covariates` must be a pandas DataFrame"),
        (lambda: result.transform(tables["counts"].iloc[:, 1:], covariates, exposure=1), "`counts` lacks 1 of the 8"),
        (lambda: result.test(), "Nothing to test: give `terms`, `equal` or `contrast`"),
        (lambda: none.test(terms="Intercept"), "^This fit has no standard errors.*Fit again, with `se`"),
        (lambda: result.compare(result), "A fit is given twice"),
        (lambda: result.compare(), "Two runs or more are needed"),
        (lambda: load("nowhere"), "`nowhere` does not exist"),
    ]
    for call, message in calls:
        with pytest.raises(PlncliError, match=message):
            call()


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("Use --missing drop to leave these out.", 'Use `missing="drop"` to leave these out.'),
        ("Give --exposure FILE, or `offset(log(column))`.", "Give `exposure`, or `offset(log(column))`."),
        ("Raise --max-iter; or --exposure 1 for all.", "Raise `max_iter`; or `exposure=1` for all."),
        ("Add --overwrite to replace it.", "Add `overwrite=True` to replace it."),
        ("by `plncli predict --given`.", "by `plncli predict --given`."),
        ("use `plncli fit linear`.", 'use `fit("linear", ...)`.'),
    ],
)
def test_sentences_name_arguments(said: str, words: str) -> None:
    assert spoken(said) == words


# --- tables ---


def test_a_frame_is_the_table_of_its_file(tmp_path: Path) -> None:
    from plncli.tables.reading import read_table

    frame = pd.DataFrame(
        {
            "n": [1, 2, 3],
            "x": [1.5, np.nan, np.inf],
            "t": [" é ", "NA", "e\u0301"],
            "b": [True, False, True],
            "k": pd.Categorical(["u", None, "v"]),
            "d": pd.to_datetime(["2020-01-01", "2020-01-02", "2020-01-03"]),
            4: pd.array([1, None, 3], dtype="Int64"),
        },
        index=pd.Index(["s1", "s2", " s3"], name="id"),
    )
    made = table_of(frame, "covariates")
    frame.rename(columns=str).to_parquet(tmp_path / "t.parquet")
    known = read_table(str(tmp_path / "t.parquet"), "covariates")
    assert (made.samples, made.columns, made.corner) == (known.samples, known.columns, known.corner)
    assert made.cells.to_pydict() == known.cells.to_pydict()
    assert [str(kind) for kind in made.cells.schema.types] == [str(kind) for kind in known.cells.schema.types]


def test_numbers_name_samples_as_in_a_file(tmp_path: Path, tables: dict[str, pd.DataFrame]) -> None:
    counts = tables["counts"].reset_index(drop=True)
    depth = pd.Series(tables["exposure"].iloc[:, 0].to_numpy(), name="depth")
    one = fit("pln", Dataset(counts=counts, exposure=depth.iloc[::-1]), se="none")
    assert list(one.latent_mean.index[:3]) == ["0", "1", "2"]
    two = fit("pln", Dataset(counts=counts, exposure=depth.to_frame()), se="none")
    assert_frame_equal(one.sigma, two.sigma, check_exact=True)


# --- manners ---


def test_torch_is_left_as_it_was(tables: dict[str, pd.DataFrame]) -> None:
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    fit("pln", Dataset(**tables), threads=2)
    assert torch.get_num_threads() == 1
    torch.testing.assert_close(torch.rand(2), expected)


def test_every_setting_of_the_command_is_somewhere() -> None:
    everywhere = settings()
    assert set(DATA) <= set(everywhere)
    of_models = {setting.name for spec in MODELS.values() for setting in spec.settings}  # arguments by themselves
    assert set(OUTPUT) == {name for name, s in everywhere.items() if s.panel == OUTPUT_PANEL} - of_models
    assert repr(Dataset(counts=COUNTS, missing="drop")) == "Dataset(counts: 4 × 2, missing='drop')"


def test_samples_and_features_are_chosen_as_by_the_command(
    tables: dict[str, pd.DataFrame], tmp_path: Path, cli: Cli
) -> None:
    samples, features = tables["counts"].index[10:], tables["counts"].columns[:6]
    (tmp_path / "samples.txt").write_text("\n".join(samples))
    (tmp_path / "features.txt").write_text("\n".join(features))
    rules = {"filter": "tree != 'resistant'", "min_depth": 100.0, "min_prevalence": 0.3, "min_total": 50.0, "top": 4}
    lists = {"samples": "samples.txt", "features": "features.txt"}
    flags = [part for name, value in (lists | rules).items() for part in (f"--{name.replace('_', '-')}", str(value))]
    given = [part for name in tables for part in (f"--{name}", f"{name}.csv")]
    assert cli("fit", "pln", *given, *flags, "--formula", "~ distTOground", "--out", "run").code == 0
    data = Dataset(**tables, samples=samples, features=list(features), **rules, formula="~ distTOground")
    assert repr(data).startswith("Dataset(counts: 116 × 8, covariates: 116 × 3, exposure: 116 × 8, samples: 106, ")
    found, written = fit("pln", data), load(tmp_path / "run")
    pd.testing.assert_frame_equal(found.coefficients, written.coefficients)
    assert found.coefficients["response"].nunique() == 4 and found.summary["n_samples"] < 106
    assert len(found.diagnose(draws=0).samples) == found.summary["n_samples"]
    with pytest.raises(PlncliError, match="`samples` is one text; give a list"):
        Dataset(**tables, samples="oak001")


def test_the_package_says_what_it_offers() -> None:
    verbs = ["cv", "fit", "load", "offsets", "simulate"]
    assert plncli.__all__ == ["Dataset", "FitResult", "PlncliError", "__version__", *verbs]
    assert all(callable(getattr(plncli, verb)) for verb in verbs)  # and no module of the same name


@pytest.mark.slow  # fits of the whole oaks; each of its verbs is tried ordinarily
def test_the_code_of_the_docs_runs(tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "python.md").read_text(encoding="utf-8")
    code = page.split("```python\n")[1].split("```")[0]
    assert cli("sample-data", "oaks", "--out", "oaks").code == 0
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["result"].converged and (tmp_path / "runs" / "python" / "coefficients.csv").is_file()


def test_entries_that_are_missing_in_new_tables_are_those_of_the_fit_and_others() -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(size=40).round(3)
    frame = pd.DataFrame(
        {"x": [*map(str, x[:-1]), "unknown"], "y": rng.normal(size=40)}, index=[f"s{i}" for i in range(40)]
    )
    fitted = fit("linear", Dataset(covariates=frame, formula="y ~ x", missing="drop", na_values="unknown"), se="none")
    new = pd.DataFrame({"x": ["0.5", "unknown", "?"]}, index=["a", "b", "c"])
    with pytest.raises(PlncliError, match=r"\?"):
        fitted.predict(new, missing="drop")
    assert list(fitted.predict(new, missing="drop", na_values="?").iloc[:, 0]) == ["a"]
    made = fitted.simulate(covariates=new[:1], match="position").response
    assert made is not None and list(made.index) == ["a"]
