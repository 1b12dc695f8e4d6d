"""In which order the processes of a pipeline work, and when: the rules of four schedules, played through."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from docs.drawings.sheet import Sheet

Order = Callable[[int, int, int], Sequence[str]]
"""(rank, ranks, micro-batches) -> what a process does, one after another, such as ``F0``: forth through its first stretch of layers. ``B``
is back, ``I`` back to the inputs only, ``W`` to the weights only. The n-th time that something is done it is for the n-th micro-batch."""
TICKS = {"F": 1, "I": 1, "W": 1, "B": 2}


@dataclass(frozen=True)
class Schedule:
    """An order of work of processes that have so many stretches each."""

    title: str
    spans: int
    order: Order
    to_and_fro: bool = False
    """Whether stretches lie along a V, so that the first process has the last one, too."""

    def number(self, rank: int, ranks: int, span: int) -> int:
        """Of a stretch, counted along the model."""
        return 2 * ranks - 1 - rank if self.to_and_fro and span else rank + span * ranks


def all_forth_first(_rank: int, _ranks: int, count: int) -> Sequence[str]:
    """Huang et al. 2018, arXiv:1811.06965."""
    return ["F0"] * count + ["B0"] * count


def one_forth_one_back(rank: int, ranks: int, count: int) -> Sequence[str]:
    """Narayanan et al. 2021, arXiv:2104.04473, section 2.2."""
    ahead = min(count, ranks - 1 - rank)
    return ["F0"] * ahead + ["F0", "B0"] * (count - ahead) + ["B0"] * ahead


def taking_turns(rank: int, ranks: int, count: int) -> Sequence[str]:
    """The same with two stretches, a round of micro-batches through one, then through the other: section 2.3."""
    at_a_time = count // max(1, count // ranks)
    turns = [turn // at_a_time % 2 for turn in range(2 * count)]
    forth, back = [f"F{turn}" for turn in turns], [f"B{1 - turn}" for turn in turns]
    ahead = min(2 * count, at_a_time + 2 * (ranks - 1 - rank))
    together = [word for pair in zip(forth[ahead:], back, strict=False) for word in pair]
    return forth[:ahead] + together + back[2 * count - ahead :]


def no_bubble(rank: int, ranks: int, count: int) -> Sequence[str]:
    """Along a V, and the weights' gradients where there is time: Qi et al. 2023, arXiv:2401.10241, section 6."""
    most, begun = max(2 * ranks - 1, count), 2 * ranks - 1 - rank
    filling = ["F0"] * (begun - rank) + ["F1", "F0"] * rank + ["F1", "I1", "W1"] * (ranks - rank)
    steady = [word for turn in range(most - ranks) for word in ["F0"] * (turn < most - begun) + ["I0", "W0", "F1", "I1", "W1"]]
    return filling + steady + ["I0", "I1"] * rank + ["I0", "W0"] * (ranks - rank) + ["W1"] * rank + ["W0"] * rank


SCHEDULES: Mapping[str, Schedule] = {
    "gpipe": Schedule("gpipe: all forth, then all back", 1, all_forth_first),
    "1f1b": Schedule("1f1b: one forth, one back", 1, one_forth_one_back),
    "interleaved": Schedule("interleaved: two stretches each, in turns", 2, taking_turns),
    "zero_bubble": Schedule("zero_bubble: two stretches each along a V, weights' gradients fill the gaps", 2, no_bubble, to_and_fro=True),
}
"""As ``pipeline.schedule`` names them."""


@dataclass(frozen=True)
class Done:
    """A piece of work and when it was done, in ticks: forth through one stretch takes one."""

    rank: int
    what: str
    span: int
    batch: int
    start: int

    @property
    def end(self) -> int:
        return self.start + TICKS[self.what]


def played(schedule: Schedule, ranks: int, count: int) -> list[Done]:
    """Every process does its next work as soon as it is free and what the work needs is there; messages take no time."""
    left = [[*numbered(schedule.order(rank, ranks, count), count)] for rank in range(ranks)]
    last, ends, free, done = ranks * schedule.spans - 1, dict[tuple[str, int, int], int](), [0] * ranks, list[Done]()
    while any(left):
        before = len(done)
        for rank in range(ranks):
            while left[rank]:
                what, span, batch = left[rank][0]
                number = schedule.number(rank, ranks, span)
                needs = needed(what, number, batch, last)
                if not needs <= ends.keys():
                    break
                done.append(Done(rank, what, span, batch, max([free[rank], *(ends[need] for need in needs)])))
                free[rank] = ends["I" if what == "B" else what, number, batch] = done[-1].end
                left[rank].pop(0)
        assert len(done) > before, "everybody waits for somebody"
    return done


