"""The verdict on a fit: one list of checks, which the end of a fit, `diagnose`, reports and Python tell alike.

A check looks at one thing that would make the fit misleading, says what it found, and what to do about it. Those of the
fit and its data alone are made at the end of every fit; with a diagnosis there are those of how well the model holds.

Whether the offset accounts for depth. Under the right offset the latent values less what covariates explain, averaged
over the features of a sample, are independent of the offset, so their rank correlation with it has a standard deviation
of 1/sqrt(n − 1) (Kendall & Gibbons 1990). A trend is told beyond CLEAR of these, and beyond TREND in size: of 553
simulated fits with their true offset (5 to 40 features, 30 to 120 samples, depths with a standard deviation of 0.3 to
1.2 on the log scale) in none, where the correlation had the standard deviation that it should have; without an offset
in 88 %, with half of the true one in 57 % (of 120 samples whose depths differ by 0.7 or more, in all and in 98 %).
What is compared with is the method that came closest to the true depths in 100 simulated tables, with and without many
zeros, effects and a feature that blooms: median errors of wrench and gmpr 0.12 to 0.27 on the log scale, of total 0.20
to 0.82.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from plncli.dataset import Dataset
from plncli.errors import counted, some
from plncli.inference.hypotheses import INTERCEPT, Terms
from plncli.models.abilities import MeanResiduals
from plncli.models.findings import FINE, IN_FULL, LOOK, NOTE, STATES, Check
from plncli.models.fitted import Fitted
from plncli.models.spec import COUNTS
from plncli.names import BY_POSITION, SE_CUT_SHORT
from plncli.numerics.linalg import basis_of
from plncli.numerics.rows import over_parts, over_rows, total
from plncli.numerics.significance import rank_correlation
from plncli.numerics.size_factors import spread
from plncli.optim.base import Status
from plncli.sparse import row_totals

TREND, CLEAR = 0.3, 3.29
"""Rank correlation of residuals and depth that is told: in size, and in standard deviations (p < 0.001)."""
EVEN = 2.0
"""Depths that vary less than that many times need no offset."""
FEWEST = 4
"""Samples a coefficient below which asymptotic standard errors are doubtful."""
RARE = 3
"""Samples below which a level of a factor says little."""
LEVERAGE = 0.5
"""Leverage above which a sample decides most of its own fitted value (Huber 1981, section 7.2)."""
WIDTH = 100
"""Signs of the names in a sentence."""
ERRORS = {
    "no-standard-errors",
    SE_CUT_SHORT,
    "naive-standard-errors",
    "few-clusters",
    "single-sample",
    "resamples-failed",
    "not-finite-in-resamples",
}
"""Codes of findings about standard errors."""


@dataclass(frozen=True)
class Subject:
    """A finished fit as checks see it.

    summary: `converged`, `status`, `gap`, `findings`, `se`, `n_samples`, `n_features` and `n_covariates` of
    summary.json; terms: its coefficients; offset: how it was given, empty where it was not (`inputs.designs.record`).
    data: what was fitted, and diagnosis: facts of a diagnosis; None where they are not at hand.
    """

    summary: Mapping[str, Any]
    fitted: Fitted
    terms: Terms
    offset: str = ""
    data: Dataset | None = None
    diagnosis: Mapping[str, Any] | None = None

    def finding(self, code: str) -> Mapping[str, Any] | None:
        """The finding of that code, if there is one."""
        return next((one for one in self.summary["findings"] if one["code"] == code), None)

    @property
    def noun(self) -> str:
        """What a column of the response is called."""
        return self.fitted.spec.noun


def checks(subject: Subject) -> tuple[Check, ...]:
    """All that can be checked of a fit: first what needs a look, then notes, then what is fine; by harm in each."""
    found = [check for look in LOOKS for check in look(subject)]
    return tuple(sorted(found, key=lambda check: STATES.index(check.state)))


def _convergence(subject: Subject) -> Iterator[Check]:
    summary = subject.summary
    gap, status = summary["gap"], summary["status"]
    numbers = {"gap": None if gap is None or math.isnan(gap) else gap, "status": status}
    if summary["converged"]:
        far = f"up to about {gap:.2g} nats" if gap and abs(gap) >= 1e-12 else "to machine precision"
        sentence = "" if gap is None else f": it is at the optimum {far}"
        yield Check("convergence", FINE, f"The fit converged{sentence}.", numbers=numbers)
        return
    name = status.upper()
    if name in Status.__members__ and Status[name].done:
        yield Check("convergence", NOTE, Status[name].sentence, numbers=numbers)
        return
    sentence = Status[name].sentence if name in Status.__members__ else f"Ended as {status}, before converging."
    yield Check("convergence", LOOK, sentence, numbers=numbers)


def _expected_counts(subject: Subject) -> Iterator[Check]:
    if subject.fitted.spec.response is COUNTS and subject.fitted.spec.latent:
        fine = "Marginal expected counts stay within the counts that were seen."
        yield _of_finding(subject, "expected-counts", "expected-counts", fine)


def _of_finding(subject: Subject, name: str, code: str, fine: str) -> Check:
    """The check that a finding of the fit answers."""
    found = subject.finding(code)
    if found is None:
        return Check(name, FINE, fine)
    names = tuple(found.get("names", ()))
    numbers = {"names": len(names)} | ({"cells": len(found["cells"])} if found.get("cells") else {})
    state = NOTE if found.get("note") else LOOK
    return Check(name, state, found["message"], found.get("remedy", ""), numbers, names)


def _offset(subject: Subject) -> Iterator[Check]:
    """Whether residuals go with depth: with the offset, or with total counts where there is none."""
    fitted, data, given = subject.fitted, subject.data, subject.offset
    if data is None or not isinstance(fitted, MeanResiduals):
        return
    offset = data.O.detach().cpu().double().mean(1)
    varies = float(offset.max() - offset.min()) > 1e-9
    depth = offset.exp() if varies else row_totals(data.Y).detach().cpu().double()
    fold = spread(depth).fold
    rho = rank_correlation(depth, fitted.mean_residuals(data))
    what = "the offset" if varies else "total counts"
    numbers = {"rank_correlation": None if math.isnan(rho) else rho, "fold": fold, "depth": what, "offset": given}
    known = f"rank correlation {rho:.2f}".replace("-", "−")
    if math.isnan(rho) or fold <= EVEN:
        yield Check("offset", FINE, f"Depth varies little between samples ({fold:.3g}-fold).", numbers=numbers)
    elif abs(rho) <= max(TREND, CLEAR / math.sqrt(data.n - 1.0)):
        yield Check("offset", FINE, f"Residuals do not go with {what} ({known}).", numbers=numbers)
    else:
        yield _trend(rho > 0, given if varies else "", known, numbers)


def _trend(rises: bool, given: str, known: str, numbers: Mapping[str, Any]) -> Check:
    """What a trend of residuals with depth means, and what to do."""
    if not given:
        sentence = f"There is no offset, and residuals go with total counts ({known}): depth counts as abundance."
        return Check("offset", LOOK, sentence, "Give --exposure FILE, or --offset-method total.", numbers)
    method = given.removeprefix("offset_method:") if given.startswith("offset_method:") else ""
    other = f"--offset-method {'gmpr' if method == 'wrench' else 'wrench'}"
    if method == "total" and not rises:
        sentence = (
            f"Residuals fall as totals rise ({known}): few features make the totals, and read against these the others "
            f"fall where they rise. Compare with {other}."
        )
        return Check("offset", NOTE, sentence, "", numbers)
    more, rise = ("more", "rise") if rises else ("less", "fall")
    sentence = f"Counts rise with depth by {more} than the offset says: residuals {rise} with it ({known})."
    remedy = f"Compare with {other}." if method else f"Check its scale and samples, or compare with {other}."
    return Check("offset", LOOK, sentence, remedy, numbers)


def _standard_errors(subject: Subject) -> Iterator[Check]:
    told = [one["code"] for one in subject.summary["findings"] if one["code"] in ERRORS]
    for code in told:
        yield _of_finding(subject, "standard-errors", code, "")
    if told:
        return
    method = subject.summary["se"]
    if method == "none":
        sentence = "No standard errors were asked for, so how certain the coefficients are is not known."
        if not subject.fitted.linear:
            sentence = "A neural mean has no standard errors: how certain it is, is not known."
        yield Check("standard-errors", FINE, sentence, numbers={"method": method})
    else:
        yield Check("standard-errors", FINE, f"Standard errors ({method}) are there.", numbers={"method": method})


def _samples(subject: Subject) -> Iterator[Check]:
    """Samples a coefficient."""
    if not subject.fitted.linear:
        return
    n, d = subject.summary["n_samples"], subject.summary["n_covariates"]
    numbers = {"n_samples": n, "n_coefficients": d, "ratio": n / d}
    shape = f"{counted(n, 'sample')} for {counted(d, 'coefficient')} a {subject.noun}"
    if n >= FEWEST * d or math.isfinite(subject.fitted.df):  # t and F tests are exact
        yield Check("samples-per-coefficient", FINE, f"{shape}: {n / d:.3g} a coefficient.", numbers=numbers)
        return
    sentence = f"{shape} are few: intervals and tests are rough below {FEWEST} samples a coefficient."
    yield Check("samples-per-coefficient", LOOK, sentence, "Leave out terms, or merge levels.", numbers)


def _levels(subject: Subject) -> Iterator[Check]:
    """Samples of each level of the factors that are terms by themselves."""
    if subject.data is None:
        return
    sizes = dict(level_sizes(subject.terms, subject.data))
    if not sizes:
        return
    few = {level: size for level, size in sizes.items() if size < RARE}
    if not few:
        smallest = min(sizes.values())
        yield Check("levels", FINE, f"Each level has {smallest} samples or more.", numbers={"smallest": smallest})
        return
    shown = some((f"{level}: {size}" for level, size in few.items()), where=IN_FULL, width=WIDTH)
    sentence = f"{counted(len(few), 'level')} with fewer than {RARE} samples, on which contrasts with it rest: {shown}."
    remedy = "Merge such levels, or leave their samples out."
    yield Check("levels", LOOK, sentence, remedy, {"samples": few}, tuple(few))


def level_sizes(terms: Terms, data: Dataset) -> Iterator[tuple[str, int]]:
    """`factor level` and its samples, of factors whose columns of the design are indicators of levels."""
    known = [(factor, levels, terms.groups.get(factor)) for factor, levels in terms.levels.items()]
    factors = [
        (factor, levels, list(columns))
        for factor, levels, columns in known
        if columns is not None and len(columns) in (len(levels), len(levels) - 1)
    ]
    if not factors:
        return
    at = [k for _, _, columns in factors for k in columns]
    others, ones = over_parts(lambda part: _indicated(part.X[:, at]), data, "X")
    number, zeros, place = data.n, others.tolist(), 0
    for factor, levels, columns in factors:
        end = place + len(columns)
        sizes = [int(size) for size in ones[place:end].tolist()]
        sound, place = not any(zeros[place:end]), end
        if not sound:
            continue
        if len(columns) < len(levels):
            sizes = [number - sum(sizes), *sizes]
        yield from ((f"{factor} {level}", size) for level, size in zip(levels, sizes, strict=True) if size)


def _indicated(part: Tensor) -> tuple[Tensor, Tensor]:
    """Of each column of b×c, how many entries are neither 0 nor 1, and the sum."""
    return total(((part != 0) & (part != 1)).to(part)), total(part)


def _fit_of_features(subject: Subject) -> Iterator[Check]:
    facts = subject.diagnosis
    if facts is None or "poor" not in facts:
        return
    poor, p, noun = facts["poor"], facts["n_features"], subject.noun
    test = f"({subject.fitted.spec.words.fit_test} test, q < 0.05)"
    names = tuple(facts.get("poor_features", ()))
    numbers = {"poor": poor, "of": p}
    if not poor:
        yield Check("fit-of-features", FINE, f"No {noun} departs from the model {test}.", numbers=numbers)
        return
    which = f": {some(names, where='diagnosis', width=WIDTH)}" if names else ""
    verb = "departs" if poor == 1 else "depart"
    sentence = f"{poor} of {counted(p, noun)} {verb} from the model {test}{which}."
    yield Check(
        "fit-of-features", LOOK, sentence, "Look at their residuals: a covariate may be missing.", numbers, names
    )


def _zeros(subject: Subject) -> Iterator[Check]:
    zeros = (subject.diagnosis or {}).get("zeros")
    if zeros is None:
        return
    share, expected, names = 100 * zeros["share"], 100 * zeros["expected"], tuple(zeros.get("poor_features", ()))
    numbers = {"share": zeros["share"], "expected": zeros["expected"], "poor": len(names)}
    overall = f"{share:.1f} % of the counts are zeros, {expected:.1f} % expected"
    if not names:
        yield Check("zeros", FINE, f"{overall}; no feature is far off.", numbers=numbers)
        return
    far = f"{counted(len(names), 'feature')} {'is' if len(names) == 1 else 'are'} far off (q < 0.05)"
    sentence = f"{overall}; {far}: {some(names, where='diagnosis', width=WIDTH)}."
    yield Check("zeros", LOOK, sentence, "See `plncli plot RUN zeros`; take these with care.", numbers, names)


def _influence(subject: Subject) -> Iterator[Check]:
    """Samples that decide the fit: by Cook's distance where it is known, else by leverage."""
    data, facts = subject.data, subject.diagnosis or {}
    cook = facts.get("influential")
    if cook is not None:
        names, numbers = tuple(cook["names"]), {"largest_cook": cook["largest_cook"]}
        what, fine = (
            "Cook's distance above 1",
            f"No sample moves the fit much (Cook's distance {cook['largest_cook']:.2g}).",
        )
    elif data is not None and subject.fitted.linear and subject.terms.names != (INTERCEPT,):
        which, largest, first = [], 0.0, 0
        for leverage in leverages(data):
            which += (first + (leverage > LEVERAGE).nonzero()[:, 0]).tolist()
            largest, first = max(largest, float(leverage.max())), first + len(leverage)
        names, numbers = tuple(data.samples[i] for i in which), {"largest_leverage": largest}
        what, fine = f"leverage above {LEVERAGE:g}", f"No sample decides the fit (largest leverage {largest:.2g})."
    else:
        return
    if not names:
        yield Check("influence", FINE, fine, numbers=numbers)
        return
    shown = some(names, where=IN_FULL if cook is None else "diagnosis", width=WIDTH)
    sentence = f"{counted(len(names), 'sample')} with a {what}, on which coefficients rest: {shown}."
    yield Check("influence", LOOK, sentence, "Check them, and fit without them to compare.", numbers, names)


