"""Logs which share of the host's connects was seen: every hour, and at once for a gap."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from tcp_trace.connects.coverage import Begin, Coverage, End, Seen, compare
from tcp_trace.host import netns

if TYPE_CHECKING:
    from collections.abc import Callable

    from tcp_trace.probes.connectmaps import Tallies

log = logging.getLogger(__name__)

INTERVAL = 3600.0
"""Seconds between two lines that say the coverage."""

CHECK_INTERVAL = 60.0
"""Seconds between two looks at the kernel's counters, of which there are hundreds in their file."""

_HOOK_UNUSED = 3
"""Attempts that the net must have begun before the hook is said to be out of use.

One may be a race: while a process is in bpf() the kernel runs no kprobe's program on its CPU.
"""


class SelfAudit:
    """The audit of a running service; `tallies` reads what its kernel program counted."""

    def __init__(self, tallies: Callable[[], Tallies]) -> None:
        self._tallies = tallies
        self._hook = _HookAudit(tallies())
        self._begin: Begin | None = None
        self._latest = self._hour = self._total = Coverage()
        self._is_told = False
        self._next_line = 0.0
        self._next_check = 0.0

    def restart(self, now: float, *, watches_everything: bool) -> None:
        """Begin anew at `now` (monotonic). Only a watch of everything can be compared."""
        self._next_line = now + INTERVAL
        self._next_check = now + CHECK_INTERVAL
        self._latest = self._hour = self._total = Coverage()
        self._is_told = False
        self._begin = self._look()[1] if watches_everything else None

    def check(self, now: float) -> None:
        """Compare where it is due; log each gap once, and the coverage every hour."""
        self._hook.check(self._tallies())
        begin = self._begin
        if now < self._next_check or begin is None:
            return
        self._next_check = now + CHECK_INTERVAL
        end, following = self._look()
        self._latest = under_way = compare(begin, end)
        # An interval in doubt goes on until that is resolved, or is too much to be one.
        if under_way.is_certain:
            self._tell_of_a_gap(under_way)
            self._begin = following
            self._hour = self._hour.and_then(under_way)
            self._total = self._total.and_then(under_way)
            under_way = Coverage()
        if now >= self._next_line:
            self._next_line = now + INTERVAL
            log.info("coverage", extra=_fields(self._hour.and_then(under_way)))
            self._hour = Coverage()

    def latest(self) -> dict[str, float | None]:
        """Return the coverage of attempts and of failures in the last interval, `{}` without."""
        return self._latest.shares() if self._begin else {}

    def total(self) -> dict[str, float | None]:
        """Return the same up to now, since the audit began."""
        begin = self._begin  # a scrape of the metrics may come while it is begun anew
        return self._total.and_then(compare(begin, self._look()[0])).shares() if begin else {}

    def _tell_of_a_gap(self, coverage: Coverage) -> None:
        if coverage.is_complete:
            self._is_told = self._is_told and not coverage.attempts
        elif not self._is_told:
            self._is_told = True
            log.warning("the kernel counted connects that were not seen", extra=_fields(coverage))

    def _look(self) -> tuple[End, Begin]:
        """Read all counts, for the end of one interval and the begin of the next."""
        before = netns.counted_until_now()
        tallies = self._tallies()
        seen = Seen(tallies.opened - tallies.unsent, tallies.aborted, tallies.passive)
        return End(before, seen), Begin(seen, netns.counted_from_now())


class _HookAudit:
    """Tells, once per episode, that the hook is not run and the net does all its work."""

    def __init__(self, tallies: Tallies) -> None:
        self._last = tallies
        self._unused = 0
        self._is_told = False

    def check(self, tallies: Tallies) -> None:
        """Look at what was counted since the last look."""
        taken_up = tallies.taken_up - self._last.taken_up
        opened = tallies.opened - self._last.opened
        self._last = tallies
        # `opened` has those of one namespace only, `taken_up` those of all.
        if 2 * taken_up < opened:
            self._unused = 0
            self._is_told = False
            return
        self._unused += taken_up
        if self._unused >= _HOOK_UNUSED and not self._is_told:
            self._is_told = True
            log.warning(
                "the hook is not run, the net behind it does its work; look whether"
                " /sys/kernel/debug/kprobes/enabled and kernel.ftrace_enabled are 1",
                extra={"taken_up": self._unused},
            )


def _fields(coverage: Coverage) -> dict[str, float | None]:
    return {
        **coverage.shares(),
        "unseen_attempts": coverage.unseen_attempts,
        "unseen_failures": coverage.unseen_failures,
    }
