"""Stage 2's loop: what the configuration is to the incidents, and when the watchdog is answered."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
import urllib.request
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest

from tcp_trace.connects.events import Counters, Destination, Moment
from tcp_trace.connects.watch import parse_destinations
from tcp_trace.incidents.memory import Memory
from tcp_trace.incidents.named import Named
from tcp_trace.incidents.notification import Background, Notification
from tcp_trace.incidents.policy import Policy
from tcp_trace.kernel.gate import boot_id
from tcp_trace.kernel.handover import Handover
from tcp_trace.notify.outbox import Outbox, present
from tcp_trace.notify.store import NAME
from tcp_trace.service import applied, daemon
from tcp_trace.service.systemd import watchdog_interval
from tcp_trace.settings import config
from tests.ports import free_port
from tests.reliability.pipeline import Fed, feed, record, service, settings
from tests.webhook import Webhook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Fed]]:
    """Return what starts a service, its senders running, under systemd's watchdog.

    Given variables take the place of the fixture's.
    """
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    handlers = [signal.getsignal(number) for number in _SIGNALS]
    given = {"MAINTENANCE": "daily 00:00-24:00 192.0.2.1", "METRICS": f"127.0.0.1:{free_port()}"}
    started: list[Fed] = []
    with Webhook() as webhook:

        def one_more(**environ: str) -> Fed:
            started.append(service(settings(tmp_path, webhook.url, **given | environ)))
            started[-1]._messages.start()
            return started[-1]

        yield one_more
        for one in started:
            one._messages.stop(5.0)
    signal.set_wakeup_fd(-1)
    for one in started:
        one._signals._reader.close()
        one._signals._writer.close()
    for number, handler in zip(_SIGNALS, handlers, strict=True):
        signal.signal(number, handler)


@pytest.fixture
def running(start: Callable[[], Fed]) -> Fed:
    """Return a service that was just started."""
    return start()


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Return the socket on which systemd hears the service."""
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as listening:
        listening.bind(str(path))
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        yield listening


def heard(systemd: socket.socket) -> bytes:
    """Return the next word, if there is one."""
    try:
        return systemd.recv(100)
    except BlockingIOError:
        return b""


