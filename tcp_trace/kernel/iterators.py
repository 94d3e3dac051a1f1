"""BPF iterators: the kernel runs a program over all objects of a kind, once per read."""

from __future__ import annotations

import os
import struct

from tcp_trace.kernel.libc import bpf, failure

# include/uapi/linux/bpf.h: enum bpf_cmd; link_fd and flags of union bpf_attr
_ITER_CREATE = 33
_CREATE = struct.Struct("=II")

_CHUNK = 1 << 16


def read(link: int) -> bytes:
    """Run an iterator once, by the descriptor of its link; return all its output.

    Raises OSError.
    """
    fd = bpf(_ITER_CREATE, _CREATE.pack(link, 0))
    if fd < 0:
        raise failure()
    chunks = []
    try:
        while chunk := os.read(fd, _CHUNK):
            chunks.append(chunk)
    finally:
        os.close(fd)
    return b"".join(chunks)
