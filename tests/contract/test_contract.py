"""Every model keeps to the contract of a model."""

from __future__ import annotations

import pytest
from contract.laws import LAWS, Law, fit, model_of, table

from plncli.models import MODELS
from plncli.models.spec import Spec

NAMES = list(MODELS)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
@pytest.mark.parametrize("name", NAMES)
def test_law(name: str, law: Law) -> None:
    law(MODELS[name])


@pytest.mark.gpu
@pytest.mark.parametrize("name", NAMES)
def test_the_device_is_no_matter(name: str) -> None:
    spec: Spec = MODELS[name]
    there = fit(model_of(spec), table(spec).to("cuda"))
    here = fit(model_of(spec), table(spec))
    assert abs(there.criteria.loglik - here.criteria.loglik) < 1e-6
