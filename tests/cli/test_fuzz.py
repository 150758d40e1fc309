"""Any command line, configuration and environment ends in what was asked for, or in a refusal that leaves no trace."""

from __future__ import annotations

from collections import Counter

import pytest
from commands import outcomes
from drawn import COMMANDS, case

FEW, MANY = 24, 1250


def judged(first: int, last: int) -> Counter[str]:
    """How many commands ended with each exit code; fails on any that does not keep to what is promised."""
    found = list(outcomes(first, last))
    odd = [(number, case(number), said) for number, said in found if len(said) > 1]
    assert not odd, odd[:5]
    assert [number for number, _ in found] == list(range(first, last))
    return Counter(said for _, said in found)


def test_every_command_is_drawn() -> None:
    drawn = {" ".join(case(number).words[:many]) for number in range(1000) for many in (1, 2)}
    assert set(COMMANDS) <= drawn


def test_some_commands() -> None:
    told = judged(0, FEW)
    assert told["0"] > FEW / 6 and told["2"] > FEW / 6 and told["3"]


@pytest.mark.slow
@pytest.mark.parametrize("first", [FEW, FEW + MANY])
def test_commands(first: int) -> None:
    told = judged(first, first + MANY)
    assert min(told["0"], told["2"], told["3"]) > MANY / 10 and told["4"]
