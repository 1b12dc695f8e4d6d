"""Is this text worth reading? The rules of Gopher and FineWeb that fit, each a function that says why it refuses, or None.

Gopher: Rae et al. 2021, arXiv:2112.11446, A1.1. FineWeb: Penedo et al. 2024, arXiv:2406.17557, 3.3.
C4: Raffel et al. 2020, arXiv:1910.10683, 2.2.
Which rules apply, and with which limit, depends on what a document is (``PROFILES``): a one-line entry of a reference is no bad web page.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from scratchlm.core.records import Document
from scratchlm.corpus.ledger import Number, Verdict

STOP_WORDS = {
    "English": {"the", "be", "to", "of", "and", "that", "have", "with"},
    "German": {"der", "die", "und", "das", "nicht", "ist", "mit", "ein"},
    "French": {"le", "la", "les", "et", "des", "que", "est", "une"},
    "Spanish": {"el", "los", "que", "y", "por", "con", "una", "las"},
    "Italian": {"il", "che", "di", "per", "una", "con", "non", "della"},
    "Portuguese": {"o", "que", "e", "os", "uma", "com", "não", "para"},
    "Dutch": {"het", "een", "van", "en", "niet", "dat", "zijn", "met"},
}
WITHOUT_SPACES = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
END_MARKS = tuple(".!?\"'”’…:;)]")
SHORT_LINE = 30
"""Characters of a line that FineWeb calls short."""


@dataclass(frozen=True)
class Words:
    """A text and what several rules count in it, counted once."""

    text: str

    @cached_property
    def all(self) -> list[str]:
        return self.text.split()

    @cached_property
    def lines(self) -> list[str]:
        return [line.strip() for line in self.text.split("\n") if line.strip()]

    @cached_property
    def has_spaces(self) -> bool:
        """Whether words can be counted: not in Chinese, Japanese or Thai, which would fail every English rule for no fault."""
        return len(WITHOUT_SPACES.findall(self.text)) < 0.3 * max(1, sum(map(len, self.all)))

    @cached_property
    def ids(self) -> np.ndarray:
        """Each word as a small number."""
        known: dict[str, int] = {}
        return np.array([known.setdefault(word, len(known)) for word in self.all], dtype=np.uint64)

    @cached_property
    def lengths(self) -> np.ndarray:
        return np.array([len(word) for word in self.all], dtype=np.int64)


Rule = Callable[[Words, Number], Verdict | None]


def too_few_words(words: Words, least: Number) -> Verdict | None:
    """Gopher: too short to say anything."""
    found = len(words.all) if words.has_spaces else len(words.text) // 2
    return None if found >= least else Verdict(f"{found} words, fewer than {least:g}", found, least)


def too_many_words(words: Words, most: Number) -> Verdict | None:
    """Gopher: so long that it is no text but a dump."""
    found = len(words.all)
    return None if found <= most else Verdict(f"{found} words, more than {most:g}", found, most)


def words_too_short(words: Words, least: Number) -> Verdict | None:
    """Gopher: single letters and digits, such as a table."""
    found = _mean(words.lengths)
    return None if not words.has_spaces or found >= least else Verdict(f"words of {found:.1f} letters on average", found, least)


def words_too_long(words: Words, most: Number) -> Verdict | None:
    """Gopher: links, keys, encoded data."""
    found = _mean(words.lengths)
    return None if not words.has_spaces or found <= most else Verdict(f"words of {found:.1f} letters on average", found, most)


def too_many_symbols(words: Words, most: Number) -> Verdict | None:
    """Gopher: hash marks or ellipses for every tenth word."""
    found = max(words.text.count("#"), words.text.count("...") + words.text.count("…")) / max(1, len(words.all))
    return None if found <= most else Verdict(f"{found:.2f} hash marks or ellipses per word", found, most)


def too_many_bullets(words: Words, most: Number) -> Verdict | None:
    """Gopher: nearly every line is a list item."""
    found = _share(words.lines, lambda line: line.startswith(("•", "-", "*", "‣", "◦")))
    return None if found <= most else Verdict(f"{found:.0%} of the lines start with a bullet", found, most)


def too_many_ellipses(words: Words, most: Number) -> Verdict | None:
    """Gopher: lines that were cut off, as in a page of teasers."""
    found = _share(words.lines, lambda line: line.endswith(("...", "…")))
    return None if found <= most else Verdict(f"{found:.0%} of the lines end with an ellipsis", found, most)


def too_few_letters(words: Words, least: Number) -> Verdict | None:
    """Gopher: numbers and symbols rather than words; junk named .txt ends here."""
    found = _share(words.all, lambda word: any(map(str.isalpha, word)))
    return None if found >= least else Verdict(f"{found:.0%} of the words hold a letter", found, least)


def no_stop_words(words: Words, least: Number) -> Verdict | None:
    """Gopher: without its small words a text in no language; the language with the most counts."""
    present = {word.lower() for word in words.all}
    found = max(len(present & marks) for marks in STOP_WORDS.values())
    is_latin = sum(map(str.isascii, words.text)) > 0.7 * len(words.text)
    return None if found >= least or not is_latin else Verdict(f"{found} of the commonest words of any known language", found, least)


def repeated_lines(words: Words, most: Number) -> Verdict | None:
    """Gopher and FineWeb: characters in lines that stand twice; headings and speakers' names are too short to count."""
    count = Counter(line for line in words.lines if len(line) > SHORT_LINE)
    found = sum((number - 1) * len(line) for line, number in count.items()) / max(1, len(words.text))
    return None if found <= most else Verdict(f"{found:.0%} of the text is in repeated lines", found, most)


