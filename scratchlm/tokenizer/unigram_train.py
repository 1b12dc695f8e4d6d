"""How the pieces of a unigram model and their probabilities are learned: begin with far too many, drop what is missed least.

Kudo 2018, arXiv:1804.10959, section 3.2:

1. Seed: every stretch of bytes inside a word that was seen twice, the most frequent and longest first.
2. Expectation and maximisation: over all ways to spell each word, how often is each piece expected? That share is its new probability.
3. For each piece: how much likelihood is lost if it goes, and its sightings fall to the best spelling by others? Drop the least missed
   quarter, never a single byte, and go back to 2 until there are as many as wanted.

All words lie one after another in one array (N bytes), and a table says which piece begins at each place in each length: the ways to spell
a word are the paths through it. Sums run over all words at once, in an order that never changes, so the same words give the same pieces.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scratchlm.tokenizer.pairs import BYTES

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

Group = tuple[Ints, Ints, Ints]
"""Pieces in a lattice that are summed at once: which they are, the places they are summed at, and where those of each place begin."""

LONGEST = 16
"""Bytes of a piece at most. SentencePiece allows 16 characters."""
LONGEST_WORD = 64
"""Bytes; a longer word is learned from in parts."""
MOST_BYTES = 2**20
"""Of different words to learn from, the most frequent, together. They bound memory: all ways to spell them are held at once (0.8 GB)."""
SEEDS = 8
"""Pieces to begin with, as a multiple of those wanted."""
KEPT = 0.75
"""Of the pieces after each round, as in SentencePiece; the paper's example keeps 80 %."""
ROUNDS = 2
"""Of expectation and maximisation before pieces are dropped."""
FEWEST_SIGHTINGS = 1
"""Expected of a piece that is longer than a byte: one that is always spelled by others is left out, though there be room for it."""
UNSEEN = 0.01
"""Sightings of a byte that was never seen: it must stay possible."""
DECIMALS = 6
"""Of a score. Beyond that sums differ between processors."""


@dataclass(frozen=True)
class Lattice:
    """All ways to spell all words with the pieces at hand."""

    table_NL: NDArray[np.int32]
    """The piece that begins at a place and is l + 1 bytes long; -1 where there is none."""
    left_N: Ints
    """Bytes from a place to the end of its word, its own included."""
    into_N: Ints
    """Bytes of the word before a place."""
    times_N: Floats
    """How often the word was seen."""
    sizes_P: Ints
    """Bytes of each piece."""
    place_P: Ints
    """A place where each stands."""

    def only(self, keep_P: NDArray[np.bool_]) -> "Lattice":
        """The lattice of the pieces to keep, numbered anew in the same order."""
        number = np.where(keep_P, np.cumsum(keep_P) - 1, -1).astype(np.int32)
        table_NL = np.where(self.table_NL >= 0, number[self.table_NL], np.int32(-1))
        return replace(self, table_NL=table_NL, sizes_P=self.sizes_P[keep_P], place_P=self.place_P[keep_P])


@dataclass(frozen=True)
class Paths:
    """The pieces in the lattice one by one: where each begins, which it is, where the next one begins."""

    lattice: Lattice
    at: Ints
    piece: NDArray[np.int32]
    next: Ints
    """N, a place behind all others, where the word ends."""
    forward: list[Group]
    """All that lead to a place before which n bytes stand, for n from 1 on; not those that end a word."""
    backward: list[Group]
    """All that begin where n bytes are left, for n from 1 on."""


def paths_of(lattice: Lattice) -> Paths:
    """Every piece at every place."""
    at, length = np.nonzero(lattice.table_NL >= 0)
    piece = lattice.table_NL[at, length]
    length += 1
    inner = lattice.left_N[at] > length
    next_ = np.where(inner, at + length, len(lattice.left_N))
    forward = _groups(lattice.into_N[at] + length, next_, np.flatnonzero(inner))
    backward = _groups(lattice.left_N[at], at, np.arange(len(at)))
    return Paths(lattice, at, piece, next_, forward, backward)


