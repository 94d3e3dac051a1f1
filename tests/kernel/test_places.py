"""One address in two places: network namespaces and interfaces, with the running service."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tcp_trace.commands import loopback, sandbox
from tcp_trace.commands.sandbox import call_in, run
from tcp_trace.probes.connectmaps import Maps
from tcp_trace.probes.shapes import (
    CGROUP_PATH,
    COUNTERS,
    DESTINATION,
    HELD,
    HELD_KEY,
    NAME,
    NAME_KEY,
    NAME_SERVER,
    PROGRESS,
    RACER,
    RIVAL,
    RIVALS,
)
from tests.kernel import maps
from tests.kernel.connects import attempt, many
from tests.libc import LIBC

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tcp_trace.commands.sandbox import Service
    from tcp_trace.connects.events import Destination

ADDRESS, PORT = "198.51.100.7", 10_961
FAILED, SUCCEEDED = 23, 40
_TRIES = 50


@contextlib.contextmanager
def namespace(number: int = 0) -> Iterator[str]:
    """Make a network namespace that has the address on loopback."""
    name = f"tcp-trace-{os.getpid()}-place-{number}"
    run("ip", "netns", "add", name)
    try:
        run("ip", "-n", name, "link", "set", "lo", "up")
        run("ip", "-n", name, "address", "add", f"{ADDRESS}/32", "dev", "lo")
        yield name
    finally:
        run("ip", "netns", "delete", name)


def inum(name: str) -> int:
    """Return the number of a network namespace."""
    return Path("/run/netns", name).stat().st_ino


def connect(where: str, port: int, times: int) -> None:
    """Connect from a network namespace to its own address."""
    call_in(where, lambda: many(times, lambda: attempt(ADDRESS, port)))


def listening(where: str, port: int) -> socket.socket:
    """Listen in a network namespace."""
    return call_in(where, lambda: socket.create_server((ADDRESS, port), backlog=64))


def about(messages: list[dict[str, Any]], port: int) -> list[str]:
    """Return the texts of the messages about a port."""
    return [m["text"] for m in messages if f"{ADDRESS}:{port}" in m["text"]]


def counted(service: Service, port: int) -> dict[Destination, tuple[int, int]]:
    """Return successes and failures at each place that has a port."""
    fd = maps.destinations_of(service.pid)
    found = {p: Maps({"destinations": fd}).counters(p) for p in maps.places(fd) if p.port == port}
    os.close(fd)
    return {place: counters[:2] for place, counters in found.items() if counters}


def test_a_success_ends_an_outage_only_where_the_failure_was(hook: str) -> None:
    """Whoever takes the address in a namespace of his own makes nothing recovered."""
    with (
        namespace(1) as failing,
        namespace(2) as forging,
        loopback.webhook() as (url, messages),
        sandbox.service(HOOK=hook, DEST_IP=ADDRESS, SLACK_URL=url, RESOLVE_AFTER="1s") as service,
    ):
        connect(failing, PORT, FAILED)
        service.wait_for(lambda: about(messages, PORT))
        with listening(forging, PORT):
            connect(forging, PORT, SUCCEEDED)
            time.sleep(4)
        numbers = {place.netns: counts for place, counts in counted(service, PORT).items()}
        assert numbers == {inum(failing): (0, FAILED), inum(forging): (SUCCEEDED, 0)}
        assert not [text for text in about(messages, PORT) if "RECOVERED" in text]
        with listening(failing, PORT):
            connect(failing, PORT, 1)
            recovered = service.wait_for(
                lambda: [text for text in about(messages, PORT) if "RECOVERED" in text]
            )
    assert len(recovered) == 1


def test_a_number_that_is_given_again_is_another_place(hook: str) -> None:
    """A namespace that gets the number of one before it does not inherit what was counted there."""
    with sandbox.service(HOOK=hook) as service:
        for number in range(_TRIES):
            with namespace(number) as where:
                connect(where, PORT + 1, 1)
            if len({place.netns for place in counted(service, PORT + 1)}) <= number:
                break
            time.sleep(0.1)  # the kernel takes namespaces down when it gets to it
        places = counted(service, PORT + 1)
    assert len({place.netns for place in places}) < len(places) == number + 1
    assert set(places.values()) == {(0, 1)}


def test_an_interface_that_a_socket_is_bound_to_is_another_place(hook: str) -> None:
    """So a VRF is, and the link of a link-local address; names are known of the own namespace."""

    def bound(interface: str) -> None:
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
            sock.connect_ex(("127.0.0.1", PORT + 2))

    def link_local(index: int) -> None:
        with socket.socket(socket.AF_INET6) as sock:
            sock.settimeout(0)
            with contextlib.suppress(OSError):
                sock.connect(("fe80::1", PORT + 2, 0, index))

    with namespace() as where, sandbox.service(HOOK=hook) as service:
        attempt("127.0.0.1", PORT + 2)
        bound("lo")
        for index, name in ((71, "v1"), (72, "v2")):
            peer = ["type", "veth", "peer", f"{name}p"]
            run("ip", "-n", where, "link", "add", name, "index", str(index), *peer)
            for end in (name, f"{name}p"):
                run("ip", "-n", where, "link", "set", end, "addrgenmode", "none", "up")
            run("ip", "-n", where, "address", "add", "fe80::9/64", "dev", name, "nodad")
            call_in(where, lambda index=index: link_local(index))  # type: ignore[misc]
        service.wait_for(lambda: len(service.find("connect failed", dport=PORT + 2)) == 4)
        places = counted(service, PORT + 2)
        lines = service.find("connect failed", dport=PORT + 2)
    port = PORT + 2
    assert {str(place) for place in places} == {
        f"127.0.0.1:{port}",
        f"127.0.0.1%lo:{port}",
        f"[fe80::1%71]:{port}",
        f"[fe80::1%72]:{port}",
    }
    assert {(line["daddr"], line["interface"]) for line in lines} == {
        ("127.0.0.1", None),
        ("127.0.0.1", "lo"),
        ("fe80::1", "71"),
        ("fe80::1", "72"),
    }


def test_what_is_handed_to_user_space_knows_no_socket_by_its_address(hook: str) -> None:
    """The maps that are keyed by it stay in the kernel; of the others every one is known here."""
    with sandbox.service(HOOK=hook) as service:
        sizes = {found[:2] for found in maps.sizes_of(service.pid).values()}
    known = {
        "destinations": (DESTINATION.size, COUNTERS.size),
        "cgroups": (8, CGROUP_PATH.size),
        "watched": (24, 1),
        "tallies": (4, 8),
        "held": (HELD_KEY.size, HELD.size),
        "carried": (8, HELD.size),
        "progress": (4, PROGRESS.size),
        "transitions": (0, 0),  # a ring
        "names": (NAME_KEY.size, NAME.size),
        "name_servers": (NAME_SERVER.size, 1),
        "races": (RACER.size, RIVALS * RIVAL.size),
    }
    assert sizes <= set(known.values())


@pytest.mark.parametrize(
    ("family", "asked", "size"),
    [
        pytest.param(socket.AF_INET, socket.AF_INET6, 16, id="IPv6 by half"),
        pytest.param(socket.AF_INET, socket.AF_INET6, 28, id="IPv6"),
        pytest.param(socket.AF_INET6, socket.AF_INET, 28, id="IPv4 of an IPv6 socket"),
        pytest.param(socket.AF_INET6, socket.AF_INET6, 20, id="IPv6 too short"),
    ],
)
def test_an_address_of_another_family_is_no_attempt(
    service: Service, family: int, asked: int, size: int
) -> None:
    """A connect() that the kernel refuses for its address is a mistake, and goes nowhere."""
    before = len(service.find("connect failed", dport=PORT + 8))
    given = asked.to_bytes(2, "little") + (PORT + 8).to_bytes(2, "big") + bytes([0, 0, 0, 0])
    given += socket.inet_pton(socket.AF_INET6, "2001:db8::5") + bytes(4)
    with socket.socket(family) as sock:
        assert LIBC.connect(sock.fileno(), given[:size], size) == -1
    time.sleep(0.4)
    assert len(service.find("connect failed", dport=PORT + 8)) == before


def test_an_address_of_the_sockets_family_is_an_attempt(service: Service) -> None:
    """Where connect() is watched returning, what it refuses for another reason is told."""
    expected = 0 if "no_returns" in service.find("watching")[0] else 2
    with namespace(1) as where:
        for address in ("203.0.113.9", "2001:db8::5"):
            assert call_in(where, lambda a=address: attempt(a, PORT + 3))  # type: ignore[misc]
        service.wait_for(
            lambda: len(service.find("connect failed", dport=PORT + 3)) == 2, 60 if expected else 3
        )
        lines = service.find("connect failed", dport=PORT + 3)
    assert [line["reason"] for line in lines] == ["network_unreachable"] * expected


@pytest.fixture(scope="module")
def service(hook: str) -> Iterator[Service]:
    """Return the service in its default mode."""
    with sandbox.service(HOOK=hook) as running:
        yield running
