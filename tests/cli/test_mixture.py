"""Clusters in the folder of a path, of new samples, in pictures, and on a page."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from parsed import parser
from sklearn.metrics import adjusted_rand_score

from plncli import cli as command_line
from plncli.plots import draw, kinds
from plncli.plots.source import Source, Wanted
from plncli.runs.run import read_run

Cli = Callable[..., Any]
N, ODD = 60, ('<b>"bold"</b>', "a & b", "it's é 𝄞", "f 4", "f5", "f6", "only in one")
FIT = ("fit", "pln-mixture", "--counts", "counts.csv", "--covariates", "about.csv", "--formula", "~ ph", "-q")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of three clusters, one of which alone has the last feature, and `run`, a path of mixtures of it."""
    folder = tmp_path_factory.mktemp("mixture")
    r = np.random.RandomState(3)
    labels = np.repeat([0, 1, 2], [30, 20, 10])
    means = r.normal(3.0, 1.5, size=(3, len(ODD)))
    means[:, -1] = 3.0, -30.0, -30.0
    ph = r.normal(size=N)
    Z = means[labels] + 0.2 * ph[:, None] + 0.4 * r.normal(size=(N, len(ODD)))
    names = [f"s{i}" for i in range(N)]
    pd.DataFrame(r.poisson(np.exp(Z)), names, list(ODD)).to_csv(folder / "counts.csv")
    pd.DataFrame({"ph": ph, "truth": labels}, names).to_csv(folder / "about.csv")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(command_line, "application", parser)
        patch.setattr(sys, "argv", ["plncli", *FIT, "--clusters", "1:4", "--covariance", "spherical", "--out", "run"])
        with pytest.raises(SystemExit) as exited:
            command_line.main()
    assert not exited.value.code
    return folder


@pytest.fixture
def tmp_path(place: Path) -> Path:
    """Where commands run."""
    return place


def truth(place: Path) -> np.ndarray:
    return pd.read_csv(place / "about.csv")["truth"].to_numpy()


def test_the_files_say_the_same(place: Path) -> None:
    run = place / "run"
    path = pd.read_csv(run / "path.csv")
    assert path["clusters"].tolist() == [1, 2, 3, 4]
    assert path.loc[path["chosen"], "clusters"].tolist() == [3]
    assert (path["elbo"].diff().dropna() > -1e-3).all()
    members = pd.read_csv(run / "memberships.csv", index_col=0)
    posterior = members.filter(like="posterior_").to_numpy()
    np.testing.assert_allclose(posterior.sum(1), 1.0, atol=1e-12)
    np.testing.assert_array_equal(posterior.argmax(1) + 1, members["cluster"])
    assert adjusted_rand_score(truth(place), members["cluster"]) > 0.95
    clusters = pd.read_csv(run / "clusters.csv")
    assert clusters["samples"].tolist() == members["cluster"].value_counts().sort_index().tolist()
    assert clusters["proportion"].is_monotonic_decreasing
    means = pd.read_csv(run / "cluster_means.csv", index_col=0)
    assert np.isneginf(means.loc[:, ODD[-1]]).tolist() == [False, True, True]
    assert not (run / "cluster_covariances.csv").exists()


def test_full_covariances_are_written(place: Path, cli: Cli) -> None:
    assert cli(*FIT, "--clusters", "2", "--covariance", "full", "--sigma", "--out", "full").code == 0
    long = pd.read_csv(place / "full" / "cluster_covariances.csv")
    variances = pd.read_csv(place / "full" / "cluster_variances.csv", index_col=0)
    for k in (1, 2):
        Sigma = long[long["cluster"] == k].set_index("feature").drop(columns="cluster").loc[list(ODD), list(ODD)]
        np.testing.assert_allclose(Sigma, Sigma.T)
        np.testing.assert_allclose(np.diag(Sigma), variances.loc[k, list(ODD)])
        assert np.linalg.eigvalsh(Sigma)[0] > 0
    assert (place / "full" / "sigma.csv").exists()


def test_samples_of_the_fit_are_classified_as_it_has_them(place: Path, cli: Cli) -> None:
    out = cli("classify", "run", "--counts", "counts.csv", "--covariates", "about.csv", "--out", "classes.csv")
    assert out.code == 0
    told = pd.read_csv(place / "classes.csv", index_col=0)
    members = pd.read_csv(place / "run" / "memberships.csv", index_col=0)
    assert (told["predicted"] == members["cluster"]).all()
    summary = read_run(place / "run").summary
    assert 0.0 <= summary["elbo"] - told["elbo"].sum() < 1.1  # half a count in each of two clusters that have none
    assert "half a count" in out.err


def test_a_path_is_fitted_again_to_the_same_bits(place: Path, cli: Cli) -> None:
    assert cli("rerun", "run", "--check").code == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--clusters", "0"), "whole number from 1"),
        (("--clusters", "61"), "more than the 60 samples"),
        (("--clusters", "2:61"), "more than the 60 samples"),
        (("--covariance", "fixed"), "one of full, diagonal, spherical"),
        (("--formula", "~ 0 + ph"), "needs an intercept"),
        (("--se", "sandwich"), "not for pln-mixture"),
        (("--select", "ebic"), "must be one of"),
    ],
)
def test_what_cannot_be_gets_its_sentence(options: tuple[str, ...], said: str, cli: Cli) -> None:
    ran = cli(*FIT, *options, "--out", "refused")
    assert ran.code in (2, 3)
    assert said in ran.err
    assert not Path("refused").exists()


def test_pictures_show_what_the_files_say(place: Path) -> None:
    source = Source(read_run(place / "run"), {})
    members = pd.read_csv(place / "run" / "memberships.csv", index_col=0)
    made = kinds("pln-mixture")["memberships"].content(source, Wanted())
    for k, name in enumerate(made.clusters):
        np.testing.assert_allclose(members.loc[list(made.samples), f"posterior_{name}"], made.tau[:, k])
    assert (np.diff(made.labels) >= 0).all()
    profiles = kinds("pln-mixture")["profiles"].content(source, Wanted())
    assert sorted(profiles.features) == sorted(ODD)
    own = profiles.off[profiles.features.index(ODD[-1])]
    assert np.isposinf(own[0])
    assert np.isneginf(own[1:]).all()
    for name in ("memberships", "profiles", "pca"):
        kind = kinds("pln-mixture")[name]
        record = kind.content(source, Wanted())
        assert draw(kind, record).axes
        assert kind.describe(record)


def test_the_page_tells_of_the_clusters(place: Path, cli: Cli) -> None:
    assert cli("report", "run", "--out", "page.html").code == 0
    page = (place / "page.html").read_text(encoding="utf-8")
    assert "3 clusters of 30, 20, 10 samples" in page
    assert "<b>" not in page
    assert "&lt;b&gt;" in page
