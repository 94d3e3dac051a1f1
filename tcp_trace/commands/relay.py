"""Keeps root's terminal away from a service that is started by hand.

A process that holds a terminal's descriptor, or has a controlling terminal, can insert commands
into its input (TIOCSTI), which root's shell then executes. Escape sequences can do the same. So the
service runs as a child, in a session without a terminal. The parent stays to copy the child's
output, escaped, to the terminal, to forward signals, and to return the exit code. It drops all its
privileges but CAP_KILL: while the child compiles, it is root's.
"""

from __future__ import annotations

import codecs
import os
import re
import select
import signal
import sys
from typing import TYPE_CHECKING

from tcp_trace.kernel.privileges import CAP_KILL, PR_SET_PDEATHSIG, become, prctl
from tcp_trace.safetext import printable

if TYPE_CHECKING:
    from tcp_trace.kernel.privileges import Account

_STANDARD = range(3)
_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_READ = 1 << 16
_KEPT = re.compile(r"([\n\t])")


def has_terminal() -> bool:
    """Return whether this process holds a terminal or has a controlling one."""
    if any(map(os.isatty, _STANDARD)):
        return True
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def fork(account: Account) -> int | None:
    """Return None in a child without a terminal; in the parent, the child's exit code at its end.

    Call this while there is one thread. If a signal ended the child, the exit code is 128 plus the
    signal's number, as in a shell.
    """
    pipes = {fd: os.pipe() for fd in _STANDARD if fd and os.isatty(fd)}
    signal.pthread_sigmask(signal.SIG_BLOCK, _FORWARDED)
    child = os.fork()
    if not child:
        _leave_terminal({fd: writer for fd, (_, writer) in pipes.items()})
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _FORWARDED)
        return None
    for _, writer in pipes.values():
        os.close(writer)
    become(account, CAP_KILL)
    for number in _FORWARDED:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda number, _: os.kill(child, number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _FORWARDED)
    _copy([_Copy(reader, fd) for fd, (reader, _) in pipes.items()])
    return _exit_code(child)


def _leave_terminal(writers: dict[int, int]) -> None:
    """Begin a session without a terminal, and end when the relay ends."""
    os.setsid()
    prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.close(nothing)
    for fd, writer in writers.items():
        os.dup2(writer, fd)
    for fd in [int(name) for name in os.listdir("/proc/self/fd")]:  # noqa: PTH208 - numbers
        if fd not in _STANDARD and os.isatty(fd):
            os.close(fd)


class _Copy:
    """Copies a pipe to a terminal. If the terminal is gone, the pipe closes and lines are lost."""

    def __init__(self, reader: int, terminal: int) -> None:
        self.reader = reader
        self._terminal = terminal
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._encoding = getattr(sys.stderr, "encoding", None) or "utf-8"

    def turn(self) -> bool:
        """Copy the available data; return False at the end."""
        data = os.read(self.reader, _READ)
        text = safe(self._decoder.decode(data, final=not data))
        left = text.encode(self._encoding, "backslashreplace")
        try:
            while left:
                left = left[os.write(self._terminal, left) :]
        except OSError:
            data = b""
        if not data:
            os.close(self.reader)
        return bool(data)


def safe(text: str) -> str:
    """Return text without terminal controls, except newlines and tabs."""
    return "".join(part if part in "\n\t" else printable(part) for part in _KEPT.split(text))


def _copy(copies: list[_Copy]) -> None:
    while copies:
        ready, _, _ = select.select([each.reader for each in copies], [], [])
        copies = [each for each in copies if each.reader not in ready or each.turn()]


def _exit_code(child: int) -> int:
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code
