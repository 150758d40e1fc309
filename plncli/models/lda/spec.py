"""What discriminant analysis of counts declares."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from plncli.errors import UsageError
from plncli.models.neural import spec as neural
from plncli.models.pln.spec import PLN, STRUCTURES, WORDS
from plncli.models.spec import Setting, Spec, Symbol
from plncli.models.words import StoryFacts
from plncli.names import MODEL

COVARIANCES = ("full", "diagonal", "spherical")
PRIORS = ("proportional", "equal")
LOO = "loo"
SHARE = re.compile(r"\s*(.+?)\s*=\s*(\d+\.?\d*|\.\d+)\s*(?:,|$)", re.ASCII)
"""Of a prior: a group, whose name may hold commas and signs, and a number."""


def prior_of(text: str) -> dict[str, float]:
    """The probabilities of groups by name that `a=0.2,b=0.8` gives; nothing for one of PRIORS, or what is none."""
    found: dict[str, float] = {}
    place = 0
    while text not in PRIORS and place < len(text):
        part = SHARE.match(text, place)
        share = float(part[2]) if part else 0.0
        if part is None or not 0.0 < share < math.inf or part[1] in found:
            return {}
        found[part[1]], place = share, part.end()
    return found


def is_prior(text: Any) -> bool:
    """Whether it is a prior."""
    return text in PRIORS or bool(prior_of(text))


def is_folds(text: Any) -> bool:
    """Whether it is a number of folds."""
    return text == LOO or (text.isdecimal() and len(text) < 7 and int(text) != 1)


def check(own: Mapping[str, Any]) -> None:
    """UsageError without groups, and for structural zeros of groups that are fitted side by side."""
    if not own["groups"]:
        raise UsageError(
            "A pln-lda fit needs a column of groups that it tells apart: --groups COLUMN, of the covariates."
        )
    if own.get("quadratic") and own["zero_inflation"] != "none":
        raise UsageError(
            "--quadratic and --zero-inflation do not go together: zeros of a single group hardly tell structural ones "
            "from those of a variance of its own. Leave one of them out."
        )


def story(facts: StoryFacts) -> list[str]:
    """The model in words."""
    p, groups = len(facts.responses), facts.own["groups"]
    structure = STRUCTURES[facts.own["covariance"]].format(n=p * (p + 1) // 2)
    alike = "As in linear discriminant analysis (Fisher 1936), the covariance Σ is that of all groups"
    if facts.own.get("quadratic"):
        alike = (
            "As in quadratic discriminant analysis, each group has a covariance Σ of its own, and coefficients of "
            "covariates of its own; what is told of Σ as one is the mean of the groups' by their shares of the samples"
        )
    return [
        "Each count is Poisson with mean exp(offset + latent value): the latent values are unobserved log-abundances. "
        f"Those of a sample are jointly normal about the mean of its group, which `{groups}` names, and covariates may "
        f"shift them. {alike}; only what is normal is the latent layer, not the counts.",
        structure,
        "The likelihood of this model has no closed form: its lower bound, the ELBO, was maximised instead. The "
        "probability that a sample is of a group is taken as proportional to the group's prior times exp(ELBO of the "
        "sample, were it of that group).",
    ]


SHARED = {setting.name: setting for setting in PLN.settings}
LDA = Spec(
    name="pln-lda",
    title="Poisson log-normal discriminant analysis",
    help="""Poisson log-normal discriminant analysis: which group a sample's counts are of.

    The log-means of the counts are Gaussian about the mean of each group, with one covariance.""",
    response=PLN.response,
    model="plncli.models.lda.model:LDA",
    fitted="plncli.models.lda.fitted:FittedLDA",
    symbols=(
        *(replace(one, optional=one.name == "Omega" or one.optional) for one in neural.of_linear_mean(PLN.symbols)),
        Symbol("V_g", ("group", "response"), finite=True, optional=True, meaning="latent variances within the groups"),
        Symbol(
            "Sigma_g",
            ("group", "response", "response"),
            finite=True,
            optional=True,
            meaning="latent covariances within the groups",
        ),
        Symbol("D_g", ("group", "response"), state=True, finite=True, optional=True),
        Symbol("owner", ("term",), state=True, finite=True, optional=True),
        Symbol("covariate", ("term",), state=True, finite=True, optional=True),
        Symbol("X", ("sample", "term"), state=True, finite=True),
        Symbol("x_mean", ("term",), state=True, finite=True),
        Symbol("prior", ("term",), state=True, finite=True),
        Symbol("floor", ("term", "response"), state=True, finite=True),
        Symbol("held_out", ("sample", "term"), state=True, optional=True),
        Symbol("fold", ("sample",), state=True, finite=True, optional=True),
    ),
    further=(
        *(table for table in PLN.further if table != neural.TABLE),
        ("axes", "discriminant axes: coefficients of the latent values of features"),
        ("scores", "samples on the discriminant axes"),
        ("correlations", "of latent values of features with the axes, over all groups"),
        ("group_means", "latent means of the groups, at the mean of the covariates"),
        ("group_variances", "latent variances within the groups, where each has its own"),
        ("group_covariances", "latent covariances within the groups, where each has a full one of its own"),
        ("classification", "held-out samples: their group, the one predicted, and the probability of each"),
        ("confusion", "held-out samples by group and predicted group"),
    ),
    facts=(
        ("axes", "discriminant axes"),
        ("apparent_accuracy", "share of the samples of the fit that it assigns to their group; too high"),
        ("apparent_balanced_accuracy", "mean over groups of that share; too high"),
        ("accuracy", "share of the held-out samples that are assigned to their group"),
        ("balanced_accuracy", "mean over groups of the share of their held-out samples that are assigned to them"),
        ("log_loss", "mean of −log of the probability of the group of held-out samples, in nats"),
        ("held_out", "samples that were held out and classified"),
        ("surely", "how many of them were assigned with a probability above 0.95"),
        ("surely_right", "share of these that are assigned to their group; below 0.95, probabilities are too sure"),
    ),
    standard_errors=PLN.standard_errors,
    bound=True,
    alternating=True,
    settings=(
        Setting(
            "Groups that are told apart: a column of --covariates. It does not stand in --formula.",
            MODEL,
            name="groups",
            metavar="COLUMN",
            grouping="column",
        ),
        replace(
            SHARED["covariance"],
            choices=COVARIANCES,
            titles={name: SHARED["covariance"].titles[name] for name in COVARIANCES},
            within={"full": ("diagonal", "spherical"), "diagonal": ("spherical",)},
        ),
        Setting(
            "Probabilities of the groups before a sample is seen: their shares in the fit (proportional), equal ones, "
            "or such as a=0.2,b=0.8.",
            MODEL,
            name="prior",
            default="proportional",
            metavar="proportional|equal|LIST",
            check=is_prior,
            expects="proportional, equal, or a positive number for each group, such as a=0.2,b=0.8",
        ),
        Setting(
            "Folds in which samples are held out and classified by fits to the others, by which accuracy is judged; "
            "loo: each sample by itself; 0: none.",
            MODEL,
            name="folds",
            default="10",
            metavar="K|loo",
            check=is_folds,
            expects="a whole number from 2, loo, or 0",
        ),
        Setting(
            "Give each group a covariance of its own (quadratic discriminant analysis), and coefficients of covariates "
            "of its own: each is then a pln model by itself.",
            MODEL,
            name="quadratic",
            kind=bool,
            default=False,
            titles={"True": "one for each group"},
            within={"True": ("False",)},
            told=True,
            null=False,
            grouping="coefficients",
        ),
        SHARED["zero_inflation"],
        SHARED["sigma"],
    ),
    check=check,
    memory=PLN.memory,
    smaller=PLN.smaller,
    work=PLN.work,
    words=replace(WORDS, title="Poisson log-normal discriminant analysis", story=story),
)
