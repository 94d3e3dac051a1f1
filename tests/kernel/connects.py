"""Connects with a known end, made from this process."""

from __future__ import annotations

import errno
import select
import socket
import struct
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

ResultT = TypeVar("ResultT")

GIVE_UP_SECONDS = 0.3
_LONGER_THAN_ANY_SECONDS = 20.0
AT_ONCE = 64


def family_of(address: str) -> int:
    """Return the address family of a literal."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def attempt(
    address: str, port: int, *, blocking: bool = True, patience: float | None = None
) -> int:
    """Connect once, then close; return the errno that the application saw, 0 for success.

    With `patience` (seconds) the application gives up itself: then it sees EINPROGRESS.
    """
    with socket.socket(family_of(address)) as sock:
        if blocking:
            return _attempt_blocking(sock, address, port, patience)
        return _attempt_nonblocking(sock, address, port, patience)


def _attempt_blocking(sock: socket.socket, address: str, port: int, patience: float | None) -> int:
    if patience is not None:
        limit = struct.pack("ll", 0, int(patience * 1e6))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
    return sock.connect_ex((address, port))


def _attempt_nonblocking(
    sock: socket.socket, address: str, port: int, patience: float | None
) -> int:
    sock.settimeout(0)
    result = sock.connect_ex((address, port))
    if result != errno.EINPROGRESS:
        return result
    poller = select.poll()
    poller.register(sock, select.POLLOUT)
    seconds = _LONGER_THAN_ANY_SECONDS if patience is None else patience
    if not poller.poll(seconds * 1000):
        return errno.EINPROGRESS
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


def many(times: int, make: Callable[[], ResultT]) -> list[ResultT]:
    """Make attempts at once and return their results. Threads stay in this thread's namespace."""
    with ThreadPoolExecutor(min(times, AT_ONCE)) as pool:
        return list(pool.map(lambda _: make(), range(times)))
