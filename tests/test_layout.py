"""Text for a reader: as wide as the terminal, and no wider."""

from __future__ import annotations

import pytest

from plncli.layout import aligned, wrapped

ROWS = [
    ["feature", "term", "estimate", "q"],
    ["d__Bacteria;p__Firmicutes;s__vulgatus", "treatment[T.high]", "1.25", "0.01"],
    ["short", "x", "-0.5", "1e-12"],
]


@pytest.mark.parametrize("most", [40, 60, 80, 120])
def test_a_table_is_no_wider_than_it_may_be_and_keeps_its_numbers(most: int) -> None:
    lines = aligned(ROWS, 2, most)
    assert max(map(len, lines)) <= most
    text = " ".join(lines)
    assert all(cell in text for row in ROWS for cell in row[2:])
    assert most < 60 or "vulgatus" in text


def test_a_table_that_fits_is_left_as_it_is() -> None:
    assert aligned(ROWS, 2, 200) == aligned(ROWS, 2)


def test_where_names_are_too_long_they_stand_above_their_numbers() -> None:
    assert aligned([["name", "a", "b"], ["a_name_of_some_length", "1000000", "2000000"]], 1, 24) == [
        "name",
        "          a        b",
        "a_name_of_some_length",
        "    1000000  2000000",
    ]


@pytest.mark.parametrize("columns", [30, 60, 80])
def test_words_are_not_broken(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    sentence = "a well-known sentence of words none of which is long enough to be broken at all"
    lines = wrapped(sentence, "label  ")
    assert max(map(len, lines)) <= columns
    assert " ".join(line.removeprefix("label").strip() for line in lines) == sentence
