"""Whose socket connects: what a server cannot ask its peer over TCP, the kernel tells."""

from __future__ import annotations

from pathlib import Path


def connected_as(own: int, peer: int) -> int:
    """Return the uid of whose IPv4 socket on the port `peer` is connected to the port `own`."""
    (uid,) = (
        int(fields[7])
        for fields in map(str.split, Path("/proc/net/tcp").read_text().splitlines()[1:])
        if [int(end.partition(":")[2], 16) for end in fields[1:3]] == [peer, own]
    )
    return uid
