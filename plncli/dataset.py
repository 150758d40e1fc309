"""The table to explain and what explains it, matched row by row, on one device and in one dtype.

Its rows are in memory, or stay in a file from which they are read by blocks (`Stored`).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, cast, overload

import torch
from torch import Tensor

from plncli import ranks
from plncli.errors import DataError
from plncli.sparse import blocks_of, columns_taken, is_sparse, taken

LETTERS = "YXOw"
"""The tables that come by blocks."""


class Names(Sequence[str]):
    """Names that are made, or looked up, when they are asked for; else a tuple of them."""

    def as_tuple(self) -> tuple[str, ...]:
        """Themselves, for whom a type says that they are a tuple."""
        return cast("tuple[str, ...]", self)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[str, ...]: ...
    def __getitem__(self, place: int | slice) -> str | tuple[str, ...]:
        if isinstance(place, slice):
            return self.some(range(*place.indices(len(self))))
        if not -len(self) <= place < len(self):
            raise IndexError(place)
        return self.name(place % len(self))

    @abstractmethod
    def name(self, place: int) -> str:
        """The name at a place from 0."""

    def some(self, places: range) -> tuple[str, ...]:
        """The names at several places."""
        return tuple(map(self.name, places))


@dataclass(frozen=True)
class Numbered(Names):
    """Numbers from 1 as names."""

    number: int

    def __len__(self) -> int:
        return self.number

    def name(self, place: int) -> str:
        """The number of that place."""
        return str(place + 1)


@dataclass(frozen=True)
class Dataset:
    """Samples in rows everywhere; shapes are checked once, here.

    Y: n×p, the table to explain (counts, 0/1, or real values); 0 where not observed. Large counts may come without
    their zeros (`sparse`), for models that take them so (`Spec.sparse`).
    X: n×d design matrix.
    O: n×p or n×1 offset on the log scale (log exposure).
    w: (n,) positive sample weights.
    K: n×p boolean, True where Y is observed; None when every entry is.
    clusters: (n,) integer codes 0, 1, ... of what samples belong together; None when each is by itself.
    X0: n×c design matrix of structural zeros, its columns `zero_terms`; None without one.
    """

    Y: Tensor
    X: Tensor
    O: Tensor
    w: Tensor
    K: Tensor | None = None
    clusters: Tensor | None = None
    samples: tuple[str, ...] = field(default=(), repr=False)
    terms: tuple[str, ...] = ()
    responses: tuple[str, ...] = field(default=(), repr=False)
    X0: Tensor | None = None
    zero_terms: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.Y.ndim != 2 or self.X.ndim != 2:
            raise DataError("The table to explain and the design matrix must have two axes: samples × columns.")
        (n, p), d = self.Y.shape, self.X.shape[1]
        for letter, default, size in (("samples", "sample", n), ("terms", "x", d), ("responses", "y", p)):
            given = getattr(self, letter)
            named = given if isinstance(given, Names) else tuple(given)
            names = named or tuple(f"{default}{i + 1}" for i in range(size))
            object.__setattr__(self, letter, names)
            if len(names) != size:
                raise DataError(f"{len(names)} {letter} are named, but the tables have {size}.")
        shapes = {"X": (n, d), "w": (n,), "O": (n, p) if self.O.shape[1:] == (p,) else (n, 1)}
        if self.K is not None:
            shapes["K"] = (n, p)
        if self.clusters is not None:
            shapes["clusters"] = (n,)
        if self.X0 is not None:
            shapes["X0"] = (n, len(self.zero_terms))
        for letter, shape in shapes.items():
            tensor = getattr(self, letter)
            if tuple(tensor.shape) != shape:
                raise DataError(f"{letter} has shape {tuple(tensor.shape)}, but Y of shape {(n, p)} asks for {shape}.")
            if tensor.device != self.Y.device:
                raise DataError(f"{letter} is on {tensor.device} and Y on {self.Y.device}; move them together.")
            if letter not in ("K", "clusters") and tensor.dtype != self.Y.dtype:
                raise DataError(f"{letter} is {tensor.dtype} and Y {self.Y.dtype}; convert them together.")
        if n == 0 or p == 0:
            raise DataError(f"The table to explain is empty ({n} samples × {p} columns).")
        if not bool((self.w > 0).all()):
            raise DataError("Sample weights must be positive; leave out samples of weight zero.")
        if self.clusters is not None and self.clusters.unique().tolist() != list(range(self.n_clusters)):
            raise DataError("Clusters must be numbered 0, 1, 2, ... without a gap.")

    @property
    def stored(self) -> bool:
        """Whether the rows stay in a file, from which they are read by blocks."""
        return False

    def parts(self, letters: str = LETTERS) -> Iterator[Dataset]:
        """The samples by blocks, in order, with the tables of these letters; all at once where they are in memory."""
        del letters
        yield self

    @property
    def sparse(self) -> bool:
        """Whether Y is kept without its zeros."""
        return is_sparse(self.Y)

    def blocks(self) -> Iterator[slice]:
        """Rows of Y to be looked at together (`sparse`)."""
        return blocks_of(self.Y)

    @property
    def n(self) -> int:
        """Number of samples."""
        return self.Y.shape[0]

    @property
    def p(self) -> int:
        """Number of features (responses)."""
        return self.Y.shape[1]

    @property
    def d(self) -> int:
        """Number of coefficients per feature (columns of the design matrix)."""
        return self.X.shape[1]

    @property
    def total_weight(self) -> float:
        """Sum of the sample weights, those of other ranks among them: n when all are 1."""
        group, here = ranks.now(), self.w.sum()
        return float(here if group is None else group.summed(here)[0])

    @property
    def n_clusters(self) -> int:
        """Number of clusters; n when each sample is by itself."""
        return self.n if self.clusters is None else int(self.clusters.max()) + 1

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Dataset:
        """The same data on another device or in another floating dtype."""
        moved = {letter: getattr(self, letter).to(device=device, dtype=dtype) for letter in ("Y", "X", "O", "w")}
        if self.X0 is not None:
            moved["X0"] = self.X0.to(device=device, dtype=dtype)
        for letter in ("K", "clusters"):
            tensor = getattr(self, letter)
            moved[letter] = None if tensor is None else tensor.to(device=device)
        return replace(self, **moved)

    def take(self, rows: Tensor, times: Tensor) -> Dataset:
        """Some samples, each as often as `times` says, by their weight; which cluster they are of is left behind."""
        per_sample = {letter: getattr(self, letter) for letter in ("Y", "X", "O", "K", "X0")}
        some: dict[str, Any] = {
            letter: None if tensor is None else taken(tensor, rows) for letter, tensor in per_sample.items()
        }
        names = tuple(self.samples[i] for i in rows.tolist())
        return replace(self, w=self.w[rows] * times.to(self.w), clusters=None, samples=names, **some)

    def with_zero_terms(self, kept: Tensor) -> Dataset:
        """Some columns of the design of structural zeros, by index."""
        if self.X0 is None or len(kept) == len(self.zero_terms):
            return self
        return replace(self, X0=self.X0[:, kept], zero_terms=tuple(self.zero_terms[k] for k in kept.tolist()))

    def among(self, terms: Tensor, features: Tensor) -> Dataset:
        """Some columns of the design and of the table to explain, by index."""
        if len(terms) == self.d and len(features) == self.p:
            return self
        return replace(
            self,
            Y=columns_taken(self.Y, features),
            X=self.X[:, terms],
            O=self.O if self.O.shape[1] == 1 else self.O[:, features],
            K=None if self.K is None else self.K[:, features],
            terms=tuple(self.terms[k] for k in terms.tolist()),
            responses=tuple(self.responses[j] for j in features.tolist()),
        )


class Source(Protocol):
    """Where rows are that are read by blocks, always the same in the same order."""

    @property
    def n(self) -> int:
        """How many there are."""
        ...

    @property
    def rows(self) -> int:
        """Of a block, at most."""
        ...

    @property
    def samples(self) -> Names:
        """Their names."""
        ...

    def share(self, own: int, number: int) -> Source:
        """One of so many runs of them."""
        ...

    def read(self, letters: str) -> Iterator[Mapping[str, Tensor]]:
        """Blocks of b rows: of these letters Y (b×p), X (b×d), O (b×1) and w (b,)."""
        ...


@dataclass(frozen=True)
class Stored(Dataset):
    """A data set whose rows stay where they are. Its tables have shapes, and nan throughout; `parts` has the rows.

    known: what was computed of all rows once, by name.
    """

    source: Source | None = field(default=None, repr=False)
    known: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @staticmethod
    def of(source: Source, terms: tuple[str, ...], responses: tuple[str, ...], like: Tensor) -> Stored:
        """The rows of a source, in the dtype and on the device of a tensor."""
        n = source.n
        shapes = {"Y": (n, len(responses)), "X": (n, len(terms)), "O": (n, 1), "w": (n,)}
        tables: dict[str, Any] = {
            letter: like.new_full((1,) * len(shape), math.nan).expand(shape) for letter, shape in shapes.items()
        }
        known: dict[str, Any] = {"samples": source.samples.as_tuple(), "terms": terms, "responses": responses}
        return Stored(**tables, **known, source=source)

    def __post_init__(self) -> None:
        if self.n == 0 or self.p == 0:
            raise DataError(f"The table to explain is empty ({self.n} samples × {self.p} columns).")

    @property
    def stored(self) -> bool:
        """They do."""
        return True

    def parts(self, letters: str = LETTERS) -> Iterator[Dataset]:
        """Blocks of rows; of tables of other letters there are the shapes, and nan."""
        assert self.source is not None
        for block in self.source.read(letters):
            b = len(next(iter(block.values())))
            tables: dict[str, Any] = {letter: block[letter].to(self.Y) for letter in letters}
            tables |= {letter: getattr(self, letter)[:b] for letter in LETTERS if letter not in letters}
            yield Part(**tables, samples=Numbered(b).as_tuple(), terms=self.terms, responses=self.responses)

    @property
    def total_weight(self) -> float:
        """Sum of the sample weights, those of other ranks among them."""
        if "total_weight" not in self.known:
            here, group = sum(part.w.sum() for part in self.parts("w")), ranks.now()
            assert isinstance(here, Tensor)
            self.known["total_weight"] = float(here if group is None else group.summed(here)[0])
        return float(self.known["total_weight"])

    def share(self, own: int, number: int) -> Stored:
        """One of so many runs of the samples."""
        assert self.source is not None
        return Stored.of(self.source.share(own, number), self.terms, self.responses, self.Y[0, 0])

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Dataset:
        """The same on another device or in another floating dtype."""
        assert self.source is not None
        like = self.Y[0, 0].to(device=device, dtype=dtype)
        if like.dtype == self.Y.dtype and like.device == self.Y.device:
            return self
        return Stored.of(self.source, self.terms, self.responses, like)


class Part(Dataset):
    """A block of the rows of a `Stored` data set, some of whose tables may be nan throughout."""

    def __post_init__(self) -> None:
        """Nothing is checked: it was where the data set was made."""
