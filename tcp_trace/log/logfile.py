"""A log file that survives rotation; links and FIFOs in its place are removed.

Its directory belongs to the user who writes it, so anything may be at its path: a symbolic link, a
FIFO, another user's file. The file is opened without following a link, only if it is a regular
file, and created for its owner alone. While the service runs,

    a file that was rotated away    is written until there is a new one at the path
    one that cannot be opened       keeps the old one in use, with a complaint
    anything but a regular file     is removed, with a complaint: logrotate would skip it for ever;
                                    in the place of the last rotated file it would make it hang

At the start only this user's own is removed; another user's is an error.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tcp_trace.log.sinks import LOOK_INTERVAL, Place, write_all

if TYPE_CHECKING:
    import logging
    from pathlib import Path

MODE = 0o600

# logrotate renames the file and then creates the new one. If it is recreated in between, logrotate
# moves that one away, too. So a missing file is left missing for this long.
_ROTATION_GRACE = 1.0

_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a directory",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class NotRegularError(OSError):
    """The log's path is not a regular file."""


class LogFile:
    """The file at `path`, for one thread. Errors while writing go to `complaints`.

    Raises OSError if it cannot be opened at first, NotRegularError if it is not a regular file.
    """

    def __init__(self, path: Path, complaints: logging.Logger) -> None:
        self._path = os.path.abspath(path)  # noqa: PTH100 - strings: a line costs a third of Path's
        self._complaints = complaints
        self._torn = False
        self._fails = False
        self._missing_since: float | None = None
        self._misplaced: int | None = None
        self._next_look = 0.0
        self._clear_the_way()
        self._adopt(open_log(self._path))
        found = os.fstat(self._fd)
        self._began = Place(found.st_ino, found.st_size)
        # A process that was killed while writing left a partial line.
        self._torn = _is_torn(self._fd, found.st_size)

    def place(self, length: int) -> Place | None:
        """Return the end of the file after `length` more bytes."""
        self.look()
        found = os.fstat(self._fd)
        return Place(found.st_ino, found.st_size + self._torn + length)

    def began_with(self, place: Place) -> bool:
        """Return whether it was that file, of at least that size, when it was opened."""
        return self._began.inode == place.inode and self._began.end >= place.end > 0

    def write(self, data: bytes) -> int:
        """Write whole lines to the file now at the path; return the number of bytes written."""
        self.look()
        if self._misplaced is not None:
            if os.fstat(self._fd).st_nlink == 0:
                return 0
            self._misplaced += data.count(b"\n")
        head = b"\n" if self._torn else b""
        written, error = write_all(self._fd, head + data)
        if written:
            self._torn = (head + data)[written - 1 : written] != b"\n"
        self._note(error)
        return max(0, written - len(head))

    def look(self) -> None:
        """Reopen the file if another one is at the path, or none for a second."""
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + LOOK_INTERVAL
            self._clear_the_rotated()
        try:
            found = _lstat(self._path)
            if found is None:
                if self._is_being_rotated(now):
                    return
            elif (found.st_dev, found.st_ino) == self._identity:
                self._missing_since = None
                return
            elif not stat.S_ISREG(found.st_mode):
                self._remove(self._path, found)
            fresh = open_log(self._path)
        except OSError as error:
            self._go_on_with_the_old(error)
            return
        os.close(self._fd)
        self._adopt(fresh)

    def complain(self, message: str) -> None:
        """Report an error of the log itself."""
        self._complaints.error("%s", message, extra={"path": self._path})

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def _adopt(self, fd: int) -> None:
        found = os.fstat(fd)
        self._fd, self._identity = fd, (found.st_dev, found.st_ino)
        self._torn = False
        self._missing_since = None
        if self._misplaced is not None:
            extra = {"path": self._path, "lines_in_the_old_file": self._misplaced}
            self._complaints.warning("the log is at its path again", extra=extra)
            self._misplaced = None

    def _is_being_rotated(self, now: float) -> bool:
        """Return whether the file was renamed just now: a deleted file has no name left."""
        self._missing_since = self._missing_since or now
        renamed = os.fstat(self._fd).st_nlink > 0
        return renamed and now - self._missing_since < _ROTATION_GRACE

    def _go_on_with_the_old(self, error: OSError) -> None:
        if self._misplaced is None:
            self._misplaced = 0
            self._complaints.error(
                "cannot reopen the log: lines go to the old file until reopening works",
                extra={"path": self._path, "reason": error.strerror},
            )

    def _note(self, error: OSError | None) -> None:
        """Complain when lines begin to be lost; the sink reports the end."""
        if error is not None and not self._fails:
            self._complaints.error(
                "cannot write the log: lines are lost until writing works",
                extra={"path": self._path, "reason": error.strerror},
            )
        self._fails = error is not None

    def _clear_the_way(self) -> None:
        """At the start, remove this user's link or FIFO at the path; refuse another user's."""
        found = _lstat(self._path)
        if found is None or stat.S_ISREG(found.st_mode):
            return
        if found.st_uid != os.geteuid():
            raise _no_file(self._path, found)
        self._remove(self._path, found)

    def _clear_the_rotated(self) -> None:
        """Remove a link or FIFO where logrotate expects the file to compress next."""
        rotated = self._path + ".1"
        try:
            found = _lstat(rotated)
            if found is not None and not stat.S_ISREG(found.st_mode):
                self._remove(rotated, found)
        except OSError as error:
            extra = {"path": rotated, "reason": error.strerror}
            self._complaints.error("cannot remove a file that stops logrotate", extra=extra)

    def _remove(self, path: str, found: os.stat_result) -> None:
        """Remove a link or the like, which holds no data; rename a directory, which may.

        Landlock does not let a confined service rename a directory; then this raises OSError.
        """
        facts = {"path": path, "was": _kind(found)}
        if stat.S_ISDIR(found.st_mode):
            directory, name = os.path.split(path)
            stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
            # Not after the name: logrotate would take it for one of its files.
            facts["moved_to"] = os.path.join(directory, f"moved-aside-{stamp}-{name}")  # noqa: PTH118
            os.rename(path, facts["moved_to"])  # noqa: PTH104
        else:
            if stat.S_ISLNK(found.st_mode):
                facts["led_to"] = os.readlink(path)  # noqa: PTH115
            os.unlink(path)  # noqa: PTH108
        self._complaints.error("removed a file that is not a log", extra=facts)


