"""The same text once: exact copies by hash, then by web address, then near copies by signature. Each maps over files and reduces buckets.

A document is known by its place in the order of preference (``places.py``), so "which one is kept" is the smaller number. A bucket holds
all that is asked of its documents: 60 bytes a row for exact copies, 145 for near ones, which need no other file. Copies are sought within
a scope (all text, one source, one host). Held-out text is different: whatever the scope and whether or not near copies are sought, each
document is compared with every held-out one that it shares a band with, and what is an exact or a near copy of one leaves training.

A near copy is dropped in favour of one document that is kept and is itself similar enough, never through a chain of others: whole clusters
(Lee et al. 2022, arXiv:2107.06499) grow through steps that are each small. Similarity is estimated, see ``minhash.py`` for its error; two
documents of similarity .8 share no band with probability .08, and then their similarity is never looked at.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qsl, urlencode, urlsplit

import numpy as np
import pyarrow as pa
import xxhash
from jaxtyping import Bool, Int64, UInt64
from pydantic import Field, field_validator

from scratchlm.core.config import Settings, nearest
from scratchlm.corpus import minhash, places
from scratchlm.corpus.places import begins
from scratchlm.corpus.schema import RANKED


class CopyRules(Settings):
    """Which copies are sought, and which one of them is kept."""

    keep: tuple[str, ...] = places.KEEP
    """After what is pinned and what is held out, columns by their weight; the largest value is kept, with a '-' before the name the
    smallest; then the smallest id."""
    scope: Literal["all", "source", "host", "lang"] = "all"
    """All text, or the column within whose values copies are sought."""
    address: bool = True
    """Whether of two documents with one web address only one is kept."""
    near: float | None = Field(default=0.8, gt=0.0, le=1.0)
    """The least share of common phrases of a near copy, as estimated; None keeps near copies."""
    held_out: float = Field(default=0.8, gt=0.0, le=1.0)
    """The share of phrases in common with a held-out document, as estimated, from which on a document is not trained on, in any scope."""

    @field_validator("keep")
    @classmethod
    def _are_columns(cls, keep: tuple[str, ...]) -> tuple[str, ...]:
        for name in keep:
            if (column := name.removeprefix("-")) not in RANKED.names:
                raise ValueError(f"no column '{column}'.{nearest(column, RANKED.names)}")
        return keep


MOST_PARTNERS = 200
"""Documents that one is compared with in one bucket of equal bands: the most preferred ones. All held-out ones come beside them."""
MOST_PAIRS = 2**20
"""Comparisons in one bucket of equal bands, or one for each document; what boilerplate shares would cost the square of its size."""
MOST_LINKS = 16
"""Similar documents that are remembered of one in one bucket: the most preferred ones."""
CHUNK = 2**15
"""Pairs that are compared at once: 8 MB."""
TRACKING = ("utm_", "fbclid", "gclid", "mc_cid", "mc_eid", "ref_src", "phpsessid", "jsessionid", "sessionid")
"""How parameters begin that say where a reader came from, not which page it is."""

OF_DOCUMENT = [("place", pa.int64()), ("row", pa.int64()), ("run", pa.int32()), ("pinned", pa.bool_()), ("held_out", pa.bool_())]
SAME = pa.schema([(name, pa.uint64()) for name in ("key", "check", "scope", "apart")] + OF_DOCUMENT)
"""What exact copies and documents of one web address are sought by; ``row`` and ``run`` say where the document lies."""
KEYED = [("key", pa.uint64()), ("scope", pa.uint64()), ("place", pa.int64()), ("pinned", pa.bool_()), ("held_out", pa.bool_())]
BANDED = pa.schema([*KEYED, ("brief", pa.binary(minhash.SLOTS))])
"""What near copies are sought by, a row for each band of a document: 14 times 138 bytes, or some 1.9 KB of disk for a document."""
LINKS = pa.schema([("place", pa.int64()), ("of", pa.int64()), ("similarity", pa.float32()), ("firm", pa.bool_())])
"""``place`` is a near copy of ``of``, which is preferred to it; ``firm``: it goes whether or not ``of`` stays, because of held-out text."""
FOUND = pa.schema([("place", pa.int64()), ("of", pa.int64()), ("value", pa.float32()), ("firm", pa.bool_())])
"""``place`` goes in favour of ``of``."""
COPIES = pa.schema([*FOUND, pa.field("row", pa.int64()), pa.field("run", pa.int32())])
"""The same with where the document lies."""

Places = Int64[np.ndarray, " N"]
Keys = UInt64[np.ndarray, " K"]
Mask = Bool[np.ndarray, " M"]


@dataclass(frozen=True)
class Crowd:
    """What the limits on comparisons left out."""

    buckets: int
    """Of equal bands, with more documents than are compared pair by pair."""
    largest: int
    """Documents in the fullest bucket of all."""
    skipped: int
    """Pairs that were not compared; none of them is with a held-out document."""


def text_key(substance: str) -> tuple[int, int]:
    """Two halves of a 128-bit hash: the key, and what must also be equal (one half alone would meet by chance at 10**9 documents)."""
    return divmod(xxhash.xxh3_128_intdigest(substance.encode("utf-8", "surrogatepass")), 2**64)


def word_keys(words: Iterable[str | None]) -> Keys:
    """A hash for each word, 0 for none: scopes, hosts, names."""
    known: dict[str | None, int] = {None: 0}
    for word in (words := list(words)):
        if word not in known:
            known[word] = xxhash.xxh3_64_intdigest(str(word).encode("utf-8", "surrogatepass"))
    return np.array([known[word] for word in words], dtype=np.uint64)


def address(url: str | None) -> str | None:
    """The page that a web address names, whatever its scheme, fragment, 'www.', tracking and order of parameters; None if it is none."""
    try:
        parts = urlsplit((url or "").strip())
        host, port = (parts.hostname or "").removeprefix("www.").rstrip("."), parts.port
    except ValueError:
        return None
    if parts.scheme.lower() not in ("http", "https") or not host:
        return None
    asked = sorted(pair for pair in parse_qsl(parts.query, keep_blank_values=True) if not pair[0].lower().startswith(TRACKING))
    place = f"{host}:{port}" if port not in (None, 80, 443) else host
    return place + (parts.path.rstrip("/") or "/") + ("?" + urlencode(asked) if asked else "")


def scope_keys(table: pa.Table, scope: str) -> Keys:
    """The scope of each row: that of the column ``scope``, or one for ``all``."""
    return np.zeros(len(table), np.uint64) if scope == "all" else word_keys(table[scope].to_pylist())


def band_rows(own: pa.Table, keys: Keys, at: Places) -> pa.Table:
    """The rows of ``BANDED`` at some places of ``keys``, which has all bands of the documents of ``own`` one after another."""
    return own.take(at // minhash.BANDS).add_column(0, "key", pa.array(keys[at])).select(BANDED.names).cast(BANDED)


def packed(brief: minhash.Brief) -> pa.Array:
    """Rows of bytes as a column."""
    data = pa.py_buffer(np.ascontiguousarray(brief))
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(minhash.SLOTS), len(brief), [None, data])


def unpacked(column: pa.ChunkedArray) -> minhash.Brief:
    """The rows of bytes that a column has."""
    whole = column.combine_chunks()
    data = np.frombuffer(whole.buffers()[1], np.uint8) if len(whole) else np.zeros(0, np.uint8)
    return data[whole.offset * minhash.SLOTS : (whole.offset + len(whole)) * minhash.SLOTS].reshape(-1, minhash.SLOTS)


def same(rows: pa.Table) -> pa.Table:
    """The copies in one bucket of ``SAME`` as ``COPIES``: of equal key and check the most preferred one is kept.

    A ``pinned`` document is only a copy of one that is kept and also has the same ``apart``: math.log10 is not decimal's.
    """
    names = ("key", "check", "scope", "apart", "place", "pinned", "held_out")
    key, check, scope, apart, place, pinned, held_out = (rows[name].to_numpy() for name in names)
    sort = np.lexsort((place, check, key))
    new = begins(key[sort], check[sort])
    aside = np.logical_or.reduceat(held_out[sort], np.flatnonzero(new)) if len(sort) else new
    scope = np.where(aside[np.cumsum(new) - 1], 0, scope[sort])
    again = np.lexsort((place[sort], scope, np.cumsum(new)))
    group, scope, at = np.cumsum(new)[again], scope[again], sort[again]
    first = begins(group, scope)
    group = np.cumsum(first) - 1
    of = at[first][group]
    own = np.flatnonzero(first | pinned[at])  # of these, those with equal names are copies
    own = own[np.lexsort((place[at[own]], apart[at[own]], group[own]))]
    new = begins(group[own], apart[at[own]])
    of[own] = np.where(pinned[at[own]], at[own][new][np.cumsum(new) - 1], of[own])
    at, of = at[of != at], of[of != at]
    ones, none = np.ones(len(at), np.float32), np.zeros(len(at), np.bool_)
    return pa.table([place[at], place[of], ones, none, rows["row"].to_numpy()[at], rows["run"].to_numpy()[at]], schema=COPIES)


def links(rows: pa.Table, *, near: float | None, held_out: float) -> tuple[pa.Table, Crowd]:
    """Pairs in one bucket of ``BANDED`` that share a band and are similar enough, each once: within a scope, and with held-out text.

    Pairs are left out whose less preferred document is pinned, for it stays.
    """
    key, scope, place, pinned, aside = (rows[name].to_numpy() for name in BANDED.names[:-1])
    pairs = Pairs(place, pinned, unpacked(rows["brief"]))
    parts, crowd = [], Crowd(0, 0, 0)
    if near is not None:
        sort = np.lexsort((place, scope, key))
        found, crowd = _near(pairs, sort, begins(key[sort], scope[sort]), near)
        parts.append(found)
    sort = np.lexsort((place, ~aside, key))
    parts.append(_with_held_out(pairs, sort, begins(key[sort]), aside[sort], held_out))
    return joined(parts), crowd


@dataclass(frozen=True)
class Pairs:
    """Documents of a bucket that are compared."""

    place: Places
    pinned: Mask
    brief: minhash.Brief

    def similar(self, one: Places, other: Places, least: float, *, firm: bool) -> tuple[pa.Table, Mask]:
        """Which of some pairs, each given by two rows, are similar enough: as ``LINKS``, and as a mask."""
        similarity = minhash.similarity(self.brief[one], self.brief[other])
        near = similarity >= least
        one, other = one[near], other[near]
        less = np.where(self.place[one] > self.place[other], one, other)
        more = one + other - less
        table = pa.table([self.place[less], self.place[more], similarity[near], np.full(len(less), firm)], schema=LINKS)
        return table.filter(pa.array(~self.pinned[less])), near


def _near(pairs: Pairs, sort: Places, new: Mask, least: float) -> tuple[pa.Table, Crowd]:
    """Compare each document with those before it in its group, the most preferred ones if they are many."""
    start = np.flatnonzero(new)
    size = np.diff(start, append=len(sort))
    before = np.arange(len(sort)) - np.repeat(start, size)
    partners = np.minimum(before, np.repeat(np.clip(MOST_PAIRS // np.maximum(1, size), 1, MOST_PARTNERS), size))
    ends, parts = np.cumsum(partners), [LINKS.empty_table()]
    first = np.repeat(start, size)
    for low in range(0, int(partners.sum()), CHUNK):
        pair = np.arange(low, min(low + CHUNK, int(ends[-1])))
        one = np.searchsorted(ends, pair, side="right")
        other = first[one] + pair - (ends[one] - partners[one])
        parts.append(pairs.similar(sort[one], sort[other], least, firm=False)[0])
    left = (before - partners)[partners < before]
    crowded = np.count_nonzero(np.add.reduceat(before > partners, start)) if len(start) else 0
    return pa.concat_tables(parts), Crowd(int(crowded), int(size.max(initial=0)), int(left.sum()))


def _with_held_out(pairs: Pairs, sort: Places, new: Mask, aside: Mask, least: float) -> pa.Table:
    """Compare each document with the held-out ones of its group, which come first in it, until it must go because of one."""
    start = np.flatnonzero(new)
    leads = np.add.reduceat(aside.astype(np.int64), start) if len(start) else start
    group = np.cumsum(new) - 1
    left, rank, parts = np.flatnonzero(~aside & (leads[group] > 0)), 0, [LINKS.empty_table()]
    while len(left):
        open_ = np.ones(len(left), np.bool_)
        for low in range(0, len(left), CHUNK):
            some = left[low : low + CHUNK]
            found, near = pairs.similar(sort[some], sort[start[group[some]] + rank], least, firm=True)
            parts.append(found)
            open_[low : low + CHUNK] = ~near | pairs.pinned[sort[some]]
        rank += 1
        left = left[open_ & (leads[group[left]] > rank)]
    return pa.concat_tables(parts)


def joined(parts: Sequence[pa.Table]) -> pa.Table:
    """Links in order of place and each once; of one document those to held-out text and to the ``MOST_LINKS`` most preferred others."""
    table = pa.concat_tables(parts)
    place, of, firm = (table[name].to_numpy() for name in ("place", "of", "firm"))
    sort = np.lexsort((~firm, of, place))
    sort = sort[begins(place[sort], of[sort])]
    start = np.flatnonzero(begins(place[sort]))
    rank = np.arange(len(sort)) - np.repeat(start, np.diff(start, append=len(sort)))
    return table.take(sort[(rank < MOST_LINKS) | firm[sort]])


def settle(blocks: Iterable[pa.Table], total: int) -> Iterator[pa.Table]:
    """Which documents go, block by block as ``FOUND``: in the order of preference each one that is similar to one already kept.

    It goes in favour of the most similar of those, and a firm link counts though its other end is gone, if nothing else does. ``blocks``
    give the links in ascending order of ``place``, all of one place in one block. Holds a block and one bit for each of all documents.
    """
    gone = bytearray((total + 7) // 8)
    for block in blocks:
        found: dict[int, tuple[bool, float, int, bool]] = {}
        last = -1
        for place, of, similarity, firm in zip(*(block[name].to_pylist() for name in LINKS.names), strict=True):
            if place != last and last in found:
                gone[last >> 3] |= 1 << (last & 7)
            last = place
            kept = not gone[of >> 3] >> (of & 7) & 1
            if (kept or firm) and (kept, similarity) > found.get(place, (False, -1.0))[:2]:
                found[place] = kept, similarity, of, firm
        if last in found:
            gone[last >> 3] |= 1 << (last & 7)
        rows = [(place, of, value, firm) for place, (_, value, of, firm) in found.items()]
        yield pa.table([list(column) for column in zip(*rows, strict=True)] or [[]] * len(FOUND), schema=FOUND)
