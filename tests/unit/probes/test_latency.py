"""Latencies out of the kernel's maps, which are simulated here: sums over CPUs and namespaces."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tcp_trace.probes import latency
from tcp_trace.probes.addresses import pack
from tcp_trace.probes.latency import EACH, OVERALL, Latencies, Latency
from tcp_trace.probes.shapes import DESTINATION, LATENCY, LATENCY_SLOTS

if TYPE_CHECKING:
    from pathlib import Path


def value(sum_ns: int, count: int) -> bytes:
    """Return one `struct latency` with everything in its third slot."""
    return LATENCY.pack(sum_ns, 0, 0, count, *[0] * (LATENCY_SLOTS - 3))


def key(port: int, netns: int = 0) -> bytes:
    """Return one `struct destination`."""
    return DESTINATION.pack(pack("10.0.0.1"), netns, netns, 0, port, 0)


@pytest.fixture(autouse=True)
def _maps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "possible").write_text("0,2-3\n")
    monkeypatch.setattr(latency, "_POSSIBLE_CPUS", tmp_path / "possible")
    maps = {
        1: {bytes(4): value(5, 1) + value(0, 0) + value(7, 2) + value(1, 1)},
        2: {
            key(80): value(9, 2),
            key(80, netns=1): value(1, 2),
            key(81): value(3, 3),
            key(82): value(3, 1),
        },
    }
    monkeypatch.setattr(latency, "items", lambda fd, *_: maps[fd])

    def lookup(fd: int, key: bytes, size: int) -> bytes | None:
        found = maps[fd].get(key)
        assert found is None or len(found) == size
        return found

    monkeypatch.setattr(latency, "lookup", lookup)


def test_over_all_destinations() -> None:
    """It is the sum over all CPUs that there may be."""
    assert Latencies({OVERALL: 1}).overall() == Latency(13, (0, 0, 4, *[0] * (LATENCY_SLOTS - 3)))


def test_the_most_used() -> None:
    """Those with the most attempts; what differs in the namespace alone is one."""
    found = Latencies({OVERALL: 1, EACH: 2}).most_used(2)
    assert [(place, each.sum_ns, each.attempts) for place, each in found.items()] == [
        ("10.0.0.1:80", 10, 4),
        ("10.0.0.1:81", 3, 3),
    ]


def test_what_is_not_counted_is_not_read() -> None:
    """Without METRICS the kernel program has none of these maps."""
    latencies = Latencies({})
    assert latencies.overall() is None
    assert latencies.most_used(10) == {}
