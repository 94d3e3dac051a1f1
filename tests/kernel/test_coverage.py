"""The service's audit of itself, against the counters of a real kernel."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

from tcp_trace import sandbox
from tcp_trace.sandbox import SERVER, SERVER6, call_in
from tests.kernel.connects import GIVE_UP_SECONDS, attempt, many

if TYPE_CHECKING:
    from tcp_trace.sandbox import Network, Service

TIMES = 23
CLOSED, DROPPED = 10_901, 11_901


def connect_all(listener: int) -> None:
    """Make connects that end in every way, in this thread's network namespace."""
    many(TIMES, lambda: attempt(SERVER, CLOSED))
    many(TIMES, lambda: attempt(SERVER6, CLOSED, blocking=False))
    many(TIMES, lambda: attempt(SERVER, DROPPED))
    many(TIMES, lambda: attempt(SERVER6, DROPPED, blocking=False, patience=GIVE_UP_SECONDS))
    many(TIMES, lambda: attempt("127.0.0.1", listener))


def run(hook: str, **variables: str) -> Service:
    """Run a service in the client's namespace, the connects beside it; return it stopped."""
    with (
        sandbox.service(HOOK=hook, **variables) as service,
        socket.create_server(("127.0.0.1", 0), backlog=2 * TIMES) as listening,
    ):
        connect_all(listening.getsockname()[1])
        time.sleep(0.5)
        service.stop()
    return service


def test_all_is_seen(hook: str, network: Network) -> None:
    """Every attempt and every failure that the kernel counted was seen, whichever way it ended."""
    service = call_in(network.client, lambda: run(hook))
    (stopped,) = service.find("stopped")
    assert stopped["coverage_attempts"] == stopped["coverage_failures"] == 1.0
    assert stopped["opened"] == 5 * TIMES
    assert stopped["aborted"] == 3 * TIMES
    assert stopped["unsent"] == 0


def test_no_local_port_sends_no_syn(hook: str, network: Network) -> None:
    """An attempt without a local port is no gap: the kernel does not count it either."""
    name = "net.ipv4.ip_local_port_range="
    sandbox.run_in(network.client, "sysctl", "-qw", name + "40000 40001")
    try:
        service = call_in(network.client, lambda: run(hook))
    finally:
        sandbox.run_in(network.client, "sysctl", "-qw", name + "32768 60999")
    (stopped,) = service.find("stopped")
    assert stopped["unsent"] > 0
    assert stopped["coverage_attempts"] == 1.0


def test_a_part_is_not_compared(hook: str, network: Network) -> None:
    """With DEST_IP most of what the kernel counts is none of the service's business."""
    service = call_in(network.client, lambda: run(hook, DEST_IP=SERVER))
    (stopped,) = service.find("stopped")
    assert "coverage_attempts" not in stopped
