"""Simulated tables: from a design or from a run to a folder of tables, the truth beside them, whole or not at all."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Generator, Tensor

from plncli.dataset import Dataset
from plncli.errors import DataError, UsageError, counted, some
from plncli.inputs.cells import NUMBERS_RULE
from plncli.inputs.design import Design, make_design
from plncli.inputs.formula import parse
from plncli.numerics.simulation import (
    Simulated,
    count_intercepts,
    logistic_intercepts,
    simulate_linear,
    simulate_logistic,
    simulate_pln,
    square_root,
    toeplitz,
)
from plncli.runs.new_data import NewData, Sources, load
from plncli.runs.run import Run
from plncli.runs.training_data import Origin
from plncli.settings.config import FitConfig, to_toml
from plncli.tables import writing as output
from plncli.tables.atomic import whole_folder, write_file
from plncli.tables.reading import Table, frame, numbers, read_table, refuse
from plncli.tables.target import check_target
from plncli.tables.writing import FORMATS

TABLES = ("counts", "response", "covariates", "exposure", "offsets", "true_coefficients", "true_sigma", "true_latent")
FACTS = "simulation.json"
MOST = 10**9
"""Samples, features or covariates: beyond what any memory holds."""
WRITTEN = {f"{name}.{suffix}" for name in TABLES for suffix in FORMATS} | {FACTS, "config.toml"}


@dataclass(frozen=True)
class Recipe:
    """The settings of an invented design; None where they do not apply to the model, or are not given.

    numeric: how many standard normal covariates; levels: of a factor (0: none); effect: standard deviation of slopes.
    covariance, correlation, sd, sigma: of the latent layer or the residuals. depth: mean expected total of a sample;
    depth_spread: standard deviation of the log exposures; zeros: share of zeros.
    """

    model: str
    n: int = 200
    p: int = 20
    numeric: int = 1
    levels: int = 0
    effect: float = 0.5
    covariance: str | None = None
    correlation: float | None = None
    sd: float | None = None
    sigma: str | None = None
    depth: float | None = None
    depth_spread: float | None = None
    zeros: float | None = None


GAUSSIAN: dict[str, Any] = {"covariance": "full", "correlation": 0.5, "sd": 1.0}
DEFAULTS: dict[str, dict[str, Any]] = {
    "pln": {**GAUSSIAN, "depth_spread": 0.5},
    "logistic": {"p": 1, "zeros": 0.5},
    "linear": {**GAUSSIAN, "p": 1},
}
EVERYWHERE = ("n", "p", "numeric", "levels", "effect")
SETTINGS = {
    "pln": (*EVERYWHERE, *GAUSSIAN, "sigma", "depth", "depth_spread", "zeros"),
    "logistic": (*EVERYWHERE, "zeros"),
    "linear": (*EVERYWHERE, *GAUSSIAN, "sigma"),
}
"""What can be set, by model."""


def recipe(model: str, n: int | None, given: Mapping[str, Any]) -> Recipe:
    """The recipe that settings ask for; UsageError for those that do not go together, or mean nothing."""
    for name in given:
        if name not in SETTINGS[model]:
            raise UsageError(f"{_flag(name)} is not for {model} tables.")
    without = [name for name in (*GAUSSIAN, "p") if "sigma" in given and name in given]
    if without:
        raise UsageError(f"{_flag(without[0])} does not go with --sigma, which gives all of the covariance.")
    if "correlation" in given and given.get("covariance", "full") != "full":
        raise UsageError(f"--correlation goes with --covariance full, but that is {given['covariance']}.")
    values = {**DEFAULTS[model], **given, **({} if n is None else {"n": n})}
    if "sigma" in given:
        values |= dict.fromkeys(GAUSSIAN)
    elif values.get("covariance") != "full":
        values["correlation"] = None
    made = Recipe(model, **values)
    _check(made)
    return made


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


@dataclass(frozen=True)
class Truth:
    """What a table is drawn from, with the names of its rows and columns.

    X: n×d; O: offset, n×1 or n×p; B: d×p, finite; Sigma: p×p, None for logistic; never: n×p, cells whose expected count
    is 0, None for none; coefficients: B as it is told, −inf included; covariates: the table to be written, None for
    none; formula: its right side, with `~`; classes: (zero, one) labels of each response.
    """

    model: str
    samples: tuple[str, ...] = field(repr=False)
    terms: tuple[str, ...]
    responses: tuple[str, ...] = field(repr=False)
    formula: str
    covariance: str | None
    X: Tensor = field(repr=False)
    O: Tensor = field(repr=False)
    B: Tensor = field(repr=False)
    coefficients: Tensor = field(repr=False)
    Sigma: Tensor | None = field(repr=False)
    covariates: pa.Table | None = field(repr=False)
    never: Tensor | None = field(repr=False, default=None)
    classes: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def n(self) -> int:
        """Number of samples."""
        return len(self.samples)

    @property
    def main(self) -> str:
        """What the table that is drawn is called."""
        return "counts" if self.model == "pln" else "response"

    def draw(self, generator: Generator) -> Simulated:
        """The table."""
        if self.model == "logistic":
            return simulate_logistic(self.X, self.O, self.B, generator)
        assert self.Sigma is not None
        if self.model == "linear":
            return simulate_linear(self.X, self.O, self.B, self.Sigma, generator)
        return simulate_pln(self.X, self.O, self.B, self.Sigma, generator, self.never)

    @property
    def offset(self) -> str:
        """Option of the table that the offset is written as: exposures for counts; nothing where it is 0."""
        return ("exposure" if self.model == "pln" else "offsets") if bool(self.O.any()) else ""


def _named(letter: str, many: int) -> tuple[str, ...]:
    """`s01` to `s24`: as many digits as the last one needs."""
    width = len(str(many))
    return tuple(f"{letter}{i:0{width}d}" for i in range(1, many + 1))


# From a design


def invent(recipe: Recipe, generator: Generator, sigma: Table | None = None) -> Truth:
    """Covariates, exposures and parameters as the recipe says; sigma: its table, if it is there already."""
    Sigma, responses = _covariance(recipe, sigma)
    n, p = recipe.n, len(responses)
    samples = _named("s", n)
    formula, covariates, design, X = _covariates(recipe, samples, generator)
    B = recipe.effect * torch.randn(len(design.terms), p, generator=generator, dtype=torch.float64)
    profile = torch.randn(p, generator=generator, dtype=torch.float64)
    B[0] = 0.0
    facts: dict[str, Any] = {"design": {name: getattr(recipe, name) for name in SETTINGS[recipe.model]} | {"p": p}}
    O = torch.zeros(n, 1, dtype=torch.float64)
    if recipe.model == "pln":
        assert Sigma is not None and recipe.depth_spread is not None
        log_exposure = recipe.depth_spread * torch.randn(n, 1, generator=generator, dtype=torch.float64)
        depth = 10.0 * p if recipe.depth is None and recipe.zeros is None else recipe.depth
        level = count_intercepts(X @ B + log_exposure, Sigma.diagonal(), profile, depth, recipe.zeros)
        unit = math.log(level.depth / float(log_exposure.exp().mean()))  # exposures near the expected totals
        O, B[0] = log_exposure + unit, level.intercepts - unit
        facts["expected_depth"] = level.depth
    elif recipe.model == "logistic":
        assert recipe.zeros is not None
        B[0] = logistic_intercepts(X @ B, recipe.zeros)
    else:
        B[0] = profile
    covariance = ("full" if recipe.sigma else recipe.covariance) if recipe.model == "pln" else None
    return Truth(
        recipe.model, samples, design.terms, responses, formula, covariance, X, O, B, B, Sigma, covariates, facts=facts
    )


def _check(recipe: Recipe) -> None:
    """UsageError for numbers that mean nothing."""
    positive = lambda x: 0 < x < float("inf")  # noqa: E731
    rules: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
        ("n", lambda x: 1 <= x <= MOST, f"from 1 to {MOST}"),
        ("p", lambda x: 1 <= x <= MOST, f"from 1 to {MOST}"),
        ("numeric", lambda x: 0 <= x <= MOST, f"from 0 to {MOST}"),
        ("levels", lambda x: x == 0 or 2 <= x < recipe.n, "0, or from 2 to less than the number of samples"),
        ("effect", lambda x: 0 <= x < float("inf"), "0 or more"),
        ("correlation", lambda x: -1 < x < 1, "between -1 and 1"),
        ("sd", positive, "positive"),
        ("depth", positive, "positive"),
        ("depth_spread", lambda x: 0 <= x < float("inf"), "0 or more"),
        ("zeros", lambda x: 0 < x < 1, "a share between 0 and 1"),
    )
    for name, rule, words in rules:
        value = getattr(recipe, name)
        if value is not None and not rule(value):
            shown = value if isinstance(value, int) else f"{value:g}"
            raise UsageError(f"{_flag(name)} must be {words}, not {shown}.")


def _covariance(recipe: Recipe, sigma: Table | None) -> tuple[Tensor | None, tuple[str, ...]]:
    """Sigma (p×p) and the names of the responses."""
    names = _named("f" if recipe.model == "pln" else "y", recipe.p)
    if recipe.model == "logistic":
        return None, names
    if recipe.sigma is not None:
        return _named_covariance(sigma or read_table(recipe.sigma, "sigma"))
    assert recipe.sd is not None
    sd = torch.full((recipe.p,), recipe.sd, dtype=torch.float64)
    if recipe.covariance == "full":
        assert recipe.correlation is not None
        return toeplitz(sd, recipe.correlation), names
    if recipe.covariance == "diagonal":
        sd = sd * 2.0 ** torch.linspace(-0.5, 0.5, recipe.p, dtype=torch.float64)
    return torch.diag(sd.square()), names


def _named_covariance(table: Table) -> tuple[Tensor, tuple[str, ...]]:
    """A covariance matrix (p×p), and the names of its columns."""
    if set(table.samples) != set(table.columns):
        raise DataError(f"{table.name} must have the same names in its rows and columns, as a covariance matrix has.")
    values, missing = numbers(table, NUMBERS_RULE)
    refuse(table, missing, "missing entry", "Fill it in.")
    rows = [table.samples.index(name) for name in table.columns]
    Sigma = torch.from_numpy(values[rows])
    size = Sigma.abs().max()
    if not bool(torch.isfinite(size)) or float((Sigma - Sigma.mT).abs().max()) > 1e-8 * float(size):
        raise DataError(f"{table.name} is not symmetric, or not finite, and so no covariance matrix.")
    Sigma = 0.5 * (Sigma + Sigma.mT)
    try:
        square_root(Sigma)
    except DataError as error:
        raise DataError(f"{table.name}: {error}") from None
    return Sigma, table.columns


def _covariates(
    recipe: Recipe, samples: tuple[str, ...], generator: Generator
) -> tuple[str, pa.Table | None, Design, Tensor]:
    """Formula, the table of covariates (None without any), and the design that `fit` makes of the two."""
    n, columns = recipe.n, {}
    for k in range(recipe.numeric):
        name = "x" if recipe.numeric == 1 else f"x{k + 1}"
        columns[name] = output.number_column(torch.randn(n, generator=generator, dtype=torch.float64).numpy())
    if recipe.levels:
        letters = ascii_lowercase if recipe.levels <= len(ascii_lowercase) else _named("g", recipe.levels)
        order = torch.randperm(n, generator=generator).tolist()
        columns["group"] = output.text_column([letters[i % recipe.levels] for i in order])
    text = f"~ {' + '.join(columns) or '1'}"
    if not columns:
        design, X, _ = make_design(parse(text), None, samples, "")
        return text, None, design, torch.from_numpy(X)
    cells = pa.Table.from_arrays(list(columns.values()), names=[str(i) for i in range(len(columns))])
    table = Table("covariates", "covariates", samples, tuple(columns), cells)
    design, X, _ = make_design(parse(text, table.columns), frame(table, table.columns), samples, "covariates")
    written = output.with_names("sample", samples, list(columns), list(columns.values()))
    return text, written, design, torch.from_numpy(X)


# From a run


def resample(
    run: Run, generator: Generator, *, n: int | None, new: Sources | None, own: Callable[[Run], Origin]
) -> Truth:
    """The parameters of a run, for its own samples, for n of them drawn with replacement, or for new ones.

    own: what the run was made to, called where it is needed.
    """
    if n is not None and new is not None:
        raise UsageError("--n draws from the samples of the fit; --covariates and --exposure say how many there are.")
    if n is not None and not 1 <= n <= MOST:
        raise UsageError(f"--n must be from 1 to {MOST}, not {n}.")
    design = Design.from_json(run.design)
    data: Dataset | NewData
    if new is None:
        data, covariates, named = own(run)
    else:
        data, covariates, named = load(run, new), new.covariates, new.sample_names
    samples, X, O = data.samples, data.X, data.O
    table = _covariates_of(covariates, named, samples, design.columns) if design.columns else None
    never, open_cells = _courses(run, X)
    if n is not None:
        rows = torch.randint(len(samples), (n,), generator=generator)
        samples, X, O, never = _named("s", n), X[rows], O[rows], never[rows]
        table = None if table is None else table.take(rows.numpy())
    if table is not None:
        table = output.with_names("sample", samples, design.columns, table.columns)
    covariance = run.settings.get("covariance") if run.model == "pln" else None
    return Truth(
        model=run.model,
        samples=samples,
        terms=run.terms,
        responses=run.responses,
        formula=f"~ {design.formula.rhs}",
        covariance="full" if covariance == "fixed" else covariance,
        X=X,
        O=O,
        B=run.parameters.B,
        coefficients=torch.from_numpy(run.estimates["B"]).double(),
        Sigma=torch.from_numpy(run.estimates["Sigma"]).double() if "Sigma" in run.estimates else None,
        covariates=table,
        never=never if bool(never.any()) else None,
        classes=tuple((zero, one) for zero, one in run.classes or ()),
        notes=tuple(_notes(run, design, own=n is None and new is None, open_cells=open_cells)),
        facts={"from": str(run.place)},
    )


def _covariates_of(
    path: str | Table | None, named: bool, samples: tuple[str, ...], columns: tuple[str, ...]
) -> pa.Table:
    """The columns of a table of covariates, in the order of the samples."""
    assert path is not None
    read = path if isinstance(path, Table) else read_table(path, "covariates", sample_names=named)
    table = read.select(columns)
    at = {sample: i for i, sample in enumerate(table.samples)}
    return table.take(np.array([at[sample] for sample in samples])).cells


def _courses(run: Run, X: Tensor) -> tuple[Tensor, int]:
    """n×p: cells whose expected count is 0, since a coefficient is −inf; and how many the fit leaves open."""
    course = run.parameters.course(X)
    bad = _names(run.responses, (course > 0).any(0))
    if bad:
        raise DataError(
            f"The fit expects ever more of {counted(len(bad), 'feature')} in samples like these: {some(bad)}. "
            "Its tables have none of them; leave such samples out."
        )
    return course < 0, int(course.isnan().sum())


def _notes(run: Run, design: Design, *, own: bool, open_cells: int) -> Iterator[str]:
    """What the user should know about tables drawn from this run."""
    if open_cells:
        yield f"The fit leaves {counted(open_cells, 'expected count')} open; one that fits as well as any is taken."
    if not run.summary["converged"]:
        yield f"{run.place} did not converge: its parameters are not those of the optimum."
    if run.settings.get("weights"):
        yield f"{run.place} was fitted with weights; each row counts as one sample here."
    if not own and design.encoding is not None and design.encoding.state.get("transforms", {}).get("items"):
        yield (
            "A fit of the new table learns the transforms of the formula anew (centres, knots), so its coefficients "
            "may be on another scale than the true ones."
        )


# What is written


@dataclass(frozen=True)
class Outcome:
    """A table that was drawn, and what summary and messages say of it."""

    truth: Truth
    drawn: Simulated = field(repr=False)
    facts: Mapping[str, Any]
    notes: tuple[str, ...]


def draw(truth: Truth, generator: Generator, source: Mapping[str, Any]) -> Outcome:
    """Draw the table; `source` says where the parameters come from."""
    drawn = truth.draw(generator)
    Y = drawn.Y
    facts: dict[str, Any] = {
        "model": truth.model,
        "n_samples": truth.n,
        "n_features": len(truth.responses),
        "n_covariates": len(truth.terms),
        "formula": truth.formula,
        **source,
        **truth.facts,
    }
    notes = list(truth.notes)
    if truth.model == "pln":
        if not bool(Y.any()):
            raise DataError("Every count drawn is 0. Raise --depth, or take smaller standard deviations.")
        empty = _names(truth.samples, (Y == 0).all(1)), _names(truth.responses, (Y == 0).all(0))
        facts |= {"mean_depth": float(Y.sum(1).mean()), "zeros": float((Y == 0).double().mean())}
        facts |= {"empty_samples": empty[0], "empty_features": empty[1]}
        told = [
            f"{counted(len(names), noun)} without any count ({some(names)})"
            for noun, names in zip(("sample", "feature"), empty, strict=True)
            if names
        ]
        if told:
            notes.append(f"{' and '.join(told)}: a fit leaves them out with --all-zero drop, as config.toml says.")
    elif truth.model == "logistic":
        facts["zeros"] = float((Y == 0).double().mean())
        single = _names(truth.responses, (Y[:1] == Y).all(0))
        if single:
            notes.append(f"{counted(len(single), 'response')} of one class only, which no fit takes: {some(single)}.")
    return Outcome(truth, drawn, facts, tuple(notes))


def _names(names: tuple[str, ...], chosen: Tensor) -> list[str]:
    return [names[i] for i in chosen.nonzero()[:, 0].tolist()]


def write(out: Path, outcome: Outcome, suffix: str, *, latent: bool, overwrite: bool) -> None:
    """Write the tables, the truth and a configuration to fit them with into `out`."""
    check_target(out, overwrite, WRITTEN)
    made = tables(outcome)
    with whole_folder(out) as partial:
        for name, table in made.items():
            if latent or name != "true_latent":
                write_file(partial / f"{name}.{suffix}", output.table_bytes(table(), suffix))
        paths: dict[str, Any] = {name: f"{name}.{suffix}" for name in made if not name.startswith("true_")}
        config = FitConfig(outcome.truth.model, **paths, **settings(outcome))
        write_file(partial / "config.toml", to_toml(config).encode())
        write_file(partial / FACTS, output.to_json(outcome.facts).encode())


def tables(outcome: Outcome) -> dict[str, Callable[[], pa.Table]]:
    """What makes each table, the truth among them, by its name: one at a time, for they may be large."""
    truth = outcome.truth
    made: dict[str, Callable[[], pa.Table]] = {
        truth.main: lambda: _main(outcome),
        "true_coefficients": lambda: _coefficients(truth),
    }
    if truth.covariates is not None:
        made["covariates"] = lambda: truth.covariates
    if truth.offset:
        made[truth.offset] = lambda: _offset(truth)
    if (Sigma := truth.Sigma) is not None:
        made["true_sigma"] = lambda: _matrix("response", truth.responses, truth.responses, Sigma)
    made["true_latent"] = lambda: _matrix("sample", truth.samples, truth.responses, outcome.drawn.latent)
    return made


def _main(outcome: Outcome) -> pa.Table:
    """Counts as whole numbers, classes by their labels where they have any, other responses as they are."""
    truth, Y = outcome.truth, outcome.drawn.Y
    if truth.model == "linear":
        return _matrix("sample", truth.samples, truth.responses, Y)
    if not truth.classes:
        return _matrix("sample", truth.samples, truth.responses, Y.long())
    cells = [output.text_column([labels[int(y)] for y in Y[:, j].tolist()]) for j, labels in enumerate(truth.classes)]
    return output.with_names("sample", truth.samples, truth.responses, cells)


def _offset(truth: Truth) -> pa.Table:
    columns = truth.responses if truth.O.shape[1] == len(truth.responses) > 1 else (truth.offset,)
    return _matrix("sample", truth.samples, columns, truth.O.exp() if truth.model == "pln" else truth.O)


def _coefficients(truth: Truth) -> pa.Table:
    """One row a response and term."""
    terms, responses = truth.terms, truth.responses
    return output.table(
        {
            "response": [response for response in responses for _ in terms],
            "term": list(terms) * len(responses),
            "value": truth.coefficients.mT.reshape(-1).numpy(),
        }
    )


def _matrix(what: str, rows: tuple[str, ...], columns: tuple[str, ...], values: Tensor) -> pa.Table:
    cells = [output.number_column(values[:, j].numpy()) for j in range(len(columns))]
    return output.with_names(what, rows, columns, cells)


def settings(outcome: Outcome) -> dict[str, Any]:
    """Of a fit of the simulated tables, besides these."""
    given: dict[str, Any] = {"formula": outcome.truth.formula}
    if outcome.truth.covariance is not None:
        given["covariance"] = outcome.truth.covariance
    if outcome.facts.get("empty_samples") or outcome.facts.get("empty_features"):
        given["all_zero"] = "drop"
    return given
