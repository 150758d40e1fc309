"""Numbers that pictures of components are made of, of a fit of low rank and of one that is not: laws, and numpy's."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from plncli import Dataset, FitResult, fit
from plncli.errors import PlncliError
from plncli.plots import bars, draw, kinds, ordination, parts, samples
from plncli.plots.colouring import Colouring
from plncli.plots.components.ellipses import FEWEST, LEVEL, ellipses, radius
from plncli.plots.source import Source, Wanted

R = np.random.RandomState
N, P, Q = 50, 9, 3
MAGIC = {"png": b"\x89PNG\r\n", "svg": b"<?xml", "pdf": b"%PDF-"}
KINDS = ("scree", "pca", "pairs", "biplot", "loadings", "contributions", "cos2")


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Of what is said of small tables without an offset."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


@cache
def tables() -> dict[str, pd.DataFrame]:
    """Counts of three components, and a factor."""
    r = R(0)
    names, features = [f"s{i}" for i in range(N)], [f"f{j}" for j in range(P)]
    group = np.arange(N) % 3
    Z = 1.5 + 0.5 * group[:, None] * r.normal(size=P) + r.normal(size=(N, Q)) @ (0.8 * r.normal(size=(Q, P)))
    counts = pd.DataFrame(r.poisson(np.exp(np.minimum(Z, 7.0))), names, features)
    return {"counts": counts, "covariates": pd.DataFrame({"group": np.array(list("abc"))[group]}, names)}


@cache
def low(weights: bool = False) -> FitResult:
    frames: dict[str, Any] = dict(tables())
    frames |= {"weights": pd.Series(1.0 + (np.arange(N) % 2), frames["counts"].index)} if weights else {}
    return fit("pln-pca", Dataset(**frames, formula="~ group"), rank=Q)


@cache
def full() -> FitResult:
    return fit("pln", Dataset(**tables(), formula="~ group"), covariance="diagonal")


def source(result: FitResult) -> Source:
    return result._source(None)


def symbols(result: FitResult) -> tuple[np.ndarray, np.ndarray]:
    return result.loadings.to_numpy(), result.scores.to_numpy()


# Of the latent means


def test_components_are_those_of_the_covariance() -> None:
    M = R(0).normal(size=(40, 5)) @ R(1).normal(size=(5, 5))
    U, C = ordination.principal(M)
    assert U.shape == (40, 5) and pytest.approx(np.eye(5), abs=1e-9) == U.T @ U / 40
    assert pytest.approx(np.cov(M.T, ddof=0)) == C @ C.T
    assert pytest.approx(M - M.mean(0)) == U @ C.T
    told = [[np.corrcoef(M[:, j], U[:, k])[0, 1] for k in range(5)] for j in range(5)]
    related = ordination.correlations(C)
    assert related == pytest.approx(np.array(told))
    assert (np.abs(related).max(0) == related.max(0)).all()


def test_components_do_not_depend_on_the_sign_of_the_table_nor_on_the_order_of_samples() -> None:
    M = R(2).normal(size=(20, 4))
    U, C = ordination.principal(M)
    assert ordination.principal(-M)[1] == pytest.approx(C)
    order = R(3).permutation(20)
    assert ordination.principal(M[order])[0] == pytest.approx(U[order])
    assert ordination.first_component(M) == pytest.approx(U[:, 0] * np.sqrt((C[:, 0] ** 2).sum()))


def test_there_are_as_many_components_as_the_rank() -> None:
    M = np.outer(np.arange(6.0), np.array([1.0, 2.0, 0.0]))
    U, C = ordination.principal(M)
    assert U.shape == (6, 1) and ordination.correlations(C) == pytest.approx(np.array([[1.0], [1.0], [0.0]]))
    assert ordination.principal(np.ones((6, 3)))[0].shape == (6, 0)
    assert ordination.first_component(np.ones((6, 3))) == pytest.approx(np.zeros(6))


def test_latent_means_have_covariates_in_them_unless_they_are_removed() -> None:
    M, result = full().latent_mean.to_numpy(), full()
    one = kinds("pln")["pca"].content(source(result), Wanted(axes=(1, 3), ellipse="none"))
    values = np.linalg.eigvalsh(np.cov(M.T))[::-1]
    assert one.shares == pytest.approx(values[[0, 2]] / values.sum())
    assert np.cov(one.positions.T) == pytest.approx(np.diag(values[[0, 2]]), abs=1e-9)
    means = pd.DataFrame(M).groupby(tables()["covariates"]["group"].to_numpy()).transform("mean").to_numpy()
    apart = ordination.components(source(result), True)
    assert np.abs(apart.scores @ apart.loadings.T - (M - means)).max() < 1e-3  # XB is close to the means of groups
    assert apart.of != one.of


# Of a fit of low rank


def test_components_of_a_fit_of_low_rank_are_its_own() -> None:
    C, U = symbols(low())
    made = kinds("pln-pca")["pca"].content(source(low()), Wanted())
    assert made.positions == pytest.approx(U[:, :2] * np.linalg.norm(C[:, :2], axis=0))
    assert made.shares == pytest.approx(low().explained_variance["explained_variance"].to_numpy()[:2])
    assert made.scores_sd == pytest.approx(low().scores_sd.to_numpy())
    assert ordination.components(source(low()), True).of == made.of
    of_means = ordination.components(source(low()), False)
    M = low().latent_mean.to_numpy()
    assert of_means.scores @ of_means.loadings.T == pytest.approx(M - M.mean(0))


def test_arrows_are_correlations_of_the_latent_values_with_the_scores() -> None:
    """Those of values drawn from the model: z = Cu, u standard normal, to the precision of as many draws."""
    C, _ = symbols(low())
    record = kinds("pln-pca")["biplot"].content(source(low()), Wanted(axes=(3, 1)))
    u = R(1).normal(size=(200_000, Q))
    told = np.corrcoef((u @ C.T).T, u.T)[:P, P:]
    assert np.abs(record.correlations - told[:, [2, 0]]).max() < 0.01
    every = ordination.correlations(C)
    assert (every**2).sum(1) == pytest.approx(np.ones(P))
    assert ((record.correlations**2).sum(1) <= 1.0 + 1e-12).all()


def test_shares_add_up_and_are_those_of_the_file() -> None:
    record = kinds("pln-pca")["scree"].content(source(low()), Wanted())
    C, _ = symbols(low())
    assert record.variance == pytest.approx(np.linalg.eigvalsh(C @ C.T)[::-1][:Q])
    assert record.share == pytest.approx(record.variance / record.variance.sum())
    assert low().plot_data("scree")["cumulative"].iloc[-1] == pytest.approx(1.0)


@pytest.mark.parametrize("of", ["features", "samples"])
def test_contributions_and_cosines_add_up(of: str) -> None:
    C, U = symbols(low())
    G = C if of == "features" else U * np.linalg.norm(C, axis=0)
    made = low().plot_data("contributions", of=of)
    assert made.iloc[:, :Q].sum().to_numpy() == pytest.approx(np.full(Q, 100.0))
    assert made.iloc[:, :Q].to_numpy() == pytest.approx(100.0 * G**2 / (G**2).sum(0))
    assert made["PC1+PC2"].sum() == pytest.approx(100.0)
    inertia = (G[:, :2] ** 2).sum(0)
    joint = made[["PC1", "PC2"]].to_numpy() @ inertia / inertia.sum()
    assert made["PC1+PC2"].to_numpy() == pytest.approx(joint)
    cosines = low().plot_data("cos2", of=of, axes=(3, 1))
    assert cosines.iloc[:, :Q].sum(axis=1).to_numpy() == pytest.approx(np.ones(len(G)))
    assert cosines["PC3+PC1"].to_numpy() == pytest.approx((cosines["PC1"] + cosines["PC3"]).to_numpy())
    if of == "features":
        assert cosines.iloc[:, :Q].to_numpy() == pytest.approx(ordination.correlations(C) ** 2)
        assert list(made.index) == list(tables()["counts"].columns)
    else:
        assert list(made.index) == list(tables()["counts"].index)
    assert list(low().plot_data("cos2", of=of, axes=2).columns) == ["PC1", "PC2", "PC3"]


def test_each_sample_contributes_with_its_weight() -> None:
    """The scores of a fit with an intercept have the mean 0, each sample with its weight; so have their parts."""
    result = low(weights=True)
    _, U = symbols(result)
    w = 1.0 + (np.arange(N) % 2)
    assert np.abs(w @ U).max() < 1e-3 * N
    made = result.plot_data("contributions", of="samples").iloc[:, :Q].to_numpy()
    assert made == pytest.approx(100.0 * w[:, None] * U**2 / (w @ U**2))


def test_signs_of_axes_do_not_matter_to_parts_and_those_of_features_go_along() -> None:
    C, _ = symbols(low())
    order, signs = [2, 0, 1], np.array([1.0, -1.0, -1.0])
    turned = C[:, order] * signs
    assert ordination.correlations(turned) == pytest.approx(ordination.correlations(C)[:, order] * signs)
    for j in range(Q):
        high, low_ = ordination.ends(C[:, j], 4)
        assert ordination.ends(-C[:, j], 4) == (low_, high)
        assert C[high[0], j] == C[:, j].max() and (not low_ or C[low_[0], j] == C[:, j].min())
    assert ordination.ends(np.zeros(5), 3) == ([], [])


def test_a_feature_without_variance_has_no_part() -> None:
    C = np.array([[1.0, 2.0], [0.0, 0.0]])
    assert ordination.correlations(C)[1].tolist() == [0.0, 0.0]
    assert ordination.ratio(np.ones(2), np.array([0.0, 2.0])).tolist() == [0.0, 0.5]


@pytest.mark.parametrize(
    ("kind", "wanted", "reason"),
    [
        ("pca", {"axes": (1, 4)}, "has 3 components, so there is no axis 4. Choose others with --axes"),
        ("pca", {"axes": (1,)}, "--axes must name 2 components for this kind, and names 1"),
        ("biplot", {"axes": (1, 2, 3)}, "--axes must name 2 components for this kind, and names 3"),
        ("pairs", {"axes": (3,)}, "--axes must name 2 to 6 components"),
        ("loadings", {"axes": (7,)}, "no axis 7"),
        ("cos2", {"axes": (1, 9)}, "no axis 9"),
        ("cos2", {"of": "feature"}, "--of must be features or samples, not `feature`"),
        ("pca", {"ellipse": "round"}, "--ellipse must be one of normal, mean, none, not `round`"),
    ],
)
def test_axes_that_are_not_there_are_refused(kind: str, wanted: dict[str, Any], reason: str) -> None:
    with pytest.raises(PlncliError, match=reason):
        kinds("pln-pca")[kind].content(source(low()), Wanted(**wanted))


def test_kinds_of_components_are_those_of_models_that_have_them() -> None:
    assert set(KINDS) <= set(kinds("pln-pca"))
    assert set(KINDS) & set(kinds("pln")) == {"pca", "biplot"}
    assert [name for name in kinds("pln-pca") if kinds("pln-pca")[name].table] == ["path", *KINDS]


def test_one_component_is_drawn_by_what_draws_one() -> None:
    one = fit("pln-pca", Dataset(**tables()), rank=1)
    for kind in ("scree", "loadings", "contributions", "cos2"):
        assert one.plot(kind).axes
    for kind in ("pca", "pairs", "biplot"):
        with pytest.raises(PlncliError, match="has 1 component, and this kind shows 2 at least"):
            one.plot(kind)


def test_pictures_do_not_grow_without_end() -> None:
    many = Wanted(top=10**9)
    assert kinds("pln-pca")["contributions"].content(source(low()), many).top == parts.MOST
    assert kinds("pln-pca")["loadings"].content(source(low()), many).top == bars.MOST


def test_python_takes_numbers_of_axes_and_kinds_with_tables() -> None:
    with pytest.raises(PlncliError, match="`axes` must be a whole number of 0 or more, not '1,2'"):
        low().plot("pca", axes="1,2")  # type: ignore[arg-type]
    with pytest.raises(PlncliError, match="`axes` must be numbers of components, each once, as in 1,2"):
        low().plot("pca", axes=(0, 1))
    with pytest.raises(PlncliError, match="`kind` is `loss`, but must be one of path, scree, pca"):
        low().plot_data("loss")
    assert list(full().plot_data("biplot", axes=np.array([2, 1])).columns) == ["PC2", "PC1"]


def test_a_fit_without_latent_variance_is_drawn() -> None:
    """Such as of counts that are Poisson, at the edge of what a fit can be."""
    run = source(low()).run
    flat = {name: np.zeros_like(run.estimates[name]) for name in ("C", "U", "share")}
    none = Source(replace(run, estimates={**run.estimates, **flat}), own=source(low()).own, told={})
    for kind in KINDS:
        record = kinds("pln-pca")[kind].content(none, Wanted())
        figure = draw(kinds("pln-pca")[kind], record)
        figure.draw_without_rendering()
        assert "nan" not in kinds("pln-pca")[kind].describe(record)


# Ellipses and densities


def groups(n: int) -> Colouring:
    return Colouring("tree", np.arange(n) % 2, ("a", "b"))


def test_ellipses_hold_what_they_say() -> None:
    """Of many samples of a normal distribution, the share inside; boundaries at chi-square and F quantiles of scipy."""
    at = R(4).normal(size=(40_000, 2)) @ np.array([[2.0, 0.3], [0.0, 0.5]]) + [1.0, -2.0]
    made, notes = ellipses(at, groups(len(at)), "normal")
    assert [one.code for one in made] == [0, 1] and not notes
    for one in made:
        own = at[np.arange(len(at)) % 2 == one.code]
        inside = (np.linalg.solve(one.shape, (own - one.centre).T) ** 2).sum(0) <= 1.0
        assert inside.mean() == pytest.approx(LEVEL, abs=0.005)
    for n in (5, 12, 100):
        assert radius(n, "normal") ** 2 == pytest.approx(scipy.stats.chi2.ppf(LEVEL, 2))
        hotelling = 2.0 * (n - 1) / (n - 2) * scipy.stats.f.ppf(LEVEL, 2, n - 2) / n
        assert radius(n, "mean") ** 2 == pytest.approx(hotelling)


def test_a_region_of_a_mean_holds_it_as_often_as_it_says() -> None:
    r, hits = R(5), 0
    for _ in range(1500):
        (one, _), _ = ellipses(r.normal(size=(12, 2)), groups(12), "mean")
        hits += float((np.linalg.solve(one.shape, one.centre) ** 2).sum()) <= 1.0
    assert hits / 1500 == pytest.approx(LEVEL, abs=0.02)  # 3.5 standard errors


def test_levels_of_few_samples_have_no_ellipse() -> None:
    codes = np.r_[np.zeros(10, int), np.ones(FEWEST - 1, int), -1]
    made, notes = ellipses(R(6).normal(size=(len(codes), 2)), Colouring("tree", codes, ("a", "b", "c")), "normal")
    assert [one.code for one in made] == [0] and notes[0].endswith("fewer than 5 samples: b.")
    assert ellipses(np.zeros((9, 2)), None, "normal") == ellipses(np.zeros((9, 2)), groups(9), "none") == ((), ())


def test_densities_are_those_of_scipy() -> None:
    x, at = R(7).normal(size=60), np.linspace(-6.0, 6.0, 400)
    y = samples.density(x, at)
    iqr = np.subtract(*np.quantile(x, (0.75, 0.25)))
    h = 0.9 * min(x.std(ddof=1), iqr / 1.34) * 60**-0.2
    assert y == pytest.approx(scipy.stats.gaussian_kde(x, h / x.std(ddof=1))(at))
    assert np.trapezoid(y, at) == pytest.approx(1.0, abs=1e-6)
    assert not samples.density(np.ones(4), at).any() and not samples.density(np.ones(1), at).any()
    assert np.isfinite(samples.density(np.array([0.0, 0.0, 0.0, 0.0, 1.0]), at)).all()  # no spread of the middle half


# What is drawn


def texts(figure: Any) -> set[str]:
    found = [text.get_text() for axes in figure.axes for text in [*axes.texts, *axes.get_yticklabels()]]
    return {*found, *(axes.get_xlabel() for axes in figure.axes), *(axes.get_ylabel() for axes in figure.axes)}


def test_the_line_is_the_sum_of_the_bars() -> None:
    record = kinds("pln-pca")["scree"].content(source(low()), Wanted())
    (axes,) = draw(kinds("pln-pca")["scree"], record).axes
    assert [bar.get_height() for bar in axes.patches] == pytest.approx(list(100.0 * record.share))
    assert axes.lines[0].get_ydata() == pytest.approx(np.cumsum(100.0 * record.share))
    assert {f"{100.0 * share:.1f}" for share in record.share} <= texts(axes.figure)


def test_bars_are_the_loadings_at_both_ends() -> None:
    C, _ = symbols(low())
    record = kinds("pln-pca")["loadings"].content(source(low()), Wanted(top=2, axes=(2, 3)))
    grid = draw(kinds("pln-pca")["loadings"], record).axes
    for k, axes in zip((1, 2), grid, strict=True):
        order = np.argsort(-C[:, k])
        expected = [*order[:2], *order[-2:]]
        assert [bar.get_width() for bar in axes.patches] == pytest.approx(C[expected, k])
        assert [label.get_text() for label in axes.get_yticklabels()] == [f"f{j}" for j in expected]
        assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first above
    assert low().plot_data("loadings", axes=(2, 3)).to_numpy() == pytest.approx(C[:, 1:])


def test_bars_of_parts_stand_end_to_end_and_the_line_is_the_average() -> None:
    record = kinds("pln-pca")["contributions"].content(source(low()), Wanted(top=4))
    (axes,) = draw(kinds("pln-pca")["contributions"], record).axes
    made = low().plot_data("contributions")
    best = made["PC1+PC2"].nlargest(4)
    first, second = axes.patches[:4], axes.patches[4:]
    ends = [bar.get_x() + bar.get_width() for bar in second]
    assert ends == pytest.approx(list(best)) and [label.get_text() for label in axes.get_yticklabels()] == [*best.index]
    assert [bar.get_x() for bar in second] == pytest.approx([bar.get_width() for bar in first])
    (line,) = axes.lines
    assert line.get_xdata()[0] == pytest.approx(100.0 / P)  # type: ignore[index]
    shown = parts.describe(record)
    assert best.index[0] in shown and f"{best.iloc[0]:.2g} %" in shown


def test_samples_lie_at_their_positions_with_their_intervals() -> None:
    record = kinds("pln-pca")["pca"].content(source(low()), Wanted(axes=(2, 1)))
    (axes,) = draw(kinds("pln-pca")["pca"], record).axes
    assert np.asarray(axes.collections[0].get_offsets()) == pytest.approx(record.positions)
    C, U = symbols(low())
    sizes = np.linalg.norm(C, axis=0)
    across = np.array([segment[:, 0] for segment in axes.collections[1].get_segments()])  # type: ignore[attr-defined]
    half = scipy.stats.norm.ppf(0.975) * low().scores_sd.to_numpy()[:, 1]
    assert across == pytest.approx(np.stack([U[:, 1] - half, U[:, 1] + half], 1) * sizes[1], rel=1e-6)
    assert record.colouring is not None and record.colouring.name == "group" and len(record.ellipses) == 3
    told = low().plot_data("pca", axes=(2, 1))
    assert list(told.columns) == ["PC2", "PC1", "PC2_sd", "PC1_sd"]
    assert told[["PC2", "PC1"]].to_numpy() == pytest.approx(record.positions)


def test_samples_project_on_arrows_at_their_latent_values() -> None:
    """With two components the biplot is exact: projections are latent values less XB, in standard deviations."""
    two = fit("pln-pca", Dataset(**tables(), formula="~ group"), rank=2)
    record = kinds("pln-pca")["biplot"].content(source(two), Wanted())
    (axes,) = draw(kinds("pln-pca")["biplot"], record).axes
    drawn = np.asarray(axes.collections[0].get_offsets())
    C, U = symbols(two)
    values = U @ C.T / np.linalg.norm(C, axis=1)
    projected = drawn @ record.correlations.T
    scale = (projected * values).sum() / (values**2).sum()
    assert projected == pytest.approx(scale * values) and np.linalg.norm(drawn, axis=1).max() == pytest.approx(1.0)


def test_each_pair_of_components_is_drawn_once() -> None:
    record = kinds("pln-pca")["pairs"].content(source(low()), Wanted())
    figure = draw(kinds("pln-pca")["pairs"], record)
    grid = np.array(figure.axes).reshape(Q, Q)
    for row, column in np.ndindex(Q, Q):
        axes = grid[row, column]
        if row > column:
            offsets = np.asarray(axes.collections[0].get_offsets())
            assert offsets == pytest.approx(record.positions[:, [column, row]])
        else:
            assert axes.axison == (row == column)


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [
        pytest.param(kind, suffix, marks=() if kind in ("scree", "loadings", "cos2") else pytest.mark.slow)
        for kind, suffix in zip(KINDS, ("svg", "pdf", "png", "svg", "png", "pdf", "svg"), strict=True)
    ],
)
def test_each_kind_is_drawn_to_a_file(kind: str, suffix: str, tmp_path: Path) -> None:
    low().plot(kind, width=90.0).savefig(tmp_path / f"a.{suffix}", dpi=40)
    assert (tmp_path / f"a.{suffix}").read_bytes().startswith(MAGIC[suffix])
