"""What is kept of a fit while it is not done, so that another process can go on with it."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from plncli.console import Console
from plncli.errors import RankLost, counted
from plncli.settings import FitConfig

if TYPE_CHECKING:
    from plncli.inputs.loading import Inputs
    from plncli.optim.base import State
    from plncli.runs.outcome import Outcome
    from plncli.runs.unfinished.checkpoints import Keeper
    from plncli.runs.unfinished.journal import Journal


class Keep:
    """Where a fit keeps its results (`out`), and, while it is not done, its state."""

    def __init__(self, out: Path, resume: bool) -> None:
        self.out, self.resume = out, resume
        self.begun = False
        self.keeper: Keeper | None = None
        self.journal: Journal | None = None
        self.held_out: Journal | None = None

    def begin(self, config: FitConfig, read: Inputs, say: Console) -> tuple[Keeper, State | None]:
        """What keeps the state of the fit, and the state from which it goes on, if there is one; and its resamples."""
        from plncli.inference.resampling import Replicate
        from plncli.runs.unfinished import checkpoints
        from plncli.runs.unfinished.journal import Journal

        self.begun = True
        about = checkpoints.about_fit(config, read.sources)
        every = config.checkpoint_every or math.inf
        self.keeper = checkpoints.Keeper(checkpoints.folder_of(self.out), about, every, beside=self.resume)
        if not self.resume:
            self.keeper.discard()  # of what --overwrite replaces
        self.journal = Journal(
            checkpoints.folder_of(self.out) / checkpoints.JOURNAL,
            checkpoints.about_fit(config, read.sources, checkpoints.RESAMPLED),
            every,
            Replicate,
            lambda _, found: found.sound(read.data.d, read.data.p),
            self.resume,
        )
        if not self.resume:
            return self.keeper, None
        state, notes = checkpoints.taken_up(self.out, about)
        if self.journal.found:
            notes = (*notes, f"{counted(len(self.journal.found), 'fit')} of {config.se} are done already.")
        for note in filter(None, (*notes, self.journal.note)):
            say.note(f"note: {note}")
        return self.keeper, state

    def begin_folds(self, config: FitConfig, read: Inputs, sizes: Sequence[int], groups: int, say: Console) -> Journal:
        """What keeps how the samples of a fold are classified by the fit to the others, once the fit to all is done.

        sizes: of the folds; groups: how many there are.
        """
        from plncli.evaluation.discrimination import Classified
        from plncli.runs.unfinished import checkpoints
        from plncli.runs.unfinished.journal import Journal

        self.held_out = Journal(
            checkpoints.folder_of(self.out) / checkpoints.HELD_OUT,
            checkpoints.about_fit(config, read.sources, checkpoints.FOLDED),
            config.checkpoint_every or math.inf,
            Classified,
            lambda index, found: index < len(sizes) and found.sound(sizes[index], groups),
            self.resume,
        )
        if self.held_out.found:
            say.note(f"note: {counted(len(self.held_out.found), 'fold')} of held-out samples are done already.")
        if self.held_out.note:
            say.note(f"note: {self.held_out.note}")
        return self.held_out

    @contextmanager
    def left(self, say: Console) -> Iterator[None]:
        """Where the device fails, or another process, say how to go on from what is kept."""
        from plncli.runs.unfinished import checkpoints

        try:
            yield
        except (MemoryError, RuntimeError, RankLost):
            say.clear()
            if self.begun and checkpoints.unfinished(self.out):
                say.next("plncli", "resume", self.out, what="Go on with")
            raise

    def end(self, outcome: Outcome, say: Console) -> None:
        """Keep the state of a fit that was cut short, and say how to go on; else let the checkpoints go."""
        assert self.keeper is not None
        if not outcome.manifest["cut_short"]:
            self.keeper.discard()
        elif self.saved(say):
            say.next("plncli", "resume", self.out, what="Go on with")

    def saved(self, say: Console) -> bool:
        """Save the state of a fit that was cut short, if there is one, or say why not."""
        assert self.keeper is not None and self.journal is not None
        if self.keeper.save():
            self.journal.save()
            if self.held_out is not None:
                self.held_out.save()
            return True
        if self.keeper.failure:
            say.warn(f"The state of the fit could not be kept: {self.keeper.failure}")
        return False


class KeepPath(Keep):
    """Where a path of fits keeps its results, and, while it is not done, those of its fits that are."""

    def begin_path(self, config: FitConfig, read: Inputs, say: Console) -> None:
        """Say which path it is, or find out that it is the one that was begun; UsageError where it is another."""
        from plncli.runs import path
        from plncli.runs.unfinished import checkpoints

        folder, about = checkpoints.folder_of(self.out), checkpoints.about_fit(config, read.sources)
        known = path.about(folder) if self.resume else None
        if known is None:
            path.discard(folder)
        else:
            checkpoints.check_same(folder, known, about)
            many = sum(place.is_dir() and not place.name.endswith(checkpoints.SUFFIX) for place in path.kept(folder))
            say.note(f"note: {counted(many, 'fit')} of the path are done already.")
        path.begin(folder, about)
        self.begun = True

    def of(self, name: str) -> Keep:
        """Where one of its fits is kept."""
        from plncli.runs.outcome import FOLDER
        from plncli.runs.unfinished import checkpoints

        return Keep(checkpoints.folder_of(self.out) / FOLDER / name, self.resume)

    def forget(self, name: str) -> None:
        """Let the state of one of its fits go, for that is done."""
        from plncli.runs.unfinished import checkpoints

        shutil.rmtree(checkpoints.folder_of(self.of(name).out), ignore_errors=True)

    def end(self, outcome: Outcome, say: Console) -> None:
        """Say how to go on with a path that was cut short; else let go what was kept."""
        from plncli.runs import path
        from plncli.runs.unfinished import checkpoints

        if outcome.manifest["cut_short"]:
            say.next("plncli", "resume", self.out, what="Go on with")
            return
        path.discard(checkpoints.folder_of(self.out))
