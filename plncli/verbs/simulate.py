"""`simulate`: tables of which the truth is known, from a design or from the parameters of a fit."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plncli import console
from plncli.console import Console
from plncli.errors import UsageError, counted, nearest
from plncli.models import MODELS
from plncli.names import DRAWN_COVARIANCES, TABLE_FORMATS
from plncli.verbs.predict import beyond_sense

if TYPE_CHECKING:
    from torch import Generator

    from plncli.runs.new_data import Sources
    from plncli.runs.run import Run
    from plncli.runs.training_data import Origin
    from plncli.simulation.truth import Outcome, Truth
    from plncli.tables.table import Table


def simulate(
    model: str | None,
    run: str | None,
    n: int | None,
    given: Mapping[str, Any],
    tables: Mapping[str, Any],
    match: str,
    seed: int,
    say: Console,
    *,
    out: str,
    overwrite: bool,
    format: str,
    latent: bool,
    json: bool,
) -> int:
    """Draw tables of a design (given), or with the parameters of a run, and write their folder.

    given: settings of a recipe, tables: the covariates and the exposure of new samples; None for those that are not
    given.
    """
    given, of_new = ({name: value for name, value in each.items() if value is not None} for each in (given, tables))
    _check(model, run, given, format, of_new | ({} if match == "name" else {"match": match}))

    from plncli.runs.new_data import Sources
    from plncli.runs.training_data import read_again
    from plncli.runtime import memory_guard
    from plncli.simulation import folder
    from plncli.tables.target import check_target
    from plncli.tables.writing import to_json

    check_target(Path(out), overwrite, folder.WRITTEN)
    source = None if run is None else _read(run, model)
    with memory_guard():
        if source is None:
            made = invented(model or next(iter(MODELS)), n, given, seed)
        else:
            new = Sources(of_new.get("covariates"), exposure=of_new.get("exposure"), match=match) if of_new else None
            made = resampled(source, n, new, seed, read_again)
        folder.write(Path(out), made, format, latent=latent, overwrite=overwrite)
    for sentence in () if source is None else beyond_sense(source):
        say.warn(sentence)
    _report(say, made, Path(out))
    if json:
        console.out(to_json(made.facts))
    return 0


def invented(model: str, n: int | None, given: Mapping[str, Any], seed: int, sigma: Table | None = None) -> Outcome:
    """Tables of a design: see `design.recipe` and `design.invent`."""
    from plncli.simulation import design

    recipe = design.recipe(model, n, given)
    p = len(sigma.columns) if sigma else recipe.p
    _check_memory(recipe.n, p, recipe.numeric + max(recipe.levels, 1), MODELS[model].has("Sigma"))
    return _drawn(lambda generator: design.invent(recipe, generator, sigma), seed)


def resampled(run: Run, n: int | None, new: Sources | None, seed: int, own: Callable[[Run], Origin]) -> Outcome:
    """Tables with the parameters of a run: see `resampling.resample`."""
    from plncli.simulation import resampling

    if n is not None:
        _check_memory(n, len(run.responses), len(run.terms), "Sigma" in run.estimates)
    return _drawn(lambda generator: resampling.resample(run, generator, n=n, new=new, own=own), seed)


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
    from plncli.simulation.truth import draw

    torch.set_num_threads(1)  # how a product is split over threads changes its last digits
    generator = torch.Generator().manual_seed(seed)
    return draw(truth(generator), generator, {"seed": seed, "versions": runtime.versions()})


def _check(model: str | None, run: str | None, given: dict[str, Any], format: str, of_run: Mapping[str, Any]) -> None:
    """Refuse what does not go together, and names that are none."""
    named = (("MODEL", model, tuple(MODELS)), ("--format", format, TABLE_FORMATS))
    for flag, value, known in (*named, ("--covariance", given.get("covariance"), DRAWN_COVARIANCES)):
        if value is not None and value not in known:
            raise UsageError(f"{flag} must be one of {', '.join(known)}, not `{value}`.{nearest(value, known)}")
    if run is not None and given:
        flag = "--" + next(iter(given)).replace("_", "-")
        raise UsageError(f"{flag} is for a design of your choice; with --from RUN, the run gives the parameters.")
    if run is None:
        for name in of_run:
            raise UsageError(f"--{name} needs --from RUN: a design of your choice comes with its own.")


def _read(place: str, model: str | None) -> Run:
    from plncli.runs.run import read_run

    run = read_run(Path(place))
    if model not in (None, run.model):
        raise UsageError(f"{place} is a fit of the model {run.model}, not {model}; leave {model} out.")
    return run


def size(facts: Mapping[str, Any]) -> str:
    """What was simulated, in a line."""
    noun = MODELS[facts["model"]].noun
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
