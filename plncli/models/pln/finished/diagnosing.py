"""What a fit of counts tells of how well its model holds: the bound, the likelihood, zeros, and residuals."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from plncli.dataset import Dataset
from plncli.models.abilities import Diagnosis, Zeros
from plncli.models.diagnosis import normality_columns, residual_facts, sizes, worst
from plncli.models.pln.finished.importance import LogLikelihood, likelihood_facts
from plncli.models.pln.finished.residuals import far_off
from plncli.numerics.rows import weighted_total

MOST = 5
"""Features whose structural zeros are told."""


def diagnosis(
    data: Dataset,
    bounds: Tensor,
    found: LogLikelihood | None,
    R: Tensor,
    zero: Zeros,
    counting: int,
    draws: int,
    *,
    independent: bool,
) -> Diagnosis:
    """Tables of samples and features, and facts.

    bounds: ELBO of each sample, (n,); found: their likelihoods, None where those were not asked for; R: residuals,
    n×p; counting: cells that count; draws: of each sample; independent: whether features are, given the covariates.
    """
    samples: dict[str, Any] = {"sample": list(data.samples), "elbo": bounds}
    facts: dict[str, Any] = {"elbo_by_sample": float(weighted_total(data.w, bounds))}
    if found is not None:
        gap = found.value - bounds
        samples |= {"loglik": found.value, "loglik_se": found.error, "khat": found.khat, "gap": gap}
        facts |= likelihood_facts(found, bounds, data.w, draws, independent)
    samples |= sizes(R, data.responses)
    by_feature = normality_columns(R)
    features = {
        "feature": list(data.responses),
        "zeros": zero.counted,
        "zeros_expected": zero.expected,
        **({} if zero.sampling is None else {"zeros_structural": zero.expected - zero.sampling}),
        "zeros_z": (zero.counted - zero.expected) / zero.sd,
        **by_feature,
    }
    facts["zeros"] = {
        "share": float(zero.counted.sum()) / counting,
        "expected": float(zero.expected.sum()) / counting,
        **_structural(zero, counting, data.responses),
        "poor_features": [data.responses[j] for j in far_off(zero).nonzero()[:, 0].tolist()],
    }
    facts |= residual_facts(R, by_feature, data.responses)
    facts["worst_samples"] = worst(samples, "residual_rms", ("sample", "residual_rms", "largest", "of"))
    facts["worst_features"] = worst(
        features, "ks", ("feature", "ks", "ks_q", "residual_mean", "residual_sd", "zeros", "zeros_expected")
    )
    return Diagnosis(facts, {"samples": samples, "features": features}, R)


def _structural(zero: Zeros, counting: int, responses: tuple[str, ...]) -> dict[str, Any]:
    """Of structural zeros: their expected share of all counts, and the features with the most; nothing without any."""
    if zero.sampling is None:
        return {}
    structural = zero.expected - zero.sampling
    order = structural.argsort(descending=True, stable=True)[:MOST].tolist()
    most = {responses[j]: float(structural[j]) for j in order if float(structural[j]) >= 1.0}
    return {"structural": float(structural.sum()) / counting, "most_structural": most}
