"""Reads the text files that people write, one way for all: the env file, routes, webhooks.

UTF-8 with or without a byte order mark, lines ended as Unix, Windows or an old Mac does. Any other
file is an error of one clause. It is read whole and at once: nothing waits for a FIFO.
"""

from __future__ import annotations

import codecs
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

MOST = 1024 * 1024
"""Bytes of the largest file that is read."""

_OTHER_MARKS = {  # the longer ones first: that of UTF-32 begins like that of UTF-16
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
_DEV_NULL = os.makedev(1, 3)  # an empty file, as good as any
_SAVE = "save it as UTF-8"


class TextFileError(Exception):
    """A file cannot be read as text: a clause that completes "PATH: ...", and says what to do."""


def read(path: Path) -> str:
    """Return the text of a file, its lines ended by a newline. Raises TextFileError."""
    try:
        data = _read(path)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) else error
        raise TextFileError(f"cannot be read ({reason})") from error
    return _decode(data).replace("\r\n", "\n").replace("\r", "\n")


def _read(path: Path) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    with open(fd, "rb") as file:  # noqa: PTH123 - a descriptor, opened without waiting
        found = os.fstat(fd)
        if not (stat.S_ISREG(found.st_mode) or found.st_rdev == _DEV_NULL):
            raise TextFileError("is no regular file; write the text into one")
        data = file.read(MOST + 1)
    if len(data) > MOST:
        raise TextFileError(f"is larger than {MOST // 1024:,} KiB; is it the right file?")
    return data


def _decode(data: bytes) -> str:
    for mark, encoding in _OTHER_MARKS.items():
        if data.startswith(mark):
            raise TextFileError(f"is text in {encoding}; {_SAVE}")
    if b"\0" in data:
        line = _line(data, data.index(b"\0"))
        raise TextFileError(f"has a NUL in line {line}; {_SAVE}, not as UTF-16, or correct it")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = _line(data, error.start)
        raise TextFileError(f"is not text in UTF-8 (line {line}); {_SAVE}") from None


def _line(data: bytes, position: int) -> int:
    """Return the number of the line that this byte is in, as editors count."""
    before = data[:position].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return before.count(b"\n") + 1
