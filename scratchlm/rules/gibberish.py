"""Do the letters follow each other as letters of a language do? Bits per character under a small model of three letters at a time.

Accents, case and the letters of other scripts are set aside, so that one model serves every language of a script. It was learned from the
names of languages and countries in 104 Latin, 18 Cyrillic and 1 Greek languages, and from the English of Python's own documentation
(``scripts/learn_letters.py``). Measured on passages of 2,000 characters: 2,500 of novels and of manual
pages in 15 languages of the Latin script need 3.2 to 5.4 bits (99 of 100 at most 4.9), 470 in Russian, Ukrainian and Greek up to 6.3
but for one; keyboard noise 7.9 and more, base64 9.9, print of which every third character was misread 5.4 to 6.0, every fifth 4.7.
"""

import base64
import json
import unicodedata
import zlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np

from scratchlm.rules.language import sampled

SCRIPTS = {
    "latin": "abcdefghijklmnopqrstuvwxyz",
    "cyrillic": "абвгдежзиклмнопрстуфхцчшщъыьэюяєіјљњћџғқңөұүһәђѕ",
    "greek": "αβγδεζηθικλμνξοπρστυφχψως",
}
TWINS = {"ł": "l", "ø": "o", "đ": "d", "ı": "i", "ß": "s", "æ": "a", "œ": "o", "ð": "d", "þ": "t", "ħ": "h"}
"""Letters that Unicode does not take apart, by the one they stand beside."""
BLANK, NUMBER, MARK = 0, 1, 2
"""Symbols that every script has; the letters follow."""
CODES = 0x2000
"""Beyond the last letter of these scripts."""
SAMPLE, PLACES = 4_000, 3
FEWEST = 40
"""Letters; fewer tell nothing."""
STEP = 1 / 12
"""Bits that one step of a stored value is worth."""
TABLE = Path(__file__).with_name("gibberish.json")


def bits(text: str) -> float:
    """Bits per character; not a number for a text of few letters or in a script without a model."""
    codes = np.frombuffer(sampled(text, SAMPLE, PLACES).encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    scripts, symbols = classes()
    codes = np.minimum(codes, CODES)
    found = scripts[codes]
    count = np.bincount(found, minlength=len(SCRIPTS) + 2)
    best = int(count[1:-1].argmax()) + 1
    if count[best] < max(FEWEST, 0.5 * count[1:].sum()):
        return float("nan")
    table = _tables()[list(SCRIPTS)[best - 1]]
    return float(table[threes(symbols[codes[(found == 0) | (found == best)]], best)].mean())


def threes(symbols: np.ndarray, script: int) -> np.ndarray:
    """The place in the table of every three symbols; blanks, digits and marks count once in a row."""
    size = len(list(SCRIPTS.values())[script - 1]) + MARK + 1
    again = np.zeros(len(symbols), dtype=bool)
    again[1:] = (symbols[1:] == symbols[:-1]) & (symbols[1:] <= MARK)
    symbols = symbols[~again].astype(np.int64)
    return (symbols[:-2] * size + symbols[1:-1]) * size + symbols[2:]


@lru_cache(maxsize=1)
def _tables() -> dict[str, np.ndarray]:
    packed = json.loads(TABLE.read_text(encoding="utf-8"))["tables"]
    return {script: np.frombuffer(zlib.decompress(base64.b85decode(table)), np.uint8) * STEP for script, table in packed.items()}


@lru_cache(maxsize=1)
def classes() -> tuple[np.ndarray, np.ndarray]:
    """For each code point its script (0: none, the last number: another one) and its symbol."""
    places = {letter: (n, MARK + 1 + at) for n, alphabet in enumerate(SCRIPTS.values(), 1) for at, letter in enumerate(alphabet)}
    classes = [_class(chr(code), places) for code in range(CODES)] + [(len(SCRIPTS) + 1, MARK)]
    scripts, symbols = zip(*classes, strict=True)
    return np.array(scripts, dtype=np.uint8), np.array(symbols, dtype=np.uint8)


def _class(letter: str, places: Mapping[str, tuple[int, int]]) -> tuple[int, int]:
    if not letter.isalpha():
        return 0, BLANK if letter.isspace() else NUMBER if letter.isdigit() else MARK
    base = unicodedata.normalize("NFD", letter.lower())[0]
    return places.get(TWINS.get(base, base), (len(SCRIPTS) + 1, MARK))