def leverages(data: Dataset) -> Iterator[Tensor]:
    """w x'(X'WX)^-1 x of each sample, (b,) by blocks: its share in its own fitted value, all cells counting alike."""
    basis, wbar = basis_of(data), data.total_weight
    for part in data.parts("Xw"):
        A, out = basis.rows(part), torch.empty_like(part.w)

        def add(rows: slice, A: Tensor = A, out: Tensor = out) -> tuple[Tensor]:
            torch.sum((A[rows] @ basis.U).square(), 1, out=out[rows])
            return (out[:0],)

        over_rows(add, A, data.d)
        yield out.mul_(part.w / wbar)


def _weights(subject: Subject) -> Iterator[Check]:
    khat = (subject.diagnosis or {}).get("khat")
    if khat is None:
        return
    many, numbers = khat["unreliable"], dict(khat)
    if not many:
        sentence = f"The log-likelihood is reliable: k of the importance weights is at most {khat['largest']:.2f}."
        yield Check("importance-weights", FINE, sentence, numbers=numbers)
        return
    sentence = f"The log-likelihood of {counted(many, 'sample')}, and so the sum, is unreliable (k above 0.7)."
    yield Check("importance-weights", LOOK, sentence, "Draw more, with --draws; the fit itself is unaffected.", numbers)


