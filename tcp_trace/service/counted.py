"""What the kernel has counted, and what is known from before, for incidents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcp_trace.connects.events import Destination
from tcp_trace.connects.hostport import HostPort
from tcp_trace.incidents.memory import together

if TYPE_CHECKING:
    from collections.abc import Callable

    from tcp_trace.connects.events import Counters
    from tcp_trace.incidents.memory import Known, Memory
    from tcp_trace.incidents.subjects import Subject
    from tcp_trace.probes.connectmaps import Maps
    from tcp_trace.service.named import Named


class Counted:
    """Asks the maps in use (see `Seen`): those of another program replace them over a restart."""

    def __init__(self, maps: Callable[[], Maps], named: Named) -> None:
        self._maps = maps
        self._named = named

    def counts(self, subject: Subject) -> Counters | None:
        """Return what was counted of a subject: by the kernel at an address, or at a name's."""
        if isinstance(subject, HostPort):
            return self._named.counts(subject)
        return self._maps().counters(subject) if isinstance(subject, Destination) else None

    def working(self, since: float, near: Subject | None = None) -> int:
        """Return how many destinations succeeded since then, of `near` only its neighbours."""
        if near is None:
            return self._maps().working(since)
        return self._maps().working(since, near) if isinstance(near, Destination) else 0


class Recalled:
    """Asks the memory, which has addresses: of a name it is what is known of those."""

    def __init__(self, memory: Memory, named: Named) -> None:
        self._memory = memory
        self._named = named

    def known(self, subject: Subject) -> Known | None:
        """Return what is known of a subject, None where it was never seen to work."""
        if isinstance(subject, HostPort):
            return together(map(self._memory.known, self._named.destinations(subject)))
        return self._memory.known(subject)
