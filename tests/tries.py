"""How many examples a property is tried on: some in the ordinary tests, and all where the slow ones run too."""

from __future__ import annotations

from typing import Any

from hypothesis import settings

ALL = False
"""Whether the slow tests run too; `conftest` says so before any test is collected."""


def examples(some: int, many: int, **more: Any) -> settings:
    """The settings of a property that is tried on some examples, or on many."""
    return settings(max_examples=many if ALL else some, deadline=None, **more)
