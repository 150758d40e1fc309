"""`plncli report`: the page as a parser and as a browser see it, and what MultiQC takes."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import shutil
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import browser
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from plncli.errors import number
from plncli.plots import kinds
from plncli.reports.page import embedded
from plncli.reports.sentences import convergence

Cli = Callable[..., Any]
VOID = {"meta", "link", "img", "input", "br", "hr", "mspace"}
ODD = ["<script>alert(1)</script>", "</script><b>x", "a \"quoted\" 'name'", "ß & ∑ \u2028 line", "plain"]


class Tree(HTMLParser):
    """Elements in order, as (tag, attributes); texts by tag; what was opened and not closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    def all(self, *tags: str) -> Iterator[dict[str, str | None]]:
        return (attributes for tag, attributes in self.elements if tag in tags)

    def text(self) -> str:
        shown = "".join(text for tag, text in self.texts if tag not in ("script", "style"))
        return re.sub(r"\s+", " ", shown)

    def data(self) -> list[dict[str, Any]]:
        """What is embedded as JSON."""
        return [json.loads(text) for tag, text in self.texts if tag == "script" and text.startswith("{")]

    def table(self, place: int) -> dict[str, list[Any]]:
        """The columns of a sortable table."""
        made = [one for one in self.data() if "values" in one]
        return dict(zip(made[place]["columns"], made[place]["values"], strict=True))


