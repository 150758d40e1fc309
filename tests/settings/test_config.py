from __future__ import annotations

import tomllib
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plncli import settings as config
from plncli.errors import ConfigError, PlncliError, UsageError
from plncli.models import MODELS
from plncli.settings import FitConfig, absolute, built, check, output_folder, resolve, to_toml

CONFIGS = Path(__file__).parents[2] / "configs"


def resolved(
    model: str = "pln", flags: dict[str, Any] | None = None, file: Path | None = None, **env: str
) -> FitConfig:
    return resolve(model, flags or {}, str(file) if file else None, env)


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    return tmp_path / "fit.toml"


def test_without_any_source_the_defaults_hold() -> None:
    assert resolved() == FitConfig("pln")


def test_flags_beat_the_environment_which_beats_the_file(toml: Path) -> None:
    toml.write_text("tol = 1e-3\nseed = 3\nmax-iter = 3\n")
    found = resolved(flags={"tol": 1e-5, "seed": None}, file=toml, PLNCLI_TOL="1e-4", PLNCLI_SEED="4")
    assert (found.tol, found.seed, found.max_iter) == (1e-5, 4, 3)


def test_an_empty_text_unsets_what_the_file_sets(toml: Path) -> None:
    toml.write_text('exposure = "depth.csv"\n')
    assert resolved(flags={"exposure": ""}, file=toml).exposure is None


def test_a_setting_that_takes_several_values(toml: Path) -> None:
    toml.write_text('na_values = ["unknown", "-9"]\n')
    assert resolved(file=toml).na_values == ("unknown", "-9")
    assert resolved(file=toml, PLNCLI_NA_VALUES=" ., unknown").na_values == (".", "unknown")
    assert resolved(flags={"na_values": ["n.d."]}, file=toml).na_values == ("n.d.",)
    assert resolved(flags={"na_values": []}, file=toml).na_values == ("unknown", "-9")  # as of an option left out
    assert resolved(flags={"na_values": [""]}, file=toml).na_values == ()
    saved = FitConfig("pln", na_values=("a b", "-9"))
    toml.write_text(to_toml(saved))
    assert resolved(file=toml) == saved
    assert config.recorded("pln", config.applying(saved), toml) == saved
    toml.write_text("na_values = [-9]\n")
    with pytest.raises(ConfigError, match="a list of texts"):
        resolved(file=toml)


def test_paths_in_a_file_are_relative_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "settings"
    folder.mkdir()
    (folder / "weights.csv").touch()
    (folder / "fit.toml").write_text('counts = "../y.csv"\ncovariates = "-"\nweights = "weights.csv"\n')
    monkeypatch.chdir(tmp_path)
    found = absolute(resolved(file=Path("settings/fit.toml")))
    assert found.counts == str(tmp_path / "y.csv")
    assert found.covariates == "-"
    assert found.weights == str(folder / "weights.csv")


def test_weights_may_name_a_column(toml: Path) -> None:
    toml.write_text('weights = "effort"\n')
    assert absolute(resolved(file=toml)).weights == "effort"


