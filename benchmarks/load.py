"""Make N connects, C of them at a time, to this host's own loopback, and tell how long it took.

    python3 -m benchmarks.load --connects 5000
    python3 -m benchmarks.load --connects 1000 --refused

The connects go in turn to a few addresses of 127.0.0.0/8 and to no other network, so that none
runs out of local ports. Each is closed as soon as its outcome is known; a listener in a child
process accepts and closes after the client did. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import select
import signal
import socket
import sys
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OPEN_PORT = 20_080
REFUSED_PORT = 20_081
"""Below the range of local ports, so that neither is somebody's own port by chance."""

_ADDRESSES = tuple(f"127.0.0.{last}" for last in range(1, 9))
_MAX_CONNECTS = 1_000_000
_MAX_CONCURRENT = 1_000
_BACKLOG = 4_096
_PATIENCE = 60.0  # seconds without any outcome after which the rest counts as failed


class Load:
    """The clients. `established` and `refused` count outcomes, `other` all further errors."""

    def __init__(self, port: int, connects: int, concurrent: int) -> None:
        self.established = self.refused = self.other = 0
        self._port = port
        self._left = connects
        self._concurrent = concurrent
        self._epoll = select.epoll()
        self._open: dict[int, socket.socket] = {}

    def run(self) -> float:
        """Make all connects and return the seconds from the first one to the last outcome."""
        started = time.monotonic()
        while self._left or self._open:
            while self._left and len(self._open) < self._concurrent:
                self._begin()
            ready = self._epoll.poll(_PATIENCE)
            if not ready:
                break
            for descriptor, _ in ready:
                self._end(descriptor)
        self.other += self._left + len(self._open)
        return time.monotonic() - started

    def _begin(self) -> None:
        self._left -= 1
        client = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        code = client.connect_ex((_ADDRESSES[self._left % len(_ADDRESSES)], self._port))
        if code == errno.EINPROGRESS:
            self._open[client.fileno()] = client
            self._epoll.register(client.fileno(), select.EPOLLOUT)
        else:
            self._count(code)
            client.close()

    def _end(self, descriptor: int) -> None:
        client = self._open.pop(descriptor)
        self._count(client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
        client.close()

    def _count(self, code: int) -> None:
        if code == 0:
            self.established += 1
        elif code == errno.ECONNREFUSED:
            self.refused += 1
        else:
            self.other += 1


@contextmanager
def listening(port: int) -> Iterator[None]:
    """Accept connections to every address in a child process."""
    with ExitStack() as stack:
        servers = [
            stack.enter_context(socket.create_server((address, port), backlog=_BACKLOG))
            for address in _ADDRESSES
        ]
        child = os.fork()
        if child == 0:
            _accept(servers)
    try:
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@contextmanager
def refusing(port: int) -> Iterator[None]:
    """Keep a port that nobody listens on: whoever connects is refused."""
    with ExitStack() as stack:
        for address in _ADDRESSES:
            holder = stack.enter_context(socket.socket())
            holder.bind((address, port))
        yield


def _accept(servers: list[socket.socket]) -> None:
    """Accept, wait for the client to close, close; until killed."""
    epoll = select.epoll()
    listeners = {server.fileno(): server for server in servers}
    for server in servers:
        server.settimeout(0)
        epoll.register(server.fileno(), select.EPOLLIN)
    while True:
        for descriptor, _ in epoll.poll():
            if descriptor not in listeners:
                os.close(descriptor)
                continue
            try:
                connection, _ = listeners[descriptor].accept()
            except BlockingIOError:
                continue
            epoll.register(connection.detach(), select.EPOLLIN)


def _bounded(limit: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        number = int(text)
        if not 1 <= number <= limit:
            raise argparse.ArgumentTypeError(f"must be from 1 to {limit}")
        return number

    return parse


def main(argv: list[str] | None = None) -> int:
    """Run the load of the command line `argv` and print what came of it."""
    parser = argparse.ArgumentParser(prog="python3 -m benchmarks.load", description=__doc__)
    parser.add_argument("--connects", type=_bounded(_MAX_CONNECTS), default=5_000)
    parser.add_argument("--concurrent", type=_bounded(_MAX_CONCURRENT), default=100)
    parser.add_argument("--refused", action="store_true", help="to a port that refuses")
    options = parser.parse_args(argv)
    port = REFUSED_PORT if options.refused else OPEN_PORT
    load = Load(port, options.connects, options.concurrent)
    with refusing(port) if options.refused else listening(port):
        seconds = load.run()
    told = {
        "seconds": round(seconds, 3),
        "established": load.established,
        "refused": load.refused,
        "other": load.other,
    }
    print(json.dumps(told), flush=True)
    return 1 if load.other else 0


if __name__ == "__main__":
    sys.exit(main())
