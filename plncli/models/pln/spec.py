"""What the Poisson log-normal model declares."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from plncli.errors import UsageError
from plncli.models.inflation import spec as inflation
from plncli.models.inflation.spec import TABLE, ZERO_INFLATION
from plncli.models.inflation.spec import TABLES as ZEROS
from plncli.models.neural import spec as neural
from plncli.models.spec import COUNTS, SIGMA, B, Setting, Size, Spec, Symbol, Work, writes_square
from plncli.models.words import StoryFacts, Words
from plncli.names import MODEL

COVARIANCES = ("full", "diagonal", "spherical", "fixed")
CORRELATED = ("full", "fixed")
"""Those in which features may be correlated."""
TABLES = {"newton-cg": 34, "vem": 104, "lbfgs": 250}
"""Tables of n×p numbers at the peak of a fit, by optimizer: measured, two for each latent cell and vector kept."""
OTHER_TABLES = 50
"""The same for optimizers that keep a few vectors beside those of the certificate."""
LBFGS = 200
"""The same, of the pairs of steps that L-BFGS keeps."""
WIDE = 2.5
"""Factor by which the work of fits differs from what is expected, either way."""
BLOCKS = 1 << 23
"""Numbers in the temporaries of a few blocks of rows, which do not grow with the table."""
STEP = 20 << 20
"""The same in the variational step that ends a fit."""
MOST = 10_000
"""Products beyond which nothing is foretold: three times as many as any of those fits took, and ten for each point."""
MOST_WORK = 2e12
"""Multiplications that the sandwich may take by default: about a minute on one core."""
MOST_NUMBERS = 2e8
"""Entries of the largest matrix that the sandwich may hold by default: (14 000 coefficients)², 1.6 GB."""
SUMMED = 30
"""Multiplications in products of matrices that take as long as adding a number to another in memory."""
ITERATIONS = 60
"""Of the sandwich's conjugate gradients, usually."""
OTHER_WORK = {"diagonal": (14.0, 24.0), "spherical": (7.0, 11.0), "fixed": (7.0, 11.0)}
"""Points and products of fits without zeros and without a full covariance: tables of any size take as many."""


SECONDS = 1e-7
"""Seconds that a fit with a full posterior takes on a core for each sample and cube of its features: as on the oaks."""
HELD = 1 << 26
"""Numbers in matrices p×p of all samples up to which two of each are kept between Hessian products."""


def has_full_posterior(own: Mapping[str, Any]) -> bool:
    """Whether q of a sample has a full covariance; where Sigma is diagonal, the best one is diagonal anyway."""
    return own.get("posterior") == "full" and own.get("covariance", "full") in CORRELATED


def seconds_of_full(n: int, p: int) -> float:
    """Seconds that a fit with a full posterior takes on one core."""
    return SECONDS * n * float(p) ** 3


def _memory_of_full(size: Size) -> float:
    """Numbers at the peak of a fit with a full posterior: counted in the code, not measured."""
    n, p, d = size.n, size.p, size.d
    matrices = float(n * p * p)
    held = 2.0 * matrices if matrices <= HELD else 0.0
    sums = 3.0 * (p * (d + 1)) ** 2 if has_sandwich(size) else 0.0
    return 30.0 * n * p + held + 8.0 * min(BLOCKS / 2, matrices) + 4.0 * p * (p + d) ** 2 + 20.0 * p * p + sums


def wide(n: int, p: int) -> bool:
    """Whether a full covariance costs less in matrices of samples: their Hessian products take 5n²p, or 3np²."""
    return 5 * n < 3 * p


class Sandwich(NamedTuple):
    """What the sandwich takes: multiplications, and numbers in its largest tables; iterated: nothing p·d×p·d is."""

    work: float
    numbers: float
    iterated: bool = False

    @property
    def bearable(self) -> bool:
        """Whether it is done where nobody asks for it."""
        return self.work <= MOST_WORK and self.numbers <= MOST_NUMBERS


