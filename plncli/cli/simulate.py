"""`plncli simulate`: tables of which the truth is known, from a design or from the parameters of a fit."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plncli import console
from plncli.cli.options import Quiet
from plncli.console import Console
from plncli.errors import UsageError, counted, nearest
from plncli.names import COVARIANCES, LAST_SEED, MODEL_NAMES

if TYPE_CHECKING:
    from torch import Generator

    from plncli.runs.new_data import Sources
    from plncli.runs.run import Run
    from plncli.runs.training_data import Origin
    from plncli.tables.reading import Table
    from plncli.verbs.simulation import Outcome, Truth

CHOICES = COVARIANCES[:3]
FORMATS = ("csv", "tsv", "parquet", "feather")
DESIGN, RUN, FILES = "From a design", "From a run", "Output"


def _option(flag: str, metavar: str, help: str, panel: str = DESIGN) -> Any:
    return typer.Option(flag, metavar=metavar, help=help, rich_help_panel=panel, show_default=False)


Model = Annotated[
    str | None,
    typer.Argument(metavar="[MODEL]", help="pln (the default), logistic or linear.", show_default=False),
]
From = Annotated[
    str | None,
    _option("--from", "RUN", "Take parameters and samples of a fit: its folder, or the model file in it.", RUN),
]
Covariates = Annotated[str | None, _option("--covariates", "FILE", "New samples instead of those of the fit.", RUN)]
Exposure = Annotated[str | None, _option("--exposure", "FILE|NUMBER", "Their exposure.", RUN)]
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
        "|".join(CHOICES),
        "Sigma: correlations that fall off with distance (Toeplitz), unequal variances, or one [default: full].",
    ),
]
Correlation = Annotated[
    float | None, _option("--correlation", "X", "Of neighbours, with --covariance full [default: 0.5].")
]
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
Seed = Annotated[
    int, typer.Option("--seed", metavar="N", min=0, max=LAST_SEED, help="The same seed draws the same tables.")
]
Out = Annotated[str, typer.Option("--out", metavar="DIR", help="Folder of the tables.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the folder of an earlier simulation.")]
Format = Annotated[str, typer.Option("--format", metavar="|".join(FORMATS), help="Of the tables.")]
NoLatent = Annotated[bool, typer.Option("--no-latent", help="Leave out the table of the latent layer.")]
Json = Annotated[bool, typer.Option("--json", help="Print what simulation.json holds on standard output.")]


def simulate(
    model: Model = None,
    run: From = None,
    covariates: Covariates = None,
    exposure: Exposure = None,
    n: Samples = None,
    p: Features = None,
    numeric: Numeric = None,
    levels: Levels = None,
    effect: Effect = None,
    covariance: Covariance = None,
    correlation: Correlation = None,
    sd: Deviation = None,
    sigma: Sigma = None,
    depth: Depth = None,
    depth_spread: Spread = None,
    zeros: Zeros = None,
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
    given = {
        "p": p,
        "numeric": numeric,
        "levels": levels,
        "effect": effect,
        "covariance": covariance,
        "correlation": correlation,
        "sd": sd,
        "sigma": sigma,
        "depth": depth,
        "depth_spread": depth_spread,
        "zeros": zeros,
    }
    given = {name: value for name, value in given.items() if value is not None}
    _check(model, run, given, format, covariates=covariates, exposure=exposure)

    from plncli.runs.new_data import Sources
    from plncli.runs.training_data import read_again
    from plncli.runtime import memory_guard
    from plncli.tables.target import check_target
    from plncli.tables.writing import to_json
    from plncli.verbs import simulation as simulated

    check_target(Path(out), overwrite, simulated.WRITTEN)
    with memory_guard():
        if run is None:
            made = invented(model or "pln", n, given, seed)
        else:
            new = Sources(covariates=covariates, exposure=exposure) if covariates or exposure else None
            made = resampled(_read(run, model), n, new, seed, read_again)
        simulated.write(Path(out), made, format, latent=not no_latent, overwrite=overwrite)
    _report(Console(quiet), made, Path(out))
    if json:
        console.out(to_json(made.facts))
    return 0


def invented(model: str, n: int | None, given: Mapping[str, Any], seed: int, sigma: Table | None = None) -> Outcome:
    """Tables of a design: see `simulated.recipe` and `simulated.invent`."""
    from plncli.verbs import simulation as simulated

    recipe = simulated.recipe(model, n, given)
    p = len(sigma.columns) if sigma else recipe.p
    _check_memory(recipe.n, p, recipe.numeric + max(recipe.levels, 1), model != "logistic")
    return _drawn(lambda generator: simulated.invent(recipe, generator, sigma), seed)


def resampled(run: Run, n: int | None, new: Sources | None, seed: int, own: Callable[[Run], Origin]) -> Outcome:
    """Tables with the parameters of a run: see `simulated.resample`."""
    from plncli.verbs import simulation as simulated

    if n is not None:
        _check_memory(n, len(run.responses), len(run.terms), "Sigma" in run.estimates)
    return _drawn(lambda generator: simulated.resample(run, generator, n=n, new=new, own=own), seed)


def _check_memory(n: int, p: int, d: int, square: bool) -> None:
    """DeviceError where tables of that size cannot be drawn; see `memory.check_tables`."""
    import torch

    from plncli import runtime
    from plncli.evaluation import memory

    memory.check_tables(n, p, d, square, runtime.free_memory(torch.device("cpu")))


def _drawn(truth: Callable[[Generator], Truth], seed: int) -> Outcome:
    """A table of a truth, which may be random too."""
    import torch

    from plncli import runtime
    from plncli.verbs import simulation as simulated

    torch.set_num_threads(1)  # how a product is split over threads changes its last digits
    generator = torch.Generator().manual_seed(seed)
    return simulated.draw(truth(generator), generator, {"seed": seed, "versions": runtime.versions()})


def _check(model: str | None, run: str | None, given: dict[str, Any], format: str, **of_run: str | None) -> None:
    """Refuse what does not go together, and names that are none."""
    named = (("MODEL", model, MODEL_NAMES), ("--format", format, FORMATS))
    for flag, value, known in (*named, ("--covariance", given.get("covariance"), CHOICES)):
        if value is not None and value not in known:
            raise UsageError(f"{flag} must be one of {', '.join(known)}, not `{value}`.{nearest(value, known)}")
    if run is not None and given:
        flag = "--" + next(iter(given)).replace("_", "-")
        raise UsageError(f"{flag} is for a design of your choice; with --from RUN, the run gives the parameters.")
    if run is None:
        for name, value in of_run.items():
            if value is not None:
                raise UsageError(f"--{name} needs --from RUN: a design of your choice comes with its own.")


def _read(place: str, model: str | None) -> Run:
    from plncli.runs.run import read_run

    run = read_run(Path(place))
    if model not in (None, run.model):
        raise UsageError(f"{place} is a fit of the model {run.model}, not {model}; leave {model} out.")
    return run


def size(facts: Mapping[str, Any]) -> str:
    """What was simulated, in a line."""
    noun = "feature" if facts["model"] == "pln" else "response"
    shape = f"{counted(facts['n_samples'], 'sample')} × {counted(facts['n_features'], noun)}"
    zeros = f", {100 * facts['zeros']:.3g} % zeros" if "zeros" in facts else ""
    depth = f", {facts['mean_depth']:.4g} counts a sample on average" if "mean_depth" in facts else ""
    return f"Simulated {shape}{zeros}{depth}"


def _report(say: Console, made: Outcome, out: Path) -> None:
    say.note(f"{size(made.facts)}, in {out}.")
    for note in made.notes:
        say.note(f"note: {note}")
    config = shlex.quote(str(out / "config.toml"))
    say.note(f"Fit them with: plncli fit {made.facts['model']} --config {config}")
