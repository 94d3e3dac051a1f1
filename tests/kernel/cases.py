"""Connects whose end is known: the application's own errno is the truth.

Every row is one case, one kind of address and one way to wait; it connects `TIMES` times to a port
of its own, by which the service's failures are told apart. What the application saw is the truth,
and is independent of what the kernel program sees.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tcp_trace import sandbox
from tcp_trace.core.reasons import Reason
from tcp_trace.sandbox import SERVER, SERVER6
from tests.kernel.connects import GIVE_UP_SECONDS, attempt, family_of, many

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tcp_trace.sandbox import Network

TIMES = 23
IPV4, IPV6, MAPPED = "IPv4", "IPv6", "v4-mapped"
FAMILIES = (IPV4, IPV6, MAPPED)
IPPROTO_MPTCP = 262

# What comes to the server is treated by port; the rows of a case take ports from its range on.
RST, DROP, ICMP_HOST, ICMP_ADMIN, ICMP_PORT = 21_000, 22_000, 23_000, 24_000, 25_000
CLOSED, OPEN, ROUTED = 26_000, 27_000, 28_000
LOCAL_DROP, LOCAL_REJECT = 29_000, 30_000

SERVER_FIREWALL = "; ".join(
    [
        f"tcp dport {RST}-{RST + 999} reject with tcp reset",
        f"tcp dport {DROP}-{DROP + 999} drop",
        f"tcp dport {ICMP_HOST}-{ICMP_HOST + 999} reject with icmpx type host-unreachable",
        f"tcp dport {ICMP_ADMIN}-{ICMP_ADMIN + 999} reject with icmpx type admin-prohibited",
        f"tcp dport {ICMP_PORT}-{ICMP_PORT + 999} reject with icmpx type port-unreachable",
    ]
)
_CLIENT_FIREWALL = (
    "table inet out { chain out { type filter hook output priority 0; "
    f"tcp dport {LOCAL_DROP}-{LOCAL_DROP + 999} drop; "
    f"tcp dport {LOCAL_REJECT}-{LOCAL_REJECT + 999} reject with icmpx type admin-prohibited; }}; }}"
)

_REASONS = {
    errno.ECONNREFUSED: Reason.REFUSED,
    errno.ETIMEDOUT: Reason.TIMED_OUT,
    errno.EINPROGRESS: Reason.CANCELLED,
    errno.EHOSTUNREACH: Reason.HOST_UNREACHABLE,
    errno.ENETUNREACH: Reason.NETWORK_UNREACHABLE,
    errno.EADDRNOTAVAIL: Reason.NO_LOCAL_PORT,
    errno.EPERM: Reason.NOT_PERMITTED,
    errno.ECONNRESET: Reason.RESET,
}

PROHIBITED, UNREACHABLE, NOWHERE, NOBODY = (
    {IPV4: four, IPV6: six, MAPPED: f"::ffff:{four}"}
    for four, six in (
        ("203.0.113.9", "2001:db8:9::1"),
        ("203.0.113.10", "2001:db8:10::1"),
        ("198.51.100.1", "2001:db8:77::1"),
        ("192.0.2.77", "2001:db8::77"),
    )
)
SERVERS = {IPV4: SERVER, IPV6: SERVER6, MAPPED: f"::ffff:{SERVER}"}


@dataclass
class Row:
    """One row of the truth: `make` connects and returns the errnos that the application saw."""

    case: str
    family: str
    waiting: str
    port: int
    make: Callable[[], list[int]]
    needs_returns: bool = False
    eacces: Reason = Reason.HOST_UNREACHABLE
    seen: list[int] = field(default_factory=list)

    def __str__(self) -> str:
        """Name the row for people."""
        return f"{self.case}, {self.family}, {self.waiting}"

    @property
    def truth(self) -> Counter[Reason]:
        """How many failures of which reason the service must tell of."""
        reasons = {**_REASONS, errno.EACCES: self.eacces}
        return Counter(reasons[number] for number in self.seen if number)


class Rows:
    """Makes rows, each with a port of its own."""

    def __init__(self) -> None:
        self._used: Counter[int] = Counter()
        self.rows: list[Row] = []

    def port(self, base: int) -> int:
        """Return the next free port of a range."""
        self._used[base] += 1
        return base + self._used[base]

    def plain(self, case: str, base: int, addresses: dict[str, str], **more: object) -> None:
        """Add a case for all families, blocking and not."""
        patience = more.pop("patience", None)
        for family, address in addresses.items():
            for blocking in (True, False):
                port = self.port(base)

                def make(a: str = address, p: int = port, b: bool = blocking) -> list[int]:  # noqa: FBT001
                    return many(TIMES, lambda: attempt(a, p, blocking=b, patience=patience))  # type: ignore[arg-type]

                waiting = "blocking" if blocking else "non-blocking"
                self.rows.append(Row(case, family, waiting, port, make, **more))  # type: ignore[arg-type]

    def special(
        self,
        case: str,
        base: int,
        function: Callable[[str, int], int],
        families: tuple[str, ...] = FAMILIES,
        **more: object,
    ) -> None:
        """Add a case with an own way to connect: `function(address, port)` returns the errno."""
        for family in families:
            port, address = self.port(base), SERVERS[family]

            def make(a: str = address, p: int = port) -> list[int]:
                return many(TIMES, lambda: function(a, p))

            self.rows.append(Row(case, family, "its own", port, make, **more))  # type: ignore[arg-type]


def build() -> list[Row]:
    """Return all rows that can run side by side."""
    rows = Rows()
    rows.plain("nobody listens", CLOSED, SERVERS)
    rows.plain("firewall rejects with a reset", RST, SERVERS)
    rows.plain("firewall rejects: port unreachable", ICMP_PORT, SERVERS)
    rows.plain("firewall rejects: host unreachable", ICMP_HOST, SERVERS)
    rows.plain("firewall rejects: prohibited", ICMP_ADMIN, SERVERS)
    rows.plain("firewall drops", DROP, SERVERS)
    rows.plain("firewall drops, application gives up", DROP, SERVERS, patience=GIVE_UP_SECONDS)
    rows.plain("no host at that address", ROUTED, NOBODY)
    rows.plain("no route", ROUTED, NOWHERE, needs_returns=True)
    permitted = {"needs_returns": True, "eacces": Reason.NOT_PERMITTED}
    rows.plain("route prohibits", ROUTED, PROHIBITED, **permitted)
    rows.plain("route says unreachable", ROUTED, UNREACHABLE, needs_returns=True)
    rows.plain("local firewall drops", LOCAL_DROP, SERVERS)
    rows.plain("local firewall rejects", LOCAL_REJECT, SERVERS)
    rows.plain("somebody listens", OPEN, SERVERS)
    rows.special("killed while connecting", DROP, killed_once)
    rows.special("AF_UNSPEC while connecting", DROP, disconnect)
    rows.special("TCP Fast Open, nobody listens", CLOSED, fast_open)
    rows.special("TCP Fast Open, somebody listens", OPEN, fast_open)
    if Path("/proc/sys/net/mptcp").exists():  # Debian's 5.10 is built without it
        rows.special("MPTCP, nobody listens", CLOSED, mptcp)
        rows.special("MPTCP, somebody listens", OPEN, mptcp)
    rows.special("IPv6 only, v4-mapped", CLOSED, v6_only, (MAPPED,), needs_returns=True)
    return rows.rows


def disconnect(address: str, port: int) -> int:
    """Give up by `connect(AF_UNSPEC)`, which leaves the socket open."""
    with socket.socket(family_of(address)) as sock:
        sock.settimeout(0)
        sock.connect_ex((address, port))
        time.sleep(GIVE_UP_SECONDS)
        if sandbox.LIBC.connect(sock.fileno(), bytes(16), 16):
            raise OSError("connect(AF_UNSPEC)")
        return errno.EINPROGRESS


def fast_open(address: str, port: int) -> int:
    """Connect by sending."""
    with socket.socket(family_of(address)) as sock:
        try:
            sock.sendto(b"x", socket.MSG_FASTOPEN, (address, port))
        except OSError as error:
            return error.errno or 0
        return 0


def mptcp(address: str, port: int) -> int:
    """Connect by MPTCP, whose subflow is a TCP socket of the kernel's."""
    with socket.socket(family_of(address), socket.SOCK_STREAM, IPPROTO_MPTCP) as sock:
        return sock.connect_ex((address, port))


