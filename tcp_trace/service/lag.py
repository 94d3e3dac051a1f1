"""Logs once that the service is behind the kernel, and once that it has caught up."""

from __future__ import annotations

import logging

log = logging.getLogger(__name__)

BEHIND_SECONDS = 5.0
"""The age of a record, when it is read, beyond which a line is logged."""


class Lag:
    """Looks at the age of the records that are read. It belongs to the poll loop."""

    def __init__(self) -> None:
        self._worst = 0.0

    def note(self, oldest_ns: int, now: float, backlog: int) -> None:
        """Note the oldest of the records just read, by CLOCK_MONOTONIC, and how many bytes wait.

        `now` is in seconds of the same clock.
        """
        behind = now - oldest_ns * 1e-9
        if behind > BEHIND_SECONDS and not self._worst:
            extra = {"behind": round(behind, 1), "backlog": backlog}
            log.warning("the service is behind: records are old when they are read", extra=extra)
        if behind > BEHIND_SECONDS:
            self._worst = max(self._worst, behind)
        elif self._worst and behind < BEHIND_SECONDS / 2 and not backlog:
            log.info("the service has caught up", extra={"behind": round(self._worst, 1)})
            self._worst = 0.0
