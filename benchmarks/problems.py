"""The problems, by name: real tables, simulated grids, and tables made to be hard.

Every problem is a table Y (n×p) with design X (n×d) and offset O (n×1 or n×p, log scale) in float64, without rows or
columns of zeros. Simulated ones come from a fixed seed, so that every machine fits the same numbers.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np

Array = np.ndarray
OAKS = Path(__file__).parents[1] / "sample_data" / "oaks"


class NotHere(Exception):
    """The problem's data is not on this machine; the message says what would bring it."""


@dataclass(frozen=True)
class Problem:
    """A table to explain. model: pln, pln-pca, logistic or linear; Y: n×p; X: n×d; O: n×1 or n×p; rank: of pln-pca."""

    name: str
    model: str
    Y: Array = field(repr=False)
    X: Array = field(repr=False)
    O: Array = field(repr=False)
    rank: int | None = None

    @property
    def n(self) -> int:
        return self.Y.shape[0]

    @property
    def p(self) -> int:
        return self.Y.shape[1]

    @property
    def d(self) -> int:
        return self.X.shape[1]

    @property
    def zeros(self) -> float:
        """Share of cells that are zero."""
        return float((self.Y == 0).mean())

    def save(self, path: Path) -> None:
        """Write to an .npz that `read` takes back."""
        np.savez(path, name=self.name, model=self.model, Y=self.Y, X=self.X, O=self.O, rank=self.rank or 0)


def read(path: Path) -> Problem:
    """A problem that was saved."""
    with np.load(path) as stored:
        tables = stored["Y"], stored["X"], stored["O"]
        return Problem(str(stored["name"]), str(stored["model"]), *tables, int(stored["rank"]) or None)


def load(name: str) -> Problem:
    """The problem of that name. Raises NotHere when its data is not installed."""
    return PROBLEMS[name](name)


def _pln(name: str, Y: Array, X: Array, O: Array) -> Problem:
    """Counts without the rows and columns that hold none."""
    columns = Y.sum(0) > 0
    rows = Y[:, columns].sum(1) > 0
    O = O[:, None] if O.ndim == 1 else O[:, columns]
    tables = Y[:, columns], X, O
    return Problem(name, "pln", *(np.ascontiguousarray(table[rows], dtype=float) for table in tables))


def _pca(name: str, *, rank: int, table: Callable[[str], Problem]) -> Problem:
    """A table of counts, to explain by so many components."""
    return replace(table(name), model="pln-pca", rank=rank)


def _intercept(Y: Array) -> Array:
    return np.ones((len(Y), 1))


def _indicators(groups: Array) -> Array:
    """One column per group, n×groups."""
    return (groups[:, None] == np.unique(groups)).astype(float)


# -- real tables ---------------------------------------------------------------------------------------------------


def _rows(path: Path, delimiter: str = ",") -> tuple[list[str], list[list[str]]]:
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file, delimiter=delimiter)
    return header, rows


def _oaks(name: str, *, tree: bool) -> Problem:
    """Counts of fungi and bacteria on oak leaves, 116×114, with sequencing depth as exposure."""
    Y = np.array([row[1:] for row in _rows(OAKS / "counts.csv")[1]], float)
    O = np.log(np.array([row[1:] for row in _rows(OAKS / "exposure.csv")[1]], float))
    header, covariates = _rows(OAKS / "covariates.csv")
    trees = np.array([row[header.index("tree")] for row in covariates])
    return _pln(name, Y, _indicators(trees) if tree else _intercept(Y), O)


def _shipped(*parts: str) -> Path:
    """A data file inside the installed pyPLNmodels, found without importing it."""
    spec = find_spec("pyPLNmodels")
    if spec is None or not spec.submodule_search_locations:
        raise NotHere("the table comes with the package pyPLNmodels, which is not installed")
    path = Path(spec.submodule_search_locations[0], "load_data", "data", *parts)
    if not path.exists():
        raise NotHere(f"the installed pyPLNmodels does not hold {'/'.join(parts)}")
    return path


def _microcosm(name: str, *, by: tuple[str, ...] = ()) -> Problem:
    """Gut, mouth, nose and vagina of cows, about 880×259: features seen in more than 5 % of samples."""
    _, rows = _rows(_shipped("microcosm", "counts.tsv"), "\t")
    header, metadata = _rows(_shipped("microcosm", "metadata.tsv"), "\t")
    of_sample = {row[0]: row for row in metadata}
    groups = np.array([" ".join(of_sample[row[0]][header.index(column)] for column in by) for row in rows])
    Y = np.array([row[1:] for row in rows], float)
    Y = Y[:, (Y > 0).mean(0) > 0.05]
    kept = Y.sum(1) > 0
    Y, groups = Y[kept], groups[kept]
    return _pln(name, Y, _indicators(groups) if by else _intercept(Y), np.log(Y.sum(1)))


