"""A kernel that counts connects: what `Seen` asks for, computed when it is asked.

A connect that succeeds is no event, neither for the service nor here: 500 a second for a week are
302 million. A stream of them is an `Intensity`; how many there were since the last look, and when
the last one was, is drawn at the next look. As in the kernel, the destination that was used least
recently makes room for another.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from tcp_trace.connects.events import Counters, Destination
from tcp_trace.incidents.subjects import neighbourhood

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

    from tcp_trace.incidents.subjects import Subject
    from tests.timelines.chance import Intensity

CAPACITY = 8_192
BOOTED = 5_000.0
"""What CLOCK_MONOTONIC says when a world begins."""


class Stream(NamedTuple):
    """Successes that come by themselves, with their own chance."""

    successes: Intensity
    rng: Random


class Entry:
    """What is counted of one destination.

    `succeeded` is when a connect last did, minus infinity for never; `touched` when one last ended.
    """

    __slots__ = (
        "established",
        "failed",
        "latency_ns",
        "settled",
        "streams",
        "succeeded",
        "touched",
    )

    def __init__(self, latency_ns: int) -> None:
        self.latency_ns = latency_ns
        self.streams: list[Stream] = []
        self.settled = self.touched = 0.0
        self.forget()

    def forget(self) -> None:
        """Count anew."""
        self.established = self.failed = 0
        self.succeeded = -inf

    def count(self, when: float, arrivals: int) -> None:
        """Count successes, the last of them then."""
        self.established += arrivals
        self.succeeded = max(self.succeeded, when)
        self.touched = max(self.touched, when)

    def shown(self) -> Counters | None:
        """Return it as the kernel does."""
        if not self.established and not self.failed:
            return None
        last = int((BOOTED + self.succeeded) * 1e9) if self.established else 0
        latency = self.latency_ns if self.established else 0
        return Counters(self.established, self.failed, last, latency)


class Kernel:
    """All destinations of a host, at the time `now` that the world sets (seconds of its own)."""

    def __init__(self) -> None:
        self.now = 0.0
        self._lasting: dict[Destination, Entry] = {}
        self._near: dict[tuple[str, int] | None, dict[Destination, Entry]] = {}
        self._named: dict[Subject, list[Destination]] = {}
        self._passing: OrderedDict[Destination, Entry] = OrderedDict()
        # When a destination came that is not here to stay.
        self._came: list[float] = []

    def feed(self, place: Destination, stream: Stream) -> None:
        """Let connects to a destination succeed by themselves from now on."""
        self.stay(place).streams.append(stream)

    def stay(self, place: Destination) -> Entry:
        """Take a destination for one that is used again and again."""
        entry = self._lasting.setdefault(place, Entry(200_000 + 7 * place.port))
        self._near.setdefault(neighbourhood(place), {})[place] = entry
        entry.settled = self.now
        return entry

    def name(self, host: str, place: Destination) -> None:
        """Take a place for one of a name's addresses."""
        self._named.setdefault(place.named(host), []).append(place)

    def succeed(self, place: Destination) -> None:
        """Let a connect succeed now."""
        self._touch(place).count(self.now, 1)

    def fail(self, place: Destination) -> None:
        """Let a connect fail now."""
        entry = self._touch(place)
        entry.failed += 1
        entry.touched = self.now

    def forget(self) -> None:
        """Count everything anew, as after a start that took nothing over."""
        self._passing.clear()
        for entry in self._lasting.values():
            self._settle(entry)
            entry.forget()

    def counts(self, subject: Subject) -> Counters | None:
        """Return what was counted of a subject, None where nothing is known of it."""
        if subject in self._named:
            found = [each for each in map(self.counts, self._named[subject]) if each is not None]
            return _together(found) if found else None
        if not isinstance(subject, Destination):
            return None
        entry = self._lasting.get(subject)
        if entry is None:
            entry = self._passing.get(subject)
            return None if entry is None else entry.shown()
        self._settle(entry)
        return entry.shown()

    def working(self, since: float, near: Subject | None = None) -> int:
        """Return how many destinations succeeded since then, of `near` only its neighbours."""
        lately = (place for place, _ in self.worked(since, neighbourhood(near) if near else None))
        if near is None:
            return sum(not place.address.startswith("127.") for place in lately)
        return sum(place != near for place in lately)

    def worked(
        self, since: float, near: tuple[str, int] | None = None
    ) -> Iterator[tuple[Destination, Counters]]:
        """Yield what is counted of those that succeeded since then (CLOCK_MONOTONIC)."""
        lasting = self._lasting if near is None else self._near.get(near, {})
        for place, entry in lasting.items():
            self._settle(entry)
            if entry.succeeded > since - BOOTED and (counts := entry.shown()):
                yield place, counts
        for place, entry in reversed(self._passing.items()):
            if entry.touched <= since - BOOTED:
                return
            if near is not None and neighbourhood(place) != near:
                continue
            if entry.succeeded > since - BOOTED and (counts := entry.shown()):
                yield place, counts

    def _touch(self, place: Destination) -> Entry:
        entry = self._lasting.get(place)
        if entry is not None:
            if self._is_crowded_out(entry.touched, self.now):
                self._settle(entry)
            return entry
        entry = self._passing.get(place)
        if entry is None:
            entry = self._passing[place] = Entry(300_000)
            self._came.append(self.now)
            if len(self._passing) > CAPACITY - len(self._lasting):
                self._passing.popitem(last=False)
        self._passing.move_to_end(place)
        return entry

    def _is_crowded_out(self, since: float, until: float) -> bool:
        """Whether so many others came in between that a destination made room for them."""
        if len(self._came) < CAPACITY:
            return False
        others = bisect_right(self._came, until) - bisect_right(self._came, since)
        return others >= CAPACITY - len(self._lasting)

    def _settle(self, entry: Entry) -> None:
        """Draw what succeeded since the last look."""
        if entry.settled == self.now:
            return
        since, entry.settled = entry.settled, self.now
        drawn = [
            (stream, stream.successes.count(stream.rng, since, self.now))
            for stream in entry.streams
        ]
        if not self._is_crowded_out(min(since, entry.touched), self.now):
            for s, arrivals in drawn:
                if arrivals:
                    entry.count(s.successes.latest(s.rng, since, self.now, arrivals), arrivals)
            return
        times = [each for s, n in drawn for each in s.successes.times(s.rng, since, self.now, n)]
        for when in sorted(times):
            if self._is_crowded_out(entry.touched, when):
                entry.forget()
            entry.count(when, 1)
        if self._is_crowded_out(entry.touched, self.now):
            entry.forget()


def _together(counted: list[Counters]) -> Counters:
    return Counters(
        sum(each.established for each in counted),
        sum(each.failed for each in counted),
        max(each.last_established_ns for each in counted),
        max(each.latency_ns for each in counted),
    )
