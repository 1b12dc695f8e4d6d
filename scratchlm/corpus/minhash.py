"""Signatures: 112 numbers for a document, whose share of equal ones estimates how much of their phrases two documents have in common.

Broder 1997 (shingles, minima); Dahlgaard, Knudsen and Thorup 2017, arXiv:1704.04370 (each phrase is hashed into few slots, and only slots
that stay empty look at all phrases). rensa computes them; `reference` is the same function written out in numpy, equal to the last bit.
The estimate's standard deviation is at most sqrt(s (1 - s) / 112), .038 at a similarity of .8 (.034 measured there); its mean error is .03
over similarities from 0 to 1, which tests/test_corpus_copies.py holds it to.
"""

import functools
import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float32, Int64, Shaped, UInt8, UInt32, UInt64

from scratchlm.core.errors import CheckFailed

SHINGLE = 5
"""Words of a phrase."""
LEAST_SHINGLES = 8
"""A document with fewer different phrases has too little text for a similarity to mean anything; only exact copies of it are dropped."""
BANDS, ROWS = 14, 8
"""Two documents of similarity s meet in a band with probability 1 - (1 - s**8)**14: .99 at s = .9, .92 at .8, .56 at .7, .06 at .5."""
SLOTS = BANDS * ROWS
SEED = 1
"""One for all: signatures that were computed on different days must meet."""
GOLDEN = "e0f21d85c04c3021b3f79e23b39e803f"
"""BLAKE2b-128 of the signatures of `_samples`: what those on disk were computed with."""
LONGEST = 256
"""Bytes of a word; what runs on without a space is cut there."""
BLOCK = 2**16
"""Bytes that are hashed at once."""
BRIEF = 256
"""Values of the part of a slot that is compared."""
GOLDEN_RATIO = np.uint64(0x9E3779B97F4A7C15)

Hashes = UInt64[np.ndarray, " S"]
Signatures = UInt32[np.ndarray, "N slots"]
Brief = UInt8[np.ndarray, "N slots"]


def substance(text: str, doc_type: str | None = None) -> str:
    """What must differ: of an entry in a reference the text below its heading, else the whole text; white space aside."""
    if doc_type == "reference":
        _, _, below = text.partition("\n\n")
        text = below if below.strip() else text
    return " ".join(text.split())


def mix(values: UInt64[np.ndarray, "..."]) -> UInt64[np.ndarray, "..."]:
    """Each number scattered over 64 bits, one to one (splitmix64, Steele, Lea and Flood 2014)."""
    values = values + GOLDEN_RATIO
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


LETTER = mix(np.arange(256, dtype=np.uint64)) * (np.arange(256) != 0x20)
"""Nothing for a space, so that how words are set apart is all the same."""
BASES = int(GOLDEN_RATIO), pow(int(GOLDEN_RATIO), -1, 2**64)
POWERS, BACK = (np.cumprod(np.array([1] + [base] * (BLOCK - 1), dtype=np.uint64)) for base in BASES)
PLACE_IN_SHINGLE = mix(np.arange(1024, 1024 + SHINGLE, dtype=np.uint64)) | np.uint64(1)


