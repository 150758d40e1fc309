"""`plncli simulate`: tables of which the truth is known, from a design or from the parameters of a fit."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from plncli.cli.options import Quiet
from plncli.console import Console
from plncli.models import MODELS
from plncli.names import DRAWN_COVARIANCES, LAST_SEED, TABLE_FORMATS

DEFAULT, *_OTHERS = MODELS
OTHERS = f"{', '.join(_OTHERS[:-1])} or {_OTHERS[-1]}"
DESIGN, RUN, FILES = "From a design", "From a run", "Output"


def _option(flag: str, metavar: str, help: str, panel: str = DESIGN) -> Any:
    return typer.Option(flag, metavar=metavar, help=help, rich_help_panel=panel, show_default=False)


Model = Annotated[
    str | None,
    typer.Argument(metavar="[MODEL]", help=f"{DEFAULT} (the default), {OTHERS}.", show_default=False),
]
From = Annotated[
    str | None,
    _option("--from", "RUN", "Take parameters and samples of a fit: its folder, or the model file in it.", RUN),
]
Covariates = Annotated[str | None, _option("--covariates", "FILE", "New samples instead of those of the fit.", RUN)]
Exposure = Annotated[str | None, _option("--exposure", "FILE|NUMBER", "Their exposure.", RUN)]
Match = Annotated[str, _option("--match", "name|position", "How the rows of the two are matched [default: name].", RUN)]
Samples = Annotated[
    int | None,
    _option("--n", "N", "Samples [default: 200]; with --from, drawn with replacement from those of the fit."),
]
Features = Annotated[int | None, _option("--p", "P", "Features or responses [default: 20 for pln, else 1].")]
Numeric = Annotated[int | None, _option("--numeric", "K", "Numeric covariates, standard normal [default: 1].")]
Levels = Annotated[int | None, _option("--levels", "K", "Levels of a factor `group`; 0: none [default: 0].")]
Effect = Annotated[
    float | None, _option("--effect", "X", "Standard deviation of slopes and group effects [default: 0.5].")
]
Covariance = Annotated[
    str | None,
    _option(
        "--covariance",
        "|".join(DRAWN_COVARIANCES),
        "Sigma: correlations that fall off with distance (Toeplitz), unequal variances, or one [default: full].",
    ),
]
Rank = Annotated[int | None, _option("--rank", "Q", "Components of pln-pca, whose sizes fall as 1/k [default: 2].")]
Correlation = Annotated[
    float | None, _option("--correlation", "X", "Of neighbours, with --covariance full [default: 0.5].")
]
Graph = Annotated[
    str | None,
    _option("--graph", "random|hub|block|scale-free", "Of pairs that go together given all others, of counts."),
]
Edges = Annotated[int | None, _option("--edges", "N", "Edges of the graph [default: about as many as features].")]
Deviation = Annotated[
    float | None, _option("--sd", "X", "Standard deviation of the latent layer or the residuals [default: 1].")
]
Sigma = Annotated[
    str | None, _option("--sigma", "FILE", "Covariance matrix to use instead, such as the sigma.csv of a fit.")
]
Depth = Annotated[float | None, _option("--depth", "X", "Mean expected total of a sample [default: 10 a feature].")]
Spread = Annotated[
    float | None, _option("--depth-spread", "X", "Standard deviation of the log exposures [default: 0.5].")
]
Zeros = Annotated[
    float | None, _option("--zeros", "X", "Share of zeros to aim at, between 0 and 1 [logistic: default 0.5].")
]
Inflation = Annotated[
    float | None, _option("--zero-inflation", "X", "Probability of a structural zero, of counts [default: none].")
]
InflationSpread = Annotated[
    float | None,
    _option("--zero-inflation-spread", "X", "Standard deviation of its logit among features [default: 0]."),
]
InflationEffect = Annotated[
    float | None,
    _option("--zero-inflation-effect", "X", "Standard deviation of covariates' slopes in its logit [default: 0]."),
]
Seed = Annotated[
    int, typer.Option("--seed", metavar="N", min=0, max=LAST_SEED, help="The same seed draws the same tables.")
]
Out = Annotated[str, typer.Option("--out", metavar="DIR", help="Folder of the tables.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the folder of an earlier simulation.")]
Format = Annotated[str, typer.Option("--format", metavar="|".join(TABLE_FORMATS), help="Of the tables.")]
NoLatent = Annotated[bool, typer.Option("--no-latent", help="Leave out the table of the latent layer.")]
Json = Annotated[bool, typer.Option("--json", help="Print what simulation.json holds on standard output.")]


def simulate(
    model: Model = None,
    run: From = None,
    covariates: Covariates = None,
    exposure: Exposure = None,
    match: Match = "name",
    n: Samples = None,
    p: Features = None,
    numeric: Numeric = None,
    levels: Levels = None,
    effect: Effect = None,
    rank: Rank = None,
    covariance: Covariance = None,
    correlation: Correlation = None,
    graph: Graph = None,
    edges: Edges = None,
    sd: Deviation = None,
    sigma: Sigma = None,
    depth: Depth = None,
    depth_spread: Spread = None,
    zeros: Zeros = None,
    zero_inflation: Inflation = None,
    zero_inflation_spread: InflationSpread = None,
    zero_inflation_effect: InflationEffect = None,
    seed: Seed = 0,
    out: Out = "simulated",
    overwrite: Overwrite = False,
    format: Format = "csv",
    no_latent: NoLatent = False,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Simulate tables with known truth.

    From a design of your choice, or with the parameters of a fit (--from). Tables, truth and a configuration to fit
    them with are written into a folder.
    """
    from plncli.verbs import simulate as verb

    given = {
        "p": p,
        "numeric": numeric,
        "levels": levels,
        "effect": effect,
        "rank": rank,
        "covariance": covariance,
        "correlation": correlation,
        "graph": graph,
        "edges": edges,
        "sd": sd,
        "sigma": sigma,
        "depth": depth,
        "depth_spread": depth_spread,
        "zeros": zeros,
        "zero_inflation": zero_inflation,
        "zero_inflation_spread": zero_inflation_spread,
        "zero_inflation_effect": zero_inflation_effect,
    }
    return verb.simulate(
        model,
        run,
        n,
        given,
        {"covariates": covariates, "exposure": exposure},
        match,
        seed,
        Console(quiet),
        out=out,
        overwrite=overwrite,
        format=format,
        latent=not no_latent,
        json=json,
    )
