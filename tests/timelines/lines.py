"""Who connects where, and how often that succeeds and fails."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, NamedTuple

from tests.timelines.chance import Intensity

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from tcp_trace.connects.events import Destination
    from tcp_trace.connects.reasons import Reason
    from tests.timelines.faults import Faults
    from tests.timelines.places import Program


class How(NamedTuple):
    """How programs connect: one of them at a time, by chance.

    A share is `failing` by chance. What fails is tried again `retry` seconds later (None: never),
    so many `tries` at most. `host` is the name that was asked for.
    """

    programs: Sequence[Program]
    failing: float = 0.0
    retry: float | None = None
    tries: int = 3
    host: str | None = None


class Line(NamedTuple):
    """Programs that connect to a place, with their own chance."""

    place: Destination
    how: How
    rng: Random


class Try(NamedTuple):
    """One connect of a script: when (seconds), where, and why it fails; None for a success."""

    at: float
    place: Destination
    reason: Reason | None = None


class Flow(NamedTuple):
    """A line that is used `rate` times a second, from `begin` until `end`."""

    line: Line
    rate: float
    begin: float = 0.0
    end: float = inf

    def split(self, faults: Faults) -> tuple[Intensity, Intensity]:
        """Return what succeeds of it, and what fails."""
        place, begin, end = self.line.place, self.begin, self.end
        succeed, fail = [], []
        for when in sorted({begin, *(e for e in faults.edges(place) if begin < e < end)}):
            fault = faults.at(place, when)
            share = self.line.how.failing if fault is None else fault.share
            succeed.append((when, self.rate * (1 - share)))
            fail.append((when, self.rate * share))
        if end < inf:
            succeed.append((end, 0.0))
            fail.append((end, 0.0))
        return Intensity(succeed), Intensity(fail)
