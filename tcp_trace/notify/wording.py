"""What a notification says, in words; how it looks is up to a `Style`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from tcp_trace.connects.maker import RUNTIMES
from tcp_trace.incidents.notification import Condition, Notification, Phase, Severity
from tcp_trace.incidents.topics import TOPICS, by_plural
from tcp_trace.safetext import ELLIPSIS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tcp_trace.incidents.notification import ProcessCount, SubjectCount
    from tcp_trace.incidents.subjects import Subject

_LAST_REPRESENTABLE = 253_402_300_799  # the end of the year 9999
_NAMES_LIMIT = 60  # what follows them must be seen, too, also in the title of a message
_ADVISED = 3
_SHORT_ID = 12  # as docker, podman and crictl show it
_CRITICAL = "\N{LARGE RED CIRCLE}"
_SYMBOLS = {
    Phase.OPENED: "\N{LARGE ORANGE CIRCLE}",
    Phase.UPDATED: "\N{LARGE ORANGE CIRCLE}",
    Phase.REMINDED: "\N{ALARM CLOCK}",
    Phase.RESOLVED: "\N{WHITE HEAVY CHECK MARK}",
    Phase.QUIET: "\N{SLEEPING SYMBOL}",
    Phase.DAILY: "\N{CALENDAR}",
}


class Style(NamedTuple):
    """How a kind of text shows a name that others chose, this host's, which is trusted, and a time.

    Times are seconds since the epoch.
    """

    name: Callable[[str], str]
    host: Callable[[str], str]
    time: Callable[[float], str]


def utc(wall: float) -> str:
    """Return `2026-01-01 12:00:00 UTC`; a clock beyond all calendars is told as unknown."""
    if not 0 <= wall <= _LAST_REPRESENTABLE:
        return "unknown time"
    return f"{datetime.fromtimestamp(wall, UTC):%Y-%m-%d %H:%M:%S} UTC"


def named(subject: Subject, hosts: tuple[str, ...], addresses: tuple[str, ...] = ()) -> str:
    """Return a subject with its names or addresses, the latest first.

    `db.example.com (10.0.0.5:5432)`, or `db.example.com:5432 (10.0.0.5)` where it is a name.
    """
    if addresses:
        name = str(subject)
        if len(name) > _NAMES_LIMIT:
            half = _NAMES_LIMIT // 2
            name = f"{name[:half]}{ELLIPSIS}{name[1 - half :]}"
        return f"{name} ({_clipped(', '.join(reversed(addresses)))})"
    return f"{_clipped(', '.join(reversed(hosts)))} ({subject})" if hosts else str(subject)


def span(seconds: float) -> str:
    """Return a duration as people say it: `3 s`, `12 min`, `3 h 5 min`, `2 d 4 h`."""
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


def failures(count: int) -> str:
    """Return `1 failure`, `2,000 failures`."""
    return "1 failure" if count == 1 else f"{count:,} failures"


def title(n: Notification, subject: str) -> str:
    """Return the one line that says it all; `subject` is one alone as it is shown."""
    symbol = _symbol(n)
    if n.kind is Phase.RESOLVED:
        if n.is_digest:
            return f"{symbol} RECOVERED: {_all(n, subject, _but_failing(n))} no longer fail"
        failed = "failed, and " if n.opening else ""
        return f"{symbol} RECOVERED: {_all(n, subject)} {failed}work again"
    if n.kind is Phase.QUIET:
        return f"{symbol} QUIET: {_all(n, subject)} failed, and none has been seen since"
    still = "" if n.kind is Phase.OPENED else "still "
    return f"{symbol} {n.severity.value.upper()}: {_all(n, subject)} {still}fail"


def cause(n: Notification) -> str:
    """Return why: one cause with its details, or all of them with their counts."""
    if len(n.causes) == 1:
        ((one, _, evidence),) = n.causes
        return one.describe(evidence, in_full=n.total == 1)
    return ", ".join(
        f"{each.describe(evidence, in_full=False)} ({count:,})"
        for each, count, evidence in n.causes
    )


def check_first(n: Notification) -> list[str]:
    """Return what to look at first, where this is the first that people hear and not over.

    Of several causes each of the most frequent has advice of its own, and says whose it is.
    """
    if not n.opening or n.kind.is_last:
        return []
    if len(n.causes) == 1:
        return [n.causes[0].cause.check_first]
    told = [count.cause for count in n.causes[:_ADVISED]]
    return [f"{cause.summary.partition(':')[0]}: {cause.check_first}" for cause in told]


def place(n: Notification, style: Style) -> str | None:
    """Return whose network namespace the subject is in, None for the service's own."""
    if n.subject is None or not n.subject.netns:
        return None
    number = str(n.subject.netns)
    for known in (_container, _unit):
        owner = next(filter(None, (known(p, style) for p in n.processes)), None)
        if owner is not None:
            return f"of {owner} ({number})"
    return number


def many(subjects: Mapping[str, int]) -> str:
    """Return `12 destinations`: so many of each kind."""
    numbers = by_plural(subjects).items()
    return " and ".join(f"{number:,} {TOPICS[kind].plural}" for kind, number in numbers)


