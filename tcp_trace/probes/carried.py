"""What the service has read and not told yet, in maps that outlive it; see `struct progress`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tcp_trace.kernel.maps import delete, keys, lookup, update
from tcp_trace.probes.shapes import HELD, LONG, NUMBER, PROGRESS

if TYPE_CHECKING:
    from collections.abc import Mapping

_ONLY = NUMBER.pack(0)


class Entry(NamedTuple):
    """A record of the kernel's that stands for `times`, the last of them at `last_ns`."""

    times: int
    last_ns: int
    record: bytes


class Carried:
    """The maps `carried` and `progress`. Methods raise OSError where they cannot be written."""

    def __init__(self, fds: Mapping[str, int]) -> None:
        self._entries = fds["carried"]
        self._progress = fds["progress"]

    def progress(self) -> tuple[int, int]:
        """Return what tells this ring from others, 0 for nothing yet, and `logged_to`."""
        ring, logged_to = PROGRESS.unpack(lookup(self._progress, _ONLY, PROGRESS.size) or bytes(16))
        return ring, logged_to

    def set_progress(self, ring: int, logged_to: int) -> None:
        """Say up to which position of the ring records are in the log."""
        update(self._progress, _ONLY, PROGRESS.pack(ring, logged_to))

    def entries(self) -> dict[int, Entry]:
        """Return all that an earlier process kept."""
        found = {}
        for key in keys(self._entries, LONG.size):
            value = lookup(self._entries, key, HELD.size)
            if value is not None:
                found[LONG.unpack(key)[0]] = Entry(*HELD.unpack(value))
        return found

    def put(self, key: int, entry: Entry) -> None:
        """Keep an entry, in the place of the one with this key."""
        update(self._entries, LONG.pack(key), HELD.pack(*entry))

    def remove(self, key: int) -> None:
        """Let an entry go."""
        delete(self._entries, LONG.pack(key))
