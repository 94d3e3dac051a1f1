"""Sends the service's state to systemd, by sd_notify(3)'s datagrams, without waiting.

libsystemd's own function waits while systemd takes no datagram. Here a refused datagram is kept and
sent later; and an inherited socket that leads nowhere does not end the service.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import socket

log = logging.getLogger(__name__)

# The queue of systemd's socket is full, or nobody reads it.
_LATER = {errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM}


class Notifier:
    """Sends one state after another to `NOTIFY_SOCKET`, if it is set."""

    def __init__(self) -> None:
        self._unsaid: list[str] = []
        self._complained = False

    def say(self, state: str) -> None:
        """Say a state such as `READY=1`, or keep it for `go_on`; one that is kept is kept once."""
        if state not in self._unsaid:
            self._unsaid.append(state)
        self.go_on()

    def go_on(self) -> None:
        """Send the states that were kept, in their order."""
        address = os.environ.get("NOTIFY_SOCKET", "")
        while self._unsaid:
            error = _send(address, self._unsaid[0]) if address else None
            if error is not None and error.errno in _LATER:
                return
            if error is not None:
                self._complain(address, error)
            del self._unsaid[0]

    def _complain(self, address: str, error: OSError) -> None:
        if not self._complained:
            self._complained = True
            extra = {"socket": address, "reason": error.strerror or str(error)}
            log.warning("systemd cannot be told how the service is", extra=extra)


def _send(address: str, state: str) -> OSError | None:
    """Send a state to a path, or with @ in front to an abstract name; return the error."""
    path = "\0" + address[1:] if address.startswith("@") else address
    kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    try:
        with socket.socket(socket.AF_UNIX, kind) as sending:
            sending.sendto(state.encode(), os.fsencode(path))
    except OSError as error:
        return error
    return None


def watchdog_interval() -> float | None:
    """Return the seconds between two answers to systemd's watchdog, None where it has none."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    # sd_watchdog_enabled(3): what another process was told is none of ours.
    ours = os.environ.get("WATCHDOG_PID") in {None, "", str(os.getpid())}
    plain = re.fullmatch(r"[0-9]{1,18}", microseconds)
    return int(microseconds) / 2e6 or None if ours and plain else None
