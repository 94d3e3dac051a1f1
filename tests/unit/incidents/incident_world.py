"""A host to test incidents on: a clock that is moved by hand, and the kernel's counters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcp_trace.connects.events import Counters, Destination, Failure, Moment, Process
from tcp_trace.connects.maker import UNKNOWN, Maker
from tcp_trace.connects.reasons import Reason
from tcp_trace.incidents.incidents import Incidents
from tcp_trace.incidents.policy import Policy
from tcp_trace.incidents.subjects import neighbourhood

if TYPE_CHECKING:
    from tcp_trace.incidents.notification import Notification
    from tcp_trace.incidents.subjects import Subject

BOOT_WALL = 1_767_268_800.0
DATABASE = Destination("10.0.0.5", 5432)
PSQL = Process(4711, "psql", 1000, 77, 4_026_531_840)


def destination(number: int) -> Destination:
    """Return the destination of this number."""
    return Destination(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 443)


class World:
    """Time, what connects, and what was told.

    `told_at` is when each message was told, by the time that the service believes in: over a
    restart only the wall clock tells how long it was away, `misjudged` by so many seconds.
    """

    def __init__(self, **policy: float | None) -> None:
        self.policy = Policy(**{"after": 1, **policy})  # type: ignore[arg-type]
        self.incidents = Incidents(self.policy)
        self.mono = 1000.0
        self.wall_offset = BOOT_WALL
        self.kernel: dict[Subject, Counters] = {}
        self.named: dict[Subject, dict[Destination, None]] = {}
        self.evicted = False
        self.asked: list[Subject] = []
        self.told: list[Notification] = []
        self.told_at: dict[str, float] = {}
        self.misjudged = 0.0
        self.fed = 0

    @property
    def now(self) -> Moment:
        """Return the present."""
        return Moment(self.mono, self.mono + self.wall_offset)

    def counts(self, subject: Subject) -> Counters | None:
        """Return what the kernel counted."""
        self.asked.append(subject)
        found = [c for s in self.named.get(subject, [subject]) if (c := self.kernel.get(s))]
        if self.evicted or not found:
            return None
        good, bad, last, latency = zip(*found, strict=True)
        return Counters(sum(good), sum(bad), max(last), max(latency))

    def working(self, since: float, near: Subject | None = None) -> int:
        """Return how many destinations succeeded since then, of `near` only its neighbours."""
        after = max(0.0, since * 1e9)
        lately = [s for s, c in self.kernel.items() if c.last_established_ns > after]
        if near is None:
            return len(lately)
        return sum(s != near and neighbourhood(s) == neighbourhood(near) for s in lately)

    def fail(  # noqa: PLR0917 - what a failure has, in its order
        self,
        destination: Destination = DATABASE,
        times: int = 1,
        reason: Reason = Reason.REFUSED,
        process: Process | None = PSQL,
        maker: Maker = UNKNOWN,
        host: str | None = None,
        owner: Destination | None = None,
    ) -> list[Notification]:
        """Let connects fail now; return what is told at once."""
        told = []
        for _ in range(times):
            self._count(destination, established=False)
            if host is not None:
                self.named.setdefault(destination.named(host), {})[destination] = None
            failure = Failure(
                destination, reason, 111, 40_000, process, 0.001, 1, self.now.wall, self.mono,
                maker, host, owner=owner,
            )  # fmt: skip
            told += self.incidents.failed(failure, self.now, self)
        self.fed += times
        return self._tell(told)

    def hold_back(
        self, destination: Destination = DATABASE, times: int = 1, reason: Reason = Reason.REFUSED
    ) -> list[Notification]:
        """Let connects fail that are counted only, and taken up as one; see `fail`."""
        for _ in range(times):
            self._count(destination, established=False)
        failure = Failure(
            destination, reason, 111, 40_000, PSQL, 0.001, 1, self.now.wall, self.mono, times=times
        )
        self.fed += times
        return self._tell(self.incidents.failed(failure, self.now, self))

    def succeed(self, destination: Destination = DATABASE, times: int = 1) -> None:
        """Let connects succeed now: only the kernel hears of it."""
        for _ in range(times):
            self._count(destination, established=True)

    def _count(self, destination: Destination, *, established: bool) -> None:
        good, bad, last, latency = self.kernel.get(destination, Counters(0, 0, 0))
        last = int(self.mono * 1e9) if established else last
        good, bad = good + established, bad + (not established)
        self.kernel[destination] = Counters(good, bad, last, latency)

    def tick(self) -> list[Notification]:
        """Return what is due now."""
        return self._tell(self.incidents.tick(self.now, self))

    def _tell(self, told: list[Notification]) -> list[Notification]:
        self.told += told
        self.told_at.update({n.id: self.mono + self.misjudged for n in told})
        return told

    def wait(self, seconds: float) -> list[Notification]:
        """Let time pass, ticking at every deadline as the poll loop does."""
        told = []
        end = self.mono + seconds
        while True:
            deadline = self.incidents.next_deadline()
            if deadline is None or deadline > end:
                break
            self.mono = max(self.mono, deadline)
            told += self.tick()
        self.mono = end
        return told

    @property
    def told_failures(self) -> int:
        """Return how many failures are in messages so far."""
        return sum(n.failures for n in self.told)
