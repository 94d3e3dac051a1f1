"""A program with a terminal of its own, as a person would start it."""

from __future__ import annotations

import os
import pty
import select
import signal
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
_SECONDS = 120.0


class Terminal:
    """What the program has written to its terminal, and its keyboard."""

    def __init__(self, pid: int, master: int) -> None:
        self.pid = pid
        self.written = b""
        self._master = master

    def press(self, keys: bytes) -> None:
        """Type."""
        os.write(self._master, keys)

    def wait_for(self, words: bytes) -> None:
        """Read until these words have come; fail at the end of the program or after a while."""
        until = time.monotonic() + _SECONDS
        while words not in self.written:
            assert time.monotonic() < until, self.written
            assert self._read(), self.written

    def exit_code(self) -> int:
        """Read to the end and return the program's exit code, that of a signal being negative."""
        until = time.monotonic() + _SECONDS
        while self._read() and time.monotonic() < until:
            pass
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        return os.waitstatus_to_exitcode(status)

    def _read(self) -> bool:
        ready, _, _ = select.select([self._master], [], [], 1)
        if not ready:
            return True
        try:
            data = os.read(self._master, 4096)
        except OSError:  # nobody holds the other side any more
            return False
        self.written += data
        return bool(data)


@contextmanager
def terminal(*command: str, **environ: str) -> Iterator[Terminal]:
    """Run a command in the project, with a terminal for everything; it is killed at the end."""
    pid, master = pty.fork()
    if not pid:
        os.chdir(ROOT)
        os.execve(command[0], command, {**os.environ, **environ})  # noqa: S606
    made = Terminal(pid, master)
    try:
        yield made
    finally:
        os.close(master)
        if made.pid:
            os.kill(made.pid, signal.SIGKILL)
            os.waitpid(made.pid, 0)
