"""Totals that the kernel counts, and a memory that takes them in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcp_trace.connects.events import Counters, Destination, Moment
from tcp_trace.incidents.memory import Known, Memory

if TYPE_CHECKING:
    from tcp_trace.incidents.subjects import Subject

DATABASE = Destination("192.0.2.9", 5432)
EPOCH = 1_700_000_000.0
SWEEP = 600.0
BOOT = "c0ffee"


class Kernel:
    """The totals of one destination, and a memory that takes them in."""

    def __init__(self, memory: Memory | None = None, subject: Subject = DATABASE) -> None:
        self.memory = memory or Memory()
        self.mono = 1_000.0
        self.subject = subject
        self.counts = Counters(0, 0, 0)

    @property
    def now(self) -> Moment:
        """The present."""
        return Moment(self.mono, EPOCH + self.mono)

    def sweep(
        self, good: int = 0, bad: int = 0, latency: float = 0.0, after: float = SWEEP
    ) -> None:
        """Let time pass, count connects at its end, and let the memory take that in."""
        self.mono += after
        was = self.counts
        last = int(self.mono * 1e9) if good else was.last_established_ns
        nanoseconds = round(latency * 1e9) or was.latency_ns
        self.counts = Counters(was.established + good, was.failed + bad, last, nanoseconds)
        self.memory.take(self.subject, self.counts, self.now)

    @property
    def known(self) -> Known:
        """What the memory knows of it."""
        known = self.memory.known(self.subject)
        assert known is not None
        return known

    def restart(self, boot: str = BOOT, away: float = 0.0) -> None:
        """Dump and load."""
        text = dumped(self.memory)
        self.memory = Memory()
        self.memory.load(text, boot)
        self.mono += away


def dumped(memory: Memory, boot: str = BOOT) -> str:
    """Return the whole dump."""
    return "\n".join(memory.dump(boot))
