"""A host whose service is killed at any moment, and its log, for the tests of progress.

The log's thread is replaced: lines are written when `Log.write` says so, and what a killed process
had not written is gone.
"""

from __future__ import annotations

import logging
import signal
from typing import TYPE_CHECKING, Any

from tcp_trace.log.logs import EACH
from tcp_trace.log.sinks import Place
from tcp_trace.notify.outbox import present
from tests.reliability.pipeline import Fed, Memory, settings
from tests.ring import Producer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Before = Callable[[Place], None]

INODE = 7


class Log(logging.Handler):
    """Lines of failed connects, in the order in which they were logged."""

    def __init__(self) -> None:
        super().__init__()
        self._queue: list[dict[str, Any] | tuple[Callable[[], None], Before | None]] = []
        self.written: list[dict[str, Any]] = []
        self._began = Place(INODE, 0)

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the lines of a record."""
        if record.getMessage() == "connect failed":
            self._queue += vars(record)[EACH]

    def after(self, callback: Callable[[], None], before: Before | None = None) -> None:
        """Queue what is to be called."""
        self._queue.append((callback, before))

    def began_with(self, place: Place) -> bool:
        """Return whether there were so many bytes when this process began: one for each line."""
        return place.inode == INODE and self._began.end >= place.end > 0

    def write(self, *, killed: str = "") -> None:
        """Write all lines, unless the process is `killed` "before" the first write or "behind"."""
        queue, self._queue = self._queue, []
        taken: list[dict[str, Any]] = []
        for each in queue:
            if isinstance(each, dict):
                taken.append(each)
                continue
            callback, before = each
            if taken and before is not None:
                before(Place(INODE, len(self.written) + len(taken)))
            if taken and killed == "before":
                return
            self.written += taken
            if taken and killed == "behind":
                return
            taken = []
            callback()
        self.written += taken

    def lose(self) -> None:
        """Be killed."""
        self._queue = []
        self._began = Place(INODE, len(self.written))

    def times(self) -> int:
        """Return how many failures the written lines stand for."""
        return sum(line["times"] for line in self.written)


class Host:
    """A kernel with a ring, and the processes that follow each other."""

    def __init__(self, state: Path) -> None:
        self._settings = settings(state, "")
        self.ring, self.memory = Producer(), Memory()
        self.process = self._start()

    def _start(self) -> Fed:
        process = Fed(self._settings, self.ring, self.memory)
        now = present()
        process._commit(process._count(process._intake.take_up(now), now), now)
        return process

    def end(self) -> None:
        """Let the process be gone."""
        self.process._messages.outbox.close()
        signals = self.process._signals
        signal.set_wakeup_fd(-1)
        signals._reader.close()
        signals._writer.close()

    def kill(self) -> None:
        """Let the process be gone, and another one follow."""
        self.end()
        self.process = self._start()

    def turn(self) -> None:
        """Read all there is; nothing is saved but what is promised."""
        self.process._next_save = float("inf")
        self.process._turn()
        while self.process._intake.ring.unread:
            self.process._turn()

    def counted(self) -> int:
        """Return how many failures the incidents know."""
        dumped = self.process._incidents.dump(present())
        return sum(each["tally"]["total"] for each in dumped["incidents"])
