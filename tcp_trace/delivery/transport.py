"""One HTTP POST with a deadline that holds for all of it.

The timeouts of `requests` are per socket operation: a peer that drips a byte every nine seconds
holds a request for ever, and name resolution has no timeout at all. So the POST runs in a thread of
its own, is waited for until the deadline, and is then cut off: its socket is shut down. What only a
resolver holds up cannot be cut; it is left behind, and `Post` starts no second one beside it.

The texts of the exceptions of `requests` and urllib3, and their log lines, contain the webhook's
path, which is the secret. So nothing here passes a text on: only names of classes and numbers.

Importing `requests` costs 4 MB resident: `slack.py` imports this module at its first send.
"""

from __future__ import annotations

import errno
import logging
import socket
import ssl
import sys
import threading
import warnings
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from tcp_trace import __version__
from tcp_trace.delivery.answers import Answer

# Of the two libraries that guess encodings, which nobody asks for here, `requests` loads both, and
# does with one: chardet's tables are 2.5 MB. It warns of versions of the other that it cannot know.
if find_spec("charset_normalizer") is not None:
    sys.modules.setdefault("chardet", None)  # type: ignore[arg-type]
with warnings.catch_warnings(action="ignore"):
    import requests
    from requests.adapters import HTTPAdapter

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BODY = 1024
"""Bytes of an answer that are read: no webhook says more that matters."""

GRACE = 0.5
"""Seconds after the deadline that a thread just cut off has to end, before it is left behind."""

_TIMEOUTS = (5.0, 10.0)
_HEADERS = {
    "Content-Type": "application/json; charset=utf-8",
    "User-Agent": f"tcp-trace/{__version__}",
    "Accept-Encoding": "identity",
    # Messages are rare: a kept connection would mostly be found dead by the next one.
    "Connection": "close",
}

# urllib3 logs the path of every request, and of answers it warns of. So its records are not made
# at all, and one from a logger of it with a level of its own finds no way to the root.
_urllib3_log = logging.getLogger("urllib3")
_urllib3_log.setLevel(logging.CRITICAL + 1)
_urllib3_log.addHandler(logging.NullHandler())
_urllib3_log.propagate = False