def shingles(substances: Sequence[str]) -> tuple[Hashes, Int64[np.ndarray, " N1"]]:
    """Hashes of the five-word phrases of all texts one after another, and where those of each text begin and end; case aside.

    Each character of Han, kana, Thai and Lao is a word, because they are written without spaces.
    """
    blobs = [text.lower().encode("utf-8", "surrogatepass") for text in substances]
    letters = np.frombuffer(b" ".join(blobs), dtype=np.uint8)
    offsets = np.cumsum([0, *(len(blob) + 1 for blob in blobs)])
    starts = _word_starts(letters)
    words = np.concatenate([np.zeros(0, np.uint64), *_word_hashes(letters, starts)])
    borders = np.searchsorted(starts, offsets)  # the first word of each text
    if len(words) < SHINGLE:
        return np.zeros(0, np.uint64), np.zeros(len(blobs) + 1, np.int64)
    count = len(words) - SHINGLE + 1
    found = np.zeros(count, np.uint64)
    for place, factor in enumerate(PLACE_IN_SHINGLE):
        found += words[place : place + count] * factor
    text_of = np.searchsorted(borders, np.arange(len(words)), side="right")
    whole = text_of[:count] == text_of[SHINGLE - 1 :]
    sizes = np.maximum(0, np.diff(borders) - SHINGLE + 1)
    return found[whole], np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def _word_starts(letters: Shaped[np.ndarray, " L"]) -> Int64[np.ndarray, " W"]:
    visible = letters != 0x20
    start = visible.copy()
    start[1:] &= ~visible[:-1]
    alone = (letters >= 0xE3) & (letters <= 0xE9)  # first of the three bytes of U+3000 to U+9FFF
    alone[:-1] |= (letters[:-1] == 0xE0) & (letters[1:] >= 0xB8) & (letters[1:] <= 0xBB)  # U+0E00 to U+0EFF
    start |= alone
    start[3:] |= alone[:-3] & visible[3:]
    starts = np.flatnonzero(start)
    long = np.flatnonzero(np.diff(starts, append=len(letters)) > LONGEST)
    more = [np.arange(starts[word] + LONGEST, np.append(starts, len(letters))[word + 1], LONGEST) for word in long]
    more = [cuts[visible[cuts]] for cuts in more]
    return np.sort(np.concatenate([starts, *more])) if more else starts


def _word_hashes(letters: Shaped[np.ndarray, " L"], starts: Int64[np.ndarray, " W"]) -> Iterator[Hashes]:
    """A polynomial of each word's letters modulo 2**64, from one running sum over all of them."""
    borders, first = np.append(starts, len(letters)), 0
    while first < len(starts):
        begin = int(starts[first])
        last = int(np.searchsorted(starts, begin + BLOCK - LONGEST))
        block = letters[begin : begin + BLOCK]
        sums = np.zeros(len(block) + 1, np.uint64)
        np.cumsum(LETTER.take(block) * POWERS[: len(block)], out=sums[1:])
        own = np.minimum(borders[first : last + 1] - begin, len(block))  # spaces may run on
        yield mix((sums[own[1:]] - sums[own[:-1]]) * BACK[own[:-1]])
        first = last


def sign(substances: Sequence[str]) -> tuple[Signatures, Shaped[np.ndarray, " N"]]:
    """The signature of each text, and whether it has enough different phrases for one to count."""
    hashes, offsets = shingles(substances)
    return signatures(hashes, offsets), enough(hashes, offsets)


def enough(hashes: Hashes, offsets: Int64[np.ndarray, " N1"]) -> Shaped[np.ndarray, " N"]:
    """Which texts have at least eight different phrases."""

    def many(own: Hashes) -> bool:  # nearly every text has them in its first ones
        return len(set(own[:64].tolist())) >= LEAST_SHINGLES or len(np.unique(own)) >= LEAST_SHINGLES

    pairs = zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
    return np.array([end - start >= LEAST_SHINGLES and many(hashes[start:end]) for start, end in pairs], dtype=np.bool_)


def signatures(hashes: Hashes, offsets: Int64[np.ndarray, " N1"]) -> Signatures:
    """The signature of each run of hashes; CheckFailed when rensa no longer computes those that are stored."""
    check_golden()
    return _by_rensa(hashes, offsets)


def _by_rensa(hashes: Hashes, offsets: Int64[np.ndarray, " N1"]) -> Signatures:
    from rensa import RMinHash  # pyright: ignore[reportAttributeAccessIssue] - its compiled part has no types

    matrix = RMinHash.digest_matrix_from_flat_token_hashes(hashes, offsets.astype(np.uint64), SLOTS, SEED)
    return np.array(matrix.to_rows(), dtype=np.uint32).reshape(-1, SLOTS)


