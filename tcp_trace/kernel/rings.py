"""A BPF ring buffer read without a library: the reader decides when a record is done with.

The kernel keeps two positions, which only grow: the producer's, behind the last record, and the
consumer's, before the first one that is still wanted. What lies between is kept. Both belong to the
map, not to its reader: the next process reads on where the last one moved the position to. See
Documentation/bpf/ringbuf.rst and kernel/bpf/ringbuf.c of the kernel.

A mapped page counts as resident memory of the process that maps it. So the data is mapped a window
at a time. It lies in the map twice in a row, so that no record is cut at its end.
"""

from __future__ import annotations

import mmap
import struct
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

WINDOW = 64 * 1024
"""Bytes that are mapped at a time, at most."""

HEADER = struct.Struct("=II")
"""In front of each record: its length with two flags, and what only the kernel needs."""

BUSY, DISCARDED = 1 << 31, 1 << 30


class Ring:
    """The ring that is the map `fd`, with `size` bytes for records.

    Raises OSError where it cannot be mapped.
    """

    def __init__(self, fd: int, size: int) -> None:
        self._fd = fd
        self._size = size
        page = mmap.PAGESIZE
        consumer = mmap.mmap(fd, page)
        producer = mmap.mmap(fd, page, prot=mmap.PROT_READ, offset=page)
        # As numbers of 8 bytes: these are read and written as a whole.
        self._consumer = memoryview(consumer).cast("Q")
        self._producer = memoryview(producer).cast("Q")
        self.position = self._consumer[0]
        # Taken to keep a processor that reorders loads (arm64) from those of records before those
        # that say they are complete.
        self._order = threading.Lock()

    def fileno(self) -> int:
        """Return what polls as readable while something is not released."""
        return self._fd

    @property
    def is_crowded(self) -> bool:
        """Whether what was not released takes more than half of the room."""
        return self._producer[0] - self._consumer[0] > self._size // 2

    @property
    def unread(self) -> int:
        """How many bytes were not read yet."""
        return self._producer[0] - self.position

    def read(self, most: int, until: int | None = None) -> list[bytes]:
        """Return up to `most` records, the oldest first, and move `position` behind them.

        None that begins at the position `until` or behind it.

        They stay in the ring until `release`.
        """
        unread = self.unread if until is None else min(self.unread, until - self.position)
        if unread <= 0:
            return []
        start = self.position % self._size
        skipped = start % mmap.PAGESIZE
        offset = 2 * mmap.PAGESIZE + start - skipped
        length = min(WINDOW, skipped + unread)
        with mmap.mmap(self._fd, length, prot=mmap.PROT_READ, offset=offset) as window:
            complete = list(_complete(window, skipped, most))
            if complete:
                self.position += complete[-1][2] - skipped
            with self._order:
                return [window[begin:end] for begin, end, _ in complete if begin < end]

    def release(self, position: int) -> None:
        """Give back to the kernel what lies before a `position` that was read up to.

        Any thread may do so; what was given back stays so.
        """
        with self._order:
            self._consumer[0] = max(self._consumer[0], position)


def _complete(window: mmap.mmap, at: int, most: int) -> Iterator[tuple[int, int, int]]:
    """Yield where records begin and end, and where the next one begins.

    One that is discarded has no bytes. It ends before the first one that is not complete.
    """
    for _ in range(most):
        if at + HEADER.size > len(window):
            return
        begin = at + HEADER.size
        length = HEADER.unpack_from(window, at)[0]
        end = begin + (length & ~DISCARDED)
        if length & BUSY or end > len(window):
            return
        at = end + -end % 8
        yield begin, begin if length & DISCARDED else end, at
