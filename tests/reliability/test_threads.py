"""The service's threads: none of them imports, and none has to be had at the start."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
import urllib.request
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest

from tcp_trace.service.exporter import PATIENCE
from tests.ports import free_port
from tests.webhook import Reply, Webhook, make_certificate

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]


class Child:
    """The service in a process of its own."""

    def __init__(self, folder: Path, url: str, **more: Any) -> None:  # noqa: ANN401 - JSON
        # Not below pytest's folder, where another user cannot go.
        self.state = TemporaryDirectory()
        self.port = free_port()
        environ = {"METRICS": f"127.0.0.1:{self.port}"}
        given = {"state": self.state.name, "url": url, "environ": environ} | more
        self.log = folder / "log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                ["/usr/bin/python3", "-B", "-m", "tests.reliability.child", json.dumps(given)],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def scrape(self) -> str:
        """Return the metrics, read over HTTP."""
        where = f"http://127.0.0.1:{self.port}/metrics"
        with urllib.request.urlopen(where, timeout=10) as answer:
            return str(answer.read().decode())

    def wait_for(self, text: str, count: int = 1) -> None:
        """Wait until a text is in the log."""
        until = time.monotonic() + 60
        while self.log.read_text().count(text) < count:
            assert time.monotonic() < until, self.log.read_text()
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.05)

    def end(self) -> list[str]:
        """End it; return what its threads imported."""
        self.process.send_signal(signal.SIGTERM)
        told, _ = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, self.log.read_text()
        imported: list[str] = json.loads(told)
        return imported


@contextmanager
def child(folder: Path, url: str, **more: Any) -> Iterator[Child]:  # noqa: ANN401 - JSON
    """Run the service."""
    running = Child(folder, url, **more)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.communicate()
        running.state.cleanup()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a self-signed certificate for 127.0.0.1."""
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_no_thread_imports(
    tmp_path: Path, certificate: Path, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a message that waits, a name to resolve and metrics: two threads that import hang."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with (
        Webhook(certificate=certificate if scheme == "https" else None) as webhook,
        child(tmp_path, webhook.url.replace("http://127.0.0.1", "http://localhost")) as running,
    ):
        assert len(webhook.wait_for(1)) == 1
        running.wait_for("notification sent")
        assert 'fate="sent",webhook="default"} 1.0' in running.scrape()
        assert running.end() == []


def test_without_threads_the_service_goes_on_and_sends_later(tmp_path: Path) -> None:
    """Each that cannot be started is one line; when there is room, all is as ever."""
    with Webhook() as webhook, child(tmp_path, webhook.url, tasks=1) as running:
        for name in ("sender of the webhook default", "resolver of host names", "metrics"):
            running.wait_for(f"no thread can be started for the {name}")
        running.wait_for('"watching"')
        time.sleep(1)  # five times the housekeeping
        assert running.log.read_text().count("no thread can be started") == 3
        assert webhook.received == []
        running.process.send_signal(signal.SIGUSR1)
        assert len(webhook.wait_for(1)) == 1
        running.wait_for("notification sent")
        running.wait_for("started the thread for the metrics")
        assert "tcp_trace_failures_total" in running.scrape()
        running.end()


def test_sixty_idle_readers_of_the_metrics_cost_nothing(tmp_path: Path) -> None:
    """Half-open requests take no task: messages are sent and metrics read beside them."""
    # Main thread, log, the outbox's disk, metrics, resolver, sender and its send.
    with (
        Webhook([Reply(503)]) as webhook,
        child(tmp_path, webhook.url, tasks=7) as running,
        ExitStack() as stack,
    ):
        running.wait_for("notification not sent yet")
        for _ in range(60):
            client = socket.create_connection(("127.0.0.1", running.port), timeout=10)
            stack.enter_context(client).sendall(b"GET /metrics HTTP/1.1\r\nX: ")
        began = time.monotonic()
        assert 'fate="retried",webhook="default"} 1.0' in running.scrape()
        assert time.monotonic() - began < PATIENCE  # for which an idle one is borne
        assert len(webhook.wait_for(2)) == 2
        running.wait_for("notification sent")
        assert "no thread" not in running.log.read_text()
        running.end()


def test_a_send_without_a_thread_is_tried_again(tmp_path: Path) -> None:
    """The sender lives where only the thread of a send cannot be had: counted, and tried again."""
    # Main thread, log, the outbox's disk, metrics, resolver and sender.
    with Webhook() as webhook, child(tmp_path, webhook.url, tasks=6) as running:
        running.wait_for("no thread can be started", 2)
        assert 'fate="retried",webhook="default"} ' in running.scrape()
        assert webhook.received == []
        running.process.send_signal(signal.SIGUSR1)
        assert len(webhook.wait_for(1)) == 1
        running.wait_for("notification sent")
        running.end()
