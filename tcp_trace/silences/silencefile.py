"""The file with the silences: written by the command line, read by the running service.

It is JSON in the state directory and replaced as a whole, so a reader sees either the old or the
new one. The service checks for a new one before it sends anything. Whoever may write to the
directory may silence: root, the service's user, and its group if the directory is group-writable.

A new entry is read back before the file is replaced. An entry that this version cannot read does
not affect the others: it stays in the file unchanged, and is logged and counted.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import re
import secrets
import stat
import time
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

from tcp_trace.host.files import open_regular, why
from tcp_trace.host.unprivileged import Refused
from tcp_trace.safetext import plain
from tcp_trace.silences.silences import Silence

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path


log = logging.getLogger(__name__)

NAME = "silences.json"
MOST = 1000
"""The most silences: every failure is checked against each."""
KEPT_ENDED = 7 * 86_400.0
"""Seconds that an ended silence stays listed."""

_MOST_BYTES = 4 << 20
_PATIENCE_SECONDS = 5.0
_TYPED = re.compile(r"[0-9A-Za-z-]{1,40}")
_COMPLAINED = 5
_WHY_LIMIT = 200


class SilenceFileError(Refused):
    """The file cannot be read or written; the text is a sentence with the fix."""


class Unread(NamedTuple):
    """An entry of the file that cannot be read: its JSON, and the reason."""

    entry: Any
    why: str

    @property
    def id(self) -> str:
        """The id to remove it by: its own, or one derived from it if that cannot be typed."""
        found = self.entry.get("id") if isinstance(self.entry, dict) else None
        if isinstance(found, str) and _TYPED.fullmatch(found):
            return found
        return f"bad-{zlib.crc32(json.dumps(self.entry).encode()):08x}"

    def __str__(self) -> str:
        """Return a sentence with its id and the reason."""
        return f"{self.id} is not in force: {plain(self.why[:_WHY_LIMIT])}"


class Contents(NamedTuple):
    """The file's silences, and its unreadable entries."""

    silences: tuple[Silence, ...] = ()
    unread: tuple[Unread, ...] = ()


class SilenceFile:
    """The service's view of the file. `silences` stay unchanged while it is unreadable.

    `unread` counts the entries that are not in force because they cannot be read. What is dropped
    is in force no more, also while the file cannot be written.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / NAME
        self._seen: tuple[int, ...] = ()
        self.silences: tuple[Silence, ...] = ()
        self.unread = 0
        self._dropped: set[str] = set()
        self.refresh()

    def refresh(self) -> bool:
        """Read the file if it changed; return whether silences changed."""
        seen = self._stamp()
        if seen == self._seen:
            return False
        self._seen = seen
        try:
            found = read(self._path)
        except SilenceFileError as error:
            log.error("silences stay as they were: %s", error)  # noqa: TRY400 - it says it all
            return False
        self._dropped &= {each.id for each in found.silences}
        self.silences = tuple(each for each in found.silences if each.id not in self._dropped)
        self.unread = len(found.unread)
        for each in found.unread[:_COMPLAINED]:
            log.error("a silence cannot be read: %s", each)
        log.info("silences read", extra={"silences": len(self.silences), "unread": self.unread})
        return True

    def drop(self, names: Collection[str]) -> None:
        """Let silences end for good."""
        self._dropped |= set(names)
        self.silences = tuple(each for each in self.silences if each.id not in names)
        for name in sorted(names):
            log.info("a silence ended, since what it silenced is over", extra={"silence": name})
        self.write_dropped()

    def write_dropped(self) -> None:
        """Take what was dropped out of the file, unless somebody else writes it at the moment."""
        if not self._dropped:
            return
        try:
            with _edit(self._path.parent, time.time(), patience=0) as entries:
                entries[:] = [each for each in entries if each.id not in self._dropped]
        except SilenceFileError as error:
            log.warning("a silence that ended is still in the file: %s", error)
        else:
            self._dropped.clear()

    def _stamp(self) -> tuple[int, ...]:
        """Return inode, size and times, which change with the file; () for no file."""
        try:
            found = self._path.lstat()
        except OSError:
            return ()
        return found.st_ino, found.st_mtime_ns, found.st_size, found.st_ctime_ns


def read(path: Path) -> Contents:
    """Return a file's contents, empty for no file. Raises SilenceFileError."""
    try:
        with open(open_regular(path), "rb") as file:  # noqa: PTH123 - of a descriptor
            text = file.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        return Contents()
    except OSError as error:
        raise SilenceFileError(f"{path}: {why(error)}") from error
    damaged = SilenceFileError(f"{path} is damaged; remove it, and add the silences again")
    if len(text) > _MOST_BYTES:
        raise damaged
    try:
        saved = json.loads(text)
    except (ValueError, RecursionError):
        raise damaged from None
    entries = saved.get("silences") if isinstance(saved, dict) else None
    if not isinstance(entries, list):
        raise damaged
    return _sorted(entries)


