"""A finished fit as `model.safetensors` holds it: data only, no code, and all that verbs after `fit` ask of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save

from plncli.errors import DataError
from plncli.inference.hypotheses import Terms
from plncli.inputs.designs.aliasing import Aliased
from plncli.inputs.designs.record import aliased_of, offset_of, terms_of, zero_terms_of
from plncli.models import MODELS
from plncli.models.spec import CLASSES, Spec, Symbol
from plncli.names import COLUMNS, TRAINED
from plncli.runs import schema as schemas
from plncli.runs.soundness import FLOATS, check_frequencies, check_indices, check_limits, check_network, check_sketch
from plncli.settings import recorded

if TYPE_CHECKING:
    from torch import Tensor

    from plncli.models.fitted import Fitted

MODEL_FILE = "model.safetensors"
SCHEMA_VERSION = 1
SUM = "sha256"


class UnknownVersion(Exception):
    """A file is laid out as another version does."""


class Group(Mapping[str, np.ndarray]):
    """The tensors `PREFIX.NAME` of a model file by name, each read when it is asked for; some must be finite."""

    def __init__(self, path: Path, prefix: str, names: Iterable[str], finite: Container[str] = ()) -> None:
        self._path, self._prefix, self._finite = path, f"{prefix}.", finite
        self._names = tuple(name.removeprefix(self._prefix) for name in names if name.startswith(self._prefix))

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._names:
            raise KeyError(name)
        with safe_open(self._path, framework="numpy") as file:
            array = file.get_tensor(self._prefix + name)
        if name in self._finite and not np.isfinite(array).all():
            raise DataError(f"`{self._path}` is damaged: {name} holds what is no finite number. Fit again.")
        return array

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


@dataclass(frozen=True)
class Run:
    """A finished fit, read from `place`, which is the folder or the model file as the user named it, or its name.

    summary: as in summary.json, without p×p tables; design: the encoding of the formula (see
    `inputs.designs.design.Design.from_json`); classes: (zero, one) labels of each response, where these are classes;
    fingerprint: see `fingerprint`. features: what the file of counts says of the responses: a text (None where it says
    nothing) for each, by name of the fact, such as `taxonomy`; empty where it says nothing at all.
    estimates: by symbol, B (d×p), Sigma (p×p), M (n×p) and others; state: what prediction and a warm start need
    besides; inference: std_error, statistic, p_value, q_value, conf_low, conf_high (d×p), blocks (p×d×d: covariance
    of each response's coefficients) and df, without standard errors empty; sketch: {"X": ...}, see `sketch`.
    """

    place: Path
    model: str
    settings: dict[str, Any] = field(repr=False)
    design: dict[str, Any] = field(repr=False)
    classes: Any = field(repr=False)
    samples: tuple[str, ...] = field(repr=False)
    terms: tuple[str, ...]
    responses: tuple[str, ...] = field(repr=False)
    versions: dict[str, str] = field(repr=False)
    estimates: Mapping[str, np.ndarray] = field(repr=False)
    state: Mapping[str, np.ndarray] = field(repr=False)
    inference: Mapping[str, np.ndarray] = field(repr=False)
    sketch: Mapping[str, np.ndarray] = field(repr=False)
    summary: dict[str, Any] = field(repr=False)
    fingerprint: dict[str, str] = field(repr=False)
    features: dict[str, tuple[str | None, ...]] = field(repr=False, default_factory=dict)

    @property
    def path(self) -> Path:
        """The model file."""
        return _model_file(self.place)

    @property
    def formula(self) -> str:
        """As it was given."""
        return str(self.design["formula"]["text"])

    @property
    def likelihood(self) -> tuple[str, Any]:
        """`elbo` or `loglik`, and its value in nats (None where it is not finite)."""
        return self.spec.likelihood, self.summary[self.spec.likelihood]

    @property
    def spec(self) -> Spec:
        """What the model declares."""
        return MODELS[self.model]

    @property
    def fitted(self) -> Fitted:
        """What the fit answers: predictions, draws, scores, whatever its model can."""
        from plncli.models.fitted import fitted_of

        known = (self.estimates, self.state, self.inference, self.zero_terms)
        return fitted_of(self.spec, self.terms, self.responses, *known)

    @property
    def done(self) -> bool:
        """Whether the fit ended as it was meant to: converged, or trained, where no certificate can judge."""
        return bool(self.summary["converged"]) or self.summary["status"] in TRAINED

    @property
    def has_coefficients(self) -> bool:
        """Whether the mean is linear."""
        return "B" in self.estimates

    @property
    def coefficient_table(self) -> np.ndarray:
        """B, d×p; DataError where the mean is not linear."""
        if not self.has_coefficients:
            raise DataError(
                f"{self.place} has a neural mean (--hidden), and so no coefficients. Its partial effects are in "
                "partial_effects, and `plncli plot RUN partial` draws them."
            )
        return self.estimates["B"]

    @property
    def components(self) -> tuple[str, ...]:
        """Names of the components, `PC1` and so on; none where the model has no such."""
        return tuple(f"PC{k + 1}" for k in range(self._number("component")))

    @property
    def clusters(self) -> tuple[str, ...]:
        """Names of the clusters, their numbers; none where the model has no such."""
        return tuple(str(k + 1) for k in range(self._number("cluster")))

    @property
    def n_groups(self) -> int:
        """How many groups there are estimates of their own of; 0 where there are none."""
        return self._number("group")

    def _number(self, axis: str) -> int:
        """How many there are of what an estimate has one of each for."""
        each = (symbol.name for symbol in self.spec.symbols if symbol.axes[:1] == (axis,))
        return next((len(self.estimates[name]) for name in each if name in self.estimates), 0)

    @property
    def aliased(self) -> tuple[tuple[int, str], ...]:
        """Coefficients that were left empty, for they follow from others: places among all of them, and names."""
        return aliased_of(self.design)

    @property
    def zero_terms(self) -> tuple[str, ...]:
        """Columns of the design of structural zeros; none where their probabilities depend on no covariates."""
        return zero_terms_of(self.design)

    @property
    def coefficients(self) -> Terms:
        """The coefficients by name, by term of the formula, and the levels of its factors."""
        return terms_of(self.design, self.terms)

    @property
    def offset(self) -> str:
        """How the offset was given: see `offset_of`."""
        return offset_of(self.settings, self.design)


GROUPS = ("estimates", "state", "inference", "sketch")


def made_run(name: str, facts: Mapping[str, Any], groups: Mapping[str, Mapping[str, Tensor]]) -> Run:
    """The run that `read_run` would read from the file that `pack` makes of the same."""
    arrays: dict[str, Any] = {
        group: {name: _array(tensor) for name, tensor in groups.get(group, {}).items()} for group in GROUPS
    }
    return Run(place=Path(name), **_axes(json.loads(json.dumps(facts))), **arrays)


def pack(facts: Mapping[str, Any], groups: Mapping[str, Mapping[str, Tensor]]) -> bytes:
    """A model file: tensors as `GROUP.NAME` (`GROUPS`), and facts, by field of a `Run`, as JSON beside them."""
    arrays = {
        f"{group}.{name}": _array(tensor) for group, members in groups.items() for name, tensor in members.items()
    }
    texts = {key: json.dumps(value) for key, value in {"schema_version": SCHEMA_VERSION, **facts}.items()}
    shapes = {name: array.shape for name, array in arrays.items()}
    return save(arrays, {**texts, SUM: _sum(texts, shapes)})


def _sum(texts: Mapping[str, str], shapes: Mapping[str, Iterable[int]]) -> str:
    """SHA-256 of the facts, as they are written, and of which tensors there are; not of what these hold."""
    listed = sorted([name, *shape] for name, shape in shapes.items())
    return hashlib.sha256(json.dumps([sorted(texts.items()), listed]).encode()).hexdigest()


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().contiguous().numpy()


def _axes(facts: dict[str, Any]) -> dict[str, Any]:
    """Facts as JSON gives them, with names as tuples."""
    features = {name: tuple(texts) for name, texts in facts.get("features", {}).items()}
    return facts | {axis: tuple(facts[axis]) for axis in ("samples", "terms", "responses")} | {"features": features}


def read_run(place: Path) -> Run:
    """The run of a folder, or of the model file in it. DataError when it is none, or damaged."""
    path = _model_file(place)
    if not path.is_file():
        if not place.exists():
            raise DataError(f"`{place}` does not exist. Give the folder that `plncli fit` wrote.")
        raise DataError(f"`{place}` is not the folder of a fit: it has no {MODEL_FILE}.")
    try:
        with safe_open(path, framework="numpy") as file:
            texts = dict(file.metadata())
            tensors = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
            shapes = {name: tuple(tensor.get_shape()) for name, tensor in tensors.items()}
            kinds = {name: tensor.get_dtype() for name, tensor in tensors.items()}
        written = texts.pop(SUM, None)
        if written not in (None, _sum(texts, shapes)):  # None: of an earlier version
            raise ValueError("The facts are not those that were written.")
        facts = {key: json.loads(text) for key, text in texts.items()}
        if facts.pop("schema_version") != SCHEMA_VERSION:
            raise UnknownVersion
        schemas.check(facts, "model")
        finite = {symbol.name for symbol in MODELS[facts["model"]].symbols if symbol.finite}
        finite |= {name.removeprefix("state.") for name in shapes if name.startswith("state.network")}
        groups: dict[str, Any] = {group: Group(path, group, shapes, finite) for group in GROUPS}
        run = Run(place=place, **_axes(facts), **groups)
        _check(run, shapes, kinds)
    except UnknownVersion:
        raise DataError(f"`{path}` was written by another version of plncli; fit again with this one.") from None
    except Exception as error:  # safetensors raises its own class, and json and attributes theirs
        reason = str(error) if isinstance(error, OSError) else "its content is not that of a model file"
        raise DataError(f"`{path}` is damaged, or was not written by plncli: {reason}.") from error
    return run


def _check(run: Run, shapes: Mapping[str, tuple[int, ...]], kinds: Mapping[str, str]) -> None:
    """ValueError or DataError where facts are of the wrong kind, or tensors of another shape or type than they say."""
    n, p, d = len(run.samples), len(run.responses), len(run.terms)
    for names in (run.samples, run.responses, run.terms):
        if len(set(names)) < len(names):
            raise ValueError("Names that are not unique.")
    recorded(run.model, run.settings, run.path)
    if any(run.settings.get(own.name, own.default) is None for own in run.spec.settings if own.default is not None):
        raise ValueError("A setting without a value.")
    _check_design(run)
    _check_summary(run)
    if any(len(texts) != p for texts in run.features.values()):
        raise ValueError("What is said of other responses.")
    if run.spec.response is CLASSES and len(run.classes or ()) not in (0, p):
        raise ValueError("Classes of other responses.")
    c = len(run.zero_terms)
    sizes = {"sample": n, "response": p, "term": d, "zero_term": c}
    sizes |= {"component": len(run.components), "cluster": len(run.clusters), "group": run.n_groups}
    sizes |= {
        axis: shapes.get(f"state.frequency_{of}", (0,))[0] for axis, of in (("value", "values"), ("pair", "first"))
    }
    expected: dict[str, tuple[int, ...]] = {
        "inference.df": (),
        "inference.blocks": (p, d, d),
        "state.courses_T": (d, d),
        "state.zero_courses_T": (c, c),
    }
    for symbol in (symbol for symbol in run.spec.symbols if not symbol.indices):
        names = (_place(symbol), *(f"inference.{symbol.name}_{part}" for part in ("se", "low", "high")))
        expected |= dict.fromkeys(names, tuple(sizes[axis] for axis in symbol.axes))
    expected |= dict.fromkeys((f"inference.{name}" for name in COLUMNS), (d, p))
    there = {name.partition(".")[2] for name in shapes}
    held = {
        f"{'state' if symbol.state else 'estimates'}.{symbol.name}"
        for symbol in run.spec.symbols
        if not symbol.optional and not (symbol.instead and {*symbol.instead} <= there)
    }
    if not {"sketch.X", *held} <= {*shapes}:
        raise ValueError("Not all tensors of the model.")
    for name, shape in expected.items():
        if name in shapes and (shapes[name] != shape or kinds[name] not in FLOATS):
            raise ValueError(f"{name} is of another shape or type.")
    present = {name.removeprefix("inference.") for name in shapes if name.startswith("inference.")}
    if present and not {*COLUMNS, "blocks", "df"} <= present:
        raise ValueError("Standard errors without all that follows from them.")
    if not run.has_coefficients:
        check_network(run.state, shapes, kinds, d, p)
    check_sketch("sketch.X", shapes, kinds, n, d)
    if "sketch.X0" in shapes:
        check_sketch("sketch.X0", shapes, kinds, n, c)
    for begin, columns in (("", d), ("zero_", c)):
        check_limits(begin, run.state, shapes, kinds, columns, p)
    for symbol in run.spec.symbols:
        group = run.state if symbol.state else run.estimates
        if symbol.indices and symbol.name in group:
            check_indices(group[symbol.name], 0, p)
    check_frequencies(run.state)


def _place(symbol: Symbol) -> str:
    """The name of a symbol's tensor in the file."""
    return f"{'state' if symbol.state else 'estimates'}.{symbol.name}"


def _check_design(run: Run) -> None:
    """ValueError unless the design has the terms of the run; whether it can be built, is found where it is."""
    d, x = len(run.terms), run.design["x"]
    if (("Intercept",) if x is None else tuple(x["terms"])) != tuple(run.terms):
        raise ValueError("A design of other terms.")
    zeros = run.design.get("zeros")
    _check_parts(run.design)
    if zeros is not None:
        _check_parts(zeros)
    known = run.coefficients
    if any(k >= d for places in known.groups.values() for k in places):
        raise ValueError("Terms that are not there.")
    learnt = run.design.get("size_factors")
    if learnt is not None:
        _check_size_factors(learnt, len(run.responses))


def _check_parts(design: Mapping[str, Any]) -> None:
    """ValueError unless the encodings of a design are sound."""
    for part in filter(None, (design["x"], design["offset"])):
        columns = part["state"].get("columns", {}).values()
        if any(not 0 <= k < len(part["terms"]) for places in columns for k in places):
            raise ValueError("Columns that are not there.")
        if part.get("aliased"):
            Aliased.from_json(part["aliased"], len(part["terms"]))
        if not {*part["columns"]} <= {*design["formula"]["columns"]}:
            raise ValueError("Columns that the formula does not name.")


def _check_size_factors(learnt: Mapping[str, Any], p: int) -> None:
    """ValueError unless what a method has learnt of size factors fits its blocks (see `SizeFactors`)."""
    block, blocks, references = learnt["block"], learnt["blocks"], learnt["references"]
    if len(block) != len(learnt.get("features") or range(p)) or not {*block} <= {*range(len(blocks))}:
        raise ValueError("Size factors of other features.")
    if references is None:
        return
    sizes = [len(one) for one in references]
    by_feature = learnt["method"] not in ("total", "css")
    if len(sizes) != len(blocks) or (by_feature and sizes != [block.count(b) for b in range(len(blocks))]):
        raise ValueError("Size factors of other blocks.")
    if len(learnt.get("shifts") or ()) != len(blocks):
        raise ValueError("Size factors of other blocks.")
    if learnt["method"] == "css" and any(len(one) != 1 for one in references):
        raise ValueError("Size factors without a quantile.")


def _check_summary(run: Run) -> None:
    """ValueError where the summary is not what its schema says, or is of another fit."""
    schemas.check(run.summary, "summary")
    n, sizes = len(run.samples), [run.summary[f"n_{what}"] for what in ("samples", "features", "covariates")]
    if sizes != [n or sizes[0], len(run.responses), len(run.terms)] or run.summary["model"] != run.model:
        raise ValueError("The summary of another fit.")
    if run.inference and run.summary["level"] is None:
        raise ValueError("Intervals of no level.")
    structured = run.spec.setting("covariance") is not None
    if (run.summary["covariance"] is not None) != structured or run.spec.likelihood not in run.summary:
        raise ValueError("The summary of another model.")


def _model_file(place: Path) -> Path:
    return place / MODEL_FILE if place.is_dir() else place
