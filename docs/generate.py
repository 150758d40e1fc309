"""What the program declares of itself, as Markdown: options, files, and fields of JSON. `conf.py` calls it.

A page takes it in by `{include} generated/NAME.md`; nothing of it is kept in the repository, so nothing of it is old.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from plncli import cli
from plncli.cli.examples import EXAMPLES, VERBS
from plncli.models import MODELS
from plncli.runs.schema import published
from plncli.settings import settings

MOVED = "Tables that have moved since the fit"
"""The panel of options that say where a table of a fit is now."""
OF_FITS = ("fit", "validate", "cv")
"""Verbs that take the settings of a fit: their pages list only what else they take."""


def write(folder: Path) -> None:
    """Write a file for each verb, for the settings, the tables of a fit, and each schema."""
    folder.mkdir(parents=True, exist_ok=True)
    made = {f"{name}.md": page for name, page in texts()}
    for path in folder.iterdir():
        if path.name not in made:
            path.unlink()
    for name, text in made.items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def texts() -> Iterator[tuple[str, str]]:
    """Each by the name of its file, without suffix."""
    program: Any = cli.application()
    verbs = [(panel, program.commands[name]) for panel, names in VERBS.items() for name in names]
    rows = ((panel, f"`{verb.name}`", _summary(verb)) for panel, verb in verbs)
    yield "verbs", _table(("for", "command", "what it does"), rows)
    for _, verb in verbs:
        yield verb.name, _verb(verb)
    yield "settings", _settings(program.commands["fit"])
    yield "tables", _tables()
    for name in ("summary", "manifest"):
        yield name, _fields(json.loads(published(name)))


def _verb(verb: Any) -> str:
    """Usage, and a table of options by panel, of a verb; those of its models are told together."""
    forms = {**getattr(verb, "commands", {})} or {"": verb}
    known = set(settings()) if verb.name in OF_FITS else set()
    options: dict[str, tuple[Any, list[str]]] = {}
    for model, command in forms.items():
        for parameter in command.params:
            if parameter.name not in {*known, "help"} and not getattr(parameter, "hidden", False):
                options.setdefault(parameter.name, (parameter, []))[1].append(model)
    usage = f"plncli {verb.name} {'|'.join(forms)}".strip()
    words = [_metavar(p) for p, _ in options.values() if p.param_type_name == "argument"]
    lines = ["```none", " ".join([usage, *words, "[OPTIONS]"]), "```", ""]
    rows, moved = [], []
    for parameter, models in options.values():
        if getattr(parameter, "rich_help_panel", None) == MOVED:
            moved.append(_name(parameter))
        else:
            rows.append(_row(parameter, models if len(models) < len(forms) else [], parameter.default))
    if moved:
        rows.append((", ".join(moved), f"{MOVED}: where it is now.", ""))
    if rows:
        lines.append(_table(("option", "meaning", "default"), rows))
    named = [verb.name, *(f"{verb.name} {model}" for model in forms if model)]
    examples = [example for name in named for example in EXAMPLES.get(name, ())]
    if examples:
        lines += ["Examples, of its help:", "", "```none", *examples, "```", ""]
    return "\n".join(lines)


def _summary(verb: Any) -> str:
    return _cell((verb.help or verb.short_help or "").split("\n\n")[0])


def _metavar(parameter: Any) -> str:
    if getattr(parameter, "is_flag", False):
        return ""
    return parameter.metavar or parameter.name.upper()


def _name(parameter: Any, on: bool = False) -> str:
    if parameter.param_type_name == "argument":
        return f"`{_metavar(parameter)}`"
    names = sorted(parameter.opts, key=len, reverse=True)
    other = parameter.secondary_opts
    if other and on:
        names = other
    elif other and not other[0].startswith("--no-"):
        names += other
    return ", ".join(f"`{name} {_cell(_metavar(parameter), code=True)}`".replace(" `", "`") for name in names)


def _settings(fit: Any) -> str:
    """The settings of a fit by panel of the help: option, models, meaning, default."""
    found: dict[str, Any] = {}
    for parameter in (each for command in fit.commands.values() for each in command.params):
        found.setdefault(parameter.name, parameter)
    known = settings()
    lines: list[str] = []
    for panel in dict.fromkeys(setting.panel for setting in known.values()):
        rows = []
        for name, setting in known.items():
            if setting.panel == panel:
                models = [spec.name for spec in MODELS.values() if name in settings(spec.name)]
                rows.append(_row(found[name], models if len(models) < len(MODELS) else [], setting.default))
        lines += [f"### {panel}", "", _table(("option", "meaning", "default"), rows)]
    return "\n".join(lines)


def _row(parameter: Any, models: Iterable[str], default: Any) -> tuple[str, str, str]:
    on = default is True or parameter.default is True
    meaning, told = parameter.help or "", re.compile(r" ?\[(?:\w+: )?default: ([^\]]*)\]")
    only = f" ({', '.join(models)})" if models else ""
    if default in (None, "", ()) or isinstance(default, bool) or callable(default):
        default = ", ".join(told.findall(meaning))
    meaning = f"Switch off: {meaning[:1].lower()}{meaning[1:]}" if on else meaning
    return _name(parameter, on), _cell(told.sub("", meaning)) + only, _code(default)


def _code(default: Any) -> str:
    text = str(default)
    return f"`{text.removesuffix('.0')}`" if re.fullmatch(r"[\w.,-]+", text) else text


def _tables() -> str:
    """The tables that fits write, and what their rows and columns are."""
    rows: dict[str, tuple[str, str, list[str]]] = {}
    for spec in MODELS.values():
        for symbol in spec.symbols:
            if symbol.table:
                axes = " × ".join(f"{axis}s" for axis in symbol.axes).replace("response", spec.response.noun)
                rows.setdefault(symbol.table, (axes, symbol.meaning, []))[2].append(spec.name)
        for name, meaning in spec.further:
            rows.setdefault(name, ("", meaning, []))[2].append(spec.name)
    rows = {f"{name}.csv": row for name, row in rows.items()}
    for spec in MODELS.values():
        for name, meaning in spec.files:
            rows.setdefault(name, ("", meaning, []))[2].append(spec.name)
    cells = ((f"`{name}`", axes, _cell(meaning), ", ".join(of)) for name, (axes, meaning, of) in rows.items())
    return _table(("file", "rows × columns", "content", "models"), cells)


def _fields(schema: dict[str, Any]) -> str:
    rows = [
        (f"`{name}`", _type(content), _cell(content.get("description", "")))
        for name, content in schema["properties"].items()
    ]
    return _table(("field", "type", "meaning"), rows)


def _type(content: dict[str, Any]) -> str:
    if "enum" in content:
        return ", ".join(f"`{json.dumps(value).strip(chr(34))}`" for value in content["enum"])
    kinds = content.get("type", "")
    return ", ".join([kinds] if isinstance(kinds, str) else kinds)


def _cell(text: str, *, code: bool = False) -> str:
    """Text of a cell of a table, in which a bar would end it."""
    text = re.sub(r"\s+", " ", text).strip().replace("|", r"\|")
    return text if code else re.sub(r"(?<![`\w])(--[a-z][\w-]*)(?![^`]*`[^`]*$)", r"`\1`", text)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = [*head]
    lines = [head, ["---"] * len(head), *([*row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
