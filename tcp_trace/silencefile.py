"""The file that holds the silences: written by the command line, read by the running service.

It is JSON in the state directory, replaced as a whole, so that a reader sees the old or the new
one. The service looks for a new one before it tells anything. Who may write into the directory may
silence: root and the service's user; its group, too, where the directory is made writable for it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import secrets
import stat
from typing import TYPE_CHECKING

from tcp_trace.core.silences import Match, Silence

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

log = logging.getLogger(__name__)

NAME = "silences.json"
MOST = 1000
"""So many silences are kept: each is asked for every failure."""
KEPT_ENDED = 7 * 86_400.0
"""Seconds for which a silence that ended is still listed."""


class SilenceFileError(Exception):
    """The file cannot be read or written; the text is a sentence that says what to do."""


class SilenceFile:
    """What the service knows of the file. `silences` stay as they were while it is unreadable."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / NAME
        self._seen: tuple[int, ...] = ()
        self.silences: tuple[Silence, ...] = ()
        self.refresh()

    def refresh(self) -> bool:
        """Read the file if it is another one than before; return whether silences changed."""
        seen = self._stamp()
        if seen == self._seen:
            return False
        self._seen = seen
        try:
            self.silences = read(self._path)
        except SilenceFileError as error:
            log.error("silences stay as they were: %s", error)  # noqa: TRY400 - it says it all
            return False
        log.info("silences read", extra={"silences": len(self.silences)})
        return True

    def _stamp(self) -> tuple[int, ...]:
        """Return what tells one file from another; nothing where there is none."""
        try:
            found = self._path.stat()
        except OSError:
            return ()
        return found.st_ino, found.st_mtime_ns, found.st_size, found.st_ctime_ns


def read(path: Path) -> tuple[Silence, ...]:
    """Return the silences of a file, none where there is none; raises SilenceFileError."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:  # noqa: PTH123 - of a descriptor
            saved = json.load(file)
        return tuple(Silence.from_dict(each) for each in saved["silences"])
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise SilenceFileError(f"{path}: {error.strerror}; try it as root") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SilenceFileError(f"{path} is damaged; remove it, and silence anew") from error


def add(directory: Path, match: Match, begins: float, ends: float, comment: str) -> Silence:
    """Add a silence, from and until these times (epoch seconds), and return it."""
    with _edit(directory, begins) as silences:
        if len(silences) >= MOST:
            raise SilenceFileError(f"there are {MOST} silences already; remove some")
        taken = {each.id for each in silences}
        name = next(n for n in iter(lambda: secrets.token_hex(3), "") if n not in taken)
        silences.append(Silence(name, match, begins, ends, comment))
        return silences[-1]


def remove(directory: Path, name: str, now: float) -> Silence:
    """Remove the silence of this id and return it."""
    with _edit(directory, now) as silences:
        found = next((each for each in silences if each.id == name), None)
        if found is None:
            raise SilenceFileError(f"no silence has the id {name!a}; see tcp-trace silence list")
        silences.remove(found)
        return found


@contextlib.contextmanager
def _edit(directory: Path, now: float) -> Iterator[list[Silence]]:
    """Yield the silences to change, and write them; one process at a time."""
    path = directory / NAME
    try:
        folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise SilenceFileError(
            f"{directory} does not exist: has the service run here? Set STATE_DIR to where it keeps"
            " its state"
        ) from None
    except OSError as error:
        raise SilenceFileError(f"{directory}: {error.strerror}; try it as root") from error
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        silences = [each for each in read(path) if each.ends > now - KEPT_ENDED]
        yield silences
        _write(folder, silences)
    except OSError as error:
        raise SilenceFileError(f"{path}: {error.strerror}; nothing was changed") from error
    finally:
        os.close(folder)


def _write(folder: int, silences: list[Silence]) -> None:
    """Replace the file by one that the service can read, whoever writes it."""
    text = json.dumps({"silences": [each.to_dict() for each in silences]})
    new = f".{NAME}.{os.getpid()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with contextlib.suppress(FileNotFoundError):  # of a process of this number that was killed
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
    """Give a new file to the service: to the owner of its outbox, else of its directory."""
    owner = os.fstat(folder)
    if owner.st_mode & stat.S_IWGRP:
        os.fchmod(file, 0o660)
    with contextlib.suppress(FileNotFoundError):
        owner = os.stat("outbox.db", dir_fd=folder, follow_symlinks=False)
    if os.geteuid() == 0:
        os.fchown(file, owner.st_uid, owner.st_gid)
    else:
        with contextlib.suppress(PermissionError):  # a group that the writer is not in
            os.fchown(file, -1, owner.st_gid)
