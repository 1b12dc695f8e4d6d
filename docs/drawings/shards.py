"""What four processes keep of weights, gradients and optimizer states, by how much of it is cut."""

from docs.drawings.sheet import HUES, Sheet
from scratchlm.parallel.layout import Layout

COUNT = 4
MODES = {"copies": Layout(replicate=COUNT, shard=1), **{f"zero={zero}": Layout(zero=zero) for zero in (1, 2, 3)}}
TITLES = {
    "copies": ("replicate=4", "copies"),
    "zero=1": ("zero=1", "states are cut"),
    "zero=2": ("zero=2", "gradients too"),
    "zero=3": ("zero=3", "weights too"),
}
GROUPS = ("weights", "gradients", "optimizer states")
WIDE, HIGH, PITCH, LEFT = 37, 15, 198, 172


def kept(mode: str, group: str) -> str:
    """Of a kind of number what a process has beside its own quarter: all ``stays`` or ``passes`` in a step, a ``block``, or ``nothing``."""
    if mode == "copies":
        return "stays"
    zero = MODES[mode].zero
    found = {"weights": "block" if zero == 3 else "passes", "gradients": "passes" if zero == 1 else "block", "optimizer states": "nothing"}
    return found[group]


def rest(mode: str) -> float:
    """Bytes for each weight that a process holds between steps: float32 weights and two states of AdamW."""
    return 12 if mode == "copies" else 12 / COUNT


def most(mode: str) -> float:
    """The same in a step of several micro-batches, beside activations and a block that is gathered."""
    if mode == "copies":
        return 20  # what DistributedDataParallel sums is a second copy of the gradients
    n, zero = COUNT, MODES[mode].zero
    return {1: 8 + 12 / n, 2: 4 + 16 / n, 3: 16 / n}[zero]


def sent(mode: str) -> str:
    """Of the weights' bytes how many a process sends in a step of M micro-batches, times (n - 1) / n."""
    return {"copies": "2", "zero=1": "2", "zero=2": "1 + M", "zero=3": "3 M"}[mode]


def drawing() -> Sheet:
    """A column for each way, in it a column for each process."""
    told = (
        "Four processes keep all weights, gradients and optimizer states, or only a quarter of the states, of the gradients too, or "
        "of the weights too. What is whole only within a step is pale, what comes block by block is a thin line."
    )
    sheet = Sheet(960, 430, "What a process keeps", told)
    for turn, mode in enumerate(MODES):
        x = LEFT + turn * PITCH
        code, words = TITLES[mode]
        sheet.text(x, 34, code, "head")
        sheet.text(x, 53, words, "soft")
        for rank in range(COUNT):
            sheet.text(x + rank * WIDE + WIDE / 2 - 1, 78, str(rank), "small", at="middle")
            for place, group in enumerate(GROUPS):
                quarters(sheet, x + rank * WIDE, 86 + place * 78, rank, kept(mode, group))
        for line, words in enumerate([f"{rest(mode):g}", f"{most(mode):g}", sent(mode)]):
            sheet.text(x, 338 + 21 * line, words, "head")
    for place, group in enumerate(GROUPS):
        sheet.text(LEFT - 20, 86 + place * 78 + 35, group, "", at="end")
    sheet.text(LEFT - 20, 78, "process", "soft small", at="end")
    for line, words in enumerate(["bytes a weight, at rest", "and in a step, at most", "sent in a step"]):
        sheet.text(LEFT - 20, 338 + 21 * line, words, "soft small", at="end")
    keys(sheet, 412)
    return sheet


def quarters(sheet: Sheet, x: float, y: float, rank: int, others: str) -> None:
    """All numbers of a kind as a process has them, the quarters one under the other."""
    for quarter in range(COUNT):
        cell(sheet, x, y + quarter * HIGH, WIDE - 3, HUES[rank], "stays" if quarter == rank else others)


def cell(sheet: Sheet, x: float, y: float, wide: float, hue: str, how: str) -> None:
    """A quarter that stays, that passes, of which a block is there, or nothing."""
    sheet.rect(x, y, wide, HIGH - 2, {"stays": f"{hue}-deep", "passes": f"{hue}-pale"}.get(how, "bare"))
    if how == "block":
        sheet.rect(x, y + HIGH / 2 - 3, wide, 4, f"{hue}-pale", round_=1)


def keys(sheet: Sheet, y: float) -> None:
    """What the fillings mean."""
    x = LEFT
    for how, words, wide in (
        ("stays", "kept", 80),
        ("passes", "whole till the step's last micro-batch", 268),
        ("block", "one block at a time", 160),
    ):
        cell(sheet, x, y - 9, 26, HUES[0], how)
        sheet.text(x + 34, y + 2, words, "soft small")
        x += wide
