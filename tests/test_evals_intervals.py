"""Intervals against values worked out by hand."""

import math

import pytest

from scratchlm.evals import intervals


def test_wilson_by_hand():
    found = intervals.proportion([1.0] * 8 + [0.0] * 2)
    z2 = 1.959963984540054**2
    centre, half = (0.8 + z2 / 20) / (1 + z2 / 10), 1.959963984540054 * math.sqrt(0.016 + z2 / 400) / (1 + z2 / 10)
    assert (found.value, found.n) == (0.8, 10)
    assert (found.low, found.high) == pytest.approx((centre - half, centre + half))
    assert (found.low, found.high) == pytest.approx((0.4902, 0.9433), abs=5e-5)  # the textbook's value for 8 of 10


@pytest.mark.parametrize(("scores", "low", "high"), [([0.0] * 500, 0.0, 0.0076), ([1.0] * 500, 0.9924, 1.0), ([], 0.0, 1.0)])
def test_wilson_stays_within_zero_and_one(scores: list[float], low: float, high: float):
    found = intervals.proportion(scores)
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)
    assert found.low <= found.value <= found.high


def test_a_ratio_divides_sums_not_documents():
    found = intervals.ratio([2.0, 6.0], [1.0, 1.0])
    # residuals -2 and 2: sqrt(2 * 8) / 2 = 2 standard errors of 1
    assert found.value == 4.0
    assert found.high - found.value == pytest.approx(1.959963984540054 * 2.0)
    assert intervals.ratio([1.0, 30.0], [1.0, 10.0]).value == pytest.approx(31 / 11)


def test_equal_documents_leave_no_doubt():
    assert intervals.ratio([3.0, 6.0, 9.0], [1.0, 2.0, 3.0]).low == pytest.approx(3.0)
    assert intervals.ratio([3.0], [2.0]) == intervals.Measured(value=1.5, low=1.5, high=1.5, n=1)


@pytest.mark.parametrize(("gained", "lost", "p"), [(0, 0, 1.0), (5, 0, 2 / 32), (9, 1, 22 / 1024), (3, 3, 1.0)])
def test_mcnemar_by_hand(gained: int, lost: int, p: float):
    assert intervals.mcnemar(gained, lost) == pytest.approx(p)


def test_pairs_are_compared_example_by_example():
    first, second = [0.0, 0.0, 1.0, 1.0] * 25, [1.0, 0.0, 1.0, 1.0] * 25
    found = intervals.paired(first, second, seed=4)
    assert found.difference.value == 0.25
    assert 0 < found.difference.low < 0.25 < found.difference.high < 0.5
    assert found.p == pytest.approx(2 / 2**25)
    assert found == intervals.paired(first, second, seed=4)
