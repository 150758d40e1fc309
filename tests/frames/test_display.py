"""How results show themselves: in a line, in a notebook, on a page; what help tells; that notes are quiet."""

from __future__ import annotations

import html
import io
import logging
import pydoc
import re
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from plncli import Dataset, FitResult, PlncliError, cv, fit, load, simulate
from plncli.frames.data import DATA, ELSEWHERE
from plncli.settings import settings

ODD = ('<script>alert("x")</script>', "a & b", "'quoted'")


@pytest.fixture(scope="module")
def shown() -> dict[str, Any]:
    """One of each public object, of counts with names that mean something in HTML."""
    made = simulate("pln", n=40, p=3, levels=2, depth=3000, seed=3)
    assert made.counts is not None
    counts = made.counts.set_axis(list(ODD), axis=1)
    odd = Dataset(counts=counts, covariates=made.covariates, exposure=counts.sum(axis=1), formula="~ x + group")
    result = fit("pln", odd)
    other = fit("pln", odd, covariance="diagonal")
    with pytest.MonkeyPatch.context() as patch:  # no picture is painted, which takes longest
        patch.setattr("plncli.plots.style.pixels", lambda figure, dpi: (bytes(4), 1, 1))
        report = result.report(diagnose=False)
    return {
        "dataset": odd,
        "fit": result,
        "comparison": result.compare(other),
        "diagnosis": result.diagnose(draws=0),
        "latent": result.transform(counts, made.covariates, exposure=counts.sum(axis=1)),
        "simulation": result.simulate(n=5),
        "validation": cv("pln", odd, covariance=["full", "diagonal"], folds=2),
        "report": report,
    }


def tables(page: str) -> Iterator[list[str]]:
    """The cells of each table of well-formed HTML."""
    for table in ET.fromstring(page).iter("table"):
        yield ["".join(cell.itertext()) for cell in table.iter() if cell.tag in ("th", "td")]


def test_each_is_a_line(shown: dict[str, Any]) -> None:
    lines = {name: repr(one) for name, one in shown.items()}
    assert [name for name, line in lines.items() if "\n" in line or len(line) > 160] == []
    assert all(line.startswith(f"{type(shown[name]).__name__}(") for name, line in lines.items())
    summary = shown["fit"].summary
    assert f"40 samples × 3 features, converged, elbo {summary['elbo']:.2f}" in lines["fit"]
    assert "2 fits, best by bic: fit " in lines["comparison"]
    assert "3 candidates, 2 folds, best: ~" in lines["validation"]
    assert "40 samples × 3 features" in lines["latent"]


@pytest.mark.parametrize("name", ["fit", "comparison", "diagnosis", "latent", "simulation", "validation"])
def test_a_notebook_shows_well_formed_tables(shown: dict[str, Any], name: str) -> None:
    page = shown[name]._repr_html_()
    assert len(list(tables(page))) >= 1
    assert "<script" not in page and 'alert("' not in page
    assert not re.search(r"color|background", page)  # whatever the theme


