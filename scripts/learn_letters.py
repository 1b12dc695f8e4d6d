"""Learn ``scratchlm/rules/gibberish.json``: which letters follow which, in the scripts of ``gibberish.SCRIPTS``.

Learned from the names of languages, countries and scripts in every language that babel knows (Unicode CLDR, Unicode-3.0 licence) and from
the language reference of this Python (PSF-2.0). ``python scripts/learn_letters.py`` writes the file anew.
"""

import base64
import json
import zlib
from collections.abc import Iterable
from pydoc_data import topics

import numpy as np
from babel import localedata

from scratchlm.rules import gibberish

FEWEST = 3_000
"""Characters of names; a language with fewer is mostly borrowed from another."""


def names() -> dict[str, list[str]]:
    """For each script the names in each language that is written in it."""
    found: dict[str, list[str]] = {script: [] for script in gibberish.SCRIPTS}
    for language in sorted(localedata.locale_identifiers()):
        if "_" in language:
            continue
        own = localedata.load(language, merge_inherited=False)
        rows = [str(name) for group in ("languages", "territories", "scripts") for _, name in sorted(own.get(group, {}).items())]
        # A comma after some, a full stop after others: names stand alone, words of a text do not.
        text = "".join(name + (". " if at % 16 == 15 else ", " if at % 8 == 7 else " ") for at, name in enumerate(rows))
        letters = [letter for letter in text.lower() if letter.isalpha()]
        for script, alphabet in gibberish.SCRIPTS.items():
            if len(text) >= FEWEST and sum(letter in alphabet for letter in letters) > 0.6 * len(letters):
                found[script].append(text)
    return found


def learn(texts: Iterable[str], script: str) -> np.ndarray:
    """Bits of each symbol after each two, in steps of ``STEP``; the rarer a pair, the more the symbol alone says."""
    number, size = list(gibberish.SCRIPTS).index(script) + 1, len(gibberish.SCRIPTS[script]) + gibberish.MARK + 1
    scripts, symbols = gibberish.classes()
    counts = np.zeros(size**3)
    for text in texts:
        codes = np.minimum(np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32), gibberish.CODES)
        kept = symbols[codes[(scripts[codes] == 0) | (scripts[codes] == number)]]
        counts += np.bincount(gibberish.threes(kept, number), minlength=size**3)
    counts = counts.reshape(size, size, size)
    twos = counts.sum(0)
    ones = twos.sum(0)
    one = (ones + 1) / (ones.sum() + size)
    two = (twos + 50 * one) / (twos.sum(1, keepdims=True) + 50)
    three = (counts + 5 * two) / (counts.sum(2, keepdims=True) + 5)
    return np.clip(np.rint(-np.log2(three) / gibberish.STEP), 0, 255).astype(np.uint8).reshape(-1)


def packed(table: np.ndarray) -> str:
    """Bytes as letters that JSON can hold."""
    return base64.b85encode(zlib.compress(table.tobytes(), 9)).decode()


if __name__ == "__main__":
    texts = names()
    texts["latin"] += [text for _, text in sorted(topics.topics.items())]
    tables = {script: packed(learn(texts[script], script)) for script in texts}
    written = json.dumps({"format": 1, "scripts": gibberish.SCRIPTS, "tables": tables}, ensure_ascii=False, indent=1)
    gibberish.TABLE.write_text(written + "\n", encoding="utf-8")
