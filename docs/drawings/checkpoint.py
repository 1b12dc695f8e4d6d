"""A matrix that four processes hold parts of, the files that they write, and who of two reads which."""

from collections.abc import Sequence

from docs.drawings.sheet import HUES, Sheet
from scratchlm.parallel.parts import Piece, Range, divided

SHAPE = (8, 12)
WRITERS: Sequence[tuple[Range, Range]] = tuple(((rows, rows + 4), (columns, columns + 6)) for rows in (0, 4) for columns in (0, 6))
"""What each of shard 2 x tensor 2 holds of a matrix that is cut by its inputs."""
READERS: Sequence[tuple[Range, Range]] = (((0, 4), (0, 12)), ((4, 8), (0, 12)))
"""And each of shard 2."""
CELL, LEFT, FILES, RIGHT, TOP = 17, 34, 358, 722, 86
WIDE, HIGH, APART, DOWN = 246, 42, 14, 118


def drawing() -> Sheet:
    """From left to right."""
    told = (
        "Each of four processes writes its quarter of a matrix to a file of its own, with where it lies in the whole. Of two "
        "processes that hold half of the rows each, the first reads two of the files, the second the others. A manifest is written "
        "last."
    )
    sheet = Sheet(960, 406, "A checkpoint", told)
    for x, words, more in (
        (LEFT, "written by four", "shard 2 × tensor 2"),
        (FILES, "step-00001000/", "what lies on disk"),
        (RIGHT, "read by two", "shard 2"),
    ):
        sheet.text(x, 38, words, "head")
        sheet.text(x, 58, more, "soft")
    for rank, piece in enumerate(WRITERS):
        (top, bottom), (left, right) = piece
        x, y, file = LEFT + left * CELL + APART * (left > 0), TOP + 10 + (top > 0) * DOWN, file_at(rank)
        block(sheet, x, y, piece, rank)
        sheet.text(x, y + 4 * CELL + 14, f"process {rank}", "soft small")
        sheet.rect(FILES, file, WIDE, HIGH, f"{HUES[rank]}-deep", round_=4)
        sheet.text(FILES + 12, file + 18, f"part-0000{rank}-of-00004.safetensors", "code")
        sheet.text(FILES + 12, file + 34, f"rows {top}:{bottom}, columns {left}:{right}", "small")
        joined(sheet, (LEFT + SHAPE[1] * CELL + APART + 8, y + 20 + rank % 2 * 26), (FILES - 6, file + HIGH / 2), HUES[rank])
    for rank, wanted in enumerate(READERS):
        reader(sheet, rank, wanted)
    y = file_at(4) + 4
    small = {"state.json": "the step, and all that is small", "manifest.json": "size and SHA-256 of each file, written last"}
    for line, (name, words) in enumerate(small.items()):
        sheet.rect(FILES, y + line * 46, WIDE, 38, "bare", round_=4)
        sheet.text(FILES + 12, y + line * 46 + 16, name, "code")
        sheet.text(FILES + 12, y + line * 46 + 31, words, "small soft")
    return sheet


def file_at(number: int) -> float:
    """Where a file is drawn."""
    return TOP + number * (HIGH + 12)


def block(sheet: Sheet, x: float, y: float, piece: tuple[Range, Range], rank: int) -> None:
    """Numbers, one square each."""
    (top, bottom), (left, right) = piece
    for row in range(bottom - top):
        for column in range(right - left):
            sheet.rect(x + column * CELL, y + row * CELL, CELL - 1.5, CELL - 1.5, HUES[rank], round_=1)


def reader(sheet: Sheet, rank: int, wanted: tuple[Range, Range]) -> None:
    """A process, and a way from each file that has something of what it wants."""
    (first, _), _ = wanted
    y = TOP + 10 + rank * DOWN
    sheet.text(RIGHT, y + 4 * CELL + 14, f"process {rank}", "soft small")
    for number, found in enumerate(WRITERS):
        inside, _ = divided(Piece(here=wanted, there=wanted), found)
        if inside is not None:
            rows, columns = inside.there
            block(sheet, RIGHT + columns[0] * CELL, y + (rows[0] - first) * CELL, (rows, columns), number)
            joined(sheet, (FILES + WIDE + 6, file_at(number) + HIGH / 2), (RIGHT - 8, y + 20 + number % 2 * 26), HUES[number])


def joined(sheet: Sheet, start: tuple[float, float], end: tuple[float, float], hue: str) -> None:
    """An arrow that leaves and comes level."""
    middle = (start[0] + end[0]) / 2
    sheet.way(f"M{start[0]:g} {start[1]:g}C{middle:g} {start[1]:g} {middle:g} {end[1]:g} {end[0]:g} {end[1]:g}", f"{hue}-way", arrow=True)
