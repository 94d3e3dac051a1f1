"""The service's audit of itself, against the counters of a real kernel."""

from __future__ import annotations

import contextlib
import errno
import itertools
import socket
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tcp_trace.commands import sandbox
from tcp_trace.commands.sandbox import CLIENT, SERVER, SERVER6, call_in
from tests.kernel.connects import GIVE_UP_SECONDS, attempt, many
from tests.kernel.maps import tallies_of
from tests.libc import LIBC

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tcp_trace.commands.sandbox import Network, Service

TIMES = 23
CLOSED, DROPPED = 10_901, 11_901

# include/uapi/linux/tcp.h and include/linux/socket.h
_TCP_FASTOPEN_CONNECT, _TCP_FASTOPEN_NO_COOKIE, _MSG_FASTOPEN = 30, 34, 0x20000000
_LISTEN = "0A"
_SECONDS = 60.0


def connect_all() -> None:
    """Make connects that end in every way, in this thread's network namespace."""
    many(TIMES, lambda: attempt(SERVER, CLOSED))
    many(TIMES, lambda: attempt(SERVER6, CLOSED, blocking=False))
    many(TIMES, lambda: attempt(SERVER, DROPPED))
    many(TIMES, lambda: attempt(SERVER6, DROPPED, blocking=False, patience=GIVE_UP_SECONDS))
    with socket.create_server(("127.0.0.1", 0), backlog=2 * TIMES) as listening:
        many(TIMES, lambda: attempt("127.0.0.1", listening.getsockname()[1]))


@pytest.fixture(scope="module")
def service(hook: str, network: Network) -> Iterator[Service]:
    """Return a service that audits the client's namespace. It may not find a gap in any test."""
    with contextlib.ExitStack() as stack:
        begun = partial(stack.enter_context, sandbox.service(HOOK=hook))
        running = call_in(network.client, begun)
        yield running
        running.stop()
    (stopped,) = running.find("stopped")
    assert stopped["coverage_attempts"] == stopped["coverage_failures"] == 1.0
    assert not running.find("the kernel counted connects that were not seen")


def counted() -> dict[str, int]:
    """Return the kernel's counters of this thread's network namespace."""
    text = "".join(Path("/proc/thread-self/net", name).read_text() for name in ("snmp", "netstat"))
    lines = iter(text.splitlines())
    pairs = ((names.split()[1:], next(lines).split()[1:]) for names in lines)
    return {n: int(v) for names, values in pairs for n, v in zip(names, values, strict=True)}


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    until = time.monotonic() + _SECONDS
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.1)


def audited(service: Service, make: Callable[[], object]) -> dict[str, int]:
    """Return what the service and the kernel counted in this thread's network namespace.

    `attempts` and `failures` are by how much the service's counts differ from the kernel's.
    """
    counts, before = tallies_of(service.pid), counted()
    make()
    after, tallies = counted(), tallies_of(service.pid)
    seen = {n: v - counts._asdict()[n] for n, v in tallies._asdict().items()}
    grew = {name: after[name] - before[name] for name in after if name in before}
    failures = seen["aborted"] + seen["passive"]
    return seen | {
        "attempts": seen["opened"] - seen["unsent"] - grew["ActiveOpens"],
        "failures": failures - (grew["AttemptFails"] - grew["EmbryonicRsts"]),
        "AttemptFails": grew["AttemptFails"],
        "EmbryonicRsts": grew["EmbryonicRsts"],
    }


def exactly(result: dict[str, int]) -> bool:
    """Tell whether the service counted exactly what the kernel did."""
    return (result["attempts"], result["failures"]) == (0, 0)


def test_all_is_seen(service: Service, network: Network) -> None:
    """Every attempt and every failure that the kernel counted was seen, whichever way it ended."""
    result = call_in(network.client, lambda: audited(service, connect_all))
    assert exactly(result), result
    assert result["opened"] == 5 * TIMES
    assert result["aborted"] == 3 * TIMES
    assert result["unsent"] == 0


def test_no_local_port_sends_no_syn(service: Service, network: Network) -> None:
    """An attempt without a local port is no gap: the kernel does not count it either."""
    name = "net.ipv4.ip_local_port_range="
    sandbox.run_in(network.client, "sysctl", "-qw", name + "40000 40001")
    try:
        result = call_in(network.client, lambda: audited(service, connect_all))
    finally:
        sandbox.run_in(network.client, "sysctl", "-qw", name + "32768 60999")
    assert exactly(result), result
    assert result["unsent"] > 0


def test_a_part_is_not_compared(hook: str, network: Network) -> None:
    """With DEST_IP most of what the kernel counts is none of the service's business."""

    def run() -> Service:
        with sandbox.service(HOOK=hook, DEST_IP=SERVER) as service:
            connect_all()
            service.stop()
        return service

    (stopped,) = call_in(network.client, run).find("stopped")
    assert "coverage_attempts" not in stopped


def from_a_port_in_use() -> None:
    """Connect from a local port to where one is connected from it already: EADDRNOTAVAIL."""
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket() as first:
        first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        first.bind(("127.0.0.1", 0))
        first.connect(listening.getsockname())
        for _ in range(TIMES):
            with socket.socket() as again:
                again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                again.bind(first.getsockname())
                assert again.connect_ex(listening.getsockname()) == errno.EADDRNOTAVAIL