def numbered(words: Sequence[str], count: int) -> Iterator[tuple[str, int, int]]:
    """Work, stretch and micro-batch, without the micro-batches that are not there."""
    seen = Counter[str]()
    for word in words:
        if seen[word] < count:
            yield word[0], int(word[1:]), seen[word]
        seen[word] += 1


def needed(what: str, number: int, batch: int, last: int) -> set[tuple[str, int, int]]:
    """What must have been done before."""
    if what == "F":
        return {("F", number - 1, batch)} if number else set()
    if what == "W":
        return {("I", number, batch)}
    return {("I", number + 1, batch) if number < last else ("F", number, batch)}


def idle(done: Sequence[Done], ranks: int) -> float:
    """Share of the time, from the first work to the last of anybody, in which a process does nothing."""
    return 1 - sum(TICKS[each.what] for each in done) / (ranks * max(each.end for each in done))


def under_way(done: Sequence[Done], rank: int, spans: int) -> float:
    """Micro-batches whose activations a process holds at most, in all of its layers: they go when the way back to the inputs is done."""
    of_rank = [each for each in done if each.rank == rank and each.what != "W"]
    held = most = 0
    for each in sorted(of_rank, key=lambda each: each.start):
        most = max(most, held := held + (1 if each.what == "F" else -1))
    return most / spans


LEFT, TICK, ROW, CHART = 92, 12.6, 19, 120
HUE = {"F": "blue", "B": "amber", "I": "amber", "W": "green"}


def drawing(ranks: int = 4, count: int = 8) -> Sheet:
    """All four on one scale of time."""
    told = (
        "Time charts of four pipeline schedules, of which each leaves less time in which a process waits than the one before, but for "
        "the first two, which differ in how many micro-batches are under way."
    )
    sheet = Sheet(960, 84 + CHART * len(SCHEDULES), "Pipelines", told)
    keys = [
        ("blue", "forth"),
        ("amber", "back, to the inputs (and to the weights where green is missing)"),
        ("green", "back to the weights"),
    ]
    x = float(LEFT)
    for hue, words in keys:
        sheet.rect(x, 18, 16, 14, hue)
        sheet.text(x + 22, 30, words, "soft")
        x += 54 + 6.6 * len(words)
    for place, schedule in enumerate(SCHEDULES.values()):
        chart(sheet, schedule, 46 + place * CHART, ranks, count)
    bottom = 54 + CHART * len(SCHEDULES)
    sheet.way(f"M{LEFT} {bottom}H{LEFT + 66 * TICK + 6}", arrow=True)
    sheet.text(LEFT + 66 * TICK, bottom + 14, "time", "soft small", at="end")
    return sheet


def chart(sheet: Sheet, schedule: Schedule, top: float, ranks: int, count: int) -> None:
    """One schedule, a row for each process. Of two stretches each takes half the time, and the second is deeper."""
    done = played(schedule, ranks, count)
    tick = 2 * TICK / schedule.spans
    sheet.text(LEFT, top + 12, schedule.title)
    for rank in range(ranks):
        y = top + 20 + rank * ROW
        sheet.text(LEFT - 10, y + 13, f"process {rank}", "soft small", at="end")
        end = max(each.end for each in done)
        sheet.rect(LEFT, y, end * tick, ROW - 2, "bare")
    for each in done:
        x, y, width = LEFT + each.start * tick, top + 20 + each.rank * ROW, TICKS[each.what] * tick
        kind = HUE[each.what] + ("-deep" if each.span else "")
        sheet.rect(x + 0.5, y, width - 1, ROW - 2, kind)
        sheet.text(x + width / 2, y + 12.5, str(each.batch + 1), "small" if schedule.spans == 1 else "tiny", at="middle")
    waits, held = idle(done, ranks), under_way(done, 0, schedule.spans)
    sheet.text(LEFT + 66 * TICK, top + 12, f"{waits:.1%} of the time idle, {held:g} micro-batches under way", "soft small", at="end")
