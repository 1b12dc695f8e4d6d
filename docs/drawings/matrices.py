"""A block whose matrices and positions two processes share out: what each has at every place, and what they send each other between."""

from collections.abc import Sequence
from dataclasses import dataclass

from docs.drawings.sheet import Sheet

PAIR = ("blue", "amber")
LEFT, WIDE, HIGH, GAP, WEIGHT = 34, 58, 92, 81, 34


@dataclass(frozen=True)
class Step:
    """From one tensor to the next: what is done, how a matrix in it is cut, and the tensor that comes of it with how it is shared out."""

    told: Sequence[str]
    matrix: str | None
    gives: str
    shared: str
    message: bool = False


def two(first: Sequence[str], second: str, third: Sequence[str], name: str) -> list[Step]:
    """Half of a block."""
    return [
        Step(["norm"], None, "", "positions"),
        Step(["gather", "positions"], None, "all positions", "everything", message=True),
        Step(first, "columns", name, "channels"),
        Step([second], None, name, "channels"),
        Step(third, "rows", "shares of a sum", "sums"),
        Step(["sum, keep", "one's own"], None, "the stream", "positions", message=True),
    ]


HALVES = {
    "attention": two(["query, key,", "value"], "attention", ["output"], "half of the heads"),
    "feed-forward": two(["gate, up"], "product", ["down"], "half of the\nhidden channels"),
}


def drawing() -> Sheet:
    """The two halves of a block, one above the other."""
    told = (
        "Two processes compute a block. In the stream and in norms each has half of the positions. Before attention positions are "
        "gathered, and each computes half of the heads; what they have is summed, and each keeps its own positions. The feed-forward "
        "does the same."
    )
    sheet = Sheet(960, 472, "A block, shared out", told)
    for turn, (name, steps) in enumerate(HALVES.items()):
        half(sheet, 30 + 214 * turn, name, steps)
    y = 456
    for turn, hue in enumerate(PAIR):
        sheet.rect(LEFT + 102 * turn, y - 11, 16, 14, hue)
        sheet.text(LEFT + 22 + 102 * turn, y, f"process {turn}", "soft small")
    sheet.way(f"M{LEFT + 204} {y - 4}h26", "violet-way", arrow=True)
    sheet.text(LEFT + 238, y, "a message", "soft small")
    sheet.text(LEFT + 326, y, "Positions go down, channels to the right; a small square is a matrix, its inputs go down.", "soft small")
    return sheet


def half(sheet: Sheet, top: float, name: str, steps: Sequence[Step]) -> None:
    """From the stream to the stream."""
    y = top + 46
    sheet.text(LEFT, top + 4, name, "head")
    tensor(sheet, LEFT, y, "positions")
    sheet.text(LEFT + WIDE / 2, y + HIGH + 22, "the stream", "soft small", at="middle")
    for turn, step in enumerate(steps):
        x = LEFT + turn * (WIDE + GAP)
        middle = x + WIDE + GAP / 2
        sheet.way(f"M{x + WIDE + 9} {y + HIGH / 2}h{GAP - 18}", "violet-way" if step.message else "way", arrow=True)
        for line, words in enumerate(reversed(step.told)):
            sheet.text(middle, y + HIGH / 2 - 9 - 14 * line, words, "small", at="middle")
        if step.matrix:
            weight(sheet, middle - WEIGHT / 2, y + HIGH / 2 + 9, step.matrix)
        tensor(sheet, x + WIDE + GAP, y, step.shared)
        for line, words in enumerate(step.gives.split("\n")):
            sheet.text(x + WIDE + GAP + WIDE / 2, y + HIGH + 22 + 14 * line, words, "soft small", at="middle")
    last = LEFT + len(steps) * (WIDE + GAP) + WIDE / 2
    sheet.way(f"M{LEFT + WIDE / 2} {y - 4}v-14q0 -8 8 -8H{last - 8}q8 0 8 8v12", arrow=True)
    sheet.text(last - 16, y - 32, "and what came in is added", "soft small", at="end")


def tensor(sheet: Sheet, x: float, y: float, how: str) -> None:
    """Whose numbers are whose."""
    if how == "positions":
        for turn, hue in enumerate(PAIR):
            sheet.rect(x, y + turn * HIGH / 2, WIDE, HIGH / 2 - 1, hue)
    elif how == "channels":
        for turn, hue in enumerate(PAIR):
            sheet.rect(x + turn * WIDE / 2, y, WIDE / 2 - 1, HIGH, hue)
    else:
        for turn, hue in enumerate(PAIR):
            aside = 5 * (1 - 2 * turn)
            sheet.rect(x - aside, y - aside, WIDE, HIGH, "ground")
            sheet.rect(x - aside, y - aside, WIDE, HIGH, hue if how == "everything" else f"{hue}-pale")


def weight(sheet: Sheet, x: float, y: float, how: str) -> None:
    """A matrix cut by its outputs, or by its inputs."""
    for turn, hue in enumerate(PAIR):
        if how == "columns":
            sheet.rect(x + turn * WEIGHT / 2, y, WEIGHT / 2 - 1, WEIGHT, f"{hue}-deep")
        else:
            sheet.rect(x, y + turn * WEIGHT / 2, WEIGHT, WEIGHT / 2 - 1, f"{hue}-deep")