def test_a_notebook_shows_what_print_does(shown: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")  # a notebook has room for whole names
    for name in ("fit", "comparison", "diagnosis", "validation"):
        text, page = str(shown[name]), shown[name]._repr_html_()
        told = re.sub(r"\s+", " ", text)
        for cell in (cell for table in tables(page) for cell in table):
            assert re.sub(r"\s+", " ", cell).strip() in told, cell
    facts, *rest = tables(shown["fit"]._repr_html_())
    assert facts[0] == "model" and any(ODD[1] in table for table in rest)


def test_notes_are_in_the_page_and_the_object() -> None:
    result = fit_without_one()
    assert any("s3" in note for note in result.notes)
    assert all(note in "".join(ET.fromstring(result._repr_html_()).itertext()) for note in result.notes)


def test_a_figure_shows_itself(result: FitResult) -> None:
    figure = result.plot("pca", width=100)
    png, size = figure._repr_png_()
    with Image.open(io.BytesIO(png)) as image:
        assert image.format == "PNG" and image.size == (2 * size["width"], 2 * size["height"])


def test_help_tells_every_setting_with_its_default() -> None:
    for verb, panels in ((fit, None), (cv, ("Optimizer",))):
        told = pydoc.render_doc(verb, renderer=pydoc.plaintext)
        for name, setting in settings().items():
            offered = name not in (*DATA, *ELSEWHERE) and (panels is None or setting.panel in panels)
            if offered and name not in ("init", "time_limit") and not setting.path:
                assert f"{name}={setting.default!r}\n" in told, name
                assert re.sub(r"\W", "", setting.help.split(".")[0].split("--")[0]) in re.sub(r"\W", "", told), name
    assert "--" not in str(fit.__doc__)


def test_arguments_can_be_completed() -> None:
    import inspect

    known = inspect.signature(fit).parameters
    assert known["covariance"].default == "full" and known["max_iter"].default is None
    assert "settings" not in known and "out" not in known


@pytest.mark.parametrize("interactive", [True, False], ids=["where a person types", "in a script"])
def test_notes_are_quiet(
    interactive: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], recwarn: Any
) -> None:
    if interactive:
        monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    fit_without_one()
    told = capsys.readouterr()
    spoken, silent = (told.out, told.err) if interactive else (told.err, told.out)
    assert spoken.startswith("note: ") and "1 sample of `response` not in `covariates`: s3" in spoken
    assert silent == "" and len(recwarn) == 0


def test_notes_can_be_silenced_and_kept(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("plncli")
    logger.setLevel("WARNING")
    try:
        assert fit_without_one().notes
    finally:
        logger.setLevel("INFO")
    assert capsys.readouterr() == ("", "")


def fit_without_one() -> FitResult:
    """A fit of which the covariates lack a sample."""
    names = [f"s{i}" for i in range(12)]
    x = pd.DataFrame({"x": np.arange(12.0)}, index=names).drop(index="s3")
    y = pd.DataFrame({"y": np.sin(np.arange(12.0))}, index=names)
    return fit("linear", Dataset(response=y, covariates=x, formula="~ x"))


# --- the page ---


class Frame(HTMLParser):
    """The page within a frame."""

    inner = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "iframe":
            self.inner = dict(attrs)["srcdoc"] or ""


@pytest.mark.usefixtures("unpainted")
def test_a_report_is_that_of_the_saved_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "manifest.json").write_text("{}")  # of whoever works here, not of the fit
    made = simulate("linear", n=30, p=1, levels=2, seed=2)
    result = fit("linear", made.dataset)
    page = result.report("page.html")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == page.html
    with pytest.raises(PlncliError, match="overwrite"):
        result.report("page.html", diagnose=False)
    frame = Frame()
    frame.feed(page._repr_html_())
    assert frame.inner == page.html
    result.save("run")
    loaded = load("run").report(data=made.dataset)
    heads = [re.findall(r"<h[1-4] [^>]*>(.*?)</h", one.html) for one in (page, loaded)]
    assert heads[0][1:] == heads[1][1:] and "Does the model hold?" in heads[0]
    verdicts = [re.findall(r'<li><span class="verdict.*?</li>', one.html) for one in (page, loaded)]
    assert verdicts[0] == verdicts[1] and len(verdicts[0]) >= 3
    assert 'result.save("FOLDER")' in html.unescape(page.html).replace("&#34;", '"') and "--config" not in page.html


@pytest.mark.usefixtures("unpainted")
def test_a_report_compares() -> None:
    made = simulate("linear", n=30, p=1, levels=2, seed=2)
    result, other = fit("linear", made.dataset), fit("linear", Dataset(response=made.response))
    page = result.report(others=[other], diagnose=False).html
    assert 'id="comparison"' in page and "fit 1" in page and "fit 2" in page and "this fit" not in page
    assert f"<td>{result.summary['loglik']:.2f}</td>" in page
