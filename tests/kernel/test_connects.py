"""What the service tells of real connects, under every hook of this kernel."""

from __future__ import annotations

import errno
import os
import re
import socket
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tcp_trace.commands import sandbox
from tcp_trace.commands.sandbox import SERVER, SERVER6, call_in
from tcp_trace.connects.watch import RULES_MAX
from tests.kernel.conftest import KPROBES
from tests.kernel.connects import (
    GIVE_UP_SECONDS,
    attempt,
    attempt_from,
    begun,
    give_up,
    is_connecting,
    many,
    wait_for_the_end,
)
from tests.kernel.ways import own

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tcp_trace.commands.sandbox import Network, Service

TIMES = 23
MAPPED = f"::ffff:{SERVER}"
CLOSED = 10_000  # nobody listens, from here on
DROPPED = 11_000  # the firewall drops, from here on
OPEN = 12_000  # somebody listens

ADDRESSES = pytest.mark.parametrize("address", [SERVER, SERVER6, MAPPED])


@pytest.fixture(scope="module")
def service(hook: str, network: Network) -> Iterator[Service]:
    """Return the service in its default mode, watching the server's networks."""
    assert network
    with sandbox.service(HOOK=hook, DEST_IP="192.0.2.0/24,2001:db8::/32") as running:
        assert running.find("watching")[0]["hook"] == hook
        yield running


FILTER = f"{SERVER}:{CLOSED + 1},[2001:db8::]/64:{CLOSED + 2},{SERVER6},192.0.2.128/25"


@pytest.fixture(scope="module")
def configured(hook: str) -> Iterator[Service]:
    """Return a service for tests that begin with a reload; it is started with the first one's."""
    with sandbox.service(HOOK=hook, DEST_IP=FILTER) as running:
        yield running


_ports = iter(range(1000))


def failed(service: Service, port: int, times: int, **fields: object) -> list[dict[str, Any]]:
    """Wait for `times` failures of a port, then a little longer for one too many."""
    service.wait_for(lambda: len(service.find("connect failed", dport=port)) >= times)
    time.sleep(0.2)
    lines = service.find("connect failed", dport=port)
    assert len(lines) == times
    assert service.find("connect failed", dport=port, **fields) == lines
    return lines


def count_syns(network: Network, port: int) -> Callable[[], int]:
    """Let the server count the SYNs that come to a port; return what reads the number."""
    counting = f"tcp dport {port} counter"
    sandbox.run_in(network.server, "nft", f"insert rule inet sandbox in {counting}")

    def came() -> int:
        rules = sandbox.run_in(network.server, "nft", "list chain inet sandbox in")
        (packets,) = re.findall(rf"{counting} packets (\d+)", rules)
        return int(packets)

    return came


def syns_of(lines: list[dict[str, Any]]) -> int:
    """Return the number of SYNs that some failures are told with."""
    return sum(line["syns"] for line in lines)


@ADDRESSES
@pytest.mark.parametrize("blocking", [True, False])
def test_refused(service: Service, network: Network, address: str, blocking: bool) -> None:  # noqa: FBT001
    """Each refused connect is told once, with its maker; a v4-mapped one is IPv4."""
    port = CLOSED + next(_ports)
    came, began = count_syns(network, port), time.monotonic()
    source = own(address)
    seen = call_in(
        network.client,
        lambda: many(TIMES, lambda: attempt_from(source, address, port, blocking=blocking)),
    )
    took_ms = (time.monotonic() - began) * 1000
    assert [end for end, _ in seen] == [errno.ECONNREFUSED] * TIMES
    lines = failed(
        service,
        port,
        TIMES,
        daddr=SERVER if address == MAPPED else address,
        reason="refused",
        errno="ECONNREFUSED",
        pid=os.getpid(),
        uid=0,
    )
    assert syns_of(lines) == came() >= TIMES
    assert sorted(line["lport"] for line in lines) == sorted(lport for _, lport in seen)
    elapsed = [line["elapsed_ms"] for line in lines]
    assert 0 < min(elapsed) <= max(elapsed) < took_ms


