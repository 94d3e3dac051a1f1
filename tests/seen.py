"""What a kernel has counted, in the tests' hands: see `Seen`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tcp_trace.connects.events import Counters
    from tcp_trace.incidents.subjects import Subject


class Always:
    """A kernel that has counted the same of every subject, None for nothing."""

    def __init__(self, counts: Counters | None = None) -> None:
        self._counts = counts

    def counts(self, _: Subject) -> Counters | None:
        """Return it."""
        return self._counts

    def working(self, _: float, __: Subject | None = None) -> int:
        """Return 0."""
        return 0