@pytest.mark.parametrize("text", ["true", "1", "YES", "on"])
def test_booleans_in_the_environment(text: str) -> None:
    assert resolved(PLNCLI_OVERWRITE=text).overwrite is True


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("covarianc = 'full'", "has an unknown key `covarianc`. Did you mean `covariance`?"),
        ("response = 'y.csv'", "Key `response` in `{file}` does not apply to the model pln; remove it."),
        ("tol = 'small'", "Key `tol` in `{file}` is `small`, but must be a positive number."),
        ("tol = '1e-6'", "is `1e-6`, but must be a positive number."),
        ("tol = 0", "Key `tol` in `{file}` is 0, but must be a positive number."),
        ("tol = nan", "is nan, but must be a positive number."),
        ("max_iter = 1.5", "is 1.5, but must be an integer from 1."),
        ("seed = true", "is true, but must be an integer from 0 to 9223372036854775807."),
        ("overwrite = 1", "Key `overwrite` in `{file}` is 1, but must be true or false."),
        ("counts = 3", "Key `counts` in `{file}` is 3, but must be text."),
        ("tol = 1" + "0" * 400, "0, but must be a positive number."),
        ("threads = 0", "is 0, but must be auto or an integer from 1 to 1024."),
        ("device = 'gpu'", "is `gpu`, but must be auto, cpu, cuda, cuda:N or mps."),
        ("optimizer = 'newton'", "Did you mean `newton-cg`?"),
        ("covariance = 'Full'", "is `Full`, but must be one of full, diagonal, spherical, fixed. Did you mean `full`?"),
        (
            "model = 'linear'",
            "`{file}` is for the model 'linear', and the command is for pln. Write linear in its place.",
        ),
        ("tol = ", "`{file}` is not a TOML file: Invalid value"),
        ("counts = a.csv", "Texts and paths stand in quotes: "),
        ("[fit]\ntol = 1.0", "has an unknown key `fit`"),
    ],
)
def test_a_bad_file_is_refused(toml: Path, content: str, message: str) -> None:
    toml.write_text(content)
    with pytest.raises(ConfigError) as refused:
        resolved(file=toml)
    assert message.format(file=toml) in str(refused.value)


def test_a_missing_file_is_refused(toml: Path) -> None:
    with pytest.raises(ConfigError, match=r"Cannot read the configuration .*No such file"):
        resolved(file=toml)


def test_a_binary_file_is_refused(toml: Path) -> None:
    toml.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="is not a TOML file"):
        resolved(file=toml)


def test_a_bad_variable_is_named() -> None:
    with pytest.raises(ConfigError, match="The environment variable PLNCLI_SEED is `x`, but must be an integer from 0"):
        resolved(PLNCLI_SEED="x")


def test_a_variable_for_another_model_is_left_alone() -> None:
    assert resolved(PLNCLI_RESPONSE="y.csv") == FitConfig("pln")


def test_overwriting_spares_what_the_fit_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "omega.csv").touch()
    (tmp_path / "y.csv").touch()
    given = {"counts": "y.csv", "covariance": "fixed", "precision": "run/omega.csv", "overwrite": True}
    fixed = built("pln", given)
    with pytest.raises(UsageError, match=r"--overwrite would remove --precision run/omega\.csv, which this fit reads"):
        check(replace(fixed, out=str(tmp_path / "run")))
    check(replace(fixed, out="run2"))
    check(replace(fixed, out="run", overwrite=False))  # refused as any folder that exists


def test_a_misspelt_variable_is_told() -> None:
    environment = {"PLNCLI_TOOL": "1", "PLNCLI_RESPONSE": "y.csv", "PLNCLI_SHOES": "1", "_PLNCLI_COMPLETE": "x"}
    assert config.ignored(environment) == [
        "The environment variable PLNCLI_SHOES sets nothing.",
        "The environment variable PLNCLI_TOOL sets nothing. Did you mean `PLNCLI_TOL`?",
    ]


def test_numbers_may_come_as_the_text_of_a_flag() -> None:
    found = resolved(flags={"tol": "1e-8", "max_iter": "7", "seed": "3", "threads": "2", "workers": "3"})
    assert (found.tol, found.max_iter, found.seed, found.threads, found.workers) == (1e-8, 7, 3, "2", "3")


def test_a_regression_is_not_offered_what_only_a_latent_layer_has() -> None:
    for name, value in (("optimizer", "vem"), ("missing", "keep"), ("se", "sandwich")):
        setting = config.settings()[name]
        assert value in config.choices(setting, "pln")
        assert value not in config.choices(setting, "linear")


@pytest.mark.parametrize("model", MODELS)
def test_the_methods_of_standard_errors_are_those_of_the_model(model: str) -> None:
    assert config.choices(config.settings()["se"], model) == MODELS[model].se_methods


