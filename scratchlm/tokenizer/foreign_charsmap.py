"""The table by which a SentencePiece model rewrites characters (its normaliser), checked before anything follows its links.

It is a trie in the layout of Darts (a double array: https://github.com/s-yata/darts-clone) and behind it the texts that it points to, each
ended by a zero byte. The library that runs it trusts every link, so a damaged file would end the process.
"""

import numpy as np

from scratchlm.core.errors import UsageError

MOST = 1 << 24
"""Bytes; those in use have less than a million."""
LONGEST = 256
"""Bytes that one character may become; Unicode's longest has 33."""
AT_ONCE = 4096
"""Units looked at together, each with its 255 possible children."""


def check(data: bytes, where: str) -> None:
    """UsageError when a link of the trie leads out of it, or to no text."""
    size = int.from_bytes(data[:4], "little")
    if not 4 <= len(data) <= MOST or size % 4 or size < 4 or 4 + size > len(data):
        raise UsageError(
            f"{where}: its table of characters says it has {size:,} bytes of {len(data):,}. The file is damaged; fetch it again."
        )
    units = np.frombuffer(data, "<u4", size // 4, 4)
    texts = data[4 + size :]
    if not _links_hold(units, texts):
        raise UsageError(f"{where}: its table of characters has a link that leads nowhere. The file is damaged; fetch it again.")


def _links_hold(units: np.ndarray, texts: bytes) -> bool:
    """Walks every path from the root; a unit holds its letter in the low byte, whether a text ends there, and how far its children are."""
    try:
        whole = texts.decode("utf-8")
    except UnicodeDecodeError:
        return False
    if max(map(len, texts.split(b"\0"))) > LONGEST:
        return False
    starts = np.zeros(len(texts) + 1, bool)
    starts[np.cumsum([0, *(len(letter.encode()) for letter in whole)])] = True
    letters = np.arange(1, 256)
    met = np.zeros(len(units), bool)
    met[0] = True
    todo = np.array([0])
    while len(todo):
        here, todo = todo[:AT_ONCE], todo[AT_ONCE:]
        base = here ^ _offset(units[here])
        children = base[:, None] ^ letters
        if max(children.max(), base.max()) >= len(units):
            return False
        ends = units[base[(units[here] >> 8) & 1 == 1]] & 0x7FFFFFFF
        if (ends >= len(starts)).any() or not starts[ends].all():
            return False
        found = np.unique(children[((units[children] & 0x800000FF) == letters) & ~met[children]])
        met[found] = True
        todo = np.concatenate([todo, found])
    return True


def _offset(units: np.ndarray) -> np.ndarray:
    return ((units >> 10) << ((units & 0x200) >> 6)).astype(np.int64)
