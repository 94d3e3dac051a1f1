"""How far the service has told what it read, kept so that the next process goes on from there.

A failure that was read leads to a line in the log and to a count in an incident. A line is told
when it is written, which the log's thread says; a count when the state is committed, which may be
two seconds later. The ring keeps every record until both are so. Of those of which one is so, the
next process does the other: a position in the ring says for each how far it is.

    logged_to     in the kernel's map `progress`, moved by the log's thread right after its write
    counted_to    in the state, with the number of this ring, in the transaction that counts

Before a write the log's thread notes how large the file will be. If it is, the next process knows
that the lines are written, although the note behind the write is missing.

What has to wait for longer (`waiting`) is kept in the map `carried`. Lines that change it are not
noted before, nor are sums that the kernel program counted: a process that is killed between their
write and the note behind it leaves them to be written twice. So does one that is killed within a
write, of which a part is done.
"""

from __future__ import annotations

import logging
import secrets
import threading
from typing import TYPE_CHECKING, NamedTuple, TypeGuard

from tcp_trace.log import logs
from tcp_trace.log.sinks import Place
from tcp_trace.probes.carried import Entry, Reached

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tcp_trace.connects.events import Failure
    from tcp_trace.connects.waiting import Waiting
    from tcp_trace.kernel.rings import Ring
    from tcp_trace.probes.carried import Carried

log = logging.getLogger(__name__)


class Due(NamedTuple):
    """What is still to be done about records: to write their lines, and to count them."""

    lines: bool = True
    counts: bool = True


class Progress:
    """The positions in a ring up to which records are told."""

    def __init__(self, ring: Ring, carried: Carried, waiting: Waiting, saved: object) -> None:
        """Go on from where an earlier process was; `saved` is what it saved of `state`.

        `is_known` says whether that was of this ring.
        """
        self._ring = ring
        self._carried = carried
        self._waiting = waiting
        self._lock = threading.Lock()
        self._complained = False
        reached = carried.progress()
        self._number = reached.ring or secrets.randbits(63) | 1
        counted_to = saved[1] if _is_state(saved) and saved[0] == reached.ring else None
        self.is_known = counted_to is not None
        is_written = logs.began_with(Place(reached.inode, reached.end))
        self._logged_to = self._within(reached.next_to if is_written else reached.logged_to)
        self._counted_to = self._within(counted_to or 0)
        self._carried.set_progress(Reached(self._number, self._logged_to))

    def _within(self, position: int) -> int:
        """Return a position that this ring can have: whatever was saved is not trusted."""
        end = self._ring.position + self._ring.unread
        return position if self._ring.position <= position <= end else self._ring.position

    @property
    def state(self) -> tuple[int, int]:
        """What is saved together with the incidents: all that was read is counted in them."""
        return self._number, self._ring.position

    def due(self) -> tuple[Due, int | None]:
        """Return what is due about the next records, and up to which position that goes."""
        position = self._ring.position
        borders = [each for each in (self._logged_to, self._counted_to) if each > position]
        due = Due(self._logged_to <= position, self._counted_to <= position)
        return due, min(borders) if borders else None

    def settle(self, told: Callable[[], None] | None = None) -> None:
        """Once all lines up to here are written, let all that was read so far be logged.

        Then `told` is called, too. Both are done by the log's thread.
        """
        position, changes = self._ring.position, self._waiting.changes()

        def about_to_write(place: Place) -> None:
            self._note(
                Reached(self._number, self._logged_to, max(position, self._logged_to), *place)
            )

        def written() -> None:
            try:
                self._keep(changes)
                self._carried.set_progress(Reached(self._number, max(position, self._logged_to)))
                if told is not None:
                    told()
            except OSError as error:
                self._complain(error)
            self._move(logged_to=position)

        logs.after(written, None if told or changes else about_to_write)

    def counted(self, position: int) -> None:
        """Say that the state on disk counts all records before a position."""
        self._move(counted_to=position)

    def relieve(self) -> None:
        """Make room where the log stands, or the state is not saved: that is worth more."""
        if self._ring.is_crowded:
            self._move(self._ring.position, self._ring.position)

    def _move(self, logged_to: int = 0, counted_to: int = 0) -> None:
        with self._lock:
            self._logged_to = max(self._logged_to, logged_to)
            self._counted_to = max(self._counted_to, counted_to)
            self._ring.release(min(self._logged_to, self._counted_to, self._ring.position))

    def _note(self, reached: Reached) -> None:
        try:
            self._carried.set_progress(reached)
        except OSError as error:
            self._complain(error)

    def _keep(self, changes: Mapping[int, Failure | None]) -> None:
        for key, failure in changes.items():
            if failure is None:
                self._carried.remove(key)
            else:
                last_ns = int(failure.mono * 1e9)
                self._carried.put(key, Entry(failure.times, last_ns, failure.record))

    def _complain(self, error: OSError) -> None:
        if not self._complained:
            self._complained = True
            log.error("what is not told yet is kept in memory alone: %s", error.strerror)


def _is_state(saved: object) -> TypeGuard[list[int]]:
    return (
        isinstance(saved, list) and len(saved) == 2 and all(isinstance(each, int) for each in saved)
    )
