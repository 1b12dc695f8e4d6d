"""Which division of labour would be the fastest of those that memory holds? All are tried by formula, in a second or two.

Those with fewer kinds of division come first, and one that could not be faster even if no message took time is passed over.
"""

import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from scratchlm.core.errors import UsageError
from scratchlm.parallel.layout import ROWS
from scratchlm.plans.foretold import FORTH, SELECTIVE, flops
from scratchlm.plans.hardware import BLOCK_S, MOST_DEVICES, Machines
from scratchlm.plans.ways import RECOMPUTE, Asked, Way, choices, divisions, named, shapes
from scratchlm.shares.division import Division
from scratchlm.shares.held import fullest
from scratchlm.shares.schedules import SINGLE, idle
from scratchlm.train.choose import SHARE

MORE = {"none": 0.0, "selective": SELECTIVE, "full": FORTH}
CLOSE, SIMPLER = 0.005, 0.02
"""Ways are as fast as each other within the first; a way must be faster by the second to be worth another kind of division."""
WORTH_TELLING = 1.25
"""What takes so many times as long is not told of."""
AS_FAST = 1.02
"""Fewer devices that take no more than so many times as long are enough."""


@dataclass(frozen=True)
class Advice:
    """The fastest way that fits, and what else was found."""

    best: Way
    others: Sequence[Way]
    """The fastest of each other division of the processes that fits and is not much slower, the next one first."""


def advise(asked: Asked) -> Advice:
    """UsageError where no division fits, with what would do."""
    fit, best = list[Way](), math.inf
    for sizes in sorted(shapes(asked), key=lambda sizes: (_kinds(sizes), *sizes.values())):
        for choice in choices(asked, sizes):
            if _at_least(asked, sizes, *choice[:2]) > best * WORTH_TELLING:
                continue
            for way in ways(asked, list(divisions(asked, sizes, *choice)), within_s=best * WORTH_TELLING):
                fit.append(way)
                best = min(best, way.forecast.seconds)
    if not fit:
        raise UsageError(_why_not(asked))
    chosen = _chosen(fit, best)
    others = dict[tuple[int, ...], Way]()
    for way in sorted(fit, key=lambda way: (way.forecast.seconds, _preferred(way))):
        if way.forecast.seconds <= best * WORTH_TELLING:
            others.setdefault(tuple(way.division.sizes.values()), way)
    others.pop(tuple(chosen.division.sizes.values()))
    return Advice(chosen, list(others.values()))


def ways(asked: Asked, divided: Sequence[Division], *, within_s: float) -> Iterator[Way]:
    """Those of ``divided``, which have more and more rows at once, that memory holds and that may be as fast.

    The more rows at once, the less often weights are gathered and operations started; only in a pipeline fewer are better, for others
    wait less, unless they are too few to keep a device busy while the next ones are started.
    """
    if not divided:
        return
    piped = divided[0].piped
    soonest = asked.forecast(divided[0 if piped else -1])
    if soonest.seconds > within_s and not (piped and soonest.started_s):
        return
    fitting = bisect_right(divided, asked.room, key=lambda division: fullest(division, asked.optimizer).total)
    for way in map(asked.way, divided[:fitting] if piped else divided[max(0, fitting - 1) : fitting]):
        if way.held.total <= asked.room:
            yield way


def enough(asked: Asked, best: Way) -> int | None:
    """So many of the devices would be as fast; None where more than half of the time is arithmetic, which they share out."""
    if best.forecast.arithmetic_s > best.forecast.seconds / 2:
        return None
    fewer = (2**power for power in range(asked.machines.count.bit_length()))
    for count in (each for each in fewer if each < asked.machines.count and asked.machines.comes_in(each)):
        try:
            if advise(_among(asked, count)).best.forecast.seconds <= AS_FAST * best.forecast.seconds:
                return count
        except UsageError:  # they do not hold it
            continue
    return None


