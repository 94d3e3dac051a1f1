"""Writes log lines without blocking the caller: a bounded queue and a thread.

A disk, a pipe, a terminal or the journal may block for minutes. So only the sink's own thread
writes. While it blocks, lines are queued; beyond `LIMIT` they are lost and counted. Once writing
works again, a line reports how many were lost.
"""

from __future__ import annotations

import logging
import os
import select
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

log = logging.getLogger(__name__)

LIMIT = 32 * 1024 * 1024
"""The most bytes queued: some 75,000 lines, more than the ring holds records."""

LOOK_INTERVAL = 15.0
"""Seconds between two checks of an idle target."""

# How long lines gather before writing: waking the thread for each costs far more.
_GATHER = 0.01
_AT_ONCE = 512 * 1024


class Place(NamedTuple):
    """The end of a file: its inode and its size in bytes."""

    inode: int
    end: int


class Target(Protocol):
    """The target of a sink's thread. All but `complain` and `began_with` may block."""

    def place(self, length: int) -> Place | None:
        """Return the end of the file after `length` more bytes, None if unknown."""

    def began_with(self, place: Place) -> bool:
        """Return whether the target was that file, and at least that long, when it was opened."""

    def write(self, data: bytes) -> int:
        """Write whole lines; return the number of bytes written, which may be fewer."""

    def look(self) -> None:
        """Do periodic work; called even if nothing is written."""

    def complain(self, message: str) -> None:
        """Report an error elsewhere; called by the logging thread, so it must not block."""

    def close(self) -> None:
        """Release the target."""


class _Mark(NamedTuple):
    """What to do before and after the lines up to here are written; `lines` are the held ones."""

    lines: bytes
    after: Callable[[], None]
    before: Callable[[Place], None] | None


class Sink:
    """A queue in front of a target. `put` never waits and never raises.

    Only one thread at a time may call `put`: a logging handler's lock ensures that.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._chunks: deque[bytes | _Mark] = deque()
        self._held: list[bytes] | None = None
        self._holding = threading.Lock()
        self._put = 0  # bytes queued so far
        self._taken = 0  # bytes of them written or given up
        self._dropped = 0  # lines beyond the queue's limit
        self._failed = 0  # lines that the target failed to write
        self._reported = 0  # lost lines reported so far
        self._stands = False
        self._busy = False
        self._closing = False
        self._started = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tcp-trace-log", daemon=True)

    @property
    def lost(self) -> int:
        """The number of lines that will never be written."""
        return self._dropped + self._failed

    def put(self, data: bytes) -> None:
        """Queue whole lines, or count them as lost if the queue is full.

        The sink's own thread always finds room: a report of lost lines must not be lost.
        """
        is_full = self._put - self._taken + len(data) > LIMIT
        if is_full and threading.get_ident() != self._thread.ident:
            self.drop(data.count(b"\n"))
            if not self._stands:
                self._stands = True
                self._target.complain(
                    "the log is blocked: its queue is full, and new lines are lost"
                )
            return
        self._put += len(data)
        with self._holding:
            if self._held is not None:
                self._held.append(data)
                return
            self._chunks.append(data)
        if not self._started:
            self._start()
        if not self._wake.is_set():
            self._wake.set()

    def after(
        self, callback: Callable[[], None], before: Callable[[Place], None] | None = None
    ) -> None:
        """Have the sink's thread call `callback` once all lines so far are written or given up.

        It calls `before` before writing them, with the place where they will end, unless there are
        no lines or the place is unknown. With more than `_AT_ONCE` bytes, it does so before the
        last portion.
        """
        with self._holding:
            held, self._held = self._held, None
            self._chunks.append(_Mark(b"".join(held or ()), callback, before))
        if not self._started:
            self._start()
        self._wake.set()

    def hold(self) -> None:
        """Hold the lines from now on until `after` or the end: they are written together."""
        with self._holding:
            self._held = self._held or []

    def began_with(self, place: Place) -> bool:
        """Return whether the target was that file, of at least that size, when it was opened."""
        return self._target.began_with(place)

    def drop(self, lines: int) -> None:
        """Count lines as lost that cannot be queued."""
        self._dropped += lines

    def flush(self, patience: float) -> bool:
        """Wait at most `patience` seconds until the queue is empty; return whether it is."""
        if self._held:
            self.after(lambda: None)
        until = time.monotonic() + patience
        while (waits := self._busy or bool(self._chunks)) and time.monotonic() < until:
            time.sleep(0.001)
        return not waits

    def close(self) -> None:
        """End the thread once all is written; abandon a target that blocks."""
        if self._held:
            self.after(lambda: None)
        self._closing = True
        self._wake.set()
        if not self._started:
            self._target.close()

    def _start(self) -> None:
        try:
            self._thread.start()
        except RuntimeError:  # no thread is available now: the next line tries again
            return
        self._started = True

    def _run(self) -> None:
        while True:
            if self._wake.wait(LOOK_INTERVAL) and not self._closing:
                time.sleep(_GATHER)
            self._wake.clear()
            self._busy = True
            while self._chunks:
                self._go_on()
            self._busy = False
            if self._closing:
                self._target.close()
                return
            self._target.look()

    def _go_on(self) -> None:
        """Write the next lines in portions: a copy of all would double the memory."""
        taken: list[bytes] = []
        size = 0
        mark = None
        while self._chunks and size < _AT_ONCE and mark is None:
            chunk = self._chunks.popleft()
            if isinstance(chunk, bytes):
                taken.append(chunk)
                size += len(chunk)
            else:
                mark = chunk
                taken.append(mark.lines)
                size += len(mark.lines)
        if size:
            place = self._target.place(size) if mark and mark.before else None
            if place and mark and mark.before:
                mark.before(place)
            self._write(b"".join(taken))
        if mark is not None:
            mark.after()

    def _write(self, data: bytes) -> None:
        written = self._target.write(data)
        self._failed += data.count(b"\n", written)
        self._taken += len(data)
        if written == len(data):
            self._stands = False
            self._report_loss()

    def _report_loss(self) -> None:
        lost = self.lost
        # Not at each portion of a queue that stays full.
        if lost > self._reported and self._put - self._taken < LIMIT / 2:
            new, self._reported = lost - self._reported, lost
            log.error("log lines were lost", extra={"lost": new, "lost_total": lost})


class Stream:
    """A stream that is already open: stderr, of any kind.

    Its own buffer is not used: Python would block on it at exit.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def place(self, length: int) -> Place | None:  # noqa: ARG002 - of a file
        """Return None: a stream may be a pipe."""
        return None

    def began_with(self, place: Place) -> bool:  # noqa: ARG002 - of a file
        """Return False: a stream has no known place."""
        return False

    def write(self, data: bytes) -> int:
        """Write; lines are lost if nobody reads the stream."""
        return write_all(self._stream.fileno(), data)[0]

    def look(self) -> None:
        """Do nothing."""

    def complain(self, message: str) -> None:
        """Do nothing: there is no other place for a report."""

    def close(self) -> None:
        """Leave it open: its opener closes it."""


def write_all(fd: int, data: bytes) -> tuple[int, OSError | None]:
    """Write to a descriptor, even a non-blocking one; return the bytes written and the error."""
    written = 0
    view = memoryview(data)
    while written < len(data):
        try:
            written += os.write(fd, view[written:])
        except BlockingIOError:  # another process that shares the descriptor set O_NONBLOCK
            poll = select.poll()
            poll.register(fd, select.POLLOUT)
            poll.poll()
        except OSError as error:
            return written, error
    return written, None
