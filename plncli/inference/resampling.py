"""Bootstrap and jackknife: standard errors from how much the estimates move when the samples do.

Bootstrap (Efron 1979): draw the samples anew, with replacement, and fit again, many times. A sample that is drawn k
times counts k times, one that is not drawn is left out. Jackknife (Quenouille 1949; Tukey 1958): leave out each
sample in turn. Where samples come in clusters, whole clusters are drawn, or left out.

Each fit starts from the estimates of the whole, and what it finds depends on its index alone: the same numbers come
from one process or from many, in any order.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from plncli.dataset import Dataset
from plncli.errors import DataError, FitError, counted, some
from plncli.inference.workers import Kept, WorkerLost, shared
from plncli.models.base import INIT, Init, Latent, Model, startable
from plncli.models.findings import IN_FULL, Finding
from plncli.models.uncertainty import Interrupted, Uncertainty, from_influence
from plncli.numerics.linalg import dependent_columns, independent_columns
from plncli.optim.base import Optimum, Status, StopRule
from plncli.progress import OnDone

FAR = 1e-3
"""Nats left that do no harm: no estimate is further off than sqrt(2 · FAR) = 0.045 of its spread over the fits."""
FAILED = 0.1
"""Share of the resamples that may fail, or leave a coefficient without a finite estimate; beyond it there is none."""


class Estimated(NamedTuple):
    """Coefficients B (d×p), ±inf or nan where there is no finite estimate, and how they were reached."""

    B: Tensor
    optimum: Optimum


Solve = Callable[[Model[Any], Dataset, Init, StopRule], Estimated]
"""Fit a model from a start. A function of a module, for workers import it by name."""


@dataclass(frozen=True)
class Resampling:
    """How a model is fitted again and again.

    resamples: of the bootstrap (the jackknife has one for each sample, or cluster); seed: of the draws; workers: most
    processes to share the fits, 1 being this one alone; on_done: told of each fit that is done; kept: has
    and keeps `Replicate`s.
    """

    resamples: int = 200
    seed: int = 0
    workers: int = 1
    on_done: OnDone | None = field(default=None, compare=False)
    kept: Kept | None = field(default=None, compare=False)


class Replicate(NamedTuple):
    """One fit: B (d×p), nan where there is no finite estimate; and, where there is none at all, why."""

    B: Tensor
    failure: str = ""

    def sound(self, d: int, p: int) -> bool:
        """Whether all is of its kind, for d terms and p responses: a fit that is read back may be anybody's."""
        B = self.B
        return isinstance(self.failure, str) and B.shape == (d, p) and B.dtype == torch.float64 and not B.isinf().any()


