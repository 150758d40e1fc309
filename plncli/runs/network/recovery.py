"""How well the edges of a fit are those that are known to be true: of its choice, and along its path."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from plncli.errors import DataError
from plncli.runs.network.links import EDGES
from plncli.runs.network.truth import true_edges
from plncli.runs.path import member_runs
from plncli.runs.run import Run
from plncli.tables.table import Table

if TYPE_CHECKING:
    from torch import Tensor

    from plncli.evaluation.recovery import Choice, Curve

RANKINGS = {
    "path": "place in the path",
    "frequency": "frequency in subsamples",
    "size": "size of partial correlation",
}
"""Ways to rank pairs of features: the earlier in the path a pair is linked the higher, of equal ones by size there."""


@dataclass(frozen=True)
class Recovery:
    """The edges of a fit against true ones. choice: its own; along: those of the fits of its path, in order.

    setting, values: of the path; rankings: of all pairs, by those of RANKINGS that there are.
    """

    name: str
    choice: Choice
    rankings: Mapping[str, Curve] = field(repr=False)
    setting: str = ""
    values: tuple[Any, ...] = field(repr=False, default=())
    along: tuple[Choice, ...] = field(repr=False, default=())
    notes: tuple[str, ...] = ()

    def row(self) -> dict[str, Any]:
        """As a row of a table; nan for what there is not."""
        own = self.choice
        made: dict[str, Any] = {"run": self.name, "pairs": sum(own)}
        made |= {"true_edges": own.true_positives + own.false_negatives, "edges": own.edges}
        made |= {"true_positives": own.true_positives, "precision": own.precision, "recall": own.recall}
        made |= {"f1": own.f1, "mcc": own.mcc}
        for name in RANKINGS:
            known = self.rankings.get(name)
            made[f"auc_{name}"] = math.nan if known is None else known.auc
            made[f"average_precision_{name}"] = math.nan if known is None else known.average_precision
        return made


def recovery(run: Run, truth: str | Table, members: Sequence[Run] | None = None) -> Recovery:
    """Of a fit with a network, by the folder of a simulation or a table of edges (`true_edges`).

    members: fits of its path, as they lie beside it unless given. DataError where there is no network, or all pairs
    are true edges.
    """
    if EDGES not in dict(run.spec.further):
        raise DataError(f"A {run.model} fit has no network, so it has no edges to compare with true ones.")
    import torch

    from plncli.evaluation.recovery import choice, curve

    linked, notes = true_edges(truth, run.responses, run.place)
    j, k = torch.triu_indices(len(linked), len(linked), 1)
    true = torch.from_numpy(linked)[j, k]
    if bool(true.all()):
        raise DataError(f"All pairs of features of {run.place} are true edges: there is nothing to tell them from.")
    sizes = _sizes(run)[j, k]
    along = [_sizes(each)[j, k] for each in (member_runs(run) if members is None else members)]
    scores = {"path": _ranked(along)} if along else {}
    if "frequency" in run.state:
        scores["frequency"] = torch.as_tensor(run.state["frequency"])[j, k]
    scores["size"] = sizes
    told = run.summary.get("path") or {"setting": "", "fits": []}
    return Recovery(
        str(run.place),
        choice(sizes > 0, true),
        {name: curve(score, true) for name, score in scores.items()},
        told["setting"],
        tuple(row[told["setting"]] for row in told["fits"]) if along else (),
        tuple(choice(each > 0, true) for each in along),
        notes,
    )


def _sizes(run: Run) -> Tensor:
    """Sizes of partial correlations, p×p."""
    from plncli.models.abilities import Linked

    fitted = run.fitted
    assert isinstance(fitted, Linked)
    return fitted.partial_correlations.double().abs()


def _ranked(along: Sequence[Tensor]) -> Tensor:
    """Scores (m,) of pairs by the first of several fits in which their size is not 0, and by that size."""
    scores = along[0].new_zeros(len(along[0]))
    for place, size in enumerate(along):
        new = (scores == 0) & (size > 0)
        scores[new] = len(along) - place + size[new].clamp(max=1.0) - 1.0
    return scores
