"""What mixtures of Poisson log-normal models declare."""

from __future__ import annotations

from dataclasses import replace

from plncli.models.pca.spec import STARTS, positive
from plncli.models.pln.spec import WORDS
from plncli.models.spec import COUNTS, SIGMA, B, Setting, Size, Spec, Symbol, Work
from plncli.models.words import StoryFacts
from plncli.names import MODEL

COVARIANCES = ("full", "diagonal", "spherical")
TABLES = 30
"""Tables of n×p numbers for each cluster at the peak of a fit: counted in the code, not measured."""


def memory(size: Size) -> float:
    """Numbers at the peak of a fit, its data not counted."""
    n, p, K = size.n, size.p, size.own.get("clusters") or 1
    square = 6.0 * K * p * p if size.own.get("covariance") == "full" else p * p
    return TABLES * K * n * p + square


def work(size: Size) -> tuple[Work, Work]:
    """The least and the most of a search from a few starts: as measured on the oaks."""
    K = float(size.own.get("clusters") or 1)
    return Work(30 * K, 30 * K), Work(400 * K, 2000 * K)


def story(facts: StoryFacts) -> list[str]:
    """The model in words."""
    alike = "one covariance" if facts.own.get("shared") else "a covariance of its own"
    return [
        "Each sample belongs to one of several clusters, which is not observed. Each count is Poisson with mean "
        "exp(offset + latent value), and the latent values of the samples of a cluster are normal: each cluster has a "
        f"mean of its own and {alike}; covariates shift all clusters alike.",
        "The likelihood of this model has no closed form: its lower bound, the ELBO, was maximised instead. A sample's "
        "posterior probabilities say how surely it belongs to each cluster.",
    ]


MIXTURE = Spec(
    name="pln-mixture",
    title="Poisson log-normal mixture",
    help="""Mixture of Poisson log-normal models: clusters of samples by their counts.

    The log-means of the counts are Gaussian given covariates and the cluster, which is estimated too.""",
    response=COUNTS,
    model="plncli.models.mixture.model:Mixture",
    fitted="plncli.models.mixture.fitted:FittedMixture",
    symbols=(
        B,
        Symbol("pi", ("cluster",), finite=True, meaning="proportions of the clusters"),
        Symbol("tau", ("sample", "cluster"), finite=True, meaning="posterior probabilities of the clusters"),
        Symbol(
            "mu",
            ("cluster", "response"),
            "cluster_means",
            meaning="latent means of the clusters, at the mean of the covariates",
        ),
        Symbol(
            "V",
            ("cluster", "response"),
            "cluster_variances",
            finite=True,
            meaning="latent variances within the clusters",
        ),
        Symbol(
            "Sigma_k",
            ("cluster", "response", "response"),
            finite=True,
            optional=True,
            meaning="latent covariances within the clusters",
        ),
        Symbol(
            "Sigma",
            ("response", "response"),
            "sigma",
            finite=True,
            optional=True,
            meaning="covariance of the latent layer, within and between clusters",
        ),
        Symbol("M", ("sample", "response"), "latent_mean", asked=True, meaning="latent means"),
        Symbol("S", ("sample", "response"), "latent_sd", finite=True, asked=True, meaning="their standard deviations"),
        Symbol("B_finite", ("term", "response"), state=True, finite=True),
        Symbol("M_finite", ("sample", "response"), state=True, finite=True),
        Symbol("mu_finite", ("cluster", "response"), state=True, finite=True),
        Symbol("floor", ("cluster", "response"), state=True, finite=True),
        Symbol("one", ("term",), state=True, finite=True),
    ),
    further=(
        ("memberships", "samples: their cluster, how probable it is, and the probability of each"),
        ("clusters", "clusters: their proportion, samples, and how surely these belong there"),
        ("cluster_covariances", "latent covariances within the clusters, where they are full"),
    ),
    facts=(
        ("classification_entropy", "of the clusters given the counts, nats; 0 where it is sure which a sample is of"),
        ("smallest_cluster", "samples of the smallest cluster, by their probabilities"),
    ),
    bound=True,
    settings=(
        Setting(
            "Number of clusters. Several, such as 1:6 or 2,3,5, are a path of fits, of which --select chooses one.",
            MODEL,
            name="clusters",
            kind=int,
            default=2,
            metavar="N|A:B|LIST",
            several=True,
            compared=True,
            check=positive,
            expects="a whole number from 1, or several, such as 1:6 or 2,3,5",
        ),
        Setting(
            "Covariance of the latent layer within a cluster. A full one has as many parameters in each cluster as "
            "pairs of features.",
            MODEL,
            name="covariance",
            default="diagonal",
            choices=COVARIANCES,
            titles={
                "full": "full covariance",
                "diagonal": "diagonal covariance (features independent)",
                "spherical": "spherical covariance (one variance)",
            },
            compared=True,
            within={"full": ("diagonal", "spherical"), "diagonal": ("spherical",)},
        ),
        Setting(
            "One covariance for all clusters.",
            MODEL,
            name="shared",
            kind=bool,
            default=False,
            titles={"True": "one for all clusters"},
            told=True,
        ),
        STARTS,
        Setting(
            "Which fit of a path of clusters the results are of: that of the smallest criterion, the one that predicts "
            "hidden counts best (cv), or the last (none). ICL is BIC plus twice the entropy of the clusters.",
            MODEL,
            name="select",
            default="icl",
            choices=("icl", "bic", "aic", "cv", "none"),
        ),
        replace(
            SIGMA,
            help="Write Sigma, a table of features × features: the covariance within and between clusters.",
            default=False,
        ),
    ),
    memory=memory,
    work=work,
    words=replace(
        WORDS,
        title="Poisson log-normal mixture",
        story=story,
        meanings={code: WORDS.meanings[code] for code in ("separation",)},
    ),
)
