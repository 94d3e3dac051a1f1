"""Writes all output of commands: nothing in it controls a terminal.

Errors of SQLite, of the kernel or of a parser quote untrusted text. So every character that is not
printable, except line ends, is escaped here once more, whatever the caller did. `streams` handles
characters that the encoding lacks.
"""

from __future__ import annotations

import re
import shutil
import sys
from typing import TYPE_CHECKING, TextIO
from unicodedata import bidirectional

from tcp_trace.safetext import RIGHT_TO_LEFT, plain, printable

if TYPE_CHECKING:
    from collections.abc import Callable

_NARROWEST = 60
_ISOLATED = re.compile("\u2068([^\u2066-\u2069]*)\u2069")


def columns() -> int:
    """Return the width to write for: the terminal's, 80 without one."""
    return max(_NARROWEST, shutil.get_terminal_size((80, 24)).columns)


def show(text: str, paint: Callable[[str], str] = str) -> None:
    """Write lines to stdout; `paint` colours an escaped line."""
    _write(sys.stdout, text, paint)


def complain(text: str) -> None:
    """Write an error to stderr, each line with the program's name."""
    _write(sys.stderr, text, "tcp-trace: {}".format)


def complain_of_bug(error: Exception) -> None:
    """Write a traceback to stderr."""
    import traceback  # noqa: PLC0415 - needed only for a bug

    complain("this is a bug in tcp-trace; please report it with these lines:")
    _write(sys.stderr, "".join(traceback.format_exception(error)).rstrip("\n"))


def as_json(value: object) -> str:
    """Return JSON in ASCII; `show` changes none of its characters."""
    import json  # noqa: PLC0415 - stage 2 starts without it

    return json.dumps(value, indent=2).replace("\x7f", "\\u007f")


def write_raw(stream: TextIO, text: str) -> None:
    """Write argparse's text, which has its own line ends."""
    _write(stream, text.removesuffix("\n"))


def _write(stream: TextIO, text: str, paint: Callable[[str], str] = str) -> None:
    stream.write("".join(f"{paint(_safe(line))}\n" for line in text.split("\n")))
    stream.flush()


def _safe(line: str) -> str:
    """Return a line without any character that controls a terminal.

    Right-to-left text passes if `safetext.isolated` made it harmless.
    """
    if line.isascii() and line.isprintable():
        return line
    pieces, at = [], 0
    for found in _ISOLATED.finditer(line):
        pieces.append(_escaped(line[at : found.start()]))
        pieces.append(found[0] if plain(found[1]) == found[0] else _escaped(found[0]))
        at = found.end()
    return "".join([*pieces, _escaped(line[at:])])


def _escaped(text: str) -> str:
    return "".join(
        ascii(each)[1:-1] if bidirectional(each) in RIGHT_TO_LEFT else each
        for each in printable(text)
    )
