"""What `check` shows: a table, and colours on a terminal."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tcp_trace.commands import findings
from tcp_trace.kernel.findings import Finding, Level

if TYPE_CHECKING:
    import pytest


def test_table() -> None:
    """The table has a line for each finding, a fix below it, and colours only when asked for."""
    found = [Finding("btf", Level.OK, "there"), Finding("bcc", Level.FAIL, "none", "install it")]
    assert findings.as_table(found, 80).splitlines() == [
        "ok    btf            there",
        "fail  bcc            none",
        "                     → install it",
        "",
        "1 to fix",
    ]
    assert findings.as_table(found[:1], 80).endswith("this host can run tcp_trace")


def test_colours_are_the_tables_own() -> None:
    """A level is coloured where it begins a line; what a finding quotes begins and colours none."""
    assert findings.paint("fail  bcc  none") == "\x1b[31mfail\x1b[0m  bcc  none"
    assert findings.paint("ok    btf  there") == "\x1b[32mok  \x1b[0m  btf  there"
    hostile = Finding("bcc", Level.OK, "a\nfail  x\x1b[5m" + " fail" * 40, "b\nfail")
    lines = findings.as_table([hostile], 80).splitlines()
    assert sum("\x1b" in findings.paint(line) for line in lines) == 1
    assert all(line.isprintable() and len(line) <= 80 for line in lines)


def test_colour_is_for_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal gets colours unless NO_COLOR is set; a file gets none."""
    controller, terminal = os.openpty()
    with open(terminal, "w", encoding="utf-8") as stream:  # noqa: PTH123
        monkeypatch.delenv("NO_COLOR", raising=False)
        assert findings.wants_colour(stream)
        monkeypatch.setenv("NO_COLOR", "1")
        assert not findings.wants_colour(stream)
    os.close(controller)
    with open(os.devnull, "w", encoding="utf-8") as stream:  # noqa: PTH123
        monkeypatch.delenv("NO_COLOR")
        assert not findings.wants_colour(stream)
