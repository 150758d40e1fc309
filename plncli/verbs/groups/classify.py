"""`classify`: which group new samples are of, by a fit that tells groups apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plncli.console import Console
from plncli.errors import DataError, counted, some
from plncli.layout import aligned, table_width
from plncli.verbs.predict import told, warnings
from plncli.verbs.tables import Destination, sample_rows

if TYPE_CHECKING:
    from plncli.models.abilities import Discriminated
    from plncli.runs.new_data import Sources
    from plncli.runs.run import Run


@dataclass(frozen=True)
class Classification:
    """The table by column, and, where groups of the samples are given, how many of each are taken for each (G×G)."""

    columns: dict[str, Any]
    groups: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...] | None = None


def classify(run: str, sources: Sources, to: Destination, say: Console) -> int:
    """Read a run, classify, and deliver the table."""
    from plncli.runs.run import read_run

    to.deliver(classified(read_run(Path(run)), sources, say).columns)
    return 0


def classified(run: Run, sources: Sources, say: Console) -> Classification:
    """Probabilities of the groups of new samples.

    Columns: sample, group (where it is given), predicted, a probability for each group, and elbo, the bound of the
    sample's log-likelihood whatever its group, in nats. DataError for a fit that has no groups.
    """
    from plncli import runtime
    from plncli.models.abilities import Discriminating
    from plncli.runs.new_data import load

    fitted = run.fitted
    if not isinstance(fitted, Discriminating):
        raise DataError(f"A {run.model} fit tells no groups apart; `plncli classify` is for fits of {_with_groups()}.")
    data = load(run, sources, fitted.groups)
    for sentence in (*data.warnings, *warnings(run)):
        say.warn(sentence)
    for note in data.notes:
        say.note(f"note: {note}")
    runtime.use_threads(len(data.samples), len(run.responses), len(run.terms), "auto")
    with runtime.memory_guard():
        found = _discriminated(run, data)
    made = _table(data.samples, data.groups, found)
    _report(say, run, made, found)
    return made


def _with_groups() -> str:
    from plncli.models import MODELS

    return some(spec.name for spec in MODELS.values() if spec.discriminating)


def _discriminated(run: Run, data: Any) -> Discriminated:
    import torch

    from plncli.models.abilities import Discriminating

    fitted = run.fitted.of_samples(data.X0)
    assert isinstance(fitted, Discriminating)
    K = torch.ones_like(data.Y, dtype=torch.bool) if data.K is None else data.K
    return fitted.discriminate(data.X, data.O, torch.where(K, data.Y, 0.0), K)


def _table(samples: Sequence[str], truth: Sequence[str | None] | None, found: Discriminated) -> Classification:
    groups, posterior = found.groups, found.log_posterior.exp()
    lost = posterior.isnan().any(1).tolist()
    best = posterior.nan_to_num(nan=0.0).argmax(1).tolist()
    predicted = ["" if none else groups[g] for none, g in zip(lost, best, strict=True)]
    columns: dict[str, Any] = {} if truth is None else {"group": [name or "" for name in truth]}
    columns |= {"predicted": predicted}
    columns |= {f"posterior_{g}": posterior[:, k].numpy() for k, g in enumerate(groups)}
    columns["elbo"] = found.elbo.numpy()
    confusion = None
    if truth is not None:
        pairs = Counter(zip(truth, predicted, strict=True))
        confusion = tuple(tuple(pairs[true, guess] for guess in groups) for true in groups)
    return Classification(sample_rows(samples, columns), groups, confusion)


def _report(say: Console, run: Run, made: Classification, found: Discriminated) -> None:
    """How many samples are taken for each group, and, where that is known, of which they are."""
    predicted = made.columns["predicted"]
    sizes = Counter(predicted)
    given = run.spec.grouped
    what = ", ".join(f"{sizes[group]} {'' if given else 'in '}{group}" for group in made.groups)
    say.note(f"{'Groups' if given else 'Clusters'} of {counted(len(predicted), 'sample')}: {what}.")
    for sentence in told(run, found.reasons):
        say.note(f"note: {sentence}")
    if sizes[""]:
        say.warn(f"{counted(sizes[''], 'sample')} without a group: the variational step did not converge.")
    if made.confusion is not None:
        for line in confusion_lines(made.groups, made.confusion):
            say.note(line)


def confusion_lines(groups: Sequence[str], confusion: Sequence[Sequence[int]]) -> list[str]:
    """Groups in rows, predicted ones in columns, and the share of all that agree."""
    right, total = sum(row[k] for k, row in enumerate(confusion)), sum(map(sum, confusion))
    rows = [["group \\ predicted", *groups], *([g, *map(str, row)] for g, row in zip(groups, confusion, strict=True))]
    share = f"{100 * right / total:.1f} % of {counted(total, 'sample')} are assigned to their group." if total else ""
    return [*aligned(rows, 1, table_width()), *([share] if share else [])]
