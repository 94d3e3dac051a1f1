"""systemd hears how the service is, and a systemd that does not listen holds up nobody."""

from __future__ import annotations

import contextlib
import logging
import secrets
import socket
import time
from typing import TYPE_CHECKING

import pytest

from tcp_trace.service.systemd import Notifier

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def listening(address: str) -> Iterator[socket.socket]:
    """Take systemd's place."""
    kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
    with socket.socket(socket.AF_UNIX, kind) as systemd:
        systemd.bind(address.replace("@", "\0"))
        yield systemd


def heard(systemd: socket.socket) -> list[bytes]:
    """Return all that was said."""
    words = []
    with contextlib.suppress(BlockingIOError):
        while True:
            words.append(systemd.recv(100))
    return words


@pytest.mark.parametrize("abstract", [True, False])
def test_states_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, abstract: bool
) -> None:
    """By a path or an abstract name, as systemd and others give it."""
    address = f"@{secrets.token_hex()}" if abstract else str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    with listening(address) as systemd:
        notifier = Notifier()
        notifier.say("READY=1")
        notifier.say("STOPPING=1")
        assert heard(systemd) == [b"READY=1", b"STOPPING=1"]


def test_nobody_waits_for_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a systemd that stands does not take is said once it goes on, each state once."""
    address = str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    with listening(address) as systemd:
        notifier = Notifier()
        began = time.monotonic()
        for number in range(2000):  # far more than any queue of datagrams takes
            notifier.say(f"STATUS={number}")
        notifier.say("READY=1")
        notifier.say("WATCHDOG=1")
        notifier.say("WATCHDOG=1")
        assert time.monotonic() - began < 30
        words = []
        while new := heard(systemd):
            words += new
            notifier.go_on()
    assert words == [*(b"STATUS=%d" % n for n in range(2000)), b"READY=1", b"WATCHDOG=1"]


@pytest.mark.parametrize("address", ["/gone", "/", "@gone", "gone", "/" + "x" * 200])
def test_a_socket_that_leads_nowhere_is_told_of_once(
    address: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It was inherited: the service goes on, and nothing is kept for it."""
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    notifier = Notifier()
    with caplog.at_level(logging.WARNING):
        for state in ("READY=1", "WATCHDOG=1", "STOPPING=1"):
            notifier.say(state)
    assert caplog.messages == ["systemd cannot be told how the service is"]
    assert notifier._unsaid == []


def test_without_systemd_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """From a terminal there is nobody to tell."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notifier = Notifier()
    notifier.say("READY=1")
    assert notifier._unsaid == []


@pytest.mark.parametrize(
    "address", ["/nowhere", "nonsense", "@gone", "/" + "x" * 200, "/\udcff", "vsock:2:1234"]
)
def test_nonsense_for_a_socket_ends_nothing(
    address: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged once, whatever bytes the variable holds."""
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    notifier = Notifier()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            notifier.say("WATCHDOG=1")
    assert len(caplog.records) == 1
