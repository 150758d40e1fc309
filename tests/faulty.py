"""Fits that go wrong, for tests of resampling: in a module of their own, since workers import them by name."""

from __future__ import annotations

import os
import signal
import time

from plncli.dataset import Dataset
from plncli.errors import FitError
from plncli.fitting.estimation import _estimate
from plncli.inference.resampling import Estimated
from plncli.models.base import Init, Model
from plncli.optim.base import StopRule

HOME = os.getpid()


def killed_in_a_worker(model: Model, data: Dataset, init: Init, stop: StopRule) -> Estimated:
    if "plncli.inference.workers" in " ".join(open("/proc/self/cmdline").read().split("\0")):  # noqa: SIM115, PTH123
        os.kill(os.getpid(), signal.SIGKILL)
    return _estimate(model, data, init, stop)


def slow(model: Model, data: Dataset, init: Init, stop: StopRule) -> Estimated:
    time.sleep(0.05)
    return _estimate(model, data, init, stop)


def failing_where_the_first_sample_is_drawn_thrice(
    model: Model, data: Dataset, init: Init, stop: StopRule
) -> Estimated:
    if data.samples[0] == "first" and float(data.w[0]) == 3.0:
        raise FitError("The first sample was drawn thrice.")
    return _estimate(model, data, init, stop)


def failing(model: Model, data: Dataset, init: Init, stop: StopRule) -> Estimated:
    raise FitError("It never works.")
