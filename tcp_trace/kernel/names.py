"""The names that the kernel program learned, by its maps' descriptors.

The shapes are those of bpf/names.h. Nothing is read until a failure is told.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tcp_trace.core.names import Told, choose
from tcp_trace.kernel.stream import TALLY, lookup, pack

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tcp_trace.core.events import Failure

# struct name_key: address netns pid
KEY = struct.Struct("=16sII")
# struct name: since_ns seen_ns other_ns ttl pad name
NAME = struct.Struct("=QQQII128s")

MAPS = ("names", "name_tallies")
"""The maps of bpf/names.c, as a hand-over names them."""


class NameTallies(NamedTuple):
    """What the kernel program made of DNS answers since it was attached.

    `names_learned` addresses were taken from them. `names_long` answers were to a name that is
    too long to be kept, `names_paged` ones lay in pages, where only their beginning was read.
    """

    names_learned: int
    names_long: int
    names_paged: int


class Names:
    """Looks names up. Where the kernel program does not watch answers, it knows none."""

    def __init__(self, fds: Mapping[str, int]) -> None:
        self._names = fds.get("names")
        self._tallies = fds.get("name_tallies")
        # Its own look-ups are in the namespace it was started in, which it never leaves.
        self._netns = Path("/proc/self/ns/net").stat().st_ino

    def of(self, failure: Failure) -> str | None:
        """Return the name that the failed attempt was made for, None where it is not known."""
        process = failure.process
        if self._names is None or process is None:
            return None
        address = failure.destination.address
        began = failure.mono - (failure.elapsed or 0.0)
        own = self._told(address, process.netns, process.pid)
        return choose(own, self._told(address, process.netns, 0), began)

    def ttl_since(self, address: str, mono: float) -> int | None:
        """Return the TTL that an answer told this process for an address since `mono` (seconds).

        None where no such answer was seen.
        """
        told = self._told(address, self._netns, os.getpid())
        return told.ttl if told is not None and told.seen >= mono * 1e9 else None

    def tallies(self) -> NameTallies | None:
        """Return what the program counted so far, None where there is none."""
        if self._tallies is None:
            return None
        keys = (struct.pack("=I", which) for which in range(len(NameTallies._fields)))
        values = (lookup(self._tallies, key, TALLY.size) or bytes(TALLY.size) for key in keys)
        return NameTallies(*(TALLY.unpack(value)[0] for value in values))

    def _told(self, address: str, netns: int, pid: int) -> Told | None:
        if self._names is None:
            return None
        value = lookup(self._names, KEY.pack(pack(address), netns, pid), NAME.size)
        if value is None:
            return None
        since, seen, other, ttl, _, name = NAME.unpack(value)
        return Told(since, seen, other, ttl, name)
