"""Names as a host learns them: by the stub of systemd-resolved, from a real name server."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from tests.vm.service import CLOSED, Peer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.vm.machine import Machine
    from tests.vm.service import Receiver, Service

_NAME = "db.shop.example"
_PROGRAM = f"""
import socket
address = socket.getaddrinfo("{_NAME}", {CLOSED}, socket.AF_INET, socket.SOCK_STREAM)[0][4]
raise SystemExit(socket.socket().connect_ex(address) != 111)
"""
_ADDRESSED = f"""
import socket
raise SystemExit(socket.socket().connect_ex(("{{address}}", {CLOSED})) != 111)
"""


@contextlib.contextmanager
def _stub(vm: Machine, address: str) -> Iterator[None]:
    """Let the machine resolve by systemd-resolved, which asks dnsmasq, which knows one name."""
    server = "198.51.100.2"
    vm.run(
        f"""set -e
        systemd-run -q --collect --unit=name-server ip netns exec {Peer.NAME} dnsmasq \\
            --keep-in-foreground --conf-file=/dev/null --no-resolv --user=root \\
            --listen-address={server} --bind-interfaces --local-ttl=60 --address=/{_NAME}/{address}
        mkdir -p /run/systemd/resolved.conf.d
        printf '[Resolve]\\nDNS={server}\\n' > /run/systemd/resolved.conf.d/test.conf
        cp /etc/resolv.conf /run/resolv.conf.before
        echo nameserver 127.0.0.53 > /etc/resolv.conf
        systemctl unmask -q systemd-resolved
        systemctl start systemd-resolved""",
        timeout=120,
    )
    try:
        yield
    finally:
        vm.run(
            "cp /run/resolv.conf.before /etc/resolv.conf; "
            "systemctl stop systemd-resolved name-server; systemctl mask -q systemd-resolved"
        )


def test_the_name_asked_of_the_stub(
    vm: Machine, service: Service, peer: Peer, receiver: Receiver
) -> None:
    """It is told in log and message; a host that is watched by name is, by all its addresses."""
    address = peer.address()
    with _stub(vm, address):
        service.use(DEST_HOST=_NAME)
        vm.run(["python3", "-c", _PROGRAM])
        (line,) = service.wait_for_failures(address, 1)
        (message,) = receiver.wait_for(address)
    assert (line["host"], line["dport"]) == (_NAME, CLOSED)
    assert f"`{_NAME}:{CLOSED} ({address})`" in message["payload"]["text"]


def test_the_name_that_resolved_asked_for_others(
    vm: Machine, service: Service, peer: Peer, receiver: Receiver
) -> None:
    """What systemd-resolved was told for a program is told of whoever connects there."""
    address = peer.address()
    with _stub(vm, address):
        service.use()
        vm.run(["resolvectl", "query", "-4", _NAME])
        vm.run(["python3", "-c", _ADDRESSED.format(address=address)])
        (line,) = service.wait_for_failures(address, 1)
        assert receiver.wait_for(address)
    assert (line["host"], line["dport"]) == (_NAME, CLOSED)
