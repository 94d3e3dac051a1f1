"""BPF iterators: a program that the kernel runs over all things of a kind, when it is read."""

from __future__ import annotations

import os

from tcp_trace.kernel.maps import library

_CHUNK = 1 << 16


def read(link: int) -> bytes:
    """Run an iterator once, by the descriptor of its link; return all that it wrote.

    Raises OSError.
    """
    fd = library().bcc_iter_create(link)
    if fd < 0:
        raise OSError(-fd, os.strerror(-fd))
    chunks = []
    try:
        while chunk := os.read(fd, _CHUNK):
            chunks.append(chunk)
    finally:
        os.close(fd)
    return b"".join(chunks)
