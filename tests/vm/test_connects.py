"""Real connects: what is logged of each, and who is told when."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from tcp_trace.incidents.policy import Policy
from tests.vm.service import CLOSED, DROPPED, OPEN

if TYPE_CHECKING:
    from tests.vm.service import Line, Peer, Receiver, Service

_NOBODY = 65_534
# A second was promised; an emulated machine is ten times as slow as hardware.
_TOLD_WITHIN = {"kvm": 1.0, "tcg": 3.0}


def _count(message: Line) -> str:
    """Return what a message says it counts."""
    count = re.search(r"^Failures: (.*)$", message["payload"]["text"], re.MULTILINE)
    assert count is not None, message
    return count[1]


def test_every_failure_is_a_line_and_no_success(service: Service, peer: Peer) -> None:
    """23 refused, 1 timed out, 1 given up and 46 successes are 25 lines with maker and reason."""
    address = peer.address()
    service.use(DEST_IP=address)
    fine = service.connects("web", address, OPEN, "--times", "46")
    refused = service.connects("checkout", address, CLOSED, "--times", "23", uid=_NOBODY)
    timed_out = service.connects("warmer", address, DROPPED, "--retries", "1")
    gave_up = service.connects("kafka", address, DROPPED, "--timeout", "0.5")
    assert (fine.ends, refused.ends) == ({"0": 46}, {"ECONNREFUSED": 23})
    assert (timed_out.ends, gave_up.ends) == ({"ETIMEDOUT": 1}, {"EAGAIN": 1})

    lines = service.wait_for_failures(address, 25)
    assert len(lines) == 25
    of_refused = [line for line in lines if line["comm"] == "checkout"]
    assert len({line["lport"] for line in of_refused} - {0}) == 23
    for line in of_refused:
        assert _told(line) == ("refused", "ECONNREFUSED", CLOSED, refused.pid, _NOBODY, 1)
        assert 0 < line["elapsed_ms"] < refused.slowest
    of_timeout, of_gave_up = lines[23:]
    assert _told(of_timeout) == ("timed_out", "ETIMEDOUT", DROPPED, timed_out.pid, 0, 2)
    # Repeated after 1 s, given up 2 s later; a kernel that lost ticks is early by them.
    assert 2000 < of_timeout["elapsed_ms"] < timed_out.slowest
    # A program that was kept from giving up in time sends the SYN again after 1 s.
    syns = {1} if gave_up.slowest < 900 else {1, 2, 3, 4}
    assert of_gave_up["syns"] in syns, gave_up
    expected = ("cancelled", None, DROPPED, gave_up.pid, 0, of_gave_up["syns"])
    assert _told(of_gave_up) == expected
    assert 500 <= of_gave_up["elapsed_ms"] < gave_up.slowest
    assert all(line["level"] == "warning" for line in lines)


def _told(line: Line) -> tuple[object, ...]:
    return tuple(line[name] for name in ("reason", "errno", "dport", "pid", "uid", "syns"))


def test_ipv6_and_v4_mapped_are_told_as_what_they_are(service: Service, peer: Peer) -> None:
    """23 refused connects over IPv6 are told by that address, a v4-mapped one as IPv4."""
    six, four = peer.address6(), peer.address()
    service.use(DEST_IP=f"2001:db8::/64,{four}/32")
    service.connects("six", six, CLOSED, "--times", "23")
    service.connects("mapped", f"::ffff:{four}", CLOSED)
    assert len(service.wait_for_failures(six, 23)) == 23
    (mapped,) = service.wait_for_failures(four, 1)
    assert (mapped["comm"], mapped["reason"]) == ("mapped", "refused")


def test_first_failure_at_once_then_folded_then_recovered(
    service: Service, receiver: Receiver, peer: Peer
) -> None:
    """The first of 23 failures is told at once, the others in one message, success as recovery."""
    address = peer.address()
    service.use(DEST_IP=address)
    # The tests before this one have made four destinations fail: with a fifth it would be a storm,
    # of which people hear when it is known how large it is.
    time.sleep(Policy().storm_window)
    service.connects("checkout", address, CLOSED, "--times", "23")
    first = service.wait_for_failures(address, 23)[0]
    opened, updated = receiver.wait_for(address, 2)
    delays = [opened["at"] - first["at"]]
    assert updated["at"] - first["at"] > 3.9  # ALERT_INTERVAL is 4 s
    assert (_count(opened), _count(updated)) == ("1", "22 more, 23 in all")
    for message in (opened, updated):
        text = message["payload"]["text"]
        assert all(word in text for word in (f"{address}:{CLOSED}", "refused", "checkout", "db-1"))
        assert message["payload"]["blocks"]

    listening = peer.listen(CLOSED)
    assert service.connects("checkout", address, CLOSED).ends == {"0": 1}
    service.vm.run(["systemctl", "stop", listening])
    recovered = receiver.wait_for(address, 3)[2]
    assert "RECOVERED" in recovered["payload"]["text"]
    assert _count(recovered) == "23, all reported before"
    assert len(service.failures(address)) == 23
    assert len(receiver.messages(address)) == 3

    # The least of three: the machine's other work only adds to it.
    within = _TOLD_WITHIN[service.accel]
    while min(delays) >= within and len(delays) < 3:
        delays.append(_delay(service, receiver, peer.address()))
    print(f"\nfirst failure told after {delays} s")
    assert 0 < min(delays) < within, delays


def _delay(service: Service, receiver: Receiver, address: str) -> float:
    """Return the seconds from a failure at an address to its message."""
    service.use(DEST_IP=address)
    time.sleep(Policy().storm_window)
    service.connects("checkout", address, CLOSED)
    (first,) = service.wait_for_failures(address, 1)
    return float(receiver.wait_for(address)[0]["at"] - first["at"])
