"""Counts of retransmits out of the kernel's map, which is simulated here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tcp_trace.connects.events import State
from tcp_trace.probes import retransmits
from tcp_trace.probes.addresses import pack
from tcp_trace.probes.retransmits import RETRANSMITS, RETRANSMITTER
from tcp_trace.probes.shapes import DESTINATION, LONG
from tcp_trace.settings import config

if TYPE_CHECKING:
    from tcp_trace.kernel.contract import Counts


def key(port: int, state: State, comm: bytes = b"", netns: int = 0) -> bytes:
    """Return one `struct retransmitter`."""
    destination = DESTINATION.pack(pack("10.0.0.1"), netns, netns, 0, port, 0)
    return bytes(RETRANSMITTER.pack(destination, state, 0, comm))


def counted(monkeypatch: pytest.MonkeyPatch, held: dict[bytes, int], most: int) -> Counts:
    """Return what the metrics have of a map, at most so many rows."""
    monkeypatch.setattr(
        retransmits, "items", lambda *_: {key: LONG.pack(n) for key, n in held.items()}
    )
    given = {"METRICS": "127.0.0.1:9410", "METRICS_DESTINATIONS": str(most)}
    (counts,) = RETRANSMITS.counts({"retransmits": 1}, config.load(given, None))
    return counts


def test_the_highest_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many rows as are asked for; what differs in the namespace alone is one."""
    held = {
        key(80, State.ESTABLISHED): 2,
        key(80, State.ESTABLISHED, netns=7): 3,
        key(80, State.SYN_SENT, b"curl"): 4,
        key(81, State.SYN_SENT, b"curl"): 1,
    }
    assert counted(monkeypatch, held, 2).values == {
        ("10.0.0.1:80", "ESTABLISHED", ""): 5,
        ("10.0.0.1:80", "SYN_SENT", "curl"): 4,
    }


def test_a_process_has_any_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that are no text, and what would leave the line, are escaped."""
    held = {key(80, State.SYN_SENT, b"\xff\n\x1b[5m\0rest"): 1}
    ((_, _, process),) = counted(monkeypatch, held, 9).values
    assert process.isprintable()
    assert "rest" not in process


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, False),
        ({"METRICS": "127.0.0.1:9410"}, False),
        ({"METRICS_DESTINATIONS": "5"}, False),
        ({"METRICS": "127.0.0.1:9410", "METRICS_DESTINATIONS": "5"}, True),
    ],
)
def test_who_asks_for_it(given: dict[str, str], *, wanted: bool) -> None:
    """Nobody but metrics with destinations of their own."""
    assert RETRANSMITS.is_wanted(config.load(given, None)) is wanted
