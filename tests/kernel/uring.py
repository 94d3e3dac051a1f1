"""connect() through io_uring, by the system calls themselves."""

from __future__ import annotations

import ctypes
import mmap
import os
import socket
import struct

from tests.libc import LIBC

_SETUP, _ENTER = 425, 426  # system calls, the same on every architecture
_OP_CONNECT = 16
IN_A_WORKER = 1 << 4  # IOSQE_ASYNC
_GETEVENTS = 1
_OFF_SQ_RING, _OFF_CQ_RING, _OFF_SQES = 0, 0x8000000, 0x10000000
# struct io_uring_params: entries of both rings, then what is not used here; then the offsets in
# the ring of submissions (head tail mask entries flags dropped array), and of completions
# (head tail mask entries overflow cqes).
_PARAMS = struct.Struct("=2I 32x 7I 12x 6I 16x")
_SQE = struct.Struct("=BBHiQQI 36x")  # opcode flags ioprio fd off addr len
_CQE = struct.Struct("=QiI")  # user_data res flags


def lacking() -> str:
    """Return what this kernel has not, nothing where it lets this user use io_uring."""
    try:
        os.close(_setup(ctypes.create_string_buffer(_PARAMS.size)))
    except OSError:
        return "this kernel has no io_uring"
    return ""


def connect(sock: socket.socket, address: str, port: int, flags: int = 0) -> int:
    """Connect and wait for the end; return the errno, 0 for success."""
    params = ctypes.create_string_buffer(_PARAMS.size)
    ring = _setup(params)
    try:
        entries, completions, *rest = _PARAMS.unpack(params.raw)
        submission, completion = rest[:7], rest[7:]
        sq = mmap.mmap(ring, submission[6] + entries * 4, offset=_OFF_SQ_RING)
        cq = mmap.mmap(ring, completion[5] + completions * _CQE.size, offset=_OFF_CQ_RING)
        sqes = mmap.mmap(ring, entries * _SQE.size, offset=_OFF_SQES)
        packed = _sockaddr(address, port)
        name = ctypes.create_string_buffer(packed, len(packed))
        fields = (_OP_CONNECT, flags, 0, sock.fileno(), len(packed), ctypes.addressof(name), 0)
        _SQE.pack_into(sqes, 0, *fields)
        struct.pack_into("=I", sq, submission[6], 0)
        struct.pack_into("=I", sq, submission[1], 1)
        if LIBC.syscall(_ENTER, ring, 1, 1, _GETEVENTS, None, 0) != 1:
            raise OSError(ctypes.get_errno(), "io_uring_enter")
        return -int(_CQE.unpack_from(cq, completion[5])[1])
    finally:
        os.close(ring)


def _setup(params: ctypes.Array[ctypes.c_char]) -> int:
    ring = LIBC.syscall(_SETUP, 1, params)
    if ring < 0:
        raise OSError(ctypes.get_errno(), "io_uring_setup")
    return int(ring)


def _sockaddr(address: str, port: int) -> bytes:
    if ":" in address:
        packed = socket.inet_pton(socket.AF_INET6, address)
        return struct.pack("=H", socket.AF_INET6) + struct.pack("!HI16sI", port, 0, packed, 0)
    packed = socket.inet_pton(socket.AF_INET, address)
    return struct.pack("=H", socket.AF_INET) + struct.pack("!H4s8x", port, packed)
