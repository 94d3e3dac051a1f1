"""Connects that end unlike others: lost races, second tries, no local port, itself."""

from __future__ import annotations

import contextlib
import errno
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tcp_trace import sandbox
from tcp_trace.sandbox import CLIENT, SERVER, SERVER6, call_in
from tests.kernel.connects import attempt, family_of, many

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tcp_trace.sandbox import Network, Service

TIMES = 23
RACE, CLOSED, OPEN = 13_000, 14_000, 15_000
_FIREWALL = f"tcp dport {RACE}-{RACE + 99} ip6 version 6 drop; tcp dport {RACE + 100}-13999 drop"


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    """Return a network whose server answers on the race's ports by IPv4 only."""
    with sandbox.network(_FIREWALL) as made:
        yield made


@pytest.fixture(scope="module")
def service(hook: str) -> Iterator[Service]:
    """Return the service in its default mode."""
    with sandbox.service(HOOK=hook) as running:
        yield running


def failures(service: Service, port: int, expected: int) -> list[dict[str, object]]:
    """Return the failures of a port, after a time in which one too many would have come."""
    service.wait_for(lambda: len(service.find("connect failed", dport=port)) >= expected, 10)
    time.sleep(0.4)
    return service.find("connect failed", dport=port)


@contextlib.contextmanager
def listening(network: Network, port: int) -> Iterator[None]:
    """Let the server's IPv4 address be open on a port."""
    with call_in(network.server, lambda: socket.create_server((SERVER, port), backlog=64)):
        yield


def begin(address: str, port: int) -> socket.socket:
    """Begin to connect."""
    sock = socket.socket(family_of(address))
    sock.settimeout(0)
    sock.connect_ex((address, port))
    return sock


def race(port: int, *, head_start: float, linger: float, loser: str = SERVER6) -> int:
    """Begin with `loser`, then win by IPv4, then close the loser after `linger` seconds."""
    slow = begin(loser, port)
    time.sleep(head_start)
    assert attempt(SERVER, port) == 0
    time.sleep(linger)
    slow.close()
    return 0


def test_a_lost_race_is_no_failure(service: Service, network: Network) -> None:
    """An IPv6 connect that is closed since its IPv4 twin was faster is counted, not told."""
    with listening(network, RACE):
        call_in(network.client, lambda: many(1, lambda: race(RACE, head_start=0.25, linger=0.0)))
    assert failures(service, RACE, 0) == []
    assert len(service.find("connect lost a race", dport=RACE, daddr=SERVER6)) == 1


@pytest.mark.parametrize(
    ("port", "head_start", "linger"),
    [
        pytest.param(RACE + 1, 0.1, 0.6, id="closed long after the success"),
        pytest.param(RACE + 2, 2.5, 0.0, id="begun long before"),
    ],
)
def test_what_is_no_race(
    service: Service, network: Network, port: int, head_start: float, linger: float
) -> None:
    """A connect that is given up for another reason is a failure, whatever succeeds beside it."""
    with listening(network, port):
        call_in(network.client, lambda: race(port, head_start=head_start, linger=linger))
    (line,) = failures(service, port, 1)
    assert (line["reason"], line["daddr"]) == ("cancelled", SERVER6)


def test_the_success_of_another_process_is_no_race(service: Service, network: Network) -> None:
    """Two programs do not race against each other."""
    port = RACE + 3
    connect = f"import socket; socket.create_connection(('{SERVER}', {port})).close()"
    with listening(network, port):
        slow = call_in(network.client, lambda: begin(SERVER6, port))
        subprocess.run(
            ["ip", "netns", "exec", network.client, sys.executable, "-c", connect], check=True
        )
        slow.close()
    (line,) = failures(service, port, 1)
    assert line["reason"] == "cancelled"


def test_races_can_be_told(hook: str, network: Network) -> None:
    """With LOST_RACES=alert a lost race is a failure like any other."""
    port = RACE + 4
    with sandbox.service(HOOK=hook, LOST_RACES="alert") as service, listening(network, port):
        call_in(network.client, lambda: race(port, head_start=0.25, linger=0.0))
        (line,) = failures(service, port, 1)
    assert line["reason"] == "cancelled"


def test_each_connect_of_one_socket_is_its_own(service: Service, network: Network) -> None:
    """A socket that failed and connects again is a new attempt, each time."""
    port = CLOSED

    def connect_three_times() -> int:
        with socket.socket() as sock:
            return [sock.connect_ex((SERVER, port)) for _ in range(3)].count(errno.ECONNREFUSED)

    assert call_in(network.client, lambda: many(TIMES, connect_three_times)) == [3] * TIMES
    assert len(failures(service, port, 3 * TIMES)) == 3 * TIMES


def test_a_socket_connected_to_itself(service: Service, network: Network) -> None:
    """A simultaneous open (here of a socket with itself) is no failure."""
    assert service.find("watching")

    def connect_to_itself() -> int:
        with socket.socket() as sock:
            sock.bind((CLIENT, 0))
            connected = sock.connect_ex(sock.getsockname())
            assert sock.getpeername() == sock.getsockname()
            return connected

    before = len(service.find("connect failed", daddr=CLIENT))
    assert call_in(network.client, lambda: many(TIMES, connect_to_itself)) == [0] * TIMES
    time.sleep(0.5)
    assert len(service.find("connect failed", daddr=CLIENT)) == before


def test_no_local_port(service: Service, network: Network) -> None:
    """When the ephemeral ports are used up, that is the reason, under every hook."""
    port = OPEN
    command = ("sysctl", "-qw", "net.ipv4.ip_local_port_range=")
    sandbox.run_in(network.client, *command[:2], command[2] + "40000 40001")
    try:
        with listening(network, port):
            held = [call_in(network.client, lambda: begin(SERVER, port)) for _ in range(2)]
            time.sleep(0.3)
            seen = call_in(network.client, lambda: many(TIMES, lambda: attempt(SERVER, port)))
            for sock in held:
                sock.close()
    finally:
        sandbox.run_in(network.client, *command[:2], command[2] + "32768 60999")
    assert seen == [errno.EADDRNOTAVAIL] * TIMES
    lines = failures(service, port, TIMES)
    assert len(lines) == TIMES
    assert {line["reason"] for line in lines} == {"no_local_port"}


def test_a_local_port_that_is_in_use(service: Service, network: Network) -> None:
    """The same where the application chose the port; only connect()'s return tells it."""
    port = OPEN + 1

    def twice_from_one_port() -> int:
        with bound(0) as first:
            assert first.connect_ex((SERVER, port)) == 0
            with bound(first.getsockname()[1]) as second:
                return second.connect_ex((SERVER, port))

    with listening(network, port):
        seen = call_in(network.client, lambda: many(TIMES, twice_from_one_port))
    assert seen == [errno.EADDRNOTAVAIL] * TIMES
    told = {line["reason"] for line in failures(service, port, TIMES)}
    has_returns = "no_returns" not in service.find("watching")[0]
    assert told == {"no_local_port" if has_returns else "cancelled"}


def bound(port: int) -> socket.socket:
    """Return a socket that is bound to a port of the client."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((CLIENT, port))
    return sock
