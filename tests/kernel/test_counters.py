"""What the kernel program counts of each destination, read out of the running service's map."""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING

from tcp_trace.commands import sandbox
from tcp_trace.commands.sandbox import SERVER, call_in
from tcp_trace.probes.connectmaps import Maps
from tests.kernel import maps
from tests.kernel.connects import attempt, many

if TYPE_CHECKING:
    from tcp_trace.commands.sandbox import Network

OPEN, CLOSED = 12_950, 10_950
TIMES, FAILED = 23, 7


def timed() -> int:
    """Connect to what accepts, and return how long that took, in nanoseconds."""
    began = time.monotonic_ns()
    attempt(SERVER, OPEN)
    return time.monotonic_ns() - began


def moving_average(nanoseconds: list[int]) -> float:
    """Return the average in which each one has an eighth."""
    average, *others = map(float, nanoseconds)
    for each in others:
        average += (each - average) / 8
    return average


def test_each_destination_is_counted(hook: str, network: Network) -> None:
    """Successes, failures, when it last worked, and how long a success takes."""
    server = call_in(network.server, lambda: socket.create_server((SERVER, OPEN)))
    with server, sandbox.service(HOOK=hook, DEST_IP="192.0.2.0/24") as service:
        began = time.monotonic_ns()
        took_each = call_in(network.client, lambda: [timed() for _ in range(TIMES)])
        took = time.monotonic_ns() - began
        call_in(network.client, lambda: many(FAILED, lambda: attempt(SERVER, CLOSED)))
        service.wait_for(lambda: len(service.find("connect failed", dport=CLOSED)) == FAILED)
        fd = maps.destinations_of(service.pid)
        places = {place.port: place for place in maps.places(fd)}
        fine, failing = (Maps({"destinations": fd}).counters(places[p]) for p in (OPEN, CLOSED))
        os.close(fd)
    assert fine is not None
    assert failing is not None
    assert fine[:2] == (TIMES, 0)
    assert failing == (0, FAILED, 0, 0)
    assert began < fine.last_established_ns < began + took
    # No connect is faster than a microsecond, and what user space sees of one is longer.
    assert 1_000 < fine.latency_ns < moving_average(took_each)
