"""Components of a fit: its own, where it has loadings and scores, or else those of its latent means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from plncli.errors import DataError, UsageError, counted
from plncli.plots.colouring import Colouring, colouring, of_the_clusters, of_the_formula
from plncli.plots.components.ellipses import Ellipse, ellipses
from plncli.plots.source import Source, Wanted

ARROWS = 10
PAIRS, MOST_PAIRS = 4, 6
OWN = ("C", "U")
"""Symbols of a model with components of its own: loadings and scores."""


@dataclass(frozen=True)
class Components:
    """r components of n samples × p features, and those of them that are drawn.

    scores: n×r, in standard deviations of a component; scores_sd: theirs given the counts, None where they have none.
    loadings: p×r, what a feature's latent value gains with one such deviation. of: what they are components of.
    axes: places of those drawn; top: how many features are; ellipse: the kind of the ellipses (`names.ELLIPSES`).
    """

    samples: tuple[str, ...] = field(repr=False)
    features: tuple[str, ...] = field(repr=False)
    scores: np.ndarray = field(repr=False)
    loadings: np.ndarray = field(repr=False)
    of: str
    scores_sd: np.ndarray | None = field(default=None, repr=False)
    axes: tuple[int, ...] = (0, 1)
    top: int = ARROWS
    colouring: Colouring | None = None
    ellipses: tuple[Ellipse, ...] = ()
    ellipse: str = "none"
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Of the components drawn."""
        return tuple(f"PC{k + 1}" for k in self.axes)

    @property
    def shares(self) -> np.ndarray:
        """Of the variance, by component drawn."""
        variances = (self.loadings**2).sum(0)
        return ratio(variances, variances.sum())[list(self.axes)]

    @property
    def lengths(self) -> np.ndarray:
        """Standard deviations of the latent values along the components drawn, in log units."""
        return np.sqrt((self.loadings[:, list(self.axes)] ** 2).sum(0))

    @property
    def positions(self) -> np.ndarray:
        """Where samples lie on the components drawn, in log units: distances are those of latent values."""
        return self.scores[:, list(self.axes)] * self.lengths

    @property
    def correlations(self) -> np.ndarray:
        """Of the latent value of each feature with the components drawn: c_jk / sqrt(sum_l c_jl²)."""
        return correlations(self.loadings)[:, list(self.axes)]


