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


def test_each_destination_is_counted(hook: str, network: Network) -> None:
    """Successes, failures, and when it last worked."""
    server = call_in(network.server, lambda: socket.create_server((SERVER, OPEN)))
    with server, sandbox.service(HOOK=hook, DEST_IP="192.0.2.0/24") as service:
        began = time.monotonic_ns()
        call_in(network.client, lambda: many(TIMES, lambda: attempt(SERVER, OPEN)))
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
    assert failing[:3] == (0, FAILED, 0)
    assert began < fine.last_established_ns < began + took
