"""The matrix: connects whose end is known, since the application's own errno is the truth.

Every row is one case, one kind of address and one way to wait; it connects `TIMES` times, or that
often times what its way makes, to a port of its own, by which the service's failures are told
apart. What the application saw is the truth, and is independent of what the kernel program sees.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from errno import (
    EACCES,
    EADDRNOTAVAIL,
    ECONNABORTED,
    ECONNREFUSED,
    ECONNRESET,
    EHOSTUNREACH,
    EINPROGRESS,
    EINVAL,
    ENETUNREACH,
    EPROTO,
    ETIMEDOUT,
)
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tcp_trace.commands import sandbox
from tcp_trace.connects.reasons import Reason
from tests.kernel import peer, uring, ways
from tests.kernel.connects import GIVE_UP_SECONDS
from tests.kernel.rows import (
    IPV4,
    IPV6,
    LOST_RACE,
    MAPPED,
    SERVERS,
    Rows,
    once,
    own,
    plain,
    waiting,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tcp_trace.commands.sandbox import Network
    from tests.kernel.rows import Row

ROOT = Path(__file__).parents[2]

# What comes to the server is treated by port; the rows of a case take ports from its range on.
RST, DROP, ICMP_HOST, ICMP_ADMIN, ICMP_PORT = 21_000, 22_000, 23_000, 24_000, 25_000
CLOSED, OPEN, ROUTED = 26_000, 27_000, 28_000
LOCAL_DROP, LOCAL_REJECT, ICMP_ROUTE = 29_000, 30_000, 31_000
REJECTED_ONCE = 20_000
WON_BY_IPV4, WON_BY_IPV6 = 36_000, 37_000
_LISTENED_TO = (OPEN, WON_BY_IPV4, WON_BY_IPV6)


def _ports(base: int) -> str:
    return f"tcp dport {base}-{base + 999}"


SERVER_FIREWALL = "; ".join(
    [
        f"{_ports(RST)} reject with tcp reset",
        f"{_ports(DROP)} drop",
        f"{_ports(ICMP_HOST)} reject with icmpx type host-unreachable",
        f"{_ports(ICMP_ADMIN)} reject with icmpx type admin-prohibited",
        f"{_ports(ICMP_PORT)} reject with icmpx type port-unreachable",
        f"{_ports(ICMP_ROUTE)} reject with icmpx type no-route",
        f"tcp dport {peer.PORTS[0]}-{peer.PORTS[1]} drop",
        f"meta nfproto ipv6 {_ports(WON_BY_IPV4)} drop",
        f"meta nfproto ipv4 {_ports(WON_BY_IPV6)} drop",
    ]
)
_CLIENT_FIREWALL = (
    "table inet out { chain out { type filter hook output priority 0; "
    f"{_ports(LOCAL_DROP)} drop; "
    f"{_ports(LOCAL_REJECT)} reject with icmpx type admin-prohibited; "
    # The first SYN of each socket: its answer comes while connect() still has the socket.
    f"{_ports(REJECTED_ONCE)} meter once {{ tcp dport . tcp sport limit rate 1/hour "
    "burst 1 packets } reject with icmpx type host-unreachable; "
    f"{_ports(REJECTED_ONCE)} drop; }}; }}"
)

PROHIBITED, UNREACHABLE, DISCARDED, NOWHERE, NOBODY, LOOPBACK = (
    {IPV4: four, IPV6: six, MAPPED: f"::ffff:{four}"}
    for four, six in (
        ("203.0.113.9", "2001:db8:9::1"),
        ("203.0.113.10", "2001:db8:10::1"),
        ("203.0.113.11", "2001:db8:11::1"),
        ("198.51.100.1", "2001:db8:77::1"),
        ("192.0.2.77", "2001:db8::77"),
        ("127.0.0.1", "::1"),
    )
)
_ROUTES = {"prohibit": PROHIBITED, "unreachable": UNREACHABLE, "blackhole": DISCARDED}

_INVALID = "connect() returns EINVAL, which mostly is the caller's own mistake and is not told"


def build() -> list[Row]:
    """Return all rows."""
    rows = Rows()
    _answered(rows)
    _unanswered(rows)
    _without_a_syn(rows)
    _unusual(rows)
    for loser, winner, base in (
        (IPV6, IPV4, WON_BY_IPV4),
        (IPV4, IPV6, WON_BY_IPV6),
        (MAPPED, IPV6, WON_BY_IPV6),
    ):
        _race(rows, loser, winner, base)
    return rows.rows


def _answered(rows: Rows) -> None:
    """Add what is told before long. ICMP errors are limited: one that is not sent is a drop."""
    rows.add("nobody listens", CLOSED, plain(), ECONNREFUSED)
    rows.add("firewall rejects with a reset", RST, plain(), ECONNREFUSED)
    icmp = (ETIMEDOUT, EHOSTUNREACH, EACCES)
    rejects = "firewall rejects:"
    rows.add(f"{rejects} port unreachable", ICMP_PORT, plain(), ECONNREFUSED, ETIMEDOUT)
    rows.add(f"{rejects} host unreachable", ICMP_HOST, plain(), *icmp)
    rows.add(f"{rejects} no route", ICMP_ROUTE, plain(), ENETUNREACH, ETIMEDOUT)
    rows.add(f"{rejects} prohibited", ICMP_ADMIN, plain(), *icmp)
    rows.add("local firewall rejects", LOCAL_REJECT, plain(), *icmp)
    # These answers are a process's, which may be late.
    lasts = plain(lasts=True)
    rows.add("router answers: parameter problem", peer.ICMP_PROBLEM, lasts, EPROTO)
    rows.add("SYNs cross, then a reset", peer.CROSSED_RESET, lasts, ECONNRESET)
    rows.add("SYNs cross", peer.CROSSED, lasts, 0)
    rows.add("somebody listens", OPEN, plain(), 0)


def _unanswered(rows: Rows) -> None:
    gives_up = plain(GIVE_UP_SECONDS)
    rows.add("firewall drops", DROP, plain(), ETIMEDOUT)
    rows.add("firewall drops, application gives up", DROP, gives_up, EINPROGRESS)
    rows.add("local firewall drops", LOCAL_DROP, plain(), ETIMEDOUT)
    rows.add("no host at that address", ROUTED, plain(), ETIMEDOUT, EHOSTUNREACH, to=NOBODY)
    rows.add("SYNs cross, then silence", peer.CROSSED_SILENT, plain(), ETIMEDOUT)
    rows.add("SYNs cross, application gives up", peer.CROSSED_SILENT, gives_up, EINPROGRESS)
    killed = own(ways.killed)
    rows.add("killed while connecting", DROP, killed, EINPROGRESS, by_this_process=False)
    rows.add("AF_UNSPEC while connecting", DROP, own(ways.disconnect), EINPROGRESS)


def _without_a_syn(rows: Rows) -> None:
    for case, to, number in (
        ("no route", NOWHERE, ENETUNREACH),
        ("route says unreachable", UNREACHABLE, EHOSTUNREACH),
    ):
        rows.add(case, ROUTED, plain(), number, to=to, needs_returns={number: ""})
    permitted, untold = {EACCES: Reason.NOT_PERMITTED.value}, {EACCES: ""}
    prohibited = {"means": permitted, "needs_returns": untold}
    rows.add("route prohibits", ROUTED, plain(), EACCES, to=PROHIBITED, **prohibited)
    rows.add("route discards", ROUTED, plain(), EINVAL, to=DISCARDED, cannot=_INVALID)
    used_up = waiting(ways.without_local_ports)
    rows.add("no local port", CLOSED, used_up, EADDRNOTAVAIL, to=LOOPBACK, unsent=True)
    in_use = own(ways.from_a_port_in_use)
    rows.add("local port in use", OPEN, in_use, 0, EADDRNOTAVAIL, unsent=True)
    mapped, untold = {MAPPED: SERVERS[MAPPED]}, {ENETUNREACH: ""}
    v6_only = own(ways.v6_only)
    rows.add("IPv6 only, v4-mapped", CLOSED, v6_only, ENETUNREACH, to=mapped, needs_returns=untold)
    for name, give_up in (
        ("gives up", socket.socket.close),
        ("shuts down", ways.shut_down),
        ("AF_UNSPEC", ways.unspecify),
    ):
        for family, nowhere in NOWHERE.items():
            both = once(partial(ways.gives_up_then, nowhere, give_up))
            case, to = f"{name}, then no route", {family: SERVERS[family]}
            rows.add(case, DROP, both, EINPROGRESS, ENETUNREACH, to=to, needs_returns=untold)


def _unusual(rows: Rows) -> None:
    rows.add("connects again after a failure", OPEN, own(ways.again), ECONNREFUSED, 0)
    closes = once(ways.never_accepted)
    rows.add("listener closes before it accepts", CLOSED, closes, 0, to=LOOPBACK)
    rows.add("TCP Fast Open, never written", DROP, own(ways.deferred), 0)
    gone = {ECONNABORTED: Reason.NETWORK_UNREACHABLE.value}
    written = once(ways.deferred_without_a_route)
    case, to = "TCP Fast Open, no route when it is written", NOWHERE
    rows.add(case, ROUTED, written, ECONNABORTED, to=to, means=gone, unsent=True)
    takes = own(ways.takes_the_error)
    rows.add("application takes the error", REJECTED_ONCE, takes, EHOSTUNREACH)
    mptcp = "" if Path("/proc/sys/net/mptcp").exists() else "this kernel has no MPTCP"
    for name, function, lacks in (
        ("TCP Fast Open", ways.fast_open, ""),
        ("MPTCP", ways.mptcp, mptcp),
        ("io_uring", ways.io_uring, uring.lacking()),
        ("io_uring, in a worker", ways.io_uring_worker, uring.lacking()),
    ):
        rows.add(f"{name}, nobody listens", CLOSED, own(function), ECONNREFUSED, lacks=lacks)
        rows.add(f"{name}, somebody listens", OPEN, own(function), 0, lacks=lacks)


def _race(rows: Rows, loser: str, winner: str, base: int) -> None:
    """Add races of two addresses, one after the other: who is slow to close has lost no race."""
    late: set[int] = set()

    def make(address: str, port: int) -> list[int]:
        return ways.races(address, SERVERS[winner], port, late)

    means, to = {EINPROGRESS: LOST_RACE}, {loser: SERVERS[loser]}
    case = f"lost race against {winner}"
    rows.add(case, base, once(make), EINPROGRESS, 0, to=to, means=means, alone=True, late=late)


@contextlib.contextmanager
def answering(network: Network, rows: list[Row]) -> Iterator[None]:
    """Let somebody listen on the ports that are to be open, and the odd peer answer on its own."""
    ports = [str(row.port) for row in rows if row.port // 1000 * 1000 in _LISTENED_TO]
    with _running(network, "-c", _LISTENERS, *ports), _running(network, "-m", peer.__name__):
        yield


@contextlib.contextmanager
def _running(network: Network, *arguments: str) -> Iterator[None]:
    """Run Python in the server's namespace, until its standard input ends."""
    command = ["ip", "netns", "exec", network.server, sys.executable, *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        yield
        process.communicate()
    assert process.returncode == 0


_LISTENERS = """
import select, socket, sys
servers = []
for port in sys.argv[1:]:
    server = socket.create_server(("", int(port)), family=socket.AF_INET6, dualstack_ipv6=True,
                                  backlog=256)
    servers.append(server)
print("listening", flush=True)
while True:
    ready = select.select([sys.stdin, *servers], [], [])[0]
    if sys.stdin in ready:
        break
    for server in ready:
        server.accept()[0].close()
"""


def prepare(network: Network) -> None:
    """Set up the client's routes and firewall."""
    client = network.client
    for kind, addresses in _ROUTES.items():
        sandbox.run("ip", "-n", client, "route", "add", kind, f"{addresses[IPV4]}/32")
        sandbox.run("ip", "-n", client, "-6", "route", "add", kind, f"{addresses[IPV6]}/128")
    sandbox.run_in(client, "nft", _CLIENT_FIREWALL)
    for namespace in network:  # else most rejects would be drops
        for limit in ("net.ipv4.icmp_ratelimit=0", "net.ipv6.icmp.ratelimit=0"):
            sandbox.run_in(namespace, "sysctl", "-qw", limit)


def connect_all(network: Network, rows: list[Row]) -> None:
    """Make all connects, rows side by side but those that must be alone; note what was seen."""

    def run(row: Row) -> None:
        row.seen = [] if row.lacks else row.make()

    def inside() -> None:
        with ThreadPoolExecutor(12) as pool:
            list(pool.map(run, (row for row in rows if not row.alone)))
        for row in rows:
            if row.alone:
                run(row)

    with answering(network, rows):
        sandbox.call_in(network.client, inside)
