"""Log-likelihoods by family, cell by cell, in nats, constants included, accurate in both tails."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


def log_factorial(Y: Tensor) -> Tensor:
    """Log of Y!, elementwise, by lgamma: Stirling's formula would shift a likelihood and make a bound no bound."""
    return torch.lgamma(Y + 1.0)


def poisson_loglik(Y: Tensor, eta: Tensor) -> Tensor:
    """Log-probability of counts Y with means exp(eta), elementwise; eta may be −inf where Y is 0."""
    return torch.where(Y > 0, Y * eta, 0.0) - eta.exp() - log_factorial(Y)


def poisson_deviance(Y: Tensor, mu: Tensor) -> Tensor:
    """Twice the log-likelihood ratio of the saturated model against means mu, elementwise.

    mu may be 0 where Y is, and inf, where the deviance is too.
    """
    finite = 2.0 * (torch.special.xlogy(Y, Y) - torch.special.xlogy(Y, mu) - Y + mu)
    return torch.where(mu.isposinf(), math.inf, finite)


def expected_poisson_loglik(Y: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """E log p(Y | exp(Z)) under Z ~ N(mean, variance), elementwise; the mean contains the offset."""
    return Y * mean - (mean + 0.5 * variance).exp() - log_factorial(Y)


def gaussian_loglik(Y: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """Log-density of Y under N(mean, variance), elementwise."""
    return -0.5 * ((Y - mean).square() / variance + variance.log() + math.log(2.0 * math.pi))


def bernoulli_loglik(sign: Tensor, eta: Tensor) -> Tensor:
    """Log-probability of a Bernoulli outcome with log-odds eta, elementwise; `sign` is 1 for success, −1 for failure.

    The sign form −log(1 + exp(−sign·eta)) keeps its relative accuracy where y·eta − log(1 + exp(eta)) cancels.
    """
    return -softplus(-sign * eta)


def softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x)), elementwise, to full relative accuracy in both tails; so are its first two derivatives.

    torch's own softplus is x itself above 20, its logsigmoid loses the second derivative in one tail, and
    max(x, 0) + log1p(exp(−|x|)) left to autograd has the wrong slope at 0: hence the functions below.
    """
    return _Softplus.apply(x)


class _Softplus(torch.autograd.Function):
    """log(1 + e^x) with derivative 1/(1 + e^−x)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.abs().neg_().exp_().log1p_().add_(x.clamp(min=0.0))

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Tensor:
        (x,) = ctx.saved_tensors
        return grads[0] * _Sigmoid.apply(x)


class _Sigmoid(torch.autograd.Function):
    """1/(1 + e^−x) with derivative σ(x)σ(−x), where torch's σ(x)(1 − σ(x)) cancels for large x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.sigmoid(x)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Tensor:
        (x,) = ctx.saved_tensors
        return grads[0] * torch.sigmoid(x) * torch.sigmoid(-x)
