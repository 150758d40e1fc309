"""What logistic and linear regression declare."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from plncli.errors import UsageError
from plncli.models.neural import spec as neural
from plncli.models.spec import BLOCK_ROWS, CLASSES, NUMBERS, SIGMA, B, Setting, Size, Spec, Symbol, Work
from plncli.models.words import StoryFacts, Words
from plncli.names import MODEL, PROFILE, RESAMPLING

FIRTH = "firth"
ERRORS = ("fisher", "robust", "hc0", "hc1", "hc2", "hc3")
BLOCKS = 1 << 23
"""Numbers in the temporaries of a few blocks of rows, which do not grow with the table."""


def _blocks(size: Size) -> int:
    return min(BLOCKS, 20 * size.n * max(size.p, size.d))


def logistic_memory(size: Size) -> float:
    """Numbers at the peak of a fit, measured: 7 n×p, and p×d×d for the standard errors; d×d×d with the penalty.

    Nothing grows with n×d unless the design is ill-conditioned, which takes 3 n×d more.
    """
    if neural.has_network(size.own):
        return 14.0 * size.n * size.p + neural.memory(size)
    bent = 4.0 * size.d**3 + _blocks(size) if size.own.get("penalty") == FIRTH else 0.0
    return 7.0 * size.n * size.p + 6 * size.p * size.d**2 + _blocks(size) + bent


def linear_memory(size: Size) -> float:
    """The same of a linear regression: 1 n×p."""
    if neural.has_network(size.own):
        return 8.0 * size.n * size.p + 6.0 * size.p**2 + neural.memory(size)
    return size.n * size.p + 6.0 * size.p**2 + 3 * size.p * size.d**2 + _blocks(size)


def logistic_work(size: Size) -> tuple[Work, Work]:
    """The least and the most that fits usually take."""
    del size
    return Work(5, 3), Work(15, 15)


def linear_work(size: Size) -> tuple[Work, Work]:
    """The least and the most that fits usually take."""
    del size
    return Work(1, 0), Work(3, 2)


def logistic_story(facts: StoryFacts) -> list[str]:
    """The model in words."""
    if neural.has_network(facts.own):
        return [
            "The log odds of the second class of each response are a function of the covariates, which a neural "
            "network has learnt.",
            *neural.story(facts),
        ]
    penalised = facts.own["penalty"] == FIRTH
    return [
        "The log odds of the second class of each response are a sum of the covariates times their coefficients: "
        "exp(coefficient) is the factor by which the odds change when the covariate rises by one.",
        *(["The likelihood was penalised (Firth), which keeps coefficients finite and removes most bias."] * penalised),
        *(
            f"{name}: coefficients speak of the odds of {one} against {zero}."
            for name, (zero, one) in list(zip(facts.responses, facts.classes, strict=True))[:6]
        ),
    ]


def linear_story(facts: StoryFacts) -> list[str]:
    """The model in words."""
    if neural.has_network(facts.own):
        return [
            "Each response is a function of the covariates, which a neural network has learnt, plus normal errors.",
            *neural.story(facts),
        ]
    told = [
        "Each response is a sum of the covariates times their coefficients, plus normal errors: a coefficient is "
        "the change of the response, in its own units, when the covariate rises by one."
    ]
    return told + ["Σ is the covariance of the errors of the responses."] * (len(facts.responses) > 1)


def logistic_check(own: Mapping[str, Any]) -> None:
    """UsageError for standard errors that are not for a likelihood that is penalised, or only for one that is."""
    neural.check(own)
    se, penalised = own.get("se", "auto"), own["penalty"] == FIRTH
    if penalised and se in ERRORS[1:]:
        raise UsageError(
            f"--se {se} rests on the scores of a likelihood without penalty. With --penalty {FIRTH} use --se {PROFILE} "
            "or fisher, bootstrap or jackknife."
        )
    if penalised and own.get("cluster") and se not in (*RESAMPLING, "none"):
        raise UsageError(
            f"With --penalty {FIRTH}, standard errors of samples in clusters (--cluster {own['cluster']}) are those of "
            "--se bootstrap or jackknife."
        )


def by_blocks(own: Mapping[str, Any]) -> str:
    """What needs all rows at once."""
    if neural.has_network(own):
        return "a neural mean takes the table whole"
    if own.get("penalty") == FIRTH:
        return f"--penalty {FIRTH} takes the table whole"
    se = own.get("se", "auto")
    return f"--se {se} takes the table whole" if se in (PROFILE, *RESAMPLING) else ""


LOGISTIC = Spec(
    name="logistic",
    title="logistic regression",
    help="""Logistic regression: two-valued responses.

    One or several responses, fitted together.""",
    response=CLASSES,
    model="plncli.models.regression.logistic:Logistic",
    fitted="plncli.models.regression.fitted:FittedLogistic",
    symbols=(replace(B, instead=(neural.NETWORK,)), *neural.SYMBOLS),
    further=(neural.TABLE,),
    facts=neural.FACTS,
    standard_errors=(*ERRORS, PROFILE),
    settings=(
        Setting(
            "Penalty of the likelihood: firth keeps the coefficients of separated classes finite.",
            MODEL,
            name="penalty",
            default="none",
            choices=("none", FIRTH),
            titles={"none": "no penalty", FIRTH: "Firth's penalty"},
            compared=True,
            penalised=(FIRTH,),
            null="none",
        ),
        *neural.SETTINGS,
        BLOCK_ROWS,
    ),
    check=logistic_check,
    optimizers=neural.optimizers,
    shares=neural.shares,
    by_blocks=by_blocks,
    memory=logistic_memory,
    work=logistic_work,
    words=Words(
        story=logistic_story,
        scale="log odds",
        effect="odds ratio",
        ratio="odds ratio",
        covariance_title="Correlations of the errors",
        fit_test="Hosmer-Lemeshow",
        meanings={
            "separation": (
                "The covariates separate the classes, so the maximum-likelihood coefficients are infinite. Their signs "
                "are meaningful; their sizes are not."
            )
        },
        doubts={
            "separation": ("The classes of {names} are separated: probabilities there depend on where the fit stopped.")
        },
    ),
)

LINEAR = Spec(
    name="linear",
    title="linear regression",
    help="""Linear regression: real-valued responses.

    One or several responses, with their residual covariance by maximum likelihood.""",
    response=NUMBERS,
    model="plncli.models.regression.linear:Linear",
    fitted="plncli.models.regression.fitted:FittedLinear",
    symbols=(
        replace(B, instead=(neural.NETWORK,)),
        Symbol("Sigma", ("response", "response"), "sigma", finite=True, meaning="covariance of the residuals"),
        Symbol("Omega", ("response", "response"), "omega", meaning="its inverse"),
        Symbol(
            "Sigma_unbiased",
            ("response", "response"),
            state=True,
            reported="sigma_unbiased",
            meaning="residual covariance with n - d in place of n",
        ),
        *neural.SYMBOLS,
    ),
    further=(neural.TABLE,),
    facts=neural.FACTS,
    standard_errors=ERRORS,
    settings=(*neural.SETTINGS, SIGMA, BLOCK_ROWS),
    check=neural.check,
    optimizers=neural.optimizers,
    shares=neural.shares,
    by_blocks=by_blocks,
    memory=linear_memory,
    work=linear_work,
    words=Words(
        story=linear_story,
        scale="units of the response",
        effect="difference",
        covariance_title="Correlations of the errors",
        score="loglik: log-likelihood of a held-out sample, in nats; deviance: its squared error",
    ),
)
