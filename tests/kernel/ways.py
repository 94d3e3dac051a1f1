"""Ways to connect that are not just connect(): each returns the errnos that the application saw."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from tcp_trace.commands import sandbox
from tcp_trace.commands.sandbox import CLIENT, CLIENT6
from tcp_trace.connects.races import END
from tests.kernel import uring
from tests.kernel.connects import (
    GIVE_UP_SECONDS,
    attempt,
    begun,
    family_of,
    is_connecting,
    many,
)
from tests.libc import LIBC

if TYPE_CHECKING:
    from collections.abc import Callable

TIMES = 23
IPPROTO_MPTCP = 262
_CLONE_NEWNET = 0x40000000
_FASTOPEN_CONNECT, _FASTOPEN_NO_COOKIE = 30, 34
_RACES_MOST = 20 * TIMES


def disconnect(address: str, port: int) -> list[int]:
    """Give up by `connect(AF_UNSPEC)`, which leaves the socket open."""
    with begun(address, port) as sock:
        time.sleep(GIVE_UP_SECONDS)
        unspecify(sock)
        return [errno.EINPROGRESS]


def fast_open(address: str, port: int) -> list[int]:
    """Connect by sending."""
    with socket.socket(family_of(address)) as sock:
        try:
            sock.sendto(b"x", socket.MSG_FASTOPEN, (address, port))
        except OSError as error:
            return [error.errno or 0]
        return [0]


def deferred(address: str, port: int) -> list[int]:
    """Connect by the first write, and close before there is one."""
    with _deferred(address) as sock:
        return [sock.connect_ex((address, port))]


def deferred_without_a_route(address: str, port: int) -> list[int]:
    """Connect by the first write, in a network namespace whose route is gone by then."""

    def once() -> int:
        with _deferred(address) as sock:
            sandbox.run("ip", "route", "add", address.removeprefix("::ffff:"), "dev", "lo")
            if sock.connect_ex((address, port)):
                raise OSError("a deferred connect() does nothing")
            sandbox.run("ip", "route", "del", address.removeprefix("::ffff:"), "dev", "lo")
            return _error_of(sock)

    def inside() -> list[int]:
        for command in ("link set lo up", f"address add {CLIENT} dev lo",
                        f"address add {CLIENT6} dev lo nodad"):  # fmt: skip
            sandbox.run("ip", *command.split())
        return [once() for _ in range(TIMES)]

    return _in_a_namespace(inside)


def takes_the_error(address: str, port: int) -> list[int]:
    """Take an error out of a socket as soon as it is there, and wait for what the kernel does."""
    level, option = (41, 25) if family_of(address) == socket.AF_INET6 else (0, 11)  # RECVERR
    with socket.socket(family_of(address)) as sock:
        sock.setsockopt(level, option, 1)
        if ":ffff:" in address:
            sock.setsockopt(0, 11, 1)
        sock.settimeout(0)
        sock.connect_ex((address, port))
        poller = select.poll()
        poller.register(sock, select.POLLOUT)
        poller.poll(60_000)
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        while is_connecting(sock):
            time.sleep(0.1)
        return [error]


def mptcp(address: str, port: int) -> list[int]:
    """Connect by MPTCP, whose subflow is a TCP socket of the kernel's."""
    with socket.socket(family_of(address), socket.SOCK_STREAM, IPPROTO_MPTCP) as sock:
        return [sock.connect_ex((address, port))]


def io_uring(address: str, port: int) -> list[int]:
    """Connect by io_uring, as it goes about it itself."""
    with socket.socket(family_of(address)) as sock:
        return [uring.connect(sock, address, port)]


def io_uring_worker(address: str, port: int) -> list[int]:
    """Connect by io_uring, which is told to use a thread of its own."""
    with socket.socket(family_of(address)) as sock:
        return [uring.connect(sock, address, port, uring.IN_A_WORKER)]


def v6_only(address: str, port: int) -> list[int]:
    """Connect to a v4-mapped address from a socket that may not."""
    with socket.socket(socket.AF_INET6) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        return [sock.connect_ex((address, port))]


def again(address: str, port: int) -> list[int]:
    """Connect one socket to where nobody listens, twice, and then to where somebody does."""
    with socket.socket(family_of(address)) as sock:
        return [sock.connect_ex((to, port)) for to in (own(address), own(address), address)]