def _single_cell(name: str, *, genes: int) -> Problem:
    """RNA of immune cells, 2000 cells × the genes with the highest totals; offset by the total over all genes."""
    Y = np.array(_rows(_shipped("scRT", "counts.csv"))[1], float)
    most = np.sort(np.argsort(-Y.sum(0), kind="stable")[:genes])
    return _pln(name, Y[:, most], _intercept(Y), np.log(Y.sum(1)))


# -- simulated tables ----------------------------------------------------------------------------------------------


def _toeplitz(p: int, rho: float) -> Array:
    """Correlations rho^|j − k|, p×p."""
    return rho ** np.abs(np.subtract.outer(np.arange(p), np.arange(p)))


def _latent(rng: np.random.Generator, X: Array, p: int, spread: float, effect: float) -> Array:
    """Log-abundances n×p: mean levels with standard deviation `spread`, effects of X, Toeplitz noise of variance 1."""
    B = effect * rng.standard_normal((X.shape[1], p))
    B[0] += spread * rng.standard_normal(p)
    noise = rng.standard_normal((len(X), p)) @ np.linalg.cholesky(_toeplitz(p, 0.6)).T
    return X @ B + noise


def _design(rng: np.random.Generator, n: int, d: int) -> Array:
    """An intercept and d − 1 standard normal covariates."""
    return np.hstack([np.ones((n, 1)), rng.standard_normal((n, d - 1))])


def _simulated(name: str, *, n: int, p: int, d: int, depth: float, spread: float = 1.0) -> Problem:
    """Counts with Toeplitz covariance; `depth`: expected total of a sample, which varies with a log-sd of 0.5."""
    rng = np.random.default_rng(1)
    X = _design(rng, n, d)
    Z = _latent(rng, X, p, spread, 0.3)
    Z -= np.log(np.exp(Z).sum(1).mean())
    O = np.log(depth) + 0.5 * rng.standard_normal(n)
    return _pln(name, rng.poisson(np.exp(O[:, None] + Z)), X, O)


def _sparse(name: str, *, n: int, p: int, d: int, zeros: float = 0.9) -> Problem:
    """Counts of which a share `zeros` is expected to be zero: the depth is found by bisection."""
    rng = np.random.default_rng(2)
    X = _design(rng, n, d)
    Z = _latent(rng, X, p, 1.5, 0.3)
    O = _depths(rng, Z, zeros)
    return _pln(name, rng.poisson(np.exp(O[:, None] + Z)), X, O)


def _depths(rng: np.random.Generator, Z: Array, zeros: float) -> Array:
    """Offsets (n,) with a standard deviation of 0.5 that make a share `zeros` of counts at log-abundances Z zero."""
    varied = 0.5 * rng.standard_normal(len(Z))
    low, high = -30.0, 30.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        share = np.exp(-np.exp(Z + varied[:, None] + middle)).mean()
        low, high = (middle, high) if share > zeros else (low, middle)
    return low + varied


def _components(name: str, *, n: int, p: int, rank: int, zeros: float) -> Problem:
    """Counts of which a share `zeros` is expected to be zero, from `rank` components: latent variance 1.5²."""
    rng = np.random.default_rng(5)
    X = np.ones((n, 1))
    C = 1.5 * rng.standard_normal((p, rank)) / np.sqrt(rank)
    Z = 1.5 * rng.standard_normal(p) + rng.standard_normal((n, rank)) @ C.T
    O = _depths(rng, Z, zeros)
    return _pln(name, rng.poisson(np.exp(O[:, None] + Z)), X, O)


def _groups(name: str, *, groups: int, size: int, p: int, level: float) -> Problem:
    """Groups of `size` samples with features so rare that many are never seen in a whole group.

    Their coefficients run to minus infinity, and many features are left with no more than Poisson variance.
    """
    rng = np.random.default_rng(3)
    X = _indicators(np.repeat(np.arange(groups), size))
    Z = X @ (level + rng.standard_normal((groups, p)))
    Z += 1.2 * rng.standard_normal(p) + 0.7 * rng.standard_normal((len(X), p)) @ np.linalg.cholesky(_toeplitz(p, 0.6)).T
    O = 0.3 * rng.standard_normal(len(X))
    return _pln(name, rng.poisson(np.exp(O[:, None] + Z)), X, O)