def v6_only(address: str, port: int) -> int:
    """Connect to a v4-mapped address from a socket that may not."""
    with socket.socket(socket.AF_INET6) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        return sock.connect_ex((address, port))


def killed_once(address: str, port: int) -> int:
    """Let a process be killed while it connects."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        sock = socket.socket(family_of(address))
        sock.settimeout(0)
        sock.connect_ex((address, port))
        os.write(write_end, b"x")
        signal.pause()
    select.select([read_end], [], [], 10)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(read_end)
    os.close(write_end)
    return errno.EINPROGRESS


@contextlib.contextmanager
def listening(network: Network, rows: list[Row]) -> Iterator[None]:
    """Let somebody listen on the ports that are to be open, in a process of its own."""
    ports = [str(row.port) for row in rows if OPEN <= row.port < OPEN + 1000]
    command = ["ip", "netns", "exec", network.server, sys.executable, "-c", _LISTENERS, *ports]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        yield
        process.communicate()


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
    for kind, addresses in (("prohibit", PROHIBITED), ("unreachable", UNREACHABLE)):
        sandbox.run("ip", "-n", client, "route", "add", kind, f"{addresses[IPV4]}/32")
        sandbox.run("ip", "-n", client, "-6", "route", "add", kind, f"{addresses[IPV6]}/128")
    sandbox.run_in(client, "nft", _CLIENT_FIREWALL)
    for namespace in network:  # else most rejects would be drops
        for limit in ("net.ipv4.icmp_ratelimit=0", "net.ipv6.icmp.ratelimit=0"):
            sandbox.run_in(namespace, "sysctl", "-qw", limit)


def connect_all(network: Network, rows: list[Row]) -> None:
    """Make all connects, rows side by side, and note what the application saw."""

    def inside() -> None:
        with ThreadPoolExecutor(12) as pool:
            for row, seen in zip(rows, pool.map(lambda row: row.make(), rows), strict=True):
                row.seen = seen

    with listening(network, rows):
        sandbox.call_in(network.client, inside)
