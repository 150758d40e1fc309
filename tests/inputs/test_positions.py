"""Rows matched by position: on request alone, never where names speak against it, and told wherever it is done."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from plncli import Dataset, fit
from plncli.errors import DataError
from plncli.inputs.alignment.positions import by_position
from plncli.inputs.loading import Inputs, load
from plncli.inputs.matching import Tables
from plncli.settings import built
from plncli.tables.reading import table_of

Cli = Callable[..., Any]
CASE = Path(__file__).parents[1] / "field" / "rows-matched-by-position"
N = 8
NAMES = [f"B{i}" for i in (4, 2, 9, 1, 7, 3, 8, 6)]
TOLD = "warning: Rows are matched by their position, not by name (--match position)"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, the current one, with tables by whose names nothing is matched, and the same with names: in named/."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "named").mkdir()
    for name, table in tables().items():
        table.to_csv(f"named/{name}.csv")
        other = table if name == "counts" else table.set_axis(range(1, N + 1))
        other.to_csv(f"{name}.csv")
    return tmp_path


def tables() -> dict[str, pd.DataFrame]:
    rng = np.random.default_rng(0)
    content = {
        "counts": pd.DataFrame(rng.poisson(15, (N, 3)) + 1, columns=list("abc")),
        "covariates": pd.DataFrame(
            {"x": rng.normal(size=N), "case": [0, 1, 1, 0, 1, 0, 0, 1], "unit": list("uvuvwwxx")}
        ),
        "exposure": pd.DataFrame({"e": rng.uniform(1, 2, N)}),
        "offsets": pd.DataFrame({"o": rng.normal(size=N)}),
        "weights": pd.DataFrame({"w": rng.uniform(1, 2, N)}),
        "cluster": pd.DataFrame({"c": list("ppqqrrss")}),
        "response": pd.DataFrame({"y": rng.normal(size=N), "z": rng.normal(size=N)}),
    }
    return {name: table.set_axis(NAMES) for name, table in content.items()}


def read(model: str, **settings: Any) -> Inputs:
    return load(built(model, settings), device=torch.device("cpu"), dtype=torch.float64)


COUNTS, COVARIATES = (table_of(tables()[name], name) for name in ("counts", "covariates"))
USES = [
    ("pln", ("counts", "covariates", "exposure", "weights", "cluster")),
    ("pln", ("counts", "covariates", "offsets")),
    ("linear", ("response", "covariates", "weights", "cluster", "offsets")),
]


@pytest.mark.parametrize(("model", "options"), USES)
def test_every_table_is_matched_as_if_it_had_the_names(here: Path, model: str, options: tuple[str, ...]) -> None:
    tables()["response"].to_csv("response.csv")
    got, known = (
        read(model, formula="~ x", **more, **{option: f"{place}{option}.csv" for option in options})
        for place, more in (("", {"match": "position"}), ("named/", {}))
    )
    for part in ("Y", "X", "O", "w", "samples", "clusters"):
        one, other = getattr(got.data, part), getattr(known.data, part)
        assert torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other, part
    assert got.positions is not None and set(got.positions.tables) == {f"{option}.csv" for option in options[1:]}
    assert known.positions is None


def test_names_and_no_names_give_what_they_gave(here: Path) -> None:
    given = {"counts": "counts.csv", "formula": "~ x"}
    same = read("pln", **given, covariates="named/covariates.csv", match="position")
    assert same.positions is None
    with pytest.raises(DataError, match=r"no sample name in common.*same order, use --match position"):
        read("pln", **given, covariates="covariates.csv")
    tables()["covariates"].iloc[1:].set_axis(range(1, N)).to_csv("covariates.csv")
    with pytest.raises(DataError) as caught:
        read("pln", **given, covariates="covariates.csv")
    assert "no sample name in common" in str(caught.value) and "position" not in str(caught.value)


def test_a_table_of_another_length_or_order_is_refused(here: Path) -> None:
    given = {"counts": "counts.csv", "covariates": "covariates.csv", "formula": "~ x", "match": "position"}
    covariates = tables()["covariates"]
    covariates.iloc[1:].set_axis(range(1, N)).to_csv("covariates.csv")
    with pytest.raises(DataError, match=r"counts.csv has 8 rows and covariates.csv 7"):
        read("pln", **given)
    covariates.iloc[::-1].to_csv("covariates.csv")
    with pytest.raises(DataError, match=r"8 names of covariates.csv stand in other rows.*Leave --match position out"):
        read("pln", **given)
    covariates.rename(index={"B4": "B2", "B2": "B4"}).to_csv("covariates.csv")
    with pytest.raises(DataError, match=r"2 names .*\(`B2` is row 1, and `B2` row 2\)"):
        read("pln", **given)
    covariates.rename(index={"B4": "unknown"}).to_csv("covariates.csv")  # all others stand where they should
    assert read("pln", **given).data.samples[0] == "B4"
    covariates.rename(index=lambda name: f"bam/{name.lower()}.bam").iloc[::-1].to_csv("covariates.csv")
    with pytest.raises(DataError, match=r"8 names .* but for case, .*Make the names the same"):
        read("pln", **given)
    covariates.rename(index=lambda name: f"bam/{name}.bam").to_csv("covariates.csv")
    assert read("pln", **given).positions is not None


def test_a_first_column_that_repeats_is_data(here: Path) -> None:
    covariates = tables()["covariates"]
    covariates[["unit", "x"]].to_csv("covariates.csv", index=False)
    got = read("pln", counts="counts.csv", covariates="covariates.csv", formula="~ x + unit", match="position")
    assert got.data.terms == ("Intercept", "x", "unit[T.v]", "unit[T.w]", "unit[T.x]")
    assert any("`unit`, the first column of covariates.csv, repeats" in note for note in got.notes)
    pd.concat([tables()["counts"]] * 2).to_csv("counts.csv")  # the names of the main table are needed
    with pytest.raises(DataError, match="used more than once"):
        read("pln", counts="counts.csv", covariates="covariates.csv", formula="~ x", match="position")


@given(order=st.permutations(range(N)), known=st.integers(0, N))
def test_names_that_are_known_are_never_paired_with_others(order: list[int], known: int) -> None:
    names = tuple(NAMES[i] if k < known else f"other {k}" for k, i in enumerate(order))
    joined = Tables({"counts": COUNTS, "covariates": replace(COVARIATES, samples=names)}, "counts")
    if order[:known] != list(range(known)):
        with pytest.raises(DataError, match="would pair the wrong rows"):
            by_position(joined)
        return
    matched = by_position(joined)
    assert matched["covariates"].samples == tuple(NAMES)
    assert matched["covariates"].cells.equals(joined["covariates"].cells)


# --- the verbs ---


def test_the_field_case(cli: Cli, tmp_path: Path) -> None:
    for file in CASE.iterdir():
        shutil.copy(file, tmp_path)
    words = ("pln", "--counts", "counts.csv", "--covariates", "cov.csv", "--formula", "~ trt")
    ran = cli("validate", *words)
    assert ran.code == 3 and "use --match position" in " ".join(ran.out.split())
    ran = cli("validate", *words, "--no-sample-names")
    assert ran.code == 3 and "--match position takes rows in the same order" in " ".join(ran.out.split())
    ran = cli("validate", *words, "--match", "position", "--json")
    assert ran.code == 0 and json.loads(ran.out)["findings"][0]["code"] == "matched-by-position"
    ran = cli("fit", *words, "--match", "position", "--out", "run")
    lines = ran.err.splitlines()
    assert ran.code == 0 and lines[0].startswith(TOLD) and "row 1 of the covariates (`1`) is `B0`" in lines[0]
    assert [line for line in lines if line.startswith("warning")][1].startswith(lines[0])  # and first at the end
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["by_position"] == ["cov.csv"] and manifest["configuration"]["match"] == "position"
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["warnings"][0].startswith(lines[0].removeprefix("warning: "))
    assert "Rows are matched by their position" in cli("diagnose", "run", "--draws", "0").out
    named = pd.read_csv(tmp_path / "cov.csv", index_col=0).set_axis(pd.read_csv(tmp_path / "counts.csv").iloc[:, 0])
    named.to_csv(tmp_path / "cov.csv")
    assert cli("fit", *words, "--out", "by-name").code == 0
    for file in ("coefficients.csv", "sigma.csv", "latent_mean.csv"):
        assert (tmp_path / "run" / file).read_bytes() == (tmp_path / "by-name" / file).read_bytes()


def test_verbs_after_a_fit(cli: Cli, here: Path) -> None:
    words = ("--counts", "counts.csv", "--covariates", "covariates.csv", "--formula", "~ x", "--match", "position")
    assert cli("fit", "pln", *words, "--covariance", "diagonal", "--out", "run").code == 0
    assert cli("rerun", "run", "--check").code == 0
    assert cli("diagnose", "run", "--draws", "0").code == 0
    assert cli("simulate", "--from", "run", "--out", "drawn").code == 0
    drawn = pd.read_csv("drawn/covariates.csv", index_col=0)
    assert list(drawn.index) == NAMES and np.allclose(drawn["x"], tables()["covariates"]["x"])
    assert cli("plot", "run", "pca", "--color", "unit", "--out", "pca.png").code == 0
    new = ("--counts", "counts.csv", "--covariates")
    for verb in ("predict", "transform"):
        ran = cli(verb, "run", *new, "covariates.csv", "--match", "position", "--out", "by-position.csv", "--overwrite")
        assert ran.code == 0 and ran.err.startswith(TOLD)
        assert cli(verb, "run", *new, "named/covariates.csv", "--out", "by-name.csv", "--overwrite").code == 0
        assert Path("by-position.csv").read_bytes() == Path("by-name.csv").read_bytes()
        refused = cli(verb, "run", *new, "covariates.csv")
        assert refused.code == 3 and "use --match position" in refused.err
    ran = cli("cv", "pln", *words, "--covariance", "diagonal", "--folds", "2", "--workers", "1", "--json")
    by_name = ("--counts", "counts.csv", "--covariates", "named/covariates.csv", "--formula", "~ x")
    known = cli("cv", "pln", *by_name, "--covariance", "diagonal", "--folds", "2", "--workers", "1", "--json")
    assert ran.code == 0 and ran.err.startswith(TOLD) and json.loads(ran.out)["folds"] == json.loads(known.out)["folds"]


def test_a_fit_that_was_cut_short_is_resumed(cli: Cli, here: Path) -> None:
    words = ("pln", "--counts", "counts.csv", "--covariates", "covariates.csv", "--formula", "~ x")
    ran = cli("fit", *words, "--match", "position", "--max-iter", "1", "--out", "run")
    assert ran.code == 4
    ran = cli("resume", "run")
    assert ran.code == 0 and TOLD in ran.err


def test_python(here: Path) -> None:
    frames = tables()
    unnamed = {name: frames[name].reset_index(drop=True) for name in ("covariates", "exposure")}
    with pytest.raises(DataError, match=r'same order, use `match="position"`'):
        fit("pln", Dataset(counts=frames["counts"], **unnamed, formula="~ x"))
    with pytest.warns(UserWarning, match="matched by their position") as told:
        result = fit("pln", Dataset(counts=frames["counts"], **unnamed, formula="~ x", match="position"))
    assert str(told[0].message).startswith('Rows are matched by their position, not by name (`match="position"`)')
    known = fit("pln", Dataset(**{name: frames[name] for name in ("counts", "covariates", "exposure")}, formula="~ x"))
    assert np.array_equal(result.coefficients["estimate"], known.coefficients["estimate"])
    with pytest.warns(UserWarning, match="matched by their position"):
        found = result.predict(unnamed["covariates"], counts=frames["counts"], exposure=1, match="position")
    assert found.equals(result.predict(frames["covariates"], counts=frames["counts"], exposure=1))
    assert result.diagnose(draws=0).samples["sample"].tolist() == NAMES
    drawn = result.simulate().covariates
    assert drawn is not None and list(drawn.index) == NAMES
    result.save("run")
    from plncli import load as again

    made = again("run").diagnose(Dataset(counts=frames["counts"], **unnamed), draws=0)
    assert made.samples["sample"].tolist() == NAMES
