"""The network namespace of this process: its number, and what the kernel counts in it itself."""

from __future__ import annotations

from pathlib import Path

from tcp_trace.core.coverage import Counted

INUM = Path("/proc/self/ns/net").stat().st_ino
"""The inode number, as the kernel program gives it."""

_SNMP = Path("/proc/self/net/snmp")
_NETSTAT = Path("/proc/self/net/netstat")


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
