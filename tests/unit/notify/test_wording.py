"""Words for durations, times, shares, backgrounds and programs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tcp_trace.connects.events import Destination
from tcp_trace.incidents.notification import Background, Notification
from tcp_trace.notify import makers, wording
from tcp_trace.notify.wording import span, utc
from tests.unit.notify.golden import (
    DEGRADED,
    DOWN,
    OPENED,
    SIX_ADDRESSES,
    STORM_OPENED,
    UNTRIED,
    UPDATED,
)
from tests.unit.notify.samples import STYLE


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "under 1 s"),
        (119.9, "119 s"),
        (120, "2 min"),
        (3600, "1 h"),
        (3 * 3600 + 300, "3 h 5 min"),
        (50 * 3600, "2 d 2 h"),
    ],
)
def test_durations_are_in_words(seconds: float, words: str) -> None:
    """A duration has at most two units, and the big one first."""
    assert span(seconds) == words


def test_impossible_times_are_told_as_unknown() -> None:
    """A clock before 1970 or after 9999 does not keep a message from being shown."""
    for wall in (-1.0, 1e15, float("nan"), float("inf")):
        assert utc(wall) == "unknown time"
    for wall in (float("nan"), -1.0):
        assert wording.ago(1e9)(wall) == "unknown time"


def test_the_future_is_now() -> None:
    """A clock that was put back makes no negative times."""
    assert wording.ago(1000.0)(2000.0) == "just now"
    assert wording.ago(1000.0)(940.0) == "60 s ago"


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (0.0, "0 %"),
        (0.0001, "under 1 %"),
        (0.4, "40 %"),
        (0.996, "over 99 %"),
        (1.0, "100 %"),
    ],
)
def test_a_share_is_never_rounded_to_none_or_all(share: float, words: str) -> None:
    """One success among a thousand failures is not nothing."""
    assert wording.percent(share) == words


@pytest.mark.parametrize(
    ("background", "words"),
    [
        (None, None),
        (Background(), "never seen to work"),
        (Background(worked=OPENED.first - 3), "worked 3 s before it failed"),
        (Background(worked=OPENED.first + 9), "worked just before it failed"),
        (
            Background(OPENED.first - 7200, 0.0008, 0.25),
            "worked 2 h before it failed, usually connects in 0.8 ms, usually 25 % fail",
        ),
        (
            Background(OPENED.first - 1, 0.02, 0.001),
            "worked 1 s before it failed, usually connects in 20 ms",
        ),
    ],
)
def test_how_it_did_before(background: Background | None, words: str | None) -> None:
    """When it last worked, how fast, and how often it failed, as far as it is known."""
    assert wording.background(replace(OPENED, background=background)) == words


@pytest.mark.parametrize(
    ("notification", "names", "lines"),
    [
        (replace(DOWN, processes=(), unlisted=38), None, ["unknown: 38 failures"]),
        (DOWN, "gunicorn (latest pid 812; user www-data; unit shop.service)", []),
        (DEGRADED, "app-0, app-1 and others", ["app-0", "app-1", "others: 5 failures"]),
        (
            replace(DEGRADED, unlisted=0),
            "app-0, app-1 and 2 others",
            ["app-0", "app-1", "2 others: 3 failures"],
        ),
        (
            replace(DEGRADED, unlisted=0, processes=DEGRADED.processes[:3]),
            "app-0, app-1 and 1 other",
            ["app-0", "app-1", "1 other: 2 failures"],
        ),
        (
            replace(DEGRADED, unlisted=0, processes=DEGRADED.processes[:2]),
            "app-0 and app-1",
            ["app-0", "app-1"],
        ),
        (replace(DOWN, unlisted=3, total=41), "gunicorn and others", ["gunicorn", "others: 3"]),
    ],
)
def test_two_programs_at_most(
    notification: Notification, names: str | None, lines: list[str]
) -> None:
    """One alone is described where the cause is; of several two are, and the rest is counted."""
    assert makers.programs(notification, STYLE) == names
    shown = makers.processes(notification, STYLE)
    assert len(shown) == len(lines)
    assert all(map(str.startswith, shown, lines))


def test_the_latest_addresses_of_a_name() -> None:
    """Three, the latest first."""
    assert wording.addresses(SIX_ADDRESSES, STYLE) == "10.0.0.10, 10.0.0.9, 10.0.0.8 and 3 others"
    assert wording.subject(SIX_ADDRESSES, str) == "db.example.com:5432"
    assert wording.addresses(UNTRIED, STYLE) is None
    assert wording.subject(UNTRIED, str) == "db.example.com:5432 (10.0.0.5)"


@pytest.mark.parametrize("most", range(12))
def test_a_digest_has_as_many_lines_as_there_is_room(most: int) -> None:
    """All subjects are in them, by name or by number."""
    for digest in (STORM_OPENED, replace(STORM_OPENED, kinds=(("destination", 10),))):
        lines = wording.subjects(digest, STYLE, most)
        assert len(lines) <= max(most, 1)
        more = lines[-1].startswith("and ")
        rest = int(lines[-1].split()[1]) if more else 0
        assert len(lines) - more + rest == digest.size


def test_a_long_name_leaves_room_for_the_numbers() -> None:
    """Its end, which is the port, is left."""
    assert DOWN.subject is not None
    assert isinstance(DOWN.subject, Destination)
    shown = wording.named(DOWN.subject._replace(address="a" * 300), ())
    assert shown.endswith("a:5432")
    assert len(shown) == 60
    assert UPDATED.subject is not None
    assert wording.named(UPDATED.subject, ()) == "10.0.0.5:5432"
