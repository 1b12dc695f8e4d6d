"""Byte-pair encoding in our own words: how the pieces are learned, and how a word is spelled with them.

Sennrich et al. 2016, arXiv:1508.07909. Start with single bytes. Count which two pieces stand side by side most often, make them one piece,
count again, and stop when there are enough. The order in which pairs were merged is all there is to remember: a new word is spelled by
merging its pairs in that same order.

Merge for merge and id for id what the `tokenizers` library does, so its choices are spelled out here:

* A word is counted once and weighs as often as it was seen; nothing is merged over the border of two words.
* Of two pairs seen equally often the one with the smaller numbers wins: first the left piece's, then the right one's. The 256 bytes are
  numbered in the order of their letters in the file (``ALPHABET``), new pieces as they come.
* A run like ``aaa`` counts as two pairs ``aa`` though only one of them can be merged; it is merged from the left.
* Two pairs may spell the same piece (``a`` + ``bc``, ``ab`` + ``c``): both are merged, and the piece keeps its first number.
* A pair seen less than ``fewest`` times ends the training. Control tokens get their numbers later and take no part.
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, pairwise

from scratchlm.tokenizer import splits
from scratchlm.tokenizer.bytelevel import ALPHABET, read_back
from scratchlm.tokenizer.interface import well_formed

Pair = tuple[int, int]
Merge = tuple[bytes, bytes]

BYTES = tuple(map(read_back, ALPHABET))
"""Every byte, in the order in which bytes are numbered."""
MOST_WORDS = 2**21
"""Different words that are counted at once, which bounds memory."""
SHORT = 32
"""Bytes up to which a word is spelled by the plain loop, whose work grows with the square of the length; short words are most of a text."""


def count_words(texts: Iterable[str], split: str = splits.DEFAULT, *, most: int = MOST_WORDS) -> Counter[bytes]:
    """How often each word stands in ``texts``; where there are more than ``most`` different ones, the rarest so far are forgotten."""
    found: Counter[bytes] = Counter()
    for text in splits.to_learn_from(texts):
        found.update(word.encode() for word in splits.words(text, split))
        fewest = 1
        while len(found) > most:
            fewest += 1
            found = Counter({word: times for word, times in found.items() if times >= fewest})
    return found


# Learning


@dataclass
class Corpus:
    """Words as numbers of pieces, how often each was seen, and how often each pair stands in them all."""

    spelled: list[list[int]]
    times: list[int]
    pairs: Counter[Pair] = field(default_factory=Counter)

    def count(self) -> dict[Pair, set[int]]:
        """Count every pair; the places (of words) where each stands."""
        places: dict[Pair, set[int]] = defaultdict(set)
        for place, word in enumerate(self.spelled):
            for pair in pairwise(word):
                self.pairs[pair] += self.times[place]
                places[pair].add(place)
        return places

    def merge(self, pair: Pair, piece: int, places: Iterable[int]) -> dict[Pair, set[int]]:
        """Make ``pair`` one ``piece`` in the words at ``places``; the places of the pairs that this brings about.

        Only the neighbours of what is merged are counted anew, which is what makes thousands of merges cheap.
        """
        fresh: dict[Pair, set[int]] = defaultdict(set)
        for place in places:
            self.spelled[place], gone, come = merged(self.spelled[place], pair, piece)
            for each in gone:
                self.pairs[each] -= self.times[place]
            for each in come:
                self.pairs[each] += self.times[place]
                fresh[each].add(place)
        return fresh


def learn(words: Mapping[bytes, int], size: int, *, fewest: int = 2) -> list[Merge]:
    """The merges, best first, that make ``size`` pieces of the 256 bytes, or fewer where no pair is seen ``fewest`` times.

    A heap holds the candidates, the most frequent on top. Counts change while a candidate waits, so the one on top is looked up again: if
    it has become rarer, it goes back with its new count. None waits with too small a count, for a pair that gains places is pushed anew.
    """
    pieces = list(BYTES)
    number = {piece: place for place, piece in enumerate(pieces)}
    corpus = Corpus([[number[bytes([byte])] for byte in word] for word in words], list(words.values()))
    heap: list[tuple[int, Pair, int, set[int]]] = []
    merges: dict[Pair, None] = {}

    def push(places: Mapping[Pair, set[int]]) -> None:
        for pair, where in places.items():
            # Between equal entries of one pair the older goes first; sets have no order.
            heapq.heappush(heap, (-corpus.pairs[pair], pair, next(ticket), where))

    ticket = count()
    push(corpus.count())
    while heap and len(pieces) < size:
        seen, pair, _, where = heapq.heappop(heap)
        if -seen != corpus.pairs[pair]:
            push({pair: where})
            continue
        if -seen < max(fewest, 1):
            break
        piece = pieces[pair[0]] + pieces[pair[1]]
        if piece not in number:
            number[piece] = len(pieces)
            pieces.append(piece)
        merges.pop(pair, None)  # a pair that comes back is remembered at its later place
        merges[pair] = None
        push(corpus.merge(pair, number[piece], where))
    return [(pieces[left], pieces[right]) for left, right in merges]


def merged(word: Sequence[int], pair: Pair, piece: int) -> tuple[list[int], list[Pair], list[Pair]]:
    """``word`` with each ``pair`` in it made one ``piece``, from the left; the pairs that are gone by this, and those that came."""
    left, right = pair
    done: list[int] = []
    gone: list[Pair] = []
    come: list[Pair] = []
    at = 0
    while at < len(word):
        if word[at] != left or at + 1 == len(word) or word[at + 1] != right:
            done.append(word[at])
            at += 1
            continue
        if done:
            gone.append((done[-1], left))
            come.append((done[-1], piece))
        at += 2
        if at < len(word):
            gone.append((right, word[at]))
            come.append((piece, word[at]))
        done.append(piece)
    return done, gone, come


# Spelling


class Speller:
    """Encodes text with merges in the order in which they were learned."""

    def __init__(self, merges: Sequence[Merge], *, ids: Mapping[bytes, int] | None = None, split: str = splits.DEFAULT) -> None:
        """``ids`` of the pieces; by default those that training gave them. ``split`` cuts the text into words."""
        if ids is None:
            ids = {piece: id for id, piece in enumerate(dict.fromkeys([*BYTES, *(left + right for left, right in merges)]))}
        self.ids = ids
        self._split = split
        self._rank = {(ids[left], ids[right]): rank for rank, (left, right) in enumerate(merges)}
        self._made = {(ids[left], ids[right]): ids[left + right] for left, right in merges}

    def encode(self, text: str) -> list[int]:
        """The ids of ``text``; a word that comes again is spelled once."""
        known: dict[str, list[int]] = {}
        found: list[int] = []
        for word in splits.words(well_formed(text), self._split):
            if word not in known:
                known[word] = self.spell(word.encode())
            found += known[word]
        return found

    def spell(self, word: bytes) -> list[int]:
        """The ids of one word."""
        return (self.by_loop if len(word) <= SHORT else self.by_heap)([self.ids[bytes([byte])] for byte in word])

    def by_loop(self, word: list[int]) -> list[int]:
        """Find the pair that was merged first in training, the leftmost if it stands there twice; merge it; look again."""
        word = list(word)
        while ranked := [(self._rank[pair], at) for at, pair in enumerate(pairwise(word)) if pair in self._rank]:
            at = min(ranked)[1]
            word[at : at + 2] = [self._made[word[at], word[at + 1]]]
        return word

    def by_heap(self, word: list[int]) -> list[int]:
        """The same in time that grows as n log n: pairs wait in a heap, and pieces know their neighbours instead of moving up.

        The piece that began at a place stands there until it is swallowed by its left neighbour (None). A pair that changed while it waited
        is passed over: what stands at its place now was pushed when it came to be.
        """
        pieces: list[int | None] = [*word]
        before = list(range(-1, len(word) - 1))
        after = list(range(1, len(word) + 1))
        heap = [(self._rank[pair], at, pair) for at, pair in enumerate(pairwise(word)) if pair in self._rank]
        heapq.heapify(heap)
        while heap:
            _, at, pair = heapq.heappop(heap)
            other = after[at]
            if other == len(word) or (pieces[at], pieces[other]) != pair:
                continue
            pieces[at], pieces[other] = self._made[pair], None
            after[at] = after[other]
            if after[at] < len(word):
                before[after[at]] = at
            for left in (before[at], at):
                one, two = self._beside(pieces, left, after)
                if one is not None and two is not None and (one, two) in self._rank:
                    heapq.heappush(heap, (self._rank[one, two], left, (one, two)))
        return [piece for piece in pieces if piece is not None]

    def _beside(self, pieces: Sequence[int | None], left: int, after: Sequence[int]) -> tuple[int | None, int | None]:
        """The pieces at ``left`` and right of it; None beyond either end of the word."""
        right = after[left] if left >= 0 else len(pieces)
        return (pieces[left], pieces[right]) if right < len(pieces) else (None, None)
