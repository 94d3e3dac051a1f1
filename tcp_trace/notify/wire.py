"""The sockets of one exchange: counted, and cut off from outside.

`http.client` bounds a status line and the number of headers, and neither how many informational
answers come first, nor a chunk's size line or trailer, which urllib3 reads by itself. So the bytes
are counted below the buffer that all of them read from, in one count for the whole exchange: an
answer, those before it, and what a proxy answers to CONNECT. Under TLS they are counted decrypted.
"""

from __future__ import annotations

import errno
import io
import socket
import threading
from http.client import HTTPResponse, parse_headers
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MAX_BYTES = 65_536
"""Bytes of an exchange that are read, all in all."""

_KEPT_HEADERS = frozenset({"content-length", "retry-after", "transfer-encoding"})
"""The headers that mean something here. The others would be decoded, parsed or kept as cookies."""


class AnswerTooLongError(OSError):
    """The other side has sent MAX_BYTES and goes on."""


class Wire:
    """The hold on the sockets of one exchange, from whichever thread."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._socket: socket.socket | None = None
        self._handles: list[socket.socket | io.RawIOBase] = []
        self._is_cut = False
        self._left = MAX_BYTES
        self.connected = False

    def adopt(self, connected: socket.socket) -> None:
        """Take hold of a socket just connected, before TLS wraps (and detaches) it."""
        with self._lock:
            if self._is_cut:
                connected.close()
                raise OSError(errno.ECANCELED, "cut off")
            self.release()
            self._socket = connected.dup()
            self._handles = [self._socket, connected]
            self.connected = True

    def cut(self) -> None:
        """Make every operation on the socket fail now; none is connected from now on."""
        with self._lock:
            self._is_cut = True
            if self._socket is not None:
                try:
                    self._socket.shutdown(socket.SHUT_RDWR)
                except OSError as error:
                    if error.errno != errno.ENOTCONN:  # the peer was first
                        raise

    def release(self) -> None:
        """Close all that is open of a socket: urllib3 forgets some where a proxy fails."""
        with self._lock:
            self._socket = None
            for handle in self._handles:
                handle.close()
            self._handles = []

    def file_of(self, sock: Any) -> io.BufferedReader:  # noqa: ANN401 - a socket, or TLS within TLS
        """Return a buffered file of what comes, counted below the buffer."""
        raw = _Counted(self, sock.makefile("rb", buffering=0))
        with self._lock:
            self._handles.insert(0, raw)
        return io.BufferedReader(raw)

    def read(self, raw: io.RawIOBase, buffer: WriteableBuffer) -> int | None:
        """Read from `raw` as much as may still be read; raise AnswerTooLongError for none.

        A socket that was shut down here reads as ended in order: that must not pass for the end
        of an answer.
        """
        if self._left <= 0:
            raise AnswerTooLongError(errno.EMSGSIZE, "the answer is too long")
        count: int | None = raw.readinto(memoryview(buffer)[: self._left])
        if self._is_cut:
            raise OSError(errno.ECANCELED, "cut off")
        self._left -= count or 0
        return count

    def hold(self, manager: Any) -> None:  # noqa: ANN401 - urllib3's types differ between versions
        """Derive the connections of a pool manager of urllib3, so that this wire has them all.

        By deriving from what is there this holds for urllib3 1.26 and 2 alike, and for proxies.
        """
        pools = manager.pool_classes_by_scheme
        manager.pool_classes_by_scheme = {name: self._derive(pool) for name, pool in pools.items()}

    def _derive(self, pool: Any) -> Any:  # noqa: ANN401
        base = pool.ConnectionCls

        def _new_conn(connection: Any) -> Any:  # noqa: ANN401
            connected = base._new_conn(connection)  # noqa: SLF001
            self.adopt(connected)
            return connected

        def response_class(sock: Any, *args: Any, **kwargs: Any) -> _Response:  # noqa: ANN401
            return _Response(cast("socket.socket", _Source(self, sock)), *args, **kwargs)

        own = {"_new_conn": _new_conn, "response_class": staticmethod(response_class)}
        return type(pool.__name__, (pool,), {"ConnectionCls": type(base.__name__, (base,), own)})


class _Source:
    """What an HTTPResponse takes for a socket: it asks for a file and for nothing else."""

    def __init__(self, wire: Wire, sock: Any) -> None:  # noqa: ANN401 - a socket, or TLS within TLS
        self._wire = wire
        self._sock = sock

    def makefile(self, _mode: str) -> io.BufferedReader:
        return self._wire.file_of(self._sock)


class _Counted(io.RawIOBase):
    """A socket's raw file, as far as the wire lets it be read."""

    def __init__(self, wire: Wire, raw: io.RawIOBase) -> None:
        self._wire = wire
        self._raw = raw

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        return self._wire.read(self._raw, buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(HTTPResponse):
    """An answer of which only the final status and the headers that are needed are passed on."""

    def _read_status(self) -> tuple[str, int, str]:
        """Skip every informational answer: `http.client` takes all but 100 for the final one."""
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc] # not in typeshed
            if not 100 < status < 200:
                return version, status, reason
            parse_headers(self.fp)

    def begin(self) -> None:
        super().begin()
        for name in set(self.headers):
            if name.lower() not in _KEPT_HEADERS:
                del self.headers[name]
