"""What a model with zero inflation declares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plncli.models.spec import FORMULA, Setting, Symbol
from plncli.names import MODEL

NONE, SINGLE, FEATURE, SAMPLE = "none", "single", "feature", "sample"
ZERO_INFLATION = Setting(
    "Structural zeros, counts that are 0 whatever the latent layer says, with one probability for all counts, or one a "
    "feature or a sample; or, by a formula such as `~ habitat`, with logits that are linear in covariates.",
    MODEL,
    name="zero_inflation",
    default=NONE,
    choices=(NONE, SINGLE, FEATURE, SAMPLE),
    titles={
        "single": "zero-inflated",
        "feature": "zero-inflated by feature",
        "sample": "zero-inflated by sample",
        FORMULA: "zero-inflated by",
    },
    formula=True,
    compared=True,
    told=True,
    within={
        "single": (NONE,),
        "feature": (NONE, "single"),
        "sample": (NONE, "single"),
        FORMULA: (NONE, "single", "feature"),
    },
    boundary={"single": "all", "feature": "response", "sample": "sample"},
)


def shares(own: Mapping[str, Any]) -> str:
    """What keeps samples from being shared among processes: parameters that samples have."""
    return "" if own[ZERO_INFLATION.name] in (NONE, SINGLE, FEATURE) else "structural zeros by sample or by covariates"


SYMBOLS = {"single": "zeta_all", "feature": "zeta_response", "sample": "zeta_sample"}
"""What logits are of -> the symbol by which a fit leaves them."""
TERMS = "terms"
"""What they are of where they are linear in covariates: coefficients `zeta_terms`, and `zeta_cells` of own samples."""
COURSES = "zero_"
"""Begins the names of what tells where logits of other samples go (`PredictorLimits`)."""
TABLE = ("zero_inflation", "probabilities of structural zeros, and their logits")
TABLES = (
    Symbol("zeta_all", (), state=True, optional=True),
    Symbol("zeta_response", ("response",), state=True, optional=True),
    Symbol("zeta_sample", ("sample",), state=True, optional=True),
    Symbol("zeta_terms", ("zero_term", "response"), state=True, finite=True, optional=True),
    Symbol("zeta_cells", ("sample", "response"), state=True, optional=True),
    Symbol(
        "P0",
        ("sample", "response"),
        "zero_probability",
        asked=True,
        optional=True,
        meaning="probabilities that counts are structural zeros, given all counts of their sample; empty if unknown",
    ),
)
