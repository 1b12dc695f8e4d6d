"""The same text once: exact copies by hash, then by web address, then near copies by signature. Each maps over files and reduces buckets.

A document is known by its place in the order of preference (``places.py``), so "which one is kept" is the smaller number. Buckets and links
are numpy arrays of a few bytes a row: a reduce holds one bucket, and the last step 25 bytes for each document and one block of links, so
nothing here has to spill. Copies are sought within a scope (all text, one source, one group); a held-out document is compared with all text
whatever the scope, because none of its copies may be trained on.

A near copy is dropped in favour of one document that is kept and is itself similar enough, never through a chain of others: whole clusters
(Lee et al. 2022, arXiv:2107.06499) grow through steps that are each small. Similarity is estimated, see ``minhash.py`` for its error.
"""

from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit

import numpy as np
import pyarrow as pa
import xxhash
from jaxtyping import Bool, Int64, Shaped, UInt64
from pydantic import Field

from scratchlm.core.config import Settings, nearest
from scratchlm.core.errors import UsageError
from scratchlm.corpus import minhash, places


class CopyRules(Settings):
    """Which copies are sought, and which one of them is kept."""

    keep: tuple[str, ...] = places.KEEP
    """Columns by their weight; the largest value is kept, with a '-' before the name the smallest; then the smallest id."""
    scope: str = "all"
    """``all``, or the column within whose values copies are sought: ``source``, ``host``, ``lang``."""
    address: bool = True
    """Whether of two documents with one web address only one is kept."""
    near: float | None = Field(default=0.8, gt=0.0, le=1.0)
    """The least share of common phrases of a near copy, as estimated."""


MOST_PARTNERS = 200
"""Documents that one is compared with in one bucket of equal bands: the most preferred ones."""
MOST_PAIRS = 2**20
"""Comparisons in one bucket of equal bands, or one for each document; what boilerplate shares would cost the square of its size."""
CHUNK = 2**15
"""Pairs whose signatures are in memory at once: 30 MB."""
TRACKING = ("utm_", "fbclid", "gclid", "mc_cid", "mc_eid", "ref_src", "phpsessid", "jsessionid", "sessionid")
"""How parameters begin that say where a reader came from, not which page it is."""

LINKS = pa.schema([("place", pa.int64()), ("of", pa.int64()), ("similarity", pa.float32())])
"""``place`` is a near copy of ``of``, which is preferred to it."""
DECISIONS = pa.schema(
    [(name, pa.string()) for name in ("doc_id", "stage", "rule", "dup_of", "cluster")]
    + [("value", pa.float64()), ("threshold", pa.float64()), ("cluster_size", pa.int64())]
)

Places = Int64[np.ndarray, " N"]
Keys = UInt64[np.ndarray, " N"]
Mask = Bool[np.ndarray, " M"]
Signatures = Callable[[Places], minhash.Signatures]


@dataclass(frozen=True)
class Copies:
    """Which documents go, in favour of which, and the clusters they are in; all by place."""

    place: Places
    of: Places
    value: Shaped[np.ndarray, " N"]
    cluster: Places
    """The most preferred document of the cluster."""
    size: Places


@dataclass(frozen=True)
class Crowd:
    """What the limits on comparisons left out."""

    buckets: int
    """Of equal bands, with more documents than are compared pair by pair."""
    largest: int
    """Documents in the fullest bucket of all."""
    skipped: int
    """Pairs that were not compared."""


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
    if scope != "all" and scope not in table.column_names:
        raise UsageError(f"scope: no column '{scope}'.{nearest(scope, ['all', *table.column_names])}")
    return np.zeros(len(table), np.uint64) if scope == "all" else word_keys(table[scope].to_pylist())


def banded(signatures: minhash.Signatures, enough: Mask, places: Places, scopes: Keys) -> pa.Table:
    """The rows that `links` wants: a key for each band of each document that has enough text."""
    keys = minhash.band_keys(signatures[enough]).ravel()
    place, scope = (np.repeat(column[enough], minhash.BANDS) for column in (places, scopes))
    return pa.table({"key": keys, "scope": scope, "place": place})


