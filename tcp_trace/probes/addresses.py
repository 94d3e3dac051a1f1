"""Decodes addresses and processes of the C, once, at the edge.

Few makers connect to few destinations, so most parts of a record were decoded before and are
cached. A cached value takes 300 bytes.
"""

from __future__ import annotations

import socket
from functools import lru_cache

from tcp_trace.connects.events import Destination, Process
from tcp_trace.host import netns
from tcp_trace.probes.shapes import DESTINATION, MAKER
from tcp_trace.safetext import printable

_V4_MAPPED = b"\0" * 10 + b"\xff\xff"
_LOOPBACK = (_V4_MAPPED + b"\x7f", b"\0" * 15 + b"\1")


@lru_cache(maxsize=1024)
def destination_of(packed: bytes) -> Destination:
    """Decode one `struct destination`."""
    daddr, inum, hash_mix, ifindex, dport, _ = DESTINATION.unpack(packed)
    interface = netns.interface(inum, ifindex)
    return Destination(address_of(daddr), dport, inum, hash_mix, interface)


@lru_cache(maxsize=1024)
def process_of(packed: bytes) -> Process | None:
    """Decode one `struct maker`; None if the process is unknown."""
    cgroup_id, born, pid, is_foreign, uid, inum, comm, thread = MAKER.unpack(packed)
    if not pid:
        return None
    name = _text(thread) or None
    return Process(pid, _text(comm), uid, cgroup_id, inum, name, bool(is_foreign), born)


@lru_cache(maxsize=1024)
def address_of(packed: bytes) -> str:
    """Return the canonical text of an address; a v4-mapped one is IPv4."""
    if packed.startswith(_V4_MAPPED):
        return socket.inet_ntop(socket.AF_INET, packed[12:])
    return socket.inet_ntop(socket.AF_INET6, packed)


def is_loopback(packed: bytes) -> bool:
    """Return whether an address is one of this host alone: 127.0.0.0/8 or ::1."""
    return packed.startswith(_LOOPBACK)


def is_near(packed: bytes, other: bytes) -> bool:
    """Return whether two addresses are in one /24 or /64."""
    bits = 120 if other.startswith(_V4_MAPPED) else 64
    return packed[: bits // 8] == other[: bits // 8]


def pack(address: str) -> bytes:
    """Return the 16 bytes that the kernel program uses for an address."""
    if ":" in address:
        return socket.inet_pton(socket.AF_INET6, address)
    return _V4_MAPPED + socket.inet_pton(socket.AF_INET, address)


def _text(comm: bytes) -> str:
    """Return a process's name of itself, escaped; untrusted."""
    return printable(comm.partition(b"\0")[0].decode(errors="backslashreplace"))
