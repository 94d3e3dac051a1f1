"""The maps of the running service, looked into from outside."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from tcp_trace.kernel.maps import keys
from tcp_trace.probes.addresses import destination_of
from tcp_trace.probes.connectmaps import Maps, Tallies
from tcp_trace.probes.shapes import COUNTERS, DESTINATION, LONG
from tests import descriptors
from tests.libc import LIBC

if TYPE_CHECKING:
    from tcp_trace.connects.events import Destination

_PIDFD_GETFD = 438
_INDEX_SIZE = 4  # of an array's key
_SIZES = re.compile(r"^key_size:\t(\d+)\nvalue_size:\t(\d+)\nmax_entries:\t(\d+)$", re.MULTILINE)


def sizes_of(pid: int) -> dict[int, tuple[int, int, int]]:
    """Return key size, value size and room of each map that a process has a descriptor of."""
    found = {fd: _SIZES.search(text) for fd, text in descriptors.infos(pid).items()}
    return {
        fd: (int(sizes[1]), int(sizes[2]), int(sizes[3])) for fd, sizes in found.items() if sizes
    }


def map_of(pid: int, *wanted: int) -> int:
    """Return a descriptor of a process's map: of the one with these sizes of key and value.

    Where there are more of those, the third number tells how many entries there is room for.
    """
    (found,) = (fd for fd, sizes in sizes_of(pid).items() if sizes[: len(wanted)] == wanted)
    pidfd = os.pidfd_open(pid)
    fd = LIBC.syscall(_PIDFD_GETFD, pidfd, found, 0)
    os.close(pidfd)
    assert fd >= 0
    return int(fd)


def tallies_of(pid: int) -> Tallies:
    """Return what the kernel program of a process counted until now."""
    fd = map_of(pid, _INDEX_SIZE, LONG.size, len(Tallies._fields))
    try:
        return Maps({"tallies": fd}).tallies()
    finally:
        os.close(fd)


def destinations_of(pid: int) -> int:
    """Return a descriptor of the map of destinations."""
    return map_of(pid, DESTINATION.size, COUNTERS.size)


def places(fd: int) -> list[Destination]:
    """Return the destinations that something was counted of."""
    return [destination_of(key) for key in keys(fd, DESTINATION.size)]
