"""`systemctl reload`: another configuration without a restart, and without losing an attempt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.vm.service import CLOSED, DROPPED, OPENED_LATER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.vm.service import Peer, Service


@pytest.fixture
def opening(peer: Peer) -> Iterator[Peer]:
    """Let a test open OPENED_LATER, and drop what comes to it again afterwards."""
    yield peer
    peer.drop(DROPPED, OPENED_LATER)


def test_a_reload_changes_what_is_watched(service: Service, peer: Peer) -> None:
    """After a reload the new destination's 23 failures are told, none of the old one's."""
    old, new = peer.address(), peer.address()
    service.use(DEST_IP=old)
    pid = service.pid
    service.connects("before", old, CLOSED, "--times", "23")
    service.connects("before", new, CLOSED, "--times", "7")
    service.wait_for_failures(old, 23)
    service.use(DEST_IP=f"{new}:{CLOSED}")
    service.connects("after", old, CLOSED, "--times", "7")
    service.connects("after", new, CLOSED, "--times", "23")
    service.wait_for_failures(new, 23)
    assert [line["comm"] for line in service.failures(old)] == ["before"] * 23
    assert [line["comm"] for line in service.failures(new)] == ["after"] * 23
    assert service.pid == pid


def test_attempts_in_flight_over_a_reload_are_judged(service: Service, opening: Peer) -> None:
    """Of two attempts in flight over a reload the failing one is told, the other one is not."""
    old, new = opening.address(), opening.address()
    service.use(DEST_IP=old)
    # SYNs after 0, 1, 3, 7 and for the second one 15 s.
    failing = service.start_connects("failing", old, DROPPED, "--retries", "3")
    succeeding = service.start_connects("fine", old, OPENED_LATER, "--retries", "4")
    service.vm.wait_until(f"[ $(ss -Htn state syn-sent dst {old} | wc -l) = 2 ]", interval=0.05)
    service.use(DEST_IP=new)
    in_flight = service.vm.run(f"ss -Htn state syn-sent dst {old} | wc -l").stdout
    assert in_flight == "2\n", "the reload took too long to show anything"
    opening.drop(DROPPED)
    made = service.wait(failing)
    assert service.wait(succeeding).ends == {"0": 1}
    assert made.ends == {"ETIMEDOUT": 1}
    (line,) = service.wait_for_failures(old, 1)
    told = [line[name] for name in ("comm", "pid", "reason", "syns", "dport")]
    assert told == ["failing", made.pid, "timed_out", 4, DROPPED]


def test_a_wrong_configuration_changes_nothing(service: Service, peer: Peer) -> None:
    """A reload with errors logs each of them, and what was in force stays so."""
    address = peer.address()
    service.use(DEST_IP=address)
    pid = service.pid
    service.configure(DEST_IP="192.0.2.0/99", ALERT_INTERVAL="soon", RESOLVE_AFTR="2s")
    refused = [
        line["message"]
        for line in service.reload("not reloaded")
        if line["message"].startswith("not reloaded: ")
    ]
    for name in ("DEST_IP", "ALERT_INTERVAL", "RESOLVE_AFTR"):
        assert sum(name in message for message in refused) == 1, refused
    service.connects("still", address, CLOSED, "--times", "23")
    assert len(service.wait_for_failures(address, 23)) == 23
    assert (service.pid, service.show("ActiveState")) == (pid, "active")
