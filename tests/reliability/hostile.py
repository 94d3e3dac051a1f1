"""A server that answers any request with whatever bytes it is told to, for as long as they last."""

from __future__ import annotations

import itertools
import socket
import threading
from typing import TYPE_CHECKING

from tests.webhook import Loopback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


def endless(first: bytes, again: bytes) -> Callable[[], Iterator[bytes]]:
    """Return what makes a stream of one beginning, and then the same for ever."""
    block = again * max(1, 16_384 // len(again))
    return lambda: itertools.chain([first], itertools.repeat(block))


def drip(first: bytes, again: bytes = b"x") -> Callable[[], Iterator[bytes]]:
    """Return what makes a stream that goes on byte by byte."""

    def stream() -> Iterator[bytes]:
        yield first
        pause = threading.Event()
        for byte in itertools.cycle(again):
            pause.wait(0.02)
            yield bytes([byte])

    return stream


# Too much, as fast as the connection takes it: it has to end long before the deadline.
FLOODS = {
    "status line": endless(b"HTTP/1.1 200 ", b"x"),
    "garbage": endless(b"", b"\x00\xff"),
    "empty lines": endless(b"", b"\r\n"),
    "a header": endless(OK + b"X: ", b"x"),
    "a folded header": endless(OK + b"X: y\r\n", b" x\r\n"),
    "headers": endless(OK, b"X-Header: value\r\n"),
    "cookies": endless(OK, b"Set-Cookie: a=b; expires=" + b" " * 3000 + b"\r\n"),
    "100 Continue": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "100 Continue with headers": endless(b"", b"HTTP/1.1 100 Continue\r\nX: y\r\n\r\n"),
    "103 Early Hints": endless(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"),
    "199": endless(b"", b"HTTP/1.1 199 x\r\n\r\n"),
    "headers of a 100": endless(b"HTTP/1.1 100 Continue\r\n", b"X-Header: value\r\n"),
    "a chunk's size": endless(CHUNKED, b"0"),
    "a chunk's extension": endless(CHUNKED + b"1;", b"x"),
    "extensions": endless(CHUNKED, b"1;" + b"x" * 4000 + b"\r\no\r\n"),
    "a trailer": endless(CHUNKED + b"2\r\nok\r\n0\r\nX: ", b"x"),
    "trailers": endless(CHUNKED + b"2\r\nok\r\n0\r\n", b"X-Trailer: value\r\n"),
}
# Each stays open after its last byte, or goes on slowly: only the deadline ends it.
DRIPS = {
    "nothing": drip(b"HTTP/1.1 200", b" "),
    "a header byte by byte": drip(OK + b"X: "),
    "a body byte by byte": drip(OK + b"Content-Length: 99\r\n\r\nok"),
    "a chunk's size byte by byte": drip(CHUNKED, b"0"),
    "100 Continue now and then": drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
}
# What ends by itself, with what it may mean.
ODDITIES = {
    "no answer": b"",
    "no status": b"HTTP/1.1\r\n\r\n",
    "a status of letters": b"HTTP/1.1 abc OK\r\n\r\n",
    "a huge status": b"HTTP/1.1 99999999999 OK\r\n\r\n",
    "a negative status": b"HTTP/1.1 -200 OK\r\n\r\n",
    "HTTP/0.9": b"ok",
    "HTTP/9.9": b"HTTP/9.9 200 OK\r\n\r\nok",
    "a negative length": OK + b"Content-Length: -1\r\n\r\nno",
    "a huge length": OK + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\nno",
    "two lengths": OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nno",
    "two lengths in one": OK + b"Content-Length: 2, 3\r\n\r\nno",
    "a length of letters": OK + b"Content-Length: two\r\n\r\nno",
    "a length and chunks": CHUNKED[:-2] + b"Content-Length: 7\r\n\r\n2\r\nno\r\n0\r\n\r\n",
    "a negative chunk": CHUNKED + b"-5\r\nno\r\n0\r\n\r\n",
    "a huge chunk": CHUNKED + b"f" * 4000 + b"\r\nno",
    "a chunk of letters": CHUNKED + b"xyz\r\nno\r\n",
    "a body that is no gzip": OK + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\nno",
    "a body of 99 encodings": OK + b"Content-Encoding: " + b"gzip, " * 99 + b"br\r\n\r\nno",
    "a charset": OK + b"Content-Type: text/plain; charset=\xff\x00rot13\r\n\r\nno",
    "101 headers": OK + b"X: y\r\n" * 101 + b"\r\nno",
    "a header without a name": OK + b": y\r\n\r\nno",
    "a header that is no header": OK + b"broken line\r\n\r\nno",
    "NUL in a header": OK + b"X\x00: \x00\r\n\r\nno",
    "switching protocols": b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    "a redirect to nonsense": b"HTTP/1.1 302 Found\r\nLocation: http://[\xff\r\n\r\n",
    "a long Retry-After": b"HTTP/1.1 429 x\r\nRetry-After: " + b"9" * 60_000 + b"\r\n\r\n",
    "a date of letters": b"HTTP/1.1 429 x\r\nRetry-After: Mon, 99 Zzz -1 99:99:99\r\n\r\n",
    "deep JSON": OK + b"\r\n" + b"[" * 60_000,
}


class Hostile(Loopback):
    """A server; each connection gets the stream that `stream` makes.

    With `certificate` it speaks TLS; with `proxy` it answers CONNECT first, as a proxy does.
    """

    def __init__(
        self,
        stream: Callable[[], Iterable[bytes]],
        certificate: Path | None = None,
        *,
        proxy: bool = False,
    ) -> None:
        super().__init__(certificate)
        self.stream = stream
        self.requests: list[bytes] = []
        self.proxy = proxy

    def answer(self, connection: socket.socket) -> None:
        """Send the stream until it ends, the client has enough, or the test is over."""
        connection.settimeout(5)
        if self.proxy:
            self.requests.append(connection.recv(65_536))
            connection.sendall(ESTABLISHED)
        with self.secured(connection) as secured:
            self.requests.append(secured.recv(65_536))
            for part in self.stream():
                if self.closing.is_set():
                    return
                secured.sendall(part)
            secured.shutdown(socket.SHUT_WR)
