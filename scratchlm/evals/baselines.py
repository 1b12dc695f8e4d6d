"""How well is the held-out text predicted without a neural network? What a model must beat, in bits per byte of the same text.

Witten & Bell 1991, IEEE Trans. Inf. Theory 37:1085 (method C): in each context, the chance of a byte never seen there is the share
of different bytes seen, and goes to the context one byte shorter. Documents stand alone: no context reaches over a document's start,
before which stands a mark. Beside it xz and zstd, primed with the training text.
"""

import lzma
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import zstandard

from scratchlm.core.errors import DataError
from scratchlm.evals.intervals import Measured, ratio

LONGEST = 8
"""Context bytes that fit into one 64-bit word, which is what makes sorting them fast."""
MARK = b"\0"
"""Stands between documents; texts hold no NUL."""
ORDERS = (3, 4, 5, 6, 7, 8)
ZSTD_LEVEL, ZSTD_WINDOW = 22, 27


def ngrams(train: Sequence[str], test: Sequence[str], *, orders: Sequence[int] = ORDERS) -> dict[int, Measured]:
    """Bits per byte of the test documents for each order (bytes of context), with intervals over documents."""
    sizes = np.array([len(text.encode()) for text in test])
    if not sizes.sum():
        raise DataError("test text: empty, so there is nothing to predict. Give more text, or a larger share to the test split.")
    edges = np.concatenate([[0], np.cumsum(sizes)])
    found = {}
    for order, chances in probabilities([text.encode() for text in train], [text.encode() for text in test], orders=orders).items():
        bits = np.concatenate([[0.0], np.cumsum(-np.log2(chances))])
        found[order] = ratio((bits[edges[1:]] - bits[edges[:-1]]).tolist(), sizes.tolist())
    return found


def best(scores: Mapping[int, Measured]) -> tuple[int, Measured]:
    """The order with the fewest bits per byte, and its score."""
    return min(scores.items(), key=lambda item: item[1].value)


def probabilities(train: Sequence[bytes], test: Sequence[bytes], *, orders: Sequence[int] = ORDERS) -> dict[int, np.ndarray]:
    """For each order the probability of every test byte given the bytes before it in its document, documents end to end.

    One sort of all contexts, nearest byte first, puts those that share their last k bytes side by side for every k at once.
    """
    if not all(0 <= order <= LONGEST for order in orders):
        raise DataError(f"orders: {list(orders)} goes outside 0 to {LONGEST}. Choose orders in that range.")
    bytes_, contexts = _positions([*train, *test])
    known = np.zeros(len(bytes_), bool)
    known[: sum(map(len, train))] = True
    sorting = np.argsort(contexts, kind="stable")
    bytes_, contexts, known = bytes_[sorting], contexts[sorting], known[sorting]
    asked = sorting[~known]
    mixed = np.full(len(asked), 1 / 256)
    found = {}
    for order in range(max(orders, default=-1) + 1):
        mixed = _sharpen(mixed, bytes_, _runs(contexts, order), known)
        if order in orders:
            found[order] = mixed[np.argsort(asked)]
    return found


def xz(train: Sequence[str], test: Sequence[str]) -> float:
    """Bits per test byte that ``xz -9e`` needs once it has seen the training text."""
    return _primed(train, test, lambda data: len(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)))


def zstd(train: Sequence[str], test: Sequence[str]) -> float:
    """Bits per test byte that ``zstd -22 --long=27`` needs once it has seen the training text."""
    settings = zstandard.ZstdCompressionParameters.from_level(ZSTD_LEVEL, window_log=ZSTD_WINDOW, enable_ldm=True)
    return _primed(train, test, lambda data: len(zstandard.ZstdCompressor(compression_params=settings).compress(data)))


def _primed(train: Sequence[str], test: Sequence[str], size_of: Callable[[bytes], int]) -> float:
    known, asked = (MARK.join(text.encode() for text in texts) for texts in (train, test))
    size = sum(len(text.encode()) for text in test)
    if not size:
        raise DataError("test text: empty, so there is nothing to compress. Give more text, or a larger share to the test split.")
    return 8 * (size_of(known + MARK + asked) - size_of(known)) / size


def _positions(documents: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Every byte, and the 8 bytes before it as one number, the nearest the most significant, marks before the document."""
    bytes_ = np.frombuffer(b"".join(documents), np.uint8)
    sizes = np.array([len(document) for document in documents])
    starts = np.repeat(np.cumsum(sizes) - sizes, sizes)
    depth = np.arange(len(bytes_)) - starts
    contexts = np.zeros(len(bytes_), np.uint64)
    for back in range(1, LONGEST + 1):
        before = np.zeros(len(bytes_), np.uint64)
        before[back:] = bytes_[:-back]
        contexts |= np.where(depth >= back, before, 0).astype(np.uint64) << np.uint64(64 - 8 * back)
    return bytes_, contexts


def _runs(contexts: np.ndarray, order: int) -> np.ndarray:
    """Number of the run of equal last ``order`` bytes that each of the sorted contexts is in."""
    runs = np.zeros(len(contexts), np.int64)
    if order:
        prefix = contexts >> np.uint64(64 - 8 * order)
        runs[1:] = np.cumsum(prefix[1:] != prefix[:-1])
    return runs


def _sharpen(shorter: np.ndarray, bytes_: np.ndarray, runs: np.ndarray, known: np.ndarray) -> np.ndarray:
    """P(c | h) = (count(h, c) + types(h) P(c | shorter h)) / (count(h) + types(h)) for the positions not known."""
    keys = runs << 8 | bytes_
    pairs = np.sort(keys[known])
    first = np.ones(len(pairs), bool)
    first[1:] = pairs[1:] != pairs[:-1]
    runs_in_all = int(runs[-1]) + 1 if len(runs) else 0
    types = np.bincount(pairs[first] >> 8, minlength=runs_in_all)[runs[~known]]
    totals = np.bincount(runs[known], minlength=runs_in_all)[runs[~known]]
    seen = np.searchsorted(pairs, keys[~known], "right") - np.searchsorted(pairs, keys[~known], "left")
    return np.where(totals > 0, (seen + types * shorter) / np.maximum(totals + types, 1), shorter)
