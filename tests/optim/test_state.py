"""A minimisation that goes on from any state that it was offered ends in the same bits as if it had never stopped."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import tries
from tables import dataset, oaks, pln_table

from plncli.errors import DataError
from plncli.fitting import fit
from plncli.models.pln.model import PLN
from plncli.models.regression.linear import Linear
from plncli.models.regression.logistic import Logistic
from plncli.names import OPTIMIZER_NAMES
from plncli.optim import OPTIMIZERS
from plncli.optim.base import State, Status, StopRule
from plncli.results import FitResult
from plncli.runs.unfinished import checkpoints


def sparse() -> object:
    """Counts so few that features move to the boundary on the way, some more than once."""
    data, _, _ = pln_table(40, 6, seed=3, mean=-1.0)
    return data


PROBLEMS = {
    "pln": (PLN(), lambda: pln_table(30, 4, seed=1)[0]),
    "pln-boundary": (PLN(), sparse),
    "pln-diagonal": (PLN("diagonal"), sparse),
    "logistic": (Logistic(), lambda: dataset((pln_table(40, 2, seed=2)[0].Y > 4).double(), pln_table(40, 2)[0].X)),
    "linear": (Linear(), lambda: dataset(torch.randn(30, 2, generator=torch.Generator().manual_seed(0)))),
}


ABOUT: dict[str, object] = {"configuration": {}, "settings": {}, "inputs": []}


def kept(tmp_path: Path, name: str, optimizer: str, stop: StopRule) -> tuple[FitResult, list[State]]:
    """A fit that is not disturbed, and its states as they come back from a file."""
    model, data = PROBLEMS[name]
    states: list[State] = []

    def offer(state: State) -> None:
        (tmp_path / "one").write_bytes(checkpoints.packed(state, ABOUT))
        states.append(checkpoints.read(tmp_path / "one")[0])

    return fit(model, data(), OPTIMIZERS[optimizer](), stop, offer=offer), states


def same(a: FitResult, b: FitResult) -> None:
    for symbol, value in a.estimates.items():
        assert torch.equal(value.nan_to_num(nan=7.5), b.estimates[symbol].nan_to_num(nan=7.5)), symbol
    ends = [
        (
            *(r.optimum.value, r.optimum.status, r.optimum.grad_norm),
            *(r.optimum.steps, r.optimum.evaluations, r.optimum.products),
        )
        for r in (a, b)
    ]
    assert ends[0] == ends[1]
    traces = [[(s.step, s.evaluations, s.loss, s.grad_norm, repr(s.gap)) for s in r.optimum.trace] for r in (a, b)]
    assert traces[0] == traces[1]
    times = [step.seconds for step in b.optimum.trace]
    assert times == sorted(times) and b.optimum.seconds >= times[-1]


def a_limit(name: str, optimizer: str) -> StopRule:
    """Long enough for the certificate to be asked."""
    return StopRule(max_iter=None if optimizer == "newton-cg" or (name, optimizer) == ("pln", "vem") else 60)


OFTEN = ("newton-cg", "lbfgs", "nadam", "vem")  # one of each kind of state

SLOW = {("vem", "pln-boundary"), ("vem", "pln-diagonal"), ("lbfgs", "pln-boundary"), ("lbfgs", "pln-diagonal")}
SLOW |= {("nadam", "pln-boundary"), ("nadam", "pln-diagonal"), ("nadam", "logistic")}


def tried(*names: str) -> list[Any]:
    """Problems and optimizers; the rest is slow: other optimizers, and those that take long."""
    return [
        pytest.param(
            name, optimizer, marks=() if optimizer in OFTEN and (optimizer, name) not in SLOW else pytest.mark.slow
        )
        for name in names
        for optimizer in OPTIMIZER_NAMES
        if optimizer != "vem" or name.startswith("pln")
    ]


def places(many: int) -> set[int]:
    """Where to go on of so many states: early and in the middle, and with the slow tests also at either end."""
    return {min(1, many - 1), many // 2} | ({0, many - 1} if tries.ALL else set())


@pytest.mark.parametrize(("name", "optimizer"), tried(*PROBLEMS))
def test_going_on_is_as_if_it_had_never_stopped(tmp_path: Path, name: str, optimizer: str) -> None:
    model, data = PROBLEMS[name]
    stop = a_limit(name, optimizer)
    whole, states = kept(tmp_path, name, optimizer, stop)
    for place in places(len(states)):
        same(whole, fit(model, data(), OPTIMIZERS[optimizer](), stop, state=states[place]))


@pytest.mark.parametrize(("name", "optimizer"), tried("pln", "pln-boundary", "logistic"))
def test_a_fit_may_be_cut_short_at_any_moment(name: str, optimizer: str) -> None:
    """Also in the midst of a step or a certificate, where what was found so far must not be taken for an answer."""
    model, data = PROBLEMS[name]
    stop, asked = a_limit(name, optimizer), 0

    def cancelled() -> bool:
        nonlocal asked
        asked += 1
        return asked > most

    most = 10**9
    whole = fit(model, data(), OPTIMIZERS[optimizer](), replace(stop, cancelled=cancelled))
    chance, often = random.Random(name), asked
    for moment in {0, often - 2, often + 1, *(chance.randrange(often) for _ in range(6 if tries.ALL else 1))}:
        asked, most, states = 0, moment, list[State]()
        cut = fit(model, data(), OPTIMIZERS[optimizer](), replace(stop, cancelled=cancelled), offer=states.append)
        if moment < often:
            assert cut.optimum.status in (Status.INTERRUPTED, Status.MAX_ITER)  # in the certificate after the last step
        same(whole, fit(model, data(), OPTIMIZERS[optimizer](), stop, state=states[-1]))


def test_the_boundary_of_the_space_is_met_on_the_way(tmp_path: Path) -> None:
    """The test above means something: parts end on the boundary, before and after the states that are taken up."""
    _, states = kept(tmp_path, "pln-boundary", "newton-cg", StopRule())
    assert len(states[-1].facts["parts"]) >= 2 and states[-1].tensors["standing.poisson"].numel() > 0


@pytest.mark.slow  # fits of the oaks, each a step longer; those that are cut short at any moment are small
def test_a_fit_that_was_cut_short_goes_on_to_the_same_bits() -> None:
    data = oaks()
    whole = fit(PLN(), data)
    state: State | None = None
    for steps in range(2, 99, 2):
        latest: list[State] = []
        cut = fit(PLN(), data, stop=StopRule(max_iter=steps), state=state, offer=latest.append)
        state = latest[-1]
        if cut.optimum.status is not Status.MAX_ITER:
            break
    same(whole, cut)


def test_checkpoints_are_written_in_turn_and_the_newest_whole_one_is_read(tmp_path: Path) -> None:
    _, states = kept(tmp_path, "pln", "newton-cg", StopRule())
    keeper = checkpoints.Keeper(tmp_path / "run.checkpoint", ABOUT, every=0.0)
    for state in states[:3]:
        keeper.offer(state)
    files = sorted((tmp_path / "run.checkpoint").iterdir())
    assert [file.name for file in files] == ["a.safetensors", "b.safetensors"]
    found = checkpoints.newest(tmp_path / "run.checkpoint")
    assert found is not None and len(found[0].trace) == 2 and found[2] == ()
    content = files[0].read_bytes()
    for damaged in (
        content[:-9],
        content[:99] + b"?" + content[100:],
        content[:-40] + b"!" + content[-39:],
        b"",
        b"no",
    ):
        files[0].write_bytes(damaged)
        found = checkpoints.newest(tmp_path / "run.checkpoint")
        assert found is not None and len(found[0].trace) == 1
        assert "a.safetensors is damaged" in found[2][0] and "An older checkpoint is used." in found[2][0]
    files[1].write_bytes(b"no")
    with pytest.raises(DataError, match="is damaged.*Remove .*run.checkpoint to begin anew"):
        checkpoints.newest(tmp_path / "run.checkpoint")
    keeper.discard()
    assert checkpoints.newest(tmp_path / "run.checkpoint") is None


def test_nothing_is_written_before_its_time_or_into_a_folder_that_cannot_be(tmp_path: Path) -> None:
    _, states = kept(tmp_path, "pln", "newton-cg", StopRule())
    keeper = checkpoints.Keeper(tmp_path / "run.checkpoint", ABOUT, every=math.inf)
    keeper.offer(states[0])
    assert not keeper.folder.exists() and keeper.save() and keeper.folder.is_dir()
    (tmp_path / "file").write_text("")
    keeper = checkpoints.Keeper(tmp_path / "file/run.checkpoint", ABOUT, every=0.0)
    keeper.offer(states[0])
    assert keeper.failure and not keeper.save()
