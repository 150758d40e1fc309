"""What a model with zero inflation declares."""

from __future__ import annotations

from plncli.models.spec import Setting, Symbol
from plncli.names import MODEL

NONE = "none"
ZERO_INFLATION = Setting(
    "Structural zeros, counts that are 0 whatever the latent layer says, with one probability for all counts, or one a "
    "feature or a sample.",
    MODEL,
    name="zero_inflation",
    default=NONE,
    choices=(NONE, "single", "feature", "sample"),
    titles={
        "single": "zero-inflated",
        "feature": "zero-inflated by feature",
        "sample": "zero-inflated by sample",
    },
    compared=True,
    told=True,
    within={"single": (NONE,), "feature": (NONE, "single"), "sample": (NONE, "single")},
    boundary={"single": "all", "feature": "response", "sample": "sample"},
)
SYMBOLS = {"single": "zeta_all", "feature": "zeta_response", "sample": "zeta_sample"}
"""What logits are of -> the symbol by which a fit leaves them."""
TABLE = ("zero_inflation", "probabilities of structural zeros, and their logits")
TABLES = (
    Symbol("zeta_all", (), state=True, optional=True),
    Symbol("zeta_response", ("response",), state=True, optional=True),
    Symbol("zeta_sample", ("sample",), state=True, optional=True),
    Symbol(
        "P0",
        ("sample", "response"),
        "zero_probability",
        finite=True,
        asked=True,
        optional=True,
        meaning="probabilities that counts are structural zeros, given all counts of their sample",
    ),
)
