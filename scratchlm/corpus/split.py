"""Which documents are kept aside: whole groups, so that nothing a model is tested on has a sibling among what it learned from.

The group of a web page is the domain that somebody registered: www.a.org and en.a.org are one. A document and its parents (a question and
its answers, a file and its repository) stay together, and so do their groups. Near copies of what is kept aside leave training later,
because the rule for copies keeps what is held out first (``places.py``) and always looks for them (``copies.py``).
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa
import xxhash
from jaxtyping import Bool, Int8, Int64, UInt64

from scratchlm.core import seeds
from scratchlm.core.errors import DataError
from scratchlm.sources.folder import FEW_FILES

SPLITS = ("train", "validation", "test")
LEAST_TAIL = 0.05
LARGEST_SHARE = 0.1
"""Of a held-out split that one group should fill at most."""
SECOND_LEVEL = frozenset(
    (
        *("ac", "asn", "co", "com", "ed", "edu", "firm", "gen", "go", "gob", "gov", "govt", "gouv", "id", "ltd", "me", "mil", "mod"),
        *("ne", "net", "nhs", "nic", "nom", "or", "org", "plc", "police", "sch", "web"),
    )
)
"""Labels below which countries let names be registered, as in co.uk, com.au and ac.jp."""

Numbers = Int64[np.ndarray, " N"]
Files = Callable[[], Iterable[pa.Table]]
"""Gives tables of ``doc_id``, ``doc_type``, ``host``, ``n_chars`` and ``parents``, anew each time it is called."""


def registered(host: str) -> str:
    """The registered domain of a host: the last two labels, or three where a country has a second level; a number is its own.

    Without the public suffix list, which changes every week, so that a corpus does not change with it. Of a.blogspot.com it says
    blogspot.com: too large a group is safe here, too small a one is not.
    """
    labels = host.lower().rstrip(".").partition(":")[0].split(".")
    if labels[-1].isdecimal() or host.startswith("["):
        return host
    has_second = len(labels) > 2 and len(labels[-1]) == 2 and labels[-2] in SECOND_LEVEL
    return ".".join(labels[-3 if has_second else -2 :])


class Census:
    """Groups and families of all documents: what is held grows with the number of groups, and by 32 bytes for a document with parents."""

    def __init__(self, files: Files, pinned: Collection[str]) -> None:
        """Count what ``files`` give; ``pinned`` are hosts whose groups always train."""
        self._codes: dict[str, int] = {}
        self.count, sizes, held = 0, [0], set()
        child, parent = [np.zeros(0, np.int64)], [np.zeros(0, np.uint64)]
        for table in files():
            group = self._coded(table, frozenset(pinned), held)
            sizes += [0] * (len(self._codes) - len(sizes))
            codes, at = np.unique(group, return_inverse=True)
            for code, size in zip(codes.tolist(), np.bincount(at, table["n_chars"].to_numpy()).tolist(), strict=True):
                sizes[code] += int(size)
            parents = table["parents"].combine_chunks()
            child.append(parents.value_parent_indices().to_numpy().astype(np.int64) + self.count)
            parent.append(_hashed(parents.flatten().to_pylist()))
            self.count += len(table)
        self.names = sorted(self._codes)
        self._rank = np.zeros(len(self.names), np.int64)
        self._rank[[self._codes[name] for name in self.names]] = np.arange(len(self.names))
        self.sizes, self.pinned = np.zeros(len(self.names), np.int64), np.zeros(len(self.names), np.bool_)
        self.sizes[self._rank] = sizes[: len(self.names)]
        self.pinned[self._rank[sorted(held)]] = True
        self._find_families(files, np.concatenate(child), np.concatenate(parent))

    def groups(self, table: pa.Table) -> Numbers:
        """The number of each row's group among ``names``."""
        return self._rank[self._coded(table, frozenset(), set())]

    def _coded(self, table: pa.Table, pinned: frozenset[str], held: set[int]) -> Numbers:
        is_web = np.array([kind == "web" for kind in table["doc_type"].to_pylist()], dtype=np.bool_)
        hosts = table["host"].cast(pa.string()).fill_null("").combine_chunks().dictionary_encode()
        place, group = hosts.indices.to_numpy(), np.zeros(len(table), np.int64)
        for kind, own in ((registered, is_web), (str, ~is_web)):
            codes = np.zeros(len(hosts.dictionary), np.int64)
            for number in np.unique(place[own]).tolist():
                host = hosts.dictionary[number].as_py()
                codes[number] = self._codes.setdefault(kind(host), len(self._codes))
                if host in pinned:
                    held.add(int(codes[number]))
            group[own] = codes[place[own]]
        return group

    def _find_families(self, files: Files, child: Numbers, parent: UInt64[np.ndarray, " N"]) -> None:
        """Rows that are connected through parents; a parent that is not among the rows connects its children too."""
        parents, of = np.unique(parent, return_inverse=True)
        node, start = np.arange(self.count, self.count + len(parents)), 0  # of each parent: its row, or a number behind all rows
        for table in files() if len(parents) else ():
            ids = _hashed(table["doc_id"].to_pylist())
            at = np.minimum(np.searchsorted(parents, ids), len(parents) - 1)
            known = np.flatnonzero(parents[at] == ids)
            node[at[known]] = start + known
            start += len(table)
        members, number = np.unique(np.concatenate([child, node[of]]), return_inverse=True)
        first = components(lambda: [(number[: len(child)], number[len(child) :])], len(members))
        rows = int(np.searchsorted(members, self.count))
        self.members = members[:rows]
        """Rows that have parents or children, ascending."""
        self.first = first[:rows]
        """Of each the first of its family, as a place in ``members``."""
        self.of_members = np.zeros(rows, np.int64)
        """The group of each."""
        start = 0
        for table in files() if rows else ():
            own = self.here(start, start + len(table))
            self.of_members[own] = self.groups(table)[self.members[own] - start]
            start += len(table)

    def here(self, start: int, end: int) -> slice:
        """Which of ``members`` are rows from ``start`` up to ``end``."""
        return slice(*np.searchsorted(self.members, [start, end]).tolist())

    def family(self, row: int) -> Numbers:
        """All rows of one row's family."""
        at = np.flatnonzero(self.members == row)
        return self.members[self.first == self.first[at[0]]] if len(at) else np.array([row])


