"""What a model declares, known without loading torch: from it follow its command, options, files, schema and words.

A model is a `Spec`, an objective (`models.base.Model`), and what a finished fit of it can answer (`models.fitted`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from plncli.models.words import Words
from plncli.names import CRITERIA, OF_PATH, OUTPUT, PLOTS, RESAMPLING, RUNTIME


@dataclass(frozen=True)
class Response:
    """A kind of response: what is explained, where it is given, and what a column of it is called.

    option: of the table it is given by; required: whether that table must be given (else a column of the covariates
    will do); noun: of a column; whole: whether its entries are whole numbers; null: what leaves a column without
    information.
    """

    name: str
    option: str
    noun: str
    required: bool
    whole: bool
    null: str


COUNTS = Response("counts", "counts", "feature", required=True, whole=True, null="no count")
CLASSES = Response("classes", "response", "response", required=False, whole=True, null="a single value")
NUMBERS = Response("numbers", "response", "response", required=False, whole=False, null="a single value")


FORMULA = "~"
"""What a formula begins with."""


@dataclass(frozen=True)
class Setting:
    """A setting: option, key of a configuration file, environment variable and Python argument in one.

    name: with underscores; kind: of its value when it is set (str, bool, int, float, or tuple
    for one that may be given several times); default: None when unset.
    panel: of the help; choices: its values, none where it is free, and titles: what they are called in reports.
    offered: those of the choices that a model has, all without it. path: `file`, `folder`, or `maybe` (a file if there
    is one of that name). responses: names of the kinds of responses that it is for, all where there are none; latent:
    whether it is only for models with a latent layer. matrix: it names a table, p×p, that the model is handed as a
    tensor: a `precision`, or `weights`. several: it may be given several values, along which `fit` fits a path of
    models; of kind float, also how many, and then the data tell which. compared:
    cross-validation compares its values when several are given; null: that of its null model, which has no covariates.
    within: the values whose models a value contains, for likelihood-ratio tests; penalised: the values with which a
    penalty that depends on the design is part of the likelihood, so that it compares with no other. formula: beside
    its choices it may be a formula of the covariates, which begins with `~`, and stands for one in `within` and
    `titles` (`FORMULA`). boundary: values
    whose model holds others at the edge of what their parameters may be, and how many such parameters there are: `all`
    (one), or one a `response` or `sample`. chooses: with it data tell which parameters there are, so that no fit holds
    another. told: summaries tell it where it is not the default. grouping: `column` where it names a column of the
    covariates whose labels are groups, each with a coefficient of its own in the place of the intercept, without
    standing in the formula; `coefficients` where it gives each of them coefficients of all else of its own, too.
    """

    help: str
    panel: str
    name: str = ""
    kind: type = str
    default: Any = None
    metavar: str = ""
    choices: tuple[str, ...] = ()
    titles: Mapping[str, str] = field(default_factory=dict)
    offered: Callable[[Spec], tuple[str, ...]] | None = None
    path: str = ""
    responses: tuple[str, ...] = ()
    latent: bool = False
    matrix: str = ""
    compared: bool = False
    several: bool = False
    formula: bool = False
    within: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    penalised: tuple[str, ...] = ()
    boundary: Mapping[str, str] = field(default_factory=dict)
    chooses: bool = False
    told: bool = False
    grouping: str = ""
    null: Any = None
    check: Callable[[Any], bool] | None = None
    expects: str = ""

    def is_formula(self, value: Any) -> bool:
        """Whether a value is a formula of the covariates."""
        return self.formula and isinstance(value, str) and value.startswith(FORMULA)

    def kind_of(self, value: Any) -> str:
        """The value, or FORMULA for all formulas."""
        return FORMULA if self.is_formula(value) else str(value)

    def title(self, value: Any) -> str:
        """What a value is called in reports; nothing where it has no name of its own."""
        title = self.titles.get(self.kind_of(value), "")
        if self.told and value and not (title or self.choices):
            return f"{self.name.replace('_', ' ')} {value}"
        return f"{title} {value}" if self.is_formula(value) else title

    def of(self, spec: Spec) -> bool:
        """Whether models of this kind have the setting."""
        return (not self.responses or spec.response.name in self.responses) and (spec.latent or not self.latent)


@dataclass(frozen=True)
class Symbol:
    """A quantity that a fit leaves, by its letter: an entry of `estimates`, or of `state` where that is said.

    axes: of the tensor: sample, response, term, or `responses` for a list of indices of responses. table: name of its
    file, none where it is kept in the model file alone. free: estimated as it is, without constraint; the parameters
    of a model that has no others. finite: holds finite numbers only; elsewhere ±inf and nan have a meaning, which the
    model states. asked: its table, of a latent layer, is written only where --latent asks for it. optional: not every
    fit has it; instead: symbols that may stand for it. state: prediction or a warm start need it beside the estimates.
    start: a fit may start from it, although it is square (`models.base.INIT`).
    reported: its key in summary.json, for one that is told there too. meaning: a phrase for the user.
    """

    name: str
    axes: tuple[str, ...]
    table: str = ""
    free: bool = False
    finite: bool = False
    asked: bool = False
    optional: bool = False
    instead: tuple[str, ...] = ()
    state: bool = False
    start: bool = False
    reported: str = ""
    meaning: str = ""

    @property
    def indices(self) -> bool:
        """Whether it is a list of indices."""
        return self.axes == ("responses",)

    @property
    def square(self) -> bool:
        """Whether it is a matrix of responses × responses."""
        return self.axes == ("response", "response")


SQUARE = 5000
"""Features up to which matrices of features × features are written unasked."""
SIGMA = Setting(
    f"Write Sigma and Omega, tables of features × features [default: up to {SQUARE} features].",
    OUTPUT,
    name="sigma",
    kind=bool,
)


def writes_square(wanted: bool | None, p: int) -> bool:
    """Whether matrices of p×p are written: as `wanted`, the value of `SIGMA`, or up to SQUARE features."""
    return p <= SQUARE if wanted is None else wanted


BLOCK_ROWS = Setting(
    "Samples that are looked at together; memory grows with it [default: all of a small table, as many as suit of a "
    "large one].",
    RUNTIME,
    name="block_rows",
    kind=int,
    metavar="N",
    check=lambda number: bool(number >= 1),
    expects="a whole number from 1",
)


B = Symbol("B", ("term", "response"), free=True, meaning="coefficients")
"""Coefficients, d×p, of a linear mean; they are written as a table of a row a response and term."""


@dataclass(frozen=True)
class Size:
    """What memory and time of a fit depend on. own: the settings that the model adds; se: the standard errors.

    n samples, p responses, d terms; zeros: share of zeros of the response; on_off: how far they lie from its other
    values, the share of zeros times log(1 + mean of the others), which a tenth of the responses exceed.
    """

    n: int
    p: int
    d: int
    optimizer: str = "newton-cg"
    own: Mapping[str, Any] = field(default_factory=dict)
    se: str = "none"
    zeros: float = 0.0
    on_off: float = 0.0


@dataclass(frozen=True)
class Work:
    """What a fit by newton-cg is made of: points (objective, gradient, preconditioner) and Hessian products."""

    points: float
    products: float


def general_memory(size: Size) -> float:
    """Numbers at the peak of a fit of which nothing else is known: autograd keeps a few dozen tables n×p."""
    return 50.0 * size.n * size.p + 12.0 * size.p * size.p + 6.0 * size.p * size.d**2 + 8.0 * size.n * size.d


def general_work(size: Size) -> tuple[Work, Work]:
    """The least and the most that fits take of which nothing else is known."""
    del size
    return Work(5, 20), Work(60, 1000)


def never(own: Mapping[str, Any], cells: int) -> bool:
    """Tables are dense."""
    del own, cells
    return False


def nothing(own: Mapping[str, Any]) -> None:
    """No check of a model's settings against each other."""
    del own


