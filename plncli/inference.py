"""Standard errors, Wald statistics, p-values, q-values and confidence intervals of coefficients."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

import torch
from torch import Tensor

from plncli.models.base import Finding
from plncli.models.uncertainty import Uncertainty, own_without

COLUMNS = ("std_error", "statistic", "p_value", "q_value", "conf_low", "conf_high")
"""What a table of estimates says of each, in this order."""


@dataclass(frozen=True)
class InferenceRule:
    """What is wanted of standard errors. method: `auto` (the model's default), `none`, or one that the model has.

    level: of the confidence intervals; vcov: whether to keep the whole covariance of the coefficients.
    """

    method: str = "auto"
    level: float = 0.95
    vcov: bool = False


@dataclass(frozen=True)
class Inference:
    """Tests and intervals of coefficients, d×p each, in float64 on the CPU; nan where there is none.

    blocks: p×d×d, the covariance of each response's own coefficients, nan where a coefficient has no standard error.
    covariance: (p·d)×(p·d), entry j·d + k being term k of response j; None unless it was asked for.
    df: degrees of freedom of the t statistics, inf for normal ones.
    """

    method: str
    level: float
    std_error: Tensor = field(repr=False)
    statistic: Tensor = field(repr=False)
    p_value: Tensor = field(repr=False)
    q_value: Tensor = field(repr=False)
    conf_low: Tensor = field(repr=False)
    conf_high: Tensor = field(repr=False)
    blocks: Tensor = field(repr=False)
    covariance: Tensor | None = field(repr=False, default=None)
    df: float = math.inf
    findings: tuple[Finding, ...] = ()
    seconds: float = 0.0


def tensors_of(found: Inference) -> dict[str, Tensor]:
    """What is worth keeping, by name: the tests and intervals, `blocks` and `df`."""
    return {name: getattr(found, name) for name in (*COLUMNS, "blocks")} | {"df": torch.tensor(found.df).double()}


def infer(
    B: Tensor, found: Uncertainty, level: float = 0.95, *, vcov: bool = False, began: float | None = None
) -> Inference:
    """Wald tests of B = 0 and intervals B ± q·se, from B (d×p) and how well it is known.

    began: when `found` was begun, by time.perf_counter, for `seconds`.
    """
    B, blocks = _plain(B), _plain(found.blocks)
    variance = blocks.diagonal(dim1=1, dim2=2).mT
    known = torch.isfinite(B) & torch.isfinite(variance) & (variance > 0)
    se = torch.where(known, variance.sqrt(), math.nan)
    statistic = B / se
    p_value = two_sided(statistic, found.df)
    reach = quantile(0.5 + 0.5 * level, found.df) * se
    covariance = _plain(found.covariance()) if vcov else None
    return Inference(
        found.method,
        level,
        se,
        statistic,
        p_value,
        benjamini_hochberg(p_value),
        B - reach,
        B + reach,
        own_without(blocks, ~known),
        covariance,
        found.df,
        found.findings,
        0.0 if began is None else time.perf_counter() - began,
    )


def _plain(A: Tensor) -> Tensor:
    return A.detach().to("cpu").double()


def two_sided(statistic: Tensor, df: float = math.inf) -> Tensor:
    """P(|T| ≥ |statistic|), T normal or t with df degrees of freedom, without cancellation in the tails."""
    if math.isinf(df):
        return torch.special.erfc(statistic.abs() / math.sqrt(2.0))
    from scipy.special import betainc

    # P(|T| ≥ t) = I_x(df/2, ½) with x = df/(df + t²), the regularised incomplete beta function.
    x = df / (df + statistic.square())
    return torch.from_numpy(betainc(0.5 * df, 0.5, x.numpy()))


def quantile(probability: float, df: float = math.inf) -> float:
    """Quantile of the normal distribution, or of t with df degrees of freedom."""
    if math.isinf(df):
        return float(torch.special.ndtri(torch.tensor(probability, dtype=torch.float64)))
    from scipy.special import stdtrit

    return float(stdtrit(df, probability))


def benjamini_hochberg(p_value: Tensor) -> Tensor:
    """q-values (d×p) of p-values (d×p), each term by itself, over the responses that have a p-value.

    q_(r) = min over s ≥ r of p_(s) m/s, m p-values in ascending order (Benjamini & Hochberg 1995).
    """
    q = torch.full_like(p_value, math.nan)
    for k, row in enumerate(p_value):
        there = (~row.isnan()).nonzero()[:, 0]
        if not len(there):
            continue
        ordered, order = row[there].sort()
        m = len(there)
        scaled = ordered * (m / torch.arange(1, m + 1, dtype=row.dtype))
        best = scaled.flip(0).cummin(0).values.flip(0).clamp(max=1.0)
        q[k, there[order]] = best
    return q
