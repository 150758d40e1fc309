"""Hypotheses about the coefficients of a finished fit, tested in every response: by Wald, and by likelihood ratios."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from plncli.errors import DataError, UsageError

if TYPE_CHECKING:
    from plncli.dataset import Dataset
    from plncli.inference.hypotheses import Hypothesis
    from plncli.inference.wald import Wald
    from plncli.runs.run import Run


def wald_tests(run: Run, wanted: Sequence[Hypothesis], level: float) -> Iterator[tuple[Hypothesis, Wald]]:
    """Each hypothesis with its test in every response; `level` of the intervals. The run has standard errors."""
    import torch

    from plncli.inference.wald import contrast_test, joint_test

    B, blocks = (torch.from_numpy(tensor).double() for tensor in (run.coefficient_table, run.inference["blocks"]))
    df = float(run.inference["df"])
    for hypothesis in wanted:
        rows, values = (torch.tensor(part, dtype=torch.float64) for part in (hypothesis.rows, hypothesis.values))
        if hypothesis.contrast:
            yield hypothesis, contrast_test(B, blocks, rows[0], float(values), df, level)
        else:
            yield hypothesis, joint_test(B, blocks, rows, values, df)


def check_ratios(run: Run) -> None:
    """UsageError where a model, or samples in clusters, have no ratios; DataError where there is no optimum."""
    from plncli.models.base import RatioTesting

    if not issubclass(run.spec.load_model(), RatioTesting):
        raise UsageError(
            f"--lr is not for a fit of the model {run.model}, as {run.place} is: fit again without the term, and see "
            "`plncli compare`."
        )
    if run.settings.get("cluster"):
        raise UsageError(
            f"--lr takes samples as independent, and {run.place} was fitted with --cluster {run.settings['cluster']}: "
            "leave --lr out."
        )
    if not run.summary["converged"]:
        raise DataError(f"{run.place} did not converge, so there is no optimum to take ratios to (--lr).")


def ratio_tests(
    run: Run, data: Dataset, done: Sequence[tuple[Hypothesis, Wald]], level: float
) -> Iterator[tuple[Hypothesis, Wald]]:
    """The same by likelihood ratios, of the data that were fitted, where all that is tested has a standard error."""
    import torch

    from plncli.inference.wald import by_ratio

    model = run.spec.load_model().of(run.settings, {})
    prepared, B = model.prepare(data), torch.from_numpy(run.coefficient_table).double()
    for hypothesis, wald in done:
        whole = torch.tensor([not reason for reason in wald.reasons])
        for j, left_out in enumerate(wald.left_out):
            whole[j] &= not left_out
        rows, values = (torch.tensor(part, dtype=torch.float64) for part in (hypothesis.rows, hypothesis.values))
        error = torch.where(whole, wald.std_error if hypothesis.contrast else 1.0, math.nan).double()
        found = model.held(B, prepared, rows, values, error, level if hypothesis.contrast else None)
        yield hypothesis, by_ratio(wald, found, len(rows))
