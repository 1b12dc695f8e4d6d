"""The mesh: where each process stands, who its neighbours along each axis are, and what these see that it does not."""

from collections.abc import Mapping

from docs.drawings.sheet import Sheet
from scratchlm.parallel.layout import AXES, Layout
from scratchlm.parallel.world import World

LAYOUT = Layout(pipeline=2, shard=2, tensor=4)
CHOSEN = 4
"""The process whose neighbours are shown."""
RIGHT, DOWN, THICK, SLAB = (46, 23), (-50, 25), 9, 176
"""One place further along ``tensor`` and ``shard``; a tile; from one machine to the next."""
NEIGHBOURS = {"tensor": "amber", "shard": "green", "pipeline": "violet"}
COLUMNS = ("rows", "positions", "heads", "experts", "layers")
OTHERS: Mapping[str, tuple[str, str]] = {
    "pipeline": ("layers", "its layers"),
    "replicate": ("rows", "the same"),
    "expert": ("rows experts", "its experts, a part of the rest"),
    "shard": ("rows", "a part"),
    "context": ("positions", "a part"),
    "tensor": ("heads (positions)", "its share of each matrix"),
}
"""What processes along an axis have that differs, in brackets what differs in some places only; and what each keeps of the weights."""


def drawing() -> Sheet:
    """Sixteen processes, and a table of all six axes."""
    told = (
        "Sixteen processes on two machines: pipeline 2, shard 2, tensor 4. Process 4 has neighbours 5, 6 and 7 along tensor, 0 along "
        "shard and 12 along pipeline. A table says what processes along each axis see of a step that their neighbours do not."
    )
    sheet = Sheet(960, 388, "The mesh", told)
    places = {rank: World(rank=rank, sizes=LAYOUT.sizes(16)).place for rank in range(16)}
    for rank, place in places.items():
        tile(sheet, rank, place, hue_of(place, places[CHOSEN]))
    for machine in (0, 1):
        sheet.text(262, 46 + machine * SLAB, f"machine {machine}", "head")
        sheet.text(360, 46 + machine * SLAB, f"pipeline {machine}", "soft")
    axes_of_the_picture(sheet)
    table(sheet, 470, 40)
    return sheet


def centre(place: Mapping[str, int]) -> tuple[float, float]:
    """Of a tile."""
    along, across, down = place["tensor"], place["shard"], place["pipeline"]
    return 196 + along * RIGHT[0] + across * DOWN[0], 54 + along * RIGHT[1] + across * DOWN[1] + down * SLAB


def hue_of(place: Mapping[str, int], chosen: Mapping[str, int]) -> str | None:
    """Blue for the chosen one, a colour for each axis along which somebody is its neighbour, None for all others."""
    apart = [axis for axis in AXES if place[axis] != chosen[axis]]
    return "blue" if not apart else NEIGHBOURS[apart[0]] if len(apart) == 1 else None


def tile(sheet: Sheet, rank: int, place: Mapping[str, int], hue: str | None) -> None:
    """A flat box with its number."""
    x, y = centre(place)
    (a, b), (c, d) = ((0.46 * step for step in way) for way in (RIGHT, DOWN))
    corners = [(x - a - c, y - b - d), (x + a - c, y + b - d), (x + a + c, y + b + d), (x - a + c, y - b + d)]
    _, right, front, left = corners
    side = f"{hue}-side" if hue else "bare"
    for one, other in ((left, front), (front, right)):
        sheet.polygon([one, other, (other[0], other[1] + THICK), (one[0], one[1] + THICK)], side)
    sheet.polygon(corners, f"{hue}-deep" if hue == "blue" else hue or "bare")
    sheet.text(x, y + 5, str(rank), "" if hue else "soft", at="middle")


def axes_of_the_picture(sheet: Sheet) -> None:
    """Where each leads."""
    x, y = centre({"tensor": 0, "shard": 0, "pipeline": 0})
    sheet.way(f"M{x - 34} {y - 16}l{1.1 * DOWN[0]} {1.1 * DOWN[1]}", "green-way", arrow=True)
    sheet.text(x - 68, y - 12, "shard", at="end")
    x, y = centre({"tensor": 0, "shard": 1, "pipeline": 0})
    sheet.way(f"M{x} {y + 32}V{y + SLAB - 27}", "violet-way", arrow=True)
    sheet.text(x - 12, y + SLAB / 2, "pipeline", at="end")
    sheet.way(f"M{x - 20} {y + SLAB + 34}l{3.2 * RIGHT[0]} {3.2 * RIGHT[1]}", "amber-way", arrow=True)
    sheet.text(x + 46, y + SLAB + 92, "tensor", at="end")


def table(sheet: Sheet, left: float, top: float) -> None:
    """All six axes, the outermost first."""
    sheet.text(left, top - 14, "along", "soft")
    for place, word in enumerate(COLUMNS):
        sheet.text(left + 108 + 66 * place, top - 14, word, "soft small", at="middle")
    for turn, axis in enumerate(AXES):
        y = top + 52 * turn
        differs, kept = OTHERS[axis]
        sheet.rect(left - 12, y, 474, 46, NEIGHBOURS.get(axis, "bare"), round_=5)
        sheet.text(left, y + 20, axis, "head")
        sheet.text(left, y + 37, f"keeps of the weights: {kept}", "small")
        for place, word in enumerate(COLUMNS):
            x = left + 108 + 66 * place
            if word in differs.split():
                sheet.circle(x, y + 15, 5.5, "dot")
            elif f"({word})" in differs:
                sheet.circle(x, y + 15, 5, "hollow")
    y = top + 52 * len(AXES) + 18
    sheet.circle(left + 2, y - 4, 5.5, "dot")
    sheet.text(left + 14, y, "others than its neighbours", "soft small")
    sheet.circle(left + 200, y - 4, 5, "hollow")
    sheet.text(left + 212, y, "others where no matrix is multiplied", "soft small")