def open_log(path: str) -> int:
    """Open or create a regular file for appending; return its descriptor. Raises OSError.

    A new file is for its owner alone, whatever the umask.
    """
    try:
        fd = os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, MODE)
    except FileExistsError:
        fd = os.open(path, _FLAGS)
        created = False
    else:
        created = True
    found = os.fstat(fd)
    try:
        if not stat.S_ISREG(found.st_mode):
            raise _no_file(path, found)
        if created and stat.S_IMODE(found.st_mode) != MODE:
            os.fchmod(fd, MODE)
    except OSError:
        os.close(fd)
        raise
    return fd


def _is_torn(fd: int, size: int) -> bool:
    """Return whether the file ends within a line; False if it cannot be read."""
    try:
        reading = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.pread(reading, 1, max(0, size - 1)) not in {b"", b"\n"}
    except OSError:
        return False
    finally:
        os.close(reading)


def _lstat(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except FileNotFoundError:
        return None


def _kind(found: os.stat_result) -> str:
    return _KINDS.get(stat.S_IFMT(found.st_mode), "of an unknown type")


def _no_file(path: str, found: os.stat_result) -> NotRegularError:
    why = f"is {_kind(found)}; a log is a regular file: remove it, or name another file"
    return NotRegularError(errno.EINVAL, why, path)
