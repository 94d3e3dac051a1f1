"""Writes log lines without making the caller wait: a bounded queue and a thread.

A disk, a pipe, a terminal or the journal may block for minutes. So only the sink's own thread
writes. While it blocks, lines are queued; beyond `LIMIT` they are lost and counted, and once lines
flow again a line reports how many were lost.
"""

from __future__ import annotations

import logging
import os
import select
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

log = logging.getLogger(__name__)

LIMIT = 32 * 1024 * 1024
"""The most bytes queued: some 75,000 lines, more than the ring holds records."""

LOOK_INTERVAL = 15.0
"""Seconds between two looks at a target to which nothing is written."""

# How long lines gather before they are written: waking the thread for each costs far more.
_GATHER = 0.01
_AT_ONCE = 512 * 1024


class Target(Protocol):
    """The thing that a sink's thread writes to. `write`, `look` and `close` may block."""

    def write(self, data: bytes) -> int:
        """Write whole lines; return how many bytes were written, however few."""

    def look(self) -> None:
        """Do periodic work; called although nothing is written."""

    def complain(self, message: str) -> None:
        """Report an error somewhere else; called by the thread that logs, it must not block."""

    def close(self) -> None:
        """Release it."""


class Sink:
    """A queue in front of a target. `put` never waits and never raises.

    `put` is for one thread at a time: a logging handler's lock sees to that.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._chunks: deque[bytes | Callable[[], None]] = deque()
        self._put = 0  # bytes that were queued, ever
        self._taken = 0  # bytes of them that were written, or given up
        self._dropped = 0  # lines that found no room in the queue
        self._failed = 0  # lines that the target did not take
        self._told = 0  # lost lines that the log has reported
        self._stands = False
        self._busy = False
        self._closing = False
        self._started = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tcp-trace-log", daemon=True)

    @property
    def lost(self) -> int:
        """How many lines were not written and never will be."""
        return self._dropped + self._failed

    def put(self, data: bytes) -> None:
        """Queue whole lines, or count them as lost where the queue is full."""
        if self._put - self._taken + len(data) > LIMIT:
            self.drop(data.count(b"\n"))
            if not self._stands:
                self._stands = True
                self._target.complain("the log takes no lines: they are lost until it does")
            return
        self._chunks.append(data)
        self._put += len(data)
        if not self._started:
            self._start()
        if not self._wake.is_set():
            self._wake.set()

    def after(self, callback: Callable[[], None]) -> None:
        """Let the sink's thread call this once all lines up to here are written or given up."""
        self._chunks.append(callback)
        if not self._started:
            self._start()
        self._wake.set()

    def drop(self, lines: int) -> None:
        """Count lines as lost that cannot even be queued."""
        self._dropped += lines

    def flush(self, patience: float) -> bool:
        """Wait at most `patience` seconds until the queue is empty; return whether it is."""
        until = time.monotonic() + patience
        while (waits := self._busy or bool(self._chunks)) and time.monotonic() < until:
            time.sleep(0.001)
        return not waits

    def close(self) -> None:
        """Let the thread end once all is written; a target that blocks is left behind."""
        self._closing = True
        self._wake.set()
        if not self._started:
            self._target.close()

    def _start(self) -> None:
        try:
            self._thread.start()
        except RuntimeError:  # no thread can be had now: the next line tries again
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
        """Write the next lines, some at a time: a copy of all would double what they take."""
        taken: list[bytes] = []
        size = 0
        callback = None
        while self._chunks and size < _AT_ONCE and callback is None:
            chunk = self._chunks.popleft()
            if isinstance(chunk, bytes):
                taken.append(chunk)
                size += len(chunk)
            else:
                callback = chunk
        if taken:
            self._write(b"".join(taken))
        if callback is not None:
            callback()

    def _write(self, data: bytes) -> None:
        written = self._target.write(data)
        self._failed += data.count(b"\n", written)
        self._taken += len(data)
        if written == len(data):
            self._stands = False
            self._tell_of_loss()

    def _tell_of_loss(self) -> None:
        lost = self.lost
        if lost > self._told and self._put - self._taken < LIMIT / 2:  # there is room to tell
            new, self._told = lost - self._told, lost
            log.error("log lines were lost", extra={"lost": new, "lost_total": lost})


class Stream:
    """A stream that is open already: stderr, whatever that is.

    Its own buffer is not used: Python would wait for it at its end.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, data: bytes) -> int:
        """Write; lines are lost once nobody reads the stream."""
        return write_all(self._stream.fileno(), data)[0]

    def look(self) -> None:
        """Do nothing."""

    def complain(self, message: str) -> None:
        """Say nothing: there is nowhere else to say it."""

    def close(self) -> None:
        """Leave it to whoever opened it."""


def write_all(fd: int, data: bytes) -> tuple[int, OSError | None]:
    """Write to a descriptor, also one that blocks; return the bytes written and the error."""
    written = 0
    view = memoryview(data)
    while written < len(data):
        try:
            written += os.write(fd, view[written:])
        except BlockingIOError:  # somebody else made it so: the descriptor may be shared
            poll = select.poll()
            poll.register(fd, select.POLLOUT)
            poll.poll()
        except OSError as error:
            return written, error
    return written, None