def one_phrase(words: Words, most: Number) -> Verdict | None:
    """Gopher: one phrase of two to four words makes up much of the text (limits .20, .18, .16; ``most`` is the first)."""
    for n, limit in ((2, most), (3, 0.9 * most), (4, 0.8 * most)):
        start, number = _commonest(words, n)
        if number > 1:
            phrase = words.all[start : start + n]
            found = number * sum(map(len, phrase)) / max(1, int(words.lengths.sum()))
            if found > limit:
                return Verdict(f"'{' '.join(phrase)}' makes up {found:.0%} of the text", found, limit)
    return None


def repeated_phrases(words: Words, most: Number) -> Verdict | None:
    """Gopher: characters in phrases of five or ten words that came before (limits .15 and .10; ``most`` is the first)."""
    for n, limit in ((5, most), (10, most / 1.5)):
        found = _repeated(words, n)
        if found > limit:
            return Verdict(f"{found:.0%} of the text repeats phrases of {n} words", found, limit)
    return None


def lines_without_end(words: Words, least: Number) -> Verdict | None:
    """FineWeb: hardly a line ends as a sentence does."""
    found = _share(words.lines, lambda line: line.endswith(END_MARKS))
    return None if found >= least else Verdict(f"{found:.0%} of the lines end with a mark", found, least)


def short_lines(words: Words, most: Number) -> Verdict | None:
    """FineWeb: menus and lists of links."""
    found = _share(words.lines, lambda line: len(line) <= SHORT_LINE)
    return None if found <= most else Verdict(f"{found:.0%} of the lines have at most {SHORT_LINE} characters", found, most)


def more_lines_than_text(words: Words, most: Number) -> Verdict | None:
    """FineWeb: a line break for every third word."""
    found = words.text.count("\n") / max(1, len(words.all))
    return None if found <= most else Verdict(f"{found:.2f} line breaks per word", found, most)


def placeholder_text(words: Words, most: Number) -> Verdict | None:
    """C4: nobody has written this page yet."""
    found = words.text.lower().count("lorem ipsum")
    return None if found <= most else Verdict("it holds 'lorem ipsum'", found, most)