def _sorted(entries: list[Any]) -> Contents:
    silences: list[Silence] = []
    unread: list[Unread] = []
    for entry in entries:
        try:
            silences.append(Silence.from_dict(entry))
        except (ValueError, TypeError, AttributeError, OverflowError) as error:
            unread.append(Unread(entry, str(error)))
    return Contents(tuple(silences), tuple(unread))


def add(directory: Path, wanted: Silence) -> Silence:
    """Add a silence under an id of its own, and return it.

    Raises SilenceFileError, also if the silence changes when it is read back.
    """
    with _edit(directory, wanted.begins) as entries:
        if len(entries) >= MOST:
            raise SilenceFileError(f"there are {MOST} silences already; remove some")
        taken = {entry.id for entry in entries}
        name = next(n for n in iter(lambda: secrets.token_hex(3), "") if n not in taken)
        added = wanted._replace(id=name)
        _read_back(added)
        entries.append(added)
        return added


def remove(directory: Path, name: str, now: float) -> str:
    """Remove the silence with this id, readable or not; return its text."""
    with _edit(directory, now) as entries:
        found = next((each for each in entries if each.id == name), None)
        if found is None:
            raise SilenceFileError(f"no silence has the id {name!a}; see tcp-trace silence list")
        entries.remove(found)
        return str(found.match) if isinstance(found, Silence) else "an unreadable entry"


def _read_back(silence: Silence) -> None:
    """Raise SilenceFileError if the service would read a different silence."""
    try:
        again = Silence.from_dict(json.loads(json.dumps(silence.to_dict())))
    except ValueError as error:
        again, reason = None, f" ({error})"
    else:
        reason = ""
    if again != silence:
        raise SilenceFileError(
            f"'{silence.match}' changes when it is read back{reason}; write it differently"
        )


@contextlib.contextmanager
def _edit(
    directory: Path, now: float, patience: float = _PATIENCE_SECONDS
) -> Iterator[list[Silence | Unread]]:
    """Yield the contents for changing, then write them back; one process at a time."""
    path = directory / NAME
    try:
        folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise SilenceFileError(
            f"{directory} does not exist: has the service run here? Set STATE_DIR to the service's"
            " own value"
        ) from None
    except OSError as error:
        raise SilenceFileError(f"{directory}: {why(error)}") from error
    try:
        _lock(folder, directory, patience)
        found = read(path)
        kept = [each for each in found.silences if each.ends > now - KEPT_ENDED]
        entries: list[Silence | Unread] = [*kept, *found.unread]
        yield entries
        _write(folder, entries)
    except OSError as error:
        raise SilenceFileError(f"{path}: {error.strerror}; nothing was changed") from error
    finally:
        os.close(folder)


def _lock(folder: int, directory: Path, patience: float) -> None:
    """Lock the directory; normal holders keep the lock for milliseconds."""
    deadline = time.monotonic() + patience
    while True:
        try:
            return fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise SilenceFileError(
                    f"{directory} is locked by another process (see lslocks); nothing was changed"
                ) from None
            time.sleep(0.01)


def _write(folder: int, entries: list[Silence | Unread]) -> None:
    """Replace the file; the service can read the new one, whoever writes it."""
    plain = [each.to_dict() if isinstance(each, Silence) else each.entry for each in entries]
    text = json.dumps({"silences": plain})
    if len(text) > _MOST_BYTES:
        raise SilenceFileError("the silences take more than 4 MiB; remove some")
    new = f".{NAME}.{os.getpid()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with contextlib.suppress(FileNotFoundError):  # left by a killed process with this PID
        os.unlink(new, dir_fd=folder)
    with open(os.open(new, flags, 0o600, dir_fd=folder), "wb") as file:  # noqa: PTH123 - of a descriptor
        try:
            _hand_over(file.fileno(), folder)
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
            os.rename(new, NAME, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            os.unlink(new, dir_fd=folder)
            raise
    os.fsync(folder)


def _hand_over(file: int, folder: int) -> None:
    """Give a new file to the directory's group, if the directory is group-writable."""
    owner = os.fstat(folder)
    if owner.st_mode & stat.S_IWGRP:
        os.fchmod(file, 0o660)
    with contextlib.suppress(PermissionError):  # the writer is not in the group
        os.fchown(file, -1, owner.st_gid)
