"""A channel over TLS: whom it trusts, and when it gives up."""

from __future__ import annotations

import logging
import socket
import threading
from contextlib import closing
from typing import TYPE_CHECKING

from tcp_trace.notify.channel import Retry, Sent
from tests.unit.notify.samples import Address, to_slack
from tests.unit.notify.test_httpchannel import MESSAGE, assert_no_secret, no_posts_running
from tests.webhook import SECRET, Behaviour, Reply, Webhook, make_certificate

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_tls_handshake_that_hangs_is_cut_off() -> None:
    """The deadline holds before TLS is up, too."""
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}{SECRET}"
        fate = to_slack(Address(url), deadline=0.4).send(MESSAGE)
        assert fate == Retry(None, "no complete answer within 0.4 s")
        assert no_posts_running()


def test_an_untrusted_certificate_stops_the_message(certificate: Path) -> None:
    """TLS to somebody else is no way: nothing is sent, and the reason names the certificate."""
    with Webhook(certificate=certificate) as webhook:
        fate = to_slack(Address(webhook.url)).send(MESSAGE)
        assert fate == Retry(None, "SSLError CERTIFICATE_VERIFY_FAILED")
        assert webhook.received == []


def test_a_certificate_of_another_host_stops_the_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trusted authority is not enough: the name must be the webhook's."""
    certificate = make_certificate(tmp_path, "192.0.2.1")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with Webhook(certificate=certificate) as webhook:
        fate = to_slack(Address(webhook.url)).send(MESSAGE)
        assert fate in {
            Retry(None, "SSLError HOSTNAME_MISMATCH"),  # urllib3 1.26 compares by itself
            Retry(None, "SSLError CERTIFICATE_VERIFY_FAILED"),
        }
        assert webhook.received == []


def test_a_server_that_speaks_no_tls_gets_no_message() -> None:
    """Where https is written, nothing is sent in the clear."""
    heard: list[bytes] = []

    def answer(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            heard.append(connection.recv(4096))
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        thread = threading.Thread(target=answer, args=(server,))
        thread.start()
        url = f"https://127.0.0.1:{server.getsockname()[1]}{SECRET}"
        assert to_slack(Address(url)).send(MESSAGE) == Retry(None, "SSLError WRONG_VERSION_NUMBER")
        thread.join()
    assert b"message" not in heard[0]


def test_a_trusted_certificate_lets_it_pass(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A company's own authority is taken from REQUESTS_CA_BUNDLE."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with Webhook(certificate=certificate) as webhook:
        assert to_slack(Address(webhook.url)).send(MESSAGE) == Sent()


def test_a_hanging_body_under_tls_is_cut_off(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TLS detaches the socket it wraps; the deadline's hold on it stays."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with Webhook([Reply(behaviour=Behaviour.HANG)], certificate) as webhook:
        fate = to_slack(Address(webhook.url), deadline=0.6).send(MESSAGE)
        assert fate == Retry(None, "no complete answer within 0.6 s")
        assert len(webhook.received) == 1
        assert no_posts_running()


FAULTS = [Reply(behaviour=behaviour) for behaviour in Behaviour] + [
    Reply(status, body, {"Retry-After": "x"})
    for status in (200, 302, 400, 403, 404, 410, 429, 500)
    for body in (b"no_service", SECRET.encode(), b"")
]


def test_the_secret_is_nowhere(caplog: pytest.LogCaptureFixture, certificate: Path) -> None:
    """No fate, log line at any level, or traceback shows the path, whatever goes wrong."""
    caplog.set_level(logging.DEBUG)
    seen: list[str] = []
    with Webhook(FAULTS) as webhook, Webhook(certificate=certificate) as secure:
        slack = to_slack(Address(webhook.url), deadline=0.3)
        seen += [repr(slack.send(MESSAGE)) for _ in FAULTS]
        addresses = [secure.url, f"http://127.0.0.1:1{SECRET}", f"x://{SECRET}", f"http://{SECRET}"]
        seen += [repr(to_slack(Address(url)).send(MESSAGE)) for url in addresses]
        # A bare malformed header makes urllib3 log a warning that names the path.
        webhook.script.append(Reply(headers={"X\r\nbroken line": "x"}))
        seen.append(repr(slack.send(MESSAGE)))
        assert len(webhook.received) == len(FAULTS) + 1
        assert no_posts_running()
    assert "ECONNREFUSED" in "".join(seen)
    assert_no_secret("\n".join([*seen, caplog.text, *map(str, map(vars, caplog.records))]))