def learn(words: Mapping[bytes, int], size: int) -> list[tuple[bytes, float]]:
    """At most ``size`` pieces with their log-probabilities: the 256 bytes in the order of their letters, then the likeliest first.

    It learns from those of ``words`` that ``to_learn_from`` leaves.
    """
    flat_N, lattice, counts_P = seeded(to_learn_from(words), size)
    while True:
        scores_P = shares(counts_P)
        paths = paths_of(lattice)
        for _ in range(ROUNDS):
            counts_P, _ = expected(paths, scores_P)
            scores_P = shares(counts_P)
        if len(scores_P) <= size:
            break
        keep_P = least_missed_dropped(lattice, counts_P, scores_P, max(size, int(KEPT * len(scores_P))))
        lattice, counts_P = lattice.only(keep_P), counts_P[keep_P]
    text, scores_P = flat_N.tobytes(), scores_P.round(DECIMALS)
    ends = zip(lattice.place_P.tolist(), lattice.sizes_P.tolist(), scores_P.tolist(), counts_P.tolist(), strict=True)
    named = ((BYTES[at] if at < len(BYTES) else text[place : place + n], s, c) for at, (place, n, s, c) in enumerate(ends))
    score_of = {piece: score for piece, score, count in named if len(piece) == 1 or count >= FEWEST_SIGHTINGS}
    longer = sorted((piece for piece in score_of if len(piece) > 1), key=lambda piece: (-score_of[piece], piece))
    return [(piece, score_of[piece]) for piece in (*BYTES, *longer)]


def to_learn_from(words: Mapping[bytes, int], *, most: int = MOST_BYTES) -> dict[bytes, int]:
    """The most frequent words, cut where they are too long, ``most`` bytes in all; their order does not depend on how they came."""
    parts: Counter[bytes] = Counter()
    for word, times in words.items():
        for start in range(0, len(word), LONGEST_WORD):
            parts[word[start : start + LONGEST_WORD]] += times
    kept: dict[bytes, int] = {}
    for word, times in sorted(parts.items(), key=lambda item: (-item[1], item[0])):
        most -= len(word)
        if most < 0:
            break
        kept[word] = times
    return kept


def seeded(words: Mapping[bytes, int], size: int) -> tuple[NDArray[np.uint8], Lattice, Floats]:
    """All words as one array, the lattice of the pieces to begin with, and how often each of those was seen."""
    flat_N = np.frombuffer(b"".join(words), np.uint8)
    long_W = np.array([len(word) for word in words], np.int64)
    into_N = np.arange(len(flat_N)) - np.repeat(np.cumsum(long_W) - long_W, long_W)
    left_N = np.repeat(long_W, long_W) - into_N
    times_N = np.repeat(np.array(list(words.values()), np.float64), long_W)
    order = np.frombuffer(b"".join(BYTES), np.uint8)
    table_NL = np.full((len(flat_N), LONGEST), -1, np.int32)
    table_NL[:, 0] = np.argsort(order)[flat_N]
    counts = [_sums(table_NL[:, 0], times_N, len(BYTES))]
    sizes, places = [np.ones(len(BYTES), np.int64)], [np.zeros(len(BYTES), np.int64)]
    limit = SEEDS * size
    found = list(_stretches(flat_N, left_N, times_N))
    bar = _bar([count_P * length for length, _, _, count_P, _ in found], limit)
    for length, at, piece, count_P, first_P in found:
        chosen_P = count_P * length > bar
        number_P = np.where(chosen_P, np.cumsum(chosen_P) - 1 + sum(map(len, counts)), -1)
        table_NL[at, length - 1] = number_P[piece]
        counts.append(count_P[chosen_P])
        sizes.append(np.full(int(chosen_P.sum()), length))
        places.append(first_P[chosen_P])
    lattice = Lattice(table_NL, left_N, into_N, times_N, np.concatenate(sizes), np.concatenate(places))
    return flat_N, lattice, np.concatenate(counts)


def shares(counts_P: Floats) -> Floats:
    """Log-probabilities: the logarithm of each piece's share of all sightings."""
    counts_P = np.maximum(counts_P, UNSEEN)
    return np.log(counts_P / counts_P.sum())


