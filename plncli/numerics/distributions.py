"""The Poisson log-normal distribution of one count: Y ~ Poisson(exp(Z)), Z ~ Normal(mean, variance), by quadrature."""

from __future__ import annotations

import math

import torch
from torch import Tensor

STEP = 0.4
"""Distance of the nodes of the trapezoid rule, in units of the width of the density."""
NARROW = 0.25
"""The same where an integrand is no product of a density and something smooth."""
BLOCK = 1 << 14
"""Cells that are looked at together: 1e6 numbers for all their nodes."""
MOST_SEARCHES = 200


def poisson_lognormal_cdf(y: Tensor, mean: Tensor, variance: Tensor, *, upper: bool = False) -> Tensor:
    """P(Y ≤ y), elementwise; y whole numbers of −1 or more, variance 0 or more, mean finite. Absolute error below 1e-9.

    upper: P(Y > y) instead, which is small where that is near 1.

    With sigma² the variance, phi and Phi the normal density and distribution function, and g the density of log T,
    T ~ Gamma(y + 1), two forms of one number, since P(Y ≤ y | lambda) = P(T > lambda):

        ∫ phi(z) P(T > exp(mean + sigma z)) dz  =  ∫ g(u) Phi((u − mean)/sigma) du

    g is about 1/sqrt(y + 1) wide. The form whose density is the narrower factor is taken: there the other factor is
    smooth, and the trapezoid rule on the whole line converges faster than any power (Trefethen & Weideman 2014).
    """
    y, mean, variance = torch.broadcast_tensors(y, mean, variance)
    sigma, shape = variance.sqrt(), y + 1.0
    out = torch.full_like(mean, float(upper))
    wide = sigma * shape.clamp_min(0.0).sqrt() > 1.0
    for form, chosen in ((_over_gamma, wide), (_over_normal, ~wide & (shape > 0))):
        out[chosen] = form(shape[chosen], mean[chosen], sigma[chosen], upper)
    return out


def _over_normal(shape: Tensor, mean: Tensor, sigma: Tensor, upper: bool) -> Tensor:
    """The first form; nodes reach to 8 standard deviations."""
    z = torch.arange(-20, 21, dtype=mean.dtype, device=mean.device) * STEP
    weight = STEP / math.sqrt(2.0 * math.pi) * (-0.5 * z.square()).exp()
    rate = (mean.unsqueeze(-1) + sigma.unsqueeze(-1) * z).exp()
    tail = torch.special.gammainc if upper else torch.special.gammaincc
    return (tail(shape.unsqueeze(-1).expand_as(rate), rate) * weight).sum(-1)


def _over_gamma(shape: Tensor, mean: Tensor, sigma: Tensor, upper: bool) -> Tensor:
    """The second form; g falls as exp(shape u) on the left, so nodes reach further there."""
    v = torch.arange(-60, 22, dtype=mean.dtype, device=mean.device) * STEP
    width = shape.rsqrt().unsqueeze(-1)
    t = v * width
    # log g at log(shape) + t is shape (t − e^t) + shape log(shape) − log Gamma(shape), here without cancellation.
    density = (-shape.unsqueeze(-1) * _bend(t) - _stirling_rest(shape).unsqueeze(-1)).exp()
    weight = density * (STEP / math.sqrt(2.0 * math.pi))
    u = (shape.log() - mean).unsqueeze(-1) + t
    return (torch.special.ndtr((-u if upper else u) / sigma.unsqueeze(-1)) * weight).sum(-1)


