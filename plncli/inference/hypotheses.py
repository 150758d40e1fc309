"""What is tested of coefficients: terms that may be 0, levels that may be equal, and contrasts written as text."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from plncli.errors import UsageError, nearest, some

MOST_BRACKETS = 100
INTERCEPT = "Intercept"
_NUMBER = re.compile(r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_WORD = re.compile(r"[\w.:]+(?:[\[(][^\])]*[\])])*|.", re.DOTALL)
SIGNS = "+-*/()="
_CODED = re.compile(r"\bC\(([^(),]+)(?:,(?:[^()]|\([^()]*\))*)?\)")
_LEVEL = re.compile(r"\[(?:T\.)?([^\[\]]*)\]")


@dataclass(frozen=True)
class Hypothesis:
    """`rows` (r of d weights) times the coefficients of a response are `values` (r).

    contrast: a single row, whose estimate is wanted too.
    """

    label: str
    rows: tuple[tuple[float, ...], ...]
    values: tuple[float, ...]
    contrast: bool = False


@dataclass(frozen=True)
class Terms:
    """The coefficients of a response by name, and what is known of how they come about.

    names: of the d coefficients; groups: the columns of each term of the formula; levels: the labels of each
    categorical factor; aliased: names of coefficients that were left empty.
    """

    names: tuple[str, ...]
    groups: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    levels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    aliased: tuple[str, ...] = ()

    def zero(self, text: str) -> Hypothesis:
        """All coefficients of a term of the formula are 0, or one coefficient is."""
        columns = self._columns(text)
        if not columns:
            raise UsageError(f"All coefficients of `{text}` were left empty (--aliased drop): nothing is left to test.")
        return self._hypothesis(text, [{k: 1.0} for k in columns])

    def all_zero(self) -> list[Hypothesis]:
        """Each term of the formula by itself, the intercept left out."""
        found = [self.zero(term) for term, columns in self.groups.items() if term != INTERCEPT and columns]
        if not found:
            raise UsageError("The formula has no terms besides the intercept, so there is nothing to test.")
        return found

    def equal(self, text: str) -> Hypothesis:
        """All levels of a factor are equal: differences are 0 where each level has a coefficient of its own."""
        term = self._group(text)
        labels = self._factor(term) if term else None
        columns = self.groups[term] if term else ()
        if labels is not None and self.aliased and len(columns) < len(labels) - 1:
            raise UsageError(
                f"Some levels of `{text}` were left empty (--aliased drop), for they follow from other terms, so "
                f"whether all are equal cannot be tested. --terms {text} tests what is left."
            )
        if labels is None or len(labels) < 2 or len(columns) not in (len(labels), len(labels) - 1):
            factors = [name for name in self.groups if self._factor(name)]
            raise UsageError(
                f"`{text}` is not a factor, so it has no levels to compare."
                + (f" There are: {some(factors)}." if factors else " The formula has none.")
            )
        if len(columns) < len(labels):
            return self._hypothesis(f"{text} equal", [{k: 1.0} for k in columns])
        return self._hypothesis(f"{text} equal", [{k: 1.0, columns[0]: -1.0} for k in columns[1:]])

    def has_level_means(self, text: str) -> bool:
        """Whether a term is a factor with a mean for each level, so that testing them against 0 compares no levels."""
        term = self._group(text)
        return bool(term and term in self.levels and len(self.groups[term]) == len(self.levels[term]))

    def contrast(self, text: str) -> Hypothesis:
        """A linear combination such as `name: tree[a] - (tree[b] + tree[c])/2 = 0`; label and value may be absent."""
        label, expression = _label(text)
        if expression != text and label in self.spellings():
            raise UsageError(
                f"In `{text}`, `{label}` stands where a label may stand, and is the name of a coefficient: write an "
                "interaction without blanks, as in `a:b`, or choose another label."
            )
        for name in self.aliased:
            ways = "|".join(re.escape(_LEVEL.sub(level, name)) for level in (r"[T.\1]", r"[\1]", r"\1"))
            if re.search(rf"(?<![\w:.])(?:{ways})(?![\w\[(:.])", expression):
                raise UsageError(self.unknown(name))
        form = _Parser(expression, self).parse()
        if not any(form.weights.values()):
            raise UsageError(f"The contrast `{text}` names no coefficient, or they cancel. {self.known()}")
        return self._hypothesis(label, [form.weights], [0.0 - form.constant], contrast=True)

    def _hypothesis(
        self,
        label: str,
        rows: Sequence[Mapping[int, float]],
        values: Sequence[float] | None = None,
        contrast: bool = False,
    ) -> Hypothesis:
        dense = tuple(tuple(float(row.get(k, 0.0)) for k in range(len(self.names))) for row in rows)
        return Hypothesis(label, dense, tuple(values or [0.0] * len(rows)), contrast)

    # -- names -------------------------------------------------------------------------------------------------------

    def _columns(self, text: str) -> tuple[int, ...]:
        term = self._group(text)
        if term:
            return self.groups[term]
        return (self.index(text.strip().strip("`")),)

    def _group(self, text: str) -> str | None:
        """The term of the formula that is meant, whatever the order of its factors and its blanks."""
        for known in (str, lambda term: _CODED.sub(r"\1", term)):  # as written, or without C(...)
            found = [term for term in self.groups if self._canonical(known(term)) == self._canonical(text)]
            if len(found) == 1:
                return found[0]
        return None

    def _canonical(self, term: str) -> tuple[str, ...]:
        return tuple(sorted(re.sub(r"[\s`]", "", factor) for factor in factors_of(term)))

    def _factor(self, term: str) -> tuple[str, ...] | None:
        """The levels of a term that has one categorical factor."""
        known = [self.levels[factor] for factor in factors_of(term) if factor in self.levels]
        return known[0] if len(known) == 1 else None

    def index(self, name: str) -> int:
        """The coefficient of that name, also in R's or patsy's spelling; UsageError when none or several have it."""
        if name in self.names:
            return self.names.index(name)
        found = self.spellings().get(name, ())
        if len(found) == 1:
            return found[0]
        if found:
            raise UsageError(f"`{name}` may be {' or '.join(f'`{self.names[k]}`' for k in found)}; write one of them.")
        raise UsageError(self.unknown(name))

    def spellings(self) -> dict[str, tuple[int, ...]]:
        """Other ways to write the coefficients: `C(site)[T.a]` as `site[a]` or `sitea`, all of them without blanks."""
        known: dict[str, tuple[int, ...]] = {}
        for k, name in enumerate(self.names):
            plain = _CODED.sub(r"\1", name)
            ways = {_LEVEL.sub(level, way) for way in (name, plain) for level in (r"[\1]", r"\1")} | {name, plain}
            ways |= {f"({INTERCEPT})"} if name == INTERCEPT else set()
            ways |= {re.sub(r"\s", "", way) for way in ways}
            for way in ways - {""}:
                known[way] = (*known.get(way, ()), k)
        return known | {name: (k,) for k, name in enumerate(self.names)}

    def unknown(self, name: str) -> str:
        """What to say of a name that no coefficient has: it may be a term, or the level others are compared to."""
        plain = {_LEVEL.sub(r"[\1]", aliased): aliased for aliased in self.aliased}
        if (aliased := plain.get(_LEVEL.sub(r"[\1]", name))) is not None:
            return f"`{aliased}` was left empty (--aliased drop), for it follows from the others: it is not estimable."
        columns = self.groups.get(name)
        if columns:
            return f"`{name}` has {len(columns)} coefficients, {some([self.names[k] for k in columns], 12)}; name one."
        for factor, labels in self.levels.items():
            others = [known for known in self.names if known.startswith(f"{factor}[T.")]
            spelt = {f"{factor}{way}" for label in labels for way in (f"[{label}]", f"[T.{label}]", label)}
            if others and name in spelt:
                return (
                    f"`{name}` has no coefficient: it is the level of `{factor}` that the others are compared with, so "
                    f"leave it out. There are: {some(others, 12)}."
                )
        return f"There is no term `{name}`.{nearest(name, [*self.spellings(), *self.groups])} {self.known()}"

    def known(self) -> str:
        """The names of the coefficients, as a sentence."""
        return f"There are: {some(self.names, 12)}."


def factors_of(term: str) -> list[str]:
    """`C(site):log(x)` at its colons; those inside brackets or backticks stay."""
    parts, depth, quoted = [""], 0, False
    for sign in term:
        quoted ^= sign == "`"
        depth += not quoted and (sign in "([") - (sign in ")]")
        if sign == ":" and not depth and not quoted:
            parts.append("")
        else:
            parts[-1] += sign
    return [part.strip() for part in parts]


# Contrasts as text


def _label(text: str) -> tuple[str, str]:
    """`name: expression` taken apart; without a name, the text names itself. A colon within a term has no blank."""
    found = re.match(r"\s*([^`=]*?\S)\s*:\s+(\S.*)", text, re.DOTALL)
    if found and len(re.findall(r"[\[(]", found[1])) == len(re.findall(r"[\])]", found[1])):
        return found[1], found[2]
    return " ".join(text.split()), text


@dataclass
class _Form:
    """weights (by coefficient) times the coefficients, plus a constant."""

    weights: dict[int, float]
    constant: float = 0.0

    def plus(self, other: _Form, sign: float) -> _Form:
        """self ± other."""
        keys = {**self.weights, **other.weights}
        weights = {k: self.weights.get(k, 0.0) + sign * other.weights.get(k, 0.0) for k in keys}
        return _Form(weights, self.constant + sign * other.constant)

    def times(self, number: float) -> _Form:
        """Self × number."""
        return _Form({k: v * number for k, v in self.weights.items()}, self.constant * number)

    def is_number(self) -> bool:
        """Whether it holds no coefficient."""
        return not self.weights


class _Parser:
    """Recursive descent over names, numbers, + - * /, brackets and one `=`."""

    def __init__(self, text: str, terms: Terms) -> None:
        self.text, self.terms = text, terms
        names = (name for name in terms.spellings() if name[0] not in SIGNS + "`" or name == f"({INTERCEPT})")
        self.spellings = sorted((name for name in names if not _NUMBER.fullmatch(name)), key=len, reverse=True)
        self.tokens = list(self._read())
        self.at = self.depth = 0

    def parse(self) -> _Form:
        """The form that is claimed to be 0."""
        form = self._sum()
        if self._take("="):
            form = form.plus(self._sum(), -1.0)
        if self.at < len(self.tokens):
            self._refuse(f"`{self.tokens[self.at][0]}` stands where + - * / = or the end is expected")
        if not all(map(math.isfinite, (*form.weights.values(), form.constant))):
            self._refuse("a number in it is too large")
        return form

    def _read(self) -> Iterator[tuple[str, _Form | None]]:
        """Tokens as written, with what they stand for; None for signs."""
        i = 0
        while i < len(self.text):
            rest = self.text[i:]
            if rest[0].isspace():
                i += 1
                continue
            quoted = re.match(r"`([^`]*)`", rest)
            name = next((name for name in self.spellings if _starts(rest, name)), None)
            number = _NUMBER.match(rest)
            if quoted:
                word, form = quoted[0], _Form({self.terms.index(quoted[1]): 1.0})
            elif name:
                word, form = name, _Form({self.terms.index(name): 1.0})
            elif number and not re.match(r"[\w\[]", rest[number.end() :]):
                word, form = number[0], _Form({}, float(number[0]))
            elif rest[0] in SIGNS:
                yield rest[0], None
                i += 1
                continue
            else:
                unread = _WORD.match(rest)
                raise UsageError(
                    f"The contrast `{self.text}` cannot be read. {self.terms.unknown(unread[0] if unread else rest)}"
                )
            yield word, form
            i += len(word)

    def _take(self, signs: str) -> str:
        """The next token if it is one of the signs."""
        if self.at < len(self.tokens):
            word, form = self.tokens[self.at]
            if form is None and word in signs:
                self.at += 1
                return word
        return ""

    def _sum(self) -> _Form:
        form = self._product()
        while sign := self._take("+-"):
            form = form.plus(self._product(), 1.0 if sign == "+" else -1.0)
        return form

    def _product(self) -> _Form:
        form = self._signed()
        while sign := self._take("*/"):
            other = self._signed()
            if sign == "/":
                if not other.is_number() or other.constant == 0.0:
                    self._refuse("only numbers other than 0 can divide")
                form = form.times(1.0 / other.constant)
            elif other.is_number():
                form = form.times(other.constant)
            elif form.is_number():
                form = other.times(form.constant)
            else:
                self._refuse("two coefficients are multiplied, and a contrast is linear")
        return form

    def _signed(self) -> _Form:
        number = 1.0
        while sign := self._take("+-"):
            number = -number if sign == "-" else number
        return self._atom().times(number)

    def _atom(self) -> _Form:
        if self._take("("):
            self.depth += 1
            if self.depth > MOST_BRACKETS:
                self._refuse("it has too many brackets")
            form = self._sum()
            if not self._take(")"):
                self._refuse("a bracket is not closed")
            self.depth -= 1
            return form
        if self.at >= len(self.tokens):
            self._refuse("it ends where a term or a number is expected")
        word, found = self.tokens[self.at]
        if found is None:
            self._refuse(f"`{word}` stands where a term or a number is expected")
        self.at += 1
        return found

    def _refuse(self, reason: str) -> NoReturn:
        raise UsageError(
            f"The contrast `{self.text}` cannot be read: {reason}. Write sums of terms, such as "
            "`tree[a] - (tree[b] + tree[c])/2`; odd names go in backticks."
        )


def _starts(text: str, name: str) -> bool:
    """Whether `text` starts with `name` as a whole word."""
    return text.startswith(name) and not re.match(r"[\w\[(:.]", text[len(name) :])
