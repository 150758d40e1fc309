"""Reference levels: the same terms however one is chosen, the same model whichever it is, and what cannot be one."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from plncli import Dataset, fit
from plncli.errors import DataError
from plncli.inputs.designs.design import Design, make_design
from plncli.inputs.formula import parse

Cli = Callable[..., Any]
FRAME = pd.DataFrame(
    {
        "tree": list("uvwuvwuv"),
        "a b": list("xyxyxxyy"),
        "block": [1.0, 2.0, 4.0, 4.0, 2.0, 1.0, 2.0, 4.0],
        "sex": pd.Categorical(["True", "False", "True", "True", "False", "True", "False", "False"]),
        "x": np.linspace(0.0, 1.0, 8) ** 2,
        "p=q": list("mmnnmnmn"),
    }
)


def made(text: str, *references: str, frame: pd.DataFrame = FRAME) -> tuple[Design, np.ndarray]:
    formula = parse(text, tuple(FRAME.columns), "c.csv")
    names = list(formula.columns)
    design, X, _ = make_design(formula, frame[names], list(map(str, frame.index)), "c.csv", references=references)
    return design, X


CODINGS = ('Treatment("v")', 'Treatment(reference="v")', 'contr.treatment("v")', "contr.treatment(base='v')")


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("rest", ["", " + x", " * x", ":x", " + C(block)"])
def test_each_spelling_gives_the_short_names(coding: str, rest: str) -> None:
    """As --reference does, and the same numbers; new data are coded alike, a sample by itself too."""
    spelt, X = made(f"~ C(tree, {coding}){rest}")
    chosen, again = made(f"~ tree{rest}", "tree=v")
    assert set(spelt.terms) == set(chosen.terms)
    assert np.array_equal(X, again[:, [chosen.terms.index(term) for term in spelt.terms]])
    assert not any("(" in term for term in spelt.terms if "block" not in term)
    stored = Design.from_json(json.loads(json.dumps(spelt.to_json())))
    assert np.array_equal(stored.build(FRAME), X)
    assert np.array_equal(stored.build(FRAME.iloc[[3]]), X[[3]])


REFERENCES = {
    ("~ tree", "tree=w"): ("tree[T.u]", "tree[T.v]"),
    ("~ tree", " tree = w "): ("tree[T.u]", "tree[T.v]"),
    ("~ C(block)", "block=2"): ("C(block)[T.1]", "C(block)[T.4]"),
    ("~ C(block)", "C(block)=2"): ("C(block)[T.1]", "C(block)[T.4]"),
    ("~ C(block, Treatment(2))", ""): ("C(block)[T.1]", "C(block)[T.4]"),
    ("~ C(block, contr.treatment(2.0))", ""): ("C(block)[T.1]", "C(block)[T.4]"),
    ("~ C(tree, Treatment)", ""): ("tree[T.v]", "tree[T.w]"),
    ("~ sex", "sex=True"): ("sex[T.False]",),
    ("~ `a b`", "a b=y"): ("a b[T.x]",),
    ("~ C(`a b`, Treatment('y'))", ""): ("a b[T.x]",),
    ("~ `p=q`", "p=q=n"): ("p=q[T.m]",),
    ("~ 0 + tree", "tree=w"): ("tree[w]", "tree[u]", "tree[v]"),
}


@pytest.mark.parametrize(("text", "reference"), REFERENCES)
def test_names_and_model_of_a_reference(text: str, reference: str) -> None:
    """The columns span the same space whichever level is the reference: the model is the same."""
    design, X = made(text, *filter(None, [reference]))
    assert tuple(term for term in design.terms if term != "Intercept") == REFERENCES[text, reference]
    plain = made(text.replace(", Treatment(2)", "").replace(", contr.treatment(2.0)", ""))[1]
    assert np.linalg.matrix_rank(np.hstack([X, plain])) == np.linalg.matrix_rank(plain) == X.shape[1]
    stored = Design.from_json(json.loads(json.dumps(design.to_json())))
    assert np.array_equal(stored.build(FRAME.iloc[::-1]), X[::-1])


def test_several_factors_have_a_reference_each() -> None:
    design, _ = made("~ tree + `a b` + C(block)", "tree=v", "a b=y", "block=4")
    assert set(design.terms) == {
        "Intercept", "tree[T.u]", "tree[T.w]", "a b[T.x]", "C(block)[T.1]", "C(block)[T.2]",
    }  # fmt: skip


def test_other_codings_stay_as_they_are() -> None:
    assert made("~ C(tree, contr.sum)")[0].terms[1:] == ("C(tree, contr.sum)[S.u]", "C(tree, contr.sum)[S.v]")


REFUSED = {
    ("~ tree", "treee=u"): r"has no factor `treee`\. Did you mean `tree`\? Its factors: tree\.",
    (
        "~ tree",
        "tree=vv",
    ): r"`tree` has no level `vv` in the samples that are fitted\. Did you mean `v`\? It has u, v, w",
    ("~ tree", "tree="): r"`tree` has no level `` in",
    ("~ x", "x=1"): r"`x` enters the formula `~ x` as numbers, which have no reference. .* write `C\(x\)`",
    ("~ 1", "tree=u"): r"the formula `~ 1` has no factor `tree`\. It has no factor\.",
    ("~ C(tree, contr.sum)", "tree=u"): r"codes `tree` as `C\(tree, contr.sum\)`, which has no reference to choose",
    ("~ C(tree, Treatment('u'))", "tree=v"): r"the formula .* itself compares with `u`\. Leave one out",
    (
        "~ C(tree, Treatment('u')) + C(tree, Treatment('v')):x",
        "",
    ): r"compares the levels of `tree` with `.` and with `.`",
    ("~ C(tree, Treatment('q'))", ""): r"The formula `.*`: `tree` has no level `q`",
}


@pytest.mark.parametrize(("text", "reference"), REFUSED)
def test_what_can_be_no_reference_is_refused(text: str, reference: str) -> None:
    with pytest.raises(DataError, match=REFUSED[text, reference]):
        made(text, *filter(None, [reference]))


def test_two_references_of_a_factor_are_refused() -> None:
    with pytest.raises(DataError, match="--reference tree=v and --reference tree=u exclude each other"):
        made("~ tree", "tree=u", "tree=v")


def test_a_level_without_samples_left_is_no_reference() -> None:
    with pytest.raises(DataError, match="`tree` has no level `w` in the samples that are fitted"):
        made("~ tree", "tree=w", frame=FRAME[FRAME.tree != "w"])


# From the command line, and on


def plots(folder: Path) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    table = pd.DataFrame({"soil": list("abc") * 8, "site": list("xy") * 12, "rain": rng.normal(size=24)})
    table["harvest"] = table.soil.map({"a": 0.0, "b": 1.0, "c": 3.0}) + rng.normal(size=24)
    table.index = pd.Index([f"p{k}" for k in range(24)], name="plot")
    table.to_csv(folder / "plots.csv")
    return table


FIT = ["linear", "--covariates", "plots.csv", "--formula", "harvest ~ soil"]


def terms(run: Path) -> list[str]:
    return list(pd.read_csv(run / "coefficients.csv").term)


def test_a_reference_survives_whatever_reads_the_fit_again(cli: Cli, tmp_path: Path) -> None:
    table = plots(tmp_path)
    ran = cli("fit", *FIT, "--reference", "soil=c", "--out", "fit", "-q")
    assert (ran.code, ran.err) == (0, "")
    assert terms(tmp_path / "fit") == ["Intercept", "soil[T.a]", "soil[T.b]"]
    assert cli("rerun", "fit", "--out", "again", "-q").code == 0
    assert (tmp_path / "again" / "coefficients.csv").read_text() == (tmp_path / "fit" / "coefficients.csv").read_text()
    assert "done already" in cli("fit", *FIT, "--reference", "soil=c", "--out", "fit", "--resume").err
    other = cli("fit", *FIT, "--reference", "soil=b", "--out", "fit", "--resume")
    assert other.code == 2 and "--reference was" in other.err
    predicted = pd.read_csv(StringIO(cli("predict", "fit", "--covariates", "plots.csv").out))
    means = table.groupby("soil").harvest.transform("mean")
    assert np.allclose(predicted["mean"], means, rtol=1e-8)
    assert cli("diagnose", "fit").code == 0
    refused = cli("test", "fit", "--contrast", "soil[c]")
    assert refused.code == 2 and "it is the level of `soil` that the others are compared with" in refused.err


def test_a_reference_from_the_environment_a_file_and_python(cli: Cli, tmp_path: Path) -> None:
    table = plots(tmp_path)
    both = ["linear", "--covariates", "plots.csv", "--formula", "harvest ~ soil + site", "-q"]
    for number, toml in enumerate(['["soil=c", "site=y"]', '{soil = "c", site = "y"}']):
        (tmp_path / "f.toml").write_text(f"reference = {toml}\n")
        assert cli("fit", *both, "--config", "f.toml", "--out", str(number)).code == 0
    assert cli("fit", *both, "--out", "2", env={"PLNCLI_REFERENCE": "soil=c,site=y"}).code == 0
    assert cli("fit", *both, "--out", "3", "--reference", "soil=c", "--reference", "site=y").code == 0
    expected = ["Intercept", "soil[T.a]", "soil[T.b]", "site[T.x]"]
    assert [terms(tmp_path / str(number)) for number in range(4)] == [expected] * 4
    assert 'reference = ["soil=c", "site=y"]' in (tmp_path / "3" / "config.toml").read_text()
    data = Dataset(covariates=table, formula="harvest ~ soil + site")
    for given in ({"soil": "c", "site": "y"}, ["soil=c", "site=y"]):
        assert list(fit("linear", data, reference=given).coefficients.term) == expected


def test_validate_tells_a_wrong_reference_among_the_other_faults(cli: Cli, tmp_path: Path) -> None:
    plots(tmp_path)
    ran = cli("validate", *FIT, "--reference", "soil=d")
    assert ran.code == 3 and "`soil` has no level `d`" in ran.err + ran.out
    assert cli("validate", *FIT, "--reference", "soil=c").code == 0
    bad = cli("fit", *FIT, "--reference", "soil")
    assert bad.code == 2 and "--reference is `soil`, but must be FACTOR=LEVEL, such as tree=healthy." in bad.err


def test_cv_takes_a_reference_for_the_formulas_that_have_the_factor(cli: Cli, tmp_path: Path) -> None:
    plots(tmp_path)
    words = ["cv", "linear", "--covariates", "plots.csv", "--folds", "2", "--workers", "1", "--json"]
    formulas = ["--formula", "harvest ~ soil", "--formula", "harvest ~ rain"]
    plain, chosen = (json.loads(cli(*words, *formulas, *more).out) for more in ([], ["--reference", "soil=b"]))
    scores = [[row["deviance"] for row in found["candidates"]] for found in (plain, chosen)]
    assert scores[0] == pytest.approx(scores[1], rel=1e-8)  # the reference changes names, not what is predicted
    refused = cli(*words, *formulas, "--reference", "site=x")
    assert refused.code == 3 and "has no factor `site`" in refused.err


@pytest.mark.parametrize(
    ("formula", "told"),
    [
        ("~ 0 + tree", True),
        ("~ 0 + tree + x", True),
        ("~ tree", False),
        ("~ 0 + sex + tree", False),
        ("~ tree:x", True),
    ],
)
def test_a_reference_that_compares_nothing_is_told(formula: str, told: bool) -> None:
    y = pd.DataFrame({"y": [0.3, 1.2, 0.1, 2.2, 0.4, 1.1, 0.9, 0.5]}, index=FRAME.index)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        result = fit("linear", Dataset(response=y, covariates=FRAME, formula=formula), reference="tree=w")
    notes = [note for note in result.notes if "only puts that level first" in note]
    assert len(notes) == told
    assert not told or "has a coefficient for each level of `tree`, and compares none with another" in notes[0]
