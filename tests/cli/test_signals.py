from __future__ import annotations

import signal

import pytest

from plncli.cli.signals import Interrupted, cancellation


def test_the_first_signal_asks_and_the_second_leaves() -> None:
    with cancellation() as state:
        state.savable = True
        signal.raise_signal(signal.SIGTERM)
        assert state.cancelled()
        with pytest.raises(Interrupted) as left:
            signal.raise_signal(signal.SIGINT)
    assert left.value.exit_code == 130


def test_without_a_fit_to_save_the_first_signal_leaves() -> None:
    with cancellation() as state, pytest.raises(Interrupted) as left:
        signal.raise_signal(signal.SIGTERM)
    assert left.value.exit_code == 143
    assert not state.cancelled()


def test_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with cancellation():
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before


def test_no_failure_handler_takes_an_interrupt_for_its_own() -> None:
    assert not issubclass(Interrupted, Exception)
