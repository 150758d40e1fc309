"""Scales of coefficients: what is told on them says the same as the natural logarithms."""

from __future__ import annotations

import math

import numpy as np
import pytest

from plncli.errors import UsageError
from plncli.models import MODELS
from plncli.names import SCALES
from plncli.runs.scales import NATURAL, on_scale, scale_of, with_scale

ROW = {"estimate": np.array([0.0, -2.0, -math.inf, math.nan, 800.0]), "conf_low": -1.0, "conf_high": 1.0}
LOGARITHMS = [spec for spec in MODELS.values() if spec.words.ratio]
OTHERS = [spec for spec in MODELS.values() if not spec.words.ratio]


@pytest.mark.parametrize("spec", LOGARITHMS, ids=lambda spec: spec.name)
def test_each_scale_says_the_same(spec: object) -> None:
    log, log2, ratio = (scale_of(spec, name).of(ROW["estimate"]) for name in SCALES)
    assert np.array_equal(log, ROW["estimate"], equal_nan=True)
    assert np.array_equal(2.0 ** log2[:3], ratio[:3]) or np.allclose(2.0 ** log2[:3], ratio[:3], rtol=1e-15)
    assert ratio.tolist()[:3] == [1.0, math.exp(-2.0), 0.0]
    assert math.isnan(ratio[3]) and ratio[4] == math.inf  # beyond what a number holds


@pytest.mark.parametrize("spec", LOGARITHMS, ids=lambda spec: spec.name)
@pytest.mark.parametrize("name", SCALES)
def test_natural_logarithms_stay_and_no_scale_changes_them(spec: object, name: str) -> None:
    scale = scale_of(spec, name)
    both = with_scale(ROW, scale)
    assert all(both[key] is ROW[key] for key in ROW)
    assert tuple(both)[3:] == (() if name == NATURAL else scale.columns)
    value, low, high = (float(np.ravel(column)[0]) for column in on_scale(ROW, scale).values())
    assert low < value == scale.null < high


@pytest.mark.parametrize("spec", OTHERS, ids=lambda spec: spec.name)
def test_coefficients_that_are_no_logarithms_have_no_ratios(spec: object) -> None:
    assert scale_of(spec, NATURAL).columns[0] == "estimate"
    for name in set(SCALES) - {NATURAL}:
        with pytest.raises(UsageError, match=f"--scale {name} is for coefficients that are logarithms of ratios"):
            scale_of(spec, name)


def test_an_unknown_scale_is_refused() -> None:
    with pytest.raises(UsageError, match="--scale must be log, log2 or ratio, not `ln`"):
        scale_of(LOGARITHMS[0], "ln")
