"""What a finished fit may be able to answer, and its answers: abilities are asked by isinstance, whatever the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

from torch import Generator, Tensor

from plncli.dataset import Dataset
from plncli.models.links import PairFrequencies


@dataclass(frozen=True)
class Prediction:
    """Columns by name, a row a sample and a column each of `responses`, nan where empty.

    reasons: what must be said of cells, and of which; n×p, p all responses of the fit.
    """

    responses: tuple[str, ...]
    columns: dict[str, Tensor] = field(repr=False)
    reasons: dict[str, Tensor] = field(repr=False, default_factory=dict)


@dataclass(frozen=True)
class LatentValues:
    """Latent values of n samples: mean and sd of q (n×p), and what covariates leave of the mean: M − XB.

    The mean is −inf where the expected count is exactly 0. Such cells, those not estimable and missing ones count as
    unobserved: the residual there is what the other features say.
    """

    mean: Tensor = field(repr=False)
    sd: Tensor = field(repr=False)
    residual: Tensor = field(repr=False)
    reasons: dict[str, Tensor] = field(repr=False, default_factory=dict)


class Simulated(NamedTuple):
    """A table Y (n×p) and what it was drawn from, `latent` (n×p): Z of the latent layer, or the linear predictor."""

    Y: Tensor
    latent: Tensor


class Score(NamedTuple):
    """Log-likelihood in nats: of samples, or a bound of it, (n,); or of cells, n×p. Deviance: n×p. 0 if not scored.

    deviance: against means, of counts against the medians of their rates; of_means: the same against their expected
    values, None where that is no other. converged: whether q of every sample is where the bound is highest; elsewhere
    it is a bound too, but a lower one.
    """

    loglik: Tensor
    deviance: Tensor
    converged: bool = True
    of_means: Tensor | None = None


@dataclass(frozen=True)
class Diagnosis:
    """How good the bound of a fit is, and how well its model holds.

    facts: for the summary; residuals: n×p, nan where a cell does not count; tables: columns (tensors or lists) by name,
    by name of the table, a row a sample in `samples` and a row a response in `features` or `responses`.
    """

    facts: dict[str, Any]
    tables: dict[str, dict[str, Any]] = field(repr=False)
    residuals: Tensor = field(repr=False)


@runtime_checkable
class Predicting(Protocol):
    """Expected values of samples of which the covariates are known."""

    def predict(self, X: Tensor, O: Tensor, intervals: Sequence[str], level: float) -> Prediction:
        """Expected values, with intervals of `INTERVALS` at that level."""
        ...


@runtime_checkable
class Reproducing(Protocol):
    """Expected values of samples whose responses are known."""

    def fitted_values(self, X: Tensor, O: Tensor, Y: Tensor, K: Tensor) -> Prediction:
        """`fitted`, and what it was computed from."""
        ...


@runtime_checkable
class Conditioning(Protocol):
    """Expected values of some responses, given others of the same sample."""

    def conditional(
        self, X: Tensor, O: Tensor, Y: Tensor, observed: Tensor, K: Tensor, intervals: Sequence[str], level: float
    ) -> Prediction:
        """`conditional`, of the responses that are not `observed` (o,) by index; Y and K n×o."""
        ...


@runtime_checkable
class Transforming(Protocol):
    """Latent values of samples from their responses."""

    def transform(self, X: Tensor, O: Tensor, Y: Tensor, K: Tensor) -> LatentValues:
        """Latent values, each sample by itself."""
        ...


@runtime_checkable
class Simulating(Protocol):
    """Tables drawn from the model with the estimates as parameters."""

    def simulate(self, X: Tensor, O: Tensor, generator: Generator) -> Simulated:
        """A row for each sample of X; the same generator draws the same table, bit for bit."""
        ...


@runtime_checkable
class Scoring(Protocol):
    """Log-likelihoods of samples that the fit has not seen."""

    def score_samples(self, X: Tensor, O: Tensor, Y: Tensor, scored: Tensor) -> Score:
        """The score of samples; scored: n×p booleans, cells that count.

        Deviances are of predictions for which nothing but covariates and offset is known.
        """
        ...


@runtime_checkable
class ScoringCells(Protocol):
    """Log-likelihoods of cells that were hidden from the fit, given the others of their samples."""

    def score_cells(self, data: Dataset, Y: Tensor, scored: Tensor) -> Score:
        """The score of cells (n×p booleans) of the fit's own `data` that its mask hid; Y holds what they are."""
        ...


@runtime_checkable
class Diagnosable(Protocol):
    """How well the model holds for the data that it was fitted to."""

    def diagnose(self, data: Dataset, draws: int, generator: Generator) -> Diagnosis:
        """Diagnose with the data of the fit; draws: of each sample, where a likelihood is estimated; 0: without it."""
        ...