def subject(n: Notification) -> str:
    """Return the subject, or how many there are; names in it are as others chose them."""
    if n.subject is not None:
        return named(n.subject, n.hosts, n.addresses)
    if n.size == 1 and n.top:
        return str(n.top[0].subject) + _namespaces(n.top[0])
    return many(n.subjects)


def count(n: Notification) -> str:
    """Return how many failures, and how many of them are told here for the first time."""
    if n.failures == n.total:
        return f"{n.total:,}"
    if n.failures == 0:
        return f"{n.total:,}, all told before"
    if n.kind.is_last:
        return f"{n.total:,}, of which {n.failures:,} not told before"
    return f"{n.failures:,} more, {n.total:,} in all"


def share(n: Notification) -> str | None:
    """Return the share of failing attempts where it is known and says something."""
    if n.ratio is None or n.established is None or n.total + n.established < 2:
        return None
    attempts = n.total + n.established
    percent = f"{100 * n.ratio:.0f}%" if n.ratio >= 0.01 else "under 1%"
    return f"{percent} ({n.total:,} of {attempts:,})"


def process(p: ProcessCount, n: Notification, style: Style) -> str:
    """Return one program: its name, process, user, and count where others failed, too."""
    several = ", the latest of several" if p.several else ""
    times = "" if p.failures == n.total else f": {failures(p.failures)}"
    known = "; ".join([f"pid {p.pid}{several}", *_maker(p, style)])
    return f"{style.name(p.comm)} ({known}){times}"


def processes(n: Notification, style: Style) -> list[str]:
    """Return a line per program, and one for all others."""
    lines = [process(p, n, style) for p in n.processes]
    if n.unlisted:
        others = "other or unknown" if n.processes else "unknown"
        lines.append(f"{others}: {failures(n.unlisted)}")
    return lines


def subjects(n: Notification, style: Style) -> list[str]:
    """Return a line per subject of a digest, and those for the rest."""
    lines = [_subject(count, style) for count in n.top]
    rest = n.size - len(n.top)
    if rest > 0:
        lines.append(f"and {rest:,} more")
    if n.untracked:
        lines.append(f"and {failures(n.untracked)} of {_plural(n)} beyond what is remembered")
    if n.absorbed:
        several = len(n.absorbed) > 1
        told = f"The {len(n.absorbed)} incidents" if several else "The incident"
        lines.append(f"{told} told just before {'are' if several else 'is'} part of this.")
    if n.kind.is_last and any(c.condition is Condition.FAILING for c in n.top):
        lines.append("What fails on is told as an incident of its own.")
    return lines


def heading(n: Notification) -> str:
    """Return the heading of a digest's list."""
    return _plural(n).capitalize()


def late(delayed_by: float | None) -> str | None:
    """Return that the message comes late, and how late (seconds)."""
    return None if delayed_by is None else f"delivered {span(max(0.0, delayed_by))} late"


def _symbol(n: Notification) -> str:
    """Return what tells kind and severity at a glance: only what is critical is red."""
    coloured = n.kind in (Phase.OPENED, Phase.UPDATED)
    return _CRITICAL if coloured and n.severity is Severity.CRITICAL else _SYMBOLS[n.kind]


def _all(n: Notification, subject: str, but: str = "") -> str:
    """Return what fails, with its activity: `connects to X`, `connects to 12 destinations`.

    `but` stands before the number of those that it is an exception to.
    """
    kinds = by_plural(n.subjects)
    if n.size == 1:
        return f"{TOPICS[next(iter(kinds))].activity} {but}{subject}"
    over = "over " if n.untracked else ""
    told = [
        (TOPICS[kind].activity, f"{over}{number:,} {TOPICS[kind].plural}")
        for kind, number in kinds.items()
    ]
    if len(told) == 1:
        ((activity, many),) = told
        return f"{activity} {but}{many}"
    return but + " and ".join(" ".join(each) for each in told)


def _plural(n: Notification) -> str:
    return " and ".join(TOPICS[kind].plural for kind in by_plural(n.subjects))


def _but_failing(n: Notification) -> str:
    """Return which of a digest's subjects are well; those that still fail are all named."""
    failing = sum(count.condition is Condition.FAILING for count in n.top)
    return f"all but {failing} of " if failing else ""


def _maker(p: ProcessCount, style: Style) -> list[str]:
    """Return who and where, as far as it is known."""
    known = [f"user id {p.uid}" if p.user is None else f"user {style.name(p.user)}"]
    known += filter(None, (_unit(p, style), _container(p, style)))
    if p.pod is not None:
        known.append(f"pod {style.name(p.pod)}")
    return known


def _unit(p: ProcessCount, style: Style) -> str | None:
    return None if p.unit is None else f"unit {style.name(p.unit)}"


def _container(p: ProcessCount, style: Style) -> str | None:
    if p.container is None:
        return None
    runtime, _, container_id = p.container.rpartition("://")
    kind = f"{runtime} container" if runtime in RUNTIMES.values() else "container"
    return f"{kind} {style.name(container_id[:_SHORT_ID])}"


def _clipped(text: str) -> str:
    return text if len(text) <= _NAMES_LIMIT else text[: _NAMES_LIMIT - 1] + ELLIPSIS


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