def poisson_lognormal_logpmf(y: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """Log P(Y = y), elementwise, to an error of 1e-6 however small it is; arguments as in `poisson_lognormal_cdf`.

    With t = mean + sigma z, the logarithm y t − e^t − z²/2 of the integrand is concave in z: the nodes lie about its
    mode, at distances in proportion to its width there.
    """
    y, mean, variance = torch.broadcast_tensors(y, mean, variance)
    parts = [part.reshape(-1).split(BLOCK // 4) for part in (y, mean, variance.sqrt())]
    found = [_log_integral(*part) for part in zip(*parts, strict=True)]
    return torch.cat(found).view(y.shape) if found else torch.empty_like(mean)


def _log_integral(y: Tensor, mean: Tensor, sigma: Tensor) -> Tensor:
    """Log of ∫ phi(z) exp(y t − e^t) / y! dz, (m,)."""
    # The slope of the logarithm falls and is concave: Newton's steps from the right of the mode never cross it.
    z = torch.where(y > 0, (y.log() - mean) / sigma, 0.0).nan_to_num(nan=0.0, posinf=0.0).clamp_min(0.0)
    for _ in range(MOST_SEARCHES):
        rate = (mean + sigma * z).exp()
        step = (sigma * (y - rate) - z) / (1.0 + sigma.square() * rate)
        z = z + step
        if bool((step.abs() < 1e-3).all()):
            break
    width = (1.0 + sigma.square() * (mean + sigma * z).exp()).rsqrt()
    nodes = NARROW * torch.arange(-160, 61, dtype=z.dtype, device=z.device)
    z, some = z[:, None] + width[:, None] * nodes, y.clamp_min(1.0)
    # log y^y e^-y / y! = −½ log 2 pi y − rest, so that large counts do not cancel.
    u = (mean - some.log())[:, None] + sigma[:, None] * z
    counted = -some[:, None] * _bend(u) - (0.5 * (2.0 * math.pi * some).log() + _stirling_rest(some))[:, None]
    log = torch.where(y[:, None] > 0, counted, -(mean[:, None] + sigma[:, None] * z).exp()) - 0.5 * z.square()
    return torch.logsumexp(log, 1) + (NARROW / math.sqrt(2.0 * math.pi) * width).log()


def _bend(t: Tensor) -> Tensor:
    """e^t − 1 − t, without cancellation."""
    series = t.square() * (0.5 + t * (1 / 6 + t * (1 / 24 + t / 120)))
    return torch.where(t.abs() < 1e-3, series, torch.expm1(t) - t)


def _stirling_rest(a: Tensor) -> Tensor:
    """Log Gamma(a) less Stirling's (a − ½) log a − a + ½ log 2 pi, for a ≥ 1."""
    direct = torch.lgamma(a) - (a - 0.5) * a.log() + a - 0.5 * math.log(2.0 * math.pi)
    r = 1.0 / a
    series = r * (1 / 12 - r.square() * (1 / 360 - r.square() * (1 / 1260 - r.square() / 1680)))
    return torch.where(a < 20.0, direct, series)


def poisson_lognormal_quantile(probability: float | Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """Smallest y with P(Y ≤ y) ≥ probability, elementwise; nan where mean or variance is. mean −inf gives 0.

    So does a probability of 0 or less.
    """
    p, mean, variance = torch.broadcast_tensors(torch.as_tensor(probability, dtype=mean.dtype), mean, variance)
    shape = mean.shape
    p, mean, variance = p.reshape(-1), mean.reshape(-1), variance.reshape(-1)
    known = torch.isfinite(mean) & torch.isfinite(variance)
    zero = torch.isneginf(mean) & ~variance.isnan() | known & (p <= 0)
    out = torch.where(zero, 0.0, torch.nan).to(mean)
    places = (known & ~zero).nonzero()[:, 0]
    for at in places.split(BLOCK):
        out[at] = _search(p[at], mean[at], variance[at])
    return out.reshape(shape)


def _search(probability: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """Bracket (low, high] around the quantile, and shrink it; (m,) each.

    The probit of the distribution function is nearly linear in log(y + 1), so the chord there lands close to the
    quantile; every third trial halves the bracket instead, which bounds the number of trials.
    """
    target = torch.special.ndtri(probability)
    spread = (variance + torch.log1p((-mean).exp())).sqrt()
    guess = ((mean + target * spread).clamp(max=700.0).exp()).floor()
    low, high = torch.full_like(mean, -1.0), guess.clone()
    f_low, f_high = torch.zeros_like(mean), poisson_lognormal_cdf(high, mean, variance)
    for _ in range(MOST_SEARCHES):  # upwards, until the bracket holds the quantile
        short = f_high < probability
        if not bool(short.any()):
            break
        low, f_low = torch.where(short, high, low), torch.where(short, f_high, f_low)
        high = torch.where(short, 2.0 * high + 1.0, high)
        f_high[short] = poisson_lognormal_cdf(high[short], mean[short], variance[short])
    for trial in range(MOST_SEARCHES):
        at = (high - low > torch.clamp(1e-15 * high, min=1.0)).nonzero()[:, 0]
        if not len(at):
            break
        a, b = low[at], high[at]
        y = torch.floor(0.5 * (a + b))
        if trial % 3 != 2:
            left, right = (torch.special.ndtri(f[at].clamp(1e-12, 1.0 - 1e-12)) for f in (f_low, f_high))
            share = (target[at] - left) / (right - left)
            chord = torch.expm1((a + 2.0).log() + share * ((b + 2.0).log() - (a + 2.0).log())) - 1.0
            y = torch.where(torch.isfinite(chord), chord.ceil() - trial % 3, y)
        y = torch.minimum(torch.maximum(y, a + 1.0), b - 1.0)
        f = poisson_lognormal_cdf(y, mean[at], variance[at])
        enough = f >= probability[at]
        high[at], f_high[at] = torch.where(enough, y, b), torch.where(enough, f, f_high[at])
        low[at], f_low[at] = torch.where(enough, a, y), torch.where(enough, f_low[at], f)
    return high
