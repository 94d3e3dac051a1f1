"""A webhook to test against: a real HTTP or HTTPS server on loopback that answers by a script.

Used by the tests and by the demo. Each request takes the next `Reply` of the script; after the
last one every request is answered `ok`, as Slack does.
"""

from __future__ import annotations

import contextlib
import json
import socket
import socketserver
import ssl
import struct
import subprocess
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, NamedTuple, Self, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

SECRET = "/services/T0SECRET/B0SECRET/xoxSECRETxox"
"""The path of every test webhook: what must never be seen anywhere."""


class Behaviour(Enum):
    """What happens to the connection around the answer."""

    NORMAL = auto()
    RESET_AT_ONCE = auto()  # no answer, only a reset
    RESET_BEFORE_BODY = auto()
    RESET_AFTER_BODY = auto()
    CUT_BODY_SHORT = auto()  # closed in order, one byte too early
    DRIP_HEAD = auto()  # a byte at a time, for ever
    DRIP_BODY = auto()
    HANG = auto()  # takes the request and says nothing


@dataclass(frozen=True)
class Reply:
    """One answer; `every` is the time between two dripped bytes in seconds."""

    status: int = 200
    body: bytes = b"ok"
    headers: Mapping[str, str] = field(default_factory=dict)
    behaviour: Behaviour = Behaviour.NORMAL
    every: float = 0.05

    @property
    def head(self) -> bytes:
        """The status line and the headers."""
        lines = [f"HTTP/1.1 {self.status} Reason", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if "Content-Length" not in self.headers:
            lines.append(f"Content-Length: {len(self.body)}")
        return "\r\n".join([*lines, "", ""]).encode()


class Received(NamedTuple):
    """One request; `at` is in seconds of CLOCK_MONOTONIC."""

    at: float
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def payload(self) -> Any:  # noqa: ANN401 - JSON is anything
        """What the body says."""
        return json.loads(self.body)


class Loopback:
    """A server in a thread of its own, and one for each connection; use it with `with`.

    With `certificate` (a file with key and certificate) it speaks TLS. `port` 0 takes any.
    """

    def __init__(self, certificate: Path | None = None, port: int = 0) -> None:
        self.closing = threading.Event()
        self.context: ssl.SSLContext | None = None
        if certificate is not None:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(certificate)
        self._server = _Server(self, port)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def answer(self, connection: socket.socket) -> None:
        """Serve one connection, which is closed afterwards; OSError ends it."""
        raise NotImplementedError

    def secured(self, connection: socket.socket) -> socket.socket:
        """Return the connection as it is, or over TLS."""
        return (
            self.context.wrap_socket(connection, server_side=True) if self.context else connection
        )

    @property
    def port(self) -> int:
        """The port on 127.0.0.1."""
        return self._server.server_address[1]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Webhook(Loopback):
    """A webhook that answers by a script."""

    def __init__(
        self, script: Iterable[Reply] = (), certificate: Path | None = None, port: int = 0
    ) -> None:
        super().__init__(certificate, port)
        self.received: list[Received] = []
        self.script = deque(script)
        self.default = Reply()
        self._arrived = threading.Condition()

    @property
    def url(self) -> str:
        """The address to post to."""
        scheme = "https" if self.context else "http"
        return f"{scheme}://127.0.0.1:{self.port}{SECRET}"

    def take(self, request: Received) -> Reply:
        """Record a request and return the answer to it."""
        with self._arrived:
            self.received.append(request)
            self._arrived.notify_all()
            return self.script.popleft() if self.script else self.default

    def wait_for(self, count: int, timeout: float = 60.0) -> list[Received]:
        """Return what was received once there are `count` requests, or when time is up."""
        with self._arrived:
            self._arrived.wait_for(lambda: len(self.received) >= count, timeout)
            return list(self.received)

    def answer(self, connection: socket.socket) -> None:
        """Answer one request."""
        with self.secured(connection) as secured:
            with secured.makefile("rb") as stream:
                request = _read(stream)
            if request is not None:
                self._reply(secured, self.take(request))

    def _reply(self, connection: socket.socket, reply: Reply) -> None:
        match reply.behaviour:
            case Behaviour.HANG:
                self.closing.wait(60)
            case Behaviour.RESET_AT_ONCE:
                _reset_on_close(connection)
            case Behaviour.RESET_BEFORE_BODY:
                connection.sendall(reply.head)
                time.sleep(0.05)  # so that the head is read before the reset throws it away
                _reset_on_close(connection)
            case Behaviour.RESET_AFTER_BODY:
                connection.sendall(reply.head + reply.body)
                time.sleep(0.05)
                _reset_on_close(connection)
            case Behaviour.CUT_BODY_SHORT:
                connection.sendall(reply.head + reply.body[:-1])
            case Behaviour.DRIP_HEAD:
                self._drip(connection, reply.head[:-4] + b"\r\nX-Drip: ", reply.every)
            case Behaviour.DRIP_BODY:
                head = reply.head.replace(b"Content-Length: 2", b"Content-Length: 9999")
                connection.sendall(head)
                self._drip(connection, b"", reply.every)
            case Behaviour.NORMAL:
                connection.sendall(reply.head + reply.body)

    def _drip(self, connection: socket.socket, first: bytes, every: float) -> None:
        for byte in first:
            connection.sendall(bytes([byte]))
        while not self.closing.wait(every):
            connection.sendall(b"x")


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    # Closing waits for the handlers, which `closing` ends: no thread outlives its test.
    daemon_threads = False
    block_on_close = True

    def __init__(self, loopback: Loopback, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.loopback = loopback


class _Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        connection: socket.socket = self.request
        connection.settimeout(10)
        try:
            with contextlib.suppress(OSError):  # the client went away, or refused: its right
                cast("_Server", self.server).loopback.answer(connection)
        finally:
            connection.close()


def _read(stream: Any) -> Received | None:  # noqa: ANN401 - a buffered socket file
    line = stream.readline(65_536).decode("latin-1")
    if not line:
        return None
    headers: dict[str, str] = {}
    while (header := stream.readline(65_536).decode("latin-1").strip()) != "":
        name, _, value = header.partition(":")
        headers[name.strip().title()] = value.strip()
    length = int(headers.get("Content-Length", "0"))
    body = stream.read(length)
    if len(body) < length:  # the sender ended in the middle: nothing was delivered
        return None
    method, path, *_ = line.split()
    return Received(time.monotonic(), method, path, headers, body)


def _reset_on_close(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def make_certificate(folder: Path, host: str = "127.0.0.1") -> Path:
    """Make a self-signed certificate for an address with openssl; return key and certificate."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    command += ["-subj", f"/CN={host}", "-addext", f"subjectAltName=IP:{host}"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    both = folder / "both.pem"
    both.write_bytes(key.read_bytes() + certificate.read_bytes())
    return both