def from_a_port_in_use(address: str, port: int) -> list[int]:
    """Connect two sockets to one address, from one port."""
    with _bound(own(address), 0) as first:
        seen = first.connect_ex((address, port))
        with _bound(own(address), first.getsockname()[1]) as second:
            return [seen, second.connect_ex((address, port))]


def gives_up_then(
    nowhere: str, give_up: Callable[[socket.socket], None], address: str, port: int
) -> list[int]:
    """Give up, and connect to `nowhere` by a socket that mostly lies where the first one lay."""
    seen = []
    for _ in range(TIMES):
        with begun(address, port) as first:
            give_up(first)
        with socket.socket(family_of(nowhere)) as sock:
            seen += [errno.EINPROGRESS, sock.connect_ex((nowhere, port))]
    return seen


def shut_down(sock: socket.socket) -> None:
    """Give up by shutdown(), which an application may well do before it closes."""
    with contextlib.suppress(OSError):  # it is not connected
        sock.shutdown(socket.SHUT_RDWR)


def unspecify(sock: socket.socket) -> None:
    """Give up by `connect(AF_UNSPEC)`."""
    if LIBC.connect(sock.fileno(), bytes(16), 16):
        raise OSError("connect(AF_UNSPEC)")


def killed(address: str, port: int) -> list[int]:
    """Let a process be killed while it connects."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        sock = begun(address, port)
        os.write(write_end, b"x")
        signal.pause()
        sock.close()
    select.select([read_end], [], [], 60)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(read_end)
    os.close(write_end)
    return [errno.EINPROGRESS]


def races(loser: str, winner: str, port: int, late: set[int]) -> list[int]:
    """Begin with one address, win by another, and close the loser at once, `TIMES` times in time.

    A loser that is closed too late may be taken for a failure, and its race is run again: `late`
    gets its local port.
    """
    seen: list[int] = []
    for _ in range(_RACES_MOST):
        before = time.monotonic()
        sock = begun(loser, port)
        lport = sock.getsockname()[1]
        won = attempt(winner, port)
        sock.close()
        if time.monotonic() - before >= END:
            late.add(lport)
        else:
            seen += [errno.EINPROGRESS, won]
        if len(seen) == 2 * TIMES:
            return seen
    raise AssertionError(f"{len(late)} of {_RACES_MOST} races were late: this machine is too slow")


def without_local_ports(address: str, port: int, *, blocking: bool) -> list[int]:
    """Connect in a network namespace of its own, where all ephemeral ports are in use."""

    def inside() -> list[int]:
        sandbox.run("ip", "link", "set", "lo", "up")
        Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("40000 40001")
        with contextlib.ExitStack() as stack:
            stack.enter_context(_listening(address, port))
            for _ in range(2):
                stack.enter_context(begun(address, port))
            time.sleep(0.1)
            return many(TIMES, lambda: attempt(address, port, blocking=blocking))

    return _in_a_namespace(inside)


def never_accepted(address: str, port: int) -> list[int]:
    """Connect to a listener that closes before it accepts."""
    with contextlib.ExitStack() as stack, _listening(address, port):
        held = [stack.enter_context(socket.socket(family_of(address))) for _ in range(TIMES)]
        return [sock.connect_ex((address, port)) for sock in held]


def _in_a_namespace(function: Callable[[], list[int]]) -> list[int]:
    """Call a function in a network namespace of its own."""

    def inside() -> list[int]:
        if LIBC.unshare(_CLONE_NEWNET):
            raise OSError("unshare")
        return function()

    with ThreadPoolExecutor(1) as thread:  # it has left its namespace for good
        return thread.submit(inside).result()


def _deferred(address: str) -> socket.socket:
    """Return a socket that connects by its first write, and needs no cookie for that."""
    sock = socket.socket(family_of(address))
    for option in (_FASTOPEN_CONNECT, _FASTOPEN_NO_COOKIE):
        sock.setsockopt(socket.IPPROTO_TCP, option, 1)
    return sock


def _error_of(sock: socket.socket) -> int:
    try:
        sock.send(b"x")
    except OSError as error:
        return error.errno or 0
    return 0


def own(address: str) -> str:
    """Return the client's address of an address's kind."""
    if address.startswith("::ffff:"):
        return f"::ffff:{CLIENT}"
    return CLIENT6 if ":" in address else CLIENT


def _bound(address: str, port: int) -> socket.socket:
    sock = socket.socket(family_of(address))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((address, port))
    return sock


def _listening(address: str, port: int) -> socket.socket:
    sock = _bound(address, port)
    sock.listen(2 * TIMES)
    return sock
