"""What models declare that may have a neural mean: its settings, its symbols, and what does not go with it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from plncli.errors import UsageError
from plncli.models.spec import Setting, Size, Symbol
from plncli.models.words import StoryFacts
from plncli.names import MODEL

NONE = "none"
OPTIMIZERS = ("lbfgs", "adam", "rprop", "nadam", "radam", "adamax", "adagrad", "rmsprop", "sgd")
"""Those that can train; the first is the default, by `benchmarks.neural`."""
ERRORS = ("auto", "none")
NETWORK = "network_scale"
"""A symbol that tells whether there is one."""
LAYER = "network."
"""Begins the names of weights and biases, which are those of the module's own state: `network.0.weight`."""


def sizes(hidden: str) -> tuple[int, ...] | None:
    """Widths of the hidden layers; empty for none of them, None for what are no widths."""
    if hidden == NONE:
        return ()
    parts = [part.strip() for part in hidden.split(",")]
    if not all(part.isascii() and part.isdecimal() and len(part) < 6 and int(part) for part in parts):
        return None
    return tuple(map(int, parts))


def has_network(own: Mapping[str, Any]) -> bool:
    """Whether the mean is neural."""
    return own.get("hidden", NONE) != NONE


HIDDEN = Setting(
    "Hidden layers of a neural network in place of the linear predictor: their widths, such as 32,32. Its weights are "
    "trained with held-out samples as a watch; there are no coefficients, but a table of partial effects.",
    MODEL,
    name="hidden",
    default=NONE,
    metavar="WIDTHS",
    titles={NONE: "linear mean"},
    compared=True,
    told=True,
    null=NONE,
    check=lambda text: sizes(text) is not None,
    expects="widths of hidden layers, whole numbers from 1 with commas between, such as 32,32; or none",
)
WEIGHT_DECAY = Setting(
    "Penalty of the weights of --hidden: this times half the sum of their squares, in nats a sample.",
    MODEL,
    name="weight_decay",
    kind=float,
    default=1e-4,
    check=lambda value: 0.0 <= value < math.inf,
    expects="0 or a positive number",
)
VALIDATION = Setting(
    "Share of the samples that the weights of --hidden are not fitted to: training stops where their loss is lowest; "
    "0: none, training goes on until it stands still.",
    MODEL,
    name="validation",
    kind=float,
    default=0.2,
    check=lambda value: 0.0 <= value < 1.0,
    expects="a share from 0 up to, and without, 1",
)
SETTINGS = (HIDDEN, WEIGHT_DECAY, VALIDATION)
SYMBOLS = (
    Symbol("network_centre", ("term",), state=True, finite=True, optional=True),
    Symbol("network_scale", ("term",), state=True, finite=True, optional=True),
    Symbol("network_level", ("response",), state=True, finite=True, optional=True),
    Symbol("network_spread", ("response",), state=True, finite=True, optional=True),
)
TABLE = ("partial_effects", "of a neural mean: what it is, on average, where a column of the design has a value")
FACTS = (
    ("n_weights", "weights and biases of a neural mean"),
    ("n_held_out", "samples held out of its training"),
    ("held_out_loss", "their loss, in nats a sample, at the weights that were kept"),
    ("training_loss", "that of the others"),
)


def of_linear_mean(symbols: Sequence[Symbol]) -> tuple[Symbol, ...]:
    """The same of a model whose mean is never neural."""
    return tuple(
        replace(symbol, instead=tuple(name for name in symbol.instead if name != NETWORK))
        for symbol in symbols
        if symbol not in SYMBOLS
    )


def optimizers(own: Mapping[str, Any]) -> tuple[str, ...]:
    """The optimizers that suit, the default first; none: all do."""
    return OPTIMIZERS if has_network(own) else ()


def shares(own: Mapping[str, Any]) -> str:
    """What keeps samples from being shared among processes: a network, which autograd differentiates."""
    return "a neural mean" if has_network(own) else ""


def check(own: Mapping[str, Any]) -> None:
    """UsageError for what a neural mean cannot be with."""
    if not has_network(own):
        return
    told = f"--hidden {own['hidden']}"
    if own.get("se", "auto") not in ERRORS:
        raise UsageError(
            f"{told} leaves no coefficients, and so no standard errors: leave out --se {own['se']}. `plncli cv` tells "
            "how well it predicts."
        )
    others = {"posterior": "diagonal", "zero_inflation": "none", "penalty": "none"}
    for name, only in others.items():
        if own.get(name, only) != only:
            raise UsageError(
                f"{told} does not go with --{name.replace('_', '-')} {own[name]}: leave one of the two out."
            )


NO_WATCH = "No samples were held out, and training went on until it stood still"


def story(facts: StoryFacts) -> list[str]:
    """A neural mean in words."""
    widths = sizes(str(facts.own["hidden"])) or ()
    layers = " and ".join(filter(None, [", ".join(map(str, widths[:-1])), str(widths[-1])]))
    held = float(facts.own["validation"])
    watch = f"{100.0 * held:.3g} % of the samples were held out, and training stopped where their loss was lowest"
    return [
        f"The network has {'hidden layers' if len(widths) > 1 else 'a hidden layer'} of {layers} units, with ReLU "
        f"between linear maps. {watch if held else NO_WATCH}. What it has learnt is told by partial effects, for it "
        "has no coefficients, and nothing here says how certain they are."
    ]


def n_weights(inputs: int, hidden: Sequence[int], outputs: int) -> int:
    """How many weights and biases there are."""
    widths = (inputs, *hidden, outputs)
    return sum((before + 1) * after for before, after in pairwise(widths))


def memory(size: Size) -> float:
    """Numbers at the peak of a fit, beside those of its likelihood: activations, and L-BFGS's memory of the weights."""
    widths = sizes(size.own["hidden"]) or ()
    return 6.0 * size.n * (size.d + sum(widths) + size.p) + 110.0 * n_weights(size.d, widths, size.p)


def check_layers(shapes: Mapping[str, Sequence[int]], inputs: int, outputs: int) -> None:
    """ValueError unless tensors by name are the layers of a network of so many inputs and outputs, and no others."""
    layers = len(shapes) // 2
    expected: list[tuple[str, int]] = [(f"{LAYER}{2 * k}.{part}", k) for k in range(layers) for part in PARTS]
    if not layers or {name for name, _ in expected} != {*shapes}:
        raise ValueError("Layers of no network.")
    before = inputs
    for k in range(layers):
        weight, bias = (tuple(shapes[f"{LAYER}{2 * k}.{part}"]) for part in PARTS)
        if len(weight) != 2 or weight[1] != before or bias != weight[:1] or not weight[0]:
            raise ValueError("Layers that do not follow each other.")
        before = weight[0]
    if before != outputs:
        raise ValueError("A network of other responses.")


PARTS = ("weight", "bias")
