"""A stream for log lines that a descriptor leads to, as one leads to stderr."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os

from tcp_trace.log import logs

_MOST = 1 << 20


class Captured(io.StringIO):
    """Takes the place of stderr; what is written to its descriptor, a pipe's, is its value."""

    def __init__(self) -> None:
        super().__init__()
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        fcntl.fcntl(self._writer, fcntl.F_SETPIPE_SZ, _MOST)
        self._read = b""

    def __del__(self) -> None:
        os.close(self._reader)
        os.close(self._writer)

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._writer

    def getvalue(self) -> str:
        """Return what was written, once the lines that wait are written, too."""
        logs.flush()
        with contextlib.suppress(BlockingIOError):  # nothing new
            self._read += os.read(self._reader, _MOST)
        return self._read.decode()

    def clear(self) -> None:
        """Forget what was written so far."""
        self.getvalue()
        self._read = b""
