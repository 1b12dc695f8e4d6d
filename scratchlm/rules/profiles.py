"""Which rules a document meets, and with which limits: that depends on what it is, and on whether its language is known.

A language without a row in ``LANGUAGES``, and a script without spaces between words, is judged by characters and lines alone, and the
profile's name says so ("web/characters"): English rules are never applied to it silently.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from scratchlm.core.records import Document
from scratchlm.rules.language import LANGUAGES, WITHOUT_BLANKS, canonical
from scratchlm.sources.found import Number

SIGNS = re.compile("[\uac00-\ud7af" + "".join(f"{chr(first)}-{chr(last)}" for first, last in WITHOUT_BLANKS) + "]")
"""Of scripts without blanks; Korean too, whose words are phrases."""
LOOKED_AT = 2_000
"""Characters that tell the script."""
MOST_BITS = 7.0
"""Of gibberish, in a script or language whose letters are not known as well as those of ``Language.bits``."""

REPETITION = {
    "duplicate_lines": 0.3, "duplicate_paragraphs": 0.3, "duplicate_line_characters": 0.2, "duplicate_paragraph_characters": 0.2,
    "top_2_gram": 0.2, "top_3_gram": 0.18, "top_4_gram": 0.16, "duplicate_5_gram": 0.15, "duplicate_6_gram": 0.14,
    "duplicate_7_gram": 0.13, "duplicate_8_gram": 0.12, "duplicate_9_gram": 0.11, "duplicate_10_gram": 0.1,
}  # fmt: skip
"""Gopher, table A1."""
GOPHER = {
    "too_few_words": 50, "too_many_words": 100_000, "words_too_short": 3, "words_too_long": 10, "too_many_hashes": 0.1,
    "too_many_dots": 0.1, "too_many_bullets": 0.9, "too_many_ellipses": 0.3, "too_few_letters": 0.8, "no_stop_words": 2, **REPETITION,
}  # fmt: skip
"""Gopher, A1.1."""
C4 = {"placeholder_text": 0, "curly_brackets": 0, "too_few_sentences": 3}
"""The version that made the published data set: c4_utils.py of TensorFlow Datasets. Limits for its lines are ``HOUSE``."""
FINEWEB = {"lines_without_end": 0.12, "short_lines": 0.67, "echoed_lines": 0.1, "more_lines_than_text": 0.3, "unsure_language": 0.65}
"""FineWeb, 3.3 and 3.5. Of characters in repeated lines the paper says 0.1, as here; datatrove's code has 0.01 unless it is told."""
HOUSE = {"javascript_lines": 0.2, "policy_lines": 0.2, "gibberish": MOST_BITS}
"""Limits that nobody has published: C4 cuts the lines in question, here a page may have so many of them."""
WEB = GOPHER | C4 | FINEWEB | HOUSE
# From here on all limits are our own.
PROSE = {
    "too_few_words": 5, "too_many_words": 1_000_000, "words_too_short": 2, "words_too_long": 12, "too_many_hashes": 0.3,
    "too_many_dots": 0.3, "too_few_letters": 0.6, "repeated_lines": 0.3, "top_2_gram": 0.3, "top_3_gram": 0.27, "top_4_gram": 0.24,
    "duplicate_5_gram": 0.4, "duplicate_10_gram": 0.267,
}  # fmt: skip
MARKUP = {"too_few_words": 5, "too_many_words": 1_000_000, "words_too_long": 20, "too_few_letters": 0.5, "repeated_lines": 0.4}
REFERENCE = {"too_few_words": 1, "too_few_letters": 0.2}
CODE = {
    "too_few_words": 5, "longest_line": 1_000, "long_lines": 100, "too_many_lines": 100_000, "too_few_alphanumerics": 0.25,
    "data_like": 0.5,
}  # fmt: skip
SCANNED = PROSE | {"gibberish": MOST_BITS}
LIMITS: dict[str, Mapping[str, Number]] = {
    "web": WEB, "wiki": PROSE, "qa": PROSE, "code": CODE, "book": PROSE, "pdf": SCANNED, "office": PROSE, "rows": PROSE,
    "markup": MARKUP, "reference": REFERENCE, "topic": REFERENCE,
}  # fmt: skip
"""Limits by ``doc_type``. Web pages meet the published ones and ``HOUSE``; text that a person put into a folder only what no text would
fail; the ratio rules for lines stay off where verse, dialogue, tables and code are expected."""
LANGUAGE_FREE = ("code", "reference", "topic")
"""Kinds whose limits hold in any language, so it is not asked."""

CHARACTERS = "/characters"
"""Ends the name of a profile that does not judge words."""

# A third: vowels of Indian scripts are signs to Unicode, not letters, so good Hindi is letters by two thirds.
LETTERS = {"too_few_characters": 20, "too_few_letter_characters": 0.33}
WEB_CHARACTERS = LETTERS | {
    "too_few_characters": 100, "too_many_bullets": 0.9, "too_many_ellipses": 0.3, "duplicate_lines": 0.3, "duplicate_paragraphs": 0.3,
    "duplicate_line_characters": 0.2, "duplicate_paragraph_characters": 0.2, "javascript_lines": 0.2, "policy_lines": 0.2,
    "placeholder_text": 0, "curly_brackets": 0, "echoed_lines": 0.1, "gibberish": MOST_BITS,
}  # fmt: skip
PROSE_CHARACTERS = LETTERS | {"repeated_lines": 0.3, "gibberish": 7.0}
BY_CHARACTERS: dict[str, Mapping[str, Number]] = {
    "web": WEB_CHARACTERS,
    "markup": LETTERS | {"too_few_letter_characters": 0.2, "repeated_lines": 0.4},
    "pdf": PROSE_CHARACTERS | {"gibberish": MOST_BITS},
}
"""Limits where words cannot be judged; other kinds of text meet ``PROSE_CHARACTERS``."""


@dataclass(frozen=True, slots=True)
class Profile:
    """The limits that a document meets."""

    name: str
    """The ``doc_type``, with "/characters" where words are not judged."""
    limits: Mapping[str, Number]


def of(document: Document, lang: str) -> Profile:
    """The profile of a document that is taken to be in ``lang``."""
    kind, language = str(document.facts["doc_type"]), LANGUAGES.get(canonical(lang))
    if kind in LANGUAGE_FREE or (language and has_spaces(document.text)):
        limits = LIMITS[kind]
        return Profile(kind, {**limits, "gibberish": language.bits} if language and "gibberish" in limits else limits)
    return Profile(f"{kind}{CHARACTERS}", BY_CHARACTERS.get(kind, PROSE_CHARACTERS))


def has_spaces(text: str) -> bool:
    """Whether words can be counted: not in Chinese, Japanese or Thai, which would fail every English rule for no fault."""
    letters = "".join(text[:LOOKED_AT].split())
    return len(SIGNS.findall(letters)) < 0.3 * max(1, len(letters))
