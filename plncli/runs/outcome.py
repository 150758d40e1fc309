"""What a fit leaves before it is written, and the path of fits that it may have been chosen from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from plncli.models.findings import Check
from plncli.results import FitResult
from plncli.settings import FitConfig
from plncli.tables import writing as output

FOLDER = "path"
"""In the folder of a path: its fits."""
TOLD = ("n_parameters", "aic", "bic", "icl", "r2", "gap", "status", "steps", "fit_seconds")
"""What of the summary of each fit is told, beside its likelihood."""
STARTS = ("starts", "starts_agree")


@dataclass(frozen=True)
class Outcome:
    """A fit and all that its files tell about it. `manifest` and `log` are written as they are.

    path: the path of fits that it was chosen from, if there is one.
    """

    result: FitResult
    config: FitConfig
    design: Mapping[str, Any]
    classes: Any
    device: str
    total_seconds: float
    manifest: Mapping[str, Any] = field(repr=False)
    log: Sequence[str] = field(repr=False, default=())
    features: Mapping[str, Sequence[str | None]] = field(repr=False, default_factory=dict)
    path: PathRecord | None = field(repr=False, default=None)
    checks: tuple[Check, ...] = field(repr=False, default=())


@dataclass(frozen=True)
class Member:
    """A fit of a path: its configuration, its summary, and its files, in a folder or still to be written."""

    config: FitConfig = field(repr=False)
    summary: Mapping[str, Any] = field(repr=False)
    place: Path | Outcome = field(repr=False)

    @property
    def name(self) -> str:
        """Of its folder."""
        return Path(str(self.config.out)).name


@dataclass(frozen=True)
class Scores:
    """What was found of the fits of a path besides, by name: a number each.

    cv, cv_se: how well they predict counts that were hidden from them, and its standard error; instability: of links in
    subsamples.
    """

    columns: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class PathRecord:
    """The fits of a path, in order. config: of the whole; chosen: the place of the one that the folder shows."""

    config: FitConfig
    members: tuple[Member, ...]
    chosen: int
    scores: Scores = Scores()

    @property
    def setting(self) -> str:
        """The setting along which it goes."""
        assert self.config.path is not None
        return self.config.path

    def saved_as(self, out: Path, **changes: Any) -> PathRecord:
        """The same with its folder elsewhere, and other settings of what is written."""
        folder, names = out / FOLDER, {member.name for member in self.members}

        def moved(member: Member) -> Member:
            init = member.config.init
            known = {"init": str(folder / Path(init).name)} if init and Path(init).name in names else {}
            return replace(member, config=member.config.but(out=str(folder / member.name), **known, **changes))

        whole = self.config.but(out=str(out), **changes)
        return replace(self, config=whole, members=tuple(map(moved, self.members)))

    def told(self) -> dict[str, Any]:
        """As summary.json has it."""
        chosen = self.members[self.chosen].config.own[self.setting]
        known = {"setting": self.setting, "select": self.config.own["select"], "chosen": chosen}
        return known | {"fits": self.rows()}

    def rows(self) -> list[dict[str, Any]]:
        """What is told of each fit, by name."""
        likelihood = self.config.spec.likelihood
        rows = []
        for place, member in enumerate(self.members):
            row = {self.setting: member.config.own[self.setting]}
            row |= {name: member.summary.get(name) for name in (likelihood, *TOLD, *dict(self.config.spec.facts))}
            row |= {name: member.summary[name] for name in STARTS if name in member.summary}
            row |= {name: column[place] for name, column in self.scores.columns.items()}
            rows.append(row | {"chosen": place == self.chosen})
        return rows

    def table(self) -> pa.Table:
        """As path.csv has it."""
        rows = self.rows()
        return output.table({name: _column([row[name] for row in rows]) for name in rows[0]})


def _column(values: list[Any]) -> Any:
    """Numbers as an array, nan where there is none; texts as they are."""
    if any(isinstance(value, str | bool) for value in values):
        return [str(value).lower() if isinstance(value, bool) else value for value in values]
    whole = all(isinstance(value, int) for value in values)
    return np.array([np.nan if value is None else value for value in values], np.int64 if whole else np.float64)
