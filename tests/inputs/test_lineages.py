"""Ranks of taxa out of what tables say of features."""

from __future__ import annotations

import pytest

from plncli.inputs.layout.lineages import ranks

FULL = {
    "greengenes": "k__Bacteria; p__Firmicutes; c__Bacilli; o__Lactobacillales; f__; g__; s__",
    "silva": "D_0__Bacteria;D_1__Firmicutes;D_2__Bacilli;D_3__Lactobacillales",
    "plain": "Bacteria;Firmicutes;Bacilli;Lactobacillales;NA;;",
    "metaphlan": "k__Bacteria|p__Firmicutes|c__Bacilli|o__Lactobacillales",
}


@pytest.mark.parametrize("style", FULL)
@pytest.mark.parametrize("name", ["taxonomy", "Consensus Lineage", "Taxon"])
def test_lineages_are_split(style: str, name: str) -> None:
    assert ranks({name: (FULL[style], None, "Unassigned"), "gene": ("a", "b", "c")}) == {
        "kingdom": ("Bacteria", None, None),
        "phylum": ("Firmicutes", None, None),
        "class": ("Bacilli", None, None),
        "order": ("Lactobacillales", None, None),
    }


def test_domains_and_gaps() -> None:
    found = ranks({"taxonomy": ("d__Archaea; p__X; g__Y; s__Y z", "d__Bacteria")})
    assert found == {
        "domain": ("Archaea", "Bacteria"), "phylum": ("X", None), "genus": ("Y", None), "species": ("Y z", None)
    }  # fmt: skip


def test_columns_of_ranks_are_taken_as_they_are() -> None:
    facts = {
        "Genus": ("g__A", "NA"),
        "Kingdom": ("Bacteria", "Archaea"),
        "taxonomy": ("x", "y"),
        "Species": (None, None),
    }
    assert ranks(facts) == {"kingdom": ("Bacteria", "Archaea"), "genus": ("A", None)}


def test_nothing_known() -> None:
    assert ranks({}) == {} == ranks({"gene_name": ("a", "b")})
