"""Compute the polar express coefficients of ``scratchlm/optim/muon.py``: optimal odd quintics, one after another.

Amsel, Persson, Musco, Gower 2025, arXiv:2505.16932, algorithm 1: each step is the minimax approximation of 1 by an odd polynomial of degree
5 on the interval that the steps before have left; a cushion keeps late steps from chasing tiny singular values, and all but the last are
damped a little against rounding.
"""

import numpy as np


def optimal_quintic(low: float, high: float) -> tuple[float, float, float]:
    """The odd quintic a x + b x³ + c x⁵ closest to 1 on [low, high], by Remez exchange."""
    if low / high >= 1 - 5e-6:
        return (15 / 8 / high, -10 / 8 / high**3, 3 / 8 / high**5)
    q, r = (3 * low + high) / 4, (low + 3 * high) / 4
    a = b = c = 0.0
    error, old = np.inf, -np.inf
    while abs(old - error) > 1e-15:
        old = error
        points = np.array([low, q, r, high])
        system = np.stack([points, points**3, points**5, np.array([1.0, -1.0, 1.0, -1.0])], axis=1)
        a, b, c, error = np.linalg.solve(system, np.ones(4))
        q, r = np.sqrt((-3 * b + np.array([-1, 1]) * np.sqrt(9 * b**2 - 20 * a * c)) / (10 * c))
    return float(a), float(b), float(c)


def polar_express(low: float, steps: int, cushion: float = 0.02407327424182761, safety: float = 1.01) -> list[tuple[float, ...]]:
    """Coefficients of ``steps`` quintics for singular values in [low, 1]."""
    high, found = 1.0, []
    for step in range(steps):
        a, b, c = optimal_quintic(max(low, cushion * high), high)
        if cushion * high > low:  # centre the result around 1 on the true interval
            at_low, at_high = a * low + b * low**3 + c * low**5, a * high + b * high**3 + c * high**5
            a, b, c = (k * 2 / (at_low + at_high) for k in (a, b, c))
        low = a * low + b * low**3 + c * low**5
        high = 2 - low
        damp = safety if step < steps - 1 else 1.0
        found.append((a / damp, b / damp**3, c / damp**5))
    return found


if __name__ == "__main__":
    for row in polar_express(1e-3, 5):
        print(row)
