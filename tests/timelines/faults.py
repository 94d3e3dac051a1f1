"""What breaks, for how long, and how it looks to whoever connects."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING

from tcp_trace.connects.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Collection

    from tcp_trace.connects.events import Destination


@dataclass(eq=False)
class Fault:
    """A share of the connects to some places fails, from `begin` until `end` (seconds).

    Each fails `after` so many seconds; one that waits for that when the fault ends succeeds, as a
    SYN that is sent again does. What came of it is noted as it happens: `failures` are when its
    first ones came, `last` the latest, `programs` whose they were.
    """

    places: Collection[Destination]
    begin: float
    end: float
    share: float = 1.0
    reason: Reason = Reason.REFUSED
    after: float = 0.0
    failures: list[float] = field(default_factory=list)
    last: float = -inf
    programs: set[str] = field(default_factory=set)

    def note(self, when: float, program: str) -> None:
        """Note a failure."""
        if len(self.failures) < _NOTED:
            self.failures.append(when)
        self.last = when
        self.programs.add(program)


_NOTED = 3


class Faults:
    """All faults of a world, by place."""

    def __init__(self) -> None:
        self._of: dict[Destination, list[Fault]] = {}

    def add(self, fault: Fault) -> None:
        """Let it break things."""
        for place in fault.places:
            self._of.setdefault(place, []).append(fault)

    def at(self, place: Destination, when: float) -> Fault | None:
        """Return the worst that breaks a place then, None for nothing."""
        if place not in self._of:
            return None
        active = [fault for fault in self._of[place] if fault.begin <= when < fault.end]
        return max(active, key=lambda fault: fault.share, default=None)

    def edges(self, place: Destination) -> list[float]:
        """Return when something begins or ends there."""
        return [when for fault in self._of.get(place, ()) for when in (fault.begin, fault.end)]
