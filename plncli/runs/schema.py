"""JSON that others may have written, held to the schemas that plncli publishes."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from plncli.errors import DataError
from plncli.models import MODELS

TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "null": (type(None),),
    "integer": (int,),
    "number": (int, float),
}


@cache
def schema(name: str) -> Mapping[str, Any]:
    """The schema of summary.json, of manifest.json, or (`model`) of the facts in a model file."""
    content = json.loads((files("plncli.runs") / "schemas" / f"{name}.json").read_text(encoding="utf-8"))
    if name in ("summary", "model"):
        content["properties"]["model"]["enum"] = list(MODELS)
    if name == "summary":
        _complete(content["properties"])
    return content


def _complete(properties: dict[str, Any]) -> None:
    """Add what models declare: structures, which of them tell a bound, and symbols that the summary reports."""
    structures = [setting for spec in MODELS.values() if (setting := spec.setting("covariance"))]
    properties["covariance"]["enum"] = [*dict.fromkeys(c for one in structures for c in one.choices), None]
    for likelihood in ("elbo", "loglik"):
        told = properties[likelihood]["description"]
        names = ", ".join(spec.name for spec in MODELS.values() if spec.likelihood == likelihood)
        properties[likelihood]["description"] = f"{names}: {told[0].lower()}{told[1:]}"
    for spec in MODELS.values():
        for setting in spec.settings:
            if setting.penalised:
                told = "the penalty that is part of the likelihood; not there without one."
                properties[setting.name] = {"description": f"{spec.name}: {told}", "enum": list(setting.penalised)}
            elif setting.told:
                told = f"--{setting.name.replace('_', '-')}, not there where it is {setting.default}."
                offered = (False, True) if setting.kind is bool else setting.choices
                chosen = [value for value in offered if value != setting.default]
                kind = {"type": "string"} if setting.formula or not offered else {"enum": chosen}
                listed = f" One of {', '.join(map(str, chosen))}, or a formula." if setting.formula else ""
                names = _having(setting.name)
                properties[setting.name] = {"description": f"{names}: {told}{listed}", **kind}
        for name, meaning in spec.facts:
            names = _having(name)
            properties[name] = {"description": f"{names}: {meaning}.", "type": ["number", "null"]}
        for symbol in spec.symbols:
            if symbol.reported:
                properties[symbol.reported] = {"description": f"{spec.name}: {symbol.meaning}.", "type": "object"}


def _having(name: str) -> str:
    """The models that have a setting, or tell a fact, of that name."""
    return ", ".join(spec.name for spec in MODELS.values() if spec.setting(name) or name in dict(spec.facts))


def published(name: str) -> str:
    """The schema of that name as JSON."""
    return json.dumps(schema(name), indent=2, ensure_ascii=False) + "\n"


def check(content: Any, name: str) -> None:
    """ValueError, saying where, unless the content is as the schema of that name says."""
    fault = next(_faults(content, schema(name), name), None)
    if fault is not None:
        raise ValueError(fault)


def read(path: Path, name: str) -> Any:
    """What a file of JSON holds. DataError where it cannot be read, or is not as the schema of that name says."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        check(content, name)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is damaged, or was not written by plncli: {error}.") from None
    return content


def _faults(content: Any, known: Mapping[str, Any], place: str) -> Iterator[str]:
    """What is not as the keywords of JSON Schema say that our schemas use."""
    kinds = known.get("type", ())
    if kinds and not any(_is(content, kind) for kind in ([kinds] if isinstance(kinds, str) else kinds)):
        yield f"{place} is of another type"
        return
    if "const" in known and (type(content) is not type(known["const"]) or content != known["const"]):
        yield f"{place} is another"
    if "enum" in known and not any(type(content) is type(one) and content == one for one in known["enum"]):
        yield f"{place} is none of those that there are"
    if _is(content, "number") and not known.get("minimum", content) <= content <= known.get("maximum", content):
        yield f"{place} is too small or too large"
    if isinstance(content, str) and not re.search(known.get("pattern", ""), content):
        yield f"{place} is no such text"
    if "oneOf" in known and sum(not any(_faults(content, one, place)) for one in known["oneOf"]) != 1:
        yield f"{place} lacks a part"
    if isinstance(content, dict):
        yield from _of_object(content, known, place)
    if isinstance(content, list):
        yield from _of_array(content, known, place)


def _is(content: Any, kind: str) -> bool:
    """Whether a value is of a type: a truth value is no number, nor is nan, which JSON cannot hold, or 10^30."""
    if isinstance(content, bool):
        return kind == "boolean"
    if isinstance(content, float) and not math.isfinite(content):
        return False
    return isinstance(content, TYPES[kind]) and not (isinstance(content, int) and content.bit_length() > 63)


def _of_object(content: Mapping[str, Any], known: Mapping[str, Any], place: str) -> Iterator[str]:
    properties, others = known.get("properties", {}), known.get("additionalProperties")
    for name in known.get("required", ()):
        if name not in content:
            yield f"{place} has no {name}"
    for name, value in content.items():
        inner = properties.get(name, others)
        if inner is not None:
            yield from _faults(value, inner, f"{place}.{name}")


def _of_array(content: list[Any], known: Mapping[str, Any], place: str) -> Iterator[str]:
    if not known.get("minItems", 0) <= len(content) <= known.get("maxItems", len(content)):
        yield f"{place} is of another length"
    first = known.get("prefixItems", ())
    for k, value in enumerate(content):
        inner = first[k] if k < len(first) else known.get("items")
        if inner is not None:
            yield from _faults(value, inner, f"{place}[{k}]")
