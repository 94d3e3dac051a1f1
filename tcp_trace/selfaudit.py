"""Tells in the log how much of the host's connects was seen: now and then, and once of a gap."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from tcp_trace.core.coverage import Audit, Counted
from tcp_trace.kernel import netns

if TYPE_CHECKING:
    from collections.abc import Callable

    from tcp_trace.core.coverage import Coverage
    from tcp_trace.kernel.stream import Tallies

log = logging.getLogger(__name__)

INTERVAL = 3600.0
"""Seconds between two lines that say the coverage."""

CHECK_INTERVAL = 60.0
"""Seconds between two looks at the kernel's counters, of which there are hundreds in their file."""


class SelfAudit:
    """The audit of a running service; `tallies` reads what its kernel program counted."""

    def __init__(self, tallies: Callable[[], Tallies]) -> None:
        self._tallies = tallies
        self._audit: Audit | None = None
        self._is_told = False
        self._next_line = 0.0
        self._next_check = 0.0

    def restart(self, now: float, *, watches_everything: bool) -> None:
        """Begin anew at `now` (monotonic). What is watched in part cannot be compared."""
        self._next_line = now + INTERVAL
        self._next_check = now + CHECK_INTERVAL
        self._audit = None
        if watches_everything:
            seen = self._seen()
            self._audit = Audit(seen, netns.counted())

    def check(self, now: float) -> None:
        """Compare where it is due; tell of the first gap, and of the coverage every hour."""
        if now < self._next_check:
            return
        self._next_check = now + CHECK_INTERVAL
        coverage = self._coverage()
        if coverage is None:
            return
        if not coverage.is_complete and not self._is_told:
            self._is_told = True
            log.warning("the kernel counted connects that were not seen", extra=coverage._asdict())
        if now >= self._next_line:
            self._next_line = now + INTERVAL
            log.info("coverage", extra=coverage._asdict())

    def shares(self) -> dict[str, float | None]:
        """Return the coverage of attempts and of failures, nothing where it cannot be known."""
        coverage = self._coverage()
        if coverage is None:
            return {}
        return {"attempts": coverage.attempts, "failures": coverage.failures}

    def _coverage(self) -> Coverage | None:
        audit = self._audit  # a scrape of the metrics may come while it is begun anew
        if audit is None:
            return None
        kernel = netns.counted()
        return audit.compare(kernel, self._seen())

    def _seen(self) -> Counted:
        tallies = self._tallies()
        return Counted(tallies.opened - tallies.unsent, tallies.aborted)
