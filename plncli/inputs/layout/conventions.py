"""What programs put into tables of counts besides counts: columns that describe features, counters, totals.

One list of conventions, each with the reason that the user is told. Names are compared without case, blanks and signs,
those of counters as they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from plncli.tables.mothur import NUMBER_OF

COUNTS_RULE = "Counts must be whole numbers of 0 or more."
ENOUGH = 10_000  # names that are looked at


@dataclass(frozen=True)
class Convention:
    """Names that a program gives to what is no count.

    names: as `plain` leaves them; what they hold, in words. together: how many of them must be there to be taken for
    it; text: only columns without any number count. fact: they are kept as facts of the features.
    """

    names: frozenset[str]
    what: str
    together: int = 1
    text: bool = False
    fact: bool = True


def plain(name: str) -> str:
    """A name without case, blanks and signs."""
    return re.sub(r"[\W_]", "", name.casefold())


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


RANKS = ("domain", "superkingdom", "kingdom", "phylum", "class", "order", "family", "genus", "species", "strain")
"""Of taxa, from the widest."""
PLACES = _names("chr start end strand")
CONFIDENCES = _names("confidence consensus")
LINEAGES = _names("taxonomy lineage consensuslineage taxonomiclineage taxonomicassignment taxon classification")
DESCRIPTIONS = (
    Convention(PLACES, "where they lie", together=3, fact=False),
    Convention(LINEAGES, "their taxa", text=True),
    Convention(frozenset(RANKS), "their taxa", together=2, text=True),
    Convention(CONFIDENCES, "how sure their taxa are", fact=False),
    Convention(
        _names("length genelength effectivelength efflength transcriptlength exonlength gccontent"),
        "their lengths",
    ),
    Convention(
        _names("ncbitaxid ncbitaxonid taxid taxonid cladetaxid entrez entrezid entrezgeneid"),
        "their identifiers",
    ),
    Convention(
        _names(
            "geneid genename genesymbol symbol hgncsymbol externalgenename gene ensembl ensemblid ensemblgeneid "
            "transcriptid transcriptids transcriptidss description genedescription biotype genebiotype genetype "
            "chromosome seqnames seqname sequence repseq representativesequence product annotation function"
        ),
        "their names and such",
        text=True,
    ),
)
"""Columns beside the samples of a table that has features in rows."""

READS = "reads of no feature, as {} counts them"
COUNTERS = (
    (r"__(no_feature|ambiguous|too_low_aqual|not_aligned|alignment_not_unique)", 1, READS.format("htseq-count")),
    (r"no_feature|ambiguous|too_low_aqual|not_aligned|alignment_not_unique", 3, READS.format("htseq-count")),
    (r"n_(unmapped|multimapping|nofeature|ambiguous)", 1, READS.format("STAR")),
    (r"assigned|unassigned_\w+", 2, READS.format("featureCounts")),
    (r"\*|unmapped", 1, READS.format("a mapper")),
    (NUMBER_OF, 1, "the number of features, as mothur writes it"),
)
"""Names of features that are none: a pattern of them without case, how many must match, and what they hold."""

TOTALS = _names(
    "total totals sum sums all alltotal grandtotal totalcount totalcounts totalreads totalabundance librarysize depth "
    "sequencingdepth rowsum rowsums colsum colsums readcount reads nreads"
)
"""What totals are called: these are believed on less evidence."""

FEATURE_WORDS = (
    r"z?(otu|asv|taxon|taxa|feature|gene|transcript|protein|peptide|mirna|probe|probeset)s?(id|name|symbol|acc)?s?"
    r"|ens(embl)?(gene|transcript)?ids?|entrez(gene)?ids?|symbols?|targetid|cladename|genefamily|pathway|species|genus|ko|mag|contig"
)
"""First cells of the header of tables that have features in rows, as `plain` leaves them."""
SAMPLE_WORDS = r"(sample|specimen|library|run|subject|patient|site|plot|group)s?(id|name)?s?|barcodes?|cells?(id)?"
"""The same of tables that have samples in rows."""
FEATURE_NAMES = r"(.*_)?(z?otu|asv|taxon|gene)[\W_]?\d+|ens[a-z]*[gtp]\d{6,}.*|[dkpcofgs]__.*"
"""What only features are called: ASV_12, OTU7, ENSG00000139618, g__Bacteroides."""


def says_features(corner: str) -> bool:
    """Whether the first cell of a header is one above names of features."""
    return bool(re.fullmatch(FEATURE_WORDS, plain(corner))) or corner.casefold() == "#name"


def says_samples(corner: str) -> bool:
    """Whether the first cell of a header is one above names of samples."""
    return bool(re.fullmatch(SAMPLE_WORDS, plain(corner)))


def named_as_features(names: Sequence[str]) -> bool:
    """Whether nearly all names are such as only features have."""
    known = [re.fullmatch(FEATURE_NAMES, name.casefold()) is not None for name in names[:ENOUGH]]
    return sum(known) > 0.8 * len(known)


def descriptions(names: Sequence[str], textual: Callable[[str], bool]) -> dict[str, Convention]:
    """The names that describe features, beside those of samples, each with its convention.

    textual: whether none of the entries of that name is a number.
    """
    found: dict[str, Convention] = {}
    every = frozenset().union(*(convention.names for convention in DESCRIPTIONS))
    likely = {name: word for name in names if (word := plain(name)) in every}
    for convention in DESCRIPTIONS:
        these = [name for name, word in likely.items() if word in convention.names and name not in found]
        these = [name for name in these if not convention.text or textual(name)]
        if len(these) >= convention.together:
            found |= dict.fromkeys(these, convention)
    if not any(plain(name) in LINEAGES for name in found):  # how sure of what?
        found = {name: one for name, one in found.items() if plain(name) not in CONFIDENCES}
    return found


def counters(names: Sequence[str], known: Collection[str] = ()) -> dict[str, tuple[str, ...]]:
    """The names that are of no feature, by what they hold; never those of `known` features."""
    found: dict[str, tuple[str, ...]] = {}
    taken: set[str] = set(known)
    any_of = re.compile("|".join(f"(?:{pattern})" for pattern, _, _ in COUNTERS))
    likely = [name for name in names if any_of.fullmatch(name.casefold())]
    for pattern, together, what in COUNTERS:
        these = tuple(name for name in likely if name not in taken and re.fullmatch(pattern, name.casefold()))
        if len(these) >= together:
            taken |= {*these}
            found[what] = (*found.get(what, ()), *these)
    return found
