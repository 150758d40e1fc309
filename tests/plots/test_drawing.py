"""Figures of records: what is in them, and that nothing in them overlaps."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from tries import quickly

from plncli import plots
from plncli.models import MODELS
from plncli.plots import classes, counts, draw, kinds, loss, matrices, path, regression, style
from plncli.plots import crossvalidation as validation
from plncli.plots.clusters import cluster
from plncli.plots.colouring import Colouring
from plncli.plots.components import bars, ordination, parts
from plncli.plots.components.ellipses import ellipses
from plncli.plots.effects import coefficients, feature, heatmap, volcano
from plncli.plots.effects.estimates import Effect
from plncli.plots.kind import Kind
from plncli.plots.network import graph, recovery, stability
from plncli.plots.network.layout import layout
from plncli.runs.scales import Scale, scale_of

R = np.random.RandomState


def names(letter: str, number: int) -> tuple[str, ...]:
    return tuple(f"{letter}_OTU_{j}" for j in range(number))


def texts(figure: Figure) -> Iterator[tuple[str, Bbox]]:
    """Every text that is drawn and where, figures after the layout."""
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    found: list[Any] = [*figure.texts, *(text for legend in figure.legends for text in legend.get_texts())]
    for axes in figure.axes:
        found += [axes.title, axes._left_title, axes.xaxis.label, axes.yaxis.label, *axes.texts]  # type: ignore[attr-defined]
        if axes.get_legend():
            found += axes.get_legend().get_texts()
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
            found += [label for tick in ticks for label in (tick.label1, tick.label2) if label.get_visible()]
    for text in found:
        if text.get_text().strip():
            if hasattr(text, "update_positions"):
                text.update_positions(renderer)
            yield text.get_text(), matplotlib.text.Text.get_window_extent(text, renderer)


def clashes(figure: Figure) -> list[str]:
    """Texts that overlap, by more than the room around letters, or leave the figure."""
    drawn = list(texts(figure))
    out = []
    for (a, box), (b, other) in combinations(drawn, 2):
        common = Bbox.intersection(box, other)
        if common is not None and min(common.width, common.height) > 1.0:
            out.append(f"{a!r} overlaps {b!r}")
    whole = figure.bbox
    for text, box in drawn:
        if box.x0 < -1 or box.y0 < -1 or box.x1 > whole.x1 + 1 or box.y1 > whole.y1 + 1:
            out.append(f"{text!r} leaves the figure")
    return out


def drawn_texts(figure: Figure) -> list[str]:
    return [text for text, _ in texts(figure)]


# Records


def trace(name: str, steps: int, optimum: float = 0.0) -> loss.Trace:
    k = np.arange(steps, dtype=float)
    gap = np.where(k == steps - 1, 1e-5, np.nan) if steps > 60 else np.exp(-k)
    return loss.Trace(name, "elbo", k, 0.01 + 0.1 * k, -np.exp(-k / 3.0), gap, optimum, "oaks")


LOG, RATIO = (scale_of(MODELS["pln"], name) for name in ("log", "ratio"))


def forest(p: int, infinite: int = 0, scale: Scale = LOG) -> coefficients.Forest:
    r = R(p)
    rows = [
        coefficients.Row(
            "tree", f"tree[T.{'ab'[j % 2]}]", name, e := float(r.normal()), e - 0.5, e + 0.5, 0.01 * (j + 1)
        )
        for j, name in enumerate(names("f", p))
    ]
    rows += [
        coefficients.Row("tree", "tree[T.b]", f"rare{j}", (-1) ** j * math.inf, math.nan, math.nan, math.nan)
        for j in range(infinite)
    ]
    rows.sort(key=lambda row: row.term)
    rows += [coefficients.Row("age", "age", name, 0.01, 0.005, 0.015, 0.001) for name in names("f", min(p, 3))]
    return coefficients.Forest(tuple(rows), 0.95, scale, ("20 of 100 coefficients.",))


def effect(p: int, name: str = "tree[T.a]", term: str = "tree", size: float = 1.0) -> Effect:
    """Estimates whose p-values follow from them, one of them +∞ and one −∞, where there are several."""
    estimate = size * R(len(name)).normal(size=p)
    p_value = np.exp(-8.0 * np.abs(estimate / size))
    if p > 3:
        estimate[:2], p_value[:2] = (math.inf, -math.inf), math.nan
    return Effect(name, term, estimate, estimate - size, estimate + size, p_value, np.minimum(2.0 * p_value, 1.0))


def cloud(p: int, panels: int = 1, scale: Scale = LOG, least: float = 0.0, counted: bool = False) -> volcano.Cloud:
    found = tuple(effect(p, f"tree[T.{'abcdef'[k] * (k + 1)}]") for k in range(panels))
    abundance = R(1).lognormal(3.0, 2.0, size=p) if counted else None
    return volcano.Cloud(names("f", p), found, scale, 0.05, least, 10, abundance=abundance)


def heat(p: int, terms: int = 1, scale: Scale = LOG) -> heatmap.Effects:
    made = [effect(p, f"level {k}", "tree") for k in range(2)] + [
        effect(p, f"x{k}", f"x{k}", 0.01) for k in range(terms)
    ]
    every = list(range(p))
    blocks = tuple(
        heatmap._block(t, [e for e in made if e.term == t], every) for t in dict.fromkeys(e.term for e in made)
    )
    tree = cluster(np.abs(np.subtract.outer(made[1].p_value, made[1].p_value)) if p < 4 else 1.0 - np.eye(p) * 0.5)
    return heatmap.Effects(names("b", p), blocks, scale, "feature", True, tree.lines)


def by_level(levels: int, colours: int = 0) -> feature.Features:
    n, color = 90, groups(90, colours) if colours else None
    by = Colouring("site", R(0).randint(0, levels, size=n), tuple(f"site {k}" for k in range(levels)))
    mean = R(1).lognormal(2.0, 1.0, size=(levels, max(colours, 1)))
    panel = feature.Panel(
        "b_OTU_1", R(2).poisson(5.0, size=n).astype(float), feature.Expected(mean, mean / 2, mean * 2)
    )
    return feature.Features((panel,), by, color, np.arange(levels), True, "normalised count", 0.95, ("At x = 1.",))


def by_number(panels: int) -> feature.Features:
    at, by = np.linspace(0.0, 9.0, 20), Colouring("age", np.r_[np.nan, R(0).uniform(0, 9, size=49)])
    made = feature.Expected(*((at[:, None] * c) for c in (1.0, 0.8, 1.2)))
    each = tuple(feature.Panel(name, R(3).normal(size=50), made) for name in names("y", panels))
    return feature.Features(each, by, None, at, False, "value", 0.9)


def matrix(p: int) -> matrices.Matrix:
    Sigma = np.atleast_2d(np.cov(R(0).normal(size=(50, p)).T))
    tree = cluster(1.0 - matrices.correlations(Sigma))
    Sigma = Sigma[np.ix_(tree.order, tree.order)]
    return matrices.Matrix(names("b", p), Sigma, "latent covariance", 0.5, tree.lines, np.diagonal(Sigma))


def pca(n: int, p: int, colouring: Colouring | None = None, **more: Any) -> ordination.Components:
    U, C = ordination.principal(R(1).normal(size=(n, p)) * np.arange(1, p + 1))
    made = ordination.Components(
        names("s", n), names("f", p), U, C, "principal components of the latent means", colouring=colouring, **more
    )
    drawn, notes = ellipses(made.positions, colouring, "normal")
    return replace(made, ellipses=drawn, ellipse="normal", notes=("A note.", *notes))


def scores(q: int, colouring: Colouring | None = None, n: int = 116) -> ordination.Components:
    """Of q components, with intervals, drawn on all."""
    made = pca(n, q, colouring, axes=tuple(range(q)))
    return replace(made, scores_sd=np.full((n, q), 0.2))


def shares(q: int) -> bars.Scree:
    variance = 2.0 ** -np.arange(q)
    return bars.Scree(tuple(f"PC{k + 1}" for k in range(q)), variance, variance / variance.sum(), ("A note.",))


def loadings(q: int, p: int, top: int, letter: str = "f") -> bars.Loadings:
    components = tuple(f"PC{k + 1}" for k in range(q))
    return bars.Loadings(names(letter, p), components, shares(q).share, R(11).normal(size=(q, p)), top)


def contributions(p: int, axes: int, average: bool = True) -> parts.Parts:
    values = R(12).dirichlet(np.ones(p), size=4).T * 100.0 if average else R(12).dirichlet(np.ones(4), size=p)
    drawn = values[:, :axes] / (axes if average else 1)
    components = tuple(f"PC{k + 1}" for k in range(4))
    rows = tuple(f"a rather long name of the feature {j}" for j in range(p))
    return parts.Parts("features", rows, components, values, tuple(range(axes)), drawn, 100.0 / p if average else None)


def groups(n: int, levels: int) -> Colouring:
    codes = R(2).randint(-1, levels, size=n)
    return Colouring("tree", codes, tuple(f"level {k}" for k in range(levels)))


def cells(m: int) -> tuple[np.ndarray, np.ndarray]:
    mean = R(3).lognormal(2.0, 2.0, size=m)
    return R(4).poisson(mean).astype(float), mean


def zero_counts(p: int) -> counts.ZeroCounts:
    expected = R(5).uniform(0, 100, size=p)
    counted = np.round(expected * R(6).uniform(0.5, 1.5, size=p))
    return counts.ZeroCounts(names("f", p), counted, expected, np.sqrt(expected + 1.0))


def depth(n: int) -> counts.Depth:
    r = R(7)
    return counts.Depth(r.lognormal(7, 1, n), r.normal(size=n), r.normal(size=n), "exposure", (0.123, math.nan))


def regressions(n: int, p: int) -> regression.Regressions:
    r = R(8)
    leverage = r.beta(1, 20, size=n)
    made = []
    for name in names("y", p):
        residuals = r.normal(size=n)
        made.append(
            regression.Regression(name, r.normal(size=n), residuals, residuals**2 * leverage / (3 * (1 - leverage)))
        )
    return regression.Regressions(names("s", n), leverage, 3, tuple(made))


def curves(p: int) -> classes.Curves:
    r = R(9)
    y, eta = r.randint(0, 2, size=200).astype(float), r.normal(size=200)
    return classes.Curves(tuple(classes.curve(name, y, eta, np.ones(200)) for name in names("y", p)))


def calibrations(p: int) -> classes.Calibrations:
    expected, weight = np.linspace(0.05, 0.95, 10), np.full(10, 20.0)
    interval = classes.wilson(expected, weight)
    return classes.Calibrations(
        tuple(classes.Bins(name, weight, expected, expected, *interval, 0.5) for name in names("y", p))
    )


def confusions(p: int) -> classes.Confusions:
    table = np.array([[3941.0, 12.0], [8.0, 7039.0]])
    return classes.Confusions(tuple(classes.Table(name, ("control", "case"), table) for name in names("y", p)))


def standings(many: int) -> validation.Standings:
    scores = R(10).normal(-300.0, 5.0, size=(many, 5))
    labels = [f"~ tree + orientation + x{c}, diagonal" for c in range(many)]
    return validation.Standings(validation.standings(labels, scores, list(range(1, many + 1))), "elbo")


def web(p: int, m: int, taxa: int = 0) -> graph.Network:
    """A network of m edges or fewer among p features."""
    r = R(13)
    pairs = {tuple(sorted(pair)) for pair in r.randint(0, p, size=(m, 2)).tolist() if pair[0] != pair[1]}
    kept = np.unique(sorted(pairs))
    first, second = np.searchsorted(kept, np.array(sorted(pairs))).T
    degree, known = np.bincount(np.r_[first, second]), tuple(f"a long taxon {k}" for k in r.randint(0, 12, len(kept)))
    return graph.Network(
        tuple(f"b_OTU_{j}" for j in kept),
        degree,
        layout(len(kept), first, second, graph.ASPECT),
        first,
        second,
        r.uniform(-1.0, 1.0, len(first)),
        np.argsort(-degree, kind="stable"),
        rank="phylum" * bool(taxa),
        taxa=known if taxa else (),
        kinds=tuple(dict.fromkeys(known))[:taxa],
        notes=("A note.",),
    )


def along(r: int, low: float, high: float) -> path.Path:
    """A path of r penalties, of networks."""
    values, steps = np.geomspace(high, low, r), np.arange(r, dtype=float)
    criteria = {name: 9e4 + (steps - k) ** 2 for k, name in enumerate(MODELS["pln-network"].criteria)}
    return path.Path("penalty", values, "elbo", 100.0 * steps, criteria, 1, "stars", None, (), steps**2, 0.01 * steps)


PLN, LOW, LOGISTIC, LINEAR = (kinds(model) for model in ("pln", "pln-pca", "logistic", "linear"))


def frequencies(m: int, v: int, edges: int, letters: str = "f") -> stability.Frequencies:
    """Of m pairs at v values, the first of them edges; of a single value without a path."""
    r, values = R(m), np.geomspace(0.8, 0.05, v)
    courses = np.sort(r.randint(0, 21, size=(v, m)) / 20.0, axis=0)
    courses = courses[:, np.argsort(-courses[v // 2], kind="stable")]
    partial = np.where(np.arange(m) < edges, r.uniform(-0.8, 0.8, size=m), 0.0)
    whole, first, second = v > 1, names(letters, m), names("b", m)
    along = courses if whole else courses[:0]
    path = values if whole else values[:0]
    return stability.Frequencies(first, second, partial, courses[v // 2], "penalty", path, along, v // 2)


def recovered(m: int, edges: int, rankings: int, path: int) -> recovery.Recovered:
    """Of m pairs, some of them true edges, ranked in so many ways."""
    r, made = R(m), []
    for name in [*recovery.RANKINGS][:rankings]:
        order = np.sort(r.permutation(m)[:edges])
        hits = np.cumsum(np.isin(np.arange(m), order))
        pairs = np.arange(1.0, m + 1.0)
        rates = ((pairs - hits) / (m - edges), hits / edges, hits / pairs)
        made.append(recovery.Ranking(name, 0.5, 0.25, name == "size", -pairs, pairs, hits, *rates))
    points = r.uniform(size=(path, 3))
    told = "precision 0.50, recall 0.25, F1 0.33, MCC 0.30"
    return recovery.Recovered(
        tuple(made), np.array([0.1, 0.25, 0.5]), points, edges / m, (edges, 4), told, ("A note.",)
    )


NETWORK = kinds("pln-network")
CASES: dict[str, tuple[Kind, Any]] = {
    "loss of one run": (PLN["loss"], loss.Loss((trace("runs/oaks", 10),))),
    "loss of three runs": (
        PLN["loss"],
        loss.together([loss.Loss((trace(name, n),)) for name, n in (("a", 8), ("b", 300), ("c", 70))]),
    ),
    "coefficients of one feature": (PLN["coefficients"], forest(1)),
    "coefficients with infinite ones": (PLN["coefficients"], forest(20, 6)),
    "infinite coefficients alone": (PLN["coefficients"], forest(0, 3)),
    "coefficients as ratios": (PLN["coefficients"], forest(6, 2, RATIO)),
    "volcano": (PLN["volcano"], cloud(300)),
    "six volcanoes": (PLN["volcano"], cloud(40, 6, RATIO, 0.5)),
    "abundances": (PLN["ma"], cloud(1000, 1, RATIO, counted=True)),
    "effects of 2 features": (PLN["effects"], heat(2)),
    "effects of 50 features": (PLN["effects"], heat(50, 3)),
    "six hundred effects": (PLN["effects"], heat(600, 1, RATIO)),
    "a feature by level": (PLN["feature"], by_level(3)),
    "a feature by many levels in colours": (PLN["feature"], by_level(20, 3)),
    "features by number": (PLN["feature"], by_number(4)),
    "a matrix of 2": (PLN["sigma"], matrix(2)),
    "a matrix of 10": (PLN["sigma"], matrix(10)),
    "a matrix of 114": (PLN["sigma"], matrix(114)),
    "a matrix of 1000": (PLN["sigma"], matrix(1000)),
    "components": (PLN["pca"], pca(30, 2)),
    "components by level": (PLN["pca"], pca(116, 114, groups(116, 3))),
    "components of 10 000 samples by 30 levels": (PLN["pca"], pca(10_000, 5, groups(10_000, 30))),
    "components by number": (PLN["pca"], pca(40, 5, Colouring("depth", np.r_[np.nan, np.arange(39.0)]))),
    "biplot of 2 features": (PLN["biplot"], pca(30, 2)),
    "biplot of 114 features by level": (PLN["biplot"], pca(116, 114, groups(116, 3))),
    "biplot of more names than have room": (
        PLN["biplot"],
        replace(pca(50, 80), top=80, features=tuple(f"a long name of {j}" for j in range(80))),
    ),
    "a network of one edge": (NETWORK["network"], web(2, 9)),
    "a network of a few": (NETWORK["network"], web(40, 30)),
    "a network of taxa": (NETWORK["network"], web(90, 120, 6)),
    "a dense network": (NETWORK["network"], web(60, 700)),
    "edges along a path": (NETWORK["stability"], frequencies(500, 12, 40)),
    "many edges along a path, by long names": (
        NETWORK["stability"],
        frequencies(4000, 30, 200, "a_rather_long_one"),
    ),
    "a pair along a path": (NETWORK["stability"], frequencies(1, 4, 1)),
    "edges of one fit": (NETWORK["stability"], frequencies(20, 1, 8)),
    "edges against true ones": (NETWORK["recovery"], recovered(435, 30, 3, 12)),
    "edges of one fit against true ones": (NETWORK["recovery"], recovered(3, 1, 1, 0)),
    "a path of networks": (NETWORK["path"], along(30, 0.05, 0.8)),
    "a path of near penalties": (NETWORK["path"], along(4, 0.6, 0.7)),
    "a path of ranks": (LOW["path"], replace(along(4, 1.0, 4.0), values=np.arange(1.0, 5.0), edges=None)),
    "scree of one": (LOW["scree"], shares(1)),
    "scree of 5": (LOW["scree"], shares(5)),
    "scree of 12": (LOW["scree"], shares(12)),
    "scree of 60": (LOW["scree"], shares(60)),
    "components with intervals": (LOW["pca"], scores(2, groups(116, 3))),
    "two pairs": (LOW["pairs"], scores(2)),
    "pairs by level": (LOW["pairs"], scores(4, groups(116, 9))),
    "pairs by number": (LOW["pairs"], scores(4, Colouring("a long name of a covariate of it", np.arange(116.0)))),
    "six in pairs": (LOW["pairs"], scores(6, groups(116, 3))),
    "loadings of one": (LOW["loadings"], loadings(1, 2, 5)),
    "loadings of 5": (LOW["loadings"], loadings(5, 114, 5)),
    "six loadings": (LOW["loadings"], loadings(6, 114, 15, "a_rather_long_name_of")),
    "contributions of 2": (LOW["contributions"], contributions(2, 1)),
    "contributions of 114": (LOW["contributions"], contributions(114, 4)),
    "cosines": (LOW["cos2"], contributions(114, 2, False)),
    "fitted, few": (PLN["fitted"], counts.Fitted(*cells(100))),
    "fitted, many": (PLN["fitted"], counts.Fitted(*cells(20_000))),
    "fitted, zeros alone": (PLN["fitted"], counts.Fitted(np.zeros(5), np.full(5, 0.1))),
    "count residuals, few": (PLN["residuals"], counts.CountResiduals(cells(100)[1], R(0).normal(size=100))),
    "count residuals, many": (PLN["residuals"], counts.CountResiduals(cells(20_000)[1], R(0).normal(size=20_000))),
    "depth": (PLN["depth"], depth(116)),
    "zeros of one feature": (PLN["zeros"], counts.ZeroCounts(("f",), np.zeros(1), np.array([5.0]), np.ones(1))),
    "zeros of 1000 features": (PLN["zeros"], zero_counts(1000)),
    "one curve": (LOGISTIC["roc"], curves(1)),
    "six curves": (LOGISTIC["roc"], curves(6)),
    "calibration": (LOGISTIC["calibration"], calibrations(1)),
    "six calibrations": (LOGISTIC["calibration"], calibrations(6)),
    "confusion": (LOGISTIC["confusion"], confusions(1)),
    "six confusions": (LOGISTIC["confusion"], confusions(6)),
    "residuals": (LINEAR["residuals"], regressions(100, 1)),
    "six residuals": (LINEAR["residuals"], regressions(100, 6)),
    "quantiles": (LINEAR["qq"], regressions(5000, 2)),
    "leverage": (LINEAR["leverage"], regressions(100, 1)),
    "six leverages": (LINEAR["leverage"], regressions(100, 6)),
    "validation": (plots.VALIDATION, standings(1)),
    "validation of 12": (plots.VALIDATION, standings(12)),
}


LARGE = (
    *("six", "a matrix of 1000", "a matrix of 114", "effects of 50 features", "loadings of 5", "pairs by"),
    *("biplot of 114", "biplot of more", "contributions of 114", "components of 10", "features by number", "a dense"),
)  # about a second for each, and smaller ones of the same kind below
WIDTHS = [
    # in its own width, and slowly in the other; the larger ones take a second each
    pytest.param(case, width, marks=() if width == kind.width and not case.startswith(LARGE) else pytest.mark.slow)
    for case, (kind, _) in CASES.items()
    for width in (85.0, 178.0)
]


@pytest.mark.parametrize(("case", "width"), WIDTHS)
def test_nothing_overlaps_and_axes_have_names(case: str, width: float) -> None:
    kind, record = CASES[case]
    figure = draw(kind, record, width)
    assert figure.get_figwidth() * 25.4 <= width + 1e-6
    assert clashes(figure) == []
    for axes in figure.axes:
        named = axes.get_xlabel() or axes.get_ylabel() or axes.get_shared_x_axes().get_siblings(axes)[1:]
        named = named or (isinstance(record, coefficients.Forest) and figure.axes[-1].get_xlabel())  # that of all
        assert named or axes.images or not axes.axison  # a dendrogram has none


# What is drawn


def test_the_loss_is_what_is_left_to_the_best_optimum() -> None:
    one, other = trace("one", 10, optimum=0.5), replace(trace("other", 8, optimum=2.0), gap=np.full(8, np.nan))
    far = replace(trace("far", 5), problem="another")
    together = loss.together([loss.Loss((one,)), loss.Loss((other,)), loss.Loss((far,))])
    assert [t.optimum for t in together.traces] == [2.0, 2.0, 0.0]
    assert together.traces[0].left == pytest.approx(2.0 - one.objective)
    figure = draw(PLN["loss"], together)
    left, right, below, _ = figure.axes
    assert [axes.get_yscale() for axes in figure.axes] == ["log"] * 4
    assert left.lines[1].get_ydata() == pytest.approx(2.0 - other.objective)
    assert right.lines[0].get_xdata() == pytest.approx(one.seconds)
    assert [len(line.get_xdata()) for line in below.lines] == [10, 0, 5]  # type: ignore[arg-type]
    assert {"one", "other", "far", "ELBO still to gain (nats)", "step", "seconds"} <= set(drawn_texts(figure))


def test_objectives_beyond_the_estimated_optimum_have_no_place_on_a_log_scale() -> None:
    assert np.isnan(trace("one", 3, optimum=-0.75).left).tolist() == [False, True, True]


def test_infinite_coefficients_are_marked_and_the_others_have_their_intervals() -> None:
    record = forest(20, 5)
    figure = draw(PLN["coefficients"], record)
    tree, age = figure.axes
    shown = drawn_texts(figure)
    assert (shown.count("−∞"), shown.count("∞")) == (2, 3)
    assert {"tree[T.a]", "tree[T.b]", "age", "f_OTU_7", "rare4", "20 of 100 coefficients.", "q < 0.05"} <= set(shown)
    bars = {tuple(line.get_xdata()) for axes in figure.axes for line in axes.lines if len(line.get_xdata()) == 2}  # type: ignore[arg-type]
    assert {(row.low, row.high) for row in record.rows if not math.isinf(row.estimate)} <= bars
    assert [len(axes.get_yticklabels()) for axes in (tree, age)] == [25 + 2, 3 + 1]
    assert max(np.abs(age.get_xlim())) < 0.03 < 1.0 < max(np.abs(tree.get_xlim()))  # each on its own axis


def test_ratios_have_their_ticks_at_powers_of_2() -> None:
    figure = draw(PLN["coefficients"], forest(20, 4, RATIO))
    figure.draw_without_rendering()
    tree = figure.axes[0]
    ticks = {label.get_text(): label.get_position()[0] for label in tree.get_xticklabels()}
    assert ticks["1"] == 0.0 and all(
        place == pytest.approx(math.log2(float(text.partition("/")[0]) / float(text.partition("/")[2] or 1)))
        for text, place in ticks.items()
    )
    row = next(row for row in forest(20, 4).rows if math.isfinite(row.estimate))
    drawn = {tuple(line.get_xdata()) for line in tree.lines}  # type: ignore[arg-type]
    assert any(
        line == pytest.approx((row.low / math.log(2), row.high / math.log(2))) for line in drawn if len(line) == 2
    )
    assert "0" in [text.get_text() for text in tree.texts]  # the ratio that −∞ is


def test_of_one_response_the_rows_are_terms_each_with_an_axis() -> None:
    rows = tuple(
        coefficients.Row(f"x{k}", f"x{k}", "harvest", 10.0**k, 0.5 * 10.0**k, 1.5 * 10.0**k, 0.2) for k in range(3)
    )
    record = coefficients.Forest(rows, 0.9, scale_of(MODELS["linear"], "log"))
    grid = draw(LINEAR["coefficients"], record).axes
    assert [[label.get_text() for label in axes.get_yticklabels()] for axes in grid] == [["x0"], ["x1"], ["x2"]]
    assert grid[0].get_title("left") == "harvest"
    assert grid[2].get_xlabel() == "coefficient (units of the response), 90 % intervals"
    assert grid[2].get_xlim()[1] > 50.0 * grid[0].get_xlim()[1]


def test_volcanoes_name_what_is_beyond_the_thresholds_and_nothing_else() -> None:
    record = cloud(300, least=0.8)
    figure = draw(PLN["volcano"], record)
    (axes,) = figure.axes
    (one,) = record.effects
    beyond = {record.responses[j] for j in np.flatnonzero((one.q_value < 0.05) & (np.abs(one.estimate) >= 0.8))}
    named = {text.get_text() for text in axes.texts if text.get_text()}
    assert named <= beyond and 5 <= len(named) <= record.top
    colours = np.asarray(axes.collections[0].get_facecolor())
    assert (colours[:, :3] != to_rgb(style.PALE)).any(1).sum() == len(beyond)
    (line,) = (line for line in axes.lines if line.get_linestyle() == "--")
    passed = one.p_value[one.q_value < 0.05].max()
    assert line.get_ydata()[0] == pytest.approx(-math.log10(passed))  # type: ignore[index]


def test_estimates_of_infinity_are_at_the_edges_where_abundance_is_drawn() -> None:
    record = cloud(300, counted=True)
    (axes,) = draw(PLN["ma"], record).axes
    up, down = (line for line in axes.lines if line.get_marker() in "^v")
    assert record.abundance is not None
    for line, j, end in ((up, 0, axes.get_ylim()[1]), (down, 1, axes.get_ylim()[0])):
        assert line.get_xydata()[0] == pytest.approx([math.log10(record.abundance[j]), end])  # type: ignore[index]


def test_stars_tell_q_values_and_each_term_has_its_colours() -> None:
    record = heat(50, 2)
    figure = draw(PLN["effects"], record)
    maps = [axes for axes in figure.axes if axes.images]
    assert [axes.images[0].get_clim()[1] for axes in maps] == pytest.approx([block.limit for block in record.blocks])
    for axes, block in zip(maps, record.blocks, strict=True):
        signs = [text.get_text() for text in axes.texts]
        q = block.q_value
        expected = [(q < 0.001).sum(), ((q >= 0.001) & (q < 0.01)).sum(), ((q >= 0.01) & (q < 0.05)).sum()]
        assert [signs.count(stars) for stars in ("***", "**", "*")] == expected
        assert (signs.count("▲"), signs.count("▼")) == (block.values.shape[1],) * 2
    assert [label.get_text() for label in maps[-1].get_yticklabels()] == list(record.responses)


def test_samples_stand_at_their_level_and_means_between_their_intervals() -> None:
    record = by_level(3)
    (axes,) = draw(PLN["feature"], record).axes
    (panel,), by = record.panels, record.by
    assert by is not None and panel.expected is not None
    x, y = np.asarray(axes.collections[0].get_offsets()).T
    assert np.array_equal(np.rint(x), by.values) and y == pytest.approx(np.log1p(panel.values))
    means = next(line for line in axes.lines if line.get_marker() == "D")
    assert np.asarray(means.get_ydata()) == pytest.approx(np.log1p(panel.expected.mean[:, 0]))


@pytest.mark.parametrize(("p", "sides"), quickly([(10, 1), (114, 2), (400, 2)], (10, 1), (114, 2)))
def test_names_are_told_as_far_as_they_fit(p: int, sides: int) -> None:
    """All of them, by turns at the left and at the right where there are many; and always large enough to be read."""
    record = matrix(p)
    figure = draw(PLN["sigma"], record)
    heatmap = figure.axes[0]
    axes = [heatmap, *heatmap.child_axes]
    assert len(axes) == sides
    labels = [label for each in axes for label in each.get_yticklabels()]
    assert min(label.get_fontsize() for label in labels) >= style.SMALLEST
    image = heatmap.images[0]
    assert image.get_clim() == (-0.5, 0.5)
    assert np.array_equal(np.asarray(image.get_array()), record.values)
    told = {label.get_text() for label in labels}
    step = -(-p // len(told))
    assert told == set(record.names[::step]) and (step == 1) == (p < 400)
    notes = [text for text in drawn_texts(figure) if "names: one in" in text]
    assert notes == [] if step == 1 else notes[0].startswith(f"{len(told)} of {p} names: one in {step}.")


def test_small_matrices_have_their_numbers_written_in() -> None:
    shown = drawn_texts(draw(PLN["sigma"], replace(matrix(2), values=np.array([[1.5, -0.25], [-0.25, 2.0]]))))
    assert {"1.5", "2"} <= set(shown) and shown.count("−0.25") == 2


def test_more_levels_than_colours_are_said() -> None:
    figure = draw(PLN["pca"], pca(200, 5, groups(200, 9)))
    shown = drawn_texts(figure)
    assert "3 other levels" in shown and "missing" in shown
    assert "Colours: the 6 most frequent of 9 levels." in shown[0] + shown[1]
    assert len(figure.axes[0].collections[0].get_offsets()) == 200  # type: ignore[arg-type]


def test_arrows_are_correlations_and_names_that_have_no_room_are_counted() -> None:
    record = pca(50, 30)
    strongest = np.argsort(-(record.correlations**2).sum(1))[:10]
    figure = draw(PLN["biplot"], record)
    (axes,) = figure.axes
    tips = [text.xy for text in axes.texts if not text.get_text()]  # type: ignore[attr-defined]
    assert np.sort(np.array(tips), 0) == pytest.approx(np.sort(record.correlations[strongest], 0))
    names_at = {text.get_text(): text.get_position() for text in axes.texts if text.get_text()}
    assert set(names_at) == {record.features[j] for j in strongest}
    leaders = [np.asarray(line.get_xydata()) for line in axes.lines]
    for j in strongest:  # the line that ends at its arrow begins at its name
        (ends,) = [line for line in leaders if line[0] == pytest.approx(record.correlations[j])]
        assert names_at[record.features[j]] == pytest.approx((1.02 * ends[1, 0], ends[1, 1]))
    crowded = draw(
        PLN["biplot"], replace(pca(50, 80), top=80, features=tuple(f"a long name of {j}" for j in range(80)))
    )
    lost = 80 - sum(bool(text.get_text()) for text in crowded.axes[0].texts)
    assert lost > 0
    assert any(f"{lost} names had no room." in text for text in drawn_texts(crowded))


def test_shares_of_the_components_are_on_the_axes() -> None:
    record = pca(30, 3, axes=(0, 2))
    (axes,) = draw(PLN["pca"], record).axes
    assert axes.get_xlabel() == f"PC1 ({100 * record.shares[0]:.1f} %)"
    assert axes.get_ylabel() == f"PC3 ({100 * record.shares[1]:.1f} %)"


def test_many_points_become_a_density_of_all_of_them() -> None:
    observed, mean = cells(20_000)
    figure = draw(PLN["fitted"], counts.Fitted(observed, mean))
    hexagons = figure.axes[0].collections[0]
    assert hexagons.get_array().sum() == 20_000  # type: ignore[union-attr]
    few = draw(PLN["fitted"], counts.Fitted(observed[:50], mean[:50]))
    assert len(few.axes[0].collections[0].get_offsets()) == 50  # type: ignore[arg-type]


def test_features_with_too_many_zeros_are_named() -> None:
    record = counts.ZeroCounts(
        names("f", 5), np.array([9.0, 20, 30, 80, 5]), np.array([10.0, 20, 31, 40, 6]), np.ones(5)
    )
    shown = drawn_texts(draw(PLN["zeros"], record))
    assert [text for text in shown if text.startswith("f_")] == ["f_OTU_3"]
    assert "beyond 3 sd" in shown


def test_influential_samples_are_named_and_the_contours_that_are_reached() -> None:
    record = regressions(30, 1)
    one = record.responses[0]
    worst = {record.samples[i] for i in np.argsort(-one.cook)[:3]}
    shown = drawn_texts(draw(LINEAR["leverage"], record, 178.0))
    assert {text for text in shown if text.startswith("s_")} == worst
    far = replace(record, leverage=np.where(np.arange(30) == 0, 0.7, record.leverage))
    assert "Cook's distance 0.5, 1" in drawn_texts(draw(LINEAR["leverage"], far, 178.0))


def test_the_best_and_the_simplest_candidate_are_marked() -> None:
    scores = np.array([[-5.0, -6.0, -7.0], [-5.1, -6.0, -7.1], [-50.0, -51.0, -52.0]])
    record = validation.Standings(validation.standings(["~ x", "~ 1", "~ z"], scores, [9, 3, 1]), "loglik")
    assert [(one.name, one.best, one.simplest) for one in record.standings] == [
        ("~ x", True, False),
        ("~ 1", False, True),
        ("~ z", False, False),
    ]
    shown = drawn_texts(draw(plots.VALIDATION, record))
    assert {
        "best",
        "fewest parameters within 1 se",
        "~ x\n9 parameters",
        "log-likelihood held out (nats, ± se)",
    } <= set(shown)


def test_the_confusion_table_tells_shares_of_the_observed_class() -> None:
    shown = drawn_texts(draw(LOGISTIC["confusion"], confusions(1)))
    assert {"3941\n99.7 %", "12\n0.3 %", "y_OTU_0: 99.8 % right", "control", "case"} <= set(shown)


# Files


@pytest.mark.parametrize(
    ("suffix", "magic"), quickly([("png", b"\x89PNG\r\n"), ("svg", b"<?xml"), ("pdf", b"%PDF-")], ("svg", b"<?xml"))
)
def test_a_figure_is_the_same_file_each_time(suffix: str, magic: bytes) -> None:
    kind, record = CASES["biplot of 114 features by level"]
    first, second = (style.save(draw(kind, record), suffix, 72) for _ in range(2))
    assert first == second and first.startswith(magic)
    assert b"20" + b"26-" not in first  # no date


def test_names_are_drawn_as_they_are() -> None:
    """Signs that matplotlib would take for mathematics, or has no letter for."""
    rows = tuple(coefficients.Row("x", "x", name, 1.0, 0.0, 2.0, 0.5) for name in ("$a_b$", "a\nb", "菌", "100 %_{x}"))
    svg = style.save(draw(PLN["coefficients"], coefficients.Forest(rows, 0.95, LOG)), "svg").decode()
    assert all(f">{name}<" in svg for name in ("$a_b$", "a b", "菌", "100 %_{x}"))


def test_settings_of_the_caller_stay_and_do_not_matter() -> None:
    kind, record = CASES["leverage"]
    usual = style.save(draw(kind, record), "png", 72)
    with matplotlib.rc_context({"font.size": 30.0, "axes.facecolor": "red", "text.usetex": False}):
        before = dict(matplotlib.rcParams)
        assert style.save(draw(kind, record), "png", 72) == usual
        assert dict(matplotlib.rcParams) == before


def test_long_names_of_runs_leave_room_for_the_key() -> None:
    record = loss.Loss(tuple(trace(f"/a/long/way/to/the/folder/of/run/{k}", 8) for k in range(4)))
    assert clashes(draw(PLN["loss"], record, 85.0)) == []