def sandwich(n: int, q: int, d: int, *, factored: bool) -> Sandwich:
    """That of q correlated features of n samples, d parameters each; factored: whether Sigma has n rows of factors.

    Inverses, sums of them, the solve, and the influences; with factors the inverses cost n rows instead of q, and all
    can be solved by iterations.
    """
    size = float(q * d)
    inverses = float(n) * q * q * (n + SUMMED * (d * d / 2 + d + 2) if factored else q)
    whole = Sandwich(inverses + size**3 + n * size**2, size**2)
    if not factored:
        return whole
    by_iterations = Sandwich(ITERATIONS * float(n) ** 2 * q * (2 * n + SUMMED * d), 5.0 * n * q * (d + 1), True)
    return by_iterations if by_iterations.work < whole.work or whole.numbers > MOST_NUMBERS else whole


def has_sandwich(size: Size) -> bool:
    """Whether standard errors of correlated features follow."""
    if size.own.get("covariance", "full") not in CORRELATED or size.se not in ("auto", "sandwich"):
        return False
    return size.se == "sandwich" or _sandwich(size).bearable


def _sandwich(size: Size) -> Sandwich:
    alone = size.own.get("covariance", "full") == "full" and size.own.get("zero_inflation", "none") == "none"
    factored = alone and wide(size.n, size.p)
    return sandwich(size.n, size.p, size.d, factored=factored)


def shares(own: Mapping[str, Any]) -> str:
    """What keeps samples from being shared among processes."""
    of_posterior = "a full posterior" if has_full_posterior(own) else ""
    return neural.shares(own) or of_posterior or inflation.shares(own)


