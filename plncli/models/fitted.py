"""What a finished fit answers, in memory or read from disk: expected values, latent values, draws, scores, residuals.

A model answers what it can (`models.abilities`). All is in float64 on the CPU. With
n samples, p responses, d terms: X n×d, offset O n×1 or n×p, Y and K (True where Y is observed) n×p.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from plncli.dataset import Dataset
from plncli.errors import DataError, some
from plncli.models.abilities import Conditioning, LatentValues, Predicting, Prediction, Reproducing, Transforming
from plncli.models.spec import Spec
from plncli.models.uncertainty import blocks
from plncli.numerics.covariance import Covariance, DenseCovariance, FactoredCovariance
from plncli.numerics.separation import PredictorLimits
from plncli.numerics.significance import quantile

INTERVALS = ("confidence", "prediction")

NOT_ESTIMABLE = "empty, for their linear predictor is not estimable"
INFINITE = "infinite, for their linear predictor goes to infinity"
IMPOSSIBLE = "with a count where the fit expects exactly 0, taken as unobserved and left empty"
NO_ERROR = "without an interval, for a coefficient without standard error"
NO_SPREAD = "without an interval, for their expected count is exactly 0"
ZEROS_NOT_ESTIMABLE = "empty, for their probability of structural zeros is not estimable"
NOT_FOUND = "empty, for the variational step of their sample did not converge"


@dataclass(frozen=True)
class Fitted:
    """A finished fit as its tensors tell it; answers nothing yet but where linear predictors are.

    estimates, state: by symbol (`Spec.symbols`), tensors or arrays; inference: tests and intervals of the coefficients,
    `blocks` (p×d×d, the covariance of each response's coefficients) and `df`, empty without standard errors.
    zero_terms: columns of the design of structural zeros; none where they have none.
    """

    spec: Spec
    terms: tuple[str, ...]
    responses: tuple[str, ...]
    estimates: Mapping[str, Any] = field(repr=False)
    state: Mapping[str, Any] = field(repr=False, default_factory=dict)
    inference: Mapping[str, Any] = field(repr=False, default_factory=dict)
    zero_terms: tuple[str, ...] = ()

    @classmethod
    def answering(cls, state: Mapping[str, Any]) -> type[Fitted]:
        """What answers for a fit that left that state."""
        del state
        return cls

    def of_samples(self, X0: Tensor | None) -> Fitted:
        """The fit as it answers for samples with these rows of the design of structural zeros (n×c), if it has one.

        DataError where they lack them.
        """
        if not self.zero_terms:
            return self
        if X0 is None or X0.ndim != 2 or X0.shape[1] != len(self.zero_terms):
            raise DataError(
                f"The fit has a design of structural zeros of {len(self.zero_terms)} columns, {some(self.zero_terms)}: "
                "give them of the samples, as X0."
            )
        return self

    def tensor(self, symbol: str) -> Tensor:
        """An estimate or a tensor of the state; DataError where a fit by blocks has kept none."""
        group = self.estimates if symbol in self.estimates else self.state
        if symbol not in group:
            raise DataError(f"The fit has kept no {symbol} of its samples: a large table was fitted by blocks.")
        return _plain(group[symbol])

    @property
    def linear(self) -> bool:
        """Whether the mean is linear, and has coefficients."""
        return "B" in self.estimates

    @cached_property
    def B(self) -> Tensor:
        """Coefficients d×p, finite throughout: `limits` tells where linear predictors are not."""
        return self.tensor("B_finite") if "B_finite" in self.state else self.tensor("B")

    @cached_property
    def covariance(self) -> Covariance | None:
        """Of the latent layer or the residuals; None for a model without one."""
        if "Sigma" in self.estimates:
            return DenseCovariance(self.tensor("Sigma"), self.tensor("Omega") if "Omega" in self.estimates else None)
        return FactoredCovariance(self.tensor("D"), self.tensor("V")) if "V" in self.state else None

    @property
    def Sigma(self) -> Tensor:
        """The same, p×p."""
        assert self.covariance is not None
        return self.covariance.dense()

    @property
    def correlated(self) -> bool:
        """Whether there are covariances other than 0."""
        return self.covariance is not None and not self.covariance.independent

    @cached_property
    def _limits(self) -> PredictorLimits | None:
        return PredictorLimits.from_tensors(
            {name: torch.as_tensor(self.state[name]).cpu() for name in self.state if "courses" in name}
        )

    def mean(self, X: Tensor) -> Tensor:
        """XB of samples X, or what stands in its place, n×p."""
        return X @ self.B

    def linear_predictor(self, data: Dataset) -> Tensor:
        """O + XB of the data of the fit, n×p."""
        return data.O + self.mean(data.X)

    def limits(self, X: Tensor) -> Tensor:
        """Where linear predictors of samples X go at the supremum, n×p: 0 finite, ±1 to ±inf, nan not estimable."""
        if self._limits is None:
            return X.new_zeros((len(X), len(self.responses)))
        return self._limits.of_samples(X)

    @property
    def has_errors(self) -> bool:
        """Whether there are standard errors."""
        return "blocks" in self.inference

    @property
    def df(self) -> float:
        """Degrees of freedom of the t statistics of coefficients, inf for normal ones."""
        return float(self.inference["df"]) if "df" in self.inference else math.inf

    def variance(self, X: Tensor) -> Tensor:
        """x'V_j x of samples X, n×p: of the linear predictor, by its coefficients; nan where one has no variance."""
        covariance = _plain(self.inference["blocks"])
        unknown = covariance.diagonal(dim1=1, dim2=2).isnan()
        V = covariance.nan_to_num(nan=0.0)
        out = X.new_empty((len(X), len(V)))
        for rows in blocks(len(X), V.shape[0] * V.shape[1]):
            out[rows] = torch.einsum("ik,jkl,il->ij", X[rows], V, X[rows]).clamp_min(0.0)
        return out.masked_fill((X != 0).to(X) @ unknown.mT.to(X) > 0, math.nan)


def _plain(values: Any) -> Tensor:
    return torch.as_tensor(values).detach().cpu().double()


def at_limits(limits: Tensor, finite: Tensor) -> Tensor:
    """Values (n×p) where the limit is a finite one, ±inf or nan elsewhere."""
    return torch.where(limits == 0, finite, limits * math.inf)


def fitted_of(
    spec: Spec,
    terms: Sequence[str],
    responses: Sequence[str],
    estimates: Mapping[str, Any],
    state: Mapping[str, Any],
    inference: Mapping[str, Any],
    zero_terms: Sequence[str] = (),
) -> Fitted:
    """What a fit of that model answers. DataError for one of an earlier version that lacks what predictions need."""
    kind: type[Fitted] = spec.load_fitted().answering(state)
    made = kind(spec, tuple(terms), tuple(responses), estimates, state, inference, tuple(zero_terms))
    if made._limits is None and "B" in estimates and not bool(torch.isfinite(torch.as_tensor(estimates["B"])).all()):
        raise DataError("The fit has coefficients of inf, and is of an earlier version; fit again with this one.")
    return made


# Asking


def predict(
    fitted: Fitted,
    X: Tensor,
    O: Tensor | None = None,
    *,
    Y: Tensor | None = None,
    K: Tensor | None = None,
    observed: Tensor | None = None,
    intervals: Sequence[str] = (),
    level: float = 0.95,
    X0: Tensor | None = None,
) -> Prediction:
    """Expected values of samples with covariates X (n×d) and offset O (n×1 or n×p; 0 unless given).

    Without Y they are marginal. Y: counts, n×p, for the fitted ones; or n×o with `observed`, the indices (o,) of the
    features they are of, for conditional ones of the others. K: as Y, True where observed. intervals: of INTERVALS.
    X0: columns of the design of structural zeros, n×c, where the fit has one.
    """
    X, O = _design(fitted, X, O)
    fitted = fitted.of_samples(X0)
    if Y is None:
        return _able(fitted, Predicting, "predicts nothing").predict(X, O, intervals, level)
    width = len(fitted.responses) if observed is None else len(observed)
    Y, K = _observed(Y, K, (len(X), width))
    if observed is not None:
        able = _able(fitted, Conditioning, "has no latent layer, so one response tells nothing of another")
        return able.conditional(X, O, Y, observed.cpu(), K, intervals, level)
    able = _able(fitted, Reproducing, "has no latent layer")
    if intervals:
        raise DataError("Fitted counts have no interval: they describe the counts that they were computed from.")
    return able.fitted_values(X, O, Y, K)


def transform(
    fitted: Fitted,
    Y: Tensor,
    X: Tensor,
    O: Tensor | None = None,
    K: Tensor | None = None,
    X0: Tensor | None = None,
) -> LatentValues:
    """Latent values of samples with counts Y (n×p), covariates X (n×d) and offset O, by the variational step.

    K: n×p, True where Y is observed; X0: as for `predict`. Samples are independent of each other.
    """
    X, O = _design(fitted, X, O)
    fitted = fitted.of_samples(X0)
    able = _able(fitted, Transforming, "has no latent layer")
    return able.transform(X, O, *_observed(Y, K, (len(X), len(fitted.responses))))


def _able(fitted: Fitted, ability: Any, lack: str) -> Any:
    """The fit, which has the ability; else a DataError saying what it lacks."""
    if not isinstance(fitted, ability):
        raise DataError(f"A {fitted.spec.name} fit {lack}.")
    return fitted


def _design(fitted: Fitted, X: Tensor, O: Tensor | None) -> tuple[Tensor, Tensor]:
    """X and O in float64 on the CPU; DataError for shapes that are not those of the fit."""
    X = X.detach().cpu().double()
    if X.ndim != 2 or X.shape[1] != len(fitted.terms):
        raise DataError(
            f"X has shape {tuple(X.shape)}, but the fit has {len(fitted.terms)} terms: {some(fitted.terms)}."
        )
    O = X.new_zeros((len(X), 1)) if O is None else O.detach().cpu().double()
    if O.shape not in ((len(X), 1), (len(X), len(fitted.responses))):
        raise DataError(
            f"O has shape {tuple(O.shape)}, but X of {len(X)} samples asks for a column, or one a response."
        )
    return X, O


def _observed(Y: Tensor, K: Tensor | None, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Y in float64, 0 where it is not observed, and K."""
    K = torch.ones(shape, dtype=torch.bool) if K is None else K.detach().cpu().bool()
    if tuple(Y.shape) != shape or tuple(K.shape) != shape:
        raise DataError(f"Y has shape {tuple(Y.shape)} and K {tuple(K.shape)}, but both must be {shape}.")
    return torch.where(K, Y.detach().cpu().double(), 0.0), K


# What models answer alike


def expected_values(
    fitted: Fitted,
    X: Tensor,
    O: Tensor,
    intervals: Sequence[str],
    level: float,
    *,
    column: str,
    expected: Callable[[Tensor], Tensor],
    median: Callable[[Tensor], Tensor] | None = None,
    observation: Callable[[Tensor, Tensor, float], tuple[Tensor, Tensor]] | None = None,
    identity: bool = False,
) -> Prediction:
    """`link` (not where the link is the identity) and the expected value in `column`; conf_low, ..., pred_high.

    The confidence interval is of the expected value: of eta = O + XB, by the coefficients' covariance, and transformed
    by `expected`; it takes other parameters as known. median: of what `expected` is the mean of, a column beside it.
    observation: ends of the interval of a new observation, from eta, its variance by the coefficients (0 without
    standard errors) and the quantile of their distribution.
    """
    limits = fitted.limits(X)
    eta = at_limits(limits, O + fitted.mean(X))
    reasons = {NOT_ESTIMABLE: limits.isnan(), INFINITE: limits > 0}
    columns = ({} if identity else {"link": eta}) | {column: expected(eta)}
    if median is not None:
        columns["median"] = median(eta)
    if not intervals:
        return Prediction(fitted.responses, columns, reasons)
    variance = torch.zeros_like(eta)  # without standard errors
    if fitted.has_errors:
        variance = fitted.variance(X)
        reasons |= {NO_ERROR: variance.isnan() & (limits == 0), NO_SPREAD: limits < 0}
    variance = variance.masked_fill(limits != 0, math.nan)
    reach = quantile(0.5 + 0.5 * level, fitted.df)  # in standard errors
    if "confidence" in intervals:
        half_width = reach * variance.sqrt()
        columns |= {"conf_low": expected(eta - half_width), "conf_high": expected(eta + half_width)}
    if "prediction" in intervals and observation is not None:
        columns |= dict(zip(("pred_low", "pred_high"), observation(eta, variance, reach), strict=True))
    return Prediction(fitted.responses, columns, reasons)


def check_errors(fitted: Fitted, needed: bool) -> None:
    """DataError for an interval that needs standard errors where there are none."""
    if needed and not fitted.has_errors:
        raise DataError("The fit has no standard errors, which the interval needs. Fit again, with --se.")
