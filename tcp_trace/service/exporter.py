"""The little of HTTP that Prometheus needs, in one thread.

Everybody on the host can connect, and as often as they like. So there is one thread, a few
connections at a time, each for a few seconds, and a bound on a request. When all are taken, the
oldest makes place for the newest: a prompt request gets a prompt answer.
"""

from __future__ import annotations

import logging
import re
import selectors
import socket
import time
from typing import TYPE_CHECKING, NamedTuple

from tcp_trace.threads import Worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from tcp_trace.settings.values import Address

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 8
MAX_REQUEST = 8_192
"""Bytes of a request, with all its headers."""
PATIENCE = 5.0
"""Seconds that a connection may last."""

_PATH = b"/metrics"
_END = b"\r\n\r\n"
_REQUEST = re.compile(rb"([A-Z]+) ([!-~]+) HTTP/1\.[01]\r\n")
# The pause after a failed accept (no descriptor is left).
_PAUSE = 0.2
# A pause between two connections: hasty clients must not take the time that the ring needs.
_REST = 0.005


class Page(NamedTuple):
    """The page for a scrape: `render` is called anew for each, by the exporter's thread."""

    content_type: str
    render: Callable[[], bytes]


class _Connection:
    """One client, until it has its answer."""

    def __init__(self, connected: socket.socket, until: float) -> None:
        connected.settimeout(0)
        self.socket = connected
        self.until = until
        self.request = b""
        self.answer = memoryview(b"")


class Exporter:
    """Serves one page at an address, at `/metrics`. Raises OSError where it cannot be bound."""

    def __init__(self, address: Address, page: Page) -> None:
        family, *_, where = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        self._page = page
        self._listener = socket.create_server(where[:2], family=family)
        self._listener.settimeout(0)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        # The oldest first.
        self._connections: dict[int, _Connection] = {}
        self._worker = Worker(self._run, "metrics")

    def start(self) -> bool:
        """Start to answer; return whether it does."""
        return self._worker.start()

    def retry(self) -> None:
        """Start the thread if the system had no room for it."""
        self._worker.retry()

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select(self._patience()):
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fd in self._connections:  # not closed since, for a newer one
                    self._serve(self._connections[key.fd])
            now = time.monotonic()
            for connection in [each for each in self._connections.values() if each.until <= now]:
                self._close(connection)
            time.sleep(_REST)

    def _patience(self) -> float | None:
        """Return the seconds until the oldest connection's time is up, None without any."""
        oldest = next(iter(self._connections.values()), None)
        return None if oldest is None else max(0.0, oldest.until - time.monotonic())

    def _accept(self) -> None:
        try:
            connected, _ = self._listener.accept()
        except (BlockingIOError, ConnectionError):  # it is gone already
            return
        except OSError as error:
            log.error("no metrics for now: %s", error.strerror)  # noqa: TRY400 - says it all
            time.sleep(_PAUSE)
            return
        if len(self._connections) >= MAX_CONNECTIONS:
            self._close(next(iter(self._connections.values())))
        connection = _Connection(connected, time.monotonic() + PATIENCE)
        self._connections[connected.fileno()] = connection
        self._selector.register(connected, selectors.EVENT_READ)

    def _close(self, connection: _Connection) -> None:
        del self._connections[connection.socket.fileno()]
        self._selector.unregister(connection.socket)
        connection.socket.close()

    def _serve(self, connection: _Connection) -> None:
        """Read or write as much as is possible without waiting."""
        try:
            if connection.answer:
                sent = connection.socket.send(connection.answer)
                connection.answer = connection.answer[sent:]
                is_over = not connection.answer
            else:
                is_over = self._read(connection)
        except BlockingIOError:
            return
        except OSError:  # the client went away
            is_over = True
        if is_over:
            self._close(connection)

    def _read(self, connection: _Connection) -> bool:
        """Take in a part of the request, and the answer to a whole one; tell if it has ended."""
        received = connection.socket.recv(MAX_REQUEST)
        connection.request += received
        if _END in connection.request or len(connection.request) >= MAX_REQUEST:
            connection.answer = memoryview(self._answer(connection.request))
            self._selector.modify(connection.socket, selectors.EVENT_WRITE)
        return not received

    def _answer(self, request: bytes) -> bytes:
        """Return the answer to a request, or to the beginning of one that is too long."""
        if len(request) > MAX_REQUEST or _END not in request:
            return _error("431 Request Header Fields Too Large")
        found = _REQUEST.match(request)
        if found is None:
            return _error("400 Bad Request")
        if found[1] != b"GET":
            return _error("405 Method Not Allowed", "Allow: GET\r\n")
        if found[2].partition(b"?")[0] != _PATH:
            return _error("404 Not Found")
        try:
            body = self._page.render()
        except Exception as error:  # noqa: BLE001 - whatever it is, the next scrape is answered
            log.error("no metrics for once: %s", type(error).__name__)  # noqa: TRY400 - see there
            return _error("500 Internal Server Error")
        head = f"Content-Type: {self._page.content_type}\r\nContent-Length: {len(body)}"
        return f"HTTP/1.1 200 OK\r\n{head}\r\nConnection: close\r\n\r\n".encode() + body


def _error(status: str, headers: str = "") -> bytes:
    return (
        f"HTTP/1.1 {status}\r\n{headers}Content-Length: 0\r\nConnection: close\r\n\r\n"
    ).encode()