def put_off() -> None:
    """Let Fast Open put off the SYN until something is written, and close without."""
    for _ in range(TIMES):
        with socket.socket() as sock:
            sock.setsockopt(socket.IPPROTO_TCP, _TCP_FASTOPEN_CONNECT, 1)
            sock.setsockopt(socket.IPPROTO_TCP, _TCP_FASTOPEN_NO_COOKIE, 1)
            assert sock.connect_ex((SERVER, CLOSED)) == 0


def given_up() -> None:
    """Give up in each way that the kernel does not count: close, shut down, connect to nothing."""
    for number in range(TIMES):
        with socket.socket() as sock:
            sock.settimeout(0)
            assert sock.connect_ex((SERVER, DROPPED)) == errno.EINPROGRESS
            if number % 3 == 1:
                sock.shutdown(socket.SHUT_RDWR)
            elif number % 3 == 2:
                assert LIBC.connect(sock.fileno(), bytes(16), 16) == 0


@pytest.mark.parametrize("make", [from_a_port_in_use, put_off, given_up])
def test_what_the_kernel_does_not_count_hides_nothing(
    make: Callable[[], None], service: Service, network: Network
) -> None:
    """An attempt that sent no SYN, or that the application ended, makes up for none unseen."""
    result = call_in(network.client, lambda: audited(service, make))
    assert exactly(result), result
    assert result["opened"] - (make is from_a_port_in_use) == TIMES
    assert result["unsent"] == (0 if make is given_up else TIMES)
    assert result["aborted"] == 0


FAST_OPEN = 10_800


class Abandoned(NamedTuple):
    """What becomes of handshakes that a peer began by Fast Open and never ends.

    The server `closes` at once, or does not; the peer `resets`, or is silent for good.
    """

    closes: bool
    resets: bool


def begin_and_leave() -> None:
    """Begin handshakes with data in the SYN, of which this side soon knows nothing any more."""
    for _ in range(TIMES):
        with socket.socket() as sock:
            sock.settimeout(0)
            assert sock.sendto(b"x", _MSG_FASTOPEN, (CLIENT, FAST_OPEN)) == 1


@contextlib.contextmanager
def deaf(network: Network) -> Iterator[None]:
    """Let no SYN-ACK from the port reach the server's namespace."""
    chain = f"type filter hook input priority -5; tcp sport {FAST_OPEN} drop;"
    sandbox.run_in(network.server, "nft", f"table inet deaf {{ chain in {{ {chain} }}; }}")
    try:
        yield
    finally:
        sandbox.run_in(network.server, "nft", "delete table inet deaf")


def handshakes() -> int:
    """Return how many sockets the Fast Open server has besides the one that listens."""
    lines = Path("/proc/thread-self/net/tcp").read_text().splitlines()[1:]
    found = [line.split()[1:4:2] for line in lines]
    return sum(a.endswith(f":{FAST_OPEN:04X}") and state != _LISTEN for a, state in found)


def serve_abandoned(network: Network, how: Abandoned) -> None:
    """Be a Fast Open server whose SYN-ACKs the peer does not get, for a while or for good."""
    with socket.create_server((CLIENT, FAST_OPEN), backlog=2 * TIMES) as listening:
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 2 * TIMES)
        with deaf(network):
            call_in(network.server, begin_and_leave)
            wait_until(lambda: handshakes() == TIMES)
            for _ in range(TIMES if how.closes else 0):
                accepted, _ = listening.accept()
                accepted.recv(1)
                accepted.close()
            if not how.resets:
                wait_until(lambda: not handshakes())
        wait_until(lambda: not handshakes())
        time.sleep(0.5)  # all is counted


ENDS = [Abandoned(*how) for how in itertools.product([False, True], repeat=2)]


@pytest.mark.parametrize("how", ENDS)
def test_what_others_began_is_no_gap(how: Abandoned, service: Service, network: Network) -> None:
    """A Fast Open server's handshakes that a peer never ends are failures of nobody here."""
    names = ("net.ipv4.tcp_fastopen=", "net.ipv4.tcp_synack_retries=")
    # The SYN-ACK is sent again after 1, 3, 7, 15 and 31 s; with one retry the kernel gives up after
    # 7 s.
    retries = "5" if how.resets else "1"
    for name in network:
        sandbox.run_in(name, "sysctl", "-qw", names[0] + "519", names[1] + retries)
    try:
        result = call_in(
            network.client, lambda: audited(service, lambda: serve_abandoned(network, how))
        )
    finally:
        for name in network:
            sandbox.run_in(name, "sysctl", "-qw", names[0] + "1", names[1] + "5")
    assert exactly(result), result
    # In FIN_WAIT1 a time-out is not counted at all, and a reset once in place of twice.
    assert result["AttemptFails"] == TIMES * (1 - how.closes + how.resets)
    assert result["aborted"] == result["EmbryonicRsts"] == 0


def test_a_scan_is_no_gap(service: Service, network: Network) -> None:
    """A peer that resets a handshake that this host answered is not a failed connect of it."""

    def scan() -> None:
        before = counted()["EmbryonicRsts"]
        with socket.create_server((CLIENT, FAST_OPEN), backlog=2 * TIMES):
            with deaf(network):
                call_in(network.server, knock)
            wait_until(lambda: counted()["EmbryonicRsts"] - before >= TIMES)
            time.sleep(0.5)  # all is counted

    def knock() -> None:
        many(TIMES, lambda: attempt(CLIENT, FAST_OPEN, blocking=False, patience=0.01))

    result = call_in(network.client, lambda: audited(service, scan))
    assert exactly(result), result
    assert result["EmbryonicRsts"] == result["AttemptFails"] == TIMES
