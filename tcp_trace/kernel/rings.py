"""A BPF ring buffer, read without a library: the reader decides when a record is done.

The kernel keeps two positions, which only grow: the producer's, after the last record, and the
consumer's, before the first record still wanted. The records between them are kept. Both positions
belong to the map, not to the reader: the next process continues where the last one moved the
consumer's position. See Documentation/bpf/ringbuf.rst and kernel/bpf/ringbuf.c of the kernel.

A mapped page counts as resident memory of the process that maps it, so the data is mapped one
window at a time. The data area is mapped twice in a row, so that no record is cut at its end.
"""

from __future__ import annotations

import mmap
import struct
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

WINDOW = 64 * 1024
"""Bytes mapped at a time, at most."""

HEADER = struct.Struct("=II")
"""Before each record: its length with two flags, and a word for the kernel alone."""

BUSY, DISCARDED = 1 << 31, 1 << 30


class Ring:
    """The ring in the map `fd`, with `size` bytes for records.

    Raises OSError if it cannot be mapped.
    """

    def __init__(self, fd: int, size: int) -> None:
        self._fd = fd
        self._size = size
        page = mmap.PAGESIZE
        consumer = mmap.mmap(fd, page)
        producer = mmap.mmap(fd, page, prot=mmap.PROT_READ, offset=page)
        # As 8-byte numbers: each is read and written as a whole.
        self._consumer = memoryview(consumer).cast("Q")
        self._producer = memoryview(producer).cast("Q")
        self.position = self._consumer[0]
        # A barrier for processors that reorder loads (arm64): records must be read after the
        # headers that say they are complete.
        self._order = threading.Lock()

    def fileno(self) -> int:
        """Return the descriptor, which polls readable while a record is not released."""
        return self._fd

    @property
    def is_crowded(self) -> bool:
        """Whether records that were read and not released take more than half of the ring."""
        return self.position - self._consumer[0] > self._size // 2

    @property
    def unread(self) -> int:
        """Bytes not read yet."""
        return self._producer[0] - self.position

    def read(self, most: int, until: int | None = None) -> list[bytes]:
        """Return up to `most` records, the oldest first, and move `position` past them.

        Records that begin at `until` or later are not read. All stay in the ring until `release`.
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
        """Return the space before `position` to the kernel.

        Any thread may call this; the position never moves back.
        """
        with self._order:
            self._consumer[0] = max(self._consumer[0], position)


def _complete(window: mmap.mmap, at: int, most: int) -> Iterator[tuple[int, int, int]]:
    """Yield the beginning and end of each record, and the beginning of the next one.

    A discarded record has no bytes. The iteration ends at the first incomplete record.
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
