"""Descriptors that systemd keeps while the service is down: see sd_pid_notify_with_fds(3).

They are sent with names over the notification socket, and come back at the next start as
descriptors from 3 on. systemd closes them when the service is stopped and not restarted. Every
process that may write to that socket can store some: check them before trusting them.
"""

from __future__ import annotations

import array
import contextlib
import os
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, MutableMapping

_FIRST = 3
# Longer than systemd ever stalls, far shorter than it waits for a start.
_PATIENCE = 5.0
_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


def received(environ: MutableMapping[str, str]) -> dict[str, list[int]]:
    """Return the descriptors that this process was started with, by their names.

    They are no longer inheritable, and the variables that announced them are removed.
    """
    pid, count, names = (environ.pop(name, "") for name in _VARIABLES)
    if pid != str(os.getpid()) or not (count.isascii() and count.isdigit()):
        return {}
    found: dict[str, list[int]] = {}
    for fd, name in zip(range(_FIRST, _FIRST + int(count)), names.split(":"), strict=False):
        with contextlib.suppress(OSError):
            os.set_inheritable(fd, False)  # noqa: FBT003 - the signature is the standard library's
            found.setdefault(name, []).append(fd)
    return found


class Store:
    """The socket `NOTIFY_SOCKET` of systemd. Nothing is stored without it, nor without `FDSTORE`.

    systemd sets `FDSTORE` if the unit has `FileDescriptorStoreMax=` (since 254; before, the unit
    has to set it). A systemd that stores none would log a warning for each descriptor.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "") if "FDSTORE" in environ else ""

    def keep(self, fds: Mapping[str, int]) -> None:
        """Let systemd keep these, even if this process dies. Raises OSError.

        They are not polled: systemd would take a map for a broken descriptor.
        """
        for name, fd in fds.items():
            self._say(f"FDSTORE=1\nFDPOLL=0\nFDNAME={name}", [fd])

    def let_go(self, names: Iterable[str]) -> None:
        """Let systemd close what it keeps under these names, if it listens."""
        with contextlib.suppress(OSError):
            for name in names:
                self._say(f"FDSTOREREMOVE=1\nFDNAME={name}")

    def _say(self, state: str, fds: Iterable[int] = ()) -> None:
        if not self._address:
            return
        path = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sending:
            sending.settimeout(_PATIENCE)
            sending.connect(os.fsencode(path))
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
            sending.sendmsg([state.encode()], rights if fds else [])
