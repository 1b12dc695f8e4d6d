"""Who travels where: positions to the experts that they ask, and the answers back."""

from collections.abc import Sequence

from docs.drawings.sheet import Sheet

PAIR = ("blue", "amber")
ASKED: Sequence[Sequence[int]] = ((2, 0, 3, 0, 2), (1, 3, 0, 2, 1))
"""By the positions of each process, an expert each; experts 0 and 1 are at the first process, 2 and 3 at the second."""
EXPERTS, EACH = 4, 2
CELL, PITCH, APART = 26, 30, 14
TOPS = (84, 314)
"""Of each process's band."""
SPOTS = (118, 268, 476, 682, 832)
"""From the left: as in the row, sorted, at the experts, sorted, as in the row again."""
Spot = tuple[float, float]


def drawing() -> Sheet:
    """From left to right, and each square is a position."""
    told = (
        "Two processes with five positions and two experts each. Positions are sorted by the expert that each asks, travel to it, are "
        "read together with those of the other process, and travel back."
    )
    sheet = Sheet(960, 514, "Experts, shared out", told)
    for rank, top in enumerate(TOPS):
        sheet.rect(16, top - 26, 928, 208, "bare", round_=8)
        sheet.text(34, top - 2, f"process {rank}")
    words = ("in their order", "sorted", "read", "sorted", "in their order")
    for x, word in zip(SPOTS, words, strict=True):
        sheet.text(x + CELL / 2, 36, word, at="middle")
    for one, other, word in ((1, 2, "sent"), (2, 3, "sent back")):
        sheet.text((SPOTS[one] + SPOTS[other] + CELL) / 2, 36, word, "soft small", at="middle")
    for expert in range(EXPERTS):
        x, y = read(0, expert, 0)
        count = sum(asked.count(expert) for asked in ASKED)
        sheet.rect(x - 7, y - 7, CELL + 14, count * PITCH + 10, "frame", round_=5)
    for rank, asked in enumerate(ASKED):
        for expert in sorted(set(asked)):
            ribbon(sheet, rank, expert, asked.count(expert))
    for rank, asked in enumerate(ASKED):
        for place, expert in enumerate(asked):
            position(sheet, rank, place, expert)
    for expert in range(EXPERTS):
        x, y = read(0, expert, 0)
        sheet.text(x + CELL + 14, y + sum(asked.count(expert) for asked in ASKED) * PITCH / 2 + 2, f"expert {expert}", "small")
    return sheet


def in_order(rank: int, place: int, column: int) -> Spot:
    """The corner of a position in a row."""
    return SPOTS[column], TOPS[rank] + place * PITCH


def sorted_place(rank: int, place: int) -> int:
    """Where it is among its neighbours, sorted by expert and else as they were."""
    return sorted(range(len(ASKED[rank])), key=lambda other: ASKED[rank][other]).index(place)


def read(rank: int, expert: int, turn: int) -> Spot:
    """The corner of the ``turn``-th position of a process at an expert, where those of the first process come first."""
    owner, place = divmod(expert, EACH)
    above = sum(asked.count(other) for asked in ASKED for other in range(owner * EACH, expert))
    before = sum(asked.count(expert) for asked in ASKED[:rank])
    return SPOTS[2], TOPS[owner] - 5 + (above + before + turn) * PITCH + place * (APART + 4)


def ribbon(sheet: Sheet, rank: int, expert: int, count: int) -> None:
    """All that a process asks of an expert, there and back."""
    first = sorted_place(rank, ASKED[rank].index(expert))
    x, y = read(rank, expert, 0)
    high = (count - 1) * PITCH + CELL
    for column in (1, 3):
        there = in_order(rank, first, column)
        left, right = ((there[0] + CELL + 2, there[1]), (x - 2, y)) if column == 1 else ((x + CELL + 2, y), (there[0] - 2, there[1]))
        middle = (left[0] + right[0]) / 2
        drawn = f"M{left[0]:g} {left[1]:g}C{middle:g} {left[1]:g} {middle:g} {right[1]:g} {right[0]:g} {right[1]:g}v{high}"
        drawn += f"C{middle:g} {right[1] + high:g} {middle:g} {left[1] + high:g} {left[0]:g} {left[1] + high:g}z"
        sheet.way(drawn, f"{PAIR[rank]}-band")


def position(sheet: Sheet, rank: int, place: int, expert: int) -> None:
    """One position at all five places, with the number of its expert."""
    again = sorted_place(rank, place)
    turn = ASKED[rank][:place].count(expert)
    spots = [
        in_order(rank, place, 0),
        in_order(rank, again, 1),
        read(rank, expert, turn),
        in_order(rank, again, 3),
        in_order(rank, place, 4),
    ]
    for one, other in (spots[:2], spots[3:]):
        (x, y), (last, end) = (one[0] + CELL + 3, one[1] + CELL / 2), (other[0] - 4, other[1] + CELL / 2)
        middle = (x + last) / 2
        drawn = f"M{x:g} {y:g}C{middle:g} {y:g} {middle:g} {end:g} {last:g} {end:g}"
        sheet.way(drawn, f"{PAIR[rank]}-way")
    for column, (left, top) in enumerate(spots):
        sheet.rect(left, top, CELL, CELL, PAIR[rank] + ("-deep" if column >= 2 else ""), round_=4)
        sheet.text(left + CELL / 2, top + 18, str(expert), at="middle")
