"""What Poisson log-normal PCA declares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from plncli.models.inflation.spec import NONE, TABLE, ZERO_INFLATION, shares
from plncli.models.inflation.spec import TABLES as ZEROS
from plncli.models.pln.spec import WORDS
from plncli.models.spec import BLOCK_ROWS, COUNTS, SIGMA, B, Setting, Size, Spec, Symbol, Work
from plncli.models.words import StoryFacts
from plncli.names import MODEL

TABLES = 16
"""Tables of n×p numbers at the peak of a fit: counted in the code, not measured."""
INFLATED = 8
"""The same that zeros that may be structural add."""
HELD = 1 << 25
"""Numbers in the samples' blocks of the Hessian up to which they are factored: 256 MB of float64."""
WHOLE = 1 << 22
"""Cells of a table up to which it is looked at whole; beyond, counts are taken without their zeros."""
BLOCK, LEAST = 1 << 17, 128
"""Cells in a block, and samples at least."""
MANY, SHARE, FEWEST = 1 << 19, 8, 50
"""Beyond so many cells one in SHARE samples is fitted first, and as many for each parameter of a feature, at least."""
AT_ONCE = 8
"""Blocks in memory, by as many threads."""
RANK = 5
"""Rank where none was asked for, as far as the table carries it."""


def memory(size: Size) -> float:
    """Numbers at the peak of a fit, its data not counted."""
    n, p, d = size.n, size.p, size.d
    q = size.own.get("rank") or RANK
    r = q + q * (q + 1) // 2
    rows = block_rows(n, p, size.own)
    if rows is not None:
        searched = n
        while begins_smaller(searched, p, d + q):
            searched //= SHARE
        blocks = AT_ONCE * min(rows, n) * (p + r)
        return TABLES * (searched * p + blocks) + 12.0 * n * r + p * (6.0 * r + 8.0 * (d + q) ** 2)
    held = 3.0 * n * r * r if n * r * r <= HELD else 0.0
    tables = TABLES + INFLATED * (size.own.get(ZERO_INFLATION.name, NONE) != NONE)
    return tables * n * p + 12.0 * n * r + held + p * (6.0 * r + 4.0 * (d + q) ** 2)


def block_rows(n: int, p: int, own: Mapping[str, Any]) -> int | None:
    """Samples that are looked at together: as many as is asked for, or as a cache holds; None for all, of few cells."""
    if own.get(ZERO_INFLATION.name, NONE) != NONE:
        return None
    asked: int | None = own.get("block_rows")
    return asked or (max(LEAST, BLOCK // p) if n * p > WHOLE else None)


def begins_smaller(n: int, p: int, width: int) -> bool:
    """Whether n samples × p features are begun with some of them; width: parameters of a feature."""
    return n * p > MANY and n // SHARE >= FEWEST * width


def work(size: Size) -> tuple[Work, Work]:
    """The least and the most of a search, whose rounds count as points: where two starts agree, and where none do."""
    del size
    return Work(20, 20), Work(180, 120)


def positive(number: Any) -> bool:
    """Whether a number, of components, clusters or searches, is one."""
    return bool(number >= 1)


def story(facts: StoryFacts) -> list[str]:
    """The model in words."""
    del facts
    return [
        "Each count is Poisson with mean exp(offset + latent value): the latent values are unobserved log-abundances. "
        "Their means depend on the covariates, and what varies beyond that lies in a few dimensions, the components: "
        "a sample has a score on each, and a feature a loading.",
        "The likelihood of this model has no closed form: its lower bound, the ELBO, was maximised instead, with a "
        "full covariance of the scores of each sample.",
    ]


STARTS = Setting(
    "Searches for the optimum, of which there are many: the default one, and N − 1 from starts by chance. The "
    "best is taken, and how many agree is told.",
    MODEL,
    name="starts",
    kind=int,
    default=1,
    metavar="N",
    check=positive,
    expects="a whole number from 1",
)
"""Of models whose bound has many optima."""


def sparse(own: Mapping[str, Any], cells: int) -> bool:
    """Whether counts are taken without their zeros: large ones, or where blocks are asked for.

    Zeros may be structural of whole tables only, and cross-validation hides counts of such ones.
    """
    whole = own.get(ZERO_INFLATION.name, NONE) != NONE or own.get("select") == "cv"
    return not whole and (cells > WHOLE or own.get(BLOCK_ROWS.name) is not None)


PCA = Spec(
    name="pln-pca",
    title="Poisson log-normal PCA",
    help="""Poisson log-normal PCA: correlated counts in a few dimensions.

    The log-means of the counts are Gaussian given covariates, with a covariance of low rank.""",
    response=COUNTS,
    model="plncli.models.pca.model:PCA",
    fitted="plncli.models.pca.fitted:FittedPCA",
    symbols=(
        B,
        Symbol("C", ("response", "component"), "loadings", finite=True, meaning="loadings: Sigma = CC'"),
        Symbol("U", ("sample", "component"), "scores", finite=True, meaning="scores of the samples"),
        Symbol("U_sd", ("sample", "component"), "scores_sd", finite=True, meaning="their standard deviations"),
        Symbol("share", ("component",), "explained_variance", finite=True, meaning="shares of the latent variance"),
        Symbol(
            "Sigma",
            ("response", "response"),
            "sigma",
            finite=True,
            optional=True,
            meaning="covariance of the latent layer",
        ),
        Symbol("M", ("sample", "response"), "latent_mean", asked=True, instead=("C", "U"), meaning="latent means"),
        Symbol(
            "S",
            ("sample", "response"),
            "latent_sd",
            finite=True,
            asked=True,
            instead=("C", "U"),
            meaning="their standard deviations",
        ),
        Symbol("B_finite", ("term", "response"), state=True, finite=True),
        Symbol("M_finite", ("sample", "response"), state=True, finite=True, instead=("C", "U")),
        *ZEROS,
    ),
    further=(TABLE,),
    standard_errors=("sandwich",),
    bound=True,
    settings=(
        Setting(
            "Number of components [default: 5, or as many as a small table carries]. Several, such as 1:15 or 1,2,5, "
            "are a path of fits, of which --select chooses one.",
            MODEL,
            name="rank",
            kind=int,
            metavar="N|A:B|LIST",
            several=True,
            compared=True,
            check=positive,
            expects="a whole number from 1, or several, such as 1:15 or 1,2,5,10",
        ),
        STARTS,
        Setting(
            "Which fit of a path of ranks the results are of: that of the smallest criterion, the one that predicts "
            "hidden counts best (cv), or the last (none).",
            MODEL,
            name="select",
            default="icl",
            choices=("icl", "bic", "aic", "cv", "none"),
        ),
        ZERO_INFLATION,
        SIGMA,
        BLOCK_ROWS,
    ),
    sparse=sparse,
    memory=memory,
    work=work,
    shares=shares,
    words=replace(
        WORDS,
        title="Poisson log-normal PCA",
        story=story,
        meanings={code: WORDS.meanings[code] for code in ("expected-counts", "separation")},
    ),
)