def test_a_bad_flag_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match=r"--threads is `many`, but must be auto or an integer from 1 to 1024\."):
        resolved(flags={"threads": "many"})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "pln"}, "needs a table of counts: --counts FILE, or --counts - for standard input."),
        ({"model": "linear"}, "needs a response: --response FILE, or --covariates FILE"),
        ({"offsets": "o.csv", "exposure": "e.csv"}, "Both --offsets o.csv and --exposure e.csv are set; give one."),
        ({"covariance": "fixed"}, "--covariance fixed needs the precision matrix: --precision FILE."),
        (
            {"se": "hc3"},
            "--se hc3 is not for pln fits; choose one of auto, sandwich, fisher, bootstrap, jackknife, none.",
        ),
        ({"se": "none", "vcov": True}, "--vcov needs standard errors, but --se is none."),
        (
            {"model": "linear", "response": "y.csv", "se": "hc3", "cluster": "plot"},
            "--se hc3 assumes independent samples, but --cluster plot gives clusters of them. Use --se robust, "
            "bootstrap or jackknife, or leave one of the two out.",
        ),
        ({"precision": "q.csv"}, "--precision goes with --covariance fixed, but --covariance is full."),
        ({"model": "linear", "response": "y.csv", "missing": "keep"}, "--missing keep is for counts"),
        (
            {"counts": "-", "covariates": "-"},
            "Standard input can be read once, but --counts and --covariates ask for it.",
        ),
    ],
)
def test_settings_that_exclude_each_other_are_refused(settings: dict[str, str], message: str) -> None:
    wanted = {"model": "pln"} | ({"counts": "y.csv"} if len(settings) > 1 or "model" not in settings else {}) | settings
    if wanted["model"] != "pln":
        wanted.pop("counts", None)
    with pytest.raises(UsageError) as refused:
        check(built(wanted.pop("model"), wanted))
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("settings", "folder"),
    [
        ({"model": "pln", "counts": "data/oaks.csv.gz"}, "oaks-pln"),
        ({"model": "pln", "counts": "-"}, "stdin-pln"),
        ({"model": "linear", "covariates": "plots.parquet"}, "plots-linear"),
        ({"model": "pln", "counts": "y.csv", "out": "runs/a"}, "runs/a"),
    ],
)
def test_the_output_folder(settings: dict[str, str], folder: str) -> None:
    assert output_folder(FitConfig(**settings)) == Path(folder)


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(formula=texts, counts=texts, tol=st.floats(1e-300, 1e300), seed=st.integers(0, 2**63 - 1), latent=st.booleans())
def test_toml_reads_back_as_written(formula: str, counts: str, tol: float, seed: int, latent: bool) -> None:
    written = FitConfig("pln", formula=formula, counts=counts, tol=tol, seed=seed, latent=latent)
    assert tomllib.loads(to_toml(written)) == {
        name: value for name, value in config.applying(written).items() if value is not None
    }


def test_a_saved_configuration_resolves_to_itself(toml: Path) -> None:
    saved = absolute(FitConfig("pln", counts="y.csv", formula="~ a", threads="2", time_limit=3.0, latent=False))
    toml.write_text(to_toml(saved))
    assert resolved(file=toml) == saved


@pytest.mark.parametrize("model", MODELS)
def test_the_committed_configurations_are_complete(model: str) -> None:
    text = (CONFIGS / f"{model}.toml").read_text(encoding="utf-8")
    found = resolve(model, {}, str(CONFIGS / f"{model}.toml"), {})
    check(found)
    body = text.split("\n\n", 1)[1]
    unset = {name: None for name in config.settings(model) if found.value(name) is None}
    fresh = to_toml(found.but(**unset)).split("\n\n", 1)[1]
    without_values = [line for line in body.splitlines() if " = " not in line or line.startswith("#")]
    assert without_values == [line for line in fresh.splitlines() if " = " not in line or line.startswith("#")]


def test_every_setting_says_what_it_is() -> None:
    known = config.settings()
    assert {field.name for field in fields(FitConfig)} - {"model", "own"} <= set(known)
    for name, setting in known.items():
        assert setting.help.endswith("."), name
        assert setting.check is None or setting.expects, name


def test_errors_have_the_exit_codes_of_their_kind() -> None:
    assert (UsageError.exit_code, ConfigError.exit_code, PlncliError.exit_code) == (2, 3, 1)
