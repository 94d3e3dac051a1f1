"""Maintenance windows: which hours they mean, and what is said of those written wrong."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from tcp_trace.connects.events import Moment
from tcp_trace.silences.maintenance import Window, parse_windows
from tcp_trace.silences.silences import Silences
from tests.unit.silences.test_silences import FAILURE


def wall(text: str, zone: str = "UTC") -> float:
    """Return seconds since the epoch; 2026-01-04 is a Sunday."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def window(text: str) -> Window:
    """Return the only window of this text."""
    (only,) = parse_windows(text)
    return only


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        (
            "Sun 02:00-04:00",
            ["2026-01-04 02:00", "2026-01-04 03:59:59"],
            ["2026-01-04 01:59:59", "2026-01-04 04:00", "2026-01-05 03:00"],
        ),
        (
            "Sat 23:00-01:00",
            ["2026-01-03 23:30", "2026-01-04 00:30"],
            ["2026-01-03 00:30", "2026-01-04 23:30", "2026-01-04 01:00", "2026-01-03 22:59"],
        ),
        ("Sun 23:00-00:00", ["2026-01-04 23:59"], ["2026-01-05 00:00", "2026-01-04 00:00"]),
        ("sat,MON 00:00-24:00", ["2026-01-03 12:00", "2026-01-05 23:59"], ["2026-01-04 12:00"]),
        ("Fri-Sun 03:00-04:00", ["2026-01-02 03:00", "2026-01-04 03:00"], ["2026-01-01 03:00"]),
        ("Sun-Mon 03:00-04:00", ["2026-01-04 03:00", "2026-01-05 03:00"], ["2026-01-06 03:00"]),
        ("weekdays 03:00-04:00", ["2026-01-05 03:00"], ["2026-01-04 03:00"]),
        ("weekends 03:00-04:00", ["2026-01-04 03:00"], ["2026-01-05 03:00"]),
        ("daily 03:00-03:15 UTC", ["2026-01-04 03:14", "2026-01-07 03:00"], ["2026-01-04 03:15"]),
    ],
)
def test_hours(text: str, inside: list[str], outside: list[str]) -> None:
    """A window holds from its first minute on until its last, on the days on which it begins."""
    assert all(window(text).in_force(wall(when)) for when in inside)
    assert not any(window(text).in_force(wall(when)) for when in outside)


def test_hours_of_a_zone_follow_its_clocks() -> None:
    """In a named zone the hours are those on the wall there, in summer as in winter."""
    berlin = window("daily 03:00-04:00 Europe/Berlin")
    for day in ("2026-01-10", "2026-07-10"):
        assert berlin.in_force(wall(f"{day} 03:30", "Europe/Berlin"))
        assert not berlin.in_force(wall(f"{day} 04:30", "Europe/Berlin"))
    assert berlin.in_force(wall("2026-01-10 02:30"))
    assert not berlin.in_force(wall("2026-07-10 02:30"))


def test_a_clock_beyond_all_calendars_is_in_no_window() -> None:
    """A wall clock that no calendar has is no reason to fail."""
    assert not window("daily 00:00-24:00").in_force(1e15)


def test_a_window_silences_what_it_names() -> None:
    """A window means what stands behind its hours, and everything where nothing does."""
    windows = parse_windows("Sun 02:00-04:00 192.0.2.0/24; Sun 03:00-05:00 UTC process=psql;")
    silences = Silences(windows=windows)
    assert silences.of(FAILURE, Moment(0, wall("2026-01-04 02:30"))) is None
    assert silences.of(FAILURE, Moment(0, wall("2026-01-04 03:30"))) == windows[1].id
    assert windows[1].id == "Sun 03:00-05:00 UTC process=psql"
    assert window("Sun 02:00-04:00").match.fits(FAILURE)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Sun", "not days and hours; write it like Sun 02:00-04:00"),
        ("Someday 02:00-04:00", "Someday is no day; write daily"),
        ("Mon- 02:00-04:00 x", "no address, network or host name"),
        ("Sun 2-4", "2-4 are no hours"),
        ("Sun 25:00-26:00", "25:00-26:00 are no hours"),
        ("Sun 02:00-24:01", "02:00-24:01 are no hours"),
        ("Sun 24:00-01:00", "24:00-01:00 are no hours"),
        ("Sun 02:00-02:00", "a whole day is 00:00-24:00"),
        ("Sun 02:00-04:00 Europe/Berlim", "Europe/Berlim is no time zone"),
        ("Sun 02:00-04:00 reason=bad", "is no reason"),
    ],
)
def test_what_is_not_understood(text: str, words: str) -> None:
    """A window that is wrong is named, with what to write."""
    with pytest.raises(ValueError, match=r".") as caught:
        parse_windows(text)
    assert words in str(caught.value)
    assert f"'{text}'" in str(caught.value)


def test_every_wrong_window_at_once() -> None:
    """All that is wrong is told in one go."""
    with pytest.raises(ValueError, match=r"'Sux 02:00-04:00'.*'daily 2-3'"):
        parse_windows("Sux 02:00-04:00; daily 01:00-02:00; daily 2-3")
