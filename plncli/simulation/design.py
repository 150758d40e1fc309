"""Simulation from a design: the recipe of covariates, exposures and parameters, and a truth made by it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from string import ascii_lowercase
from typing import Any

import pyarrow as pa
import torch
from torch import Generator, Tensor

from plncli.errors import DataError, UsageError
from plncli.inputs.cells import NUMBERS_RULE
from plncli.inputs.designs.design import Design, make_design
from plncli.inputs.formula import parse
from plncli.models import MODELS
from plncli.models.fitted import fitted_of
from plncli.models.inflation.spec import SYMBOLS
from plncli.models.spec import CLASSES, COUNTS, Spec
from plncli.numerics.linalg import principal_axes
from plncli.numerics.simulation import count_intercepts, logistic_intercepts, square_root, toeplitz
from plncli.simulation.graphs import GRAPHS, covariance_of_graph
from plncli.simulation.truth import MOST, Truth, numbered
from plncli.tables import writing as output
from plncli.tables.numbers import numbers, refuse
from plncli.tables.reading import read_table
from plncli.tables.table import Table, frame


@dataclass(frozen=True)
class Recipe:
    """The settings of an invented design; None where they do not apply to the model, or are not given.

    numeric: how many standard normal covariates; levels: of a factor (0: none); effect: standard deviation of slopes.
    covariance, correlation, sd, sigma: of the latent layer or the residuals; rank: of a layer in components. depth:
    mean expected total of a sample; depth_spread: standard deviation of the log exposures; zeros: share of zeros.
    zero_inflation: probability of a structural zero; zero_inflation_spread: standard deviation of its logit among
    features; zero_inflation_effect: of what the covariates of a sample add to it, slopes as of the counts.
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
    rank: int | None = None
    depth: float | None = None
    depth_spread: float | None = None
    zeros: float | None = None
    zero_inflation: float | None = None
    zero_inflation_spread: float | None = None
    zero_inflation_effect: float | None = None
    graph: str | None = None
    edges: int | None = None


GAUSSIAN: dict[str, Any] = {"covariance": "full", "correlation": 0.5, "sd": 1.0}
COMPONENTS: dict[str, Any] = {"rank": 2, "sd": 1.0}
NETWORK: dict[str, Any] = {"graph": "random", "sd": 1.0}
OF_GRAPH = ("graph", "edges")
INFLATION = ("zero_inflation", "zero_inflation_spread", "zero_inflation_effect")
EVERYWHERE = ("n", "p", "numeric", "levels", "effect")


def defaults(spec: Spec) -> dict[str, Any]:
    """Of the settings that matter to a model, where they differ from those of `Recipe`."""
    of_response: dict[str, dict[str, Any]] = {
        "counts": {"depth_spread": 0.5},
        "classes": {"p": 1, "zeros": 0.5},
        "numbers": {"p": 1},
    }
    return dict(_latent(spec)) | of_response[spec.response.name]


def _latent(spec: Spec) -> Mapping[str, Any]:
    """What says how responses vary together, with its defaults."""
    if spec.has("C") or not spec.has("Sigma"):
        return COMPONENTS if spec.has("C") else {}
    return GAUSSIAN if spec.setting("covariance") or spec.response is not COUNTS else NETWORK


def taken(spec: Spec) -> tuple[str, ...]:
    """What can be set for a model."""
    of_response = {"counts": ("depth", "depth_spread", "zeros"), "classes": ("zeros",), "numbers": ()}
    latent = _latent(spec)
    inflation = INFLATION if spec.setting("zero_inflation") else ()
    sigma = ("sigma",) if latent is GAUSSIAN else ()
    graph = OF_GRAPH if spec.response is COUNTS and latent is not COMPONENTS else ()
    return tuple(dict.fromkeys((*EVERYWHERE, *latent, *sigma, *graph, *of_response[spec.response.name], *inflation)))


