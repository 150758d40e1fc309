"""How good the bound of a finished fit is, and how well its model fits: summary and tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Generator, Tensor

from plncli.dataset import Dataset
from plncli.evaluation import diagnostics
from plncli.inference.wald import benjamini_hochberg
from plncli.models.pln.importance import UNRELIABLE, Cells, LogLikelihood, log_likelihood, sample_bounds
from plncli.runs.run import Run
from plncli.tables import writing as output
from plncli.tables.atomic import whole_folder, write_file
from plncli.tables.target import check_target
from plncli.tables.writing import FORMATS

TABLES = ("samples", "features", "responses", "bins", "residuals")
WRITTEN = {f"{name}.{suffix}" for name in TABLES for suffix in FORMATS} | {"diagnosis.json"}
DOUBTFUL = 0.05
"""q-value below which a feature is said not to follow the model."""
SHOWN = 5


@dataclass(frozen=True)
class Diagnosis:
    """facts: the summary, as JSON; tables: columns (lists or arrays) by name, by name of the table; residuals: n×p."""

    facts: dict[str, Any]
    tables: dict[str, dict[str, Any]] = field(repr=False)
    residuals: Tensor = field(repr=False)
    samples: tuple[str, ...] = field(repr=False)
    responses: tuple[str, ...] = field(repr=False)


def diagnose(run: Run, data: Dataset, draws: int, generator: Generator) -> Diagnosis:
    """Diagnose a fit with the data that it was made to, on the CPU in float64."""
    if run.model == "pln":
        facts, tables, residuals = _pln(run, data, draws, generator)
    else:
        facts, tables, residuals = {"logistic": _logistic, "linear": _linear}[run.model](run, data)
    name, value = run.likelihood
    top = {
        "run": str(run.place),
        "model": run.model,
        "converged": run.summary["converged"],
        "n_samples": data.n,
        "n_features": data.p,
        name: value,
    }
    plain = {
        table: {name: part.numpy() if isinstance(part, Tensor) else part for name, part in columns.items()}
        for table, columns in tables.items()
    }
    return Diagnosis({**top, **facts}, plain, residuals, data.samples, data.responses)


def cells_of(run: Run, data: Dataset) -> Cells:
    """The counts of a pln fit; observed ones whose expected value is 0 or not determined do not count."""
    known = run.parameters
    assert known.Sigma is not None
    seen = torch.ones_like(data.Y, dtype=torch.bool) if data.K is None else data.K
    return Cells(data.Y, seen & (known.course(data.X) == 0), data.O + data.X @ known.B, known.Sigma)


Found = tuple[dict[str, Any], dict[str, dict[str, Any]], Tensor]


def _pln(run: Run, data: Dataset, draws: int, generator: Generator) -> Found:
    """The bound, the likelihood, zeros, and residuals."""
    cells = cells_of(run, data)
    M = data.O + torch.from_numpy(run.state["M_finite"]).double()
    S2 = torch.from_numpy(run.estimates["S"]).double().square()
    bounds = sample_bounds(cells, M, S2)
    R = diagnostics.quantile_residuals(cells, generator)
    found: LogLikelihood | None = None
    if draws or cells.independent:
        found = log_likelihood(cells, M, S2, draws, generator)
    zeros = diagnostics.zeros(cells)
    samples = {"sample": list(data.samples), "elbo": bounds}
    if found is not None:
        samples |= {"loglik": found.value, "loglik_se": found.error, "khat": found.khat, "gap": found.value - bounds}
    samples |= _sizes(R, data.responses)
    by_feature = _normality(R)
    features = {
        "feature": list(data.responses),
        "zeros": zeros.counted,
        "zeros_expected": zeros.expected,
        "zeros_z": (zeros.counted - zeros.expected) / zeros.sd,
        **by_feature,
    }
    facts: dict[str, Any] = {"elbo_by_sample": float(data.w @ bounds)}
    if found is not None:
        facts |= _likelihood_facts(found, bounds, data.w, draws, cells.independent)
    counting = int(cells.K.sum())
    facts["zeros"] = {
        "share": float(zeros.counted.sum()) / counting,
        "expected": float(zeros.expected.sum()) / counting,
    }
    facts |= _residual_facts(R, by_feature, data.responses)
    facts["worst_samples"] = _worst(samples, "residual_rms", ("sample", "residual_rms", "largest", "of"))
    facts["worst_features"] = _worst(
        features, "ks", ("feature", "ks", "ks_q", "residual_mean", "residual_sd", "zeros", "zeros_expected")
    )
    return facts, {"samples": samples, "features": features}, R


def _likelihood_facts(found: LogLikelihood, bounds: Tensor, w: Tensor, draws: int, exact: bool) -> dict[str, Any]:
    gap = found.value - bounds
    facts: dict[str, Any] = {
        "loglik": float(w @ found.value),
        "loglik_se": float((w * found.error).square().sum().sqrt()),
        "loglik_by": "quadrature" if exact else "importance sampling",
        "gap": float(w @ gap),
        "gap_by_sample": {"median": float(gap.median()), "largest": float(gap.max())},
    }
    if not exact:
        facts["draws"] = draws
        facts["khat"] = {
            "median": float(found.khat.median()),
            "largest": float(found.khat.max()),
            "unreliable": int(found.khat.gt(UNRELIABLE).sum()),
        }
    return facts


def _logistic(run: Run, data: Dataset) -> Found:
    """Calibration, and how well the classes are told apart."""
    eta = data.O + data.X @ run.parameters.B
    made = diagnostics.calibration(data.Y, eta, data.w)
    q_value = benjamini_hochberg(made.p_value[None])[0]
    R = diagnostics.deviance_residuals(data.Y, eta)
    responses = {
        "response": list(data.responses),
        "brier": diagnostics.brier(data.Y, eta, data.w),
        "auc": diagnostics.area_under_curve(data.Y, eta, data.w),
        "hosmer_lemeshow": made.statistic,
        "df": made.df,
        "p_value": made.p_value,
        "q_value": q_value,
    }
    there = made.weight > 0
    at, of = there.mT.nonzero().unbind(1)[::-1]
    bins = {
        "response": [data.responses[j] for j in of.tolist()],
        "bin": at + 1,
        **{name: getattr(made, name)[at, of] for name in ("weight", "expected", "observed")},
    }
    samples = {"sample": list(data.samples), **_sizes(R, data.responses)}
    facts = {
        "poor": int(q_value.lt(DOUBTFUL).sum()),
        "worst_features": _worst(responses, "hosmer_lemeshow", tuple(responses)),
        "worst_samples": _worst(samples, "largest", ("sample", "largest", "of")),
    }
    return facts, {"samples": samples, "responses": responses, "bins": bins}, R


def _linear(run: Run, data: Dataset) -> Found:
    """Residuals, leverage and influence."""
    found = diagnostics.influence(data.Y, data.O + data.X @ run.parameters.B, data.X, data.w)
    R = found.standardised
    cook, of = found.cook.nan_to_num(nan=0.0).max(1)
    samples = {
        "sample": list(data.samples),
        "leverage": found.leverage,
        "cook": cook,
        "cook_of": [data.responses[j] for j in of.tolist()],
        **_sizes(R, data.responses),
    }
    by_response = _normality(R)
    responses = {"response": list(data.responses), **by_response}
    facts = {
        **_residual_facts(R, by_response, data.responses),
        "largest_leverage": float(found.leverage.max()),
        "worst_samples": _worst(samples, "cook", ("sample", "cook", "cook_of", "leverage", "largest")),
        "worst_features": _worst(responses, "ks", tuple(responses)),
    }
    return facts, {"samples": samples, "responses": responses}, R


# What tables have in common


def _sizes(R: Tensor, responses: tuple[str, ...]) -> dict[str, Any]:
    """By sample: the root mean square of its residuals, and the largest in size, with the response it is of."""
    known = R.nan_to_num(nan=0.0)
    largest = known.abs().argmax(1)
    many = (~R.isnan()).sum(1)
    return {
        "residual_rms": (known.square().sum(1) / many).sqrt(),
        "largest": known.gather(1, largest[:, None])[:, 0],
        "of": [responses[j] for j in largest.tolist()],
    }


def _normality(R: Tensor) -> dict[str, Tensor]:
    """By response: mean and standard deviation of its residuals, and how far they are from standard normal."""
    many = (~R.isnan()).sum(0)
    mean = R.nansum(0) / many
    sd = ((R - mean).square().nansum(0) / many).sqrt()
    found = diagnostics.normality(R)
    q = benjamini_hochberg(found.p_value[None])[0]
    return {"residual_mean": mean, "residual_sd": sd, "ks": found.distance, "ks_p": found.p_value, "ks_q": q}


def _residual_facts(R: Tensor, found: Mapping[str, Tensor], responses: tuple[str, ...]) -> dict[str, Any]:
    known = R[~R.isnan()]
    poor = (found["ks_q"] < DOUBTFUL).nonzero()[:, 0].tolist()
    return {
        "residuals": {
            "mean": float(known.mean()),
            "sd": float(known.std()),
            "beyond_2": float((known.abs() > 2.0).double().mean()),
            "expected_beyond_2": 2.0 * float(torch.special.ndtr(torch.tensor(-2.0, dtype=torch.float64))),
        },
        "poor": len(poor),
        "poor_features": [responses[j] for j in poor],
    }


def _worst(columns: Mapping[str, Any], by: str, shown: tuple[str, ...]) -> list[dict[str, Any]]:
    """The SHOWN rows with the largest size in a column."""
    order = columns[by].abs().nan_to_num(nan=-1.0).argsort(descending=True, stable=True)[:SHOWN].tolist()
    return [{name: _plain(columns[name][i]) for name in shown} for i in order]


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, Tensor) else value


def write(out: Path, found: Diagnosis, suffix: str, *, residuals: bool, overwrite: bool) -> None:
    """Write the tables and the summary into `out`."""
    check_target(out, overwrite, WRITTEN)
    with whole_folder(out) as partial:
        for name, columns in found.tables.items():
            write_file(partial / f"{name}.{suffix}", output.table_bytes(output.table(columns), suffix))
        if residuals:
            cells = [output.number_column(np.ascontiguousarray(column)) for column in found.residuals.mT.numpy()]
            table = pa.Table.from_arrays([output.text_column(found.samples), *cells], ["sample", *found.responses])
            write_file(partial / f"residuals.{suffix}", output.table_bytes(table, suffix))
        write_file(partial / "diagnosis.json", output.to_json(found.facts).encode())
