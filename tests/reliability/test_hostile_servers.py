"""A webhook's server, or a proxy, that means harm: a send ends in time, small, and with an fate.

Each answer is given in clear, under TLS, by a proxy, as a proxy's answer to CONNECT, and under TLS
behind a proxy.
"""

from __future__ import annotations

import logging
import resource
import time
import tracemalloc
from typing import TYPE_CHECKING, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tcp_trace.notify.channel import Fate, Rejected, Retry, Sent, TransportError
from tcp_trace.notify.transport import GRACE, front_page
from tests.reliability.hostile import CHUNKED, DRIPS, ESTABLISHED, FLOODS, ODDITIES, OK, Hostile
from tests.unit.notify.samples import Address, to_any, to_slack
from tests.unit.notify.test_httpchannel import assert_no_secret, no_posts_running
from tests.webhook import SECRET, make_certificate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    Ask = Callable[[Callable[[], Iterable[bytes]], float], Fate]

MESSAGE = {"text": "a message"}
WAYS = ("http", "https", "proxy", "connect", "https behind a proxy")
LONG = 60.0
SHORT = 0.4
SLACK = 10.0
"""Seconds that a busy machine may take beyond."""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a self-signed certificate for 127.0.0.1."""
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(params=WAYS)
def ask(request: pytest.FixtureRequest, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Return what sends a message that is answered so, by one of the ways."""
    way: str = request.param
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))

    def sent(answer: Callable[[], Iterable[bytes]], deadline: float) -> Fate:
        tls = certificate if way.startswith("https") else None
        with Hostile(answer, tls, proxy=way == "https behind a proxy") as server:
            here = f"127.0.0.1:{server.port}"
            if way in {"http", "https"}:
                return to_slack(Address(f"{way}://{here}{SECRET}"), deadline=deadline).send(MESSAGE)
            scheme = "http" if way == "proxy" else "https"
            monkeypatch.setenv(f"{scheme}_proxy", f"http://{here}")
            # Nobody is at this address: what comes is the proxy's.
            url = f"{scheme}://127.0.0.1:1{SECRET}"
            return to_slack(Address(url), deadline=deadline).send(MESSAGE)

    return sent


@pytest.fixture
def bounded(caplog: pytest.LogCaptureFixture) -> Iterator[list[Fate]]:
    """Measure a test: its memory, and what its fates and log lines tell; it fills the list."""
    caplog.set_level(logging.DEBUG)
    fates: list[Fate] = []
    tracemalloc.start()
    began = tracemalloc.get_traced_memory()[0]
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield fates
    grown = tracemalloc.get_traced_memory()[1] - began
    tracemalloc.stop()
    assert grown < 2**21
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - resident < 16 * 1024
    assert fates
    assert all(isinstance(fate, get_args(Fate)) for fate in fates)
    assert no_posts_running()
    told = [*map(repr, fates), caplog.text, *map(str, map(vars, caplog.records))]
    assert_no_secret("\n".join(told))


@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_is_cut_at_once(ask: Ask, bounded: list[Fate], flood: str) -> None:
    """Whatever there is too much of: it is neither kept nor read on until the deadline."""
    began = time.monotonic()
    bounded.append(ask(FLOODS[flood], LONG))
    assert time.monotonic() - began < LONG / 4
    (fate,) = bounded
    # Where a whole answer came before the flood, it counts; else it is tried again.
    assert isinstance(fate, Retry) or fate == Rejected("status 200", dead=True)


@pytest.mark.parametrize("name", DRIPS)
def test_what_goes_on_slowly_ends_at_the_deadline(ask: Ask, bounded: list[Fate], name: str) -> None:
    """A byte now and then keeps no send going."""
    began = time.monotonic()
    bounded.append(ask(DRIPS[name], SHORT))
    assert time.monotonic() - began < SHORT + GRACE + SLACK
    (fate,) = bounded
    assert isinstance(fate, Retry)
    if "SSLError" not in fate.reason:  # a proxy's head was over, and what dripped is no TLS
        assert fate.reason == f"no complete answer within {SHORT:g} s"


@pytest.mark.parametrize("name", ODDITIES)
def test_what_is_no_answer_of_a_webhook_is_no_success(
    ask: Ask, bounded: list[Fate], name: str
) -> None:
    """It ends with an fate, and never with "sent"."""
    began = time.monotonic()
    bounded.append(ask(lambda: [ODDITIES[name]], LONG))
    assert time.monotonic() - began < LONG / 4
    assert not isinstance(bounded[0], Sent)


