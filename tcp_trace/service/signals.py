"""The signals that the loop heeds."""

from __future__ import annotations

import signal
import socket


class Signals:
    """SIGTERM, SIGINT and SIGHUP as flags and a descriptor that becomes readable with them."""

    def __init__(self) -> None:
        self.stop = False
        self.reload = False
        self._reader, writer = socket.socketpair()
        self._reader.settimeout(0)
        writer.settimeout(0)
        self._writer = writer
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._note)

    @property
    def fd(self) -> int:
        """Readable when a signal came."""
        return self._reader.fileno()

    def clear(self) -> None:
        """Make `fd` unreadable again."""
        try:
            self._reader.recv(64)
        except BlockingIOError:
            return

    def _note(self, number: int, _frame: object) -> None:
        if number == signal.SIGHUP:
            self.reload = True
        else:
            self.stop = True
