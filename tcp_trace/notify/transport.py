"""One HTTP exchange with a deadline and a size that hold for all of it.

The timeouts of `requests` are per socket operation: a peer that drips a byte every nine seconds
holds a request for ever, and name resolution has no timeout at all. So the exchange runs in a
thread of its own, is waited for until the deadline, and is then cut off: its socket is shut down.
What only a resolver holds up cannot be cut; it is left behind, and `Post` starts no second one
beside it. How much is read, `wire.py` bounds.

Proxies and authorities (HTTPS_PROXY, NO_PROXY, REQUESTS_CA_BUNDLE) are those of the environment;
credentials are those of the address alone, never those of a ~/.netrc. Nothing is decoded.

The texts of the exceptions of `requests` and urllib3, and their log lines, contain the webhook's
path, which is the secret. So nothing here passes a text on: only names of classes and numbers.

Importing `requests` costs 3 MB resident: `httpchannel.py` imports this module, and only where a
webhook is set.
"""

from __future__ import annotations

import encodings.idna  # noqa: F401 - each look-up of a name needs it: no thread is to import it
import errno
import logging
import socket
import ssl
import sys
import threading
import warnings
from types import ModuleType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tcp_trace import __version__
from tcp_trace.notify.answers import Answer
from tcp_trace.notify.channel import DEADLINE, TransportError
from tcp_trace.notify.wire import MAX_BYTES, AnswerTooLongError, Wire

# `requests` loads what guesses encodings and what encodes host names that are not ASCII, 0.7 MB
# that no webhook needs. These stand in for both while it is imported; it checks the version.
_GUESSES = ModuleType("chardet")
_GUESSES.__version__ = "5.1.0"  # type: ignore[attr-defined]
_STAND_INS: dict[str, Any] = {
    "chardet": _GUESSES,
    "charset_normalizer": None,
    "idna": ModuleType("idna"),
}
_own = {each: sys.modules[each] for each in _STAND_INS if each in sys.modules}
sys.modules.update(_STAND_INS)
try:
    with warnings.catch_warnings(action="ignore"):
        import requests
        from requests.adapters import HTTPAdapter
        from requests.auth import HTTPBasicAuth
        from requests.utils import get_auth_from_url
finally:
    for _stand_in in _STAND_INS:
        del sys.modules[_stand_in]
    sys.modules.update(_own)

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BODY = 1024
"""Bytes of an answer that are read: no webhook says more that matters."""

GRACE = 0.5
"""Seconds after the deadline that a thread just cut off has to end, before it is left behind."""

CONNECT_TIMEOUT = 5.0
"""Seconds for one address of a name: where it is silent, the next one is to have its turn."""

_MAX_HEADER = 256
_HEADERS = {
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


class _Adapter(HTTPAdapter):
    """An adapter whose connections are on a wire; it retries nothing: the outbox does."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Make the pool manager, with connections that can be cut."""
        super().init_poolmanager(*args, **kwargs)
        self._wire.hold(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """Make the manager of a proxy's connections likewise."""
        manager = super().proxy_manager_for(*args, **kwargs)
        self._wire.hold(manager)
        return manager


class _Attempt:
    """One exchange in its own thread, and what came of it: a POST, or a GET without a body."""

    def __init__(self, url: str, body: bytes | None) -> None:
        self._url = url
        self._body = body
        self._wire = Wire()
        self._result: Answer | TransportError | None = None
        self._thread = threading.Thread(target=self._run, name="tcp-trace-post", daemon=True)

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def result(self, deadline: float) -> Answer:
        """Run it: the answer, or `TransportError`, after `deadline` + GRACE at the latest."""
        try:
            self._thread.start()
        except RuntimeError:  # the system's limit, or the unit's TasksMax
            raise TransportError("no thread can be started") from None
        self._thread.join(deadline)
        in_time = self._result is not None
        if not in_time:
            self._wire.cut()
            self._thread.join(GRACE)
        if isinstance(self._result, Answer):
            return self._result
        if in_time and self._result is not None:
            raise self._result
        raise TransportError(f"no complete answer within {deadline:g} s", ["Timeout"])

    def _run(self) -> None:
        try:
            self._result = _exchange(self._url, self._body, self._wire)
        except Exception as error:  # noqa: BLE001 - any text may hold the URL: threading must not print it
            self._result = _without_text(error, connected=self._wire.connected)
        finally:
            self._wire.release()


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


def front_page(url: str, deadline: float = DEADLINE) -> Answer:
    """GET the front page of an address's host: neither path nor credentials are sent there.

    The same way and under the same bounds as a POST; raises `TransportError` as that does.
    """
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return _Attempt(f"{parts.scheme}://{host}/", None).result(deadline)


def _exchange(url: str, body: bytes | None, wire: Wire) -> Answer:
    """Ask over a fresh session: nothing (cookies, connections) is carried from one to the next."""
    adapter = _Adapter(wire)
    content = {} if body is None else {"Content-Type": "application/json; charset=utf-8"}
    with requests.Session() as session:
        session.mount("https://", adapter)
        session.mount("http://", adapter)
        with session.request(
            "GET" if body is None else "POST",
            url,
            data=body,
            headers=_HEADERS | content,
            auth=_authenticate,
            # Reading has no time of its own: only the deadline ends it.
            timeout=(CONNECT_TIMEOUT, None),
            allow_redirects=False,
            stream=True,
        ) as response:
            retry_after = response.headers.get("Retry-After")
            return Answer(
                response.status_code, _read(response.raw), retry_after and retry_after[:_MAX_HEADER]
            )


def _authenticate(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Use the address's own credentials, where it has some; without this, ~/.netrc is asked."""
    name, password = get_auth_from_url(request.url or "")
    return HTTPBasicAuth(name, password)(request) if name or password else request


def _read(raw: Any) -> bytes:  # noqa: ANN401 - urllib3's answer
    """Return the beginning of the body as it came; raise if it ended before its stated length."""
    body = b""
    chunk: bytes
    for chunk in raw.stream(MAX_BODY, decode_content=False):
        body += chunk
        if len(body) >= MAX_BODY:
            return body[:MAX_BODY]
    if raw.length_remaining:
        raise TransportError("the answer's body was cut short")
    return body


def _without_text(error: Exception, *, connected: bool) -> TransportError:
    """Return what may be told of an error: its class and its number's name, never its text."""
    chain = list(_chain(error))
    for each in chain:
        if isinstance(each, TransportError):
            return each
        if isinstance(each, AnswerTooLongError):
            return TransportError(f"the answer is longer than {MAX_BYTES // 1024} KiB")
    symbols = dict.fromkeys(filter(None, map(_name, chain)))
    causes = {*symbols, *(type(each).__name__ for each in chain)}
    # InvalidURL and its like, and what encoding a host name raises, are ValueErrors. What comes
    # after a connection was there is the other side's doing, and no fault of the address.
    unusable = isinstance(error, ValueError) and not connected
    return TransportError(" ".join([type(error).__name__, *symbols]), causes, unusable=unusable)


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