FILTERS: dict[str, Rule] = {
    "too_few_words": too_few_words,
    "too_many_words": too_many_words,
    "words_too_short": words_too_short,
    "words_too_long": words_too_long,
    "too_many_symbols": too_many_symbols,
    "too_many_bullets": too_many_bullets,
    "too_many_ellipses": too_many_ellipses,
    "too_few_letters": too_few_letters,
    "no_stop_words": no_stop_words,
    "repeated_lines": repeated_lines,
    "one_phrase": one_phrase,
    "repeated_phrases": repeated_phrases,
    "lines_without_end": lines_without_end,
    "short_lines": short_lines,
    "more_lines_than_text": more_lines_than_text,
    "placeholder_text": placeholder_text,
}
"""Every rule by its name, in the order they are asked."""

WEB = {
    "too_few_words": 50, "too_many_words": 100_000, "words_too_short": 3, "words_too_long": 10, "too_many_symbols": 0.1,
    "too_many_bullets": 0.9, "too_many_ellipses": 0.3, "too_few_letters": 0.8, "no_stop_words": 2, "repeated_lines": 0.1,
    "one_phrase": 0.2, "repeated_phrases": 0.15, "lines_without_end": 0.12, "short_lines": 0.67, "more_lines_than_text": 0.3,
    "placeholder_text": 0,
}  # fmt: skip
PROSE = {
    "too_few_words": 5, "too_many_words": 1_000_000, "words_too_short": 2, "words_too_long": 12, "too_many_symbols": 0.3,
    "too_few_letters": 0.6, "repeated_lines": 0.3, "one_phrase": 0.3, "repeated_phrases": 0.4,
}  # fmt: skip
MARKUP = {"too_few_words": 5, "too_many_words": 1_000_000, "words_too_long": 20, "too_few_letters": 0.5, "repeated_lines": 0.4}
REFERENCE = {"too_few_words": 1, "too_few_letters": 0.2}
PROFILES: dict[str, Mapping[str, Number]] = {
    "web": WEB,
    "book": PROSE,
    "rows": PROSE,
    "markup": MARKUP,
    "code": REFERENCE,
    "topic": REFERENCE,
}
"""Limits by ``doc_type``. Web pages meet the published ones; text that a person put into a folder only what no text would fail;
the ratio rules for lines stay off where verse, dialogue, tables and code are expected."""


def refusal(document: Document, overrides: Mapping[str, Number]) -> tuple[str, Verdict] | None:
    """The first rule of the document's profile that refuses it, with its verdict; ``overrides`` replace limits by the rule's name."""
    words = Words(document.text)
    for rule, limit in PROFILES[str(document.facts["doc_type"])].items():
        if verdict := FILTERS[rule](words, overrides.get(rule, limit)):
            return rule, verdict
    return None


def _mean(numbers: np.ndarray) -> float:
    return float(numbers.mean()) if len(numbers) else 0.0


def _share(items: list[str], is_meant: Callable[[str], bool]) -> float:
    return sum(map(is_meant, items)) / len(items) if items else 0.0


def _phrases(words: Words, n: int) -> np.ndarray:
    """A number for each phrase of ``n`` words; equal phrases have equal numbers (mixing is modulo 2**64, so chance hits are negligible)."""
    phrases = np.zeros(max(0, len(words.ids) - n + 1), dtype=np.uint64)
    for place in range(n):
        phrases = (phrases + words.ids[place : place + len(phrases)] + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        phrases ^= phrases >> np.uint64(29)
    return phrases


def _commonest(words: Words, n: int) -> tuple[int, int]:
    """Where the commonest phrase starts, and how often it stands."""
    phrases = _phrases(words, n)
    if not len(phrases):
        return 0, 0
    _, first, number = np.unique(phrases, return_index=True, return_counts=True)
    best = int(number.argmax())
    return int(first[best]), int(number[best])


def _repeated(words: Words, n: int) -> float:
    """Share of characters in phrases of ``n`` words that stood before; phrases that overlap count their words once."""
    phrases = _phrases(words, n)
    if not len(phrases):
        return 0.0
    _, first = np.unique(phrases, return_index=True)
    again = np.ones(len(phrases), dtype=bool)
    again[first] = False
    covered = np.zeros(len(words.ids), dtype=bool)
    for place in range(n):
        covered[place : place + len(phrases)] |= again
    return float(words.lengths[covered].sum() / max(1, int(words.lengths.sum())))
