"""A path of fits along one setting: each is an ordinary fit, and one of them is chosen."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from plncli.errors import DataError, FitError, Unfinished, counted
from plncli.names import SE_CUT_SHORT
from plncli.settings import FitConfig, applying, output_folder
from plncli.verbs.fitting.job import Job, report
from plncli.verbs.fitting.keeping import KeepPath
from plncli.verbs.fitting.stability import SUBSAMPLES, stability_of, with_frequencies
from plncli.verbs.planning import check_memory, init_of, memory_told, model_of

if TYPE_CHECKING:
    from plncli.evaluation.stability import Stability
    from plncli.models.base import Init
    from plncli.models.findings import Finding
    from plncli.runs.outcome import Member, Outcome, Scores
    from plncli.runs.run import Run

CV, STARS = "cv", "stars"
"""Choices that take fits of their own."""
WITHOUT_THEM = {CV: "icl", STARS: "ebic"}
"""The criterion in their place where there was no time for them."""
WITHOUT_END = (CV, STARS, "none")
"""Choices for which every fit of a path is wanted."""
PATIENCE = 5
"""Fits in a row that are no better, after which those that follow are not made."""
SHARE, TIMES = 0.1, 5
"""Of the counts that are hidden, and how often, where cross-validation chooses."""
CHOSEN = "chosen"
"""What is kept of the fit that is chosen, while its standard errors are not done."""


def along_path(
    config: FitConfig, job: Job, earlier: Run | None, *, dry_run: bool, keep: KeepPath | None
) -> Outcome | None:
    """Fit each member of the path, choose one, and tell; None for a dry run.

    The members have no standard errors: the one that is chosen is fitted again, to the same bits, with them.
    """
    planned, workers, method = check_memory(config, job.read, job.where)
    model_of(config, job.read).prepare(job.read.data)  # refuses what a fit would refuse
    if dry_run:
        job.say.note(memory_told(planned, job.where))
        return None
    init = init_of(config, job.read, job.say, earlier)
    if keep is not None:
        keep.begin_path(config, job.read, job.say)
    going = _Going(config, _with_values(config, job), job, init, keep)
    going.fit()
    outcome = going.outcome(method, workers)
    report(job.say, outcome)
    return outcome


def _with_values(config: FitConfig, job: Job) -> FitConfig:
    """The configuration with the values of its path, which the data tell where a number of them was asked for."""
    from plncli.fitting import fit
    from plncli.models.base import Along
    from plncli.optim.base import StopRule

    assert config.path is not None
    number, model, data = config.own[config.path], model_of(config, job.read), job.read.data
    if isinstance(number, tuple):
        return config
    assert isinstance(model, Along)
    first = fit(model.simplest(), data, stop=StopRule(config.tol, config.max_iter, cancelled=job.state.cancelled))
    values = model.path({**first.estimates, **first.state}, data, number)
    job.say.note(f"{config.path}: {number} from {values[0]:g} to {values[-1]:g}.")
    return config.but(**{config.path: values})


@dataclass
class _Going:
    """A path on its way.

    along: the configuration with its values. init: what the first may start from; done: the fits that are, in order;
    cut: whether a limit of time or an interrupt came before all were.
    """

    config: FitConfig
    along: FitConfig
    job: Job
    init: Init | None
    keep: KeepPath | None
    done: list[Member] = field(default_factory=list)
    cut: bool = False
    began: float = field(default_factory=time.perf_counter)

    @property
    def setting(self) -> str:
        """The setting along which it goes."""
        assert self.config.path is not None
        return self.config.path

    def fit(self) -> None:
        """Fit one after the other. FitError where no fit can be made, Unfinished where what is done is kept."""
        failures: list[FitError] = []
        for config in self.along.members():
            named = self._named(config)
            try:
                found = self._kept(named) or self._made(named)
            except FitError as error:
                failures.append(error)
                self.job.say.warn(f"{self.setting} {config.own[self.setting]} has no fit: {error}")
                continue
            self._end_where_cut()
            self.done.append(found)
            self._tell(found)
            if self.cut or self._past_the_best():
                break
        if not self.done:
            raise failures[0]

    def _past_the_best(self) -> bool:
        """Whether the fits are ever worse, where no values were given that must all be fitted."""
        from plncli.runs.outcome import PathRecord
        from plncli.runs.path import best

        select = self.config.own["select"]
        if isinstance(self.config.own[self.setting], tuple) or select in WITHOUT_END:
            return False
        since = len(self.done) - 1 - best(PathRecord(self.config, tuple(self.done), 0).rows(), select)
        if since >= PATIENCE and len(self.done) < len(self.along.members()):
            self.job.say.note(
                f"The path ends here: {select} has not fallen for {since} fits. --select none goes on to its end."
            )
        return since >= PATIENCE

    def _end_where_cut(self) -> None:
        """Unfinished where the path was cut short, and what is done of it is kept."""
        if self.cut and self.keep is not None:
            done = f"{len(self.done)} of {counted(len(self.along.members()), 'fit')}"
            raise Unfinished(
                f"The path was cut short after {done}, which are kept: `plncli resume {self.keep.out}` goes on.",
                self._code(converged=False),
            )

    def _named(self, config: FitConfig) -> FitConfig:
        """The configuration of a fit of the path, as its folder will hold it: it starts from the one before."""
        from plncli.runs.outcome import FOLDER
        from plncli.runs.path import name_of

        name = name_of(self.setting, config.own[self.setting], self.along.own[self.setting])
        events = str(Path(config.tensorboard) / name) if config.tensorboard else None
        out = output_folder(self.config) / FOLDER / name
        init = str(out.with_name(self.done[-1].name)) if self.done else config.init
        config = replace(config, out=str(out), init=init, overwrite=False, tensorboard=events)
        return replace(config, se="none", vcov=False)

    def _kept(self, config: FitConfig) -> Member | None:
        """A fit that was done before this process began."""
        from plncli.runs.outcome import Member
        from plncli.runs.run import read_run

        place = None if self.keep is None else self.keep.of(_name(config)).out
        if place is None or place.is_symlink() or not place.is_dir():
            return None
        try:
            run = read_run(place)
        except DataError:
            return None
        return Member(config, run.summary, place)

    def _made(self, config: FitConfig) -> Member:
        """A fit that is made now."""
        from plncli.runs import folder as artifacts
        from plncli.runs.outcome import Member
        from plncli.tables.writing import finite

        outcome = self._fitted(config, _name(config))
        place: Path | Outcome = outcome
        if self.keep is not None and not self.cut:
            place = self.keep.of(_name(config)).out
            artifacts.write(place, outcome, overwrite=True)
            self.keep.forget(_name(config))
        return Member(config, finite(artifacts.summary(outcome)), place)

    def _fitted(self, config: FitConfig, name: str, method: str | Finding = "none", workers: int = 1) -> Outcome:
        """Fit in what is left of the time, from the fit of the path that the configuration names, if it does."""
        from plncli.runs.folder import run_of_member
        from plncli.runs.warm_start import initial

        limit = config.time_limit
        left = None if limit is None else max(limit - (time.perf_counter() - self.began), 1e-3)
        before = {member.name: member for member in self.done}.get(Path(config.init or "").name)
        init = self.init
        if before is not None:
            init, _ = initial(run_of_member(before), config.model, self.job.read.data)
        keep = None if self.keep is None else self.keep.of(name)
        result = self.job.fit(replace(config, time_limit=left), init, method, workers, keep)
        self.cut = result.optimum.status.name == "TIME_LIMIT" or self.job.state.cancelled()
        if keep is not None and result.cut_short:
            keep.saved(self.job.say)
        return self.job.outcome(config, result)

    def _tell(self, member: Member) -> None:
        """A line for whoever waits."""
        told, likelihood = member.summary, self.config.spec.likelihood
        value = "not finite" if told[likelihood] is None else f"{told[likelihood]:.2f}"
        ending = f"{told['status'].replace('_', ' ')} in {told['fit_seconds']:.1f} s"
        self.job.say.note(f"{self.setting} {member.config.own[self.setting]}: {likelihood} {value}, {ending}")

    # -- the choice

    def outcome(self, method: str | Finding, workers: int) -> Outcome:
        """The fit that is chosen, with standard errors, as that of the path."""
        from plncli.runs.outcome import PathRecord
        from plncli.runs.path import best

        select, members = self.config.own["select"], list(self.done)
        known = self._stability(workers) if select == STARS and not self.cut else None
        scores = self._scores(workers, known)
        record = PathRecord(self.config, tuple(members), 0, scores)
        place = best(record.rows(), WITHOUT_THEM[select] if select in WITHOUT_THEM and not scores.columns else select)
        member = self.done[place]
        config = replace(member.config, se=self.config.se, vcov=self.config.vcov)
        chosen = member.place if self.cut else self._fitted(config, CHOSEN, method, workers)
        self._end_where_cut()
        if self.cut:
            chosen = member.place
        assert not isinstance(chosen, Path)  # where it is kept in a folder, a path that was cut short has ended
        if not self.cut and (known is not None or self.config.own.get(SUBSAMPLES)):
            chosen = with_frequencies(chosen, known or self._stability(workers, place), place if known else 0)
        members[place] = replace(member, config=config, place=chosen)
        record = replace(record, members=tuple(members), chosen=place)
        converged = all(each.summary["converged"] for each in members)
        cut = self.cut or any(finding.code == SE_CUT_SHORT for finding in chosen.result.findings)
        manifest = {
            **chosen.manifest,
            "configuration": applying(self.config),
            "exit_code": self._code(converged=converged and not cut),
            "cut_short": cut,
        }
        whole = replace(config, out=self.config.out, overwrite=self.config.overwrite)
        return replace(chosen, manifest=manifest, config=whole, path=record)

    def _code(self, *, converged: bool) -> int:
        """The exit code."""
        if self.job.state.cancelled():
            return 128 + self.job.state.signum
        return 0 if converged or self.config.allow_unconverged else 4

    def _scores(self, workers: int, known: Stability | None) -> Scores:
        """What the choice asks of the fits besides their criteria."""
        from plncli.runs.outcome import Scores

        if known is not None:
            return Scores({"instability": tuple(known.instability.tolist())})
        return self._held_out(workers) if self.config.own["select"] == CV and not self.cut else Scores()

    def _stability(self, workers: int, place: int | None = None) -> Stability:
        """How often links are found in subsamples: of all fits, or of one."""
        fits = self.done if place is None else self.done[place : place + 1]
        return stability_of([member.config for member in fits], self.job, workers)

    def _held_out(self, workers: int) -> Scores:
        """How well the fits predict counts that are hidden from them (`plncli cv --entries`)."""
        from plncli.evaluation import crossvalidation
        from plncli.evaluation.folds import Candidate, folds_of_cells
        from plncli.optim.base import StopRule
        from plncli.runs.outcome import Scores

        job, data = self.job, self.job.read.data
        candidates = [
            Candidate(
                config.formula or "~ 1", model_of(config, job.read), data, {self.setting: config.own[self.setting]}
            )
            for config in (member.config for member in self.done)
        ]
        folds = folds_of_cells(data, SHARE, TIMES, self.config.seed)
        stop = StopRule(self.config.tol, self.config.max_iter)
        counting = job.say.counting("cross-validation")
        job.state.savable = False  # all that an interrupt would save is kept already
        found = crossvalidation.validate(candidates, 0, folds, job.optimizer, stop, workers, counting, None, 1)
        job.say.clear()
        columns = {"cv": "score", "cv_se": "score_se"}
        return Scores({name: tuple(getattr(one, of) for one in found.standings) for name, of in columns.items()})


def _name(config: FitConfig) -> str:
    """The name of the folder of a fit of the path."""
    return Path(str(config.out)).name
