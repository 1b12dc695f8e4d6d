"""How sure are we of a number? Every score travels with its 95 % interval and the count behind it.

Proportions: Wilson 1927, JASA 22:209. Ratios over documents: the delta method, Cochran 1977, "Sampling Techniques", section 2.11.
Two models on the same examples: the percentile bootstrap, Efron 1979, and the exact test of McNemar 1947.
"""

import math
from collections.abc import Sequence

import numpy as np

from scratchlm.core import seeds
from scratchlm.core.config import Settings

Numbers = Sequence[int | float]
Z = 1.959963984540054
"""97.5 % point of the normal distribution, so that 95 % lie within."""
ROUNDS = 2000


class Measured(Settings):
    """A number, its 95 % interval and how many examples or documents it comes from."""

    value: float
    low: float
    high: float
    n: int


class Paired(Settings):
    """How much better the second of two models is on the same examples."""

    difference: Measured
    """Mean of second minus first, with its paired bootstrap interval."""
    p: float
    """Two-sided exact McNemar probability of so uneven a split of the examples on which the two differ, if they were equal."""


def proportion(scores: Numbers) -> Measured:
    """Mean of scores in [0, 1] with Wilson's interval (wider than needed where scores are fractions); without scores, 0 to 1."""
    n = len(scores)
    if n == 0:
        return Measured(value=0.0, low=0.0, high=1.0, n=0)
    share = math.fsum(scores) / n
    centre = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z * math.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2)) / (1 + Z**2 / n)
    return Measured(value=share, low=min(share, max(0.0, centre - half)), high=max(share, min(1.0, centre + half)), n=n)


def ratio(sums: Numbers, sizes: Numbers) -> Measured:
    """sum(sums) / sum(sizes) over documents, such as bits per byte, with its delta-method interval.

    Documents are the units that vary. One document shows no spread: its interval is the value alone, and ``n`` says so.
    """
    return _ratio_within(sums, sizes, _delta_half_width(sums, sizes))


def paired(first: Numbers, second: Numbers, *, seed: int = 0, rounds: int = ROUNDS) -> Paired:
    """How the second model's scores differ from the first's, example by example, in the same order."""
    change, n = np.asarray(second, float) - np.asarray(first, float), len(first)
    value = float(change.mean()) if n else 0.0
    random = np.random.default_rng(seeds.derive(seed, "paired bootstrap"))
    means = [change[random.integers(n, size=n)].mean() for _ in range(rounds)] if n else [-1.0, 1.0]
    low, high = np.quantile(means, [0.025, 0.975])
    measured = Measured(value=value, low=min(value, float(low)), high=max(value, float(high)), n=n)
    return Paired(difference=measured, p=mcnemar(int((change > 0).sum()), int((change < 0).sum())))


def mcnemar(gained: int, lost: int) -> float:
    """Two-sided exact probability of a split at least as uneven as ``gained`` against ``lost`` under a fair coin."""
    n, fewer = gained + lost, min(gained, lost)
    tail = sum(math.comb(n, k) for k in range(fewer + 1))
    return min(1.0, 2 * tail / 2**n)


def _delta_half_width(sums: Numbers, sizes: Numbers) -> float:
    n = len(sums)
    if n < 2:
        return 0.0
    top, bottom = np.asarray(sums, float), np.asarray(sizes, float)
    residuals = top - top.sum() / bottom.sum() * bottom
    return float(Z * math.sqrt(n / (n - 1) * (residuals**2).sum()) / bottom.sum())


def _ratio_within(sums: Numbers, sizes: Numbers, half: float) -> Measured:
    value = math.fsum(sums) / math.fsum(sizes)
    return Measured(value=value, low=value - half, high=value + half, n=len(sums))
