"""A ring of the kernel's without a kernel: its pages are a file in memory."""

from __future__ import annotations

import mmap
import os
import struct

from tcp_trace.kernel.rings import HEADER

_POSITION = struct.Struct("=Q")


class Producer:
    """Puts records into a ring of `size` bytes at `fd`, as the kernel does.

    The kernel maps the data twice in a row; a file cannot be, so here it is written twice.
    """

    def __init__(self, size: int = 4 * 1024 * 1024) -> None:
        self.size = size
        self.fd = os.memfd_create("ring")
        os.ftruncate(self.fd, 2 * mmap.PAGESIZE + 2 * size)
        self._pages = mmap.mmap(self.fd, 0)

    @property
    def consumed(self) -> int:
        """Return the consumer's position."""
        return int(_POSITION.unpack_from(self._pages, 0)[0])

    @property
    def position(self) -> int:
        """Return the producer's position."""
        return int(_POSITION.unpack_from(self._pages, mmap.PAGESIZE)[0])

    def put(self, record: bytes, flags: int = 0) -> int:
        """Put a record in, if there is room; return where its header is, -1 for none."""
        at = self.position
        end = at + HEADER.size + len(record) + -len(record) % 8
        if end - self.consumed > self.size:
            return -1
        self._write(at, HEADER.pack(len(record) | flags, 0) + record)
        _POSITION.pack_into(self._pages, mmap.PAGESIZE, end)
        return at

    def start_at(self, position: int) -> None:
        """Let both positions be this multiple of 8."""
        for page in (0, mmap.PAGESIZE):
            _POSITION.pack_into(self._pages, page, position)

    def complete(self, at: int, length: int) -> None:
        """Let a record that was busy be complete."""
        self._write(at, HEADER.pack(length, 0))

    def _write(self, at: int, data: bytes) -> None:
        begin = at % self.size
        before_end = self.size - begin
        for copy in (0, self.size):
            self._put_at(begin + copy, data[:before_end])
            self._put_at(copy, data[before_end:])

    def _put_at(self, place: int, data: bytes) -> None:
        begin = 2 * mmap.PAGESIZE + place
        self._pages[begin : begin + len(data)] = data
