"""The maps of the running service, looked into from outside."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from tcp_trace.kernel.stream import COUNTERS, DESTINATION, destination_of, keys
from tests.libc import LIBC

if TYPE_CHECKING:
    from tcp_trace.connects.events import Destination

_PIDFD_GETFD = 438
_SIZES = re.compile(r"^key_size:\t(\d+)\nvalue_size:\t(\d+)$", re.MULTILINE)


def sizes_of(pid: int) -> dict[int, tuple[int, int]]:
    """Return the sizes of key and value of each map that a process has a descriptor of."""
    infos: dict[int, str] = {}
    for info in Path(f"/proc/{pid}/fdinfo").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it was closed meanwhile
            infos[int(info.name)] = info.read_text()
    found = {fd: _SIZES.search(text) for fd, text in infos.items()}
    return {fd: (int(sizes[1]), int(sizes[2])) for fd, sizes in found.items() if sizes}


def map_of(pid: int, key: int, value: int) -> int:
    """Return a descriptor of a process's map, which is told from others by the size of both."""
    (found,) = (fd for fd, sizes in sizes_of(pid).items() if sizes == (key, value))
    pidfd = os.pidfd_open(pid)
    fd = LIBC.syscall(_PIDFD_GETFD, pidfd, found, 0)
    os.close(pidfd)
    assert fd >= 0
    return int(fd)


def destinations_of(pid: int) -> int:
    """Return a descriptor of the map of destinations."""
    return map_of(pid, DESTINATION.size, COUNTERS.size)


def places(fd: int) -> list[Destination]:
    """Return the destinations that something was counted of."""
    return [destination_of(key) for key in keys(fd, DESTINATION.size)]
