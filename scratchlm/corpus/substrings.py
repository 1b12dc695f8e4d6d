"""Passages that stand in the corpus twice: found in a suffix array of a shard, all but the first one cut.

Lee et al. 2022, arXiv:2107.06499. A position is *repeated* if the same ``least`` bytes also start at an earlier one and end before it; a
passage is a run of such bytes. Suffixes that share so many bytes are neighbours in the array, so the longest common prefix, for which Kasai
et al. 2001 walk the text byte after byte, need not be known: comparing neighbours eight bytes at a time answers for all of them at once.

The first one is the one in the most preferred document, so documents come in the order of preference. Memory: 13 bytes for each byte of a
shard (measured on 16 MiB of novels; 11 are arrays of its length), so ``LARGEST`` keeps it below 1 GB.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Int32, Int64
from pydantic import Field

from scratchlm.core.config import Settings
from scratchlm.core.errors import DataError
from scratchlm.corpus import cuts

OP = "repeated passage"
LARGEST = 64 * 2**20
"""Bytes of a shard."""
CHUNK = 2**20
"""Neighbours that are compared at once."""
SEPARATOR = b"\xff"
"""Between documents; no UTF-8 holds this byte."""
WORD = 40
"""Characters within which a cut moves to the next white space, so that no half word stays."""


class PassageRules(Settings):
    """What counts as repeated."""

    least: int = Field(default=100, ge=16)
    """Bytes; 50 tokens of a usual vocabulary are 100 to 200."""
    shard_bytes: int = Field(default=LARGEST, ge=2**16, le=LARGEST)
    """Text that is searched at once; passages are found within a shard only."""


def shards(sizes: Sequence[int], most: int = LARGEST) -> list[slice]:
    """Documents of these sizes in bytes, in their order, as shards of at most ``most`` bytes with a separator after each document.

    DataError when one document is larger.
    """
    found, first, filled = [], 0, 0
    for number, size in enumerate(sizes):
        if size + 1 > most:
            raise DataError(f"repeated passages: a document has {size:,} bytes, and a shard at most {most - 1:,}. Refuse such documents.")
        if filled + size + 1 > most:
            found.append(slice(first, number))
            first, filled = number, 0
        filled += size + 1
    return [*found, slice(first, len(sizes))] if len(sizes) else []


def passages(
    texts: Sequence[str], structures: Sequence[cuts.Structure], least: int = PassageRules().least
) -> tuple[list[list[cuts.Span]], int]:
    """For each text, the most preferred first, what to cut, in characters; and how many code blocks stood in the way.

    A code block goes whole or stays whole. Ends move inwards to white space where some is near.
    """
    blobs = [text.encode("utf-8", "surrogatepass") for text in texts]
    ends = np.cumsum([len(blob) + 1 for blob in blobs], dtype=np.int64) - 1
    joined = SEPARATOR.join([*blobs, b""])
    spans = repeated(joined, ends, least)
    found, stepped = [], 0
    document_of = np.searchsorted(ends, spans[:, 0], side="right")
    borders = np.searchsorted(document_of, np.arange(len(texts) + 1)).tolist()
    for number, (text, structure) in enumerate(zip(texts, structures, strict=True)):
        own = spans[borders[number] : borders[number + 1]]
        start = int(ends[number]) - len(blobs[number])
        inside = _characters(blobs[number], own - start) if len(own) else []
        left, hits = cuts.around([_at_words(text, *span) for span in inside], cuts.blocks(structure))
        found.append(left)
        stepped += hits
    return found, stepped


def repeated(joined: bytes, ends: Int64[np.ndarray, " N"], least: int) -> Int64[np.ndarray, "P 2"]:
    """Start and end of each run of repeated bytes; ``ends`` are where the documents end, each with one separator after it."""
    from pydivsufsort import divsufsort  # heavy: only where passages are sought

    length = len(joined)
    if length > LARGEST:
        raise DataError(f"repeated passages: a shard of {length:,} bytes, and at most {LARGEST:,} can be searched at once. Cut it up.")
    if length <= least:
        return np.zeros((0, 2), np.int64)
    suffixes = divsufsort(joined)
    new = _differ(joined, suffixes, least)
    first = np.full(np.count_nonzero(new), length, np.int32)
    for here, kind in _kinds(new):  # the earliest of those that begin alike
        starts = np.flatnonzero(np.diff(kind, prepend=-1))
        first[kind[starts]] = np.minimum(first[kind[starts]], np.minimum.reduceat(suffixes[here], starts))
    again = np.zeros(length, np.bool_)
    for here, kind in _kinds(new):
        again[suffixes[here][suffixes[here] - first[kind] >= least]] = True
    for end in ends.tolist():  # what starts in one document and ends in another
        again[max(0, end - least + 1) : end + 1] = False
    return _runs(again, least)


def _differ(joined: bytes, suffixes: Int32[np.ndarray, " L"], least: int) -> Bool[np.ndarray, " L"]:
    """Whether each suffix in their order begins otherwise than the one before it, within ``least`` bytes."""
    words = np.ndarray((len(joined) + least,), "<u8", joined + bytes(least + 8), strides=(1,))
    steps = [*range(0, least - 8, 8), least - 8]
    new = np.ones(len(joined), np.bool_)
    for low in range(1, len(joined), CHUNK):
        one, other = suffixes[low : low + CHUNK], suffixes[low - 1 : low + CHUNK - 1]
        alike = np.arange(len(one))
        for step in steps:
            alike = alike[words[one[alike] + step] == words[other[alike] + step]]
        new[low + alike] = False
    return new


def _kinds(new: Bool[np.ndarray, " L"]) -> Iterator[tuple[slice, Int64[np.ndarray, " C"]]]:
    """The number of the kind of each suffix, some at a time; a suffix that is new begins a kind."""
    before = -1
    for low in range(0, len(new), CHUNK):
        kind = np.cumsum(new[low : low + CHUNK]) + before
        yield slice(low, low + CHUNK), kind
        before = int(kind[-1])


def _runs(again: Bool[np.ndarray, " L"], least: int) -> Int64[np.ndarray, "P 2"]:
    """The bytes covered by ``least`` bytes from each marked position, as runs."""
    starts, ends = np.flatnonzero(np.diff(again, prepend=False, append=False)).reshape(-1, 2).T
    far = starts[1:] - ends[:-1] >= least
    return np.stack([starts[np.append(True, far)[: len(starts)]], ends[np.append(far, True)[: len(ends)]] + least - 1], axis=1)


def _characters(blob: bytes, spans: Int64[np.ndarray, "P 2"]) -> list[cuts.Span]:
    """Spans of bytes as spans of characters; a character that is only partly inside stays."""
    leads = (np.frombuffer(blob, np.uint8) & 0xC0) != 0x80
    before = np.concatenate([[0], np.cumsum(leads)])  # characters that begin before each byte
    torn = np.append(~leads, False)[spans[:, 1]]
    return [
        (start, end) for start, end in zip(before[spans[:, 0]].tolist(), (before[spans[:, 1]] - torn).tolist(), strict=True) if start < end
    ]


def _at_words(text: str, start: int, end: int) -> cuts.Span:
    """The span without the half words at its ends, and without the white space that then must part what is left."""
    if start > 0 and text[start - 1].isalnum() and text[start].isalnum():
        start = next((place for place in range(start, min(start + WORD, end)) if text[place].isspace()), start)
    if end < len(text) and text[end - 1].isalnum() and text[end].isalnum():
        end = next((place for place in range(end, max(end - WORD, start), -1) if text[place - 1].isspace()), end)
    if 0 < start < end < len(text) and not (text[start - 1].isspace() or text[end].isspace()):
        start, end = start + text[start].isspace(), end - (text[end - 1].isspace() and not text[start].isspace())
    return start, end
