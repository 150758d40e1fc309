"""A fit before it begins: its tables, its model, where it starts, and whether memory takes it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from plncli import ranks
from plncli import settings as configuration
from plncli.console import Console
from plncli.names import RESAMPLING
from plncli.settings import FitConfig

if TYPE_CHECKING:
    from plncli.dataset import Dataset
    from plncli.evaluation.memory import Planned
    from plncli.inputs.loading import Inputs
    from plncli.models.base import Init, Model
    from plncli.models.findings import Finding
    from plncli.runs.run import Run
    from plncli.runtime import Runtime


def named_tables(config: FitConfig) -> list[str]:
    """The tables that a configuration names, as a user calls them."""
    known = configuration.settings(config.model)
    paths = [config.value(name) for name, setting in known.items() if setting.path == "file"]
    named = ["standard input" if path == "-" else path for path in paths if path and path != configuration.FRAME]
    return named or ["data frames"]


def model_of(config: FitConfig, read: Inputs | None) -> Model[Any]:
    """The model that the configuration names, with its settings; the last of a path."""
    return config.spec.load_model().of({**config.members()[-1].own, "seed": config.seed}, read.matrices if read else {})


def planned(config: FitConfig, data: Dataset, where: Runtime, se: str = "none", resamples: int = 0) -> Planned:
    """What the memory of a fit depends on; of the last of a path."""
    from plncli.dataset import Stored
    from plncli.evaluation.memory import Planned
    from plncli.models.spec import Size

    group = ranks.known()
    n = data.n if group is None else -(-data.n // group.number)
    size = Size(n, data.p, data.d, config.optimizer, config.members()[-1].own, se)
    block = data.source.rows if isinstance(data, Stored) and data.source else None
    return Planned(config.spec, size, where.dtype_name, resamples, block)


def check_memory(config: FitConfig, read: Inputs, where: Runtime) -> tuple[Planned, int, str | Finding]:
    """What the memory of the fit depends on; how many such fits may run at once; and the standard errors.

    Refused where it is not there; where it is there but for standard errors that nobody asked for, they are left out.
    """
    from plncli import runtime
    from plncli.evaluation import memory
    from plncli.models.findings import Finding

    resamples = dict(zip(RESAMPLING, (config.resamples, read.data.n_clusters), strict=True)).get(config.se, 0)
    fit = planned(config, read.data, where, config.se, resamples)
    free = runtime.free_memory(where.device)
    method: str | Finding = config.se
    with ranks.together():
        short = ranks.agreed(free is not None and fit.needs() > free)
    if config.se == "auto" and free is not None and short:
        needed, fit = fit, fit.without_errors()
        others = [f"fit with {words}, or " for words, size in fit.spec.smaller(fit.size) if size.own != fit.size.own]
        method = Finding(
            "no-standard-errors",
            f"No standard errors, for they need about {memory.in_words(needed.needs())} of memory, and "
            f"{memory.in_words(free)} were free; {''.join(others[:1])}use --se bootstrap.",
        )
    memory.check(fit, free, where.device_name)
    return fit, memory.workers(fit, free, config.workers, runtime.ALL_THREADS), method


def memory_told(fit: Planned, where: Runtime) -> str:
    """How much memory the fit takes, as a sentence."""
    from plncli import runtime
    from plncli.evaluation import memory

    free = runtime.free_memory(where.device)
    known = "" if free is None else f"; {memory.in_words(free)} are free on {where.device_name}"
    return f"The fit would need about {memory.in_words(fit.needs())} of memory beside its data{known}."


def init_of(config: FitConfig, read: Inputs, say: Console, earlier: Run | None) -> Init | None:
    """The estimates that --init names."""
    if not config.init:
        return None
    from plncli.runs.run import read_run
    from plncli.runs.warm_start import initial

    init, told = initial(earlier or read_run(Path(config.init)), config.model, read.data)
    say.note(told)
    return init
