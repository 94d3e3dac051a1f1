"""The metrics' server: who asks at once is answered at once, whatever others do."""

from __future__ import annotations

import errno
import http.client
import logging
import resource
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tcp_trace.service import exporter
from tcp_trace.service.exporter import MAX_CONNECTIONS, MAX_REQUEST, Exporter, Page
from tcp_trace.settings.values import Address
from tests.ports import free_port


@pytest.fixture(scope="module")
def port() -> int:
    """Serve a page."""
    number = free_port()
    page = Page("text/plain", lambda: b"figures 1\n")
    assert Exporter(Address("127.0.0.1", number), page).start()
    return number


def ask(port: int, request: bytes) -> bytes:
    """Return all that a request is answered with."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        answer = b""
        with suppress(ConnectionError):  # a request that is too long is not read to its end
            client.sendall(request)
        with suppress(ConnectionError):
            while received := client.recv(65_536):
                answer += received
        return answer


def scrape(port: int) -> tuple[bytes, float]:
    """Return the page as a client of HTTP reads it, and the seconds that took."""
    began = time.monotonic()
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    client.request("GET", "/metrics", headers={"Accept": "text/plain"})
    body = client.getresponse().read()
    client.close()
    return body, time.monotonic() - began


def test_a_page(port: int) -> None:
    """The page as it is now, with its type and length; the connection is closed."""
    answer = ask(port, b"GET /metrics?x=y HTTP/1.1\r\nHost: x\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.split(b"\r\n") == [
        b"HTTP/1.1 200 OK",
        b"Content-Type: text/plain",
        b"Content-Length: 10",
        b"Connection: close",
    ]
    assert body == b"figures 1\n"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 404),
        (b"GET /metricsx HTTP/1.1\r\n\r\n", 404),
        (b"GET http://127.0.0.1/metrics HTTP/1.1\r\n\r\n", 404),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 2\r\n\r\nok", 405),
        (b"HEAD /metrics HTTP/1.1\r\n\r\n", 405),
        (b"GET /metrics\r\n\r\n", 400),
        (b"GET  /metrics HTTP/1.1\r\n\r\n", 400),
        (b"GET /metrics HTTP/2\r\n\r\n", 400),
        (b"\x16\x03\x01\x00\x00\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nX: " + b"x" * MAX_REQUEST, 431),
        (b"x" * 200_000, 431),
    ],
)
def test_all_else_is_an_error(port: int, request_: bytes, status: int) -> None:
    """One path, one method, a bound."""
    assert ask(port, request_).startswith(f"HTTP/1.1 {status} ".encode())


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(noise=st.binary(max_size=300), tail=st.sampled_from([b"", b"\r\n\r\n"]))
def test_noise_ends_nothing(port: int, noise: bytes, tail: bytes) -> None:
    """Whatever bytes come, the next one who asks is answered."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(noise + tail)
    assert scrape(port)[0] == b"figures 1\n"


@pytest.mark.parametrize("first", [b"", b"GET /metrics HTTP/1.1\r\nX: "])
def test_sixty_that_say_nothing_keep_nobody_waiting(port: int, first: bytes) -> None:
    """Half-open and dripping requests: each makes place for a newer one, at once."""
    threads = threading.active_count()
    with ExitStack() as stack:
        idle = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
            for _ in range(60)
        ]
        for _ in range(3):
            for each in idle:
                try:
                    each.sendall(first or b"G")
                except OSError:  # closed, to make place
                    continue
            body, seconds = scrape(port)
            assert body == b"figures 1\n"
            assert seconds < exporter.PATIENCE  # for which an idle one is borne
    assert threading.active_count() == threads


def test_who_asks_without_a_pause_costs_little(port: int) -> None:
    """The service's thread that reads the ring has the processor, not who reads the metrics."""
    code = (
        "import socket, time\n"
        "answers, until = 0, time.monotonic() + 2\n"
        "while time.monotonic() < until:\n"
        f"    with socket.create_connection(('127.0.0.1', {port})) as client:\n"
        "        client.sendall(b'GET /metrics HTTP/1.1\\r\\n\\r\\n')\n"
        "        while client.recv(65536): answers += 1\n"
        "print(answers)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)
    assert 0 < int(run.stdout) <= 2 / exporter._REST


def test_nobody_stays_for_long(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection is closed when its time is up, however it drips."""
    monkeypatch.setattr(exporter, "PATIENCE", 0.3)
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        with pytest.raises(OSError):  # noqa: PT011, PT012 - a broken pipe or a reset
            while time.monotonic() - began < 60:
                client.sendall(b"x")
                time.sleep(0.01)
        assert time.monotonic() - began >= 0.3


def test_who_does_not_read_keeps_nobody_waiting() -> None:
    """A big page to clients that take nothing of it: the next one gets all of it."""
    number, page = free_port(), bytes(5_000_000)
    Exporter(Address("127.0.0.1", number), Page("text/plain", lambda: page)).start()
    with ExitStack() as stack:
        for _ in range(2 * MAX_CONNECTIONS):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", number)))
            client.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        body, seconds = scrape(number)
        assert body == page
        assert seconds < exporter.PATIENCE


def test_a_page_that_fails_costs_one_scrape(caplog: pytest.LogCaptureFixture) -> None:
    """It is told by its class, and the next scrape is answered."""
    pages = iter([b"1"])
    number = free_port()
    Exporter(Address("127.0.0.1", number), Page("text/plain", lambda: next(pages))).start()
    assert scrape(number)[0] == b"1"
    assert ask(number, b"GET /metrics HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 500 ")
    assert ask(number, b"GET / HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 404 ")
    assert "no metrics for once: StopIteration" in caplog.text


def test_without_descriptors_it_waits(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing can be accepted the thread does not spin, and goes on when it can."""
    monkeypatch.setattr(exporter, "_PAUSE", 0.1)
    caplog.set_level(logging.ERROR, "tcp_trace.service.exporter")
    number = free_port()
    Exporter(Address("127.0.0.1", number), Page("text/plain", lambda: b"1")).start()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as client, socket.socket() as spare:
        highest = max(client.fileno(), spare.fileno())
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
        try:
            client.connect(("127.0.0.1", number))
            client.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
            began, told = time.monotonic(), 0
            while told < 3 and time.monotonic() - began < 60:
                time.sleep(0.01)
                told = caplog.text.count(f"no metrics for now: {errno.errorcode[errno.EMFILE]}")
                told += caplog.text.count("no metrics for now: Too many open files")
            took = time.monotonic() - began
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert 3 <= told <= 1 + took / 0.1
        assert client.recv(100).startswith(b"HTTP/1.1 200 OK")


def test_ipv6() -> None:
    """Loopback of either family, and the name of both."""
    number = free_port()
    assert Exporter(Address("::1", number), Page("text/plain", lambda: b"1")).start()
    with socket.create_connection(("::1", number), timeout=10) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 200 OK")
    assert Exporter(Address("localhost", free_port()), Page("text/plain", lambda: b"1")).start()


def test_a_port_in_use_is_an_error() -> None:
    """It is told at the start."""
    number = free_port()
    with socket.create_server(("127.0.0.1", number)), pytest.raises(OSError, match="in use"):
        Exporter(Address("127.0.0.1", number), Page("text/plain", lambda: b"1"))
