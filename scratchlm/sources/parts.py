"""A large file in parts, each to be read by itself: ``Input.part``."""

from collections.abc import Callable

from scratchlm.sources.dispatch import kind_of
from scratchlm.sources.file import Input, Part, Unreadable
from scratchlm.sources.packings import packing_of
from scratchlm.sources.streams import CHUNK, fault_of, head_of, seekable
from scratchlm.sources.texts import charset_of

Parts = list[Part | None]
WHOLE: Parts = [None]


def splits(file: Input, size: int) -> Parts:
    """Parts of about ``size`` bytes that together are the file; ``[None]`` when it is read as a whole.

    Documents, locators and ids are the same as those of the whole. Parquet is cut between row groups. JSON lines are cut behind a line,
    and a pass over the file counts the lines before each cut. Every other file is one unit of work whatever its size, and so is every
    packed one (``.warc.gz``, ``.jsonl.zst``, ``.bz2``): nothing of it can be read without all that comes before.
    """
    if file.size <= size:
        return WHOLE
    try:
        head = head_of(file)
        cut = None if packing_of(head) else CUTS.get(kind_of(head, file.name) or "")
        parts = cut(file, size) if cut else []
    except (Unreadable, OSError, ValueError) as fault:
        fault_of(fault)  # raised when it is this machine's; what is wrong with the file is told where it is read
        return WHOLE
    return parts if len(parts) > 1 else WHOLE


def _lines(file: Input, size: int) -> Parts:
    """Where lines start and end, in bytes; nothing when these are not UTF-8, in which alone a newline's byte is nothing else."""
    parts: Parts = []
    start = place = 0
    first = number = 1
    before, is_blank = b"", True
    with file.open() as stream:
        while data := stream.read(CHUNK):
            if not place and not charset_of(data).startswith("utf-8"):
                return []
            is_blank = is_blank and not data.strip()
            at = 0
            while (least := start + size - place) < len(data) and (end := data.find(b"\n", max(at, least)) + 1):
                number += _ends(data[at:end], before)
                parts.append((start, place + end, first))
                start, first, at, before = place + end, number, end, b"\n"
            number += _ends(data[at:], before)
            place, before = place + len(data), data[-1:]
    return [*parts, (start, place, first)] if not is_blank else []


def _ends(data: bytes, before: bytes) -> int:
    """The line ends in ``data``: newlines and carriage returns, of which a pair is one, also where ``before`` was cut in two."""
    is_second = before == b"\r" and data.startswith(b"\n")
    returns = data.count(b"\r")
    return data.count(b"\n") + (returns - data.count(b"\r\n") if returns else 0) - is_second


def _groups(file: Input, size: int) -> Parts:
    """Row groups that go together."""
    import pyarrow.parquet as pq

    with seekable(file) as stream:
        facts = pq.ParquetFile(stream).metadata
    parts: Parts = []
    start, held, first, number = 0, 0, 1, 1
    for place in range(facts.num_row_groups):
        group = facts.row_group(place)
        own = sum(group.column(column).total_compressed_size for column in range(group.num_columns))
        if held and held + own > size:
            parts.append((start, place, first))
            start, held, first = place, 0, number
        held += own
        number += group.num_rows
    return [*parts, (start, facts.num_row_groups, first)]


CUTS: dict[str, Callable[[Input, int], Parts]] = {"json_lines": _lines, "parquet": _groups}
"""Kinds of files that can be read in parts."""
