"""Which connects lost a race, where the names are known that a real program asked for.

Collected where the kernel lets programs watch functions returning, and so can learn names.
"""

from __future__ import annotations

import socket
import sys
import time
from contextlib import closing
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from tcp_trace.commands import sandbox
from tcp_trace.commands.sandbox import SERVER, SERVER6, call_in
from tcp_trace.connects.races import END, HOLD
from tests.kernel import dns
from tests.kernel.dns import NameServer

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from tcp_trace.commands.sandbox import Network, Service

RACE = 14_000
NOWHERE6 = "2001:db9::1"
_PROGRAM = """
import socket, time

def look_up(*names):
    for name in names:
        socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)

def begin(address, port):
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT, 6)  # for two minutes
    sock.settimeout(0)
    sock.connect_ex((address, port))
    return sock

def win(address, port):
    socket.create_connection((address, port), 60).close()
"""
_ports = count(RACE)


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    """Return a network whose server answers on the race's ports by IPv4 only."""
    with sandbox.network(f"tcp dport {RACE}-{RACE + 99} ip6 version 6 drop") as made:
        yield made


@pytest.fixture(scope="module")
def server(network: Network) -> Iterator[NameServer]:
    """Return a name server that the client's programs ask."""
    running = NameServer(network.server)
    with dns.resolver(network.client):
        yield running
    running.close()


@pytest.fixture(scope="module")
def service(hook: str) -> Iterator[Service]:
    """Return the service."""
    with sandbox.service(HOOK=hook, DEST_IP="192.0.2.0/24,2001:db8::/31") as running:
        yield running


@pytest.fixture
def ports(network: Network) -> Iterator[Iterator[int]]:
    """Return ports on which the server listens, as many as are wanted."""

    def listening() -> Generator[int, None, None]:
        for number in _ports:
            with call_in(network.server, lambda: socket.create_server((SERVER, number))):  # noqa: B023
                yield number

    with closing(listening()) as numbers:
        yield numbers


@pytest.fixture
def port(ports: Iterator[int]) -> int:
    """Return one of them."""
    return next(ports)


def run(network: Network, *steps: str) -> None:
    """Run steps as one process in the client's namespace."""
    program = _PROGRAM + "\n".join(steps)
    sandbox.run_in(network.client, sys.executable, "-c", program)


def run_within(network: Network, seconds: float, before: str, *steps: str) -> bool:
    """Run steps as one process; tell whether those after the first one took less than so long.

    The service judges by times. A process that was kept from going on proves nothing.
    """
    timed = ("began = time.monotonic()", *steps, "print(time.monotonic() - began)")
    program = _PROGRAM + "\n".join([before, *timed])
    return float(sandbox.run_in(network.client, sys.executable, "-c", program)) < seconds


def told(service: Service, port: int) -> list[tuple[str, Any, Any]]:
    """Return what is told of a port after all of it was: message, reason and host."""
    messages = ("connect failed", "connect lost a race")
    service.wait_for(lambda: [m for m in messages if service.find(m, dport=port)])
    time.sleep(0.4)
    lines = [line for message in messages for line in service.find(message, dport=port)]
    return [(line["message"], line["reason"], line["host"]) for line in lines]


def test_hosts_of_two_names_do_not_race(
    service: Service, network: Network, server: NameServer, port: int
) -> None:
    """A dead host is told, however well its times fit to a success with another one."""
    server.has("dead.example", SERVER6)
    server.has("good.example", SERVER)
    run(
        network,
        "look_up('dead.example', 'good.example')",
        f"dead = begin({SERVER6!r}, {port})",
        f"win({SERVER!r}, {port})",
        "dead.close()",
    )
    assert told(service, port) == [("connect failed", "cancelled", "dead.example")]


def test_addresses_of_one_name_race_however_slowly(
    service: Service, network: Network, server: NameServer, ports: Iterator[int]
) -> None:
    """A loser that began long before the winner has lost nevertheless."""
    server.has("slow.example", SERVER, SERVER6)
    port = next(
        port
        for port in ports
        if run_within(
            network,
            END,
            f"look_up('slow.example'); loser = begin({SERVER6!r}, {port}); time.sleep(2.5)",
            f"win({SERVER!r}, {port})",
            "loser.close()",
        )
    )
    assert told(service, port) == [("connect lost a race", "cancelled", "slow.example")]


@pytest.mark.parametrize("wins", [True, False])
def test_a_family_without_a_route(
    service: Service, network: Network, server: NameServer, ports: Iterator[int], *, wins: bool
) -> None:
    """No route to one address is no failure where the other family gets through, else it is."""
    name = f"half-{wins}.example".lower()
    server.has(name, SERVER, NOWHERE6)
    port = next(
        port
        for port in ports
        if run_within(
            network,
            HOLD,
            f"look_up({name!r})",
            f"begin({NOWHERE6!r}, {port})",
            f"win({SERVER!r}, {port})" if wins else "",
        )
    )
    message = "connect lost a race" if wins else "connect failed"
    assert told(service, port) == [(message, "network_unreachable", name)]
