"""What a finished fit says of new samples: expected values, how sure they are, and latent values.

With eta = o + B'x the linear predictor of a cell, a Poisson log-normal model expects three different counts:

marginal     exp(eta + Sigma_jj/2): of a sample of which only the covariates are known
fitted       exp(o + m + s²/2): of a sample whose counts are all known, m and s² being q's (the variational step)
conditional  exp(o + mu + v/2): of the other features of a sample, some features of which are known

For the last, q of the known features o comes from their own (marginal) model, and is carried to the others c by the
Gaussian law, with G = Sigma_co Sigma_oo^-1:

    mu = B_c'x + G (m_o − B_o'x),    v = diag(Sigma_cc − G Sigma_oc) + diag(G diag(s_o²) G')

Logistic models expect probabilities 1/(1 + exp(−eta)), linear ones means eta.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from plncli.errors import DataError, some
from plncli.inference.wald import quantile, tensors_of
from plncli.models.pln.variational_step import variational_step
from plncli.models.uncertainty import blocks
from plncli.numerics.distributions import poisson_lognormal_quantile
from plncli.numerics.linalg import cholesky_scaled
from plncli.numerics.separation import Courses
from plncli.results import FitResult

INTERVALS = ("confidence", "prediction")

OPEN = "empty, for the fit leaves their linear predictor open"
INFINITE = "infinite, for the fit expects ever more there"
IMPOSSIBLE = "with a count where the fit expects exactly 0, taken as unobserved and left empty"
NO_ERROR = "without an interval, for a coefficient without standard error"
NO_SPREAD = "without an interval, for their expected count is exactly 0"
NOT_FOUND = "empty, for the variational step of their sample did not converge"


@dataclass(frozen=True)
class Parameters:
    """What prediction asks of a finished fit, in float64: d coefficients for each of p responses.

    B: d×p, finite throughout, for `courses` tells where linear predictors are not (None: nowhere). Sigma: p×p of the
    latent layer, or of residuals (linear: unbiased); Omega: its inverse, nan for features without variance; both None
    where the model has neither. blocks: p×d×d, the covariance of each response's coefficients, None without standard
    errors; df: degrees of freedom of their t statistics.
    """

    model: str
    terms: tuple[str, ...]
    responses: tuple[str, ...]
    B: Tensor = field(repr=False)
    Sigma: Tensor | None = field(repr=False, default=None)
    Omega: Tensor | None = field(repr=False, default=None)
    courses: Courses | None = field(repr=False, default=None)
    blocks: Tensor | None = field(repr=False, default=None)
    df: float = math.inf

    @classmethod
    def of(cls, fit: FitResult) -> Parameters:
        """Those of a fit in memory."""
        inference = {} if fit.inference is None else tensors_of(fit.inference)
        data = fit.data
        return cls.from_tensors(fit.model.name, data.terms, data.responses, fit.estimates, fit.state, inference)

    @classmethod
    def from_tensors(
        cls,
        model: str,
        terms: Sequence[str],
        responses: Sequence[str],
        estimates: Mapping[str, Any],
        state: Mapping[str, Any],
        inference: Mapping[str, Any],
    ) -> Parameters:
        """Those that a fit, or its file, holds by symbol, as tensors or arrays."""

        def tensor(group: Mapping[str, Any], name: str) -> Tensor | None:
            return torch.as_tensor(group[name]).detach().cpu().double() if name in group else None

        B = tensor(state, "B_finite") if "B_finite" in state else tensor(estimates, "B")
        assert B is not None
        courses = Courses.from_tensors(
            {name: torch.as_tensor(state[name]).cpu() for name in state if "courses" in name}
        )
        if courses is None and not bool(torch.isfinite(torch.as_tensor(estimates["B"])).all()):
            raise DataError("The fit has coefficients of inf, and is of an earlier version; fit again with this one.")
        Sigma = tensor(state, "Sigma_unbiased") if model == "linear" else tensor(estimates, "Sigma")
        df = float(inference["df"]) if "df" in inference else math.inf
        return cls(
            model,
            tuple(terms),
            tuple(responses),
            B,
            Sigma,
            tensor(estimates, "Omega"),
            courses,
            tensor(inference, "blocks"),
            df,
        )

    def course(self, X: Tensor) -> Tensor:
        """Where linear predictors of samples X (n×d) go, n×p: 0 a finite value, ±1 to ±inf, nan open."""
        if self.courses is None:
            return X.new_zeros((len(X), self.B.shape[1]))
        return self.courses.of_samples(X)

    def variance(self, X: Tensor) -> Tensor:
        """x'V_j x of samples X (n×d), n×p: of the linear predictor, by its coefficients; nan where one has none."""
        assert self.blocks is not None
        unknown = self.blocks.diagonal(dim1=1, dim2=2).isnan()
        V = self.blocks.nan_to_num(nan=0.0)
        out = X.new_empty((len(X), len(V)))
        for rows in blocks(len(X), V.shape[0] * V.shape[1]):
            out[rows] = torch.einsum("ik,jkl,il->ij", X[rows], V, X[rows]).clamp_min(0.0)
        return out.masked_fill((X != 0).to(X) @ unknown.mT.to(X) > 0, math.nan)