@ADDRESSES
def test_timed_out(service: Service, network: Network, address: str) -> None:
    """No answer: the kernel gives up. The SYNs that are told are those that came to the server."""
    port = DROPPED + next(_ports)
    came = count_syns(network, port)
    seen = call_in(network.client, lambda: many(TIMES, lambda: attempt(address, port)))
    assert seen == [errno.ETIMEDOUT] * TIMES
    lines = failed(service, port, TIMES, reason="timed_out", errno="ETIMEDOUT")
    assert syns_of(lines) == came() >= 2 * TIMES


@ADDRESSES
@pytest.mark.parametrize("blocking", [True, False])
def test_given_up(service: Service, network: Network, address: str, blocking: bool) -> None:  # noqa: FBT001
    """An application that gives up first is told so, each time with how long it really waited."""
    port = DROPPED + next(_ports)
    came = count_syns(network, port)
    made = call_in(
        network.client, lambda: many(TIMES, lambda: give_up(address, port, blocking=blocking))
    )
    lines = failed(service, port, TIMES, reason="cancelled", errno=None)
    assert syns_of(lines) == came() >= TIMES
    told = {line["lport"]: line["elapsed_ms"] for line in lines}
    assert told.keys() == {each.lport for each in made}
    rounding = 0.001
    assert [
        (told[each.lport], each)
        for each in made
        if not each.least_ms - rounding <= told[each.lport] <= each.most_ms + rounding
    ] == []


@ADDRESSES
def test_established(service: Service, network: Network, address: str) -> None:
    """Nothing is told of connects that succeed, and nothing of the listener or its closing."""
    port = OPEN + next(_ports)
    serving = SERVER6 if address == SERVER6 else SERVER
    server = call_in(
        network.server,
        lambda: socket.create_server(
            (serving, port), family=socket.AF_INET6 if ":" in serving else socket.AF_INET
        ),
    )
    with server:
        assert (
            call_in(network.client, lambda: many(TIMES, lambda: attempt(address, port)))
            == [0] * TIMES
        )
    failed(service, port, 0)


def test_filter(configured: Service, network: Network) -> None:
    """DEST_IP names what is watched, by network and port, of both families."""
    targets = [(SERVER, 1, 1), (SERVER, 2, 0), (SERVER, 3, 0), (SERVER6, 1, 1), (SERVER6, 2, 1)]
    for address, port, _ in targets:
        call_in(network.client, lambda: many(3, lambda: attempt(address, CLOSED + port)))  # noqa: B023
    expected = Counter({(a, CLOSED + p): 3 for a, p, is_watched in targets if is_watched})
    configured.wait_for(lambda: len(configured.find("connect failed")) == expected.total())
    time.sleep(0.2)
    told = Counter((line["daddr"], line["dport"]) for line in configured.find("connect failed"))
    assert told == expected


