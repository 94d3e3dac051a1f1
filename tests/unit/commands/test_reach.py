"""Whether webhooks and watched hosts can be reached from here."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

from tcp_trace.commands import check, reach
from tcp_trace.kernel.findings import Finding, Level
from tcp_trace.settings import config
from tests.unit.commands.test_check import SERVICE
from tests.webhook import SECRET, Reply, Webhook

if TYPE_CHECKING:
    from pathlib import Path


def answer_of(url: str) -> Finding:
    """Return what check finds of a webhook."""
    (finding,) = reach.webhooks(config.load({"SLACK_URL": url}, None))
    return finding


def test_webhook_is_reached_without_a_message() -> None:
    """Any answer will do; the server is asked for its front page, and learns no path."""
    with Webhook([Reply(302, b"", {"Location": "/elsewhere"})]) as webhook:
        finding = answer_of(webhook.url.replace("127.0.0.1", "user:sesame@127.0.0.1"))
    assert finding.level is Level.OK
    assert "status 302" in finding.detail
    assert [(request.method, request.path) for request in webhook.received] == [("GET", "/")]
    assert "sesame" not in str(finding)
    assert SECRET not in str(finding)


def answer_without_tls(server: socket.socket) -> None:
    """Answer one connection with what is no TLS."""
    connection, _ = server.accept()
    with connection:
        connection.sendall(b"no TLS\n" * 9)


def test_unreachable_webhook() -> None:
    """Refused, unresolvable and failing TLS are told apart, each with its fix, without the URL."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        tls = threading.Thread(target=answer_without_tls, args=(server,))
        tls.start()
        failed = answer_of(f"https://127.0.0.1:{port}/services/sesame")
        tls.join()
    refused = answer_of(f"http://127.0.0.1:{port}/services/sesame")
    unknown = answer_of("https://nowhere.invalid/services/sesame")
    assert failed.detail == f"127.0.0.1:{port}: TLS fails"
    assert refused.detail == f"127.0.0.1:{port}: connection refused"
    assert unknown.detail == "nowhere.invalid: the name cannot be resolved"
    for finding in (failed, refused, unknown):
        assert finding.level is Level.FAIL
        assert finding.fix
        assert "sesame" not in str(finding)


def test_no_webhook_is_a_warning() -> None:
    """Without a webhook the service runs, but nobody is told."""
    (finding,) = reach.webhooks(config.load({}, None))
    assert finding.level is Level.WARN


def test_every_webhook_of_the_routes_is_reached(tmp_path: Path) -> None:
    """Each by its name; the fix names what to correct."""
    path = tmp_path / "routes.toml"
    path.touch(0o600)
    path.write_text(
        '[webhook.a]\nurl = "http://127.0.0.1:1/sesame"\n[[route]]\nto = "a"\n', encoding="utf-8"
    )
    (finding,) = reach.webhooks(config.load({"ROUTES_FILE": str(path)}, None))
    assert finding.detail == "a: 127.0.0.1:1: connection refused"
    assert finding.fix == "look at host and port in its address, and the firewall"


def test_hosts_that_are_watched() -> None:
    """Each name is resolved; one that has no address is a warning, since it may have one later."""
    environ = {"DEST_IP": "localhost", "DEST_HOST": "does-not-exist.invalid:1"}
    environ |= {"SERVICE_USER": SERVICE, "STATE_DIR": "/nowhere"}
    found, missing = (one for one in check.run(environ, None) if one.name == "host")
    assert (found.level, missing.level) == (Level.OK, Level.WARN)
    assert "127.0.0.1" in found.detail
    assert missing.detail.startswith("does-not-exist.invalid cannot be resolved")
    assert "DEST_HOST" in missing.fix
