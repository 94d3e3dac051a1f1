"""Segments that are sent again, in the metrics of the running service."""

from __future__ import annotations

import socket
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tcp_trace.commands import sandbox
from tcp_trace.commands.sandbox import SERVER, call_in, run_in
from tests import descriptors
from tests.kernel.connects import attempt, many
from tests.kernel.test_metrics import scrape
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable

    from tcp_trace.commands.sandbox import Network

DROPPED, OPEN = 11_950, 12_950
TIMES = 23
COUNT = "tcp_trace_retransmits_total"
ME = Path("/proc/self/comm").read_text().strip()

# struct tcp_info of include/uapi/linux/tcp.h
_UNACKED, _TOTAL_RETRANS, _INFO_BYTES = 24, 100, 104


def told(port: int) -> dict[tuple[str, ...], float]:
    """Return the counts by destination, process and state: Prometheus sorts the labels."""
    return {key[1:]: count for key, count in scrape(port)[1].items() if key[0] == COUNT}


def info(connected: socket.socket, offset: int) -> int:
    """Return what the kernel itself keeps of a connection."""
    kept = connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_BYTES)
    return int(struct.unpack_from("=I", kept, offset)[0])


def syns_sent_again() -> int:
    """Return what the kernel counted in this network namespace."""
    lines = Path("/proc/thread-self/net/netstat").read_text().splitlines()
    names, values = (line.split() for line in lines if line.startswith("TcpExt:"))
    return int(values[names.index("TCPSynRetrans")])


def send_into_nothing(network: Network, connected: socket.socket) -> None:
    """Send what is dropped on the way for a while, and wait until it is acknowledged."""
    chain = "chain lost { type filter hook input priority 1; "
    run_in(network.server, "nft", f"table inet lost {{ {chain} tcp dport {OPEN} drop; }}; }}")
    connected.sendall(b"x")
    wait_until(lambda: info(connected, _TOTAL_RETRANS) > 0)
    run_in(network.server, "nft", "delete table inet lost")
    wait_until(lambda: not info(connected, _UNACKED))


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_every_segment_that_is_sent_again_is_counted(hook: str, network: Network) -> None:
    """A SYN with who sends it, and data of a connection: as often as the kernel itself says."""
    port = free_port()
    given = {"METRICS": f"127.0.0.1:{port}", "METRICS_DESTINATIONS": "20"}
    server = call_in(network.server, lambda: socket.create_server((SERVER, OPEN)))
    with server, sandbox.service(HOOK=hook, DEST_IP="192.0.2.0/24", **given):
        before = call_in(network.client, syns_sent_again)
        call_in(network.client, lambda: many(TIMES, lambda: attempt(SERVER, DROPPED)))
        syns = call_in(network.client, syns_sent_again) - before
        connected = call_in(network.client, lambda: socket.create_connection((SERVER, OPEN)))
        with connected:
            late = info(connected, _TOTAL_RETRANS)  # SYNs that a busy server answered late
            send_into_nothing(network, connected)
            again = info(connected, _TOTAL_RETRANS) - late
            counts = told(port)
    assert again > 0
    assert syns >= TIMES
    expected = {
        (f"{SERVER}:{DROPPED}", ME, "SYN_SENT"): syns,
        (f"{SERVER}:{OPEN}", ME, "SYN_SENT"): late,
        (f"{SERVER}:{OPEN}", "", "ESTABLISHED"): again,
    }
    assert counts == {key: count for key, count in expected.items() if count}


def test_what_is_not_asked_for_is_not_attached(hook: str, network: Network) -> None:
    """Without destinations of their own in the metrics there is no count, and no program."""
    port = free_port()
    with sandbox.service(HOOK=hook, DEST_IP="192.0.2.0/24", METRICS=f"127.0.0.1:{port}") as service:
        call_in(network.client, lambda: attempt(SERVER, DROPPED))
        text, _ = scrape(port)
        infos = descriptors.infos(service.pid).values()
    assert COUNT.removesuffix("_total") not in text
    assert any("tp_name:\tinet_sock_set_state" in text for text in infos)
    assert not any("tcp_retransmit_skb" in text for text in infos)
