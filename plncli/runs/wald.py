"""Wald tests of the coefficients of a finished fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from plncli.runs.run import Run
from plncli.inference.hypotheses import Hypothesis
from plncli.inference.wald import Wald, contrast_test, joint_test


def wald_tests(run: Run, wanted: Sequence[Hypothesis], level: float) -> Iterator[tuple[Hypothesis, Wald]]:
    """Each hypothesis with its test in every response; `level` of the intervals. The run has standard errors."""
    B, blocks = (torch.from_numpy(tensor).double() for tensor in (run.estimates["B"], run.inference["blocks"]))
    df = float(run.inference["df"])
    for hypothesis in wanted:
        rows, values = (torch.tensor(part, dtype=torch.float64) for part in (hypothesis.rows, hypothesis.values))
        if hypothesis.contrast:
            yield hypothesis, contrast_test(B, blocks, rows[0], float(values), df, level)
        else:
            yield hypothesis, joint_test(B, blocks, rows, values, df)