def recipe(model: str, n: int | None, given: Mapping[str, Any]) -> Recipe:
    """The recipe that settings ask for; UsageError for those that do not go together, or mean nothing."""
    for name in given:
        if name not in taken(MODELS[model]):
            raise UsageError(f"{_flag(name)} is not for {model} tables.")
    without = [name for name in (*GAUSSIAN, "p") if "sigma" in given and name in given]
    if without:
        raise UsageError(f"{_flag(without[0])} does not go with --sigma FILE, which gives all of the covariance.")
    if "correlation" in given and given.get("covariance", "full") != "full":
        raise UsageError(f"--correlation goes with --covariance full, but that is {given['covariance']}.")
    for name in ("covariance", "correlation", "sigma"):
        if "graph" in given and name in given:
            raise UsageError(f"{_flag(name)} does not go with --graph, which gives the correlations.")
    if "edges" in given and "graph" not in given and "graph" not in defaults(MODELS[model]):
        raise UsageError("--edges goes with --graph.")
    for name in INFLATION[1:]:
        if name in given and "zero_inflation" not in given:
            raise UsageError(f"{_flag(name)} goes with --zero-inflation.")
    values = {**defaults(MODELS[model]), **given, **({} if n is None else {"n": n})}
    if "sigma" in given:
        values |= dict.fromkeys(GAUSSIAN)
    elif values.get("graph"):
        values |= {"covariance": None, "correlation": None}
    elif values.get("covariance") != "full":
        values["correlation"] = None
    made = Recipe(model, **values)
    if made.zero_inflation_effect and not (made.numeric or made.levels):
        raise UsageError("--zero-inflation-effect is that of covariates: give --numeric K or --levels K.")
    _check(made)
    return made


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


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
        ("graph", lambda x: x in GRAPHS, f"one of {', '.join(GRAPHS)}"),
        ("edges", lambda x: x >= 1, "1 or more"),
        ("rank", lambda x: 1 <= x <= recipe.p, "from 1 to the number of features"),
        ("depth", positive, "positive"),
        ("depth_spread", lambda x: 0 <= x < float("inf"), "0 or more"),
        ("zeros", lambda x: 0 < x < 1, "a share between 0 and 1"),
        ("zero_inflation", lambda x: 0 < x < 1, "a probability between 0 and 1"),
        ("zero_inflation_spread", lambda x: 0 <= x < float("inf"), "0 or more"),
        ("zero_inflation_effect", lambda x: 0 <= x < float("inf"), "0 or more"),
    )
    for name, rule, words in rules:
        value = getattr(recipe, name)
        if value is not None and not rule(value):
            shown = f"{value:g}" if isinstance(value, float) else value
            raise UsageError(f"{_flag(name)} must be {words}, not {shown}.")


def invent(recipe: Recipe, generator: Generator, sigma: Table | None = None) -> Truth:
    """Covariates, exposures and parameters as the recipe says; sigma: its table, if it is there already."""
    spec = MODELS[recipe.model]
    latent, responses = _covariance(recipe, generator, sigma)
    n, p = recipe.n, len(responses)
    samples = numbered("s", n)
    formula, covariates, design, X = _covariates(recipe, samples, generator)
    B = recipe.effect * torch.randn(len(design.terms), p, generator=generator, dtype=torch.float64)
    profile = torch.randn(p, generator=generator, dtype=torch.float64)
    B[0] = 0.0
    zeta = _structural(recipe, len(design.terms), p, generator)
    facts: dict[str, Any] = {"design": {name: getattr(recipe, name) for name in taken(spec)} | {"p": p}}
    O = torch.zeros(n, 1, dtype=torch.float64)
    if spec.response is COUNTS:
        assert recipe.depth_spread is not None
        log_exposure = recipe.depth_spread * torch.randn(n, 1, generator=generator, dtype=torch.float64)
        variance = latent["C"].square().sum(1) if "C" in latent else latent["Sigma"].diagonal()
        depth = 10.0 * p if recipe.depth is None and recipe.zeros is None else recipe.depth
        counted = 1.0 if zeta is None else _may_be_more(zeta, X)
        wanted = None if depth is None else depth / counted
        level = count_intercepts(X @ B + log_exposure, variance, profile, wanted, _of_the_rest(recipe.zeros, counted))
        unit = math.log(level.depth / float(log_exposure.exp().mean()))  # exposures near the expected totals
        O, B[0] = log_exposure + unit, level.intercepts - unit
        facts["expected_depth"] = level.depth * counted
    elif spec.response is CLASSES:
        assert recipe.zeros is not None
        B[0] = logistic_intercepts(X @ B, recipe.zeros)
    else:
        B[0] = profile
    own: dict[str, Any] = {}
    if spec.setting("covariance"):
        own["covariance"] = "full" if recipe.sigma or recipe.graph else recipe.covariance
    if "C" in latent:
        own["rank"] = recipe.rank
    state: dict[str, Tensor] = {}
    zero_terms: tuple[str, ...] = ()
    if zeta is not None and recipe.zero_inflation_effect:
        own["zero_inflation"], state, zero_terms = formula, {"zeta_terms": zeta}, design.terms
    elif zeta is not None:
        of = "feature" if recipe.zero_inflation_spread else "single"
        own["zero_inflation"], state = of, {SYMBOLS[of]: zeta[0] if of == "feature" else zeta[0, 0]}
    known = fitted_of(spec, design.terms, responses, {"B": B, **latent}, state, {}, zero_terms)
    known = known.of_samples(X if zero_terms else None)
    return Truth(known, samples, formula, own, X, O, B, covariates, facts=facts)


