"""Which documents are kept aside: whole groups, so that nothing a model is tested on has a sibling among what it learned from.

A document and its parents (a question and its answers, a file and its repository) stay together, and so do their groups. Near copies of
what is kept aside leave training later, because the rule for copies keeps what is held out first (``places.py``).
"""

import json
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Int8, Int64

from scratchlm.core import seeds
from scratchlm.core.errors import DataError
from scratchlm.core.records import Document
from scratchlm.corpus.copies import components
from scratchlm.sources.folder import FEW_FILES

SPLITS = ("train", "validation", "test")
LEAST_TAIL = 0.05
LARGEST_SHARE = 0.1
"""Of a held-out split that one group should fill at most."""

ROWS = pa.schema([("doc_id", pa.string()), ("group", pa.string()), ("characters", pa.int64()), ("parents", pa.list_(pa.string()))])
Numbers = Int64[np.ndarray, " N"]


def assign(documents: Sequence[Document], *, fractions: Mapping[str, float], pinned: Collection[str], seed: int) -> dict[str, str]:
    """The split of each document by its id; see `assign_rows`."""
    columns = [
        [document.id for document in documents],
        [str(document.facts["host"]) for document in documents],
        [len(document.text) for document in documents],
        [json.loads(str(document.facts.get("parents") or "null")) for document in documents],
    ]
    codes = assign_rows(pa.table(columns, schema=ROWS), fractions=fractions, pinned=pinned, seed=seed)
    return {document.id: SPLITS[code] for document, code in zip(documents, codes.tolist(), strict=True)}


def assign_rows(rows: pa.Table, *, fractions: Mapping[str, float], pinned: Collection[str], seed: int) -> Int8[np.ndarray, " N"]:
    """The split of each row of ``ROWS`` as a place in ``SPLITS``. ``pinned`` groups always train; ``fractions`` are of all characters.

    A pure function of the groups, sizes, parents and the seed; only with few groups, whose ends are kept aside, of the order of the rows.
    Holds 40 bytes for each row beside the table. DataError when there are too few documents for three splits.
    """
    coded = rows["group"].cast(pa.string()).fill_null("").combine_chunks().dictionary_encode()
    found = coded.dictionary.to_pylist()
    names = sorted(found)
    rank = {name: place for place, name in enumerate(names)}
    group = np.array([rank[name] for name in found], dtype=np.int64)[coded.indices.to_numpy()]
    size, family = rows["characters"].to_numpy(), _families(rows)
    is_pinned = np.array([name in pinned for name in names], dtype=np.bool_)
    always = np.isin(family, family[is_pinned[group]])
    if len(names) < FEW_FILES:
        split = np.where(always, 0, _by_tail(group, size, fractions)[family]).astype(np.int8)
    else:
        differ = group != group[family]
        clan = components(lambda: [(group[differ], group[family][differ])], len(names))  # groups that share a family
        order = sorted((seeds.derive(seed, "split", group=names[place]), place) for place in np.unique(clan).tolist())
        taken = frozenset(clan[is_pinned].tolist())
        free = [place for _, place in order if place not in taken]
        split = _by_group(np.bincount(clan[group], size, len(names)), free, fractions)[clan[group]]
    return _with_something_in_each(split, family, always)


def _families(rows: pa.Table) -> Numbers:
    """The first row of those that a row is connected with through parents; one that is not among the rows connects its children too."""
    count = len(rows)
    parents = rows["parents"].combine_chunks() if "parents" in rows.column_names else pa.nulls(count, pa.list_(pa.string()))
    child, parent = parents.value_parent_indices().to_numpy(), parents.flatten()
    if not len(parent):
        return np.arange(count)
    # Each id gets the number of its first appearance: that of its row, and those that have none come after all rows.
    ids = pa.concat_arrays([rows["doc_id"].combine_chunks(), parent]).dictionary_encode().indices.to_numpy()
    return components(lambda: [(child.astype(np.int64), ids[count:].astype(np.int64))], count + len(parent))[:count]


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


def _by_tail(group: Numbers, size: Numbers, fractions: Mapping[str, float]) -> Int8[np.ndarray, " N"]:
    """The last parts of each group: first what validates, then what tests."""
    validation, test = (max(LEAST_TAIL, fractions[split]) if fractions[split] else 0.0 for split in ("validation", "test"))
    sort = np.argsort(group, kind="stable")
    ends = np.cumsum(size[sort])
    total = np.bincount(group, size)[group]
    start = np.append(0, ends)[np.searchsorted(group[sort], group)]
    before = np.empty_like(ends)
    before[sort] = ends - size[sort]
    middle = (before - start + size / 2) / np.maximum(1, total)
    return np.where(middle > 1 - test, 2, np.where(middle > 1 - test - validation, 1, 0)).astype(np.int8)


def _with_something_in_each(split: Int8[np.ndarray, " N"], family: Numbers, always: Bool[np.ndarray, " N"]) -> Int8[np.ndarray, " N"]:
    """A small corpus can leave a split empty: it is given the last document that trains (a pinned one only if all are), and its family."""
    for code in (2, 1):
        if code not in split:
            training = np.flatnonzero(split == 0)
            if len(np.unique(family[training])) < 2:
                raise DataError(f"corpus: {len(split)} documents are too few to train, validate and test on. Give more text with --data.")
            free = training[~always[training]]
            split[family == family[(free if len(free) else training)[-1]]] = code
    return split