@runtime_checkable
class Tabulating(Protocol):
    """Tables of a fit beside those of its symbols (`Spec.further`)."""

    def further_tables(self, samples: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Columns by name, tensors or lists of texts, by the name of the table; those that this fit has."""
        ...


@runtime_checkable
class Classifying(Protocol):
    """Classes of samples, from the values that are predicted in the column `classified`."""

    classified: ClassVar[str]

    def classify(self, prediction: Prediction) -> Tensor:
        """The more probable class of each cell that was predicted, n×p: 0 or 1."""
        ...


class CountCells(Protocol):
    """Counts Y (n×p), K True where a cell counts, mean of the log counts without variance, and Sigma (p×p)."""

    @property
    def Y(self) -> Tensor:
        """Counts."""
        ...

    @property
    def K(self) -> Tensor:
        """True where a cell counts."""
        ...

    @property
    def mean(self) -> Tensor:
        """Linear predictor with the offset, finite."""
        ...

    @property
    def variances(self) -> Tensor:
        """Of the latent layer, (p,), or n×p where it is that of a sample's group."""
        ...


class LatentCells(NamedTuple):
    """Counts Y (n×p), K True where a cell counts, mean (n×p) and variances (p,) or n×p of the log rates."""

    Y: Tensor
    K: Tensor
    mean: Tensor
    variances: Tensor


@runtime_checkable
class Counting(Protocol):
    """A distribution of counts for each cell, given its covariates."""

    def cells(self, data: Dataset) -> CountCells:
        """The counts of the fit and their linear predictors."""
        ...

    def count_residuals(self, data: Dataset, generator: Generator) -> Tensor:
        """Randomised quantile residuals n×p, nan where a cell does not count."""
        ...

    def expected_zeros(self, data: Dataset) -> Zeros:
        """Zeros of each feature, and how many the model expects."""
        ...


@runtime_checkable
class MeanResiduals(Protocol):
    """What covariates and offset leave of each sample as a whole."""

    def mean_residuals(self, data: Dataset) -> Tensor:
        """By sample of the fit, (n,): the mean of its standardised latent residuals over features; nan for none."""
        ...


class Zeros(NamedTuple):
    """By feature, (p,) each: zeros counted, expected, and the standard deviation of their number.

    sampling: expected of those that are not structural; None where none are.
    """

    counted: Tensor
    expected: Tensor
    sd: Tensor
    sampling: Tensor | None = None


@runtime_checkable
class Linked(Protocol):
    """Which responses go together given all others: a network."""

    @property
    def partial_correlations(self) -> Tensor:
        """p×p, 1 on the diagonal, 0 where two responses are not linked."""
        ...

    @property
    def edges(self) -> tuple[Tensor, Tensor]:
        """Pairs of linked responses by index, j < k, the strongest first, (m,) each."""
        ...


@runtime_checkable
class Subsampled(Protocol):
    """Which links are found again in subsamples."""

    @property
    def pair_frequencies(self) -> PairFrequencies | None:
        """How often; None where there were no subsamples."""
        ...


@dataclass(frozen=True)
class Discriminated:
    """Which of G groups n samples are of.

    log_posterior: natural logarithm of the probability of each group, n×G, nan for samples of which no group is told;
    elbo: bound of the log-likelihood of each sample whatever its group, (n,), in nats. reasons: what must be said of
    cells, n×p each.
    """

    groups: tuple[str, ...]
    log_posterior: Tensor = field(repr=False)
    elbo: Tensor = field(repr=False)
    reasons: dict[str, Tensor] = field(repr=False, default_factory=dict)


@dataclass(frozen=True)
class DiscriminantAxes:
    """Axes along which groups differ: of the latent values of p features.

    V: their weights on r axes, p×r; between: variances between groups, (r,), those within being 1; mean: of the groups'
    means, (p,); means: of the groups, G×p; correlations: over all groups, of latent values with scores, p×r, nan where
    features have no variance.
    """

    V: Tensor = field(repr=False)
    between: Tensor
    mean: Tensor = field(repr=False)
    means: Tensor = field(repr=False)
    correlations: Tensor = field(repr=False)

    def scores(self, Z: Tensor) -> Tensor:
        """Of latent values (m×p), with the mean of all groups at 0; m×r."""
        return (Z - self.mean) @ self.V

    @property
    def names(self) -> tuple[str, ...]:
        """`LD1` and so on."""
        return tuple(f"LD{k + 1}" for k in range(len(self.between)))


@runtime_checkable
class Clustering(Protocol):
    """K clusters of samples that were found, the largest first."""

    @property
    def groups(self) -> tuple[str, ...]:
        """Their names."""
        ...

    @property
    def tau(self) -> Tensor:
        """Posterior probabilities of the samples of the fit, n×K."""
        ...

    @property
    def log_pi(self) -> Tensor:
        """Logarithms of the proportions, (K,)."""
        ...

    @property
    def contrasts(self) -> Tensor:
        """Latent means of the clusters less their mean, K×p; −inf of features that a cluster never shows."""
        ...

    @property
    def within(self) -> Tensor:
        """Latent variances within the clusters, K×p."""
        ...


@runtime_checkable
class Discriminating(Protocol):
    """Groups of samples: those of the samples of the fit, and the probabilities that other samples are of them."""

    @property
    def groups(self) -> tuple[str, ...]:
        """Their G names."""
        ...

    @property
    def group_of(self) -> Tensor:
        """The group of each sample of the fit, (n,), by index."""
        ...

    @property
    def held_out(self) -> Tensor | None:
        """Probabilities of the groups of each sample of the fit, by fits without it, n×G; None if there are none."""
        ...

    def discriminate(self, X: Tensor, O: Tensor, Y: Tensor, K: Tensor) -> Discriminated:
        """Probabilities of samples with counts Y (n×p; K: True where observed), whatever group X (n×d) has them in."""
        ...


@runtime_checkable
class Separating(Protocol):
    """Groups of samples that one metric tells apart, along axes."""

    @property
    def groups(self) -> tuple[str, ...]:
        """Their G names."""
        ...

    @property
    def group_of(self) -> Tensor:
        """The group of each sample of the fit, (n,), by index."""
        ...

    @property
    def prior(self) -> Tensor:
        """Probabilities of the groups before a sample is seen, (G,)."""
        ...

    @property
    def axes(self) -> DiscriminantAxes:
        """The axes."""
        ...

    @property
    def scores(self) -> Tensor:
        """Samples of the fit on the axes, n×r."""
        ...