def _separation(subject: Subject) -> Iterator[Check]:
    spec = subject.fitted.spec
    if spec.response.whole and subject.fitted.linear:
        yield _of_finding(subject, "separation", "separation", f"Each {spec.noun} has finite coefficients.")


def _variance(subject: Subject) -> Iterator[Check]:
    if subject.fitted.spec.latent and subject.fitted.spec.response is COUNTS:
        fine = "All features vary more than Poisson."
        yield _of_finding(subject, "variance-at-zero", "no-extra-poisson-variance", fine)


def _others(subject: Subject) -> Iterator[Check]:
    """Findings of the fit that no check above tells."""
    known = ERRORS | {BY_POSITION, "expected-counts", "separation", "no-extra-poisson-variance", "few-samples"}
    for code in dict.fromkeys(one["code"] for one in subject.summary["findings"]):
        if code not in known:
            yield _of_finding(subject, code, code, "")


def _matching(subject: Subject) -> Iterator[Check]:
    if subject.finding(BY_POSITION):
        yield _of_finding(subject, BY_POSITION, BY_POSITION, "")


LOOKS: tuple[Callable[[Subject], Iterator[Check]], ...] = (
    _matching,
    _convergence,
    _expected_counts,
    _separation,
    _offset,
    _standard_errors,
    _fit_of_features,
    _zeros,
    _samples,
    _influence,
    _levels,
    _weights,
    _others,
    _variance,
)
"""In order of the harm that is done where they are overlooked."""