@dataclass(frozen=True)
class Prediction:
    """Columns by name, a row a sample and a column each of `responses`, nan where empty.

    reasons: what must be said of cells, and of which; n×p, p all responses of the fit.
    """

    responses: tuple[str, ...]
    columns: dict[str, Tensor] = field(repr=False)
    reasons: dict[str, Tensor] = field(repr=False, default_factory=dict)


@dataclass(frozen=True)
class Latent:
    """Latent values of n samples: mean and sd of q (n×p), and what covariates leave of the mean: M − XB.

    The mean is −inf where the expected count is exactly 0. Such cells, open ones and missing ones count as unobserved:
    the residual there is what the other features say.
    """

    mean: Tensor = field(repr=False)
    sd: Tensor = field(repr=False)
    residual: Tensor = field(repr=False)
    reasons: dict[str, Tensor] = field(repr=False, default_factory=dict)


def predict(
    fit: FitResult | Parameters,
    X: Tensor,
    O: Tensor | None = None,
    *,
    Y: Tensor | None = None,
    K: Tensor | None = None,
    observed: Tensor | None = None,
    intervals: Sequence[str] = (),
    level: float = 0.95,
) -> Prediction:
    """Expected values of samples with covariates X (n×d) and offset O (n×1 or n×p; 0 unless given).

    Without Y they are marginal. Y: counts, n×p, for the fitted ones; or n×o with `observed`, the indices (o,) of the
    features they are of, for conditional ones of the others. K: as Y, True where observed. intervals: of INTERVALS.
    """
    known = fit if isinstance(fit, Parameters) else Parameters.of(fit)
    X, O = _design(known, X, O)
    if Y is None:
        return marginal(known, X, O, intervals, level)
    width = len(known.responses) if observed is None else len(observed)
    Y, K = _counts(Y, K, (len(X), width))
    if observed is None:
        return fitted(known, X, O, Y, K, intervals)
    return conditional(known, X, O, Y, observed.cpu(), K, intervals, level)


def transform(
    fit: FitResult | Parameters, Y: Tensor, X: Tensor, O: Tensor | None = None, K: Tensor | None = None
) -> Latent:
    """Latent values of samples with counts Y (n×p), covariates X (n×d) and offset O, by the variational step.

    K: n×p, True where Y is observed. Samples are independent of each other.
    """
    known = fit if isinstance(fit, Parameters) else Parameters.of(fit)
    X, O = _design(known, X, O)
    return latent(known, X, O, *_counts(Y, K, (len(X), len(known.responses))))


def _design(known: Parameters, X: Tensor, O: Tensor | None) -> tuple[Tensor, Tensor]:
    """X and O as the functions below take them; DataError for shapes that are not those of the fit."""
    X = X.detach().cpu().double()
    if X.ndim != 2 or X.shape[1] != len(known.terms):
        raise DataError(f"X has shape {tuple(X.shape)}, but the fit has {len(known.terms)} terms: {some(known.terms)}.")
    O = X.new_zeros((len(X), 1)) if O is None else O.detach().cpu().double()
    if O.shape not in ((len(X), 1), (len(X), len(known.responses))):
        raise DataError(
            f"O has shape {tuple(O.shape)}, but X of {len(X)} samples asks for a column, or one a response."
        )
    return X, O


