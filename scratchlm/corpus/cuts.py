"""Pieces to cut out of documents: which ones, in characters of the text as it lies, and never a part of a code block."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Span = tuple[int, int]
Structure = Sequence[Mapping[str, Any]] | None
"""The column ``structure`` of a document: mappings of ``kind``, ``start`` and ``end``."""


def blocks(structure: Structure, kinds: Sequence[str] = ("code",)) -> list[Span]:
    """The blocks of some kinds in the order of the text, overlapping ones as one."""
    return merged((block["start"], block["end"]) for block in structure or () if block["kind"] in kinds)


def merged(spans: Iterable[Span]) -> list[Span]:
    """Spans in order; those that touch or overlap become one, empty ones vanish."""
    found: list[Span] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        elif start < end:
            found.append((start, end))
    return found


def around(spans: Sequence[Span], whole: Sequence[Span]) -> tuple[list[Span], int]:
    """What of ``spans`` may be cut if each of ``whole`` goes entirely or stays entirely, and how many of those had to be stepped around.

    Both are in order and do not overlap among themselves.
    """
    left, stepped, first = [], 0, 0
    for start, end in spans:
        while first < len(whole) and whole[first][1] <= start:
            first += 1
        for low, high in whole[first:]:
            if low >= end:
                break
            if low < start or high > end:
                stepped += 1
                if start < low:
                    left.append((start, low))
                start = max(start, high)
        if start < end:
            left.append((start, end))
    return left, stepped


def apply(text: str, spans: Sequence[Span]) -> str:
    """The text without its spans, which are in order and do not overlap."""
    borders = [0, *(border for span in spans for border in span), len(text)]
    return "".join(text[start:end] for start, end in zip(borders[::2], borders[1::2], strict=True))
