"""What a pipeline's order of work costs: micro-batches that are under way at once, and time in which a process has nothing to do.

GPipe: Huang et al. 2018, arXiv:1811.06965; one forth, one back, and stretches that take turns: Narayanan et al. 2021,
arXiv:2104.04473; zero bubble in the shape of a V: Qi et al. 2023, arXiv:2401.10241. As torch orders them, whose orders tests play through.
"""

from collections.abc import Sequence

SINGLE = ("gpipe", "1f1b")
"""Schedules with one stretch of layers for each process."""


def under_way(schedule: str, ranks: int, rank: int, micro_batches: int, spans: int) -> Sequence[int]:
    """Micro-batches that have gone forth and not yet back when most have, for each stretch of one process."""
    if schedule == "gpipe":
        return [micro_batches]
    if schedule == "1f1b":
        return [min(micro_batches, ranks - rank)]
    if schedule == "zero_bubble":
        return [min(micro_batches, 2 * ranks - rank - 1), min(micro_batches, rank + 1)]
    at_a_time = micro_batches // max(1, micro_batches // ranks)
    first = min(micro_batches * spans, (spans - 1) * at_a_time + 2 * (ranks - 1 - rank) + 1)
    return [sum(turn // at_a_time % spans == span for turn in range(first)) for span in range(spans)]


def idle(schedule: str, ranks: int, micro_batches: int, spans: int) -> float:
    """How long a process waits in a step, in times that it needs for a micro-batch, where the way back takes twice the way forth.

    With zero bubbles half of the way back is kept for such gaps; they are left where the pipeline fills, and where too few are there.
    """
    if schedule == "zero_bubble":
        return (ranks - 1 + max(0, 2 * ranks - 1 - micro_batches)) / 6
    return (ranks - 1) / spans


def goes(schedule: str, ranks: int, micro_batches: int) -> bool:
    """Whether torch takes so many micro-batches in this order."""
    if schedule in SINGLE:
        return micro_batches >= ranks
    return schedule == "zero_bubble" or micro_batches % max(1, micro_batches // ranks) == 0


def parts(share: int, schedule: str, ranks: int) -> Sequence[int]:
    """Rows at once into which ``share`` rows of a step can be cut, the fewest first: equal micro-batches, as many as torch takes."""
    return [rows for rows in range(1, share + 1) if share % rows == 0 and (ranks == 1 or goes(schedule, ranks, share // rows))]