def _chosen(fit: Sequence[Way], best: float) -> Way:
    """Of those that are nearly the fastest one with the fewest kinds of division, and of these one as fast as any."""
    fewest = min(_kinds(way.division.sizes) for way in fit if way.forecast.seconds <= best * (1 + SIMPLER))
    simple = [way for way in fit if _kinds(way.division.sizes) == fewest]
    fastest = min(way.forecast.seconds for way in simple)
    return min((way for way in simple if way.forecast.seconds <= fastest * (1 + CLOSE)), key=_preferred)


def _preferred(way: Way) -> tuple[float | int, ...]:
    """Among ways as fast as each other: less computed twice, more rows at once, and what holds less."""
    division = way.division
    return RECOMPUTE.index(division.layout.recompute), -division.rows, way.held.total


def _kinds(sizes: Mapping[str, int]) -> int:
    """In how many ways work is divided."""
    return sum(size > 1 for size in sizes.values())


def _at_least(asked: Asked, sizes: Mapping[str, int], schedule: str, recompute: str) -> float:
    """Seconds of a step that takes no message's time, as many micro-batches as can be."""
    config, head, (fast, usual) = asked.outline.config, 6 * asked.outline.anatomy.head, asked.machines.device.rates(asked.dtype)
    blocks, rest = flops(config)
    token = (1 + MORE[recompute]) * (blocks / fast + (rest - head) / usual) + head / usual
    most = asked.rows // math.prod(sizes[axis] for axis in ROWS)
    waiting = idle(schedule, sizes["pipeline"], most, 1 if schedule in SINGLE else 2) / most if sizes["pipeline"] > 1 else 0.0
    return max(asked.rows * config.context * token / asked.machines.count * (1 + waiting), config.layers / sizes["pipeline"] * BLOCK_S)


def _why_not(asked: Asked) -> str:
    """What stands in the way, and what would do."""
    machines, refusals = asked.machines, list[str | None]()
    if held := list(_leanest(asked)):
        size, division = min(held, key=lambda each: each[0])
        doubled = (machines.count * 2**power for power in range(1, MOST_DEVICES.bit_length()))
        more = _first(asked, (count for count in doubled if count <= MOST_DEVICES and machines.comes_in(count)))
        return (
            f"--devices {machines.typed}: the least that a division was found to take is {size / 1e9:,.1f} GB for each process "
            f"({named(division)}), and {SHARE:.0%} of one {machines.name} is {asked.room / 1e9:,.1f} GB. "
            f"Take {more and f'{_devices(more)}, '}a shorter model.context, or a smaller model."
        )
    refusals = [asked.refusal(asked.layout.model_copy(update=sizes), sizes) for sizes in shapes(asked)]
    if all(refusals) and refusals:
        return str(refusals[0])
    widest = min(machines.count - 1, asked.rows * asked.outline.config.layers * asked.outline.config.context)
    fewer = _first(asked, (count for count in range(widest, 0, -1) if machines.comes_in(count)))
    return (
        f"--devices {machines.typed}: {asked.rows} rows of a step cannot be shared out among so many processes, nor their positions "
        f"or layers. Set pretrain.rows to a multiple of {machines.count}{fewer and f', or take {_devices(fewer)}'}."
    )


def _leanest(asked: Asked) -> Iterator[tuple[float, Division]]:
    """Of each shape the division that takes least, and how much."""
    for sizes in shapes(asked):
        for schedule, recompute, zero in choices(asked, sizes):
            leanest = schedule in SINGLE or sizes["pipeline"] == 1
            if leanest and recompute == "full" and (division := next(divisions(asked, sizes, schedule, recompute, zero), None)):
                yield fullest(division, asked.optimizer).total, division


def _first(asked: Asked, counts: Iterator[int]) -> int | str:
    """The first of some numbers of devices that hold it; nothing where none do."""
    return next((n for n in counts if any(size <= asked.room for size, _ in _leanest(_among(asked, n)))), "")


def _among(asked: Asked, count: int) -> Asked:
    """The same on so many devices."""
    return replace(asked, machines=Machines(count, asked.machines.name))


def _devices(count: int | str) -> str:
    return f"{count} device{'s' * (count != 1)}"
