"""What `tcp-trace check` found, and how it is shown to people and to programs."""

from __future__ import annotations

import json
import os
import textwrap
from enum import Enum
from typing import NamedTuple, TextIO


class Level(Enum):
    """How a check went: a warning does not keep the service from working."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Finding(NamedTuple):
    """What one check found; `fix` says what to do, and is empty where nothing is to be done."""

    name: str
    level: Level
    detail: str
    fix: str = ""


def wants_colour(stream: TextIO) -> bool:
    """Tell whether to colour: on a terminal, unless NO_COLOR is set (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR")


def as_table(findings: list[Finding], *, colour: bool) -> str:
    """Return the findings as lines for people, with a summary at the end."""
    colours = {Level.OK: "32", Level.WARN: "33", Level.FAIL: "31"}
    lines = []
    for finding in findings:
        level = f"{finding.level.value:<4}"
        if colour:
            level = f"\x1b[{colours[finding.level]}m{level}\x1b[0m"
        lines.append(f"{level}  {finding.name:<13}  {finding.detail}")
        if finding.fix:
            indent = " " * 21
            lines.append(
                textwrap.fill(
                    finding.fix,
                    100,
                    initial_indent=f"{indent}→ ",
                    subsequent_indent=f"{indent}  ",
                    break_on_hyphens=False,
                )
            )
    failed = sum(finding.level is Level.FAIL for finding in findings)
    lines += ["", f"{failed} to fix" if failed else "this host can run tcp_trace"]
    return "\n".join(lines)


def as_json(findings: list[Finding]) -> str:
    """Return `{"ok": bool, "checks": [{"name", "level", "detail", "fix"}, ...]}`."""
    checks = [{**finding._asdict(), "level": finding.level.value} for finding in findings]
    fine = all(finding.level is not Level.FAIL for finding in findings)
    return json.dumps({"ok": fine, "checks": checks}, indent=2)