def _hashed(ids: Sequence[str]) -> UInt64[np.ndarray, " N"]:
    return np.array([xxhash.xxh3_64_intdigest(name.encode("utf-8", "surrogatepass")) for name in ids], dtype=np.uint64)


def assign(files: Files, *, pinned: Collection[str], fractions: Mapping[str, float], seed: int) -> Int8[np.ndarray, " N"]:
    """The split of each row as a place in ``SPLITS``. Groups with a pinned host always train; ``fractions`` are of all characters.

    A pure function of the groups, sizes, parents and the seed; only with few groups, whose ends are kept aside, of the order of the rows.
    Holds two bytes for each row beside the ``Census``. DataError when there are too few documents for three splits.
    """
    census = Census(files, pinned)
    is_few = len(census.names) < FEW_FILES
    tails = Tails(census.sizes, fractions)
    of_group = np.zeros(0, np.int8) if is_few else _by_clan(census, fractions, seed)
    pinned_family = np.zeros(len(census.members), np.bool_)
    np.logical_or.at(pinned_family, census.first, census.pinned[census.of_members])
    split, always, start = np.zeros(census.count, np.int8), np.zeros(census.count, np.bool_), 0
    for table in files():
        group, end = census.groups(table), start + len(table)
        own = census.here(start, end)
        split[start:end] = tails.of(group, table["n_chars"].to_numpy()) if is_few else of_group[group]
        always[start:end] = census.pinned[group]
        split[census.members[own]] = split[census.members[census.first[own]]]
        always[census.members[own]] = pinned_family[census.first[own]]
        start = end
    split[always] = 0
    return _with_something_in_each(split, census, always)


def _by_clan(census: Census, fractions: Mapping[str, float], seed: int) -> Int8[np.ndarray, " G"]:
    """The split of each group; groups that share a family are in one."""
    clan = components(lambda: [(census.of_members, census.of_members[census.first])], len(census.names))
    order = sorted((seeds.derive(seed, "split", group=census.names[place]), place) for place in np.unique(clan).tolist())
    taken = frozenset(clan[census.pinned].tolist())
    free = [place for _, place in order if place not in taken]
    return _by_group(np.bincount(clan, census.sizes, len(clan)), free, fractions)[clan]


def components(pairs: Callable[[], Iterable[tuple[Numbers, Numbers]]], total: int) -> Int64[np.ndarray, " total"]:
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


def _by_group(size: np.ndarray, order: Sequence[int], fractions: Mapping[str, float]) -> Int8[np.ndarray, " G"]:
    """Groups in this order fill the held-out splits; one that is too large for what is missing is left to train."""
    split_of = np.zeros(len(size), np.int8)
    for split, fraction in fractions.items():
        share = missing = fraction * float(size.sum())
        # Small groups first, so that a split is not one large module; then, where files are large, any that fits.
        for most in (share * LARGEST_SHARE, share):
            for group in order:
                if not split_of[group] and size[group] <= min(most, missing):
                    split_of[group] = SPLITS.index(split)
                    missing -= size[group]
    return split_of


class Tails:
    """The last parts of each group: first what validates, then what tests."""

    def __init__(self, sizes: Int64[np.ndarray, " G"], fractions: Mapping[str, float]) -> None:
        self._sizes, self._before = sizes, np.zeros(len(sizes), np.int64)
        self._validation, self._test = (max(LEAST_TAIL, fractions[name]) if fractions[name] else 0.0 for name in ("validation", "test"))

    def of(self, group: Numbers, size: Numbers) -> Int8[np.ndarray, " N"]:
        """The split of the next rows."""
        sort = np.argsort(group, kind="stable")
        ends = np.cumsum(size[sort])
        start = np.append(0, ends)[np.searchsorted(group[sort], group)]
        before = np.empty_like(ends)
        before[sort] = ends - size[sort]
        middle = (self._before[group] + before - start + size / 2) / np.maximum(1, self._sizes[group])
        np.add.at(self._before, group, size)
        return np.where(middle > 1 - self._test, 2, np.where(middle > 1 - self._test - self._validation, 1, 0)).astype(np.int8)


def _with_something_in_each(split: Int8[np.ndarray, " N"], census: Census, always: Bool[np.ndarray, " N"]) -> Int8[np.ndarray, " N"]:
    """A small corpus can leave a split empty: it is given the last document that trains (a pinned one only if all are), and its family."""
    for code in (2, 1):
        if code not in split:
            trains = split == 0
            free = trains & ~always
            rows = free if free.any() else trains
            family = census.family(len(rows) - 1 - int(np.argmax(rows[::-1]))) if rows.any() else np.zeros(0, np.int64)
            if np.count_nonzero(trains) <= np.count_nonzero(trains[family]):
                raise DataError(f"corpus: {len(split)} documents are too few to train, validate and test on. Give more text with --data.")
            split[family] = code
    return split
