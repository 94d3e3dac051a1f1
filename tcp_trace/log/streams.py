"""Repairs the standard streams and the encoding.

Output never fails because of a character: those that the encoding lacks are escaped. File names are
UTF-8 in every locale, as in the service.
"""

from __future__ import annotations

import codecs
import io
import locale
import os
import sys

_DESCRIPTORS = {0: ("stdin", "r"), 1: ("stdout", "w"), 2: ("stderr", "w")}


def prepare() -> None:
    """Make the streams usable; call this before anything is opened or written.

    In a locale with another encoding, the process restarts itself in Python's UTF-8 mode.
    """
    _open_the_closed()
    if sys.getfilesystemencoding() != "utf-8" and sys.executable:
        command = [sys.executable, "-X", "utf8", *sys.orig_argv[1:]]
        os.execv(command[0], command)  # noqa: S606 - deliberately without a shell
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding=_encoding(), errors="backslashreplace")


def _open_the_closed() -> None:
    """Open /dev/null for a closed stream: otherwise the next opened file would get its number."""
    for fd, (name, mode) in _DESCRIPTORS.items():
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number
            os.set_inheritable(fd, True)  # noqa: FBT003 - the signature is the standard library's
            setattr(sys, name, os.fdopen(fd, mode, encoding="utf-8", closefd=False))


def _encoding() -> str:
    """Return the locale's encoding; UTF-8 for C, which says nothing about terminals."""
    try:
        found = codecs.lookup(locale.getencoding()).name
    except LookupError:
        return "utf-8"
    return "utf-8" if found == "ascii" else found
