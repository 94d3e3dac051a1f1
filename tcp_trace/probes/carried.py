"""Records read but not reported yet, in maps that outlive the service (`struct progress`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tcp_trace.kernel.maps import delete, keys, lookup, update
from tcp_trace.probes.shapes import HELD, LONG, NUMBER, PROGRESS

if TYPE_CHECKING:
    from collections.abc import Mapping

_ONLY = NUMBER.pack(0)


class Entry(NamedTuple):
    """A kernel record that stands for `times` failures, the last of them at `last_ns`."""

    times: int
    last_ns: int
    record: bytes


class Reached(NamedTuple):
    """`struct progress`: what an earlier process noted; all 0 for nothing yet."""

    ring: int
    logged_to: int
    next_to: int = 0
    inode: int = 0
    end: int = 0


class Carried:
    """The maps `carried` and `progress`. Methods raise OSError if a map cannot be written."""

    def __init__(self, fds: Mapping[str, int]) -> None:
        self._entries = fds["carried"]
        self._progress = fds["progress"]

    def progress(self) -> Reached:
        """Return which ring this is, and how far its records are in the log."""
        value = lookup(self._progress, _ONLY, PROGRESS.size) or bytes(PROGRESS.size)
        return Reached(*PROGRESS.unpack(value))

    def set_progress(self, reached: Reached) -> None:
        """Note how far records are in the log."""
        update(self._progress, _ONLY, PROGRESS.pack(*reached))

    def entries(self) -> dict[int, Entry]:
        """Return all entries that an earlier process kept."""
        found = {}
        for key in keys(self._entries, LONG.size):
            value = lookup(self._entries, key, HELD.size)
            if value is not None:
                found[LONG.unpack(key)[0]] = Entry(*HELD.unpack(value))
        return found

    def put(self, key: int, entry: Entry) -> None:
        """Keep an entry; it replaces the one with the same key."""
        update(self._entries, LONG.pack(key), HELD.pack(*entry))

    def remove(self, key: int) -> None:
        """Remove an entry."""
        delete(self._entries, LONG.pack(key))