@dataclass(frozen=True)
class Task:
    """All fits of a method, by index.

    units: (n,) codes 0 to count − 1 of what is drawn, or left out, together; seeds: of each draw; tol: see `StopRule`.
    """

    solve: Solve
    model: Model[Any]
    data: Dataset
    init: Init
    method: str
    units: Tensor
    count: int
    seeds: tuple[int, ...]
    tol: float

    @staticmethod
    def of(method: str, solve: Solve, model: Model[Any], data: Dataset, init: Init, rule: Resampling) -> Task:
        """The task of a bootstrap or a jackknife.

        Jackknife estimates lie closer together, by the square root of their number: they are taken that much further.
        """
        units, count = torch.arange(data.n) if data.clusters is None else data.clusters.cpu(), data.n_clusters
        draws = torch.randint(2**62, (rule.resamples,), generator=torch.Generator().manual_seed(rule.seed))
        far = FAR if method == "bootstrap" else FAR / count
        known = startable(model.spec, init)
        return Task(solve, model, data, known, method, units, count, tuple(draws.tolist()), far / data.total_weight)

    def __len__(self) -> int:
        return len(self.seeds) if self.method == "bootstrap" else self.count

    def weights(self, index: int) -> Tensor:
        """How often each sample counts in a fit, (n,)."""
        if self.method == "jackknife":
            return (self.units != index).long()
        g = torch.Generator().manual_seed(self.seeds[index])
        return torch.bincount(torch.randint(self.count, (self.count,), generator=g), minlength=self.count)[self.units]

    @property
    def on_cpu(self) -> bool:
        """Whether processes can share the fits."""
        return self.data.Y.device.type == "cpu"

    def name(self, index: int) -> str:
        """The number of the fit."""
        return f"fit {index + 1}"

    def part(self, index: int, cancelled: Callable[[], bool] = lambda: False) -> Replicate:
        """The fit of that index: of the whole model, or, where that cannot be, of the parts that can."""
        drawn = self.weights(index).to(self.data.Y.device)
        rows = drawn.nonzero()[:, 0]
        data = self.data.take(rows, drawn[rows])
        if data.X0 is not None:
            data = data.with_zero_terms(independent_columns(data.X0, data.w)[0].to(data.Y.device))
        stop = StopRule(self.tol, cancelled=cancelled)
        whole = Part(torch.arange(data.d), torch.arange(data.p), torch.ones(data.d, dtype=torch.bool))
        try:
            return Replicate(self._fitted(data, rows, whole, stop))
        except (DataError, FitError) as error:
            why = str(error)
        B = torch.full((data.d, data.p), math.nan, dtype=torch.float64)
        for part in Part.of(self.model, data):
            with suppress(DataError, FitError):
                B[:, part.features] = self._fitted(data, rows, part, stop)
                why = ""
        return Replicate(B, why)

    def _fitted(self, data: Dataset, rows: Tensor, part: Part, stop: StopRule) -> Tensor:
        """Coefficients of a part of the model, d × its features, nan where one is not finite or not estimable."""
        terms, features = (index.to(data.Y.device) for index in (part.terms, part.features))
        index = {"sample": rows, "term": terms, "response": features}
        init = {}
        for symbol, tensor in self.init.items():
            for place, axis in enumerate(INIT[symbol]):  # of components, all are kept
                tensor = tensor.index_select(place, index[axis]) if axis in index else tensor
            init[symbol] = tensor
        model = self.model if len(features) == self.data.p else self.model.among(features)
        found = self.solve(model, data.among(terms, features), init, stop)
        optimum = found.optimum
        if optimum.status is Status.INTERRUPTED:
            raise Interrupted
        if optimum.status is not Status.CONVERGED and not optimum.gap <= 10.0 * stop.tol * data.total_weight:
            raise FitError(optimum.status.sentence)
        B = torch.full((data.d, len(features)), math.nan, dtype=torch.float64)
        B[part.terms] = found.B.cpu().double()
        B[~part.determined] = math.nan
        return torch.where(torch.isfinite(B), B, math.nan)


class Part(NamedTuple):
    """What of a model can be fitted to a resample.

    terms, features: indices of the columns kept; determined: (d,) terms whose coefficient means the same without those
    left out.
    """

    terms: Tensor
    features: Tensor
    determined: Tensor

    @staticmethod
    def of(model: Model[Any], data: Dataset) -> list[Part]:
        """The parts into which a model falls that cannot be fitted whole.

        They lack responses of which a resample says nothing, and terms that follow from others; what these others'
        coefficients would stand for is then another thing, so they are not determined either. Responses that share
        nothing are fitted one by one: what ails one does not cost the others.
        """
        features = model.fittable(data).cpu().nonzero()[:, 0]
        kept, determined = torch.ones(data.d, dtype=torch.bool), torch.ones(data.d, dtype=torch.bool)
        for term, others in dependent_columns(data.X, data.w):
            kept[term] = False
            determined[[term, *others]] = False
        terms = kept.nonzero()[:, 0]
        together = [features] if isinstance(model, Latent) else features.split(1)
        parts = [Part(terms, group, determined) for group in together if len(group) and len(terms)]
        return [part for part in parts if len(part.features) < data.p or len(terms) < data.d]


