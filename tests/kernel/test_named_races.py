"""Which connects lost a race, where the names are known that a real program asked for.

Collected where the kernel lets programs watch functions returning, and so can learn names.
"""

from __future__ import annotations

import socket
import sys
import time
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from tcp_trace.commands import sandbox
from tcp_trace.commands.sandbox import SERVER, SERVER6, call_in
from tests.kernel import dns
from tests.kernel.dns import NameServer

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    sock.settimeout(0)
    sock.connect_ex((address, port))
    return sock

def win(address, port):
    socket.create_connection((address, port), 5).close()
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
def port(network: Network) -> Iterator[int]:
    """Return a port of its own, on which the server listens."""
    number = next(_ports)
    with call_in(network.server, lambda: socket.create_server((SERVER, number))):
        yield number


def run(network: Network, *steps: str) -> None:
    """Run steps as one process in the client's namespace."""
    program = _PROGRAM + "\n".join(steps)
    sandbox.run_in(network.client, sys.executable, "-c", program)


def told(service: Service, port: int) -> list[tuple[str, Any, Any]]:
    """Return what is told of a port after all of it was: message, reason and host."""
    time.sleep(2.0)
    messages = ("connect failed", "connect lost a race")
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
    service: Service, network: Network, server: NameServer, port: int
) -> None:
    """A loser that began long before the winner has lost nevertheless."""
    server.has("slow.example", SERVER, SERVER6)
    run(
        network,
        "look_up('slow.example')",
        f"loser = begin({SERVER6!r}, {port}); time.sleep(2.5)",
        f"win({SERVER!r}, {port})",
        "loser.close()",
    )
    assert told(service, port) == [("connect lost a race", "cancelled", "slow.example")]


@pytest.mark.parametrize("wins", [True, False])
def test_a_family_without_a_route(
    service: Service, network: Network, server: NameServer, port: int, *, wins: bool
) -> None:
    """No route to one address is no failure where the other family gets through, else it is."""
    name = f"half-{port}.example"
    server.has(name, SERVER, NOWHERE6)
    run(
        network,
        f"look_up({name!r})",
        f"begin({NOWHERE6!r}, {port})",
        f"win({SERVER!r}, {port})" if wins else "",
    )
    message = "connect lost a race" if wins else "connect failed"
    assert told(service, port) == [(message, "network_unreachable", name)]
