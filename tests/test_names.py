"""Names of samples, features, covariates and levels, however odd: they come back as they were, and act on nothing."""

from __future__ import annotations

import csv
import json
import re
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from conftest import Ran
from hypothesis import assume, example, given
from hypothesis import strategies as st
from tries import examples

from plncli.errors import DataError, one_line
from plncli.tables import conversion
from plncli.tables.reading import read_table
from plncli.tables.text import MISSING

Cli = Callable[..., Ran]

FEATURES = [
    "=1+1", "@SUM(A1)", "+1", "-1", "a,b", 'q"q', "it's", "two\nlines", "c\rd", "tab\there", "001", "1", "NA", "nan",
    "True", "1e5", "a", "A", "ünï ∑", "\u202eabc", "x:y", "C(x)", "Intercept", "sample", "response", "<b>&amp;</b>",
    "]]><script>alert(1)</script>", "$a_1$", "back\\slash", "%s", "[bold]", "{{ 7*7 }}", "名前", "a_x0041_b",
    "\x1b[31m", "\x01", "'; DROP TABLE x", "../../x", "\u200d",
]  # fmt: skip
SAMPLES = [name if name not in MISSING else f"{name}." for name in FEATURES]  # a sample must have a name
LEVELS = ["=1+1", 'q"q,', "two\nlines", "001", "<b>&", "T.x]", "ünï"]
COVARIATE, GROUP = "=1+1 <x>", "@g"
SHOWN = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e]")


def read(path: Path) -> list[list[str]]:
    """The rows of a CSV file, its header first, as another program than ours reads them."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def write(path: Path, rows: Sequence[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def distinct(rows: list[list[str]], column: str) -> list[str]:
    """What a column holds, each once."""
    place = rows[0].index(column)
    return list(dict.fromkeys(row[place] for row in rows[1:]))


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with counts.csv and about.csv, whose names are odd."""
    folder = tmp_path_factory.mktemp("named")
    generator = np.random.default_rng(0)
    n = len(FEATURES)
    Y = generator.poisson(np.exp(generator.normal(2.5, 0.8, (n, n))))
    write(folder / "counts.csv", [["id", *FEATURES], *([name, *y] for name, y in zip(SAMPLES, Y, strict=True))])
    x = generator.normal(size=n)
    about = [[name, x[i], LEVELS[i % len(LEVELS)]] for i, name in enumerate(SAMPLES)]
    write(folder / "about.csv", [["id", COVARIATE, GROUP], *about])
    return folder


TABLES = ("--counts", "counts.csv", "--covariates", "about.csv")
FIT = ("fit", "pln", *TABLES, "--formula", f"~ `{COVARIATE}` + `{GROUP}`", "--covariance", "diagonal")
TERMS = ["Intercept", COVARIATE, *(f"{GROUP}[T.{level}]" for level in sorted(LEVELS)[1:])]


@pytest.fixture
def run(cli: Cli, named: Path, tmp_path: Path) -> Path:
    """A fit of those tables."""
    for name in ("counts.csv", "about.csv"):
        (tmp_path / name).write_bytes((named / name).read_bytes())
    ran = cli(*FIT, "--out", "run", "--vcov")
    assert ran.code == 0, ran.err
    assert not SHOWN.search(ran.err) and all(len(line) > 3 for line in ran.err.splitlines())
    return tmp_path / "run"


def test_every_file_of_a_fit_has_the_names(run: Path) -> None:
    coefficients = read(run / "coefficients.csv")
    assert distinct(coefficients, "response") == FEATURES and distinct(coefficients, "term") == TERMS
    for name in ("latent_mean", "latent_sd"):
        rows = read(run / f"{name}.csv")
        assert rows[0][1:] == FEATURES and [row[0] for row in rows[1:]] == SAMPLES
    for name in ("sigma", "omega"):
        rows = read(run / f"{name}.csv")
        assert rows[0][1:] == [row[0] for row in rows[1:]] == FEATURES
    covariances = read(run / "vcov.csv")
    assert [row[:2] for row in covariances[1:]] == [row[:2] for row in coefficients[1:]]
    assert covariances[0][2:] == [f"{response}:{term}" for response, term in (row[:2] for row in coefficients[1:])]


def test_every_command_reads_them_back(cli: Cli, run: Path) -> None:
    folder = run.parent
    assert cli(*FIT, "--out", "run", "--resume").code == 0
    done = cli("rerun", "run", "--check")
    assert done.code == 0, done.err
    for verb in ("predict", "transform"):
        done = cli(verb, "run", *TABLES, "--out", f"{verb}.csv")
        assert done.code == 0, done.err
        rows = read(folder / f"{verb}.csv")
        names, features = (rows[0][0], rows[0][1:]) if verb == "transform" else ("sample", distinct(rows, "response"))
        assert distinct(rows, names) == SAMPLES and features == FEATURES
    for words in (("--terms", GROUP), ("--equal", GROUP), ("--contrast", f"`{TERMS[2]}` - `{TERMS[3]}`")):
        done = cli("test", "run", *words, "--json")
        assert done.code == 0, done.err
        assert [row["response"] for row in json.loads(done.out)] == FEATURES
    done = cli("fit", "pln", "--counts", "counts.csv", "--covariance", "diagonal", "--out", "null")
    assert done.code == 0 and cli("compare", "run", "null").code == 0
    for words in (("diagnose", "run", "--draws", "0"), ("show", "run")):
        done = cli(*words)
        assert done.code == 0 and not SHOWN.search(done.out), done.err
    done = cli("simulate", "--from", "run", "--n", "9", "--out", "made", "-q")
    assert done.code == 0, done.err
    assert read(folder / "made/counts.csv")[0][1:] == FEATURES and GROUP in read(folder / "made/covariates.csv")[0]
    assert cli("fit", "pln", "--config", "made/config.toml", "--out", "again", "-q", "--formula", "~ 1").code == 0
    assert distinct(read(folder / "again/coefficients.csv"), "response") == FEATURES