# -- regressions with one response ---------------------------------------------------------------------------------


def _regression(name: str, model: str, *, n: int, d: int) -> Problem:
    """Normal covariates with Toeplitz correlations on unequal scales, an intercept, one response."""
    rng = np.random.default_rng(4)
    X = rng.standard_normal((n, d))
    X[:, 1:] = X[:, 1:] @ np.linalg.cholesky(_toeplitz(d - 1, 0.5)).T
    beta = rng.standard_normal(d) / np.sqrt(d)
    X[:, 0] = 1.0
    eta = X @ beta
    X[:, 1:] *= 10.0 ** rng.uniform(-1, 1, d - 1)
    if model == "linear":
        Y = eta + rng.standard_normal(n)
    else:
        Y = (rng.random(n) < 1.0 / (1.0 + np.exp(-eta))).astype(float)
    return Problem(name, model, Y[:, None], X, np.zeros((n, 1)))


def _logistic(name: str, *, n: int, d: int) -> Problem:
    return _regression(name, "logistic", n=n, d=d)


def _linear(name: str, *, n: int, d: int) -> Problem:
    return _regression(name, "linear", n=n, d=d)


PROBLEMS: dict[str, Callable[[str], Problem]] = {
    "oaks-1": partial(_oaks, tree=False),
    "oaks-tree": partial(_oaks, tree=True),
    "tiny-49x17": partial(_simulated, n=49, p=17, d=3, depth=1e3),
    "sim-200x50-1e3": partial(_simulated, n=200, p=50, d=3, depth=1e3),
    "sim-200x50-1e5": partial(_simulated, n=200, p=50, d=3, depth=1e5),
    "sim-1000x100-1e3": partial(_simulated, n=1000, p=100, d=3, depth=1e3),
    "sim-1000x100-1e5": partial(_simulated, n=1000, p=100, d=3, depth=1e5),
    "sparse-500x200": partial(_sparse, n=500, p=200, d=2),
    "wide-45x440": partial(_sparse, n=45, p=440, d=1, zeros=0.23),
    "wide-100x800": partial(_sparse, n=100, p=800, d=2, zeros=0.7),
    "wide-200x2000": partial(_sparse, n=200, p=2000, d=2, zeros=0.6),
    "rare-groups-of-4": partial(_groups, groups=40, size=4, p=40, level=-0.5),
    "rare-groups-of-20": partial(_groups, groups=8, size=20, p=32, level=-1.5),
    "microcosm": _microcosm,
    "microcosm-site": partial(_microcosm, by=("site",)),
    "single-cell": partial(_single_cell, genes=500),
    "dense-4000x500": partial(_simulated, n=4000, p=500, d=2, depth=1e5),
    "pca-oaks-5": partial(_pca, rank=5, table=partial(_oaks, tree=False)),
    "pca-oaks-10": partial(_pca, rank=10, table=partial(_oaks, tree=False)),
    "pca-oaks-20": partial(_pca, rank=20, table=partial(_oaks, tree=False)),
    "pca-microcosm-10": partial(_pca, rank=10, table=_microcosm),
    "pca-single-cell-10": partial(_pca, rank=10, table=partial(_single_cell, genes=500)),
    "pca-sparse-10": partial(_pca, rank=10, table=partial(_components, n=2000, p=1000, rank=10, zeros=0.97)),
    "logistic-20000x20": partial(_logistic, n=20_000, d=20),
    "logistic-1000000x50": partial(_logistic, n=1_000_000, d=50),
    "linear-1000000x50": partial(_linear, n=1_000_000, d=50),
    "gpu-single-cell": partial(_single_cell, genes=3000),
    "gpu-20000x1000": partial(_simulated, n=20_000, p=1000, d=2, depth=1e5),
    "gpu-100000x2000": partial(_simulated, n=100_000, p=2000, d=2, depth=1e6),
}
QUICK = ("tiny-49x17", "oaks-1", "oaks-tree", "rare-groups-of-20", "logistic-20000x20")
"""Problems of `--quick`: seconds each."""
GPU_ONLY = ("gpu-single-cell", "gpu-20000x1000", "gpu-100000x2000")
"""Problems that are run only on a GPU unless they are named."""
LONG = ("pca-microcosm-10", "pca-single-cell-10", "pca-sparse-10")
"""Problems that are run only where they are named: plncli's search for the best start takes minutes."""
