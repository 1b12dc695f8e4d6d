"""Lines that a host puts on its pages whatever they say: menus, notices, "read more". Found by counting, per host, and cut.

Map each run of files to counts per host and line; add up the counts bucket by bucket; send each run the lines that are common and stand in
it; cut the lines in a second pass. Wenzek et al. 2020, arXiv:1911.00359, count lines over all pages; here a line must be common on its own
host, so that a proverb that many hosts quote stays. A run holds 24 bytes for each different line of a host, a bucket 36 a row, and all
buckets 16 bytes for each host that has enough pages; who cuts holds 8 bytes for each common line of its own run.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
import xxhash
from jaxtyping import UInt64
from pydantic import Field

from scratchlm.core.config import Settings
from scratchlm.corpus import cuts
from scratchlm.corpus.copies import word_keys
from scratchlm.corpus.minhash import mix
from scratchlm.corpus.places import begins

OP = "boilerplate line"
COUNTS = pa.schema([("host", pa.uint64()), ("line", pa.uint64()), ("documents", pa.int64())])
"""In how many documents of a host a line stands; line 0 counts the documents themselves."""
IN_RUN = pa.schema([*COUNTS, pa.field("run", pa.int32())])
COMMON = pa.schema([("key", pa.uint64()), ("run", pa.int32())])
"""Common lines, each known by one number made of host and line, for each run in which they stand."""
Keys = UInt64[np.ndarray, " N"]


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
    """Counts of several parts added up, in order of host and line."""
    table = pa.concat_tables([COUNTS.empty_table(), *parts])
    host, line, documents = (table[name].to_numpy() for name in COUNTS.names)
    sort = np.lexsort((line, host))
    host, line, documents = host[sort], line[sort], documents[sort]
    new = np.flatnonzero(begins(host, line))
    total = np.add.reduceat(documents, new) if len(new) else documents
    return pa.table([host[new], line[new], total], schema=COUNTS)


def common(rows: pa.Table, sizes: pa.Table, rules: LineRules) -> pa.Table:
    """Reduce: the rows of ``IN_RUN`` of one bucket of lines whose lines are to be cut, as ``COMMON``.

    ``sizes`` are the rows of line 0, summed, in order of host; a host that is not among them has too few documents.
    """
    host, line, documents, run = (rows[name].to_numpy() for name in IN_RUN.names)
    sort = np.lexsort((line, host))
    new = begins(host[sort], line[sort])
    total = np.add.reduceat(documents[sort], np.flatnonzero(new)) if len(sort) else documents
    of = np.empty(len(sort), np.int64)
    of[sort] = total[np.cumsum(new) - 1]
    known = sizes["host"].to_numpy()
    place = np.minimum(np.searchsorted(known, host), max(0, len(known) - 1))
    size = np.where(known[place] == host, sizes["documents"].to_numpy()[place], 0) if len(known) else np.zeros(len(host), np.int64)
    often = (of >= rules.documents) & (of >= rules.share * size) & (size >= rules.least)
    return pa.table([key_of(host[often], line[often]), run[often]], schema=COMMON)


def key_of(host: UInt64[np.ndarray, " H"], line: UInt64[np.ndarray, " L"]) -> UInt64[np.ndarray, " L"]:
    """One number for each line of a host, or of the host of each."""
    return mix(mix(host) ^ line)


def found_in(
    documents: Iterable[tuple[str, str | None, str, cuts.Structure]], keys: Keys, rules: LineRules
) -> Iterator[tuple[str, list[cuts.Span]]]:
    """Map: for each (id, host, text, structure) with a host the lines to cut, with their line breaks; ``keys`` ascend."""
    for doc_id, name, text, structure in documents:
        host = word_keys([name])
        if len(keys) and host[0]:
            lines = list(_lines(text, structure, rules))
            key = key_of(host, np.array([line for line, _, _ in lines], dtype=np.uint64))
            at = np.minimum(np.searchsorted(keys, key), len(keys) - 1)
            cut = [(start, end) for (_, start, end), found in zip(lines, (keys[at] == key).tolist(), strict=True) if found]
            yield doc_id, cuts.merged(cut)


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
