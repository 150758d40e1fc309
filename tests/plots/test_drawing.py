"""Figures of records: what is in them, and that nothing in them overlaps."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from plncli import plots
from plncli.plots import Kind, classes, coefficients, counts, draw, kinds, latent, loss, matrices, regression, style
from plncli.plots import crossvalidation as validation

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


def forest(p: int, infinite: int = 0) -> coefficients.Forest:
    r = R(p)
    rows = [
        coefficients.Row(f"tree[T.{'ab'[j % 2]}]", name, e := float(r.normal()), e - 0.5, e + 0.5, 0.01 * (j + 1))
        for j, name in enumerate(names("f", p))
    ]
    rows += [
        coefficients.Row("tree[T.b]", f"rare{j}", (-1) ** j * math.inf, math.nan, math.nan, math.nan)
        for j in range(infinite)
    ]
    rows.sort(key=lambda row: row.term)
    return coefficients.Forest(tuple(rows), 0.95, "log counts", ("20 of 100 coefficients.",))


def matrix(p: int) -> matrices.Matrix:
    X = R(0).normal(size=(50, p))
    return matrices.Matrix(names("b", p), np.atleast_2d(np.cov(X.T)), "latent covariance", 0.5)


def pca(n: int, p: int, colouring: latent.Colouring | None = None) -> latent.Components:
    scores, shares, correlations = latent.components(R(1).normal(size=(n, p)) * np.arange(1, p + 1))
    return latent.Components(
        names("s", n), names("f", p), scores, shares, correlations, False, colouring=colouring, notes=("A note.",)
    )


def groups(n: int, levels: int) -> latent.Colouring:
    codes = R(2).randint(-1, levels, size=n)
    return latent.Colouring("tree", codes, tuple(f"level {k}" for k in range(levels)))


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
    return classes.Curves(tuple(classes._curve(name, y, eta, np.ones(200)) for name in names("y", p)))


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


PLN, LOGISTIC, LINEAR = (kinds(model) for model in ("pln", "logistic", "linear"))
CASES: dict[str, tuple[Kind, Any]] = {
    "loss of one run": (PLN["loss"], loss.Loss((trace("runs/oaks", 10),))),
    "loss of three runs": (
        PLN["loss"],
        loss.together([loss.Loss((trace(name, n),)) for name, n in (("a", 8), ("b", 300), ("c", 70))]),
    ),
    "coefficients of one feature": (PLN["coefficients"], forest(1)),
    "coefficients with infinite ones": (PLN["coefficients"], forest(20, 6)),
    "infinite coefficients alone": (PLN["coefficients"], forest(0, 3)),
    "a matrix of 1": (PLN["sigma"], matrix(1)),
    "a matrix of 10": (PLN["sigma"], matrix(10)),
    "a matrix of 114": (PLN["sigma"], matrix(114)),
    "a matrix of 1000": (PLN["sigma"], matrix(1000)),
    "components": (PLN["pca"], pca(30, 2)),
    "components by level": (PLN["pca"], pca(116, 114, groups(116, 3))),
    "components of 10 000 samples by 30 levels": (PLN["pca"], pca(10_000, 5, groups(10_000, 30))),
    "components by number": (PLN["pca"], pca(40, 5, latent.Colouring("depth", np.r_[np.nan, np.arange(39.0)]))),
    "biplot of 2 features": (PLN["biplot"], pca(30, 2)),
    "biplot of 114 features by level": (PLN["biplot"], pca(116, 114, groups(116, 3))),
    "biplot of more names than have room": (
        PLN["biplot"],
        replace(pca(50, 40), top=40, features=tuple(f"a long name of {j}" for j in range(40))),
    ),
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


WIDTHS = [
    # in its own width, and slowly in the other; the larger ones take a second each
    pytest.param(case, width, marks=() if width == kind.width and not case.startswith("six ") else pytest.mark.slow)
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
        assert axes.get_xlabel() or axes.get_ylabel() or axes.get_shared_x_axes().get_siblings(axes)[1:] or axes.images


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
    (axes,) = figure.axes
    shown = drawn_texts(figure)
    assert (shown.count("−∞"), shown.count("∞")) == (2, 3)
    assert {"tree[T.a]", "tree[T.b]", "f_OTU_7", "rare4", "20 of 100 coefficients.", "q < 0.05"} <= set(shown)
    bars = {tuple(line.get_xdata()) for line in axes.lines if len(line.get_xdata()) == 2}  # type: ignore[arg-type]
    assert {(row.low, row.high) for row in record.rows if not math.isinf(row.estimate)} <= bars
    heights = [label.get_text() for label in axes.get_yticklabels()]
    assert len(heights) == 25 + 2


def test_of_one_response_the_rows_are_terms() -> None:
    rows = tuple(coefficients.Row(f"x{k}", "harvest", 1.0, 0.5, 1.5, 0.2) for k in range(3))
    (axes,) = draw(LINEAR["coefficients"], coefficients.Forest(rows, 0.9, "units of the response")).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["x0", "x1", "x2"]
    assert axes.get_title("left") == "harvest"
    assert axes.get_xlabel() == "coefficient (units of the response), 90 % intervals"


@pytest.mark.parametrize(("p", "told"), [(10, 10), (114, 114), (1000, None)])
def test_names_are_told_as_far_as_they_fit(p: int, told: int | None) -> None:
    record = matrix(p)
    figure = draw(PLN["sigma"], record)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    image = figure.axes[0].images[0]
    assert image.get_clim() == (-0.5, 0.5)
    assert np.array_equal(np.asarray(image.get_array()), record.values)
    if told:
        assert labels == list(record.names[:told])
    else:
        step = math.ceil(p / len(labels))
        assert labels == list(record.names[::step])
        assert f"{len(labels)} of {p} names: one in {step}." in drawn_texts(figure)


def test_small_matrices_have_their_numbers_written_in() -> None:
    shown = drawn_texts(draw(PLN["sigma"], replace(matrix(2), values=np.array([[1.5, -0.25], [-0.25, 2.0]]))))
    assert {"1.5", "2"} <= set(shown) and shown.count("-0.25") == 2


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
    named = {text.get_text() for text in axes.texts if text.get_text()}
    assert named <= {record.features[j] for j in strongest}
    crowded = draw(PLN["biplot"], replace(record, top=30, features=tuple(f"a long name of {j}" for j in range(30))))
    lost = 30 - sum(bool(text.get_text()) for text in crowded.axes[0].texts)
    assert lost > 0
    assert any(f"{lost} names had no room." in text for text in drawn_texts(crowded))


def test_shares_of_the_components_are_on_the_axes() -> None:
    record = pca(30, 3)
    (axes,) = draw(PLN["pca"], record).axes
    assert axes.get_xlabel() == f"component 1 ({100 * record.shares[0]:.1f} %)"
    assert axes.get_ylabel() == f"component 2 ({100 * record.shares[1]:.1f} %)"


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


@pytest.mark.parametrize(("suffix", "magic"), [("png", b"\x89PNG\r\n"), ("svg", b"<?xml"), ("pdf", b"%PDF-")])
def test_a_figure_is_the_same_file_each_time(suffix: str, magic: bytes) -> None:
    kind, record = CASES["biplot of 114 features by level"]
    first, second = (style.save(draw(kind, record), suffix, 72) for _ in range(2))
    assert first == second and first.startswith(magic)
    assert b"20" + b"26-" not in first  # no date


def test_names_are_drawn_as_they_are() -> None:
    """Signs that matplotlib would take for mathematics, or has no letter for."""
    rows = tuple(coefficients.Row("x", name, 1.0, 0.0, 2.0, 0.5) for name in ("$a_b$", "a\nb", "菌", "100 %_{x}"))
    svg = style.save(draw(PLN["coefficients"], coefficients.Forest(rows, 0.95, "log counts")), "svg").decode()
    assert all(f">{name}<" in svg for name in ("$a_b$", "a b", "菌", "100 %_{x}"))


def test_settings_of_the_caller_stay_and_do_not_matter() -> None:
    kind, record = CASES["leverage"]
    usual = style.save(draw(kind, record), "png", 72)
    with matplotlib.rc_context({"font.size": 30.0, "axes.facecolor": "red", "text.usetex": False}):
        before = dict(matplotlib.rcParams)
        assert style.save(draw(kind, record), "png", 72) == usual
        assert dict(matplotlib.rcParams) == before


def test_pyplot_is_never_loaded() -> None:
    code = "import sys, plncli.plots; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_long_names_of_runs_leave_room_for_the_key() -> None:
    record = loss.Loss(tuple(trace(f"/a/long/way/to/the/folder/of/run/{k}", 8) for k in range(4)))
    assert clashes(draw(PLN["loss"], record, 85.0)) == []
