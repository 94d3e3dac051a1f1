"""Repairs the standard streams and the encoding.

Output never fails for a character: those that the encoding lacks are escaped. Names of files
are UTF-8 in every locale, as they are in the service.
"""

from __future__ import annotations

import codecs
import io
import locale
import os
import sys

_DESCRIPTORS = {0: ("stdin", "r"), 1: ("stdout", "w"), 2: ("stderr", "w")}


def prepare() -> None:
    """Make the streams usable; call it before anything is opened or written.

    Where the locale has another encoding, the process is executed anew in Python's UTF-8 mode.
    """
    _open_the_closed()
    if sys.getfilesystemencoding() != "utf-8" and sys.executable:
        command = [sys.executable, "-X", "utf8", *sys.orig_argv[1:]]
        os.execv(command[0], command)  # noqa: S606 - that no shell is started is the point
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding=_encoding(), errors="backslashreplace")


def _open_the_closed() -> None:
    """Put /dev/null where a stream is closed: else the next file that is opened would be it."""
    for fd, (name, mode) in _DESCRIPTORS.items():
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest that is free
            os.set_inheritable(fd, True)  # noqa: FBT003 - the signature is the standard library's
            setattr(sys, name, os.fdopen(fd, mode, encoding="utf-8", closefd=False))


def _encoding() -> str:
    """Return the encoding of the locale; UTF-8 where that is C, which says nothing of terminals."""
    try:
        found = codecs.lookup(locale.getencoding()).name
    except LookupError:
        return "utf-8"
    return "utf-8" if found == "ascii" else found