PIECES = [
    *(OK, CHUNKED, ESTABLISHED, b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 429 x\r\n", b"\r\n"),
    *(b"Content-Length: ", b"Retry-After: ", b": ", b"-1", b"9", b"HTTP/1.0 204\r\n", b"ok"),
    *(b"Transfer-Encoding: gzip, chunked\r\n", b"2\r\nok\r\n", b"0\r\n\r\n", b"x" * 70_000),
    *(b"Content-Encoding: deflate\r\n", b"Set-Cookie: a=b\r\n", b"\x1f\x8b"),
]
FRAGMENTS = st.one_of(
    st.sampled_from(PIECES),
    st.binary(max_size=40),
    st.integers(0, 999).map(lambda status: f"HTTP/1.1 {status} x\r\n".encode()),
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(parts=st.lists(FRAGMENTS, max_size=12))
def test_any_bytes_make_an_outcome(ask: Ask, parts: list[bytes]) -> None:
    """Whatever is made of fragments of HTTP: an fate in time, without the secret."""
    began = time.monotonic()
    fate = ask(lambda: parts, LONG)
    assert time.monotonic() - began < LONG / 4
    assert isinstance(fate, get_args(Fate))
    assert_no_secret(repr(fate))


def test_a_gzip_bomb_stays_packed(bounded: list[Fate]) -> None:
    """An encoded body is nothing that a webhook says: it is not decoded, and read to 1 KiB."""
    import gzip  # noqa: PLC0415

    bomb = gzip.compress(bytes(2**25))
    head = OK + f"Content-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n".encode()
    tracemalloc.reset_peak()
    with Hostile(lambda: [head + bomb]) as server:
        bounded.append(to_slack(Address(f"http://127.0.0.1:{server.port}{SECRET}")).send(MESSAGE))
    assert isinstance(bounded[0], Rejected)


def test_informational_answers_are_no_answer() -> None:
    """A server may send early hints first: what counts is the final status."""
    first = b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    with Hostile(lambda: [first, OK + b"Content-Length: 2\r\n\r\nok"]) as server:
        assert to_slack(Address(f"http://127.0.0.1:{server.port}{SECRET}")).send(MESSAGE) == Sent()


def test_a_slow_answer_is_waited_for() -> None:
    """The deadline is the only bound: who answers late, but in time, is not sent it again."""

    def slow() -> Iterator[bytes]:
        time.sleep(12)
        yield OK + b"Content-Length: 2\r\n\r\nok"

    with Hostile(slow) as server:
        assert to_slack(Address(f"http://127.0.0.1:{server.port}{SECRET}")).send(MESSAGE) == Sent()
        assert len(server.requests) == 1


def test_a_bad_answer_does_not_condemn_the_address() -> None:
    """An answer that cannot be read is tried again soon, not after a quarter of an hour."""
    with Hostile(lambda: [OK + b"Content-Length: 2, 3\r\n\r\nok"]) as server:
        fate = to_any(Address(f"http://127.0.0.1:{server.port}{SECRET}")).send(MESSAGE)
    assert isinstance(fate, Retry)


def test_no_credentials_but_the_address_s_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ~/.netrc has for the host is not sent; what the address has is, and never by check."""
    netrc = tmp_path / ".netrc"
    netrc.touch(0o600)
    netrc.write_text("machine 127.0.0.1 login somebody password sesame\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(netrc))
    with Hostile(lambda: [OK + b"Content-Length: 2\r\n\r\nok"]) as server:
        here = f"127.0.0.1:{server.port}"
        assert to_slack(Address(f"http://{here}{SECRET}")).send(MESSAGE) == Sent()
        assert to_slack(Address(f"http://me:mine@{here}{SECRET}")).send(MESSAGE) == Sent()
        assert front_page(f"http://me:mine@{here}{SECRET}").status == 200
        plain, own, front = server.requests
    assert b"Authorization" not in plain
    assert b"Authorization: Basic bWU6bWluZQ==" in own  # me:mine
    assert b"Authorization" not in front
    assert front.startswith(b"GET / HTTP/1.1\r\n")
    assert_no_secret(front.decode())


@pytest.mark.parametrize("flood", ["100 Continue", "a chunk's size", "headers"])
def test_check_is_bounded_likewise(bounded: list[Fate], flood: str) -> None:
    """The front page is asked for by the same exchange."""
    began = time.monotonic()
    with Hostile(FLOODS[flood]) as server:
        try:
            answer = front_page(f"http://127.0.0.1:{server.port}{SECRET}", LONG)
            bounded.append(Retry(None, f"status {answer.status}"))
        except TransportError as error:
            bounded.append(Retry(None, str(error)))
    assert time.monotonic() - began < LONG / 4
