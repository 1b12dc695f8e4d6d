"""Passages that stand in the corpus twice: all but the first one are cut, however far apart they stand.

A position is *repeated* if the same ``least`` bytes also start at an earlier one and end before it; a passage is a run of such bytes (Lee
et al. 2022, arXiv:2107.06499). Earlier means in a document that is preferred, or before in the same one. Nothing that long is missed:

1. Of every ``least`` bytes of a document at least one mark is taken, which the bytes alone decide: the smallest hash of ``gram`` bytes
   (winnowing, Schleimer, Wilkerson and Aiken 2003), on average one in a quarter of ``least``. Equal bytes have equal marks.
2. Marks meet in buckets by their hash, over all documents. Those that stand once are done with.
3. Of the others the text around travels to where equal marks meet: all ``least`` bytes that hold the mark. A suffix array decides there
   what is repeated. Suffixes that share so many bytes are neighbours in it, so the longest common prefix, for which Kasai et al. 2001 walk
   the text byte after byte, need not be known: comparing neighbours eight bytes at a time answers for all of them at once.

One limit is left: a mark that stands more than ``crowd`` times is compared in parts of so many, each with the first ones of all beside it.
The suffix array takes 13 bytes for each byte, and ``SEARCHED`` keeps it below 250 MB.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Int32, Int64, UInt64
from pydantic import Field

from scratchlm.core.config import Settings
from scratchlm.corpus import cuts
from scratchlm.corpus.minhash import BACK, POWERS, mix
from scratchlm.corpus.minhash import BLOCK as MOST

OP = "repeated passage"
SEARCHED = 16 * 2**20
"""Bytes that are searched at once."""
CHUNK = 2**20
"""Neighbours that are compared at once."""
SEPARATOR = b"\xff"
"""Between documents; no UTF-8 holds this byte."""
WORD = 40
"""Characters within which a cut moves to the next white space, so that no half word stays."""
LETTER = mix(np.arange(1000, 1256, dtype=np.uint64))


class PassageRules(Settings):
    """What counts as repeated."""

    least: int = Field(default=100, ge=16, le=4096)
    """Bytes; 50 tokens of a usual vocabulary are 100 to 200."""


def gram(least: int) -> int:
    """Bytes of a mark."""
    return least // 2


def crowd(least: int) -> int:
    """Places of one mark that are compared with one another at once."""
    return SEARCHED // (2 * least)


def marks(joined: bytes, ends: Int64[np.ndarray, " N"], least: int) -> tuple[Int64[np.ndarray, " M"], UInt64[np.ndarray, " M"]]:
    """Where marks begin, ascending, and their hashes; ``ends`` are where the documents end, each with one separator after it.

    Every ``least`` bytes of a document hold a mark, and the same bytes hold one with the same hash wherever they stand.
    """
    width, found = gram(least), [(np.zeros(0, np.int64), np.zeros(0, np.uint64))]
    for low in range(0, len(joined) - least + 1, MOST - least + 1):
        letters = np.frombuffer(joined[low : low + MOST], np.uint8)
        sums = np.zeros(len(letters) + 1, np.uint64)
        np.cumsum(LETTER[letters] * POWERS[: len(letters)], out=sums[1:])
        hashes = mix((sums[width:] - sums[:-width]) * BACK[: len(letters) - width + 1])
        at = _smallest(hashes, least - width + 1)
        found.append((at + low, hashes[at]))
    at, hashes = (np.concatenate(parts) for parts in zip(*found, strict=True))
    at, first = np.unique(at, return_index=True)  # blocks overlap
    inside = at + width <= ends[np.searchsorted(ends, at)] if len(at) else np.zeros(0, np.bool_)
    return at[inside], hashes[first][inside]


def _smallest(hashes: UInt64[np.ndarray, " H"], window: int) -> Int64[np.ndarray, " M"]:
    """The places of the smallest hash of each window; of many equal ones next to each other enough for each window to hold one."""
    least = _sliding(hashes, window, np.minimum)
    # A hash is the smallest of a window that holds it if it is the largest of all those windows' smallest.
    edge = np.zeros(window - 1, np.uint64)
    at = np.flatnonzero(_sliding(np.concatenate([edge, least, edge]), window, np.maximum) == hashes)
    value, block = hashes[at], at // (window // 2)
    gap = np.append(True, (value[1:] != value[:-1]) | (block[1:] - block[:-1] > 1))[: len(at)]
    last = np.append((value[1:] != value[:-1]) | (block[1:] != block[:-1]), True)[-len(at) :] if len(at) else gap
    return at[gap | last]


def _sliding(values: UInt64[np.ndarray, " H"], window: int, extreme: np.ufunc) -> UInt64[np.ndarray, " W"]:
    """The extreme of each window, from those of the beginnings and ends of blocks (van Herk 1992)."""
    count = len(values) - window + 1
    blocks = np.resize(values, -(-len(values) // window) * window).reshape(-1, window)
    after = extreme.accumulate(blocks, axis=1).ravel()
    before = extreme.accumulate(blocks[:, ::-1], axis=1)[:, ::-1].ravel()
    return extreme(before[:count], after[window - 1 : window - 1 + count])


def around(start: int, length: int, least: int) -> tuple[int, int]:
    """From where to where all ``least`` bytes lie that hold the mark at ``start`` in a document of ``length`` bytes."""
    return max(0, start - least + gram(least)), min(length, start + least)


def repeated(
    joined: bytes, ends: Int64[np.ndarray, " N"], at: Int64[np.ndarray, " N"], least: int
) -> tuple[Int64[np.ndarray, " P"], Int64[np.ndarray, "P 2"]]:
    """Of pieces of documents the runs of repeated bytes: the number of the piece, start and end in ``joined``.

    ``ends`` are where the pieces end, each with one separator after it; ``at`` is where in the corpus each begins, a number that grows with
    the places of documents, so far apart that no two documents overlap. Pieces may overlap.
    """
    from pydivsufsort import divsufsort  # heavy: only where passages are sought

    length = len(joined)
    if length <= least:
        return np.zeros(0, np.int64), np.zeros((0, 2), np.int64)
    shift = at - np.append(0, ends[:-1] + 1)
    suffixes = divsufsort(joined)
    new = _differ(joined, suffixes, least)
    first = np.full(np.count_nonzero(new), np.iinfo(np.int64).max)
    for here, kind in _kinds(new):  # the earliest of those that begin alike
        starts = np.flatnonzero(np.diff(kind, prepend=-1))
        first[kind[starts]] = np.minimum(first[kind[starts]], np.minimum.reduceat(_places(suffixes[here], ends, shift), starts))
    again = np.zeros(length, np.bool_)
    for here, kind in _kinds(new):
        again[suffixes[here][_places(suffixes[here], ends, shift) - first[kind] >= least]] = True
    for end in ends.tolist():  # what starts in one piece and ends in another
        again[max(0, end - least + 1) : end + 1] = False
    spans = _runs(again, least)
    return np.searchsorted(ends, spans[:, 0]), spans


def _places(suffixes: Int32[np.ndarray, " C"], ends: Int64[np.ndarray, " N"], shift: Int64[np.ndarray, " N"]) -> Int64[np.ndarray, " C"]:
    """Where in the corpus suffixes begin."""
    return suffixes + shift[np.searchsorted(ends, suffixes)]


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


def settled(text: str, spans: Int64[np.ndarray, "P 2"], structure: cuts.Structure) -> tuple[list[cuts.Span], int]:
    """What to cut of a text, in characters, for runs of its bytes in order; and how many code blocks stood in the way.

    A code block goes whole or stays whole. Ends move inwards to white space where some is near.
    """
    inside = _characters(text.encode("utf-8", "surrogatepass"), spans)
    return cuts.around([_at_words(text, *span) for span in inside], cuts.blocks(structure))


def _characters(blob: bytes, spans: Int64[np.ndarray, "P 2"]) -> list[cuts.Span]:
    """Spans of bytes in order as spans of characters; a character that is only partly inside stays."""
    leads = (np.frombuffer(blob, np.uint8) & 0xC0) != 0x80
    borders = spans.ravel()
    between = [np.count_nonzero(leads[start:end]) for start, end in pairwise([0, *borders.tolist()])]
    before = np.cumsum(between, dtype=np.int64).reshape(-1, 2)  # characters that begin before each border
    before[:, 1] -= np.append(~leads, False)[spans[:, 1]]
    return [(start, end) for start, end in before.tolist() if start < end]


def _at_words(text: str, start: int, end: int) -> cuts.Span:
    """The span without the half words at its ends, and without the white space that then must part what is left."""
    if start > 0 and text[start - 1].isalnum() and text[start].isalnum():
        start = next((place for place in range(start, min(start + WORD, end)) if text[place].isspace()), start)
    if end < len(text) and text[end - 1].isalnum() and text[end].isalnum():
        end = next((place for place in range(end, max(end - WORD, start), -1) if text[place - 1].isspace()), end)
    if 0 < start < end < len(text) and not (text[start - 1].isspace() or text[end].isspace()):
        start, end = start + text[start].isspace(), end - (text[end - 1].isspace() and not text[start].isspace())
    return start, end
