"""Where tokenizers from elsewhere may cut text: a table of the patterns that well-known models use, and no others.

A pattern is run by an engine that tries again and again (Onig), so one made for it can hang on a short text. Each of these was run on long
texts of every kind of character by the tests. A pattern that is not here is refused by its first characters; to add one, add a row.
"""

import re

from scratchlm.core.errors import UsageError
from scratchlm.tokenizer.splits import ENGLISH, SPLITS

_REST = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_CASED = rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+", rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*"

PATTERNS: dict[str, tuple[str, ...]] = {
    "gpt2": (SPLITS["gpt2"], r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"),
    "gpt4": (
        SPLITS["gpt4"],
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
    ),
    "qwen2": (SPLITS["qwen2"],),
    "gpt4o": (rf"{_CASED[0]}{ENGLISH}?|{_CASED[1]}{ENGLISH}?|\p{{N}}{{1,3}}|{_REST}",),
    "tekken": (rf"{_CASED[0]}|{_CASED[1]}|\p{{N}}|{_REST}",),
}
"""By name, the spellings under which it is found in files; all of one name cut alike, and the first is the one we write."""
ALIASES = {"cl100k": "gpt4", "llama3": "gpt4", "o200k": "gpt4o", "gpt-2": "gpt2"}
"""Other names a caller may use."""
RUNS, FIRST, LAST = " {2,}", r"\A +", r"(?<![ ▁])[ ▁]+\z"
"""Blanks in a row, at the beginning and at the end, which a SentencePiece model may leave out."""
HARMLESS = (RUNS, FIRST, LAST, r"\p{N}", r"\p{N}{1,3}", r"\s+")
"""Patterns in which nothing is tried twice, found in normalisers and beside the others."""
MOST_TEXTS, LONGEST_TEXT = 8192, 256
"""Of a list of texts to look for, each of which is tried at every place; Gemma 3 has some 6,000."""
_NAME_OF = {spelling: name for name, spellings in PATTERNS.items() for spelling in spellings}
_PART = re.compile(r"(?:\\.|[^\\|])+", re.DOTALL)


def named(name: str) -> str:
    """The pattern a caller names."""
    found = ALIASES.get(name, name)
    if found not in PATTERNS:
        raise UsageError(f"split: no split pattern '{name}'. Known: {', '.join(sorted([*PATTERNS, *ALIASES]))}.")
    return PATTERNS[found][0]


def name_of(pattern: str) -> str | None:
    """The name of a pattern that well-known models use."""
    return _NAME_OF.get(pattern)


def any_of(texts: list[str]) -> str:
    """The pattern that finds the longest of ``texts`` at each place."""
    return "|".join(_escaped(text) for text in sorted(texts, key=lambda text: (-len(text), text)))


def texts_in(pattern: str) -> list[str] | None:
    """The texts of ``any_of``; None for a pattern that is anything else."""
    if len(pattern) > MOST_TEXTS * LONGEST_TEXT:
        return None
    texts = [re.sub(r"\\(.)", r"\1", part, flags=re.DOTALL) for part in _PART.findall(pattern)]
    few = 0 < len(texts) <= MOST_TEXTS and max(map(len, texts)) <= LONGEST_TEXT
    return texts if few and any_of(texts) == pattern else None


def is_safe(pattern: str) -> bool:
    """Whether it may be run."""
    return pattern in _NAME_OF or pattern in HARMLESS or texts_in(pattern) is not None


def _escaped(text: str) -> str:
    return re.sub(r"([\\|.*+?^$()\[\]{}])", r"\\\1", text)
