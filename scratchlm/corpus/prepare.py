"""From what a source found to three splits of clean documents, with the books of what was dropped on the way."""

import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from scratchlm.core import seeds
from scratchlm.core.errors import DataError
from scratchlm.core.journal import Journal
from scratchlm.core.records import Document
from scratchlm.corpus import clean, dedup, filters, split
from scratchlm.corpus.ledger import Ledger, Number, Verdict
from scratchlm.sources.found import Dropped


@dataclass(frozen=True)
class Rules:
    """The numbers that decide what is kept."""

    fractions: Mapping[str, float]
    pinned: Collection[str]
    thresholds: Mapping[str, Number]
    near_duplicate: float
    minimum_bytes: int
    where: str
    """The source's name for a reader, for the sentence that says it is too small."""
    seed: int


@dataclass(frozen=True)
class Prepared:
    """The documents to learn from and to test on, and the books."""

    splits: dict[str, list[Document]]
    ledger: Ledger
    copies: Mapping[str, int]
    """How many copies of a kept document were dropped, by its id."""
    seconds: Mapping[str, float]


def prepare(found: Iterable[Document | Dropped], rules: Rules, journal: Journal) -> Prepared:
    """Clean, split, drop copies, filter and mask, in this order; documents keep the order in which they were found.

    Of two that say the same, the one in a pinned group stays, else the one held out, else the one used more, else the first.
    """
    ledger, seconds, clock = Ledger(), {}, time.perf_counter()
    documents = _cleaned(found, ledger)
    check_size(documents, ledger, rules)
    place = {document.id: number for number, document in enumerate(documents)}
    seconds["read and clean"], clock = time.perf_counter() - clock, time.perf_counter()
    split_of = split.assign(documents, fractions=rules.fractions, pinned=rules.pinned, seed=rules.seed)
    documents.sort(key=lambda document: _preference(document, split_of[document.id], rules.pinned))
    # What is taught stays though two entries say nearly the same (os.remove, os.unlink): all of it trains, so nothing leaks.
    spared = {document.id for document in documents if document.facts["host"] in rules.pinned}
    documents, same = dedup.exact(documents, spared=spared)
    _book_copies(ledger, "exact", same)
    seconds["exact copies"], clock = time.perf_counter() - clock, time.perf_counter()
    documents = [clean.mask(document) for document in _filtered(documents, rules.thresholds, ledger, journal)]
    seconds["filter and mask"], clock = time.perf_counter() - clock, time.perf_counter()
    documents, similar = _near(documents, rules, spared, journal)
    _book_copies(ledger, "near", similar)
    seconds["near copies"] = time.perf_counter() - clock
    _book_masks(ledger, [*documents, *(copy.document for copy in similar)])
    documents.sort(key=lambda document: place[document.id])
    splits = {name: [document for document in documents if split_of[document.id] == name] for name in split.SPLITS}
    if empty := [name for name, members in splits.items() if not members]:
        raise DataError(
            f"{rules.where}: nothing is left for {' and '.join(empty)} after {len(ledger.dropped)} documents were dropped"
            f"{_reasons(ledger)}. Add text."
        )
    copies = Counter(copy.of.id for copy in [*same, *similar])
    return Prepared(splits, ledger, copies, {name: round(value, 2) for name, value in seconds.items()})


def _cleaned(found: Iterable[Document | Dropped], ledger: Ledger) -> list[Document]:
    documents = []
    for item in found:
        if isinstance(item, Dropped):
            ledger.enter(item)
            continue
        text = clean.normalise(item.text)
        ledger.edited["normalise"] += text != item.text
        document = replace(item, text=text)
        ledger.enter(document)
        if not text.strip():
            ledger.drop(document, "clean", "empty", Verdict("no text is left", 0, 1))
        elif len(text) > clean.LARGEST:
            ledger.drop(document, "clean", "too large", Verdict(f"{len(text)} characters", len(text), clean.LARGEST))
        else:
            documents.append(document)
    return documents


def check_size(documents: Iterable[Document], ledger: Ledger, rules: Rules) -> None:
    """DataError when the documents hold fewer than ``minimum_bytes``, with what was found and what became of the rest."""
    found = sum(len(document.text.encode()) for document in documents)
    if found < rules.minimum_bytes:
        raise DataError(
            f"{rules.where}: {found:,} bytes of usable text{_reasons(ledger)}, and {rules.minimum_bytes:,} are needed. "
            "Add text, or lower corpus.minimum_bytes with --set."
        )


def _reasons(ledger: Ledger) -> str:
    """The commonest reasons for dropping, for the end of a sentence; empty when nothing was dropped."""
    reasons = Counter(item.rule for item in ledger.dropped).most_common(4)
    return f" (dropped: {', '.join(f'{number} × {rule}' for rule, number in reasons)})" if reasons else ""


def _preference(document: Document, split_name: str, pinned: Collection[str]) -> tuple[int, float]:
    """Lower is kept: what is taught, then what is held out, then what is used much. Sorting is stable, so the first found wins a tie."""
    rank = 0 if document.facts["host"] in pinned else 1 if split_name != "train" else 2
    return rank, -float(document.facts.get("score") or 0.0)


def _filtered(documents: Sequence[Document], thresholds: Mapping[str, Number], ledger: Ledger, journal: Journal) -> list[Document]:
    kept = []
    for done, document in enumerate(documents):
        if done % 1000 == 0:
            journal.progress("filter", done, len(documents), "documents")
        if refused := filters.refusal(document, thresholds):
            ledger.drop(document, "filter", *refused)
        else:
            kept.append(document)
    return kept


def _near(
    documents: Sequence[Document], rules: Rules, spared: Collection[str], journal: Journal
) -> tuple[list[Document], list[dedup.Copy]]:
    def progress(done: int, total: int) -> None:
        journal.progress("near copies", done, total, "documents")

    seed = seeds.derive(rules.seed, "minhash")
    return dedup.near(documents, least=rules.near_duplicate, seed=seed, spared=spared, progress=progress)


def _book_copies(ledger: Ledger, stage: str, copies: Sequence[dedup.Copy]) -> None:
    for copy in copies:
        ledger.drop(copy.document, stage, f"{stage} copy", copy.verdict, dup_of=copy.of.id)


def _book_masks(ledger: Ledger, documents: Sequence[Document]) -> None:
    for document in documents:
        for op, removed in clean.masked(document):
            ledger.edited[op] += 1
            ledger.removed_by_edits += removed
