"""The line that says it all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tcp_trace.incidents.notification import Phase, Severity, State
from tcp_trace.notify.titles import title
from tests.unit.notify.golden import (
    DAILY,
    DAILY_OF_A_CRAWLER,
    DOWN,
    EXPLORED,
    OPENED,
    RESOLVED,
    SAMPLES,
    STORM_OPENED,
    STORM_OVER,
    STORM_RESOLVED,
    UNTRIED,
    WORKS_AGAIN,
)

LATER: dict[str, Any] = {"kind": Phase.UPDATED, "opening": False, "total": 412, "duration": 600.0}
QUIET: dict[str, Any] = {"kind": Phase.QUIET, "at": DOWN.last + 1200}


def of(base: Any, **changes: Any) -> str:  # noqa: ANN401
    """Return the title of a changed notification about X, without its symbol."""
    return title(replace(base, **changes), "X").partition(" ")[2]


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        (of(DOWN), "CRITICAL: X: all 38 connects failed"),
        (of(DOWN, established=None), "CRITICAL: X: all 38 connects failed"),
        (of(OPENED), "WARNING: X: 1 connect failed"),
        (of(OPENED, total=3, established=None), "WARNING: X: 3 connects failed"),
        (of(OPENED, total=3), "WARNING: X: all 3 connects failed"),
        (
            of(OPENED, total=12, established=18, state=State.DEGRADED),
            "WARNING: X: 40 % of connects failed (12 of 30)",
        ),
        (of(DOWN, total=38, established=2), "CRITICAL: X: 95 % of connects failed (38 of 40)"),
        (of(UNTRIED), "WARNING: X failed; nobody has tried for 20 min"),
        (
            of(UNTRIED, kind=Phase.UPDATED, last=UNTRIED.at - 2, duration=1198.0, total=2),
            "WARNING: X still failing after 19 min: all 2 connects failed",
        ),
        (of(UNTRIED, kind=Phase.REMINDED), "WARNING: X failed; nobody has tried for 20 min"),
        (of(DOWN, **LATER), "CRITICAL: X still down after 10 min: all 412 connects failed"),
        (
            of(DOWN, **LATER, established=588),
            "CRITICAL: X still failing after 10 min: 41 % of connects failed (412 of 1,000)",
        ),
        (
            of(DOWN, **(LATER | {"kind": Phase.REMINDED, "severity": Severity.WARNING})),
            "WARNING: X still down after 10 min: all 412 connects failed",
        ),
        (of(WORKS_AGAIN), "RECOVERED: X was down for 34 s, works again"),
        (of(WORKS_AGAIN, total=1), "RECOVERED: X failed once, works again"),
        (of(WORKS_AGAIN, state=State.UNTRIED), "RECOVERED: X failed, works again"),
        (
            of(RESOLVED, state=State.DEGRADED, established=2600),
            "RECOVERED: X failed for 10 min (1,300 of 3,900 connects), works again",
        ),
        (of(DOWN, **QUIET), "QUIET: X failed; nobody has tried for 20 min"),
    ],
)
def test_one_subject(shown: str, words: str) -> None:
    """It says in numbers how it fails, and what became of it."""
    assert shown == words


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        (of(EXPLORED), "WARNING: X fail: all 98 connects failed"),
        (of(STORM_OPENED), "CRITICAL: X fail: 8,401 connects failed"),
        (
            of(STORM_OPENED, kind=Phase.REMINDED, duration=10_800.0),
            "CRITICAL: X still fail after 3 h: 8,401 connects failed",
        ),
        (of(STORM_OVER), "RECOVERED: 312 of 400 destinations work again"),
        (of(STORM_OVER, working=400), "RECOVERED: all 400 destinations work again"),
        (of(STORM_RESOLVED), "RECOVERED: 1 of 3 destinations work again; 1 still fails"),
        (
            of(STORM_OVER, working=0, top=()),
            "RECOVERED: 400 destinations failed for 3 min, and no more since",
        ),
        (
            of(STORM_OVER, kind=Phase.QUIET),
            "QUIET: 312 of 400 destinations work again, the others were not tried",
        ),
        (
            of(STORM_OVER, kind=Phase.QUIET, working=0, top=(), at=STORM_OVER.last + 7200),
            "QUIET: X failed; nobody has tried for 2 h",
        ),
    ],
)
def test_a_digest(shown: str, words: str) -> None:
    """It says how many fail, and at the end how many were seen to work again."""
    assert shown == words


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        (of(DAILY), "43 failed connects to X, each worked on a later try"),
        (of(DAILY_OF_A_CRAWLER), "4,012 failed connects to X; 12 worked on a later try"),
        (of(DAILY, working=0, top=()), "43 failed connects to X, none worth a message of its own"),
        (
            of(DAILY, total=1, kinds=(("destination", 1),), working=1),
            "1 failed connect to X, it worked on a later try",
        ),
    ],
)
def test_the_digest_of_a_day(shown: str, words: str) -> None:
    """It says how many failures there were, and that they did not last."""
    assert shown == f"Daily digest: {words}"


def test_what_is_late_says_so_first() -> None:
    """Before its symbol, with how late."""
    for notification, _ in SAMPLES.values():
        assert title(notification, "X", 11_000.0).startswith("LATE 3 h 3 min: ")
        assert "LATE" not in title(notification, "X")


def test_only_critical_is_red() -> None:
    """And nothing that is over."""
    red = {
        name for name, (n, _) in SAMPLES.items() if title(n, "X").startswith("\N{LARGE RED CIRCLE}")
    }
    assert red == {
        name
        for name, (n, _) in SAMPLES.items()
        if n.severity is Severity.CRITICAL and n.kind in (Phase.OPENED, Phase.UPDATED)
    }
