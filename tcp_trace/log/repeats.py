"""Sums up equal failures in the log: some get a line each, the rest one line.

Failures are equal if destination, reason and program are. Of these, `LINES` get a line within
`INTERVAL` seconds of the first. The others become one line at the end of the interval, with the
details of the last one and their number in `times`.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from tcp_trace.connects.waiting import Waiting
from tcp_trace.incidents.tally import group

if TYPE_CHECKING:
    from collections.abc import Hashable

    from tcp_trace.connects.events import Failure

LINES = 100
INTERVAL = 10.0
"""Seconds."""
_KEPT = 4_096


class _Run:
    """Equal failures, since `since` (seconds of CLOCK_MONOTONIC)."""

    __slots__ = ("key", "last", "lines", "more", "since")

    def __init__(self, since: float, first: Failure) -> None:
        self.since = since
        self.last = first
        self.lines = self.more = 0
        self.key: int | None = None


class Repeats:
    """Decides which failures get a line. Pure; at most 4,096 kinds are kept apart."""

    def __init__(self, waiting: Waiting | None = None) -> None:
        self._waiting = waiting or Waiting()
        self._runs: dict[Hashable, _Run] = {}  # oldest first

    def take(self, failure: Failure, now: float) -> list[Failure]:
        """Take in a failure; return those to write now, each with its `times`."""
        ended = self.due(now)
        process = failure.process
        key = (failure.destination, failure.reason, process and group(process, failure.maker))
        run = self._runs.get(key)
        if run is None:
            if len(self._runs) >= _KEPT:
                ended += self._end(next(iter(self._runs)))
            run = self._runs[key] = _Run(now, failure)
        if run.lines < LINES:
            run.lines += 1
            return [*ended, failure]
        run.more += failure.times
        run.last = failure
        if run.key is None:
            run.key = self._waiting.keep(failure, counted=True)
        self._waiting.replace(run.key, failure._replace(times=run.more))
        return ended

    def due(self, now: float) -> list[Failure]:
        """Return the sums whose interval is over; with infinity, all."""
        over = []
        for key, run in self._runs.items():
            if now < run.since + INTERVAL:
                break
            over.append(key)
        return [failure for key in over for failure in self._end(key)]

    def next_deadline(self) -> float | None:
        """Return when to call `due` next, None for never."""
        first = next(iter(self._runs.values()), None)
        return None if first is None else first.since + INTERVAL

    def flush(self) -> list[Failure]:
        """Return all sums not written yet."""
        return self.due(inf)

    def _end(self, key: Hashable) -> list[Failure]:
        run = self._runs.pop(key)
        if run.key is not None:
            self._waiting.done(run.key)
        return [run.last._replace(times=run.more)] if run.more else []
