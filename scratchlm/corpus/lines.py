"""Lines that a host puts on its pages whatever they say: menus, notices, "read more". Found by counting, per host, and cut.

Map each file to counts per host and line; add up the counts bucket by bucket; cut the lines in a second pass. Wenzek et al. 2020,
arXiv:1911.00359, count lines over all pages; here a line must be common on its own host, so that a proverb that many hosts quote stays.
A reduce holds one bucket (by the line's hash), 24 bytes a row; a file gives one row for each different line of a host.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
import xxhash
from pydantic import Field

from scratchlm.core.config import Settings
from scratchlm.corpus import cuts
from scratchlm.corpus.copies import word_keys

OP = "boilerplate line"
COUNTS = pa.schema([("host", pa.uint64()), ("line", pa.uint64()), ("documents", pa.int64())])
"""In how many documents of a host a line stands; line 0 counts the documents themselves."""


class LineRules(Settings):
    """When a line is its host's rather than its page's."""

    documents: int = Field(default=5, ge=2)
    """At least so many documents of the host have it."""
    share: float = Field(default=0.3, gt=0.0, le=1.0)
    """And at least this share of them."""
    least: int = Field(default=10, ge=2)
    """A host with fewer documents keeps all its lines: too few to tell."""
    exempt: tuple[str, ...] = ("code", "table", "heading")
    """Kinds of blocks whose lines are neither counted nor cut: pages of a kind share headings such as "References"."""


def counted(hosts: Sequence[str | None], texts: Sequence[str], structures: Sequence[cuts.Structure], rules: LineRules) -> pa.Table:
    """Map: for each host and line of a file of documents the number of its documents. Documents without a host count nowhere."""
    host_of, pairs = word_keys(hosts), []
    for host, text, structure in zip(host_of.tolist(), texts, structures, strict=True):
        if host:
            found = {line for line, _, _ in _lines(text, structure, rules)}
            pairs.append(np.array([[host] * (len(found) + 1), [0, *found]], dtype=np.uint64))
    host, line = np.concatenate([np.zeros((2, 0), np.uint64), *pairs], axis=1)
    return summed([pa.table([host, line, np.ones(len(host), np.int64)], schema=COUNTS)])


def summed(parts: Sequence[pa.Table]) -> pa.Table:
    """Reduce: the counts of several files for one bucket of lines added up, in order of host and line."""
    table = pa.concat_tables([COUNTS.empty_table(), *parts])
    host, line, documents = (table[name].to_numpy() for name in COUNTS.names)
    sort = np.lexsort((line, host))
    host, line, documents = host[sort], line[sort], documents[sort]
    new = np.flatnonzero(np.append(True, (host[1:] != host[:-1]) | (line[1:] != line[:-1]))[: len(host)])
    total = np.add.reduceat(documents, new) if len(new) else documents
    return pa.table([host[new], line[new], total], schema=COUNTS)


def boilerplate(counts: pa.Table, sizes: pa.Table, rules: LineRules) -> pa.Table:
    """The rows of ``counts`` whose lines are to be cut. ``sizes`` are the rows of line 0 of all buckets, in order of host."""
    host, line, documents = (counts[name].to_numpy() for name in COUNTS.names)
    known = sizes["host"].to_numpy()
    place = np.minimum(np.searchsorted(known, host), max(0, len(known) - 1))
    of = np.where(known[place] == host, sizes["documents"].to_numpy()[place], 0) if len(known) else np.zeros(len(host), np.int64)
    often = (documents >= rules.documents) & (documents >= rules.share * of) & (of >= rules.least) & (line != 0)
    return counts.filter(pa.array(often))


def found_in(
    documents: Sequence[tuple[str, str | None, str, cuts.Structure]], common: pa.Table, rules: LineRules
) -> Iterator[tuple[str, list[cuts.Span]]]:
    """Map: for each (id, host, text, structure) the lines to cut, with their line breaks; ``common`` is what `boilerplate` gave."""
    lines: dict[int, set[int]] = {}
    for host, line in zip(common["host"].to_pylist(), common["line"].to_pylist(), strict=True):
        lines.setdefault(host, set()).add(line)
    host_of = word_keys(host for _, host, _, _ in documents).tolist()
    for (doc_id, _, text, structure), host in zip(documents, host_of, strict=True):
        if known := lines.get(host):
            yield doc_id, cuts.merged((start, end) for line, start, end in _lines(text, structure, rules) if line in known)


def _lines(text: str, structure: cuts.Structure, rules: LineRules) -> Iterator[tuple[int, int, int]]:
    """Hash, start and end of each line that says something, case and white space aside; lines without a letter are left alone."""
    exempt = cuts.blocks(structure, rules.exempt)
    borders = [0]
    for line in text.split("\n"):
        borders.append(borders[-1] + len(line) + 1)
    first = 0
    for start, end in pairwise(borders):
        while first < len(exempt) and exempt[first][1] <= start:
            first += 1
        inside = first < len(exempt) and exempt[first][0] < end - 1
        words = "" if inside else " ".join(text[start : end - 1].casefold().split())
        if any(map(str.isalpha, words)):
            yield xxhash.xxh3_64_intdigest(words.encode("utf-8", "surrogatepass")) or 1, start, min(end, len(text))
