"""What a notification says, in words; how it looks is up to a `Style`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from tcp_trace.connects.reasons import short_span
from tcp_trace.incidents.notification import Condition
from tcp_trace.incidents.topics import TOPICS, by_plural
from tcp_trace.safetext import ELLIPSIS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tcp_trace.incidents.notification import Notification, SubjectCount
    from tcp_trace.incidents.subjects import Subject

_LAST_REPRESENTABLE = 253_402_300_799  # the end of the year 9999
_UNKNOWN_TIME = "unknown time"
_NAMES_LIMIT = 60  # of a title, in which the numbers must be seen, too
_ADVISED = 3
_NOTEWORTHY = 0.01  # of attempts that usually fail
_ADDRESSES = 3


class Style(NamedTuple):
    """How a kind of text shows what it is made of.

    `name` shows what others chose, `host` this host's name, which is trusted, `own` our own words,
    `command` a line for a shell that needs no escapes, `time` seconds since the epoch.
    """

    name: Callable[[str], str]
    host: Callable[[str], str]
    own: Callable[[str], str]
    command: Callable[[str], str]
    time: Callable[[float], str]


def utc(wall: float) -> str:
    """Return `2026-01-01 12:00:00 UTC`; a clock beyond all calendars is told as unknown."""
    if not 0 <= wall <= _LAST_REPRESENTABLE:
        return _UNKNOWN_TIME
    return f"{datetime.fromtimestamp(wall, UTC):%Y-%m-%d %H:%M:%S} UTC"


def ago(now: float) -> Callable[[float], str]:
    """Return what says how long before `now` a time is: `5 min ago`. Both since the epoch."""

    def say(wall: float) -> str:
        if not 0 <= wall <= _LAST_REPRESENTABLE:
            return _UNKNOWN_TIME
        passed = now - wall
        return f"{span(passed)} ago" if passed >= 1 else "just now"

    return say


def named(subject: Subject, hosts: tuple[str, ...], addresses: tuple[str, ...] = ()) -> str:
    """Return a subject with its names or addresses, the latest first.

    `db.example.com (10.0.0.5:5432)`, or `db.example.com:5432 (10.0.0.5)` where it is a name.
    """
    own = _without_middle(str(subject))
    if addresses:
        return f"{own} ({_clipped(', '.join(reversed(addresses)))})"
    return f"{_clipped(', '.join(reversed(hosts)))} ({own})" if hosts else own


def span(seconds: float) -> str:
    """Return a duration as people say it: `3 s`, `12 min`, `3 h 5 min`, `2 d 4 h`."""
    if not seconds <= _LAST_REPRESENTABLE:
        return "an unknown time"
    whole = int(seconds)
    if whole < 1:
        return "under 1 s"
    if whole < 120:
        return f"{whole} s"
    minutes = whole // 60
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return _two(minutes // 60, "h", minutes % 60, "min")
    return _two(minutes // 1440, "d", minutes % 1440 // 60, "h")


def percent(share: float) -> str:
    """Return `40 %`; nothing is rounded to none or to all."""
    if 0 < share < 0.01:
        return "under 1 %"
    return "over 99 %" if 0.99 < share < 1 else f"{100 * share:.0f} %"


def failures(count: int) -> str:
    """Return `1 failure`, `2,000 failures`."""
    return "1 failure" if count == 1 else f"{count:,} failures"


def attempts(n: Notification, number: int) -> str:
    """Return the noun of so many attempts: `connects`."""
    topics = [TOPICS[kind] for kind in by_plural(n.subjects)]
    if len(topics) != 1:
        return "attempt" if number == 1 else "attempts"
    return topics[0].attempt if number == 1 else topics[0].attempts


def cause(n: Notification) -> str:
    """Return why: one cause with its details, or all of them with their counts."""
    if len(n.causes) == 1:
        ((one, _, evidence),) = n.causes
        return one.describe(evidence, in_full=n.total == 1)
    return ", ".join(
        f"{each.describe(evidence, in_full=False)} ({count:,})"
        for each, count, evidence in n.causes
    )


def background(n: Notification) -> str | None:
    """Return how the subject did before it failed, None where that is not known."""
    if n.background is None or n.subject is None:
        return None
    worked, latency, share = n.background
    topic = TOPICS[n.subject.kind]
    said = "never seen to work"
    if worked is not None:
        before = n.first - worked
        said = f"worked {span(before) if before >= 1 else 'just'} before it failed"
    if latency is not None:
        said += f", usually {topic.usually} {short_span(latency)}"
    if share is not None and share >= _NOTEWORTHY:
        said += f", usually {percent(share)} fail"
    return said


def check_first(n: Notification) -> list[str]:
    """Return what to look at first, where this is the first that people hear and not over.

    Of several causes each of the most frequent has advice of its own, and says whose it is. A
    digest has that of the most frequent one.
    """
    if not n.opening or n.kind.is_last:
        return []
    if len(n.causes) == 1:
        return [n.causes[0].cause.check_first]
    told = [count.cause for count in n.causes[: 1 if n.is_digest else _ADVISED]]
    return [f"{cause.summary.partition(':')[0]}: {cause.check_first}" for cause in told]


def addresses(n: Notification, style: Style) -> str | None:
    """Return at which addresses a name failed, the latest first; None for one: the title has it."""
    if len(n.addresses) < 2:
        return None
    shown = [style.name(each) for each in reversed(n.addresses[-_ADDRESSES:])]
    return listed(shown, others(len(n.addresses) - len(shown)))


def many(subjects: Mapping[str, int]) -> str:
    """Return `12 destinations`: so many of each kind."""
    numbers = by_plural(subjects).items()
    return " and ".join(f"{number:,} {TOPICS[kind].plural}" for kind, number in numbers)


def subject(n: Notification, name: Callable[[str], str]) -> str:
    """Return the subject, as `name` shows what others chose, or how many there are."""
    if n.subject is not None:
        # Several addresses have a line of their own.
        return name(named(n.subject, n.hosts, n.addresses if len(n.addresses) == 1 else ()))
    if n.size == 1 and n.top:
        return name(str(n.top[0].subject)) + _namespaces(n.top[0])
    return ("over " if n.untracked else "") + many(n.subjects)


def others(number: int) -> str:
    """Return `1 other`, `3 others`, nothing for none."""
    return f"{number:,} other{'s' * (number > 1)}" if number > 0 else ""


def listed(names: list[str], more: str) -> str:
    """Return `a and b`, `a, b and 3 others`."""
    *first, last = [*names, *([more] if more else [])]
    return f"{', '.join(first)} and {last}" if first else last


def count(n: Notification) -> str:
    """Return how many failures, and how many of them are told here for the first time."""
    if n.failures == n.total:
        return f"{n.total:,}"
    if n.failures == 0:
        return f"{n.total:,}, all reported before"
    if n.kind.is_last:
        return f"{n.total:,}, of which {n.failures:,} not reported before"
    return f"{n.failures:,} more, {n.total:,} in all"


def subjects(n: Notification, style: Style, most: int) -> list[str]:
    """Return a line per subject of a digest, and one for the rest: so many lines at most."""
    sizes = n.size > len(n.top) or n.untracked > 0
    # When it is over, those of which that is not sure are what is left to look at.
    top = sorted(n.top, key=lambda each: each.condition is Condition.WORKS)
    shown = top[: most if len(top) + sizes <= most else max(0, most - 1)]
    lines = [_subject(count, style) for count in shown]
    rest = n.size - len(shown)
    if n.untracked:
        lines.append(f"and {rest:,} more; {failures(n.untracked)} of others beyond those")
    elif rest > 0:
        lines.append(f"and {rest:,} more")
    return lines


def remarks(n: Notification) -> list[str]:
    """Return what else there is to know of a digest's subjects."""
    lines = []
    if n.absorbed:
        several = len(n.absorbed) > 1
        told = f"The {len(n.absorbed)} incidents" if several else "The incident"
        lines.append(f"{told} reported just before {'are' if several else 'is'} part of this.")
    if any(count.condition is Condition.FAILING for count in n.top):
        lines.append("One that fails again gets an incident of its own.")
    return lines


