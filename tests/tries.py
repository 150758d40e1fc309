"""On how much a property is tried: on some in the ordinary tests, and on all where the slow ones run too."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import settings

ALL = False
"""Whether the slow tests run too; `conftest` says so before any test is collected."""


def examples(some: int, many: int, **more: Any) -> settings:
    """The settings of a property that is tried on some examples, or on many."""
    return settings(max_examples=many if ALL else some, deadline=None, **more)


def quickly(values: Iterable[Any], *quick: Any) -> list[Any]:
    """All of the values, for `parametrize`; those that are not among the quick ones try the same code, and are slow."""
    known = [*values]
    assert all(value in known for value in quick)
    return [
        pytest.param(
            *(value if isinstance(value, tuple) else (value,)), marks=[] if value in quick else pytest.mark.slow
        )
        for value in known
    ]