@pytest.mark.slow  # every picture, and a page
def test_pictures_and_pages_show_them(cli: Cli, run: Path) -> None:
    folder = run.parent
    done = cli("plot", "run", "all", "--out", "pictures", "--format", "svg")
    assert done.code == 0, done.err
    assert "sigma is left out: run was fitted with --covariance diagonal" in done.err
    pictures = list((folder / "pictures").iterdir())
    for path in pictures:
        drawn = ElementTree.parse(path)
        assert not {"script", "b", "foreignObject"} & {element.tag.rpartition("}")[2] for element in drawn.iter()}
    shown = "".join(ElementTree.parse(folder / "pictures/effects.svg").getroot().itertext())
    assert all(name in shown for name in ("<b>&amp;</b>", "$a_1$", "{{ 7*7 }}", "=1+1", "名前"))
    odd = "<img src=x onerror=alert(1)>&amp;"
    run.rename(folder / odd)
    done = cli("report", odd, "--out", "page.html", "--multiqc", "custom", "--no-diagnose")
    assert done.code == 0, done.err
    page = (folder / "page.html").read_text(encoding="utf-8")
    assert not re.search(r"<img src=x|<script>alert|<b>&amp;", page) and "{{ 7*7 }}" in page
    for path in (folder / "custom").glob("*.json"):
        said = path.read_text(encoding="utf-8")
        assert "<img" not in said and "&lt;img src=x onerror=alert(1)&gt;&amp;amp;" in said
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", path.name) for path in (folder / "custom").iterdir())


def composed(name: str) -> str:
    """A name as tables are read: without outer blanks, letters with accents in one sign (NFC)."""
    return unicodedata.normalize("NFC", name).strip()


NAMES = st.lists(
    st.one_of(st.sampled_from(SAMPLES), st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=9))
    .map(composed)
    .filter(lambda name: name and name not in MISSING)
    .filter(lambda name: not name.casefold().startswith("#q2:")),  # which QIIME 2 keeps for itself
    min_size=2,
    max_size=5,
    unique=True,
)


@examples(8, 40)
@given(samples=NAMES, features=NAMES)
@example(samples=["c\rd", "=1"], features=["_x000D_", "\x01"])
@example(samples=['"', '""', '"a"'], features=['0"', '"b', '""c""'])
@example(samples=["=1+1", "#", "# b"], features=["#c"])
@pytest.mark.parametrize("kind", [*conversion.SUFFIXES, conversion.FOLDER])
def test_names_come_back_from_every_format(
    tmp_path_factory: pytest.TempPathFactory, kind: str, samples: list[str], features: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("t")
    features = ["a name", *(name for name in features if name != "a name")]  # numbers alone are taken for no header
    write(folder / "t.csv", [["id", *features], *([name, *range(1, len(features) + 1)] for name in samples)])
    table = read_table(str(folder / "t.csv"), "counts")
    assert (table.samples, table.columns) == (tuple(samples), tuple(features))
    out = folder / ("folder" if kind == conversion.FOLDER else f"made{kind}")
    if kind == conversion.FOLDER:
        lists = any(re.search(r"[\t\n\r]", name) for name in (*samples, *features))
        if lists:
            with pytest.raises(DataError, match="holds a tab or a line break"):
                conversion.write(table, out, kind)
        assume(not lists)
    conversion.write(table, out, kind)
    again = read_table(str(out), "counts")
    assert (again.samples, again.columns) == (table.samples, table.columns)


def test_a_name_that_acts_on_a_terminal_is_spelt_out() -> None:
    assert one_line("a\nplncli: error: b\t\x1b[2J\u202ec\u2028") == r"a\nplncli: error: b\t\x1b[2J\u202ec\u2028"
    assert one_line("ünï ∑ 名前 \u200d") == "ünï ∑ 名前 \u200d"


def test_texts_that_look_like_formulas_are_texts_in_a_workbook(cli: Cli, tmp_path: Path) -> None:
    import openpyxl

    write(tmp_path / "t.csv", [["id", "=1+1", "@x"], ["=2+2", 1, 2], ["+b", 3, 4]])
    assert cli("convert", "t.csv", "t.xlsx").code == 0
    cells = [cell for row in openpyxl.load_workbook(tmp_path / "t.xlsx").active.iter_rows() for cell in row]
    assert {cell.value: cell.data_type for cell in cells if isinstance(cell.value, str)} == dict.fromkeys(
        ("id", "=1+1", "@x", "=2+2", "+b"), "s"
    )
    write(tmp_path / "long.csv", [["id", "x" * 40_000, "b"], ["s", 1, 2]])
    done = cli("convert", "long.csv", "long.xlsx")
    assert done.code == 3 and "holds 32767 signs" in done.err and not (tmp_path / "long.xlsx").exists()
