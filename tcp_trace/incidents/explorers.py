"""Who fails at many places that never worked: crawlers and scanners, which explore."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tcp_trace.incidents.fairness import maker_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tcp_trace.connects.events import Moment, Process
    from tcp_trace.connects.maker import Maker
    from tcp_trace.incidents.policy import Policy
    from tcp_trace.incidents.tally import Program

    Name = tuple[str | int | None, ...]

_HALF_A_DAY = 43_200.0


def name_of(process: Process | Program | None, maker: Maker) -> Name:
    """Return by what a program is known here."""
    return (process.comm if process else None, *maker_of(process, maker))


class Explorers:
    """How many places each program found dead in the last day: of this half of it and the last."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        # The half day (of CLOCK_MONOTONIC), and the places found in it and in the one before.
        self._found: dict[Name, tuple[int, int, int]] = {}

    def add(self, name: Name, now: Moment) -> None:
        """Count a place for a program. Who was counted the longest ago makes room for another."""
        half, these, before = self._of(name, now)
        self._found.pop(name, None)
        if len(self._found) >= self.policy.max_makers:
            del self._found[next(iter(self._found))]
        self._found[name] = half, these + 1, before

    def places(self, names: Iterable[Name], now: Moment) -> int:
        """Return how many places the one among these programs found that explores the least."""
        return max(1, min((sum(self._of(name, now)[1:]) for name in names), default=1))

    def dump(self) -> list[Any]:
        """Return what is remembered, for JSON."""
        return [[list(name), *found] for name, found in self._found.items()]

    def load(self, saved: list[Any], shift: float) -> None:
        """Remember what `dump` returned; `shift` is added to its times."""
        for name, half, these, before in saved:
            moved = int(half + shift // _HALF_A_DAY)
            self._found[tuple(name)] = moved, int(these), int(before)

    def _of(self, name: Name, now: Moment) -> tuple[int, int, int]:
        half = int(now.mono // _HALF_A_DAY)
        then, these, before = self._found.get(name, (half, 0, 0))
        if then == half:
            return half, these, before
        return half, 0, these if then == half - 1 else 0