def same(rows: pa.Table, *, spared: Mask, held_out: Mask) -> Copies:
    """The copies in one bucket of (key, check, scope, apart, place): of equal key and check the most preferred document is kept.

    A ``spared`` document is only a copy of one that is kept and also has the same ``apart``: math.log10 is not decimal's.
    ``spared`` and ``held_out`` are asked by place.
    """
    key, check, scope, apart, place = (rows[name].to_numpy() for name in ("key", "check", "scope", "apart", "place"))
    sort = np.lexsort((place, check, key))
    new = _starts(key[sort], check[sort])
    aside = np.logical_or.reduceat(held_out[place[sort]], np.flatnonzero(new)) if len(sort) else new
    scope = np.where(aside[np.cumsum(new) - 1], 0, scope[sort])
    again = np.lexsort((place[sort], scope, np.cumsum(new)))
    group, scope, place, apart = np.cumsum(new)[again], scope[again], place[sort][again], apart[sort][again]
    first = _starts(group, scope)
    group = np.cumsum(first) - 1
    head, size = place[first], np.bincount(group)
    of = head[group]
    own = np.flatnonzero(first | spared[place])  # of these, those with equal names are copies
    own = own[np.lexsort((place[own], apart[own], group[own]))]
    new = _starts(group[own], apart[own])
    of[own] = np.where(spared[place[own]], place[own][new][np.cumsum(new) - 1], of[own])
    gone = of != place
    value = np.ones(np.count_nonzero(gone), np.float32)
    return Copies(place[gone], of[gone], value, head[group][gone], size[group][gone])


def _starts(*columns: np.ndarray) -> Mask:
    """Where a row differs from the one before it."""
    new = np.ones(len(columns[0]), dtype=np.bool_)
    new[1:] = np.logical_or.reduce([column[1:] != column[:-1] for column in columns])
    return new


def links(rows: pa.Table, signatures: Signatures, *, least: float, held_out: Mask) -> tuple[pa.Table, Crowd]:
    """Pairs in one bucket of (key, scope, place) that share a band and whose estimated similarity is at least ``least``; each pair once."""
    key, scope, place = (rows[name].to_numpy() for name in ("key", "scope", "place"))
    sort = np.lexsort((place, scope, key))
    found, crowd = _near(place[sort], _starts(key[sort], scope[sort]), None, signatures, least)
    parts = [found]
    if len(scope) and (scope != scope[0]).any():
        sort = np.lexsort((place, ~held_out[place], key))
        found, more = _near(place[sort], _starts(key[sort]), held_out[place[sort]], signatures, least)
        parts, crowd = [*parts, found], Crowd(crowd.buckets + more.buckets, max(crowd.largest, more.largest), crowd.skipped + more.skipped)
    return joined(parts), crowd


