"""What a user must be told of groups that are fitted side by side: of all counts, and of single groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from plncli.models.findings import Finding
from plncli.models.lda.quadratic.prepared import Prepared
from plncli.models.pln.findings import of_counts


def findings(prepared: Prepared, B: Tensor, own: Sequence[Sequence[Finding]]) -> tuple[Finding, ...]:
    """Coefficients without a finite estimate, and what else is said of groups; B: d×p, finite."""
    whole = of_counts(prepared, B, None)
    infinite = {"separation", "not-determined"}  # told of the whole design already
    others = [[one for one in found if one.code not in infinite] for found in own]
    return whole + merged(prepared, others)


def merged(prepared: Prepared, own: Sequence[Sequence[Finding]]) -> tuple[Finding, ...]:
    """Findings of groups: one for each code, which names the groups."""
    by_code: dict[str, Finding] = {}
    for group, found in zip(prepared.groups, own, strict=True):
        for one in found:
            told = replace(one, message=f"In group {group.name}: {one.message}")
            first = by_code.get(one.code)
            by_code[one.code] = told if first is None else _both(first, told)
    return tuple(by_code.values())


def _both(first: Finding, second: Finding) -> Finding:
    return replace(
        first,
        message=f"{first.message} {second.message}",
        names=tuple(dict.fromkeys((*first.names, *second.names))),
        cells=(*first.cells, *second.cells),
        note=first.note and second.note,
    )