def test_the_watchdog_is_answered_while_the_senders_make_progress(
    running: Fed, systemd: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loop that turns is not enough: a sender that stands for 36 s leaves systemd unanswered."""
    running._turn()
    assert heard(systemd) == b"WATCHDOG=1"

    def later() -> Moment:
        return Moment(time.monotonic() + 36, time.time() + 36)

    with monkeypatch.context() as patched:
        patched.setattr(daemon, "present", later)
        running._turn()
    assert heard(systemd) == b""
    running._turn()
    assert heard(systemd) == b"WATCHDOG=1"


def test_what_was_silenced_is_a_metric(running: Fed) -> None:
    """Failures in a maintenance window are counted, beside those of their reason."""
    feed(running, [record(number, "192.0.2.1") for number in range(3)])
    feed(running, [record(number, "192.0.2.2") for number in range(2)])
    running._export()
    address = running._settings.metrics
    assert address is not None
    with urllib.request.urlopen(f"http://127.0.0.1:{address.port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    assert 'tcp_trace_failures_total{reason="refused"} 5.0' in lines
    assert "tcp_trace_failures_silenced_total 3.0" in lines
    assert "tcp_trace_failures_below_threshold_total 0.0" in lines
    assert "tcp_trace_failing_destinations 2.0" in lines


def test_open_incidents_outlive_the_process(start: Callable[[], Fed]) -> None:
    """With what was counted seconds before; what fails on is no second opening."""
    first = start()
    feed(first, [record(0, "192.0.2.2")])
    feed(first, [record(number, "192.0.2.2") for number in range(22)])
    assert first._unsaved
    assert first._timeout(present()) <= max(2.0, first._next_save - time.monotonic())
    time.sleep(max(0.0, first._next_save - time.monotonic()))
    first._turn()
    assert not first._unsaved
    first._messages.stop(5.0)
    second = start()
    feed(second, [record(0, "192.0.2.2")])
    (entry,) = second._incidents.overview()
    assert (entry.status, entry.failures, entry.messages) == ("open", 24, 1)
    assert second._messages.outbox.pending == 0


def test_what_is_known_outlives_the_process(start: Callable[..., Fed], tmp_path: Path) -> None:
    """A message says when a destination last worked, although the kernel has counted nothing."""
    saved, memory = Outbox(tmp_path / NAME), Memory()
    now = present()
    counts = Counters(7, 0, int((now.mono - 2 * 3600) * 1e9), 700_000)
    memory.take(Destination("192.0.2.2", 443), counts, now)
    saved.remember("\n".join(memory.dump(boot_id())))
    saved.close()
    fed = start(ALERT_AFTER="1")
    told: list[Notification] = []
    with patch.object(fed._messages, "commit", lambda each, _: told.extend(each)):
        feed(fed, [record(0, "192.0.2.2"), record(0, "192.0.2.3")])
    known, unknown = (each.background for each in told)
    assert known is not None
    assert known.worked == pytest.approx(now.wall - 2 * 3600, abs=2)
    assert known.latency == pytest.approx(0.0007)
    assert unknown == Background()
    fed._stop()
    again = Outbox(tmp_path / NAME)
    text = again.load_memory()
    again.close()
    assert text is not None
    assert '"192.0.2.2",443,' in text


def test_saving_takes_a_small_share_of_the_time(
    running: Fed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What takes 0.1 s to save is saved every 5 s at most."""
    feed(running, [record(0, "192.0.2.2")])
    commit = running._messages.commit

    def slowly(*args: object) -> None:
        time.sleep(0.1)
        commit(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(running._messages, "commit", slowly)
    running._next_save = 0.0
    before = time.monotonic()
    feed(running, [record(0, "192.0.2.2")])
    assert not running._unsaved
    assert running._next_save >= before + 5


def test_the_configuration_makes_the_policy() -> None:
    """Every variable about when people are told is used."""
    environ = {
        "ALERT_AFTER": "3/70s",
        "ALERT_INTERVAL": "6m",
        "ALERT_REPEAT": "5h",
        "RESOLVE_AFTER": "7s",
        "ALERT_DOWN": "4/20s",
        "DIGEST": "17",
        "DEST_IP": "10.0.0.5,10.1.0.0/16",
    }
    policy = applied.policy(config.load(environ, None))
    assert (policy.after, policy.window) == (3, 70)
    assert (policy.interval, policy.repeat) == (360, 5 * 3600)
    assert (policy.resolve_after, policy.recheck) == (7, 7)
    assert (policy.down_failures, policy.down_after, policy.digest_hour) == (4, 20, 17)
    assert policy.named == Named(parse_destinations("10.0.0.5"))
    assert applied.policy(config.load({}, None)) == Policy()


def test_a_log_that_cannot_be_opened_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    """The service ends with 1 and tells which file it is, why, and who must be able to write it."""
    nothing = Handover(attached=(), ring_bytes=4096, maps={}, facts={})
    memfd = os.memfd_create("handover")
    os.write(memfd, json.dumps(asdict(nothing)).encode())
    absent = Path("/nowhere/tcp-trace.log")
    assert daemon.serve(config.load({}, None), memfd, absent, None) == 1
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith(f"tcp-trace: {absent}: No such file or directory; the user ")


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ("30000000", 15.0),
        *(("", None), ("0", None), ("²", None), ("-1", None), ("x", None), ("9" * 400, None)),
    ],
)
def test_the_watchdogs_interval(
    given: str, seconds: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of what systemd waits; nonsense is none, and so is what another process was told."""
    monkeypatch.setenv("WATCHDOG_USEC", given)
    assert watchdog_interval() == seconds
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    assert watchdog_interval() == seconds
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert watchdog_interval() is None
