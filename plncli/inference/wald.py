"""Standard errors, Wald statistics, p-values, q-values and confidence intervals of coefficients."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from plncli.models.findings import Finding
from plncli.models.uncertainty import Ratios, Uncertainty, own_without
from plncli.names import COLUMNS
from plncli.numerics.significance import benjamini_hochberg, quantile, two_sided, upper_tail
from plncli.progress import OnWait


@dataclass(frozen=True)
class InferenceRule:
    """What is wanted of standard errors. method: `auto` (the model's default), `none`, or one that the model has.

    A Finding as method says why there shall be none.
    level: of the confidence intervals; vcov: whether to keep the whole covariance of the coefficients. on_wait: told
    the method and the seconds so far, when it begins and now and then.
    """

    method: str | Finding = "auto"
    level: float = 0.95
    vcov: bool = False
    on_wait: OnWait | None = None


@dataclass(frozen=True)
class Inference:
    """Tests and intervals of coefficients, d×p each, in float64 on the CPU; nan where there is none.

    blocks: p×d×d, the covariance of each response's own coefficients, nan where a coefficient has no standard error.
    covariance: (p·d)×(p·d), entry j·d + k being term k of response j; None unless it was asked for.
    df: degrees of freedom of the t statistics, inf for normal ones; facts: for the summary, by name. beside: standard
    errors and ends of intervals of other parameters, as SYMBOL_se, SYMBOL_low and SYMBOL_high.
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
    facts: Mapping[str, Any] = field(default_factory=dict)
    beside: Mapping[str, Tensor] = field(default_factory=dict, repr=False)


def tensors_of(found: Inference) -> dict[str, Tensor]:
    """What is worth keeping, by name: the tests and intervals, `blocks` and `df`."""
    known = {name: getattr(found, name) for name in (*COLUMNS, "blocks")} | {"df": torch.tensor(found.df).double()}
    return known | dict(found.beside)


def infer(
    B: Tensor, found: Uncertainty, level: float = 0.95, *, vcov: bool = False, began: float | None = None
) -> Inference:
    """Tests of B = 0 and intervals, from B (d×p) and how well it is known: Wald's (B ± q·se), or by likelihood ratios.

    began: when `found` was begun, by time.perf_counter, for `seconds`.
    """
    B, blocks = _plain(B), _plain(found.blocks)
    variance = blocks.diagonal(dim1=1, dim2=2).mT
    known = torch.isfinite(B) & torch.isfinite(variance) & (variance > 0)
    se = torch.where(known, variance.sqrt(), math.nan)
    reach = quantile(0.5 + 0.5 * level, found.df) * se
    statistic, low, high = B / se, B - reach, B + reach
    if found.ratios is not None:
        statistic, low, high = map(_plain, (found.ratios.roots, *found.ratios.intervals(level)))
    p_value = two_sided(statistic, found.df)
    covariance = _plain(found.covariance()) if vcov else None
    return Inference(
        found.method,
        level,
        se,
        statistic,
        p_value,
        benjamini_hochberg(p_value),
        low,
        high,
        own_without(blocks, ~known),
        covariance,
        found.df,
        found.findings,
        0.0 if began is None else time.perf_counter() - began,
        found.facts,
        _of_others(found, level),
    )


def _of_others(found: Uncertainty, level: float) -> dict[str, Tensor]:
    """Standard errors and intervals of the parameters beside the coefficients."""
    reach, out = quantile(0.5 + 0.5 * level, found.df), dict[str, Tensor]()
    for symbol, (estimate, variance) in found.beside.items():
        estimate, se = _plain(estimate), _plain(variance).sqrt()
        out |= {f"{symbol}_se": se, f"{symbol}_low": estimate - reach * se, f"{symbol}_high": estimate + reach * se}
    return out


def _plain(A: Tensor) -> Tensor:
    return A.detach().to("cpu").double()


@dataclass(frozen=True)
class Wald:
    """A test of each response, (p,) each; nan where there is none, which `reasons` (p) explains, "" where there is.

    kind: z or t for a contrast, chi2 or F for several at once, `df` of them; lr: a likelihood ratio (`by_ratio`), chi2
    with `df`; df_residual: of t and F. estimate, std_error, conf_low and conf_high are those of a contrast, nan
    otherwise; an estimate of ±inf stays. left_out (p): the coefficients, by index, that a joint test could do nothing
    with.
    """

    kind: str
    estimate: Tensor
    std_error: Tensor
    statistic: Tensor
    df: Tensor
    df_residual: Tensor
    p_value: Tensor
    q_value: Tensor
    conf_low: Tensor
    conf_high: Tensor
    reasons: tuple[str, ...]
    left_out: tuple[tuple[int, ...], ...] = ()


NO_ESTIMATE = "a coefficient without finite estimate"
NO_ERROR = "a coefficient without standard error"
NO_VARIANCE = "no variance left in what is tested"
CANCELLED = 1e-12
"""Share of a variance that rounding leaves of one that is 0."""


def contrast_test(B: Tensor, blocks: Tensor, weights: Tensor, value: float, df: float, level: float) -> Wald:
    """Test of weights'b = value for each response: B d×p, blocks p×d×d, weights (d,), all float64."""
    used = weights != 0
    c, B, V = weights[used], B[used], blocks[:, used][:, :, used]
    estimate = (c[:, None] * B).sum(dim=0)  # over terms
    variance = torch.einsum("k,jkl,l->j", c, V, c)
    size = (V.diagonal(dim1=1, dim2=2).sqrt() @ c.abs()).square()
    reasons = _reasons(B, V, variance > CANCELLED * size)
    known = torch.tensor([not reason for reason in reasons])
    se = torch.where(known, variance.sqrt(), math.nan)
    estimate = torch.where(known | estimate.isinf(), estimate, math.nan)
    statistic = (estimate - value) / se
    p_value = two_sided(statistic, df)
    reach = quantile(0.5 + 0.5 * level, df) * se
    q_value = benjamini_hochberg(p_value[None])[0]
    ones = torch.where(known, 1.0, math.nan).double()
    kind = "z" if math.isinf(df) else "t"
    low, high = estimate - reach, estimate + reach
    return Wald(kind, estimate, se, statistic, ones, _residual(ones, df), p_value, q_value, low, high, reasons)


def joint_test(B: Tensor, blocks: Tensor, rows: Tensor, values: Tensor, df: float) -> Wald:
    """Test of rows b = values for each response: B d×p, blocks p×d×d, rows r×d, values (r,), all float64.

    delta'V^+ delta with V = rows block rows' is chi2 with as many degrees of freedom as V has rank; divided by them it
    is F where df is finite. Where a response has coefficients without a finite estimate or a standard error, what
    follows from the hypothesis for the others is tested (`testable`); without any that does, there is no test.
    """
    used = (rows != 0).any(0)
    L, B, V = rows[:, used], B[used], blocks[:, used][:, :, used]
    known = torch.isfinite(B).mT & torch.isfinite(V.diagonal(dim1=1, dim2=2))  # p×k
    patterns, pattern_of = torch.unique(known, dim=0, return_inverse=True)
    p = B.shape[1]
    total, rank = torch.full((p,), math.nan).double(), torch.full((p,), math.nan).double()
    reasons, left_out = list(_reasons(B, V, torch.ones(p, dtype=torch.bool))), [()] * p
    places = used.nonzero()[:, 0]
    for number, pattern in enumerate(patterns):
        own, own_values = testable(L, values, pattern)
        if not len(own):
            continue
        members = (pattern_of == number).nonzero()[:, 0]
        found, degrees = _joint(B[:, members].mT[:, pattern], V[members][:, pattern][:, :, pattern], own, own_values)
        total[members], rank[members] = found, degrees
        for j, varies in zip(members.tolist(), (degrees > 0).tolist(), strict=True):
            reasons[j] = "" if varies else NO_VARIANCE
            left_out[j] = tuple(places[~pattern].tolist()) if varies else ()
    missing = torch.tensor([bool(reason) for reason in reasons])
    rank = rank.masked_fill(missing, math.nan)
    statistic = total.masked_fill(missing, math.nan) / (1.0 if math.isinf(df) else rank)
    p_value = upper_tail(statistic, rank, df)
    nothing = torch.full_like(statistic, math.nan)
    kind = "chi2" if math.isinf(df) else "F"
    q_value = benjamini_hochberg(p_value[None])[0]
    residual = _residual(rank, df)
    intervals = (nothing, nothing)
    return Wald(
        kind, nothing, nothing, statistic, rank, residual, p_value, q_value, *intervals, tuple(reasons), tuple(left_out)
    )


NOT_FOUND = "a fit that was not found with the coefficients held"
RATIO = "lr"
"""The kind of a test by likelihood ratios."""


def by_ratio(wald: Wald, found: Ratios, rank: int) -> Wald:
    """The same hypothesis by likelihood ratios, of `rank` degrees of freedom, where a response is tested as a whole."""
    there = torch.isfinite(found.statistic)
    df = torch.where(there, float(rank), math.nan).double()
    p_value = upper_tail(found.statistic, df, math.inf)
    left_out = wald.left_out or ((),) * len(wald.reasons)
    reasons = [why or (NO_ERROR if out else "") for why, out in zip(wald.reasons, left_out, strict=True)]
    return replace(
        wald,
        kind=RATIO,
        statistic=found.statistic,
        df=df,
        df_residual=torch.full_like(df, math.nan),
        p_value=p_value,
        q_value=benjamini_hochberg(p_value[None])[0],
        conf_low=found.low,
        conf_high=found.high,
        reasons=tuple(why or ("" if known else NOT_FOUND) for why, known in zip(reasons, there.tolist(), strict=True)),
        left_out=(),
    )


def testable(L: Tensor, values: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """What L b = values (L: r×k) implies for the known coefficients (k,) alone: rows over these, and their values.

    Those are the combinations u of rows with u'L = 0 at all the others: rows without them where these are all,
    else a basis of the null space.
    """
    others = L[:, ~known]
    free = (others == 0).all(1)
    if not bool(known.all()) and int(free.sum()) < len(L) - int(torch.linalg.matrix_rank(others)):
        U, singular, _ = torch.linalg.svd(others)
        left = U[:, int((singular > CANCELLED * singular[0]).sum()) :].mT
        return left @ L[:, known], left @ values
    return L[free][:, known], values[free]


def _joint(B: Tensor, V: Tensor, L: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Statistics (m,) and their degrees of freedom (m,), 0 where nothing varies. B: m×k, V: m×k×k, L: r×k, finite."""
    delta = B @ L.mT - values
    own = L @ V @ L.mT
    variance = own.diagonal(dim1=1, dim2=2)
    size = (V.diagonal(dim1=1, dim2=2).sqrt() @ L.abs().mT).square()
    scale = torch.where(variance > CANCELLED * size, variance.rsqrt(), 0.0)
    eigenvalues, U = torch.linalg.eigh((own * scale[:, :, None] * scale[:, None, :]).nan_to_num(0.0))
    counted = eigenvalues > CANCELLED * len(L)
    turned = torch.matmul(U.mT, (scale * delta)[:, :, None])[:, :, 0]
    return torch.where(counted, turned.square() / eigenvalues, 0.0).sum(1), counted.sum(1).double()


def _residual(df: Tensor, of_residuals: float) -> Tensor:
    """Degrees of freedom of residuals where there is a test that has any, nan elsewhere; (p,)."""
    known = ~df.isnan() & math.isfinite(of_residuals)
    return torch.full_like(df, math.nan).masked_fill(known, of_residuals)


def _reasons(B: Tensor, V: Tensor, varies: Tensor) -> tuple[str, ...]:
    """Why each response has no test; B: k×p, V: p×k×k, varies: (p,)."""
    finite, known = torch.isfinite(B).all(0), torch.isfinite(V).all(2).all(1)
    return tuple(
        NO_ESTIMATE if not f else NO_ERROR if not k else "" if v else NO_VARIANCE
        for f, k, v in zip(finite.tolist(), known.tolist(), varies.tolist(), strict=True)
    )
