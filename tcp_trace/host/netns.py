"""The network namespace of this process: number, interfaces, and the kernel's own counters."""

from __future__ import annotations

import socket
from pathlib import Path

from tcp_trace.connects.coverage import Kernel
from tcp_trace.safetext import printable

_SNMP = Path("/proc/self/net/snmp")
_NETSTAT = Path("/proc/self/net/netstat")
_ABORT_ON_OVERFLOW = Path("/proc/sys/net/ipv4/tcp_abort_on_overflow")


def own() -> int:
    """Return this namespace's inode number, as the kernel program has it."""
    return Path("/proc/self/ns/net").stat().st_ino


def interface(inum: int, index: int) -> str:
    """Return the name of an interface, its index if the name is unknown, "" for index 0.

    Names of other namespaces (`inum` not 0) cannot be seen from here. A name that is a number is
    not used, so that `ifindex` can invert this.
    """
    if not index:
        return ""
    if inum:
        return str(index)
    try:
        name = socket.if_indextoname(index)
    except OSError:  # the interface is gone
        return str(index)
    return str(index) if name.isdecimal() else printable(name)


def ifindex(inum: int, interface: str) -> int | None:
    """Return the index of a name from `interface`, None if that interface is gone."""
    if not interface or interface.isdecimal():
        return int(interface or 0)
    try:
        return None if inum else socket.if_nametoindex(interface)
    except OSError:
        return None


def counted_until_now() -> Kernel:
    """Return the kernel's counts since boot, with never too many failures of attempts.

    The counts to subtract are read last. Raises OSError.
    """
    tcp = _table(_SNMP, "Tcp:")
    return _kernel(tcp, _table(_NETSTAT, "TcpExt:"))


def counted_from_now() -> Kernel:
    """Return the same with never too few: the counts to subtract are read first."""
    extended = _table(_NETSTAT, "TcpExt:")
    return _kernel(_table(_SNMP, "Tcp:"), extended)


def _kernel(tcp: dict[str, int], extended: dict[str, int]) -> Kernel:
    # With this sysctl EmbryonicRsts also counts connections that tcp_check_req() resets because the
    # accept queue is full; AttemptFails does not.
    resets_overflows = _ABORT_ON_OVERFLOW.read_text().strip() != "0"
    return Kernel(
        tcp["ActiveOpens"],
        tcp["AttemptFails"],
        extended["EmbryonicRsts"],
        extended["ListenOverflows"] if resets_overflows else 0,
    )


def _table(path: Path, head: str) -> dict[str, int]:
    """Return the counters of one protocol: a line of names, then one of values."""
    names, values = (
        line.split()[1:] for line in path.read_text().splitlines() if line.startswith(head)
    )
    return dict(zip(names, map(int, values), strict=True))
