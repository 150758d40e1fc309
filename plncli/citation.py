"""How to cite the program, and the works whose models and methods it has: as text, BibTeX and CITATION.cff."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from plncli.version import __version__

TITLE = "plncli: Poisson log-normal, logistic and linear models from the command line"
AUTHORS = "The plncli authors"
YEAR = 2026
MESSAGE = "If you use plncli, please cite it, and the works whose models and methods it fits."


@dataclass(frozen=True)
class Article:
    """An article: authors as (family name, given names); pages as first and last, alike where it has a number."""

    key: str
    why: str
    authors: tuple[tuple[str, str], ...]
    title: str
    journal: str
    year: int
    volume: int
    issue: int | None
    pages: tuple[str, str]
    doi: str


CHIQUET = (("Chiquet", "Julien"), ("Mariadassou", "Mahendra"), ("Robin", "Stéphane"))
ARTICLES = (
    Article(
        "aitchison1989",
        "the multivariate Poisson log-normal distribution",
        (("Aitchison", "John"), ("Ho", "C. H.")),
        "The multivariate Poisson-log normal distribution",
        "Biometrika",
        1989,
        76,
        4,
        ("643", "653"),
        "10.1093/biomet/76.4.643",
    ),
    Article(
        "chiquet2018",
        "its variational inference",
        CHIQUET,
        "Variational inference for probabilistic Poisson PCA",
        "The Annals of Applied Statistics",
        2018,
        12,
        4,
        ("2674", "2698"),
        "10.1214/18-AOAS1177",
    ),
    Article(
        "chiquet2021",
        "the models of the family, in ecology",
        CHIQUET,
        "The Poisson-lognormal model as a versatile framework for the joint analysis of species abundances",
        "Frontiers in Ecology and Evolution",
        2021,
        9,
        None,
        ("588292", "588292"),
        "10.3389/fevo.2021.588292",
    ),
)


def text() -> str:
    """How to cite, for a reader, and as BibTeX."""
    told = [MESSAGE, "", f"{AUTHORS} ({YEAR}). {TITLE}. Version {__version__}."]
    for work in ARTICLES:
        told += ["", f"For {work.why}:", _reference(work)]
    return "\n".join([*told, "", "BibTeX:", "", *_bibtex()])


def _reference(work: Article) -> str:
    """An article in a line."""
    names = [f"{family}, {' '.join(f'{name[0]}.' for name in given.split())}" for family, given in work.authors]
    authors = ", ".join(names[:-1]) + f" & {names[-1]}"
    issue = f"({work.issue})" if work.issue else ""
    place = f"{work.journal}, {work.volume}{issue}, {_pages(work, '–')}"
    return f"{authors} ({work.year}). {work.title}. {place}. https://doi.org/{work.doi}"


def _pages(work: Article, dash: str) -> str:
    return dash.join(dict.fromkeys(work.pages))


def _bibtex() -> Iterator[str]:
    software = {"author": f"{{{AUTHORS}}}", "title": f"{{{TITLE}}}", "year": str(YEAR), "version": __version__}
    yield from _entry("software", "plncli", software)
    for work in ARTICLES:
        fields = {
            "author": " and ".join(f"{family}, {given}" for family, given in work.authors),
            "title": f"{{{work.title}}}",
            "journal": work.journal,
            "year": str(work.year),
            "volume": str(work.volume),
            **({"number": str(work.issue)} if work.issue else {}),
            "pages": _pages(work, "--"),
            "doi": work.doi,
        }
        yield ""
        yield from _entry("article", work.key, fields)


def _entry(kind: str, key: str, fields: dict[str, str]) -> Iterator[str]:
    yield f"@{kind}{{{key},"
    yield from (f"  {name} = {{{value}}}," for name, value in fields.items())
    yield "}"


def cff() -> str:
    """The content of CITATION.cff, in the Citation File Format 1.2.0."""
    lines = [
        "# Made by `make citation` of plncli/citation.py.",
        "cff-version: 1.2.0",
        f"message: {_quoted(MESSAGE)}",
        "type: software",
        f"title: {_quoted(TITLE)}",
        f"version: {_quoted(__version__)}",
        "license: MIT",
        "authors:",
        f"  - name: {_quoted(AUTHORS)}",
        "references:",
    ]
    for work in ARTICLES:
        lines += [
            "  - type: article",
            f"    title: {_quoted(work.title)}",
            "    authors:",
            *(
                line
                for family, given in work.authors
                for line in (f"      - family-names: {_quoted(family)}", f"        given-names: {_quoted(given)}")
            ),
            f"    journal: {_quoted(work.journal)}",
            f"    year: {work.year}",
            f"    volume: {work.volume}",
            *([f"    issue: {work.issue}"] if work.issue else []),
            f"    start: {_quoted(work.pages[0])}",
            f"    end: {_quoted(work.pages[1])}",
            f"    doi: {_quoted(work.doi)}",
        ]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A text as YAML, which takes those of JSON."""
    return json.dumps(text, ensure_ascii=False)