def has_own(source: Source) -> bool:
    """Whether a fit has components of its own."""
    return all(map(source.run.spec.has, OWN))


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, 0 where the whole is 0."""
    return np.divide(part, whole, out=np.zeros(np.broadcast_shapes(part.shape, whole.shape)), where=whole > 0.0)


def correlations(C: np.ndarray) -> np.ndarray:
    """Of latent values with components, p×r, given loadings C of all of them; 0 without variance."""
    return ratio(C, np.sqrt((C**2).sum(1, keepdims=True)))


def ends(c: np.ndarray, most: int) -> tuple[list[int], list[int]]:
    """The features with the largest positive loadings (p,), at most `most`, and those with the most negative ones."""
    order = np.argsort(-c, kind="stable")
    return [j for j in order[:most] if c[j] > 0.0], [j for j in order[::-1][:most] if c[j] < 0.0]


# Of a fit


def content(source: Source, wanted: Wanted) -> Components:
    """Samples on two axes, with ellipses about the levels of a factor."""
    made = _coloured(source, wanted, 2, 2)
    drawn, notes = ellipses(made.positions, made.colouring, wanted.ellipse)
    return replace(made, ellipses=drawn, ellipse=wanted.ellipse, notes=made.notes + notes)


def arrows(source: Source, wanted: Wanted) -> Components:
    """Features and samples on two axes."""
    return replace(_coloured(source, wanted, 2, 2), top=ARROWS if wanted.top is None else wanted.top)


def pairs(source: Source, wanted: Wanted) -> Components:
    """Samples on the first axes, each against each other."""
    return _coloured(source, wanted, PAIRS, MOST_PAIRS)


def _coloured(source: Source, wanted: Wanted, usual: int, most: int) -> Components:
    """The first `usual` components, or those that are asked for, and what colours samples."""
    made = components(source, wanted.remove_covariates)
    axes = chosen_axes(source, made.loadings.shape[1], wanted.axes, usual, 2, most)
    own = of_the_formula(source) or of_the_clusters(source)
    colours = own if wanted.color is None else colouring(source, wanted.color)
    return replace(made, axes=axes, colouring=colours)


def chosen_axes(source: Source, r: int, asked: Sequence[int], usual: int, least: int, most: int) -> tuple[int, ...]:
    """Places, among r components, of the axes that are asked for (from 1), or the first `usual` that there are.

    UsageError for fewer than `least` axes or more than `most`, or what is none; DataError for those that are not there.
    """
    if min(asked, default=1) < 1 or len({*asked}) < len(asked):
        raise UsageError("--axes must be numbers of components, each once, as in 1,2.")
    there = f"{source.run.place} has {counted(r, 'component')}"
    if r < least:
        raise DataError(f"{there}, and this kind shows {least} at least.")
    axes = tuple(k - 1 for k in asked) or tuple(range(min(usual, r)))
    if not least <= len(axes) <= most:
        allowed = f"{least}" if least == most else f"{least} to {most}"
        raise UsageError(f"--axes must name {allowed} components for this kind, and names {len(axes)}.")
    absent = [k + 1 for k in axes if k >= r]
    if absent:
        raise DataError(f"{there}, so there is no axis {absent[0]}. Choose others with --axes.")
    return axes


def components(source: Source, remove_covariates: bool | None = None) -> Components:
    """All components of a fit: its own, which covariates have no part in, or those of M, or of M − XB.

    DataError for fewer than two features or three samples, of which there are no components. Features whose mean is
    −inf in some sample are left out of those of M.
    """
    run = source.run
    if has_own(source) and remove_covariates is not False:
        U, sd, C = (run.estimates[name].astype(float) for name in ("U", "U_sd", "C"))
        return Components(run.samples, run.responses, U, C, "components of the fit, covariates apart", sd)
    names, notes = run.responses, []
    if remove_covariates:
        M = latent_residuals(source)
    else:
        M = source.of_samples("M")
        kept = np.isfinite(M).all(0)
        if not kept.all():
            left = int((~kept).sum())
            notes.append(
                f"{counted(left, 'feature')} with a latent mean of −∞ in some samples left out; "
                "--remove-covariates keeps them."
            )
            M, names = M[:, kept], tuple(name for name, keep in zip(names, kept, strict=True) if keep)
    if M.shape[1] < 2 or len(M) < 3:
        raise DataError(f"Principal components need 2 features and 3 samples, but there are {M.shape[1]} and {len(M)}.")
    of = "M − XB, covariates removed" if remove_covariates else "the latent means"
    return Components(run.samples, names, *principal(M), f"principal components of {of}", notes=tuple(notes))


def latent_residuals(source: Source) -> np.ndarray:
    """M − XB, n×p: what covariates leave of the latent means."""
    mean = source.run.fitted.mean(source.data.X.double())
    return source.of_samples("M_finite") - mean.numpy()


def principal(M: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores U (n×r, of variance 1) and loadings C (p×r) of the columns of M (n×p), centred: M = UC'; r its rank.

    The feature that is correlated most with a component has a positive correlation.
    """
    R = M - M.mean(0)
    U, d, V = np.linalg.svd(R, full_matrices=False)
    r = int((d > max(R.shape) * np.finfo(float).eps * d[0]).sum())
    n = len(M)
    U, C = np.sqrt(n) * U[:, :r], V[:r].T * d[:r] / np.sqrt(n)
    related = correlations(C)
    signs = np.where(related[np.abs(related).argmax(0), np.arange(r)] < 0.0, -1.0, 1.0) if r else 1.0
    return U * signs, C * signs


def first_component(M: np.ndarray) -> np.ndarray:
    """Where rows (n,) lie on the first component of the columns of M (n×p); 0 where these do not vary."""
    U, C = principal(M)
    return U[:, 0] * np.sqrt((C[:, 0] ** 2).sum()) if U.shape[1] else np.zeros(len(M))
