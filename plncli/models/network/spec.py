"""What the sparse network of a Poisson log-normal model declares."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from plncli.models.inflation.spec import TABLE, ZERO_INFLATION
from plncli.models.inflation.spec import TABLES as ZEROS
from plncli.models.pln.spec import WORDS, memory
from plncli.models.spec import COUNTS, SIGMA, B, Setting, Size, Spec, Symbol, Work
from plncli.models.words import StoryFacts
from plncli.names import MODEL

GAMMA = 0.5
"""Of the extended BIC: how much it prefers few edges (Foygel & Drton 2010)."""
PENALTIES = 30
"""Penalties of a path unless others are asked for."""


def work(size: Size) -> tuple[Work, Work]:
    """The least and the most of one fit of a path, each from the one before: as measured on the oaks."""
    del size
    return Work(4, 15), Work(40, 400)


def positive(penalty: Any) -> bool:
    """Whether it is a penalty, or a number of them."""
    return bool(0 <= penalty < float("inf"))


def several(number: Any) -> bool:
    """Whether it is a number of subsamples."""
    return bool(number >= 2)


def story(facts: StoryFacts) -> list[str]:
    """The model in words."""
    del facts
    return [
        "Each count is Poisson with mean exp(offset + latent value): the latent values are unobserved log-abundances. "
        "Those of a sample are jointly normal, with means that depend on the covariates. Two features are linked where "
        "their entry of Ω, the inverse of the covariance, is not 0: then they vary together beyond what the covariates "
        "and all other features explain.",
        "A penalty on the sum of the entries' sizes sets most of them to exactly 0; the larger it is, the fewer edges.",
        "The likelihood of this model has no closed form: its lower bound, the ELBO, was maximised instead, less the "
        "penalty.",
    ]


NETWORK = Spec(
    name="pln-network",
    title="Poisson log-normal network",
    help="""Poisson log-normal network: which counts go together, given all others.

    The log-means of the counts are Gaussian given covariates, with a sparse inverse covariance.""",
    response=COUNTS,
    model="plncli.models.network.model:Network",
    fitted="plncli.models.network.fitted:FittedNetwork",
    symbols=(
        B,
        Symbol(
            "Sigma",
            ("response", "response"),
            "sigma",
            finite=True,
            optional=True,
            meaning="covariance of the latent layer",
        ),
        Symbol(
            "Omega",
            ("response", "response"),
            "omega",
            start=True,
            meaning="its sparse inverse, empty for features without variance",
        ),
        Symbol("M", ("sample", "response"), "latent_mean", meaning="latent means"),
        Symbol("S", ("sample", "response"), "latent_sd", finite=True, meaning="their standard deviations"),
        Symbol("B_finite", ("term", "response"), state=True, finite=True),
        Symbol("M_finite", ("sample", "response"), state=True, finite=True),
        Symbol("poisson_features", ("responses",), state=True),
        Symbol("frequency", ("response", "response"), state=True, finite=True, optional=True),
        Symbol("frequency_values", ("value",), state=True, finite=True, optional=True),
        Symbol("frequency_first", ("responses",), state=True, optional=True),
        Symbol("frequency_second", ("responses",), state=True, optional=True),
        Symbol("frequencies", ("value", "pair"), state=True, finite=True, optional=True),
        *ZEROS,
    ),
    further=(
        TABLE,
        ("edges", "pairs of features whose entry of Omega is not 0, strongest first"),
        ("nodes", "features: how many edges, their entry of Omega and latent variance"),
    ),
    files=(
        ("omega.mtx", "what is not 0 of Omega, features in the order of nodes, in the Matrix Market format"),
        ("network.graphml", "edges and nodes for programs that draw networks, with what the counts say of features"),
    ),
    facts=(
        ("edges", "pairs of features whose entry of Omega is not 0"),
        ("density", "the same as a share of all pairs"),
        ("ebic", "extended BIC: BIC + 4 gamma edges log(features), gamma 0.5"),
        ("selection_gap", "nats left of the penalised ELBO by which edges were chosen"),
        ("selection_duality_gap", "nats left of its graphical lasso"),
        ("selection_violation", "by how much the penalty is exceeded where there is no edge, as a correlation"),
    ),
    standard_errors=("sandwich", "fisher"),
    bound=True,
    settings=(
        Setting(
            "Penalty of edges, on the scale of correlations. A whole number is how many, evenly from the least that "
            "leaves no edge to a tenth of it, as far as the criterion of --select falls; 0.5, or 0.2,0.5,1.0, or "
            "least:most:number are penalties themselves. Several are a path, of which --select chooses one.",
            MODEL,
            name="penalty",
            kind=float,
            default=PENALTIES,
            metavar="NUMBER|VALUES|A:B:N",
            several=True,
            compared=True,
            chooses=True,
            check=positive,
            expects="a whole number of penalties, penalties with a decimal point, or least:most:number",
        ),
        Setting(
            "Factors of the penalty, a table of features × features: 0 for pairs without a penalty, inf for pairs that "
            "are never linked.",
            MODEL,
            name="penalty_weights",
            metavar="FILE",
            path="file",
            matrix="weights",
        ),
        Setting(
            "Penalise the diagonal of Omega too, which shrinks latent variances.",
            MODEL,
            name="penalise_diagonal",
            kind=bool,
            default=False,
            titles={"True": "penalised diagonal"},
            told=True,
        ),
        Setting(
            "Fit the edges that the penalty leaves once more, without it: estimates are not shrunk, and criteria are "
            "those of such fits.",
            MODEL,
            name="refit",
            kind=bool,
            default=True,
            titles={"False": "edges not fitted again"},
            told=True,
        ),
        Setting(
            "Which fit of a path of penalties the results are of: that of the smallest criterion, the one with the "
            "most edges that is stable in subsamples (stars), the one that predicts hidden counts best (cv), or the "
            "last (none).",
            MODEL,
            name="select",
            default="ebic",
            choices=("ebic", "bic", "icl", "aic", "stars", "cv", "none"),
        ),
        Setting(
            "Subsamples in which edges are looked for again: how often each is found is its frequency [default: 20 "
            "with --select stars, else none].",
            MODEL,
            name="subsamples",
            kind=int,
            metavar="N",
            check=several,
            expects="a whole number from 2",
        ),
        ZERO_INFLATION,
        replace(
            SIGMA,
            help="Write Sigma and Omega, tables of features × features; omega.mtx holds all that is not 0 in Omega.",
            default=False,
        ),
    ),
    memory=memory,
    work=work,
    words=replace(
        WORDS,
        title="Poisson log-normal network",
        story=story,
        meanings={
            code: WORDS.meanings[code] for code in ("expected-counts", "separation", "no-extra-poisson-variance")
        },
    ),
)
