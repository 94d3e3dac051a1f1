"""The findings of `tcp-trace check`, and their text and JSON."""

from __future__ import annotations

import os
import textwrap
from typing import TextIO

from tcp_trace.kernel.findings import Finding, Level
from tcp_trace.log import output
from tcp_trace.safetext import printable

_INDENT = 21
_COLOURS = {"ok": "32", "warn": "33", "fail": "31"}


def wants_colour(stream: TextIO) -> bool:
    """Return whether to colour: on a terminal, unless NO_COLOR is set (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR")


def as_table(findings: list[Finding], columns: int) -> str:
    """Return the findings as lines of at most `columns`, with a summary."""
    lines = []
    for finding in findings:
        lines += _wrapped(
            finding.detail, columns, f"{finding.level.value:<4}  {finding.name:<13}  "
        )
        if finding.fix:
            lines += _wrapped(finding.fix, columns, " " * _INDENT + "→ ", " " * (_INDENT + 2))
    failed = sum(finding.level is Level.FAIL for finding in findings)
    lines += ["", f"{failed} to fix" if failed else "this host can run tcp_trace"]
    return "\n".join(lines)


def paint(line: str) -> str:
    """Return an escaped line of the table with its level in colour."""
    level = line.partition(" ")[0]
    colour = _COLOURS.get(level)
    if colour is None:
        return line
    return f"\x1b[{colour}m{level:<4}\x1b[0m{line[max(4, len(level)) :]}"


def _wrapped(text: str, columns: int, first: str, rest: str = " " * _INDENT) -> list[str]:
    """Return a text as wrapped lines; its own newlines are escaped."""
    return textwrap.wrap(
        printable(text),
        columns,
        initial_indent=first,
        subsequent_indent=rest,
        break_on_hyphens=False,
        break_long_words=False,
    ) or [first.rstrip()]


def as_json(findings: list[Finding]) -> str:
    """Return `{"ok": bool, "checks": [{"name", "level", "detail", "fix"}, ...]}`."""
    checks = [{**finding._asdict(), "level": finding.level.value} for finding in findings]
    fine = all(finding.level is not Level.FAIL for finding in findings)
    return output.as_json({"ok": fine, "checks": checks})
