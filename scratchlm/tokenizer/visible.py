"""How a piece is shown to a reader, in a terminal and in the report."""

import unicodedata

VISIBLE = {" ": "·", "\n": "↵", "\t": "⇥", "\r": "␍"}


def visible(piece: bytes) -> str:
    """The text of a piece; what has no shape gets one, and bytes that are no whole character are written as numbers: ``<e2>``."""
    text = piece.decode("utf-8", "surrogateescape")
    shapes = (VISIBLE.get(letter) or (_numbered(letter) if _shapeless(letter, place) else letter) for place, letter in enumerate(text))
    return "".join(shapes) or "∅"


def _shapeless(letter: str, place: int) -> bool:
    """Control characters, blanks of other widths, lone bytes, and marks that have no letter before them to stand on."""
    kind = unicodedata.category(letter)
    return kind[0] in "CZ" or (kind in ("Mn", "Me") and place == 0)


def _numbered(letter: str) -> str:
    code = ord(letter)
    return f"<{code - 0xDC00:02x}>" if 0xDC80 <= code <= 0xDCFF else f"<U+{code:04X}>"