def _counts(Y: Tensor, K: Tensor | None, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Y in float64, 0 where it is not observed, and K."""
    K = torch.ones(shape, dtype=torch.bool) if K is None else K.detach().cpu().bool()
    if tuple(Y.shape) != shape or tuple(K.shape) != shape:
        raise DataError(f"Y has shape {tuple(Y.shape)} and K {tuple(K.shape)}, but both must be {shape}.")
    return torch.where(K, Y.detach().cpu().double(), 0.0), K


def _at(course: Tensor, finite: Tensor) -> Tensor:
    """Values (n×p) where the course is finite, ±inf or nan elsewhere."""
    return torch.where(course == 0, finite, course * math.inf)


# Marginal


def marginal(known: Parameters, X: Tensor, O: Tensor, intervals: Sequence[str], level: float) -> Prediction:
    """`link` (but linear), and the expected value: `marginal`, `probability` or `mean`; conf_low, ..., pred_high.

    The confidence interval is of the expected value: of eta, by the coefficients' covariance, and transformed; it takes
    Sigma as known. The prediction interval is of a new observation: pln: between quantiles of the Poisson log-normal
    distribution with mean eta and variance Sigma_jj + that of eta (Sigma_jj alone without standard errors); linear:
    mean ± t sqrt(Sigma_jj + that of the mean).
    """
    course = known.course(X)
    eta = _at(course, O + X @ known.B)
    reasons = {OPEN: course.isnan(), INFINITE: course > 0}
    half = torch.zeros_like(known.B[0])
    if known.model == "pln":
        assert known.Sigma is not None
        half = 0.5 * known.Sigma.diagonal()

    def expected(link: Tensor) -> Tensor:
        if known.model == "pln":
            return (link + half).exp()
        return torch.sigmoid(link) if known.model == "logistic" else link

    names = {"pln": "marginal", "logistic": "probability", "linear": "mean"}
    columns = {} if known.model == "linear" else {"link": eta}
    columns[names[known.model]] = expected(eta)
    _check_intervals(known, intervals)
    if not intervals:
        return Prediction(known.responses, columns, reasons)
    variance = torch.zeros_like(eta)  # without standard errors
    if known.blocks is not None:
        variance = known.variance(X)
        reasons |= {NO_ERROR: variance.isnan() & (course == 0), NO_SPREAD: course < 0}
    variance = variance.masked_fill(course != 0, math.nan)
    reach = quantile(0.5 + 0.5 * level, known.df)  # in standard errors
    if "confidence" in intervals:
        half_width = reach * variance.sqrt()
        columns |= {"conf_low": expected(eta - half_width), "conf_high": expected(eta + half_width)}
    if "prediction" in intervals:
        assert known.Sigma is not None
        total = variance + known.Sigma.diagonal()
        if known.model == "linear":
            half_width = reach * total.sqrt()
            columns |= {"pred_low": eta - half_width, "pred_high": eta + half_width}
        else:
            columns |= _count_interval(eta, total, level)
    return Prediction(known.responses, columns, reasons)


def _count_interval(eta: Tensor, variance: Tensor, level: float) -> dict[str, Tensor]:
    """Quantiles of the Poisson log-normal distribution, n×p, that leave out as much on either side."""
    ends = {"pred_low": 0.5 - 0.5 * level, "pred_high": 0.5 + 0.5 * level}
    return {name: poisson_lognormal_quantile(probability, eta, variance) for name, probability in ends.items()}


def _check_intervals(known: Parameters, intervals: Sequence[str]) -> None:
    """DataError for intervals that the fit cannot give."""
    if known.model == "logistic" and "prediction" in intervals:
        raise DataError(
            "A logistic model has no prediction interval: a new observation is one class or the other, with the "
            "probability that is predicted. Ask for the confidence interval of that."
        )
    needed = "confidence" in intervals or (known.model == "linear" and intervals)
    if needed and known.blocks is None:
        raise DataError("The fit has no standard errors, which the interval needs. Fit again, with --se.")


# From counts


def latent(known: Parameters, X: Tensor, O: Tensor, Y: Tensor, K: Tensor) -> Latent:
    """q of each sample in the joint model of all features, as in the fit."""
    if known.model != "pln":
        raise DataError(f"A {known.model} model has no latent layer; only pln has.")
    assert known.Sigma is not None and known.Omega is not None
    course, C = known.course(X), X @ known.B
    counted = (K & (course == 0)).to(Y)
    varied = (known.Sigma.diagonal() > 0).nonzero()[:, 0]
    O = O.expand_as(Y)
    Omega = known.Omega[varied][:, varied]
    step = variational_step(Y[:, varied], counted[:, varied], O[:, varied], C[:, varied], Omega)
    M, S = C.clone(), torch.zeros_like(C)
    M[:, varied], S[:, varied] = step.M, step.S
    lost = ~step.converged[:, None].expand_as(course)
    reasons = {
        OPEN: course.isnan(),
        INFINITE: course > 0,
        IMPOSSIBLE: K & (course < 0) & (Y > 0),
        NOT_FOUND: lost,
    }
    mean = _at(course, M).masked_fill(reasons[IMPOSSIBLE] | lost, math.nan)
    return Latent(mean, S.masked_fill(lost, math.nan), (M - C).masked_fill(lost, math.nan), reasons)


def fitted(known: Parameters, X: Tensor, O: Tensor, Y: Tensor, K: Tensor, intervals: Sequence[str] = ()) -> Prediction:
    """`latent_mean` and `latent_sd` of q, and `fitted`: exp(o + m + s²/2)."""
    if intervals:
        raise DataError("Fitted counts have no interval: they describe the counts that they were computed from.")
    q = latent(known, X, O, Y, K)
    expected = (O + q.mean + 0.5 * q.sd.square()).exp()
    return Prediction(known.responses, {"latent_mean": q.mean, "latent_sd": q.sd, "fitted": expected}, q.reasons)


def conditional(
    known: Parameters,
    X: Tensor,
    O: Tensor,
    Y: Tensor,
    observed: Tensor,
    K: Tensor,
    intervals: Sequence[str] = (),
    level: float = 0.95,
) -> Prediction:
    """`latent_mean` mu and `latent_sd` sqrt(v) of the features that are not observed, and `conditional`.

    pred_low, pred_high: quantiles of the Poisson log-normal distribution with mean o + mu and variance v.
    """
    if known.model != "pln":
        raise DataError(f"A {known.model} model has no latent layer, so one response tells nothing of another.")
    if "confidence" in intervals:
        raise DataError("Conditional counts have no confidence interval, only a prediction interval.")
    course, O = known.course(X), O.expand(-1, len(known.responses))
    others = torch.ones(O.shape[1], dtype=torch.bool)
    others[observed] = False
    mean, variance, lost = _given(known, X @ known.B, O, Y, observed, K & (course[:, observed] == 0), others)
    mean = _at(course[:, others], mean).masked_fill(lost[:, None], math.nan)
    eta = O[:, others] + mean
    columns = {"latent_mean": mean, "latent_sd": variance.sqrt(), "conditional": (eta + 0.5 * variance).exp()}
    if "prediction" in intervals:
        columns |= _count_interval(eta, variance, level)
    impossible = torch.zeros_like(others).expand_as(course).clone()
    impossible[:, observed] = K & (course[:, observed] < 0) & (Y > 0)
    reasons = {
        OPEN: course.isnan() & others,
        INFINITE: (course > 0) & others,
        IMPOSSIBLE: impossible,
        NOT_FOUND: lost[:, None] & others,
    }
    names = tuple(name for name, other in zip(known.responses, others.tolist(), strict=True) if other)
    return Prediction(names, columns, reasons)


def _given(
    known: Parameters, C: Tensor, O: Tensor, Y: Tensor, observed: Tensor, counted: Tensor, others: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and variance (n×c) of the latent values of `others`, and samples whose variational step failed (n,).

    C = XB and O n×p; Y and counted (which cells are known) n×o. Samples with the same known features go together.
    """
    assert known.Sigma is not None
    Sigma = known.Sigma
    own = Sigma.diagonal()[others]
    mean, variance = C[:, others], own.expand(len(C), -1).clone()
    lost = torch.zeros(len(C), dtype=torch.bool)
    patterns, member = torch.unique(counted & (Sigma.diagonal() > 0)[observed], dim=0, return_inverse=True)
    for g, pattern in enumerate(patterns):
        o, rows = observed[pattern], (member == g).nonzero()[:, 0]
        if not len(o):
            continue
        factor = cholesky_scaled(Sigma[o][:, o])
        if factor is None:
            raise DataError("The fit's covariance is not positive definite to rounding; fit it with --dtype float64.")
        Omega, counts, centre = factor.inverse(), Y[rows][:, pattern], C[rows][:, o]
        step = variational_step(counts, torch.ones_like(counts), O[rows][:, o], centre, Omega)
        cross = Sigma[others][:, o]
        G = cross @ Omega
        mean[rows] += (step.M - centre) @ G.mT
        variance[rows] = (own - (G * cross).sum(1)).clamp_min(0.0) + step.S.square() @ G.square().mT
        lost[rows] = ~step.converged
    return mean, variance, lost