@pytest.fixture(scope="module")
def page_of(fits: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """The page of runs, each made once; without every picture, of which most of the time goes, with one alone."""
    import sys

    from plncli.cli import main

    folder = tmp_path_factory.mktemp("pages")

    def make(*words: str, every: bool = True, painted: bool = True) -> Path:
        out = folder / f"{'-'.join(words)}-{every}-{painted}.html"
        if not out.exists():
            runs = [word if word.startswith("--") else str(fits / word) for word in words]
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(sys, "argv", ["plncli", "report", *runs, "--out", str(out), "-q"])
                if not painted:
                    patch.setattr("plncli.plots.style.pixels", lambda figure, dpi: (bytes(4), 1, 1))
                if not every:
                    patch.setattr("plncli.reports.figures.kinds", lambda model, mean: {"loss": kinds(model)["loss"]})
                with pytest.raises(SystemExit) as exited:
                    main()
                assert not exited.value.code
        return out

    return make


def odd_run(cli: Cli, folder: Path) -> Path:
    """A run whose features, levels and samples have names that HTML would act on."""
    generator = np.random.default_rng(0)
    counts = pd.DataFrame(generator.poisson(9.0, (24, len(ODD))), index=[f"s<i>{i}" for i in range(24)], columns=ODD)
    counts.to_csv(folder / "counts.csv")
    groups = pd.DataFrame({"<em>": ["</script>a", 'b"b'] * 12}, index=counts.index)
    groups.to_csv(folder / "groups.csv")
    ran = cli(
        "fit", "pln", "--counts", "counts.csv", "--covariates", "groups.csv", "--formula", "~ `<em>`", "--out", "odd"
    )
    assert ran.code == 0, ran.err
    return folder / "odd"


PAIR = ("part-one", "part-means", "--no-diagnose")
SHOWN = [
    ("part-tree",),
    pytest.param(("tree",), marks=pytest.mark.slow),  # the same of many features
    pytest.param(("soil", "markers"), marks=pytest.mark.slow),
    pytest.param(("stopped", "--no-diagnose"), marks=pytest.mark.slow),
    pytest.param(PAIR, marks=pytest.mark.slow),
]


@pytest.mark.parametrize("words", SHOWN, ids="-".join)
def test_pages_are_sound(page_of: Callable[..., Path], words: tuple[str, ...]) -> None:
    page = page_of(*words).read_text()
    tree = Tree(page)
    assert tree.open == []
    ids = [attributes["id"] for _, attributes in tree.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for attributes in tree.all("section", "article"):
        assert attributes["aria-labelledby"] in ids
    assert {attributes["href"].removeprefix("#") for attributes in tree.all("a")} <= set(ids)
    levels = [int(tag[1]) for tag, _ in tree.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert len(list(tree.all("main"))) == len(list(tree.all("header"))) == len(list(tree.all("footer"))) == 1
    images = list(tree.all("img"))
    assert images and all(re.search(r"\d", attributes["alt"] or "") for attributes in images)
    assert all((attributes["src"] or "").startswith("data:image/png;base64,") for attributes in images)
    assert all(attributes.get("scope") == "col" for attributes in tree.all("th"))
    assert not re.search(r"(?:src|href|action|url)\s*[=(]\s*[\"']?(?:https?:|//|file:)", page)
    (policy,) = (a["content"] for a in tree.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None and policy.startswith("default-src 'none';") and "http" not in policy


def test_the_page_of_low_rank_tells_what_is_on_each_axis(page_of: Callable[..., Path], fits: Path) -> None:
    tree = Tree(page_of("part-low", "--no-diagnose", painted=False).read_text())
    text, run = tree.text(), fits / "part-low"
    share = 100.0 * pd.read_csv(run / "explained_variance.csv", index_col=0)["explained_variance"]
    told = ", ".join(f"{name} {one:.1f} %" for name, one in share.items())
    assert f"3 components carry the latent variance that covariates leave: {told}." in text
    assert f"The first two carry {share.iloc[:2].sum():.1f} % together." in text
    loadings = pd.read_csv(run / "loadings.csv", index_col=0)
    for name, c in loadings.items():
        high, low = (", ".join(ends) for ends in (c.nlargest(5).index, c.nsmallest(5).index))
        assert f"{name}: samples with a high score have more of {high}, and less of {low} than" in text
    titles = [f"{kinds('pln-pca')[kind].title}." for kind in ("scree", "pca", "biplot", "contributions", "loadings")]
    assert all(title in text for title in titles) and "Latent structure" in text
    assert "C: loadings, u: scores" in text and "by how many times" in text


def test_numbers_are_those_of_the_files_of_the_run(page_of: Callable[..., Path], fits: Path) -> None:
    tree = Tree(page_of("part-tree").read_text())
    table = pd.read_csv(fits / "part-tree" / "coefficients.csv")
    shown = tree.table(1)
    assert list(shown) == list(table.columns)
    for name, column in table.items():
        if column.dtype.kind == "f":
            values = [np.nan if x is None else float(x) for x in shown[name]]
            assert np.array_equal(values, column, equal_nan=True)
        else:
            assert shown[name] == column.tolist()
    assert shown["estimate"].count("-inf") == np.isneginf(table["estimate"]).sum() > 0
    summary = json.loads((fits / "part-tree" / "summary.json").read_text())
    text = tree.text()
    assert f"{summary['elbo']:.4f} nats" in text and f"{summary['bic']:.2f}" in text
    assert f"at most about {summary['gap']:.2g} log-likelihood units" in text
    manifest = json.loads((fits / "part-tree" / "manifest.json").read_text())
    assert all(source["sha256"] in text for source in manifest["inputs"])
    assert "Nothing was left out." in text


def test_differences_are_those_of_the_wald_tests(page_of: Callable[..., Path], cli: Cli, fits: Path) -> None:
    tree = Tree(page_of("part-tree").read_text())
    tests = pd.read_csv(io.StringIO(cli("test", fits / "part-tree", "--equal", "tree", "-q").out))
    shown = tree.table(0)
    for name in ("statistic", "p_value", "q_value"):
        assert np.array_equal(np.array(shown[name], float), tests[name], equal_nan=True)
    many, done = int((tests["q_value"] < 0.05).sum()), int(tests["q_value"].notna().sum())
    assert f"{many} of {done} features that could be tested differ between the levels of tree" in tree.text()
    assert "f_OTU_579 (none in intermediate, resistant)" in tree.text()


@pytest.mark.slow  # two pages of two fits
def test_the_highest_and_lowest_levels_do_not_depend_on_the_coding(page_of: Callable[..., Path]) -> None:
    coded, means = (Tree(page_of(*words).read_text()) for words in (("part-tree",), PAIR))
    a, b = coded.table(0), means.table(1)
    assert a["highest"] == b["highest"] and a["lowest"] == b["lowest"]
    assert np.allclose(np.array(a["times"], float), np.array(b["times"], float), rtol=1e-4, equal_nan=True)


def test_several_runs_are_compared(page_of: Callable[..., Path], cli: Cli, fits: Path) -> None:
    text = Tree(page_of(*PAIR, every=False).read_text()).text()
    found = json.loads(cli("compare", fits / "part-one", fits / "part-means", "--json").out)
    best = min(found["rows"], key=lambda row: row["bic"])
    assert f"{best['bic']:.1f} *" in text
    (ratio,) = found["ratios"]
    assert f"part-means part-one {ratio['statistic']:.2f} {ratio['df']} ".replace(" ", "") in text.replace(" ", "")


@pytest.mark.slow  # a page of two fits
def test_runs_of_different_data_share_a_page_and_are_not_compared(page_of: Callable[..., Path]) -> None:
    text = Tree(page_of("soil", "markers", every=False).read_text()).text()
    assert "The runs do not compare." in text and "logistic regression of 100 samples" in text


@pytest.mark.slow  # pages of two fits
def test_a_fit_that_stopped_early_is_not_to_be_trusted(page_of: Callable[..., Path]) -> None:
    text = Tree(page_of("stopped", "--no-diagnose").read_text()).text()
    assert "! look" in text and "The fit did not converge" in text and "Raise --max-iter" in text
    assert "! lookNo standard errors: they are valid at the optimum only." in text


@pytest.mark.parametrize(
    ("gap", "converged", "status", "words"),
    [
        (8.2e-6, True, "converged", "at most about 8.2e-06 log-likelihood units (nats) away, which changes no digit"),
        (0.02, True, "converged", "at most about 0.02 log-likelihood units (nats) away."),
        (0.0, True, "converged", "it is at the optimum"),
        (None, False, "diverged", "How far from the optimum it stopped is not known."),
        (3.0, False, "time_limit", "Raise --time-limit. The optimum is an estimated 3 log-likelihood units"),
    ],
)
def test_how_a_fit_ended_in_words(gap: float | None, converged: bool, status: str, words: str) -> None:
    told = convergence({"gap": gap, "converged": converged, "status": status})
    assert words in told and told.startswith("The fit converged") == converged


def test_numbers_in_words() -> None:
    told = [number(x) for x in (None, np.nan, np.inf, -np.inf, 0.0, -1.25, 1e-7, 123456.0, -3e9)]
    assert told == ["—", "—", "∞", "−∞", "0", "−1.25", "1.000e−07", "123456", "−3.000e+09"]


@pytest.mark.usefixtures("unpainted")
def test_names_of_the_data_are_text_and_nothing_else(cli: Cli, tmp_path: Path) -> None:
    odd_run(cli, tmp_path)
    assert cli("report", "odd", "--out", "odd.html").code == 0
    page = (tmp_path / "odd.html").read_text()
    tree = Tree(page)
    assert tree.open == [] and not list(tree.all("em", "b", "i"))
    assert page.count("<script") == page.count("</script>") == len(tree.data()) + 1
    assert set(ODD) <= set(tree.table(1)["response"])
    assert "<script>alert(1)</script>" in tree.text() and "</script>a" in tree.text()
    for attributes in tree.all("img"):
        assert set(attributes) == {"src", "width", "height", "alt"}


def test_embedded_json_ends_no_element() -> None:
    text = str(embedded(ODD))
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == ODD


@pytest.mark.parametrize("run", ["part-tree", pytest.param("tree", marks=pytest.mark.slow)])
def test_pictures_are_small_and_whole(page_of: Callable[..., Path], run: str) -> None:
    path = page_of(run)
    tree = Tree(path.read_text())
    for attributes in tree.all("img"):
        with Image.open(io.BytesIO(base64.b64decode((attributes["src"] or "").partition(",")[2]))) as image:
            assert image.size == (int(attributes["width"] or 0), int(attributes["height"] or 0))
            assert image.mode == "P" and image.convert("RGB").getpixel((image.width - 1, 0)) == (255, 255, 255)
    assert path.stat().st_size < 1_000_000


def test_hovering_tells_the_values_of_the_run(page_of: Callable[..., Path], fits: Path) -> None:
    (grid,) = (one["grid"] for one in Tree(page_of("part-tree").read_text()).data() if one.get("grid"))
    Sigma = pd.read_csv(fits / "part-tree" / "sigma.csv", index_col=0)
    values = np.frombuffer(base64.b64decode(grid["values"]), np.int8)
    S = Sigma.loc[grid["names"], grid["names"]].to_numpy()
    R = S / np.sqrt(np.outer(np.diag(S), np.diag(S)))
    assert np.abs(values / 100 - R[np.tril_indices(len(R))]).max() <= 0.00501


def test_the_page_carries_what_a_click_on_a_feature_draws(page_of: Callable[..., Path], fits: Path) -> None:
    (found,) = (one for one in Tree(page_of("part-tree").read_text()).data() if "panels" in one)
    counts, exposure = (pd.read_csv(fits / "part" / f"{name}.csv", index_col=0) for name in ("counts", "exposure"))
    normalised = counts / exposure * np.exp(np.log(exposure).mean())
    B = pd.read_csv(fits / "part-tree" / "coefficients.csv").pivot(index="term", columns="response", values="estimate")
    Sigma = pd.read_csv(fits / "part-tree" / "sigma.csv", index_col=0)
    assert found["levels"] == ["intermediate", "resistant", "susceptible"] and found["at"] == [0, 1, 2]
    assert found["names"] == list(counts.columns)
    for name, panel in zip(found["names"], found["panels"], strict=True):
        values = np.frombuffer(base64.b64decode(panel["values"]), np.uint8) / 254 * (panel["top"] - panel["low"])
        assert np.abs(values + panel["low"] - np.log1p(normalised[name])).max() < panel["top"] / 500
        b = B[name]
        level = np.array([0.0, b["tree[T.resistant]"], b["tree[T.susceptible]"]])
        mean = np.exp(b["Intercept"] + level + 0.5 * Sigma.loc[name, name] + np.log(exposure[name]).mean())
        if np.isfinite(b).all():
            assert panel["means"][0] == pytest.approx(mean.tolist(), rel=1e-3)
            assert all(low < m < high for m, low, high in zip(*panel["means"], strict=True))


@pytest.mark.slow  # two pages; pictures are compared so ordinarily
def test_the_page_is_the_same_each_time_but_for_the_time(cli: Cli, fits: Path, tmp_path: Path) -> None:
    pages = []
    for name in ("a.html", "b.html"):
        assert cli("report", fits / "soil", "--out", name).code == 0
        pages.append(re.sub(r"on \d{4}-\d\d-\d\d \d\d:\d\d UTC", "", (tmp_path / name).read_text(), count=1))
    assert pages[0] == pages[1]


@pytest.mark.slow  # three pages; `plot` of such a run is tried ordinarily
def test_a_run_whose_tables_are_gone_has_a_page_without_a_diagnosis(cli: Cli, fits: Path, tmp_path: Path) -> None:
    run = odd_run(cli, tmp_path)
    (tmp_path / "counts.csv").rename(tmp_path / "elsewhere.csv")
    assert cli("report", run, "--out", "without.html").code == 0
    text = Tree((tmp_path / "without.html").read_text()).text()
    assert "Whether the model holds was not checked." in text and "is gone" in text and "--counts FILE" in text
    assert cli("report", run, "--out", "with.html", "--counts", "elsewhere.csv").code == 0
    assert "was not checked" not in Tree((tmp_path / "with.html").read_text()).text()
    shutil.copy(fits / "soil" / "model.safetensors", tmp_path / "model.safetensors")
    assert cli("report", "model.safetensors", "--out", "alone.html", "--no-diagnose").code == 0
    assert "There is no manifest.json" in Tree((tmp_path / "alone.html").read_text()).text()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["tree", "--out", "page.txt"], 2, "--out page.txt must end in one of .html"),
        (["tree", "--out", "there.html"], 2, "--out there.html exists. Add --overwrite"),
        (["tree", "--out", "none/page.html"], 2, "there is no folder none"),
        (["tree", "tree"], 2, "tree is given twice."),
        (["nothing"], 3, "does not exist. Give the folder that `plncli fit` wrote."),
        (["tree", "--no-diagnose", "--counts", "x.csv"], 2, "--no-diagnose reads no tables, so --counts has no use."),
        (["tree", "--multiqc", "there.html"], 2, "--multiqc there.html/plncli_fits_mqc.json cannot be written"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_faults_are_told(cli: Cli, fits: Path, tmp_path: Path, words: list[str], code: int, message: str) -> None:
    (tmp_path / "there.html").write_text("mine")
    places = [str(fits / word) if word in ("tree", "nothing") else word for word in words]
    ran = cli("report", *places)
    assert (ran.code, message in ran.err) == (code, True), ran.err
    assert [path.name for path in tmp_path.iterdir()] == ["there.html"]
    assert (tmp_path / "there.html").read_text() == "mine"


@pytest.mark.slow  # a process that loads torch; `plot` by the installed command is among the ordinary tests
def test_the_installed_command_writes_a_page(run_cli: Cli, fits: Path, tmp_path: Path) -> None:
    ran = run_cli("report", fits / "markers")
    assert (ran.code, ran.out, ran.err) == (0, "", "The report is in report.html.\n")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


@pytest.mark.slow  # a page of two fits beside what is tested
def test_custom_content_is_what_multiqc_documents(cli: Cli, fits: Path, tmp_path: Path) -> None:
    ran = cli("report", fits / "part-one", fits / "part-tree", "--no-diagnose", "--multiqc", "mqc")
    assert (ran.code, ran.out) == (0, "")
    assert ran.err == "The report is in report.html.\nWhat MultiQC takes is in mqc.\n"
    table = json.loads((tmp_path / "mqc" / "plncli_fits_mqc.json").read_text())
    assert {"id", "section_name", "description", "plot_type", "pconfig", "headers", "data"} == set(table)
    assert table["plot_type"] == "table" and set(table["data"]) == {"part-one", "part-tree"}
    summary = json.loads((fits / "part-tree" / "summary.json").read_text())
    row = table["data"]["part-tree"]
    looks = len(json.loads((fits / "part-tree" / "summary.json").read_text())["warnings"])
    assert (row["samples"], row["features"], row["warnings"], row["converged"]) == (116, 23, looks, "yes")
    assert (row["elbo"], row["bic"], row["gap"]) == (summary["elbo"], summary["bic"], summary["gap"])
    assert set(row) <= set(table["headers"])
    course = json.loads((tmp_path / "mqc" / "plncli_trace_mqc.json").read_text())
    assert course["plot_type"] == "linegraph"
    trace = pd.read_csv(fits / "part-tree" / "loss_trace.csv").dropna(subset="gap")
    assert course["data"]["part-tree"] == dict(zip(trace["step"].astype(str), trace["gap"], strict=True))
    pages = Tree((tmp_path / "report.html").read_text())
    pictures = [path.read_bytes() for path in (tmp_path / "mqc").glob("*.png")]
    shown = [base64.b64decode((one["src"] or "").partition(",")[2]) for one in pages.all("img")]
    assert sorted(pictures) == sorted(shown)
    first = min(path.name for path in (tmp_path / "mqc").iterdir())  # MultiQC shows sections in this order
    assert first == "plncli_fits_mqc.json"
    (tmp_path / "mqc" / "other_tool.json").write_text("{}")
    again = ("report", fits / "markers", "--no-diagnose", "--multiqc", "mqc", "--out", "again.html")
    assert "plncli_fits_mqc.json exists. Add --overwrite" in cli(*again).err
    assert cli(*again, "--overwrite").code == 0
    assert (tmp_path / "mqc" / "other_tool.json").read_text() == "{}"


@pytest.mark.usefixtures("unpainted")
def test_multiqc_takes_every_picture_of_a_page(cli: Cli, fits: Path, tmp_path: Path) -> None:
    for run in ("soil", "markers"):
        assert cli("report", fits / run, "--multiqc", "mqc", "--out", f"{run}.html", "--overwrite").code == 0
        made = {path.name for path in (tmp_path / "mqc").glob("plncli_picture_1_*.png") if f"_{run}_" in path.name}
        assert len(made) == len(list(Tree((tmp_path / f"{run}.html").read_text()).all("img"))) > 1
        assert all(name.removesuffix("_mqc.png")[-1] not in "png." for name in made)
        again = cli("report", fits / run, "--multiqc", "mqc", "--out", "again.html")
        assert again.code == 2 and "exists. Add --overwrite" in again.err


# In a browser


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Page]:
    if browser.found() is None:
        pytest.skip("no Chromium is installed")
    with browser.browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def opened(tab: browser.Page, page_of: Callable[..., Path]) -> browser.Page:
    tab.problems.clear()
    tab.requests.clear()
    tab.look()
    tab.open(page_of("tree"))
    return tab


ROWS = "[...document.querySelectorAll('.table')[1].querySelectorAll('tbody tr')].map(r => r.cells[{}].textContent)"
PART = "document.querySelectorAll('.table')[1].querySelector{}"


@pytest.mark.slow
def test_the_page_asks_for_nothing_and_complains_of_nothing(opened: browser.Page) -> None:
    opened.run(
        "document.querySelectorAll('.picture')"
        ".forEach(one => { one.click(); document.querySelector('dialog').close() })"
    )
    assert opened.problems == []
    assert [url for url in opened.requests if not url.startswith("data:")] == opened.requests[:1]


@pytest.mark.slow
def test_rows_are_sorted_searched_and_turned(opened: browser.Page, fits: Path) -> None:
    table = pd.read_csv(fits / "tree" / "coefficients.csv")
    assert opened.run(PART.format("('[role=status]').textContent")) == "1 to 25 of 342"
    assert "Intercept" not in opened.run(ROWS.format(1))
    opened.run(PART.format("All('th button')[2].focus()"))
    opened.key("Enter", "\r")
    assert opened.run(ROWS.format(2))[:9] == ["−∞"] * 9
    assert opened.run(PART.format("All('th')[2].ariaSort")) == "ascending"
    opened.key("Enter", "\r")
    assert opened.run(PART.format("All('th')[2].ariaSort")) == "descending"
    assert opened.run(ROWS.format(2))[0] == "∞"
    opened.run(PART.format("All('.controls button')[1].click()"))
    assert opened.run(PART.format("('[role=status]').textContent")) == "26 to 50 of 342"
    search = PART.format("('input')")
    opened.run(f"(() => {{ const s = {search}; s.value = 'OTU_10 '; s.dispatchEvent(new Event('input')) }})()")
    found = set(opened.run(ROWS.format(0)))
    assert found == set(table["response"][table["response"].str.contains("otu_10", case=False)])


@pytest.mark.slow
def test_the_download_is_the_table_of_the_run(opened: browser.Page, fits: Path) -> None:
    opened.run("URL.createObjectURL = (blob) => { window.kept = blob; return 'data:,' }")
    opened.run(PART.format("All('.controls button')[2].click()"))
    rows = list(csv.reader(io.StringIO(opened.run("window.kept.text()"))))
    found = pd.DataFrame(rows[1:], columns=rows[0]).replace("", np.nan)
    table = pd.read_csv(fits / "tree" / "coefficients.csv")
    pd.testing.assert_frame_equal(found.astype(table.dtypes.to_dict()), table, check_exact=True)


@pytest.mark.slow
def test_the_page_suits_dark_rooms_phones_and_paper(opened: browser.Page, tmp_path: Path) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    assert opened.run(ground) == "rgb(255, 255, 255)"
    opened.look(width=390, height=800, dark=True, mobile=True)
    assert opened.run(ground) == "rgb(20, 23, 27)"
    shade = "getComputedStyle(document.querySelector('.picture img')).filter"
    assert opened.run(shade) == "invert(1) hue-rotate(180deg)"
    assert opened.run("document.documentElement.scrollWidth") == 390
    opened.call("Emulation.setEmulatedMedia", media="print")
    assert opened.run("getComputedStyle(document.querySelector('.controls')).display") == "none"
    assert opened.run(shade) == "none"
    opened.call("Emulation.setEmulatedMedia", media="")


@pytest.mark.slow
def test_pictures_enlarge_and_tell_their_values(opened: browser.Page) -> None:
    opened.run("document.querySelectorAll('.picture')[1].focus()")
    opened.key("Enter", "\r")
    assert opened.run("document.querySelector('dialog').open")
    x, y, width, height = opened.run(
        "(({x, y, width, height}) => [x, y, width, height])"
        "(document.querySelector('.enlarged img').getBoundingClientRect())"
    )
    opened.move(x + 0.5 * width, y + 0.2 * height)
    opened.move(x + 0.5 * width, y + 0.21 * height)
    assert re.search(r"OTU_\d+, tree\[T.resistant\]: ", opened.run("document.querySelector('.tip').textContent"))
    opened.key("Escape")
    assert not opened.run("document.querySelector('dialog').open")


@pytest.mark.slow
def test_a_click_on_a_feature_opens_its_picture_and_numbers(opened: browser.Page, fits: Path) -> None:
    opened.run("[...document.querySelectorAll('.name')].find(one => one.textContent === 'f_OTU_5').click()")
    assert opened.run("document.querySelector('dialog.feature').open")
    assert opened.run("document.querySelector('#feature-name').textContent") == "f_OTU_5"
    assert opened.run("document.querySelectorAll('.feature .dot').length") == 116
    assert opened.run("document.querySelectorAll('.feature .mean.sign').length") == 3
    rows = opened.run("[...document.querySelectorAll('.feature table')].map(one => one.tBodies[0].rows.length)")
    assert rows == [1, 3]  # the test of the levels, and the coefficients
    opened.key("Escape")
    opened.run(
        "[...document.querySelectorAll('.picture')]"
        ".find(one => one.querySelector('img').alt.includes('Forest')).click()"
    )
    x, y, width, height = opened.run(
        "(({x, y, width, height}) => [x, y, width, height])"
        "(document.querySelector('.enlarged img').getBoundingClientRect())"
    )
    opened.run(
        f"document.querySelector('dialog img').dispatchEvent(new MouseEvent('click', "
        f"{{bubbles: true, clientX: {x + 0.5 * width}, clientY: {y + 0.2 * height}}}))"
    )
    assert "OTU" in opened.run("document.querySelector('#feature-name').textContent")
    assert opened.problems == []


@pytest.mark.slow
def test_odd_names_run_no_code(tab: browser.Page, cli: Cli, tmp_path: Path) -> None:
    odd_run(cli, tmp_path)
    assert cli("report", "odd", "--out", "odd.html", "--no-diagnose").code == 0
    tab.problems.clear()
    tab.look()
    tab.open(tmp_path / "odd.html")
    assert tab.problems == []
    assert ODD[0] in tab.run("[...document.querySelectorAll('td')].map(cell => cell.textContent)")


@pytest.mark.slow  # the page of the whole oaks, whose list is long enough to lose its middles in a sentence
def test_names_are_whole_where_a_page_lists_many(page_of: Callable[..., Path]) -> None:
    text = Tree(page_of("tree").read_text()).text()
    (told,) = re.findall(r"gives no finite estimate to test: (.*?)\.", text)
    assert all(re.fullmatch(r"\w+ \(none in .*\)", name) for name in re.split(r"(?<=\)), ", told)), told
