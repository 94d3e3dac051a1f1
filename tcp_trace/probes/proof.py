"""Proves that the hook runs: it can be attached and yet see nothing.

Kprobes can be disarmed as a whole, and ftrace, which most depend on, can be off. Attaching succeeds
all the same.
"""

from __future__ import annotations

import errno
import os
import socket
from ipaddress import IPv6Network
from typing import TYPE_CHECKING

from tcp_trace.connects.watch import Rule
from tcp_trace.probes.connectmaps import Maps

if TYPE_CHECKING:
    from collections.abc import Mapping

# More than one: while a process is in bpf(), the kernel runs no kprobe program on its CPU.
_TRIES = 10
_UNDER_WAY = {0, errno.EINPROGRESS}


def is_run(fds: Mapping[str, int]) -> bool:
    """Return whether the hook sees this process connect to itself.

    `fds` are the descriptors of the program's maps `watched`, which is left empty, and `tallies`.
    The net must not be attached yet. Raises OSError if no such connect can be made.
    """
    maps = Maps(fds)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address, port = listening.getsockname()
        maps.watch([Rule(IPv6Network(f"::ffff:{address}"), port)])
        try:
            return any(_is_seen(maps, (address, port)) for _ in range(_TRIES))
        finally:
            maps.watch([])


def _is_seen(maps: Maps, address: tuple[str, int]) -> bool:
    with socket.socket() as connecting:
        connecting.settimeout(0)
        error = connecting.connect_ex(address)
        is_seen = bool(maps.tallies().opened)
    if not is_seen and error not in _UNDER_WAY:
        raise OSError(error, os.strerror(error))
    return is_seen
