"""The settings of a fit: one list, off which flags, their help, TOML keys, environment variables and checks are read.

A model adds settings of its own (`Spec.settings`). Nothing here loads torch, for help must not wait for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from plncli.models import MODELS
from plncli.models.spec import Setting, Spec
from plncli.names import (
    INFERENCE,
    INPUT,
    LAST_SEED,
    OFFSET_METHODS,
    OFFSET_SCALES,
    OPTIMIZER,
    OPTIMIZER_NAMES,
    OUTPUT,
    RUNTIME,
    SELECTION,
)
from plncli.settings.values import asks_many

COUNTS, OTHERS = ("counts",), ("classes", "numbers")
MOST_THREADS = 1024  # more than that is a slip, and systems refuse it in ways of their own


def _setting(default: Any, help: str, panel: str, *, only_latent: bool = False, **more: Any) -> Any:
    made = Setting(help, panel, default=default, latent=only_latent, **more)
    return field(default=default, metadata={"setting": made})


def _positive(value: float) -> bool:
    return 0.0 < value < float("inf")


def _threads(value: str) -> bool:
    return value == "auto" or (value.isdecimal() and len(value) < 5 and 0 < int(value) <= MOST_THREADS)


def _device(value: str) -> bool:
    return re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", value) is not None


@dataclass(frozen=True)
class FitConfig:
    """Every setting of `plncli fit`, resolved. Names are the long options with underscores; a path `-` is stdin.

    own: the settings that the model adds (`Spec.settings`), by name; they are read like the others.
    """

    model: str
    own: Mapping[str, Any] = field(default_factory=dict)
    counts: str | None = _setting(
        None,
        "Table of counts: a row a sample, the sample name in the first column (`-`: standard input; `FILE::NAME`: a "
        "sheet of a workbook or a layer of an AnnData file; or the folder of a Matrix Market file).",
        INPUT,
        metavar="FILE",
        path="file",
        responses=COUNTS,
    )
    response: str | None = _setting(
        None,
        "Table of responses, one fit a column. Or leave it out and name the response left of `~` in --formula.",
        INPUT,
        metavar="FILE",
        path="file",
        responses=OTHERS,
    )
    covariates: str | None = _setting(
        None, "Table of covariates, matched to the samples by name, in any order.", INPUT, metavar="FILE", path="file"
    )
    formula: str | None = _setting(
        None,
        "Terms that explain the response, such as `~ tree + log(depth)`; `~ 1` when absent.",
        INPUT,
        metavar="TEXT",
    )
    reference: tuple[str, ...] = _setting(
        (),
        "Level of a factor that its others are compared with, the first in order when absent; may be given several "
        "times.",
        INPUT,
        metavar="FACTOR=LEVEL",
        check=lambda v: all(re.search(r"[^=\s].*=", entry) for entry in v),
        expects="FACTOR=LEVEL, such as tree=healthy",
    )
    aliased: str = _setting(
        "error",
        "Coefficients that follow from others in the design, as of combinations of levels that no sample has: refuse "
        "them, or leave the later ones empty, as R does.",
        INPUT,
        choices=("error", "drop"),
    )
    transpose: bool | None = _setting(
        None,
        "Whether the table of counts has features in rows; without it, names, header and content tell.",
        INPUT,
        responses=COUNTS,
    )
    offsets: str | None = _setting(
        None,
        "Offsets on the log scale, added as they are; one column, or one a feature.",
        INPUT,
        metavar="FILE",
        path="file",
    )
    exposure: str | None = _setting(
        None,
        "Exposure on the natural scale (depth, effort): its log is the offset.",
        INPUT,
        metavar="FILE",
        path="file",
    )
    offset_method: str | None = _setting(
        None,
        "Estimate the size factor of each sample from its counts; its log is the offset.",
        INPUT,
        choices=OFFSET_METHODS,
        responses=COUNTS,
    )
    offset_scale: str = _setting(
        "counts",
        "Scale of the size factors: their geometric mean is that of the total counts (counts), or 1 (proportions).",
        INPUT,
        choices=OFFSET_SCALES,
        responses=COUNTS,
    )
    offset_blocks: str | None = _setting(
        None,
        "Estimate size factors by block of features: a table with the name of each feature and of its block.",
        INPUT,
        metavar="FILE",
        path="file",
        responses=COUNTS,
    )
    weights: str | None = _setting(
        None,
        "Weights of the samples: a table, or a column of --covariates.",
        INPUT,
        metavar="FILE|COLUMN",
        path="maybe",
    )
    missing: str = _setting(
        "error",
        "Empty or NA entries: refuse them, drop the sample, or (counts) keep them as unobserved.",
        INPUT,
        choices=("error", "drop", "keep"),
        offered=lambda spec: ("error", "drop", "keep") if spec.response.name in COUNTS else ("error", "drop"),
    )
    na_values: tuple[str, ...] = _setting(
        (),
        "An entry that is taken as missing, in all tables, such as unknown or -9; may be given several times.",
        INPUT,
        metavar="TEXT",
    )
    all_zero: str = _setting(
        "error",
        "Rows or columns of counts without any count: refuse or drop them.",
        INPUT,
        choices=("error", "drop"),
        responses=COUNTS,
    )
    sample_names: bool = _setting(
        True, "Take sample names from the first column; --no-sample-names matches rows by their position.", INPUT
    )
    match: str = _setting(
        "name",
        "Which row of another table is which sample: the one of its name, or, where names have nothing in common, the "
        "one in its position.",
        INPUT,
        choices=("name", "position"),
    )
    round: bool = _setting(
        False,
        "Round counts that are estimates (salmon, kallisto, RSEM, SoupX) to whole numbers, halves to even ones.",
        INPUT,
        responses=COUNTS,
    )
    samples: str | None = _setting(
        None, "Fit these samples alone: a text file with a name a line.", SELECTION, metavar="FILE", path="file"
    )
    filter: str | None = _setting(
        None,
        "Fit the samples for which this holds of their covariates, such as `tree == 'resistant' and depth > 100`.",
        SELECTION,
        metavar="CONDITION",
    )
    min_depth: float | None = _setting(
        None,
        "Leave out samples with a smaller total count, of all their features.",
        SELECTION,
        responses=COUNTS,
        check=_positive,
        expects="a positive number",
    )
    features: str | None = _setting(
        None,
        "Fit these features alone: a text file with a name a line.",
        SELECTION,
        metavar="FILE",
        path="file",
        responses=COUNTS,
    )
    min_prevalence: float | None = _setting(
        None,
        "Leave out features that are seen in a smaller share of the samples, such as 0.1.",
        SELECTION,
        responses=COUNTS,
        check=lambda v: 0.0 <= v <= 1.0,
        expects="a share from 0 to 1",
    )
    min_total: float | None = _setting(
        None,
        "Leave out features with a smaller total count, over the samples.",
        SELECTION,
        responses=COUNTS,
        check=_positive,
        expects="a positive number",
    )
    top: int | None = _setting(
        None,
        "Fit the N features with the largest totals alone, of those that are left.",
        SELECTION,
        metavar="N",
        responses=COUNTS,
        check=lambda v: v >= 1,
        expects="an integer from 1",
    )
    optimizer: str = _setting(
        "newton-cg",
        "How the objective is minimised.",
        OPTIMIZER,
        choices=OPTIMIZER_NAMES,
        offered=lambda spec: tuple(name for name in OPTIMIZER_NAMES if spec.alternating or name != "vem"),
    )
    init: str | None = _setting(
        None,
        "Start from an earlier fit of the same or like tables: the same optimum, in fewer steps.",
        OPTIMIZER,
        metavar="RUN",
        path="folder",
    )
    learning_rate: float | None = _setting(
        None,
        "Step of a first-order optimizer; each has its own default.",
        OPTIMIZER,
        check=_positive,
        expects="a positive number",
    )
    max_iter: int | None = _setting(
        None,
        "Most steps; each optimizer has its own default.",
        OPTIMIZER,
        check=lambda v: v >= 1,
        expects="an integer from 1",
    )
    tol: float = _setting(
        1e-6,
        "Stop when an estimated TOL nats per sample are left to gain.",
        OPTIMIZER,
        check=_positive,
        expects="a positive number",
    )
    time_limit: float | None = _setting(
        None,
        "Most seconds spent fitting, each time that it is taken up.",
        OPTIMIZER,
        check=_positive,
        expects="a positive number of seconds",
    )
    se: str = _setting(
        "auto",
        "Standard errors of the coefficients; auto: sandwich for counts, profile with a penalty, else fisher "
        "(model-based).",
        INFERENCE,
        offered=lambda spec: spec.se_methods,
    )
    cluster: str | None = _setting(
        None,
        "Clusters of samples, such as visits of a patient: a table, or a column of --covariates. Standard errors are "
        "then cluster-robust.",
        INFERENCE,
        metavar="FILE|COLUMN",
        path="maybe",
    )
    resamples: int = _setting(
        200, "Fits of --se bootstrap.", INFERENCE, check=lambda v: v >= 2, expects="an integer from 2"
    )
    workers: str = _setting(
        "auto",
        "Processes that share the fits of --se bootstrap or jackknife, of subsamples, and of --select cv; auto: a core "
        "each, as far as memory goes.",
        INFERENCE,
        metavar="N|auto",
        check=_threads,
        expects=f"auto or an integer from 1 to {MOST_THREADS}",
    )
    level: float = _setting(
        0.95,
        "Level of the confidence intervals.",
        INFERENCE,
        check=lambda v: 0.0 < v < 1.0,
        expects="a number between 0 and 1",
    )
    vcov: bool = _setting(False, "Write the covariance matrix of all coefficients too.", INFERENCE)
    device: str = _setting(
        "auto",
        "Device: auto takes a GPU when there is one.",
        RUNTIME,
        metavar="auto|cpu|cuda|cuda:N|mps",
        check=_device,
        expects="auto, cpu, cuda, cuda:N or mps",
    )
    dtype: str = _setting("float64", "Number type.", RUNTIME, choices=("float64", "float32"))
    threads: str = _setting(
        "auto",
        "CPU threads: auto goes by the size of the problem.",
        RUNTIME,
        metavar="N|auto",
        check=_threads,
        expects=f"auto or an integer from 1 to {MOST_THREADS}",
    )
    seed: int = _setting(
        0,
        "Seed of the random numbers, for what needs any.",
        RUNTIME,
        check=lambda v: 0 <= v <= LAST_SEED,
        expects=f"an integer from 0 to {LAST_SEED}",
    )
    out: str | None = _setting(
        None,
        "Folder for the results; NAME-MODEL in the current folder when absent.",
        OUTPUT,
        metavar="DIR",
        path="folder",
    )
    overwrite: bool = _setting(False, "Replace the results of an earlier fit in that folder.", OUTPUT)
    format: str = _setting("csv", "Format of the tables written.", OUTPUT, choices=("csv", "tsv", "parquet", "feather"))
    latent: bool | None = _setting(
        None,
        "Write the tables of the latent layer too, each as large as the counts [default: yes; not where scores say as "
        "much in fewer numbers, as in pln-pca].",
        OUTPUT,
        only_latent=True,
    )
    checkpoint_every: float = _setting(
        60.0,
        "Seconds between checkpoints of a fit, beside the results until it is done; 0: only where it is cut short.",
        OUTPUT,
        check=lambda v: 0.0 <= v < float("inf"),
        expects="0 or a positive number of seconds",
    )
    tensorboard: str | None = _setting(
        None,
        "Folder for event files of TensorBoard, written while the fit goes on.",
        OUTPUT,
        metavar="DIR",
        path="folder",
    )
    allow_unconverged: bool = _setting(False, "Exit with 0 instead of 4 when the fit ends without converging.", OUTPUT)

    def __post_init__(self) -> None:
        defaults = {setting.name: setting.default for setting in self.spec.settings}
        object.__setattr__(self, "own", defaults | dict(self.own))

    @property
    def spec(self) -> Spec:
        """What the model declares."""
        return MODELS[self.model]

    def value(self, name: str) -> Any:
        """The value of a setting, whether the model adds it or all have it."""
        return self.own[name] if name in self.own else getattr(self, name)

    @property
    def path(self) -> str | None:
        """The setting that has several values, along which a path of models is fitted; None for a single fit."""
        known = ((setting, self.own[setting.name]) for setting in self.spec.settings if setting.several)
        return next((s.name for s, value in known if isinstance(value, tuple) or asks_many(value, s.kind)), None)

    def members(self) -> tuple[FitConfig, ...]:
        """The configuration of each fit of the path, in order; the configuration itself where it is of one.

        Also where the data will tell which values there are.
        """
        name = self.path or ""
        values = self.own.get(name)
        return tuple(self.but(**{name: one}) for one in values) if isinstance(values, tuple) else (self,)

    def but(self, **changes: Any) -> FitConfig:
        """The same with other values of some settings, whether the model adds them or all have them."""
        own = {name: value for name, value in changes.items() if name in self.own}
        return replace(self, own={**self.own, **own}, **{name: v for name, v in changes.items() if name not in own})
