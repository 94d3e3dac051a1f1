"""Connects with a known end, made from this process."""

from __future__ import annotations

import errno
import select
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

ResultT = TypeVar("ResultT")

GIVE_UP_SECONDS = 0.3
_LONGER_THAN_ANY_SECONDS = 120.0
AT_ONCE = 64

SYN_REPEATS = 6
"""SYNs repeated where the kernel must not give up first: it does after 127 s."""
_SYN_SENT = 2


def family_of(address: str) -> int:
    """Return the address family of a literal."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def begun(address: str, port: int, repeats: int = SYN_REPEATS) -> socket.socket:
    """Return a socket that connects, and repeats its SYN so often until the kernel gives up."""
    sock = socket.socket(family_of(address))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT, repeats)
    sock.settimeout(0)
    sock.connect_ex((address, port))
    return sock


def is_connecting(sock: socket.socket) -> bool:
    """Tell whether an attempt is in flight."""
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _SYN_SENT


def wait_for_the_end(sock: socket.socket) -> int:
    """Wait until the kernel gives up; return the error, and close the socket."""
    with sock:
        poller = select.poll()
        poller.register(sock, select.POLLERR)
        assert poller.poll(60_000)
        return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


def attempt(
    address: str,
    port: int,
    *,
    blocking: bool = True,
    patience: float | None = None,
    lasts: bool = False,
) -> int:
    """Connect once, then close; return the errno that the application saw, 0 for success.

    With `patience` (seconds) the application gives up itself: then it sees EINPROGRESS. With that
    or where it `lasts`, the kernel repeats SYNs for minutes, however late application or peer are.
    """
    with socket.socket(family_of(address)) as sock:
        if lasts or patience is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT, SYN_REPEATS)
        return connect(sock, address, port, blocking=blocking, patience=patience)


def attempt_from(source: str, address: str, port: int, *, blocking: bool) -> tuple[int, int]:
    """Connect once from an address of this host's; return the errno and the local port.

    The kernel gives the port of an attempt that failed to the next one, also before the socket is
    closed. A port that was bound is kept, and so it can be known afterwards.
    """
    with socket.socket(family_of(address)) as sock:
        sock.bind((source, 0))
        lport: int = sock.getsockname()[1]
        return connect(sock, address, port, blocking=blocking), lport


def connect(
    sock: socket.socket,
    address: str,
    port: int,
    *,
    blocking: bool = True,
    patience: float | None = None,
) -> int:
    """Connect a socket; see `attempt`."""
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


class GivenUp(NamedTuple):
    """An attempt that the application gave up: its local port, and bounds of the time it took."""

    lport: int
    least_ms: float
    most_ms: float


def give_up(address: str, port: int, *, blocking: bool) -> GivenUp:
    """Connect to where nobody answers, and give up.

    The kernel counts SO_SNDTIMEO in ticks: one that lost some ends a connect() early. So a blocking
    connect() has no lower bound. Elsewhere the attempt has begun when connect() returns.
    """
    with socket.socket(family_of(address)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT, SYN_REPEATS)
        before = time.monotonic()
        if blocking:
            result = _attempt_blocking(sock, address, port, GIVE_UP_SECONDS)
            begun = time.monotonic()
        else:
            sock.settimeout(0)
            result = sock.connect_ex((address, port))
            begun = time.monotonic()
            time.sleep(GIVE_UP_SECONDS)
        assert (result, is_connecting(sock)) == (errno.EINPROGRESS, True)
        lport = sock.getsockname()[1]
        least = time.monotonic() - begun
    return GivenUp(lport, least * 1000, (time.monotonic() - before) * 1000)


def many(times: int, make: Callable[[], ResultT]) -> list[ResultT]:
    """Make attempts at once and return their results. Threads stay in this thread's namespace."""
    with ThreadPoolExecutor(min(times, AT_ONCE)) as pool:
        return list(pool.map(lambda _: make(), range(times)))
