"""The names that the kernel program learned, by its maps' descriptors.

The shapes are those of bpf/names.h. Nothing is read until a failure is told.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

from tcp_trace.core.names import Told, choose
from tcp_trace.kernel import netns
from tcp_trace.kernel.stream import lookup, pack

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tcp_trace.core.events import Failure

# struct name_key: address netns pid
KEY = struct.Struct("=16sII")
# struct name: since_ns seen_ns other_ns ttl pad name
NAME = struct.Struct("=QQQII128s")


class Names:
    """Looks names up. Where the kernel program does not watch answers, it knows none."""

    def __init__(self, fds: Mapping[str, int]) -> None:
        self._names = fds.get("names")

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
        told = self._told(address, netns.INUM, os.getpid())
        return told.ttl if told is not None and told.seen >= mono * 1e9 else None

    def _told(self, address: str, inum: int, pid: int) -> Told | None:
        if self._names is None:
            return None
        value = lookup(self._names, KEY.pack(pack(address), inum, pid), NAME.size)
        if value is None:
            return None
        since, seen, other, ttl, _, name = NAME.unpack(value)
        return Told(since, seen, other, ttl, name)