def reference(hashes: Hashes, offsets: Int64[np.ndarray, " N1"]) -> Signatures:
    """The same signatures in numpy.

    Three times each hash is scattered anew: its low half chooses a slot, its high 30 bits are the value, and the number of the round stands
    before them, so that later rounds only fill slots that are empty. What is then still empty takes the least of a x + b over all hashes.
    """
    a, b = _factors()
    found = np.full((len(offsets) - 1, SLOTS), 2**32 - 1, dtype=np.uint64)
    for row, start, end in zip(found, offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        own = hashes[start:end]
        if not len(own):
            continue
        for turn in range(3):
            mixed = mix(own ^ b[0] ^ np.uint64(0x6A09E667F3BCC909) ^ np.uint64(turn * 0x3C6EF372FE94F82B % 2**64))
            np.minimum.at(row, _slot(mixed), np.uint64(turn << 30) | mixed >> np.uint64(34))
        empty = np.flatnonzero(row == 2**32 - 1)
        mixed = mix(own ^ a[0] ^ np.uint64(0xBB67AE8584CAA73B))
        for slot in empty:
            row[slot] = np.uint64(3 << 30) | ((mixed * a[slot] + b[slot]) >> np.uint64(34)).min()
    return found.astype(np.uint32)


def _slot(mixed: Hashes) -> Hashes:
    """A slot from the low half of each number, every slot equally likely: Lemire 2019, arXiv:1805.10941."""
    low = np.uint64(2**32 - 1)
    product = (mixed & low) * np.uint64(SLOTS)
    unfair = (product & low) < 2**32 % SLOTS
    if unfair.any():
        product[unfair] = _slot(mix(mixed[unfair])) << np.uint64(32)
    return product >> np.uint64(32)


@functools.cache
def _factors() -> tuple[Hashes, Hashes]:
    """The a, odd, and b of each slot, drawn from xoshiro256++ (Blackman and Vigna 2021)."""
    state = [int(mix(np.array([(SEED + turn * int(GOLDEN_RATIO)) % 2**64], dtype=np.uint64))[0]) for turn in range(4)]

    def turned(value: int, by: int) -> int:
        return (value << by | value >> (64 - by)) % 2**64

    drawn = []
    for _ in range(2 * SLOTS):
        drawn.append((turned((state[0] + state[3]) % 2**64, 23) + state[0]) % 2**64)
        shifted = state[1] << 17 & 2**64 - 1
        state[2] ^= state[0]
        state[3] ^= state[1]
        state[1] ^= state[2]
        state[0] ^= state[3]
        state[2] ^= shifted
        state[3] = turned(state[3], 45)
    return np.array(drawn[::2], dtype=np.uint64) | np.uint64(1), np.array(drawn[1::2], dtype=np.uint64)


def band_keys(signatures: Signatures) -> UInt64[np.ndarray, "N bands"]:
    """One number per band of eight slots, the band's own number mixed in; equal slots give equal keys."""
    pairs = np.ascontiguousarray(signatures).view("<u8").reshape(len(signatures), BANDS, ROWS // 2)
    keys = np.broadcast_to(np.arange(BANDS, dtype=np.uint64), (len(signatures), BANDS))
    for place in range(ROWS // 2):
        keys = mix(keys ^ pairs[:, :, place])
    return keys


def brief(signatures: Signatures) -> Brief:
    """The low byte of each slot, which is enough to estimate a similarity: 112 bytes for a document."""
    return (signatures & np.uint32(BRIEF - 1)).astype(np.uint8)


def similarity(one: Brief, other: Brief) -> Float32[np.ndarray, " N"]:
    """The estimated Jaccard similarity of each pair of rows: the share of equal bytes less those that are equal by chance.

    Li and König 2010, arXiv:0910.3349. Chance makes one in 256 of the slots that differ look equal, which adds less than .001 to the
    estimate's deviation.
    """
    return np.maximum(0, (one == other).mean(axis=1, dtype=np.float32) * BRIEF - 1) / np.float32(BRIEF - 1)


@functools.cache
def check_golden() -> None:
    """CheckFailed when rensa does not compute the signatures that this version stores."""
    if _digest(_by_rensa(*_samples())) != GOLDEN:
        raise CheckFailed(
            "minhash: the installed rensa computes other signatures than those that are stored, so old and new ones would never meet. "
            "Install rensa>=0.5,<0.6, or set GOLDEN anew and recompute every signature."
        )


def _samples() -> tuple[Hashes, Int64[np.ndarray, " N1"]]:
    """Sets of 0 to 5,000 hashes, so that each way through the algorithm is taken."""
    offsets = np.cumsum([0, 0, 1, 7, 33, 130, 600, 5000]).astype(np.int64)
    return mix(np.arange(offsets[-1], dtype=np.uint64)), offsets


def _digest(signatures: Signatures) -> str:
    return hashlib.blake2b(signatures.astype("<u4").tobytes(), digest_size=16).hexdigest()
