"""The Poisson log-normal distribution of one count: Y ~ Poisson(exp(Z)), Z ~ Normal(mean, variance), by quadrature."""

from __future__ import annotations

import math

import torch
from torch import Tensor

STEP = 0.4
"""Distance of the nodes of the trapezoid rule, in units of the width of the density."""
BLOCK = 1 << 14
"""Cells that are looked at together: 1e6 numbers for all their nodes."""
MOST_SEARCHES = 200


def poisson_lognormal_cdf(y: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """P(Y ≤ y), elementwise; y whole numbers of −1 or more, variance 0 or more, mean finite. Absolute error below 1e-9.

    With sigma² the variance, phi and Phi the normal density and distribution function, and g the density of log T,
    T ~ Gamma(y + 1), two forms of one number, since P(Y ≤ y | lambda) = P(T > lambda):

        ∫ phi(z) P(T > exp(mean + sigma z)) dz  =  ∫ g(u) Phi((u − mean)/sigma) du

    g is about 1/sqrt(y + 1) wide. The form whose density is the narrower factor is taken: there the other factor is
    smooth, and the trapezoid rule on the whole line converges faster than any power (Trefethen & Weideman 2014).
    """
    y, mean, variance = torch.broadcast_tensors(y, mean, variance)
    sigma, shape = variance.sqrt(), y + 1.0
    out = torch.zeros_like(mean)
    wide = sigma * shape.clamp_min(0.0).sqrt() > 1.0
    for form, chosen in ((_over_gamma, wide), (_over_normal, ~wide & (shape > 0))):
        out[chosen] = form(shape[chosen], mean[chosen], sigma[chosen])
    return out


def _over_normal(shape: Tensor, mean: Tensor, sigma: Tensor) -> Tensor:
    """The first form; nodes reach to 8 standard deviations."""
    z = torch.arange(-20, 21, dtype=mean.dtype, device=mean.device) * STEP
    weight = STEP / math.sqrt(2.0 * math.pi) * (-0.5 * z.square()).exp()
    rate = (mean.unsqueeze(-1) + sigma.unsqueeze(-1) * z).exp()
    tail = torch.special.gammaincc(shape.unsqueeze(-1).expand_as(rate), rate)
    return (tail * weight).sum(-1)


def _over_gamma(shape: Tensor, mean: Tensor, sigma: Tensor) -> Tensor:
    """The second form; g falls as exp(shape u) on the left, so nodes reach further there."""
    v = torch.arange(-60, 22, dtype=mean.dtype, device=mean.device) * STEP
    width = shape.rsqrt().unsqueeze(-1)
    t = v * width
    # log g at log(shape) + t is shape (t − e^t) + shape log(shape) − log Gamma(shape), here without cancellation.
    bend = t.square() * (0.5 + t * (1 / 6 + t * (1 / 24 + t / 120)))
    bend = torch.where(t.abs() < 1e-3, bend, torch.expm1(t) - t)
    density = (-shape.unsqueeze(-1) * bend - _stirling_rest(shape).unsqueeze(-1)).exp()
    weight = density * (STEP / math.sqrt(2.0 * math.pi))
    u = (shape.log() - mean).unsqueeze(-1) + t
    return (torch.special.ndtr(u / sigma.unsqueeze(-1)) * weight).sum(-1)


def _stirling_rest(a: Tensor) -> Tensor:
    """Log Gamma(a) less Stirling's (a − ½) log a − a + ½ log 2 pi, for a ≥ 1."""
    direct = torch.lgamma(a) - (a - 0.5) * a.log() + a - 0.5 * math.log(2.0 * math.pi)
    r = 1.0 / a
    series = r * (1 / 12 - r.square() * (1 / 360 - r.square() * (1 / 1260 - r.square() / 1680)))
    return torch.where(a < 20.0, direct, series)


def poisson_lognormal_quantile(probability: float, mean: Tensor, variance: Tensor) -> Tensor:
    """Smallest y with P(Y ≤ y) ≥ probability, elementwise; nan where mean or variance is. mean −inf gives 0."""
    mean, variance = torch.broadcast_tensors(mean, variance)
    shape = mean.shape
    mean, variance = mean.reshape(-1), variance.reshape(-1)
    known = torch.isfinite(mean) & torch.isfinite(variance)
    out = torch.where(torch.isneginf(mean) & ~variance.isnan(), 0.0, torch.nan).to(mean)
    places = known.nonzero()[:, 0]
    for at in places.split(BLOCK):
        out[at] = _search(probability, mean[at], variance[at])
    return out.reshape(shape)


def _search(probability: float, mean: Tensor, variance: Tensor) -> Tensor:
    """Bracket (low, high] around the quantile, and shrink it; (m,) each.

    The probit of the distribution function is nearly linear in log(y + 1), so the chord there lands close to the
    quantile; every third trial halves the bracket instead, which bounds the number of trials.
    """
    target = torch.special.ndtri(mean.new_tensor(probability))
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
            share = (target - left) / (right - left)
            chord = torch.expm1((a + 2.0).log() + share * ((b + 2.0).log() - (a + 2.0).log())) - 1.0
            y = torch.where(torch.isfinite(chord), chord.ceil() - trial % 3, y)
        y = torch.minimum(torch.maximum(y, a + 1.0), b - 1.0)
        f = poisson_lognormal_cdf(y, mean[at], variance[at])
        enough = f >= probability
        high[at], f_high[at] = torch.where(enough, y, b), torch.where(enough, f, f_high[at])
        low[at], f_low[at] = torch.where(enough, a, y), torch.where(enough, f_low[at], f)
    return high
