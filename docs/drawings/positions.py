"""The positions of a row shared out from both ends, and heads traded for positions."""

from collections.abc import Sequence

from docs.drawings.sheet import HUES, Sheet
from scratchlm.parallel.context import Context

COUNT, LENGTH = 4, 16
LEFT, CELL, TOP = 34, 15, 96


def owners() -> list[int]:
    """Whose each position is, as ``Context`` says."""
    whose = [0] * LENGTH
    for place in range(COUNT):
        for position in Context(None, place, COUNT).columns(LENGTH).tolist():
            whose[position] = place
    return whose


def drawing() -> Sheet:
    """In one piece, from both ends, and by heads."""
    told = (
        "Who asks whom in a row of 16 positions and 4 processes. In one piece each, the last process scores 58 pairs and the first "
        "10; from both ends all score 34. Beside it: each process gives away heads and gets positions."
    )
    sheet = Sheet(960, 418, "Positions, shared out", told)
    triangle(sheet, LEFT, "in one piece each", [position * COUNT // LENGTH for position in range(LENGTH)])
    triangle(sheet, LEFT + 300, "from both ends", owners())
    traded(sheet, LEFT + 610)
    x = LEFT
    for place, hue in enumerate(HUES[:COUNT]):
        sheet.rect(x + 96 * place, 390, 16, 14, hue)
        sheet.text(x + 22 + 96 * place, 402, f"process {place}", "soft small")
    return sheet


def triangle(sheet: Sheet, x: float, name: str, whose: Sequence[int]) -> None:
    """A row of cells for each position that asks, a cell for each that may answer; below, how many each process has."""
    sheet.text(x, 40, name, "head")
    sheet.text(x, 60, "which positions each asks", "soft")
    for asks in range(LENGTH):
        for answers in range(asks + 1):
            sheet.rect(
                x + answers * CELL,
                TOP + asks * CELL,
                CELL - 1.5,
                CELL - 1.5,
                HUES[whose[asks]] + ("-deep" if asks == answers else ""),
                round_=1,
            )
    total = LENGTH * (LENGTH + 1) // 2
    start = x
    for place in range(COUNT):
        scores = sum(asks + 1 for asks in range(LENGTH) if whose[asks] == place)
        wide = scores / total * LENGTH * CELL
        sheet.rect(start, TOP + LENGTH * CELL + 16, wide - 1.5, 18, HUES[place] + "-deep")
        sheet.text(start + wide / 2 - 1, TOP + LENGTH * CELL + 29, str(scores), "small", at="middle")
        start += wide


def traded(sheet: Sheet, x: float) -> None:
    """Positions go down, heads to the right."""
    sheet.text(x, 40, "heads for positions", "head")
    sheet.text(x, 60, "who has which numbers", "soft")
    whose, wide = owners(), 27
    for right, words in ((0, "some positions"), (1, "some heads")):
        left = x + right * 172
        for position in range(LENGTH):
            for head in range(COUNT):
                hue = HUES[head if right else whose[position]]
                sheet.rect(left + head * wide, TOP + position * CELL, wide - 1.5, CELL - 1.5, hue, round_=1)
        sheet.text(left + COUNT * wide / 2, TOP - 12, words, "soft small", at="middle")
        sheet.text(left + COUNT * wide / 2, TOP + LENGTH * CELL + 29, "4 heads", "soft small", at="middle")
    middle = x + COUNT * wide
    sheet.way(f"M{middle + 8} {TOP + 108}h46", "way", arrow=True)
    sheet.way(f"M{middle + 56} {TOP + 132}h-46", "way", arrow=True)