def _clipped(text: str) -> str:
    return text if len(text) <= _NAMES_LIMIT else text[: _NAMES_LIMIT - 1] + ELLIPSIS


def _without_middle(name: str) -> str:
    """Return a name with its end, which is the port, in which no more than the middle is cut."""
    if len(name) <= _NAMES_LIMIT:
        return name
    half = _NAMES_LIMIT // 2
    return f"{name[:half]}{ELLIPSIS}{name[1 - half :]}"


def _two(big: int, unit: str, small: int, small_unit: str) -> str:
    return f"{big} {unit} {small} {small_unit}" if small else f"{big} {unit}"


def _subject(count: SubjectCount, style: Style) -> str:
    condition = f", {_condition(count)}" if count.condition else ""
    hosts = (count.host,) if count.host else ()
    subject = named(count.subject, hosts, (count.address,) if count.address else ())
    return f"{style.name(subject)}{_namespaces(count)}: {failures(count.failures)}{condition}"


def _condition(count: SubjectCount) -> str:
    topic = TOPICS[count.subject.kind]
    if count.condition is Condition.FAILING:
        return "still fails"
    return topic.works if count.condition is Condition.WORKS else topic.unseen


def _namespaces(count: SubjectCount) -> str:
    if count.namespaces > 1:
        return f" in {count.namespaces:,} network namespaces"
    return f" in network namespace {count.subject.netns}" if count.subject.netns else ""