def memory(size: Size) -> float:
    """Numbers at the peak of a fit, its data not counted. Measured multiples of n×p, p×p and p×d×d.

    34 n×p with newton-cg, and 12 p×p for a full covariance; where features are many more than samples, 3 n×n×n in their
    place, and 6 p×p where Sigma is written. The sandwich comes when the fit has let go of most: 12 n×p and 6 p×p stay,
    and it takes 3 (pd)×(pd), (d²/2 + 2d + 2) p×p, and two blocks of at most 64 MB; by iterations 6 n×p×(d + 1).
    """
    if has_full_posterior(size.own):
        return _memory_of_full(size)
    if neural.has_network(size.own):
        return OTHER_TABLES * size.n * size.p + 12.0 * size.p**2 + LBFGS * size.n * size.p + neural.memory(size)
    n, p, d = size.n, size.p, size.d
    cells = TABLES.get(size.optimizer, OTHER_TABLES) * n * p
    covariance = size.own.get("covariance", "full")
    square = float((12 if covariance in CORRELATED else 2) * p * p)
    if covariance == "full" and wide(n, p):
        square = 3.0 * n**3 + 6.0 * p * p * writes_square(size.own.get(SIGMA.name), p)
    numbers = cells + square + 6 * p * d * d + 8 * n * d + min(BLOCKS, 20 * n * max(p, d)) + min(STEP, 20 * n * p)
    if has_sandwich(size) and _sandwich(size).iterated:
        numbers = max(numbers, 12 * n * p + n**3 + 6 * n * p * (d + 1))
    elif has_sandwich(size):
        sums = (d * d // 2 + 2 * d + 8) * p * p + 3 * (p * d) ** 2
        numbers = max(numbers, 12 * n * p + sums + 2 * min(BLOCKS, n * p * p))
    return float(numbers)


def smaller(size: Size) -> Iterator[tuple[str, Size]]:
    """Changes that may make a fit smaller."""
    if has_full_posterior(size.own):
        yield "--posterior diagonal", replace(size, own={**size.own, "posterior": "diagonal"})
        return
    if size.optimizer != "newton-cg":
        yield "--optimizer newton-cg", replace(size, optimizer="newton-cg")
    if (
        size.own.get("covariance") == "full"
        and wide(size.n, size.p)
        and writes_square(size.own.get(SIGMA.name), size.p)
    ):
        yield "--no-sigma", replace(size, own={**size.own, SIGMA.name: False})
    if size.own.get("covariance") == "full":
        yield "--covariance diagonal", replace(size, own={**size.own, "covariance": "diagonal"})
    if has_sandwich(size):
        yield "--se none", replace(size, se="none")


def work(size: Size) -> tuple[Work, Work]:
    """The least and the most that fits of such counts usually take; `benchmarks.foretold` holds it against fits.

    With a full covariance it grows with the zeros, with the features, and above all with how many more of these there
    are than samples, the more so where features are on and off: regressions on 199 simulated tables (n of 40 to 1500,
    p of 10 to 600, 5 to 95 % zeros), whose residuals have a standard deviation of 0.5 in the logs of both.
    """
    if has_full_posterior(size.own):
        return Work(20, 40), Work(120, 500)
    covariance = size.own.get("covariance", "full")
    if covariance == "full":
        over = max(size.p / size.n, 1.0)
        points = 3.4 * size.p**0.07 * over ** (0.24 + 0.47 * size.on_off) * math.exp(2.4 * size.zeros)
        products = 6.8 * size.p**0.28 * over ** (0.42 + 0.79 * size.on_off) * math.exp(1.7 * size.zeros)
        points, products = min(points, MOST / 10), min(products, MOST)
    else:
        points, products = (many * math.exp(0.7 * size.zeros) for many in OTHER_WORK[covariance])
    return Work(points / WIDE, products / WIDE), Work(points * WIDE, products * WIDE)


def check(own: Mapping[str, Any]) -> None:
    """UsageError for a fixed covariance without its precision, or a precision without it; or zeros that are unknown."""
    neural.check(own)
    if has_full_posterior(own) and own.get("zero_inflation", "none") != "none":
        raise UsageError(
            "--posterior full knows no structural zeros where features are correlated: leave out --zero-inflation, or "
            "use --posterior diagonal; or pln-pca, of as many components as features, which is the same model."
        )
    if own["covariance"] == "fixed" and not own["precision"]:
        raise UsageError("--covariance fixed needs the precision matrix: --precision FILE.")
    if own["precision"] and own["covariance"] != "fixed":
        raise UsageError(f"--precision goes with --covariance fixed, but --covariance is {own['covariance']}.")


STRUCTURES = {
    "full": "Σ is full: any two features may be correlated; it has {n} variances and covariances.",
    "diagonal": "Σ is diagonal: each feature has a variance of its own, and features are independent given covariates.",
    "spherical": "Σ is spherical: all features share one variance and are independent given the covariates.",
    "fixed": "Σ was given and held fixed, not estimated.",
}


def story(facts: StoryFacts) -> list[str]:
    """The model in words."""
    p = len(facts.responses)
    learnt = neural.has_network(facts.own)
    return [
        "Each count is Poisson with mean exp(offset + latent value): the latent values are unobserved log-abundances. "
        "Those of a sample are jointly normal, with means that depend on the covariates and a covariance Σ that says "
        "how features vary, and covary, beyond that.",
        *(neural.story(facts) if learnt else []),
        STRUCTURES[facts.own["covariance"]].format(n=p * (p + 1) // 2),
        "The likelihood of this model has no closed form: its lower bound, the ELBO, was maximised instead.",
    ]


WORDS = Words(
    title="Poisson log-normal model",
    story=story,
    scale="log counts",
    effect="times",
    ratio="ratio of expected counts",
    apart="{far} times as much as in",
    covariance="latent",
    covariance_title="Latent structure",
    score=(
        "elbo: bound of the log-likelihood of a held-out sample, in nats, with the parameters of the others; "
        "deviance, r2: of its counts against the medians of their rates, given its covariates alone; of means: against "
        "expected counts"
    ),
    no_offset="There is no offset: differences in sequencing depth, or effort, count as differences in abundance.",
    meanings={
        "expected-counts": (
            "Where a feature is on in some samples and off in others, its latent variance becomes very large, and the "
            "mean of exp(latent value) has little to do with any count. The fit itself, its coefficients and its "
            "fitted counts are not affected: only what is expected, or drawn, from covariates alone."
        ),
        "separation": (
            "A feature that is never counted in a whole group has no finite coefficient there: the likelihood "
            "increases as the coefficient falls, without a maximum. It is shown as −∞ (or, of a group compared with "
            "it, ∞), which means “not a single count”, not “a very strong effect that was measured”. Nothing else is "
            "affected."
        ),
        "no-extra-poisson-variance": (
            "Given the covariates, their counts are not overdispersed relative to the Poisson distribution, so their "
            "latent variance is 0 and they have no correlations."
        ),
        "singular-covariance": (
            "The latent values vary in fewer directions than there are features: some combinations of features do not "
            "vary beyond Poisson variation, given the others. Σ is estimated well, but its inverse does not exist, nor "
            "do the partial correlations that rest on it."
        ),
    },
)

PLN = Spec(
    name="pln",
    title="Poisson log-normal",
    help="""Poisson log-normal: correlated counts.

    The log-means of the counts are jointly Gaussian given covariates.""",
    response=COUNTS,
    model="plncli.models.pln.model:PLN",
    fitted="plncli.models.pln.finished.fitted:FittedPLN",
    symbols=(
        replace(B, instead=(neural.NETWORK,)),
        Symbol(
            "Sigma",
            ("response", "response"),
            "sigma",
            finite=True,
            instead=("D", "V"),
            meaning="covariance of the latent layer",
        ),
        Symbol(
            "Omega",
            ("response", "response"),
            "omega",
            instead=("D", "V"),
            meaning="its inverse, empty for features without variance",
        ),
        Symbol("M", ("sample", "response"), "latent_mean", meaning="latent means"),
        Symbol("S", ("sample", "response"), "latent_sd", finite=True, meaning="their standard deviations"),
        Symbol("B_finite", ("term", "response"), state=True, finite=True, instead=(neural.NETWORK,)),
        Symbol("M_finite", ("sample", "response"), state=True, finite=True),
        Symbol("poisson_features", ("responses",), state=True),
        Symbol("A", ("sample", "response"), state=True, finite=True, optional=True),
        Symbol("D", ("response",), state=True, finite=True, optional=True),
        Symbol("V", ("sample", "response"), state=True, finite=True, optional=True),
        *ZEROS,
        *neural.SYMBOLS,
    ),
    further=(TABLE, neural.TABLE),
    facts=neural.FACTS,
    standard_errors=("sandwich", "fisher"),
    bound=True,
    alternating=True,
    settings=(
        Setting(
            "Covariance of the latent layer.",
            MODEL,
            name="covariance",
            default="full",
            choices=COVARIANCES,
            titles={
                "full": "full covariance",
                "diagonal": "diagonal covariance (features independent)",
                "spherical": "spherical covariance (one variance)",
                "fixed": "fixed covariance",
            },
            compared=True,
            within={"full": ("diagonal", "spherical", "fixed"), "diagonal": ("spherical",)},
            null="diagonal",
        ),
        Setting(
            "Precision matrix of the latent layer, for --covariance fixed.",
            MODEL,
            name="precision",
            metavar="FILE",
            path="file",
            matrix="precision",
        ),
        Setting(
            "Covariance of the latent values of a sample given its counts, as the bound of the likelihood takes them: "
            "full is tighter, and takes longer, by the cube of the features.",
            MODEL,
            name="posterior",
            default="diagonal",
            choices=("diagonal", "full"),
            titles={"diagonal": "diagonal posterior", "full": "full posterior"},
            compared=True,
            told=True,
            null="diagonal",
        ),
        ZERO_INFLATION,
        *neural.SETTINGS,
        SIGMA,
    ),
    check=check,
    optimizers=neural.optimizers,
    shares=shares,
    memory=memory,
    smaller=smaller,
    work=work,
    words=WORDS,
)
