"""`validate`: what a fit would see, and everything that it would refuse; nothing is fitted."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from plncli import console
from plncli import settings as configuration
from plncli.console import Console
from plncli.errors import DeviceError, Faults, UsageError, counted, some
from plncli.layout import aligned, wrapped
from plncli.settings import FitConfig
from plncli.verbs.planning import check_memory, init_of, model_of
from plncli.verbs.show import model_words

if TYPE_CHECKING:
    from plncli.evaluation.timing import Expected
    from plncli.inputs.facts import CountFacts, Facts, OffsetMethod
    from plncli.inputs.loading import Inputs
    from plncli.models.findings import Finding
    from plncli.runtime import Runtime

MOST_LEVELS = 12
WHICH = (
    "Which? What was measured (litres, hours, reads before filtering) is best: --exposure. Else total; where a few "
    "features make most of the counts, gmpr or rle, which compare typical features. `plncli diagnose` checks it."
)
"""Advice on offsets, in short."""


@dataclass(frozen=True)
class Prospect:
    """What is to be expected of a fit: what it will warn of, bytes it takes and that are free, and its time.

    what: the fit that is meant.
    """

    findings: tuple[Finding, ...]
    needs: float
    free: float | None
    device: str
    time: Expected | None
    what: str


def validate(config: FitConfig, *, json: bool, quiet: bool) -> int:
    """Read, check, report; the exit code is that of the first fault, which is where a fit would end."""
    configuration.check(config)
    from plncli import optim, runtime
    from plncli.inputs import facts as validation
    from plncli.inputs import loading as inputs
    from plncli.inputs.blocks.loading import load_by_blocks
    from plncli.tables.writing import to_json

    optim.build(config.optimizer, config.learning_rate)
    where = runtime.start(config.device, config.dtype, config.seed)
    faults, read, prospect = Faults(every=True), None, None
    told: tuple[str, ...] = ()
    with runtime.memory_guard():
        try:
            nothing: tuple[Inputs | None, tuple[str, ...]] = (None, ())
            read, told = faults.attempt(lambda: load_by_blocks(config, device=where.device, dtype=where.dtype), nothing)
            if read is None and not faults.found:
                read = inputs.examine(config, device=where.device, dtype=where.dtype, faults=faults)
        except UsageError as fault:
            if not faults.found:
                raise
            faults.keep(fault)
        if read is not None:
            runtime.use_threads(read.data.n, read.data.p, read.data.d, config.threads)
            prospect = _prospect(config, read, where, faults)
        found = None if read is None else validation.facts(config, read)
    notes = (*configuration.ignored(os.environ), *(read.notes if read else ()), *told)
    if prospect is None and read and read.positions:
        notes = (read.positions.finding.message, *notes)
    if json:
        console.out(to_json(_content(config, found, prospect, notes, faults)))
    else:
        head = "No faults: a fit takes this."
        if faults.found:
            head = f"{counted(len(faults.found), 'fault')} to correct before a fit"
        report = [] if quiet else [*_lines(config, found, prospect, notes), "", head]
        if lines := [*report, *_faults(faults)]:
            console.out("\n".join(lines))
    return faults.found[0].exit_code if faults.found else 0


def _prospect(config: FitConfig, read: Inputs, where: Runtime, faults: Faults) -> Prospect | None:
    """What a fit does between reading and its first step; None where there are faults, or it finds one."""
    from plncli import runtime
    from plncli.evaluation import timing
    from plncli.models.base import Uncertain
    from plncli.models.findings import Finding

    if faults.found:
        return None
    faults.attempt(lambda: init_of(config, read, Console(quiet=True), None), None)
    try:
        planned, _, method = check_memory(config, read, where)
    except DeviceError as fault:
        faults.keep(fault)
        return None
    model = model_of(config, read)
    prepared = faults.attempt(lambda: model.prepare(read.data), None)
    if prepared is None:
        return None
    if method == "auto" and isinstance(model, Uncertain):
        method = model.default_se(prepared)
    matched = (read.positions.finding,) if read.positions else ()
    findings = (*matched, *model.findings(model.start(prepared), prepared, math.inf))
    return Prospect(
        (*findings, method) if isinstance(method, Finding) else findings,
        planned.needs(),
        runtime.free_memory(where.device),
        where.device_name,
        timing.expected(model, prepared, config.own) if config.optimizer == "newton-cg" else None,
        "the fit itself" if config.path is None else f"the fit of the last {config.path}",
    )


def _content(
    config: FitConfig, found: Facts | None, prospect: Prospect | None, notes: tuple[str, ...], faults: Faults
) -> dict[str, Any]:
    """All that was found, for machines."""
    of_fit: dict[str, Any] = dict.fromkeys(("findings", "memory", "seconds"))
    if prospect is not None:
        of_fit["findings"] = [asdict(finding) for finding in prospect.findings]
        of_fit["memory"] = {"needs": prospect.needs, "free": prospect.free, "device": prospect.device}
        of_fit["seconds"] = prospect.time and asdict(prospect.time)
    return {
        "model": config.model,
        "formula": config.formula or "~ 1",
        "valid": not faults.found,
        "faults": [str(fault) for fault in faults.found],
        "notes": notes,
        "data": found and asdict(found),
        **of_fit,
    }


# For a reader


def _faults(faults: Faults) -> Iterator[str]:
    """The faults by number, if there are any."""
    width = len(str(len(faults.found)))
    for number, fault in enumerate(faults.found, 1):
        yield from wrapped(str(fault), f"{number:>{width + 2}}. ")


def _lines(config: FitConfig, found: Facts | None, prospect: Prospect | None, notes: tuple[str, ...]) -> Iterator[str]:
    """The report but for its faults."""
    spec = config.spec
    facts = [("model", model_words(spec, config.own)), ("formula", config.formula or "~ 1")]
    if found is not None:
        noun = spec.noun
        size = f"{counted(found.n_samples, 'sample')} × {counted(found.n_features, noun)}"
        if found.terms:
            size += f", {counted(len(found.terms), 'coefficient')} each ({some(found.terms, MOST_LEVELS)})"
        facts.append(("data", size))
        facts += [*_of_counts(found.counts), *_of_responses(found), *_of_levels(found), *_of_offset(found)]
    if prospect is not None:
        facts += _of_fit(prospect)
    facts += [("note", note) for note in notes]
    for name, text in facts:
        yield from wrapped(text, f"{name:<10}")
    if found is not None and found.offset_methods and (found.counts is None or found.counts.fold > 2):
        yield from _methods(found.offset_methods)


def _of_counts(counts: CountFacts | None) -> Iterator[tuple[str, str]]:
    if counts is None:
        return
    missing = f"; {counted(counts.missing, 'count')} missing or at fault, and left out here" if counts.missing else ""
    yield "zeros", f"{counts.zeros} of the counts ({100 * counts.share_zeros:.1f} %){missing}"
    yield "largest", f"{counts.largest:.0f} (sample {counts.largest_sample}, feature {counts.largest_feature})"
    yield (
        "depth",
        f"total counts from {counts.depth_min:.0f} ({counts.depth_min_sample}) to {counts.depth_max:.0f} "
        f"({counts.depth_max_sample}), {counts.fold:.3g}-fold; median {counts.depth_median:.10g}",
    )
    yield (
        "rare",
        f"{counted(counts.below_5, 'feature')} seen in fewer than 5 % of the samples, {counts.below_10} in fewer than "
        f"10 %, {counts.in_one_sample} in a single one; {counted(counts.singletons, 'singleton')} (counted once)",
    )
    if counts.empty_samples or counts.empty_features:
        yield (
            "all zero",
            f"{counted(counts.empty_samples, 'sample')} and {counted(counts.empty_features, 'feature')} "
            "without any count",
        )


def _of_responses(found: Facts) -> Iterator[tuple[str, str]]:
    for name, sizes in (found.classes or {}).items():
        yield "classes", f"{name}: {_sizes(sizes)}"
    for name, of in (found.responses or {}).items():
        yield "response", f"{name}: {of['min']:.4g} to {of['max']:.4g}, mean {of['mean']:.4g}, sd {of['sd']:.4g}"


def _of_levels(found: Facts) -> Iterator[tuple[str, str]]:
    for factor, sizes in found.levels.items():
        single = [level for level, size in sizes.items() if size == 1]
        alone = f"; {counted(len(single), 'level')} of a single sample: {some(single)}" if single else ""
        yield "levels", f"{factor}: {_sizes(sizes)}{alone}{_missing(found, factor)}"
    for name, of in found.numbers.items():
        known = "many" if of.distinct is None else of.distinct
        many = f"{known} different {'whole numbers' if of.whole else 'values'}"
        yield "numbers", f"{name}: {of.min:.6g} to {of.max:.6g}, {many}{_missing(found, name)}"


def _missing(found: Facts, name: str) -> str:
    """How many entries a covariate lacks, if any."""
    return f"; {found.missing[name]} missing" if name in found.missing else ""


def _sizes(sizes: Any) -> str:
    return some([f"{level} {size}" for level, size in sizes.items()], MOST_LEVELS)


def _of_offset(found: Facts) -> Iterator[tuple[str, str]]:
    if found.offset:
        yield "offset", f"by {found.offset.replace('_', '-')}"
    elif found.counts is not None:
        fold = found.counts.fold
        yield "offset", f"none; {'one is advisable' if fold > 2 else 'depths vary little'} ({fold:.3g}-fold)"


def _of_fit(prospect: Prospect) -> Iterator[tuple[str, str]]:
    from plncli.evaluation.memory import in_words

    for finding in prospect.findings:
        yield "note" if finding.note else "warning", f"{finding.message} {finding.remedy}".rstrip()
    free = "" if prospect.free is None else f"; {in_words(prospect.free)} are free on {prospect.device}"
    yield "memory", f"about {in_words(prospect.needs)} beside the data{free}"
    time = prospect.time
    if time is None:
        yield "time", "not predicted for this optimizer; newton-cg is the fastest"
        return
    yield (
        "time",
        f"{time.low:.2g} to {time.high:.2g} s for {prospect.what}: {1e3 * time.point:.2g} ms for a point and "
        f"{1e3 * time.product:.2g} ms for a Hessian product, measured here, times what fits usually take",
    )


def _methods(methods: tuple[OffsetMethod, ...]) -> Iterator[str]:
    yield ""
    yield "Offsets that --offset-method can estimate"
    rows = [["method", "factors vary", "against total", ""]]
    for one in methods:
        numbers = ["", ""] if one.fold is None else [f"{one.fold:.3g}-fold", f"up to {one.departure:.3g}-fold"]
        rows.append([one.method, *numbers, one.reason])
    yield from (f"  {line}" for line in aligned([row[:3] for row in rows]))
    for one in methods:
        if one.reason:
            yield from wrapped(one.reason, f"  {one.method}: ")
    yield from wrapped(WHICH, "  ")
