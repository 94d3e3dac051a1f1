"""Chance, from seeds: the same parts give the same draws, in every run and on every machine."""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise
from math import exp, inf
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_MANY = 60.0


def dice(*parts: object) -> Random:
    """Return a generator of its own for these parts."""
    return Random(repr(parts))  # noqa: S311 - traffic is no secret


def poisson(rng: Random, mean: float) -> int:
    """Draw how many arrivals there are where `mean` are expected; of many, by their normal law."""
    if mean <= 0:
        return 0
    if mean > _MANY:
        return max(0, round(rng.gauss(mean, mean**0.5)))
    limit, product, arrivals = exp(-mean), rng.random(), 0
    while product > limit:
        product *= rng.random()
        arrivals += 1
    return arrivals


class Intensity:
    """How many arrivals a second are expected, in steps: (begin in seconds, rate), in order.

    An arrival is drawn on the axis of what is expected, where all arrivals are equally dense, and
    brought back to time: so that neither silence nor a change of the rate costs a draw.
    """

    def __init__(self, steps: Sequence[tuple[float, float]]) -> None:
        self._begins = [begin for begin, _ in steps]
        self._rates = [rate for _, rate in steps]
        self._sums = [0.0]
        for (begin, rate), (end, _) in pairwise(steps):
            self._sums.append(self._sums[-1] + rate * (end - begin))

    def until(self, when: float) -> float:
        """Return how many are expected from the beginning until then."""
        at = bisect_right(self._begins, when) - 1
        return 0.0 if at < 0 else self._sums[at] + self._rates[at] * (when - self._begins[at])

    def when(self, expected: float) -> float:
        """Return by when so many are expected, infinity for never."""
        at = bisect_right(self._sums, expected) - 1
        rate = self._rates[at]
        return self._begins[at] + (expected - self._sums[at]) / rate if rate else inf

    def next(self, rng: Random, now: float) -> float:
        """Draw the next arrival after `now`, infinity for none."""
        return self.when(self.until(now) + rng.expovariate(1.0))

    def count(self, rng: Random, since: float, until: float) -> int:
        """Draw how many arrive in a time."""
        return poisson(rng, self.until(until) - self.until(since))

    def latest(self, rng: Random, since: float, until: float, arrivals: int) -> float:
        """Draw when the last of so many arrivals in a time came."""
        begin, end = self.until(since), self.until(until)
        return min(until, self.when(begin + (end - begin) * rng.random() ** (1 / arrivals)))

    def times(self, rng: Random, since: float, until: float, arrivals: int) -> list[float]:
        """Draw when so many arrivals in a time came, in no order."""
        return [self.latest(rng, since, until, 1) for _ in range(arrivals)]