def _structural(recipe: Recipe, d: int, p: int, generator: Generator) -> Tensor | None:
    """Coefficients of the logits of structural zeros, None without any: 1×p, or d×p where covariates tell."""
    if recipe.zero_inflation is None:
        return None
    zeta = torch.full((1, p), recipe.zero_inflation, dtype=torch.float64).logit()
    if recipe.zero_inflation_spread:
        zeta = zeta + recipe.zero_inflation_spread * torch.randn(p, generator=generator, dtype=torch.float64)
    if not recipe.zero_inflation_effect:
        return zeta
    slopes = torch.randn(d - 1, p, generator=generator, dtype=torch.float64)
    return torch.cat([zeta, recipe.zero_inflation_effect * slopes])


def _may_be_more(zeta: Tensor, X: Tensor) -> float:
    """The share of counts that are no structural zeros: zeta 1×p or d×p, of a design X (n×d) that begins with ones."""
    return float((-(X[:, : len(zeta)] @ zeta)).sigmoid().mean())


def _of_the_rest(zeros: float | None, counted: float) -> float | None:
    """The share of zeros among the counts that are no structural zeros, if that of all is to be `zeros`."""
    if zeros is None:
        return None
    left = 1.0 - (1.0 - zeros) / counted
    if not left > 0.0:
        raise UsageError(
            f"--zeros {zeros:g} is less than the structural zeros alone, {1.0 - counted:.2g}: raise it, or lower "
            "--zero-inflation."
        )
    return left


def _covariance(recipe: Recipe, generator: Generator, sigma: Table | None) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Sigma (p×p), or loadings C (p×rank), by symbol, none for a model without; and the names of the responses."""
    spec = MODELS[recipe.model]
    names = numbered("f" if spec.response is COUNTS else "y", recipe.p)
    if spec.has("C"):
        return {"C": _loadings(recipe, generator)}, names
    if not spec.has("Sigma"):
        return {}, names
    if recipe.sigma is not None:
        Sigma, names = _covariance_of(sigma or read_table(recipe.sigma, "sigma"))
        return {"Sigma": Sigma}, names
    assert recipe.sd is not None
    if recipe.graph is not None:
        Sigma, Omega = covariance_of_graph(recipe.graph, recipe.p, recipe.edges, recipe.sd, generator)
        return {"Sigma": Sigma, "Omega": Omega}, names
    sd = torch.full((recipe.p,), recipe.sd, dtype=torch.float64)
    if recipe.covariance == "full":
        assert recipe.correlation is not None
        return {"Sigma": toeplitz(sd, recipe.correlation)}, names
    if recipe.covariance == "diagonal":
        sd = sd * 2.0 ** torch.linspace(-0.5, 0.5, recipe.p, dtype=torch.float64)
    return {"Sigma": torch.diag(sd.square())}, names


def _loadings(recipe: Recipe, generator: Generator) -> Tensor:
    """Random loadings (p×rank) of components whose sizes fall as 1/k; features have variance sd² on average."""
    assert recipe.rank is not None and recipe.sd is not None
    size = 1.0 / torch.arange(1, recipe.rank + 1, dtype=torch.float64)
    draws = torch.randn(recipe.p, recipe.rank, generator=generator, dtype=torch.float64)
    return principal_axes(recipe.sd * draws * size / size.norm())


def _covariance_of(table: Table) -> tuple[Tensor, tuple[str, ...]]:
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
        letters = ascii_lowercase if recipe.levels <= len(ascii_lowercase) else numbered("g", recipe.levels)
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