def alone(own: Mapping[str, Any]) -> str:
    """What keeps samples from being shared, whatever the settings: it was not made for that."""
    del own
    return "this model"


def any_optimizer(own: Mapping[str, Any]) -> tuple[str, ...]:
    """All optimizers suit."""
    del own
    return ()


def no_change(size: Size) -> Iterator[tuple[str, Size]]:
    """No way to make a fit smaller."""
    del size
    return iter(())


@dataclass(frozen=True)
class Spec:
    """The declaration of a model.

    name: as it is typed; title: as it is written; help: of its command. model, fitted: `module:Class` of its objective
    and of what a finished fit answers. symbols: what it estimates, B among them. further: tables of other shapes that
    a fit may leave (`models.abilities.Tabulating`), by name, and what they hold; files: the same of files that are no
    tables, which `runs` writes by their suffix. facts: numbers that its summary tells
    besides (`Model.facts`), and what they are. standard_errors: those that it
    computes itself; resampling comes with all. bound: the objective is a bound of the log-likelihood (`elbo`).
    alternating: part of its parameters has a closed form given the rest (vem). sparse: whether, with these values, it
    takes a table of so many cells without its zeros, where most are. by_blocks: what keeps rows of a table from being
    read by blocks, with these values and `se`; None where no table can be. settings: those that it adds; check:
    UsageError for values of them, and of `se` and `cluster` where these are there, that do not go together. optimizers:
    those that suit, with these values, the default first; none where all do. memory: numbers at the peak of a fit;
    smaller: changes that may make it fit, in words and as a size; work: the least and the most that a fit takes;
    shares: what keeps samples from being shared among processes, with these values, as a noun; empty: nothing.
    """

    name: str
    title: str
    help: str
    response: Response
    model: str
    fitted: str = "plncli.models.fitted:Fitted"
    symbols: tuple[Symbol, ...] = (B,)
    further: tuple[tuple[str, str], ...] = ()
    files: tuple[tuple[str, str], ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    standard_errors: tuple[str, ...] = ()
    bound: bool = False
    alternating: bool = False
    sparse: Callable[[Mapping[str, Any], int], bool] = never
    by_blocks: Callable[[Mapping[str, Any]], str] | None = None
    settings: tuple[Setting, ...] = ()
    check: Callable[[Mapping[str, Any]], None] = nothing
    memory: Callable[[Size], float] = general_memory
    optimizers: Callable[[Mapping[str, Any]], tuple[str, ...]] = any_optimizer
    smaller: Callable[[Size], Iterator[tuple[str, Size]]] = no_change
    work: Callable[[Size], tuple[Work, Work]] = general_work
    shares: Callable[[Mapping[str, Any]], str] = alone
    words: Words = field(default_factory=Words)

    @property
    def noun(self) -> str:
        """What a column of the response is called: feature or response."""
        return self.response.noun

    @property
    def likelihood(self) -> str:
        """`elbo` where the objective is a bound of the log-likelihood, else `loglik`."""
        return "elbo" if self.bound else "loglik"

    @property
    def criteria(self) -> tuple[str, ...]:
        """The criteria of its fits: those of all models, and facts by which a fit of a path may be chosen."""
        select = self.setting("select")
        offered = () if select is None else select.choices
        return (*CRITERIA, *(name for name, _ in self.facts if name in offered))

    @property
    def latent(self) -> bool:
        """Whether there is a latent layer: an estimate for each sample and response."""
        return any(symbol.axes == ("sample", "response") and not symbol.state for symbol in self.symbols)

    @property
    def se_methods(self) -> tuple[str, ...]:
        """All that --se may be."""
        return ("auto", *self.standard_errors, *RESAMPLING, "none")

    @property
    def tables(self) -> tuple[Symbol, ...]:
        """The symbols that have a file of their own."""
        return tuple(symbol for symbol in self.symbols if symbol.table)

    @property
    def grouped(self) -> bool:
        """Whether it tells groups of samples apart."""
        return any(setting.grouping == "column" for setting in self.settings)

    @property
    def discriminating(self) -> bool:
        """Whether its fits tell which group a sample is of: one that is known, or a cluster that was found."""
        return self.grouped or any(symbol.axes == ("sample", "cluster") for symbol in self.symbols)

    @property
    def plots(self) -> tuple[tuple[str, str], ...]:
        """Kinds of plots of a fit that there are: name, and the kind of response that tells it from its namesakes."""
        return tuple(
            (name, response)
            for name, response, symbols in PLOTS
            if response in ("", self.response.name)
            and all(self.has(symbol) or symbol in dict(self.further) for symbol in symbols)
            and (name != OF_PATH or any(setting.several for setting in self.settings))
        )

    def has(self, name: str) -> bool:
        """Whether the model estimates a symbol."""
        return any(symbol.name == name for symbol in self.symbols)

    def setting(self, name: str) -> Setting | None:
        """One of the settings that the model adds."""
        return next((setting for setting in self.settings if setting.name == name), None)

    def penalised(self, chosen: Mapping[str, Any]) -> dict[str, str]:
        """The settings by which the likelihood is penalised, with their values."""
        values = [(setting, chosen.get(setting.name)) for setting in self.settings]
        return {setting.name: value for setting, value in values if value in setting.penalised}

    def told(self, chosen: Mapping[str, Any]) -> dict[str, str]:
        """The settings that are told of a fit beside its covariance, with their values; penalties among them."""
        values = {setting.name: chosen.get(setting.name) for setting in self.settings if setting.told}
        defaults = {setting.name: setting.default for setting in self.settings}
        return self.penalised(chosen) | {
            name: value for name, value in values.items() if value not in (None, defaults[name])
        }

    def formulas(self, own: Mapping[str, Any]) -> dict[str, str]:
        """The settings that are formulas, with their values."""
        values = [(setting, own.get(setting.name)) for setting in self.settings]
        return {setting.name: str(value) for setting, value in values if setting.is_formula(value)}

    def structure(self, own: Mapping[str, Any]) -> str | None:
        """The value of `covariance`, None for a model without that setting."""
        return own.get("covariance") if self.setting("covariance") else None

    def load_model(self) -> Any:
        """The class of the model; loads torch."""
        return _loaded(self.model)

    def load_fitted(self) -> Any:
        """The class of what a finished fit answers; loads torch."""
        return _loaded(self.fitted)


def _loaded(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)
