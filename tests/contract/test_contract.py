"""Every model keeps to the contract of a model."""

from __future__ import annotations

import pytest
from contract.laws import LAWS, Law, fit, model_of, table

from plncli.models import MODELS
from plncli.models.spec import Spec

NAMES = list(MODELS)
LONG = {
    ("pln-pca", law) for law in ("an_offset_lowers_the_intercept", "float32_agrees", "order_of_responses_is_no_matter")
}
"""Laws that are tried on many starts each time, of which the quick tests have others of the kind."""
TRIED = [
    pytest.param(name, law, marks=pytest.mark.slow if (name, law.__name__) in LONG else (), id=f"{name}-{law.__name__}")
    for name in NAMES
    for law in LAWS
]


@pytest.mark.parametrize(("name", "law"), TRIED)
def test_law(name: str, law: Law) -> None:
    law(MODELS[name])


@pytest.mark.gpu
@pytest.mark.parametrize("name", NAMES)
def test_the_device_is_no_matter(name: str) -> None:
    spec: Spec = MODELS[name]
    there = fit(model_of(spec), table(spec).to("cuda"))
    here = fit(model_of(spec), table(spec))
    assert abs(there.criteria.loglik - here.criteria.loglik) < 1e-6