def _near(place: Places, new: Mask, leads: Mask | None, signatures: Signatures, least: float) -> tuple[pa.Table, Crowd]:
    """Compare each document with those before it in its group, or with those of them that lead."""
    start = np.flatnonzero(new)
    size = np.diff(start, append=len(place))
    before = np.arange(len(place)) - np.repeat(start, size)
    if leads is not None:
        before = np.minimum(before, np.repeat(np.add.reduceat(leads.astype(np.int64), start), size))
    partners = np.minimum(before, np.repeat(np.clip(MOST_PAIRS // np.maximum(1, size), 1, MOST_PARTNERS), size))
    ends, parts = np.cumsum(partners), [LINKS.empty_table()]
    for low in range(0, int(partners.sum()), CHUNK):
        pair = np.arange(low, min(low + CHUNK, int(ends[-1])))
        one = np.searchsorted(ends, pair, side="right")
        other = np.repeat(start, size)[one] + pair - (ends[one] - partners[one])
        similarity = minhash.similarity(signatures(place[one]), signatures(place[other]))
        near = similarity >= least
        one, other = place[one[near]], place[other[near]]
        parts.append(pa.table([np.maximum(one, other), np.minimum(one, other), similarity[near]], schema=LINKS))
    left = (before - partners)[partners < before]
    crowded = np.count_nonzero(np.add.reduceat(before > partners, start)) if len(start) else 0
    return pa.concat_tables(parts), Crowd(int(crowded), int(size.max(initial=0)), int(left.sum()))


def joined(parts: Sequence[pa.Table]) -> pa.Table:
    """The links of several buckets, each once, in the order that `settle` wants."""
    table = pa.concat_tables(parts)
    place, of = table["place"].to_numpy(), table["of"].to_numpy()
    sort = np.lexsort((of, place))
    return table.take(sort[_starts(place[sort], of[sort])])


def settle(blocks: Callable[[], Iterable[pa.Table]], total: int, *, spared: Mask) -> Copies:
    """Which documents go: in the order of preference each one that is similar to one already kept, in favour of the most similar of those.

    ``blocks`` gives the links in ascending order of ``place`` (`joined`), all of one place in one block, and anew each time it is called.
    ``spared`` documents are kept.
    """
    kept, gone, twins, values = bytearray(b"\1") * total, array("q"), array("q"), array("f")
    exempt = spared.tobytes()
    for block in blocks():
        last, best, twin = -1, 0.0, -1
        columns = (block[name].to_pylist() for name in ("place", "of", "similarity"))
        for place, of, similarity in [*zip(*columns, strict=True), (total, -1, 0.0)]:
            if place != last:
                if twin >= 0:
                    kept[last] = 0
                    gone.append(last)
                    twins.append(twin)
                    values.append(best)
                last, best, twin = place, 0.0, -1
            if of >= 0 and kept[of] and similarity > best and not exempt[place]:
                best, twin = similarity, of
    label = components(lambda: ((block["place"].to_numpy(), block["of"].to_numpy()) for block in blocks()), total)
    size = np.bincount(label, minlength=total)
    place = np.array(gone, dtype=np.int64)
    return Copies(place, np.array(twins, dtype=np.int64), np.array(values, dtype=np.float32), label[place], size[label[place]])


def components(pairs: Callable[[], Iterable[tuple[Places, Places]]], total: int) -> Int64[np.ndarray, " total"]:
    """The smallest member of each one's connected component. Reads the pairs a few times over (a logarithm of the longest path)."""
    label, differ = np.arange(total), True
    while differ:
        differ = False
        for one, other in pairs():
            least = np.minimum(label[one], label[other])
            differ = differ or not np.array_equal(label[one], label[other])
            for end in (one, other):
                np.minimum.at(label, label[end], least)
                np.minimum.at(label, end, least)
        while not np.array_equal(label, shorter := label[label]):
            label = shorter
    return label


def decisions(copies: Copies, ids: Shaped[np.ndarray, " total"], *, stage: str, threshold: float = 1.0) -> pa.Table:
    """Rows for the books, in the order of places; stages are ``exact``, ``address`` and ``near``."""
    sort = np.argsort(copies.place)
    doc_id, dup_of, cluster = (pa.array(ids[places[sort]].astype("U32")) for places in (copies.place, copies.of, copies.cluster))
    stages, rules = (pa.repeat(word, len(sort)) for word in (stage, f"{stage} copy"))
    numbers = copies.value[sort].astype(np.float64), np.full(len(sort), threshold), copies.size[sort]
    return pa.table([doc_id, stages, rules, dup_of, cluster, *numbers], schema=DECISIONS)


def survivors(total: int, *copies: Copies) -> Mask:
    """Who is left by place, so that the next step maps over those only."""
    left = np.ones(total, dtype=np.bool_)
    for found in copies:
        left[found.place] = False
    return left
