"""Reads command lines in a thread: a hostile process can block such a read for ever.

A command line is in the process's own memory, and the kernel takes that memory's lock to read it
(access_remote_vm()). With a file system of its own (FUSE, which needs no privilege) a process can
make a page fault wait with that lock held. So a thread reads and the caller waits at most
`PATIENCE`. After a time-out, no command line is known until the thread is back and `PAUSE` is over.
"""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import Future
from queue import SimpleQueue

PATIENCE = 0.05
"""Seconds that a read may take; normally it takes microseconds."""

PAUSE = 2.0
"""Seconds without a read after a late one: this limits the share of the loop's time."""

_READ_LIMIT = 4096


class CommandLines:
    """One thread that reads for another, started on first use."""

    def __init__(self) -> None:
        self._asked: SimpleQueue[tuple[int, Future[bytes]]] = SimpleQueue()
        self._started = False
        self._late: Future[bytes] | None = None
        self._again_at = 0.0

    def read(self, directory: int) -> bytes:
        """Return the beginning of `cmdline` in a directory of /proc, empty if unknown.

        Raises OSError if it cannot be read, for example because the process ended.
        """
        is_back = self._late is None or self._late.done()
        if not is_back or time.monotonic() < self._again_at or not self._start():
            return b""
        future: Future[bytes] = Future()
        self._asked.put((os.dup(directory), future))
        try:
            return future.result(PATIENCE)
        except TimeoutError:
            self._late, self._again_at = future, time.monotonic() + PAUSE
            return b""

    def _start(self) -> bool:
        if not self._started:
            thread = threading.Thread(target=self._run, name="tcp-trace-cmdline", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # no thread is available now: the next call tries again
                return False
            self._started = True
        return True

    def _run(self) -> None:
        while True:
            directory, future = self._asked.get()
            try:
                future.set_result(_read(directory))
            except OSError as error:
                future.set_exception(error)
            finally:
                os.close(directory)


def _read(directory: int) -> bytes:
    fd = os.open("cmdline", os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        return os.read(fd, _READ_LIMIT)
    finally:
        os.close(fd)
