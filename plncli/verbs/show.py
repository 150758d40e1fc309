"""`show`: a finished fit at a glance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plncli import console, layout
from plncli.errors import UsageError, counted, short, some
from plncli.layout import Grid, Sheet
from plncli.models import MODELS
from plncli.models.spec import Spec
from plncli.names import TRAINED
from plncli.runs.scales import NATURAL, scale_of, with_scale

if TYPE_CHECKING:
    from plncli.runs.run import Run
    from plncli.verbs.tables import Destination


HUBS = 5
"""Features with the most edges that are told in a line."""


def show(run: str, top: int, scale: str, *, json: bool) -> int:
    """Read a run, and print what is seen of it at a glance."""
    from plncli.runs.overview import overview
    from plncli.runs.run import read_run
    from plncli.tables.writing import to_json

    if top < 0:
        raise UsageError(f"--top must be 0 or more, not {top}.")
    read = read_run(Path(run))
    found = overview(read, top, scale_of(read.spec, scale))
    console.out(to_json(found) if json else "\n".join(lines(found)))
    return 0


def coefficients(run: str, scale: str, to: Destination) -> int:
    """Read a run, and deliver the whole table of its coefficients."""
    from plncli.runs.run import read_run

    to.deliver(all_coefficients(read_run(Path(run)), scale))
    return 0


def all_coefficients(run: Run, scale: str) -> dict[str, Any]:
    """As coefficients.csv, by column, and on the scale beside."""
    from plncli.runs import folder

    return with_scale(folder.coefficient_columns(run), scale_of(run.spec, scale))


def model_words(spec: Spec, chosen: Mapping[str, Any]) -> str:
    """The model, the structure of its latent layer where that can be chosen, and its penalty if it has one."""
    told = {"covariance": spec.structure(chosen), **spec.told(chosen)}
    words = [setting.title(told.get(setting.name, "")) for setting in spec.settings]
    return ", ".join([spec.title, *filter(None, words)])


def lines(found: Mapping[str, Any]) -> list[str]:
    """An overview (`runs.overview`) for a reader."""
    return layout.lines(sheet(found), 10)


def line(found: Mapping[str, Any]) -> str:
    """An overview in a line."""
    spec = MODELS[found["model"]]
    trained = found["status"].replace("_", " ") if found["status"] in TRAINED else "not converged"
    ending = "converged" if found["converged"] else trained
    likelihood = f"{found['likelihood']} {_number(found[found['likelihood']], 2)}"
    warnings = [counted(len(found["warnings"]), "warning")] if found["warnings"] else []
    parts = [
        f"{model_words(spec, found)}: {short(found['formula'], 40)}",
        f"{counted(found['n_samples'], 'sample')} × {counted(found['n_features'], spec.noun)}",
        ending,
        likelihood,
        *warnings,
    ]
    return ", ".join(parts)


def sheet(found: Mapping[str, Any]) -> Sheet:
    """What is told of an overview."""
    from plncli.models.findings import Check, told

    spec = MODELS[found["model"]]
    noun = spec.noun
    size = f"{counted(found['n_samples'], 'sample')} × {counted(found['n_features'], noun)}"
    facts = [
        ("model", model_words(spec, found)),
        ("formula", found["formula"]),
        ("data", f"{size}, {counted(found['n_covariates'], 'coefficient')} each"),
        ("aliased", found["aliased"] and f"left empty: {some(found['aliased'])}"),
        ("chosen", "path" in found and choice(found["path"])),
        ("fit", _ending(found)),
        (
            found["likelihood"],
            f"{_number(found[found['likelihood']], 4)} with {found['n_parameters']} parameters"
            + ("; it is penalised, so there are no criteria" if spec.penalised(found) else ""),
        ),
        (
            "criteria",
            ", ".join(f"{name} {found[name]:.2f}" for name in spec.criteria if found[name] is not None),
        ),
        ("network", "hubs" in found and _network(found)),
        ("groups", _groups(found)),
        ("r2", found["r2"] and _number(found["r2"], 4)),
        ("errors", _errors(found)),
    ]
    facts += [] if "checks" in found else [("warning", sentence) for sentence in found["warnings"]]  # before checks
    tables = [*_path(found), *_coefficients(found, noun), *_links(found, noun), *_correlations(found, noun)]
    checks = told([Check.from_json(check) for check in found.get("checks", ())])
    return Sheet(found["run"], [(name, text) for name, text in facts if text], tables, checks)


def _number(value: float | None, digits: int) -> str:
    return "not finite" if value is None else f"{value:.{digits}f}"


def _ending(found: Mapping[str, Any]) -> str:
    how = (
        f"{found['optimizer']}, {counted(found['steps'], 'step')} in {found['fit_seconds']:.2f} s on {found['device']}"
    )
    if found["gap"] is None:
        return f"{found['status'].replace('_', ' ')} ({how}); how far from the optimum is not known"
    left = f"an estimated {found['gap']:.2g} nats below the optimum"
    if found["converged"]:
        return f"converged ({how}), {left}"
    return f"not converged, {found['status'].replace('_', ' ')} ({how}), {left}"


def _network(found: Mapping[str, Any]) -> str:
    """How many edges there are, and the features with the most of them."""
    told = f"{counted(found['edges'], 'edge')}, {100.0 * found['density']:.2g} % of all pairs"
    hubs = ", ".join(f"{short(one['feature'], 24)} {one['edges']}" for one in found["hubs"][:HUBS])
    return f"{told}; most: {hubs}" if hubs else told


def _groups(found: Mapping[str, Any]) -> str:
    """How well groups are told apart; nothing where that is not known."""
    accuracy, apparent = found.get("accuracy"), found.get("apparent_accuracy")
    if accuracy is None or apparent is None:
        return ""
    told = f"{100.0 * accuracy:.1f} % of {counted(int(found['held_out']), 'held-out sample')} assigned to theirs"
    return f"{told} (apparent: {100.0 * apparent:.1f} %)"


def _errors(found: Mapping[str, Any]) -> str:
    if found["se"] == "none":
        return "none"
    empty = f", none for {counted(found['without_std_error'], 'coefficient')}" if found["without_std_error"] else ""
    return f"{found['se']}, intervals at {found['level']:g}{empty}"


def choice(told: Mapping[str, Any]) -> str:
    """Which fit of a path (`PathRecord.told`) was chosen, how, and how far the next is behind."""
    setting, select, fits = told["setting"], told["select"], told["fits"]
    words = f"{setting} {told['chosen']}, the last of {counted(len(fits), 'fit')}"
    others = [row for row in fits if not row["chosen"] and row.get(select) is not None]
    chosen = next(row for row in fits if row["chosen"])
    column = "instability" if "instability" in fits[0] else select
    if chosen.get(column) is None:
        return words
    words = f"{setting} {told['chosen']} by {select}, of {counted(len(fits), 'fit')}"
    if column != select:
        return f"{words}; {chosen['edges']} edges have an instability of {chosen[column]:.3f}"
    if others:
        sign = -1.0 if select == "cv" else 1.0
        second = min(others, key=lambda row: sign * row[select])
        far, digits = abs(second[select] - chosen[select]), 4 if select == "cv" else 1
        words += f"; {setting} {second[setting]} is next, {far:.{digits}f} behind"
    if chosen is fits[-1] and len(fits) > 1:
        words += f"; no {'larger' if fits[0][setting] < chosen[setting] else 'smaller'} {setting} was tried"
    return words


def _path(found: Mapping[str, Any]) -> Iterator[Grid]:
    """The fits of a path, the one that is shown marked."""
    if "path" not in found:
        return
    setting, fits = found["path"]["setting"], found["path"]["fits"]
    criteria = [name for name in (*MODELS[found["model"]].criteria, "cv", "instability") if name in fits[0]]
    edges = ["edges"] if "edges" in fits[0] else []
    rows = [[setting, "", found["likelihood"], "parameters", *edges, *criteria, "r2"]]
    rows += [
        [
            str(row[setting]),
            "chosen" if row["chosen"] else "" if row["status"] == "converged" else row["status"].replace("_", " "),
            _number(row[found["likelihood"]], 2),
            str(row["n_parameters"]),
            *(str(row[name]) for name in edges),
            *(_number(row[name], 4 if name in ("cv", "instability") else 2) for name in criteria),
            _number(row["r2"], 4),
        ]
        for row in fits
    ]
    yield Grid("Fits of the path", rows, left=2)


def _coefficients(found: Mapping[str, Any], noun: str) -> Iterator[Grid]:
    if found["significant"]:
        rows = [[term, str(many)] for term, many in found["significant"].items()]
        yield Grid(f"q < 0.05, of {counted(found['n_features'], noun)}", rows, headless=True)
    if not found["coefficients"]:
        return
    scale = scale_of(MODELS[found["model"]], found["scale"])
    told = "" if scale.name == NATURAL else f", {scale.title}"
    value, low, high = scale.columns
    rows = [[noun, "term", value.replace("_", " "), "from", "to", "statistic", "q"]]
    rows += [
        [
            short(row["response"], 24),
            short(row["term"], 24),
            *(f"{row[name]:.4g}" for name in (value, low, high, "statistic")),
            f"{row['q_value']:.2g}",
        ]
        for row in found["coefficients"]
    ]
    level = f"{100 * found['level']:g} % intervals"
    yield Grid(f"Clearest coefficients, by |estimate / std_error| ({level}){told}", rows, left=2)


def _links(found: Mapping[str, Any], noun: str) -> Iterator[Grid]:
    if not found.get("links"):
        return
    rows = [[noun, noun, "partial correlation"]]
    rows += [
        [short(row["first"], 32), short(row["second"], 32), f"{row['partial_correlation']:.3f}"]
        for row in found["links"]
    ]
    yield Grid("Strongest edges", rows, left=2)


def _correlations(found: Mapping[str, Any], noun: str) -> Iterator[Grid]:
    if not found["correlations"]:
        return
    rows = [[noun, noun, "correlation"]]
    rows += [
        [short(row["first"], 32), short(row["second"], 32), f"{row['correlation']:.3f}"]
        for row in found["correlations"]
    ]
    yield Grid(f"Strongest {MODELS[found['model']].words.covariance} correlations", rows, left=2)