def test_own_connects_are_not_reported(configured: Service) -> None:
    """A webhook that refuses makes no failure, and so no message about itself."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    configured.reconfigure(DEST_IP="", SLACK_URL=f"http://127.0.0.1:{port}/services/x")
    elsewhere = next(free for free in range(9, 1000) if free != port)
    attempt("127.0.0.1", elsewhere)
    configured.wait_for(lambda: configured.find("notification not sent yet"))
    assert configured.find("notification not sent yet")
    failed(configured, elsewhere, 1)
    failed(configured, port, 0)


def test_a_reload_replaces_as_many_rules_as_there_may_be(
    configured: Service, network: Network
) -> None:
    """All rules of a full list can be changed at once, and then the new ones hold."""

    def full_list(first: str, net: int) -> str:
        others = (f"10.{net}.{n // 250}.{n % 250}" for n in range(RULES_MAX - 1))
        return ",".join([first, *others])

    before, after = CLOSED + 905, CLOSED + 906
    configured.reconfigure(SLACK_URL="", DEST_IP=full_list(f"{SERVER}:{before}", 1))
    configured.reconfigure(DEST_IP=full_list(f"{SERVER}:{after}", 2))
    call_in(network.client, lambda: many(3, lambda: attempt(SERVER, before)))
    call_in(network.client, lambda: many(3, lambda: attempt(SERVER, after)))
    failed(configured, after, 3)
    failed(configured, before, 0)


def in_flight_over_a_reload(
    service: Service, network: Network, after: int
) -> tuple[int, list[socket.socket]]:
    """Return a port that was watched before a reload, and attempts that are in flight since then.

    Only `after` is watched now; three connects to it failed before.
    """
    for before in range(DROPPED + 910, DROPPED + 920):
        service.reconfigure(SLACK_URL="", DEST_IP=f"{SERVER}:{before}")
        flying = call_in(
            network.client,
            lambda: [begun(SERVER, before, repeats=1) for _ in range(TIMES)],  # noqa: B023
        )
        call_in(network.client, lambda: many(3, lambda: attempt(SERVER, after)))
        service.reconfigure(DEST_IP=f"{SERVER}:{after}")
        if all(is_connecting(sock) for sock in flying):
            return before, flying
        for sock in flying:
            sock.close()
    raise AssertionError("each reload took longer than the 3 s that an attempt takes")


def test_reload_keeps_attempts_in_flight(configured: Service, network: Network) -> None:
    """A reload changes what is watched, and loses or misjudges nothing that is in flight."""
    after = CLOSED + 902
    before, flying = in_flight_over_a_reload(configured, network, after)
    call_in(network.client, lambda: many(TIMES, lambda: attempt(SERVER, after)))
    assert all(wait_for_the_end(sock) == errno.ETIMEDOUT for sock in flying)
    failed(configured, before, TIMES, reason="timed_out", pid=os.getpid())
    failed(configured, after, TIMES, reason="refused")
    call_in(network.client, lambda: attempt(SERVER, before, patience=GIVE_UP_SECONDS))
    failed(configured, before, TIMES)


def test_bad_configuration_on_reload_is_refused(configured: Service, network: Network) -> None:
    """A reload with an error keeps the configuration that works, and says what is wrong."""
    port = CLOSED + 903
    configured.reconfigure(SLACK_URL="", DEST_IP=f"{SERVER}:{port}")
    with pytest.raises(sandbox.SandboxError, match="did not reload"):
        configured.reconfigure(DEST_IP="banana/8", wait=2.0)
    assert configured.wait_for(
        lambda: [line for line in configured.lines if "banana/8" in line["message"]]
    )
    call_in(network.client, lambda: attempt(SERVER, port))
    failed(configured, port, 1)


@pytest.mark.parametrize("events", ["attempts", "all"])
def test_events(hook: str, network: Network, events: str) -> None:
    """EVENTS=attempts tells of each attempt and its outcome, all of every transition."""
    open_port, closed = OPEN + 904, CLOSED + 904
    server = call_in(network.server, lambda: socket.create_server((SERVER, open_port)))
    watched = f"{SERVER}:{open_port},{SERVER}:{closed}"
    with server, sandbox.service(HOOK=hook, EVENTS=events, DEST_IP=watched) as service:
        call_in(network.client, lambda: many(TIMES, lambda: attempt(SERVER, open_port)))
        call_in(network.client, lambda: many(TIMES, lambda: attempt(SERVER, closed)))
        failed(service, closed, TIMES)
        if events == "attempts":
            assert len(service.find("connect begun", dport=open_port)) == TIMES
            assert len(service.find("connect established", dport=open_port)) == TIMES
            assert len(service.find("connect begun", dport=closed)) == TIMES
            assert not service.find("transition")
        else:
            changes = Counter(
                (line["old"], line["new"]) for line in service.find("transition", dport=open_port)
            )
            for change in (("CLOSE", "SYN_SENT"), ("SYN_SENT", "ESTABLISHED")):
                assert changes[change] == TIMES
            assert changes["ESTABLISHED", "FIN_WAIT1"] == TIMES
            ends = service.find("transition", dport=closed, old="SYN_SENT", new="CLOSE")
            assert len(ends) == TIMES


def test_auto_takes_the_kprobe_or_tells_why_not() -> None:
    """Only a kernel that cannot place the kprobe gets the tracepoint, and the log says so."""
    with sandbox.service() as service:
        (facts,) = service.find("watching")
    if KPROBES.exists():
        assert facts["hook"] == "kprobe"
        assert "fallback" not in facts
    else:
        assert facts["hook"] == "tracepoint"
        assert facts["fallback"].startswith("the kprobe on tcp_set_state cannot be placed: ")