def resampled(task: Task, B: Tensor, rule: Resampling, cancelled: Callable[[], bool]) -> Uncertainty | Finding:
    """The covariance of B (d×p, nan or ±inf without a finite estimate) over the fits of a task, or why there is none.

    Bootstrap: the covariance of the fits. Jackknife: (G − 1)/G times their sum of squares about their mean, G fits. A
    fit that failed is left out, and so is, in its own variance, each coefficient where it has no finite estimate.
    """
    try:
        done: list[Replicate] = shared(task, rule.workers, rule.on_done, cancelled, rule.kept)
    except WorkerLost as error:
        return Finding("no-standard-errors", f"No standard errors. {error}")
    failures = [replicate.failure for replicate in done if replicate.failure]
    told = _failed(task, failures)
    number = len(task) - len(failures)
    if len(failures) > FAILED * len(task) or number < 2:
        return Finding("no-standard-errors", f"No standard errors. {told.message if told else 'One fit is no sample.'}")
    stack = torch.stack([replicate.B for replicate in done if not replicate.failure])
    there = torch.isfinite(stack)
    known = there.sum(dim=0)  # over fits
    finite = torch.isfinite(B).cpu()
    lost = torch.where(finite, number - known, 0)
    # One infinite estimate makes the variance of a jackknife infinite: the coefficient rests on that sample.
    bad = lost > (FAILED * number if task.method == "bootstrap" else 0.0)
    deviation = torch.where(there, stack - torch.where(there, stack, 0.0).sum(dim=0) / known, 0.0)
    if task.method == "bootstrap":
        deviation /= (known - 1).clamp(min=1).sqrt()
    else:
        deviation *= math.sqrt((task.count - 1) / number)
    u = deviation.mT
    found = from_influence(
        task.method, lambda rows: u[rows], u.new_ones(number), (B.shape[0], B.shape[1]), ~finite | bad
    )
    data, cells = task.data, lost.mT.nonzero().tolist()
    names = [(data.responses[j], data.terms[k], int(lost[k, j])) for j, k in cells]
    facts: dict[str, Any] = {
        "resamples": len(task),
        "resamples_failed": len(failures),
        "resamples_not_finite": [dict(zip(("response", "term", "resamples"), name, strict=True)) for name in names],
    }
    if data.clusters is not None:
        facts["clusters"] = task.count
    findings = [f for f in (told, _not_finite(task, names, [bool(bad[k, j]) for j, k in cells], number)) if f]
    return replace(found, findings=tuple(findings), facts=facts)


def _failed(task: Task, failures: list[str]) -> Finding | None:
    """How many fits failed, and why."""
    if not failures:
        return None
    why = max(set(failures), key=lambda reason: (failures.count(reason), reason))
    message = (
        f"{len(failures)} of the {len(task)} fits of the {task.method} failed and are left out, "
        f"{failures.count(why)} of them so: {why}"
    )
    return Finding("resamples-failed", message)


def _not_finite(task: Task, names: list[tuple[str, str, int]], bad: list[bool], number: int) -> Finding | None:
    """Which coefficients have no finite estimate in some fits, in how many, and what became of them.

    names: response, term and number of fits; bad: those that have no standard error therefore.
    """
    if not names:
        return None
    cells = tuple((response, term) for response, term, _ in names)
    responses = tuple(dict.fromkeys(response for response, _ in cells))
    gone = "not drawn" if task.method == "bootstrap" else "left out"
    told = (f"{r} ({t}) in {k}{'*' * none}" for (r, t, k), none in zip(names, bad, strict=True))
    rule = f" {sum(bad)} of them (*) therefore have no standard error." if any(bad) else ""
    message = (
        f"{counted(len(names), 'coefficient')} without a finite estimate in some of the {number} fits of the "
        f"{task.method}, whose few samples were {gone}: {some(told, where=IN_FULL, width=90)}.{rule}"
    )
    return Finding("not-finite-in-resamples", message, responses, cells, note=not any(bad))
