"""The network namespace of this process: number, interfaces, and what the kernel counts itself."""

from __future__ import annotations

import socket
from pathlib import Path

from tcp_trace.core.coverage import Counted
from tcp_trace.core.safetext import printable

INUM = Path("/proc/self/ns/net").stat().st_ino
"""The inode number, as the kernel program gives it."""

_SNMP = Path("/proc/self/net/snmp")
_NETSTAT = Path("/proc/self/net/netstat")


def interface(inum: int, index: int) -> str:
    """Return the name of an interface, its index where that is not known; "" for index 0.

    The names of another namespace than this one (`inum` 0) cannot be seen from here. A name that
    is a number is not taken, so that `ifindex` leads back.
    """
    if not index:
        return ""
    if inum:
        return str(index)
    try:
        name = socket.if_indextoname(index)
    except OSError:  # it is gone
        return str(index)
    return str(index) if name.isdecimal() else printable(name)


def ifindex(inum: int, interface: str) -> int | None:
    """Return the index of what `interface` returned, None where it is gone."""
    if not interface or interface.isdecimal():
        return int(interface or 0)
    try:
        return None if inum else socket.if_nametoindex(interface)
    except OSError:
        return None


def counted(snmp: Path = _SNMP, netstat: Path = _NETSTAT) -> Counted:
    """Return the attempts that sent a SYN and those that an error ended, since the boot.

    `ActiveOpens` and `AttemptFails` of RFC 4022. The latter also counts handshakes of others that
    a peer broke off; these are `EmbryonicRsts` as well. Raises OSError.
    """
    tcp, extended = _table(snmp, "Tcp:"), _table(netstat, "TcpExt:")
    return Counted(tcp["ActiveOpens"], tcp["AttemptFails"] - extended["EmbryonicRsts"])


def _table(path: Path, head: str) -> dict[str, int]:
    """Return the counters of one protocol: a line of names, and one of values below it."""
    names, values = (
        line.split()[1:] for line in path.read_text().splitlines() if line.startswith(head)
    )
    return dict(zip(names, map(int, values), strict=True))
