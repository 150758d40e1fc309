from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch

from plncli.models import MODELS
from plncli.verbs.graph import dot_lines, tree_lines

Cli = Callable[..., Any]


@pytest.fixture
def recorded() -> tuple[torch.Tensor, dict[int, str]]:
    """a = exp(x) is used twice."""
    x = torch.ones(2, 3, requires_grad=True)
    a = x.exp()
    return (a * a.sum()).sum(), {id(x): "x"}


def test_a_tree_names_operations_leaves_and_what_is_used_twice(recorded: Any) -> None:
    assert tree_lines(*recorded) == [
        "SumBackward",
        "└─ MulBackward",
        "   ├─ ExpBackward #1",
        "   │  └─ x [2×3]",
        "   └─ SumBackward",
        "      └─ ExpBackward (see #1)",
    ]


def test_dot_has_every_node_once_and_every_edge(recorded: Any) -> None:
    lines = dot_lines(*recorded)
    assert (lines[0], lines[-1]) == ("digraph objective {", "}")
    labels = [match[1] for line in lines if (match := re.search(r'label="([^"]*)"', line))]
    assert sorted(labels) == ["ExpBackward", "MulBackward", "SumBackward", "SumBackward", "x [2×3]"]
    assert sum("->" in line for line in lines) == 5


@pytest.mark.parametrize("switches", [[], ["--fused"], ["--dot"]], ids=str)
@pytest.mark.parametrize("model", MODELS)
def test_every_model_has_a_graph_that_ends_in_its_parameters(cli: Cli, model: str, switches: list[str]) -> None:
    ran = cli("graph", model, *switches)
    assert (ran.code, ran.err) == (0, "")
    assert "Backward" in ran.out
    assert re.search(r"\w+ \[\d+(×\d+)+\]", ran.out)
    assert "leaf" not in ran.out


def test_the_objective_shows_its_operations_and_fused_hides_them(cli: Cli) -> None:
    shown, hidden = (cli("graph", "pln", *switches).out.splitlines() for switches in ([], ["--fused"]))
    assert len(hidden) < 5 < len(shown)


def test_tables_may_be_given(cli: Cli, oaks: Any) -> None:
    ran = cli("graph", "pln", "--counts", oaks.counts, "--covariance", "diagonal")
    assert ran.code == 0
    assert "116×114]" in ran.out


def test_a_bad_table_is_refused_as_by_fit(cli: Cli) -> None:
    assert cli("graph", "pln", "--counts", "missing.csv").code == 3
