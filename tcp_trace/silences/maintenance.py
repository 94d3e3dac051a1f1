"""Maintenance windows: hours of a day or a week in which failures send no message.

    MAINTENANCE=Sun 02:00-04:00; daily 23:45-00:15 Europe/Berlin 10.0.0.0/8 reason=refused

Windows are separated by semicolons. Each is the days on which it begins, its hours, a time zone
(UTC where none is named, as in every message), and which failures (all where none are named).
Hours are local time, in summer as in winter.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, tzinfo
from typing import NamedTuple

from tcp_trace.safetext import ERRORS_LIMIT, at_most, brief
from tcp_trace.silences.match import Match, parse_match

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_GROUPS = {"daily": "Mon-Sun", "weekdays": "Mon-Fri", "weekends": "Sat-Sun"}
_HOURS = re.compile(r"([01][0-9]|2[0-4]):([0-5][0-9])-([01][0-9]|2[0-4]):([0-5][0-9])")
_ZONE = re.compile(r"UTC|[A-Z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)+")
_DAY_MINUTES = 24 * 60
_HOW = "write it like Sun 02:00-04:00, or daily 23:45-00:15 Europe/Berlin 10.0.0.0/8"


class Window(NamedTuple):
    """A window: `days` (0 is Monday) on which it begins, `start` and `end` in minutes of a day.

    With an `end` that is not after `start` it goes on into the next day. `id` is its text.
    """

    id: str
    match: Match
    days: frozenset[int]
    start: int
    end: int
    zone: tzinfo

    def in_force(self, wall: float) -> bool:
        """Return whether it holds at this time (seconds since the epoch)."""
        try:
            local = datetime.fromtimestamp(wall, self.zone)
        except (OverflowError, ValueError, OSError):
            return False  # a clock beyond all calendars
        minute, day = local.hour * 60 + local.minute, local.weekday()
        if self.start < self.end:
            return day in self.days and self.start <= minute < self.end
        began_yesterday = (day - 1) % 7 in self.days and minute < self.end
        return began_yesterday or (day in self.days and minute >= self.start)


def parse_windows(text: str) -> tuple[Window, ...]:
    """Parse `MAINTENANCE`. Raises ValueError with a sentence for each window that is wrong."""
    windows: list[Window] = []
    errors: list[str] = []
    for item in text.split(";"):
        words = item.split()
        if not words:
            continue
        try:
            windows.append(_parse_window(words))
        except ValueError as error:
            errors.append(f"'{brief(' '.join(words))}': {error}")
    if errors:
        raise ValueError(at_most(errors, ERRORS_LIMIT))
    return tuple(windows)


def _parse_window(words: list[str]) -> Window:
    if len(words) < 2:
        raise ValueError(f"not days and hours; {_HOW}")
    days = _parse_days(words[0])
    hours = _HOURS.fullmatch(words[1])
    if hours is None:
        raise ValueError(f"{brief(words[1])} are no hours; {_HOW}")
    start, end = (int(hours[n]) * 60 + int(hours[n + 1]) for n in (1, 3))
    if start == end or start >= _DAY_MINUTES or end > _DAY_MINUTES:
        raise ValueError(f"{words[1]} are no hours; a whole day is 00:00-24:00")
    rest = words[2:]
    zone = _parse_zone(rest.pop(0)) if rest and _ZONE.fullmatch(rest[0]) else UTC
    match = parse_match(" ".join(rest) or "all")
    return Window(" ".join(words), match, days, start, end, zone)


def _parse_days(text: str) -> frozenset[int]:
    days: set[int] = set()
    for item in _GROUPS.get(text.lower(), text).split(","):
        first, _, last = (part.capitalize() for part in item.partition("-"))
        if first not in _DAYS or (last or first) not in _DAYS:
            raise ValueError(f"{brief(item)} is no day; write daily, weekdays, weekends, Mon,"
                             " Sat,Sun or Mon-Fri")  # fmt: skip
        begin, end = _DAYS.index(first), _DAYS.index(last or first)
        days.update(day % 7 for day in range(begin, end + 1 if end >= begin else end + 8))
    return frozenset(days)


def _parse_zone(name: str) -> tzinfo:
    """Return a time zone, read once from the host's time zone files."""
    if name == "UTC":
        return UTC
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError  # noqa: PLC0415 - where one is named only

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(
            f"{brief(name)} is no time zone that this host knows (package tzdata); write for"
            " example Europe/Berlin, or nothing for UTC"
        ) from None
