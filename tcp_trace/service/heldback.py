"""Failures beyond a budget: the kernel program counts them, and the service takes the counts.

A user beyond his budget (see bpf/connect/budget.h) has some failures submitted one by one all the
same. So while no record arrives there is nothing to take.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcp_trace.incidents.fairness import fairly, maker_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tcp_trace.connects.events import Failure
    from tcp_trace.incidents.fairness import Whose
    from tcp_trace.probes.connectmaps import Held, Maps

LOOK_INTERVAL = 1.0
"""Seconds between two looks."""
LINES = 20
"""Lines of the log for a look; one more line counts the other failures."""


class HeldBack:
    """Takes what the kernel program held back, about once a second while it does."""

    def __init__(self, maps: Maps) -> None:
        self._maps = maps
        # What an earlier process has told of is counted, and no longer held.
        self._taken = maps.tally("held") - sum(each.failures for each in maps.held(everything=True))
        self._due: float | None = None
        self._untold: set[bytes] = set()

    def expect(self, now: float) -> None:
        """Look for more in a while: somebody's failures are being read (`now` is monotonic)."""
        if self._due is None:
            self._due = now + LOOK_INTERVAL

    def next_deadline(self) -> float | None:
        """Return when `take` is useful next, None for never."""
        return self._due

    def take(self, now: float) -> list[Held]:
        """Return the failures held back, if it is time to look; each once."""
        if self._due is None or now < self._due:
            return []
        self._due = None
        if self._maps.tally("held") == self._taken:
            return []
        # Some is taken now; a slot that is not over yet, or a new one, has the rest.
        self._due = now + LOOK_INTERVAL
        return self._take(everything=False)

    def take_all(self) -> list[Held]:
        """Return the rest at the end."""
        return self._take(everything=True) if self._maps.tally("held") != self._taken else []

    def _take(self, *, everything: bool) -> list[Held]:
        held = self._maps.held(everything=everything)
        taken = [each for each in held if each.key not in self._untold]
        self._taken += sum(each.failures for each in taken)
        self._untold.update(each.key for each in taken)
        return taken

    def told(self, held: Sequence[Held]) -> None:
        """Let go of what was taken and is told. Any thread may call this."""
        self._maps.let_go(held)
        self._untold.difference_update(each.key for each in held)


def to_write(failures: Sequence[Failure]) -> tuple[list[Failure], list[Failure]]:
    """Return the failures that have a line of their own, some of each maker, and the others."""

    def rank(failure: Failure) -> tuple[bool, int]:
        return True, failure.times

    def whose(failure: Failure) -> tuple[Whose]:
        return (maker_of(failure.process, failure.maker),)

    shown = fairly(failures, LINES, rank, whose)
    ids = set(map(id, shown))
    return shown, [failure for failure in failures if id(failure) not in ids]
