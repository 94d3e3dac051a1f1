"""What a notification says, in words; how it looks is up to a `Style`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from tcp_trace.connects.maker import RUNTIMES
from tcp_trace.connects.reasons import Reason, errno_name
from tcp_trace.incidents.notification import Condition, Kind, Notification, Severity
from tcp_trace.safetext import ELLIPSIS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tcp_trace.connects.events import Destination
    from tcp_trace.incidents.notification import DestinationCount, ProcessCount, ReasonCount

_LAST_REPRESENTABLE = 253_402_300_799  # the end of the year 9999
_NAMES_LIMIT = 60  # what follows them must be seen, too, also in the title of a message
_ADVISED = 3
_SHORT_ID = 12  # as docker, podman and crictl show it
_CRITICAL = "\N{LARGE RED CIRCLE}"
_SYMBOLS = {
    Kind.OPENED: "\N{LARGE ORANGE CIRCLE}",
    Kind.UPDATED: "\N{LARGE ORANGE CIRCLE}",
    Kind.REMINDED: "\N{ALARM CLOCK}",
    Kind.RESOLVED: "\N{WHITE HEAVY CHECK MARK}",
    Kind.QUIET: "\N{SLEEPING SYMBOL}",
}
_CONDITIONS = {
    Condition.FAILING: "still fails",
    Condition.CONNECTS: "connects again",
    Condition.QUIET: "no connect seen since",
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


def named(destination: Destination, hosts: tuple[str, ...]) -> str:
    """Return `db.example.com (10.0.0.5:5432)`: a destination with its names, the latest first."""
    if not hosts:
        return str(destination)
    text = ", ".join(reversed(hosts))
    if len(text) > _NAMES_LIMIT:
        text = text[: _NAMES_LIMIT - 1] + ELLIPSIS
    return f"{text} ({destination})"


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
    """Return the one line that says it all; `subject` is the destination as it is shown."""
    symbol = _symbol(n)
    if n.is_digest and n.destinations != 1:
        subject = f"{'over ' if n.untracked else ''}{n.destinations:,} destinations"
    if n.kind is Kind.RESOLVED:
        if n.is_digest:
            return f"{symbol} RECOVERED: connects to {_but_failing(n)}{subject} no longer fail"
        failed = "failed, and " if n.opening else ""
        return f"{symbol} RECOVERED: connects to {subject} {failed}work again"
    if n.kind is Kind.QUIET:
        return f"{symbol} QUIET: connects to {subject} failed, and none has been seen since"
    still = "" if n.kind is Kind.OPENED else "still "
    return f"{symbol} {n.severity.value.upper()}: connects to {subject} {still}fail"


def cause(n: Notification) -> str:
    """Return why: one reason with its details, or all of them with their counts."""
    if len(n.reasons) == 1:
        reason = n.reasons[0]
        return _reason(reason) + (_details(reason) if n.total == 1 else "")
    return ", ".join(f"{_reason(reason)} ({reason.failures:,})" for reason in n.reasons)


def check_first(n: Notification) -> list[str]:
    """Return what to look at first, where this is the first that people hear and not over.

    Of several reasons each of the most frequent has advice of its own, and says whose it is.
    """
    if not n.opening or n.kind.is_last:
        return []
    if len(n.reasons) == 1:
        return [n.reasons[0].reason.check_first]
    told = [count.reason for count in n.reasons[:_ADVISED]]
    return [f"{reason.summary.partition(':')[0]}: {reason.check_first}" for reason in told]


def place(n: Notification, style: Style) -> str | None:
    """Return whose network namespace the destination is in, None for the service's own."""
    if n.destination is None or not n.destination.netns:
        return None
    number = str(n.destination.netns)
    for known in (_container, _unit):
        owner = next(filter(None, (known(p, style) for p in n.processes)), None)
        if owner is not None:
            return f"of {owner} ({number})"
    return number


def subject(n: Notification) -> str:
    """Return the destination, or how many there are; names in it are as others chose them."""
    if n.destination is not None:
        return named(n.destination, n.hosts)
    if n.destinations == 1 and n.top:
        return str(n.top[0].destination) + _namespaces(n.top[0])
    return f"{n.destinations:,} destinations"


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


def destinations(n: Notification, style: Style) -> list[str]:
    """Return a line per destination of a digest, and those for the rest."""
    lines = [_destination(count, style) for count in n.top]
    rest = n.destinations - len(n.top)
    if rest > 0:
        lines.append(f"and {rest:,} more")
    if n.untracked:
        lines.append(f"and {failures(n.untracked)} of destinations beyond what is remembered")
    if n.absorbed:
        several = len(n.absorbed) > 1
        told = f"The {len(n.absorbed)} incidents" if several else "The incident"
        lines.append(f"{told} told just before {'are' if several else 'is'} part of this.")
    if n.kind.is_last and any(c.condition is Condition.FAILING for c in n.top):
        lines.append("What fails on is told as an incident of its own.")
    return lines


def late(delayed_by: float | None) -> str | None:
    """Return that the message comes late, and how late (seconds)."""
    return None if delayed_by is None else f"delivered {span(max(0.0, delayed_by))} late"


def _symbol(n: Notification) -> str:
    """Return what tells kind and severity at a glance: only what is critical is red."""
    coloured = n.kind in (Kind.OPENED, Kind.UPDATED)
    return _CRITICAL if coloured and n.severity is Severity.CRITICAL else _SYMBOLS[n.kind]


def _but_failing(n: Notification) -> str:
    """Return which of a digest's destinations are well; those that still fail are all named."""
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


def _two(big: int, unit: str, small: int, small_unit: str) -> str:
    return f"{big} {unit} {small} {small_unit}" if small else f"{big} {unit}"


def _reason(count: ReasonCount) -> str:
    named = f" ({errno_name(count.errno)})" if count.reason is Reason.OTHER else ""
    return count.reason.summary + named


def _details(count: ReasonCount) -> str:
    if count.syns == 0:
        return " (no SYN was sent)"  # so nothing was waited for
    details = []
    if count.elapsed is not None:
        # Milliseconds tell a rejecting firewall on the way from a host that answers itself.
        details.append(f"after {_elapsed(count.elapsed)}")
    if count.syns > 1:
        details.append(f"{count.syns} SYNs")
    return f" ({', '.join(details)})" if details else ""


def _elapsed(seconds: float) -> str:
    if seconds < 0.0001:
        return "less than 0.1 ms"
    if seconds < 0.01:
        return f"{seconds * 1000:.1f} ms"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _destination(count: DestinationCount, style: Style) -> str:
    condition = f", {_CONDITIONS[count.condition]}" if count.condition else ""
    subject = named(count.destination, (count.host,) if count.host else ())
    return f"{style.name(subject)}{_namespaces(count)}: {failures(count.failures)}{condition}"


def _namespaces(count: DestinationCount) -> str:
    if count.namespaces > 1:
        return f" in {count.namespaces:,} network namespaces"
    return f" in network namespace {count.destination.netns}" if count.destination.netns else ""
