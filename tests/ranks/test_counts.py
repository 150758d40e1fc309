"""Models of counts whose samples are shared among processes: the fits of one process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from forked import Forked
from ranked import check_same, shared


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Counts of 61 samples and 9 features, of three factors: one never seen at a site, one no more than Poisson.

    The site is that of the last samples alone: those of one process.
    """
    folder, draw, n, p = tmp_path_factory.mktemp("ranks"), np.random.default_rng(3), 61, 9
    names = [f"s{i}" for i in range(n)]
    x, site = draw.normal(size=n), np.where(np.arange(n) > 52, "far", draw.choice(["here", "there"], n))
    latent = draw.normal(size=(n, 3)) @ draw.normal(size=(3, p)) * 0.6 + 0.3 * draw.normal(size=(n, p)) + 1.0
    latent += np.outer(x, 0.4 * draw.normal(size=p))
    latent[:, -1] = 0.7
    Y = draw.poisson(np.exp(latent))
    Y[site == "far", 3] = 0
    counts = pd.DataFrame(Y, index=names, columns=[f"f{j}" for j in range(p)]).rename_axis("id")
    counts.to_csv(folder / "counts.csv")
    counts.mask(draw.random((n, p)) < 0.05).to_csv(folder / "missing.csv")
    weights = draw.integers(1, 4, n)
    pd.DataFrame({"id": names, "x": x, "site": site, "w": weights}).to_csv(folder / "covariates.csv", index=False)
    return folder


FITS = {
    "full": ("pln", "--formula", "x + site"),
    "diagonal": ("pln", "--formula", "x + site", "--covariance", "diagonal", "--weights", "w"),
    "low-rank": ("pln-pca", "--formula", "x + site", "--rank", "2", "--tol", "1e-11"),
}
SLOW = {
    "spherical": ("pln", "--formula", "x + site", "--covariance", "spherical"),
    "missing": ("pln", "--formula", "x", "--counts", "missing.csv", "--missing", "keep"),
    "vem": ("pln", "--formula", "x", "--optimizer", "vem"),
    "rprop": ("pln", "--formula", "x", "--optimizer", "rprop"),
    "inflated": ("pln", "--formula", "x", "--zero-inflation", "feature"),
    "low-rank-blocks": ("pln-pca", "--formula", "x + site", "--rank", "2", "--block-rows", "16", "--tol", "1e-11"),
    "low-rank-missing": ("pln-pca", "--formula", "x", "--rank", "2", "--counts", "missing.csv", "--missing", "keep"),
    "low-rank-inflated": ("pln-pca", "--formula", "x", "--rank", "2", "--zero-inflation", "feature"),
    "inflated-all": ("pln", "--formula", "x + site", "--zero-inflation", "single"),
}


FLAT = {"rprop": 1e-2, "low-rank-missing": 2e-2, "low-rank-inflated": 2e-2}
"""Of what ends within the tolerance: how far estimates may be apart there."""


@pytest.mark.parametrize("name", [*FITS, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_is_the_fit_of_one_process(place: Path, name: str) -> None:
    given = {**FITS, **SLOW}[name]
    counts = () if "--counts" in given else ("--counts", "counts.csv")
    words = ("fit", *given, *counts, "--covariates", "covariates.csv", "--out")
    number = 4 if name in SLOW else 2
    alone = Forked((*words, f"{name}-1"), place)
    shared(number, (*words, f"{name}-{number}"), place)
    _, said = alone.communicate()
    assert alone.wait() == 0, said
    check_same(place / f"{name}-1", place / f"{name}-{number}", FLAT.get(name, 1e-5))


@pytest.mark.slow
def test_a_large_table_begins_with_the_same_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has them: of many optima both end in one."""
    for name in ("WHOLE", "MANY"):
        monkeypatch.setattr(f"plncli.models.pca.spec.{name}", 1 << 12)
    draw = np.random.default_rng(8)
    latent = draw.normal(size=(1301, 2)) @ draw.normal(size=(2, 9)) * 0.5
    counts = pd.DataFrame(draw.poisson(np.exp(latent)), columns=[f"f{j}" for j in range(9)])
    counts.rename_axis("id").rename(index=lambda i: f"s{i}").to_csv(tmp_path / "counts.csv")
    words = ("fit", "pln-pca", "--counts", "counts.csv", "--rank", "2", "--tol", "1e-10", "--se", "none", "--out")
    alone = Forked((*words, "one"), tmp_path)
    shared(3, (*words, "three"), tmp_path)
    _, said = alone.communicate()
    assert alone.wait() == 0, said
    check_same(tmp_path / "one", tmp_path / "three", 1e-4)
