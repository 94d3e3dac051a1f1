"""Connects that end unlike others, and are no rows of the matrix: what is no race, itself."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from tcp_trace.commands import sandbox
from tcp_trace.commands.sandbox import CLIENT, SERVER, SERVER6, call_in
from tcp_trace.connects.races import END, OUTLIVED
from tcp_trace.probes.connectmaps import Maps
from tests.kernel import maps, ways
from tests.kernel.connects import attempt, begun, many
from tests.kernel.ways import TIMES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tcp_trace.commands.sandbox import Network, Service

    Lines = list[dict[str, Any]]

RACE = 13_000
NOBODY, NOBODY6 = "192.0.2.77", "2001:db8::77"
_FIREWALL = f"tcp dport {RACE}-{RACE + 99} ip6 version 6 drop"


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


def outcomes(service: Service, port: int, expected: int) -> tuple[Lines, Lines]:
    """Return the failures and the lost races of a port, once there are so many.

    They come after a time in which one too many would have come.
    """
    messages = ("connect failed", "connect lost a race")
    service.wait_for(
        lambda: sum(len(service.find(m, dport=port)) for m in messages) >= expected, 60
    )
    time.sleep(0.4)
    failed, lost = (service.find(message, dport=port) for message in messages)
    return failed, lost


@contextlib.contextmanager
def listening(network: Network, port: int) -> Iterator[None]:
    """Let the server's addresses be open on a port, as far as the firewall lets them."""

    def listen() -> socket.socket:
        return socket.create_server(
            ("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=128
        )

    with call_in(network.server, listen):
        yield


def race(port: int, *, head_start: float, linger: float) -> None:
    """Begin with IPv6, then win by IPv4, then close the loser after `linger` seconds."""
    with begun(SERVER6, port):
        time.sleep(head_start)
        assert attempt(SERVER, port) == 0
        time.sleep(linger)


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
    ((line,), lost) = outcomes(service, port, 1)
    assert (line["reason"], line["daddr"], lost) == ("cancelled", SERVER6, [])


def test_the_success_of_another_process_is_no_race(service: Service, network: Network) -> None:
    """Two programs do not race against each other."""
    port = RACE + 3
    connect = f"import socket; socket.create_connection(('{SERVER}', {port})).close()"
    with listening(network, port):
        slow = call_in(network.client, lambda: begun(SERVER6, port))
        subprocess.run(
            ["ip", "netns", "exec", network.client, sys.executable, "-c", connect], check=True
        )
        slow.close()
    ((line,), lost) = outcomes(service, port, 1)
    assert (line["reason"], lost) == ("cancelled", [])


def test_a_dead_host_is_told_whatever_succeeds_beside_it(
    service: Service, network: Network
) -> None:
    """Who lives on after a success with an address does not race it: it is told."""
    port = RACE + 5
    with listening(network, port):
        made = call_in(network.client, lambda: dead_beside_alive(port))
    assert made.count(True) == 3
    lines, lost = outcomes(service, port, len(made))
    assert len(lines) + len(lost) == len(made)
    assert len(lost) <= made.count(False)
    assert {(line["reason"], line["daddr"]) for line in lines} == {("cancelled", SERVER6)}


def dead_beside_alive(port: int) -> list[bool]:
    """Give up connects to a dead address until a working one kept succeeding beside three of them.

    Return of each whether it did. Where this machine kept the successes from coming for a while, an
    attempt may look like one that lost a race.
    """
    succeeded = [time.monotonic()]
    ends = threading.Event()

    def elsewhere() -> None:
        while not ends.wait(0.05):
            assert attempt(SERVER, port) == 0
            succeeded.append(time.monotonic())

    def outlives() -> bool:
        began = time.monotonic()
        attempt(SERVER6, port, blocking=False, patience=1.0)
        now = time.monotonic()
        times = [began, *(at for at in succeeded if at > began), now]
        return max(later - earlier for earlier, later in pairwise(times)) < OUTLIVED / 3

    beside = threading.Thread(target=elsewhere)
    beside.start()
    made: list[bool] = []
    while made.count(True) < 3 and len(made) < 50:
        made.append(outlives())
    ends.set()
    beside.join()
    return made


def test_a_race_within_one_family(service: Service, network: Network) -> None:
    """Two addresses of one family race as those of two families do."""
    port, late = RACE + 6, set[int]()
    with listening(network, port):
        call_in(network.client, lambda: ways.races(NOBODY, SERVER, port, late))
    failed, lost = outcomes(service, port, TIMES + len(late))
    assert [line for line in failed if line["lport"] not in late] == []
    in_time = [line["daddr"] for line in lost if line["lport"] not in late]
    assert in_time == [NOBODY] * TIMES


def test_races_at_once(service: Service, network: Network) -> None:
    """Of many races of one program each has its own winner, whatever others win meanwhile."""
    losers = [NOBODY, NOBODY6] * TIMES

    def races() -> bool:
        with contextlib.ExitStack() as stack:
            for loser in losers:
                stack.enter_context(begun(loser, port))
            before = time.monotonic()
            assert [attempt(winner, port) for winner in (SERVER, SERVER6)] == [0, 0]
        return time.monotonic() - before < END

    for port in range(RACE + 100, RACE + 120):
        with listening(network, port):
            if call_in(network.client, races):
                break  # else a loser may have been closed so late that it is a failure
    failed, lost = outcomes(service, port, len(losers))
    assert failed == []
    assert sorted(line["daddr"] for line in lost) == sorted(losers)


def test_races_can_be_told(hook: str, network: Network) -> None:
    """With LOST_RACES=alert a lost race is a failure like any other."""
    port, late = RACE + 4, set[int]()
    with sandbox.service(HOOK=hook, LOST_RACES="alert") as service, listening(network, port):
        call_in(network.client, lambda: ways.races(SERVER6, SERVER, port, late))
        made = TIMES + len(late)
        failed, lost = outcomes(service, port, made)
    assert [line["reason"] for line in failed] == ["cancelled"] * made
    assert lost == []


def test_a_socket_connected_to_itself(service: Service, network: Network) -> None:
    """A simultaneous open (here of a socket with itself) is a success."""
    assert service.find("watching")

    def connect_to_itself() -> int:
        with socket.socket() as sock:
            sock.bind((CLIENT, 0))
            assert sock.connect_ex(sock.getsockname()) == 0
            assert sock.getpeername() == sock.getsockname()
            return int(sock.getsockname()[1])

    before = len(service.find("connect failed", daddr=CLIENT))
    ports = call_in(network.client, lambda: many(TIMES, connect_to_itself))
    time.sleep(0.5)
    fd = maps.destinations_of(service.pid)
    places = {place.port: place for place in maps.places(fd) if place.address == CLIENT}
    counted = [Maps({"destinations": fd}).counters(places[port]) for port in set(ports)]
    os.close(fd)
    assert sum(each.established for each in counted if each) == TIMES
    assert len(service.find("connect failed", daddr=CLIENT)) == before
