"""What a fit is, how it ended and what is odd about it, in sentences for a reader who knows the model by name only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from plncli.errors import counted, some
from plncli.inference.hypotheses import INTERCEPT
from plncli.models.spec import COUNTS
from plncli.models.words import StoryFacts
from plncli.names import SE_CUT_SHORT, TRAINED
from plncli.optim.base import Status
from plncli.plots.components.ordination import ends
from plncli.runs.run import Run
from plncli.verbs.show import choice

DETERMINED = 1e-3
"""Nats below which a gap changes no digit that anybody would report."""


def title(run: Run) -> str:
    """What the model is called in a sentence."""
    return run.spec.words.title or run.spec.title


def model(run: Run) -> list[str]:
    """The model of this fit in words."""
    own = {setting.name: run.settings.get(setting.name) for setting in run.spec.settings}
    return run.spec.words.story(StoryFacts(run.responses, run.classes or (), own))


def offset(run: Run) -> str:
    """Where the offset came from."""
    settings, parts = run.settings, []
    if settings.get("exposure"):
        parts.append(f"the logarithm of the exposure in {_file(settings['exposure'])}")
    if settings.get("offsets"):
        parts.append(f"the values in {_file(settings['offsets'])}")
    if settings.get("offset_method"):
        parts.append(
            f"the logarithm of size factors estimated from the counts by the method {settings['offset_method']}"
        )
    parts += [f"offset({text}) in the formula" for text in run.design["formula"].get("offsets", ())]
    if parts:
        return f"The offset, which accounts for how much of each sample was observed, is {' plus '.join(parts)}."
    return run.spec.words.no_offset


def _file(path: str) -> str:
    return PurePath(path).name


def terms(run: Run) -> Iterator[str]:
    """What each term of the formula is, a sentence each."""
    known = run.coefficients
    if not run.has_coefficients:
        for term, columns in known.groups.items():
            if term != INTERCEPT:
                levels = known.levels.get(term)
                of = f", a factor with the levels {some(levels, 12)}" if levels else ""
                yield f"{term}{of}: {counted(len(columns), 'input')} of the network."
        return
    for term, columns in known.groups.items():
        names = [run.terms[k] for k in columns]
        levels = known.levels.get(term)
        if term == INTERCEPT:
            yield "Intercept: the level where all other covariates are 0, and factors are at their first level."
        elif levels and len(columns) == len(levels):
            yield f"{term}: a factor with the levels {some(levels, 12)}, and a mean for each."
        elif levels and len(columns) == len(levels) - 1:
            yield (
                f"{term}: a factor with the levels {some(levels, 12)}. Its coefficients ({some(names, 12)}) compare "
                f"each level with {levels[0]}."
            )
        elif len(names) == 1:
            yield f"{term}: one coefficient, the change when it rises by one."
        else:
            yield f"{term}: {counted(len(names), 'coefficient')} ({some(names, 12)})."


def convergence(summary: Mapping[str, Any]) -> str:
    """How the fit ended."""
    gap = summary["gap"]
    if summary["converged"]:
        if gap is None:
            return "The fit converged, but how far it is from the optimum is not known."
        if abs(gap) < 1e-12:
            return "The fit converged: it is at the optimum to machine precision."
        told = f"The fit converged: the optimum is at most about {gap:.2g} log-likelihood units (nats) away"
        return told + (", which changes no digit that anybody would report." if gap < DETERMINED else ".")
    name = summary["status"].upper()
    if summary["status"] in TRAINED:
        return f"The fit was trained. {Status[name].sentence}"
    sentence = Status[name].sentence if name in Status.__members__ else f"Ended as {summary['status']}."
    where = (
        "How far from the optimum it stopped is not known."
        if gap is None
        else f"The optimum is an estimated {gap:.2g} log-likelihood units (nats) away, or more."
    )
    return f"The fit did not converge, so its estimates are not those at the optimum. {sentence} {where}"


def path(run: Run) -> str:
    """Which fit of a path this is, and why; nothing for a single fit."""
    told = run.summary.get("path")
    return "" if told is None else f"This page is of the fit that was chosen: {choice(told)}."


def explained(run: Run) -> str:
    """What R² is a share of."""
    base = "the deviance that an intercept and the offset leave" if run.offset else "the deviance that a mean leaves"
    if run.spec.latent:
        return (
            f"share of {base} that the fitted counts explain; these follow each count by its latent value, so R² is "
            "near 1 without any covariate, and says nothing of them"
        )
    alone = "; the formula has no covariates, so there is nothing to explain it" if len(run.terms) == 1 else ""
    return f"share of {base} that the covariates explain{alone}"


CERTIFICATE = (
    "This distance, the gap, is half of g′H⁻¹g, with gradient g and Hessian H: what one Newton step would still "
    "gain. It does not depend on units or on the optimizer, and a fit is called converged only when it is at most the "
    "tolerance times the number of samples."
)

ENDS = 5
"""Features that are named at each end of a component."""
SEVERAL = 6
"""Components that are told one by one."""


def components(run: Run) -> list[str]:
    """How much of the latent variance each component of a fit of low rank carries, and what is at its ends."""
    if not all(map(run.spec.has, ("C", "share"))):
        return []
    C, share = run.estimates["C"], 100.0 * run.estimates["share"].astype(float)
    names, many = run.components[:SEVERAL], len(share)
    each = ", ".join(f"{name} {one:.1f} %" for name, one in zip(names, share, strict=False))
    left = f", and {counted(many - len(names), 'more component')} the other {share[SEVERAL:].sum():.1f} %"
    first = f" The first two carry {share[:2].sum():.1f} % together." if many > 2 else ""
    carry = "carries" if many == 1 else "carry"
    told = [
        f"{counted(many, 'component')} {carry} the latent variance that covariates leave: "
        f"{each}{left if many > len(names) else ''}.{first} What more components would add is not in these shares."
    ]
    for k, name in enumerate(names):
        high, low = ends(C[:, k], ENDS)
        parts = [(high, "more of"), (low, "less of")]
        what = ", and ".join(f"{word} {some(run.responses[j] for j in of)}" for of, word in parts if of)
        if what:
            told.append(f"{name}: samples with a high score have {what} than their covariates tell.")
    return told


FINDINGS = {
    "expected-counts": "Expected counts beyond sense",
    "separation": "Coefficients without a finite value",
    "not-determined": "Coefficients that are not estimable",
    "no-extra-poisson-variance": "Features no more variable than Poisson",
    "no-standard-errors": "No standard errors",
    SE_CUT_SHORT: "Standard errors not computed in time",
    "naive-standard-errors": "Standard errors far too small",
    "few-samples": "Few samples for so many coefficients",
    "few-clusters": "Few clusters",
    "single-sample": "Coefficients that rest on a single sample",
    "resamples-failed": "Some resampled fits failed",
    "not-finite-in-resamples": "Coefficients without a finite value in some resamples",
}
"""A heading for each code of a finding."""


def warnings(run: Run) -> list[dict[str, Any]]:
    """The findings of a fit: heading, meaning in plain words, the message of the fit, and whether it is but a note."""
    return [
        {
            "title": FINDINGS.get(finding["code"], finding["code"].replace("-", " ")),
            "meaning": run.spec.words.meanings.get(finding["code"], ""),
            "message": f"{finding['message']} {finding.get('remedy', '')}".rstrip(),
            "note": bool(finding.get("note")),
        }
        for finding in run.summary["findings"]
    ]


def data(run: Run, manifest: Mapping[str, Any]) -> list[str]:
    """What the rows and columns are, and what was left out."""
    summary = run.summary
    table = next((i for i in manifest.get("inputs", ()) if i["role"] in ("counts", "response")), None)
    place = f" of {_file(table['path'])}" if table else ""
    n, p = summary["n_samples"], summary["n_features"]
    told = []
    if run.spec.response is COUNTS:
        told.append(
            f"{counted(n, 'sample')} (rows{place}) by {counted(p, 'feature')} (columns): each entry says how often a "
            "feature was counted in a sample."
        )
    else:
        told.append(f"{counted(n, 'sample')} with {counted(p, 'response')}{place}: {some(run.responses, 12)}.")
    columns = list((run.design.get("x") or {}).get("columns", {}))
    source = run.settings.get("covariates")
    if columns:
        told.append(f"Covariates{f' of {_file(source)}' if source else ''}, matched by sample: {some(columns, 12)}.")
    if run.settings.get("weights"):
        told.append(f"Samples are weighted by {_file(run.settings['weights'])}.")
    if run.settings.get("cluster"):
        told.append(f"Clusters of samples are given by {_file(run.settings['cluster'])}.")
    return told


def diagnosis(found: Mapping[str, Any]) -> list[str]:
    """What `plncli diagnose` finds, a sentence each."""
    told = []
    if found.get("loglik_by"):
        error = f" ± {found['loglik_se']:.2g}" if found["loglik_se"] else ""
        told.append(
            f"The bound lies {found['gap']:.2f} nats below the log-likelihood at the estimates, {found['loglik']:.2f}"
            f"{error} by {found['loglik_by']}: {found['gap_by_sample']['median']:.2g} a sample (median), at most "
            f"{found['gap_by_sample']['largest']:.2g}. This gap is of the approximation, not of the optimizer."
        )
    if "khat" in found:
        many = found["khat"]["unreliable"]
        told.append(
            "That estimate is reliable: the Pareto shape k of the importance weights is above 0.7 in no sample."
            if not many
            else f"That estimate is unreliable in {counted(many, 'sample')}, whose k is above 0.7."
        )
    if "zeros" in found:
        share, expected = (100 * found["zeros"][name] for name in ("share", "expected"))
        told.append(f"{share:.2f} % of the counts are zeros, and {expected:.2f} % were expected.")
        told += _structural(found["zeros"])
    if "residuals" in found:
        one = found["residuals"]
        told.append(
            f"Residuals, which are standard normal where the model holds, have a mean of {one['mean']:.3f} and a "
            f"standard deviation of {one['sd']:.3f}; {100 * one['beyond_2']:.2f} % are beyond ±2 "
            f"({100 * one['expected_beyond_2']:.2f} % expected)."
        )
    if found.get("poor_features"):
        told.append(f"Those that depart from the model: {some(found['poor_features'])}.")
    return told


def _structural(zeros: Mapping[str, Any]) -> list[str]:
    """How many zeros are structural, and which features have the most; nothing without zero inflation."""
    if "structural" not in zeros:
        return []
    most = zeros["most_structural"]
    share = f"Of all counts {100 * zeros['structural']:.2f} % are expected to be structural zeros"
    if not most:
        return [f"{share}: none to speak of."]
    told = ", ".join(f"{name} ({many:.0f})" for name, many in most.items())
    return [f"{share}, which the rest of the model does not explain; most in {told}."]