def expected(paths: Paths, scores_P: Floats) -> tuple[Floats, float]:
    """How often each piece is expected, over all ways to spell each word by their probabilities, and the log-likelihood of all words.

    Forward and backward sums (Baum 1972): ``before_N`` is the log-probability of all ways to spell what stands before a place in its word,
    ``after_N`` that of all ways to spell the word from there on.
    """
    lattice, score = paths.lattice, scores_P[paths.piece]
    before_N = np.zeros(len(lattice.left_N))
    for group, places, borders in paths.forward:
        before_N[places] = np.logaddexp.reduceat(before_N[paths.at[group]] + score[group], borders)
    # One place more, where every word ends: nothing is left to spell there.
    after_N = np.zeros(len(lattice.left_N) + 1)
    for group, places, borders in paths.backward:
        after_N[places] = np.logaddexp.reduceat(score[group] + after_N[paths.next[group]], borders)
    whole = after_N[paths.at - lattice.into_N[paths.at]]
    chance = np.exp(before_N[paths.at] + score + after_N[paths.next] - whole)
    begins = np.flatnonzero(lattice.into_N == 0)
    likelihood = float((after_N[begins] * lattice.times_N[begins]).sum())
    return _sums(paths.piece, lattice.times_N[paths.at] * chance, len(scores_P)), likelihood


def least_missed_dropped(lattice: Lattice, counts_P: Floats, scores_P: Floats, size: int) -> NDArray[np.bool_]:
    """Which ``size`` pieces to keep: every single byte, and those without which most likelihood is lost."""
    longer = slice(len(BYTES), None)
    lost_P = np.full(len(scores_P), np.inf)
    lost_P[longer] = counts_P[longer] * (scores_P[longer] - otherwise(lattice, scores_P)[longer])
    keep_P = np.zeros(len(scores_P), bool)
    keep_P[np.argsort(-lost_P, kind="stable")[:size]] = True
    return keep_P


def otherwise(lattice: Lattice, scores_P: Floats) -> Floats:
    """The log-probability of the best way to spell each piece with others; -inf for a single byte, which has none."""
    score = np.append(scores_P, -np.inf)  # where the table says -1
    best = np.full((LONGEST + 1, len(scores_P)), -np.inf)
    best[0] = 0.0
    for end in range(1, LONGEST + 1):
        inside = np.flatnonzero(lattice.sizes_P >= end)
        for start in range(end):
            ways = best[start, inside] + score[lattice.table_NL[lattice.place_P[inside] + start, end - start - 1]]
            ways[lattice.sizes_P[inside] == end - start] = -np.inf  # the piece itself
            best[end, inside] = np.maximum(best[end, inside], ways)
    return best[lattice.sizes_P, np.arange(len(scores_P))]


def _stretches(flat_N: NDArray[np.uint8], left_N: Ints, times_N: Floats) -> Iterator[tuple[int, Ints, Ints, Floats, Ints]]:
    """For each length from 2: where stretches seen twice begin, the number of each, and by number the sightings and the first place.

    A stretch is a shorter one and a byte more, so its number is found by sorting pairs of numbers; no string is ever made.
    """
    number_N = flat_N.astype(np.int64)
    at = np.arange(len(flat_N))
    for length in range(2, LONGEST + 1):
        at = at[left_N[at] >= length]
        if not len(at):
            return
        _, first, number = np.unique(number_N[at] * 256 + flat_N[at + length - 1], return_index=True, return_inverse=True)
        count = _sums(number, times_N[at], len(first))
        twice = count >= 2
        places, new = at[first[twice]], np.cumsum(twice) - 1
        live = twice[number]
        at, number = at[live], new[number[live]]
        number_N[at] = number
        yield length, at, number, count[twice], places


def _sums(which: NDArray[np.integer[Any]], of: Floats, size: int) -> Floats:
    """The sum of ``of`` for each number from 0 to ``size``."""
    return np.bincount(which, of, size).astype(np.float64, copy=False)


def _bar(scores: list[Floats], limit: int) -> float:
    """A score that at most ``limit`` of all exceed."""
    every = np.concatenate([np.empty(0), *scores])
    return float(np.partition(every, -limit - 1)[-limit - 1]) if len(every) > limit else 0.0


def _groups(depth: Ints, place: Ints, which: Ints) -> list[Group]:
    """The pieces ``which``, a group for each depth, by the place they are summed at."""
    which = which[np.argsort(depth[which] * (1 + place.max(initial=0)) + place[which], kind="stable")]
    parts = np.split(which, np.flatnonzero(np.diff(depth[which])) + 1)
    return [(part, *np.unique(place[part], return_index=True)) for part in parts if len(part)]