class TransportError(Exception):
    """No complete answer came; `str()` of it is safe to log.

    `unusable` says that the address itself is wrong.
    """

    def __init__(self, reason: str, *, unusable: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.unusable = unusable


class _Cut:
    """The way to end a POST from outside: a second handle on its socket."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._socket: socket.socket | None = None
        self._is_cut = False

    def adopt(self, connected: socket.socket) -> None:
        """Take hold of a socket just connected, before TLS wraps (and detaches) it."""
        with self._lock:
            if self._is_cut:
                connected.close()
                raise OSError(errno.ECANCELED, "cut off")
            self.release()
            self._socket = connected.dup()

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
        """Give the second handle back."""
        with self._lock:
            if self._socket is not None:
                self._socket.close()
                self._socket = None


class _Adapter(HTTPAdapter):
    """An adapter whose connections can be cut; it retries nothing: the outbox does."""

    def __init__(self, cut: _Cut) -> None:
        self._cut = cut
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Make the pool manager, with connections that can be cut."""
        super().init_poolmanager(*args, **kwargs)
        _make_cuttable(self.poolmanager, self._cut)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """Make the manager of a proxy's connections likewise."""
        manager = super().proxy_manager_for(*args, **kwargs)
        _make_cuttable(manager, self._cut)
        return manager


def _make_cuttable(manager: Any, cut: _Cut) -> None:  # noqa: ANN401
    """Derive the manager's pools, so that each new socket is adopted by `cut`.

    By deriving from what is there this holds for urllib3 1.26 and 2 alike, and for proxies.
    """

    def derive(pool: Any) -> Any:  # noqa: ANN401
        base = pool.ConnectionCls

        def _new_conn(connection: Any) -> Any:  # noqa: ANN401
            connected = base._new_conn(connection)  # noqa: SLF001
            cut.adopt(connected)
            return connected

        derived = type(base.__name__, (base,), {"_new_conn": _new_conn})
        return type(pool.__name__, (pool,), {"ConnectionCls": derived})

    pools = manager.pool_classes_by_scheme
    manager.pool_classes_by_scheme = {scheme: derive(pool) for scheme, pool in pools.items()}


class _Attempt:
    """One POST in its own thread, and what came of it."""

    def __init__(self, url: str, body: bytes) -> None:
        self._url = url
        self._body = body
        self._cut = _Cut()
        self._result: Answer | TransportError | None = None
        self._thread = threading.Thread(target=self._run, name="tcp-trace-post", daemon=True)

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def result(self, deadline: float) -> Answer:
        """Run the POST: its answer, or `TransportError`, after `deadline` + GRACE at the latest."""
        self._thread.start()
        self._thread.join(deadline)
        result = self._result
        if result is None:
            self._cut.cut()
            self._thread.join(GRACE)
            raise TransportError(f"no complete answer within {deadline:g} s")
        if isinstance(result, TransportError):
            raise result
        return result

    def _run(self) -> None:
        try:
            self._result = _exchange(self._url, self._body, self._cut)
        except Exception as error:  # noqa: BLE001 - any text may hold the URL: threading must not print it
            self._result = _without_text(error)
        finally:
            self._cut.release()


class Post:
    """Posts JSON to one address; each time is over after `deadline` + GRACE seconds."""

    def __init__(self, url: str, deadline: float) -> None:
        self._url = url
        self._deadline = deadline
        self._last: _Attempt | None = None

    def __call__(self, body: bytes) -> Answer:
        """Post once; raise `TransportError` where no complete answer comes in time."""
        if self._last is not None and self._last.running:
            raise TransportError("the try before is still resolving the host's name")
        self._last = _Attempt(self._url, body)
        return self._last.result(self._deadline)


def _exchange(url: str, body: bytes, cut: _Cut) -> Answer:
    """Post over a fresh session: nothing (cookies, connections) is carried from one to the next."""
    adapter = _Adapter(cut)
    with requests.Session() as session:
        session.mount("https://", adapter)
        session.mount("http://", adapter)
        with session.post(
            url,
            data=body,
            headers=_HEADERS,
            timeout=_TIMEOUTS,
            allow_redirects=False,
            stream=True,
        ) as response:
            return Answer(
                response.status_code, _read(response), response.headers.get("Retry-After")
            )


def _read(response: requests.Response) -> bytes:
    """Return the beginning of the body, and raise where it ended before its announced length."""
    body = b""
    chunk: bytes
    for chunk in response.iter_content(MAX_BODY):
        body += chunk
        if len(body) >= MAX_BODY:
            return body[:MAX_BODY]
    announced = response.headers.get("Content-Length", "")
    if announced.isdecimal() and len(body) < int(announced):
        raise TransportError("the answer's body was cut short")
    return body


def _without_text(error: Exception) -> TransportError:
    """Return what may be told of an error: its class and its number's name, never its text."""
    if isinstance(error, TransportError):
        return error
    causes = [type(error).__name__, *dict.fromkeys(filter(None, map(_name, _chain(error))))]
    # InvalidURL and its like, and what encoding a host name raises, are ValueErrors.
    return TransportError(" ".join(causes), unusable=isinstance(error, ValueError))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the error and what caused it, outermost first."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _name(error: BaseException) -> str | None:
    """Return the symbol of an operating system's, resolver's or TLS library's error."""
    if isinstance(error, ssl.SSLError):
        return error.reason
    if type(error).__name__ == "CertificateError":  # urllib3 1.26 compares the names by itself
        return "HOSTNAME_MISMATCH"
    if isinstance(error, socket.gaierror):
        return _GAI_NAMES.get(error.errno or 0, "EAI")
    if isinstance(error, OSError) and error.errno:
        return errno.errorcode.get(error.errno)
    return None


_GAI_NAMES = {value: name for name, value in vars(socket).items() if name.startswith("EAI_")}
