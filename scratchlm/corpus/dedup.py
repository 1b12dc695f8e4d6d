"""The same text once: exact copies by hash, near copies by MinHash, every candidate verified before anything is dropped.

Broder 1997; Lee et al. 2022, arXiv:2107.06499. A copy is dropped in favour of one document that is kept, never of a chain of others,
so clusters cannot grow through steps that are each small.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
from rensa import RMinHash  # pyright: ignore[reportAttributeAccessIssue] - its compiled part has no types

from scratchlm.core.records import Document
from scratchlm.corpus.ledger import Verdict
from scratchlm.sources.record import digest

SHINGLE = 5
"""Words of a shingle."""
LEAST_SHINGLES = 8
"""A document with fewer has too little text for a similarity to mean anything; only exact copies of it are dropped."""
BANDS, ROWS = 20, 6
"""Two documents of similarity s meet in a band with probability 1 - (1 - s**6)**20: .998 at s = .8, .14 at .45."""
MOST_CANDIDATES = 200
"""Comparisons for one document; a bucket of boilerplate would otherwise cost the square of its size."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A document that says what another one says."""

    document: Document
    of: Document
    verdict: Verdict


def substance(document: Document) -> str:
    """What must differ: of an entry in a reference the text below its heading, else the whole text; white space aside."""
    if document.facts.get("doc_type") == "code":
        _, _, below = document.text.partition("\n\n")
        return " ".join(below.split()) or document.text
    return " ".join(document.text.split())


def exact(documents: Sequence[Document], *, spared: Collection[str] = frozenset()) -> tuple[list[Document], list[Copy]]:
    """Those to keep and the copies; of equal ones the first is kept, so order is preference.

    Documents whose id is ``spared`` are copies only of those whose title ends in the same name: math.log10 is not decimal's.
    """
    first: dict[str, Document] = {}
    kept, copies = [], []
    for document in documents:
        text = substance(document)
        plain, named = digest(text), digest(f"{str(document.facts.get('title')).rpartition('.')[2]}\0{text}")
        if known := first.get(named if document.id in spared else plain):
            copies.append(Copy(document, known, Verdict("the same text as another document", 1, 1)))
        else:
            kept.append(document)
            first.setdefault(plain, document)
            first.setdefault(named, document)
    return kept, copies


def near(
    documents: Sequence[Document],
    *,
    least: float,
    seed: int,
    spared: Collection[str] = frozenset(),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[list[Document], list[Copy]]:
    """Those to keep and those whose shingles overlap with an earlier kept one by ``least`` (Jaccard, computed, not estimated).

    Documents whose id is ``spared`` are kept whatever they resemble.
    """
    buckets: dict[tuple[int, bytes], list[int]] = defaultdict(list)
    kept: list[Document] = []
    copies: list[Copy] = []
    for done, document in enumerate(documents):
        if done % 1000 == 0:
            progress(done, len(documents))
        found = shingles(document)
        keys = _bands(found, seed) if len(found) >= LEAST_SHINGLES else []
        candidates = [] if document.id in spared else [kept[place] for place in _candidates(buckets, keys)]
        if twin := _twin(found, candidates, least):
            similarity, original = twin
            copies.append(
                Copy(document, original, Verdict(f"{similarity:.0%} of its phrases stand in another document", similarity, least))
            )
            continue
        for key in keys:
            buckets[key].append(len(kept))
        kept.append(document)
    return kept, copies


def shingles(document: Document) -> set[str]:
    """Each run of five words, case and white space aside."""
    words = substance(document).lower().split()
    return {" ".join(words[start : start + SHINGLE]) for start in range(len(words) - SHINGLE + 1)}


def jaccard(one: set[str], other: set[str]) -> float:
    """Shared over all."""
    return len(one & other) / max(1, len(one | other))


def _bands(found: set[str], seed: int) -> list[tuple[int, bytes]]:
    signature = RMinHash(num_perm=BANDS * ROWS, seed=seed % 2**32)
    signature.update(sorted(found))
    values = np.array(signature.digest(), dtype=np.uint32).reshape(BANDS, ROWS)
    return [(band, row.tobytes()) for band, row in enumerate(values)]


def _candidates(buckets: dict[tuple[int, bytes], list[int]], keys: list[tuple[int, bytes]]) -> list[int]:
    places = {place for key in keys for place in buckets.get(key, ())}
    return sorted(places)[:MOST_CANDIDATES]


def _twin(found: set[str], candidates: list[Document], least: float) -> tuple[float, Document] | None:
    """The most similar candidate, the earlier one on a tie."""
    best: tuple[float, Document] | None = None
    for candidate in candidates:
        similarity = jaccard(found, shingles(candidate))
        if similarity >= least and (best is None or similarity > best[0]):
            best = (similarity, candidate)
    return best
