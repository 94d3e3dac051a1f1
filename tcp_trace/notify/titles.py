"""The one line that says it all: what fails, and in numbers how."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcp_trace.incidents.notification import Condition, Notification, Phase, Severity, State
from tcp_trace.incidents.topics import TOPICS, by_plural
from tcp_trace.notify.wording import attempts, many, percent, span

if TYPE_CHECKING:
    from collections.abc import Callable

_CRITICAL = "\N{LARGE RED CIRCLE}"
SYMBOLS = {
    Phase.OPENED: "\N{LARGE ORANGE CIRCLE}",
    Phase.UPDATED: "\N{LARGE ORANGE CIRCLE}",
    Phase.REMINDED: "\N{ALARM CLOCK}",
    Phase.RESOLVED: "\N{WHITE HEAVY CHECK MARK}",
    Phase.QUIET: "\N{SLEEPING SYMBOL}",
    Phase.DAILY: "\N{CALENDAR}",
}
_TRIED = 60.0  # seconds
_ENDS = {Phase.RESOLVED: "RECOVERED", Phase.QUIET: "QUIET", Phase.DAILY: "Daily digest"}


def title(n: Notification, subject: str, delayed_by: float | None = None) -> str:
    """Return the title; `subject` is `wording.subject` as it is shown.

    A message that comes `delayed_by` seconds late begins with that.
    """
    late = "" if delayed_by is None else f"LATE {span(max(0.0, delayed_by))}: "
    kind = _ENDS.get(n.kind, n.severity.value.upper())
    return f"{late}{_symbol(n)} {kind}: {_SAID[n.kind](n, subject)}"


def _symbol(n: Notification) -> str:
    """Return what tells kind and severity at a glance: only what is critical is red."""
    coloured = n.kind in (Phase.OPENED, Phase.UPDATED)
    return _CRITICAL if coloured and n.severity is Severity.CRITICAL else SYMBOLS[n.kind]


def _opened(n: Notification, subject: str) -> str:
    if _is_untried(n):
        return _untried(n, subject)
    return f"{subject}{' fail' if n.size > 1 else ''}: {_numbers(n)}"


def _goes_on(n: Notification, subject: str) -> str:
    if _is_untried(n):
        return _untried(n, subject)
    still = "fail" if n.size > 1 else "down" if _is_down(n) else "failing"
    after = f" after {span(n.duration)}" if n.duration >= 1 else ""
    return f"{subject} still {still}{after}: {_numbers(n)}"


def _recovered(n: Notification, subject: str) -> str:
    if n.size > 1:
        return _some_work(n)
    if n.total == 1:
        return f"{subject} failed once, works again"
    if n.state is State.UNTRIED:
        return f"{subject} failed, works again"
    if _is_down(n):
        return f"{subject} was down for {span(n.duration)}, works again"
    share = f" ({_of_all(n)} {attempts(n, 2)})" if n.established else ""
    return f"{subject} failed for {span(n.duration)}{share}, works again"


def _quiet(n: Notification, subject: str) -> str:
    if n.size > 1 and _working(n):
        return f"{_working(n):,} of {_every(n)} work again, the others were not tried"
    return _untried(n, subject)


def _daily(n: Notification, subject: str) -> str:
    working = _working(n)
    outcome = ", none worth a message of its own"
    if n.size > 1 and 0 < working < n.size:
        outcome = f"; {working:,} worked on a later try"
    elif working:
        outcome = f", {'each' if n.size > 1 else 'it'} worked on a later try"
    topics = [TOPICS[kind] for kind in by_plural(n.subjects)]
    if len(topics) != 1:
        return f"{n.total:,} failed {attempts(n, n.total)} of {subject}{outcome}"
    activity = topics[0].activity
    if n.total == 1:
        activity = activity.replace(topics[0].attempts, topics[0].attempt)
    return f"{n.total:,} failed {activity} {subject}{outcome}"


_SAID: dict[Phase, Callable[[Notification, str], str]] = {
    Phase.OPENED: _opened,
    Phase.UPDATED: _goes_on,
    Phase.REMINDED: _goes_on,
    Phase.RESOLVED: _recovered,
    Phase.QUIET: _quiet,
    Phase.DAILY: _daily,
}


def _numbers(n: Notification) -> str:
    """Return `all 38 connects failed`, `40 % of connects failed (12 of 30)`."""
    if n.established and n.ratio is not None:
        return f"{percent(n.ratio)} of {attempts(n, 2)} failed ({_of_all(n)})"
    every = "all " if n.total > 1 and (_is_down(n) or n.established == 0) else ""
    return f"{every}{n.total:,} {attempts(n, n.total)} failed"


def _every(n: Notification) -> str:
    """Return `400 destinations`, `7 destinations and listeners`."""
    return f"{n.size:,} {' and '.join(TOPICS[kind].plural for kind in by_plural(n.subjects))}"


def _of_all(n: Notification) -> str:
    return f"{n.total:,} of {n.total + (n.established or 0):,}"


def _is_down(n: Notification) -> bool:
    """Return whether nothing succeeds, and no count says otherwise."""
    return n.state is State.DOWN and not n.established


def _is_untried(n: Notification) -> bool:
    """Return whether nobody tries; what fails again after it was untried is tried."""
    return n.state is State.UNTRIED and n.at >= n.last + _TRIED


def _untried(n: Notification, subject: str) -> str:
    topics = {TOPICS[kind].untried for kind in n.subjects}
    nobody = topics.pop() if len(topics) == 1 else "none has been tried"
    return f"{subject} failed; {nobody} for {span(max(0.0, n.at - n.last))}"


def _some_work(n: Notification) -> str:
    """Return how many subjects of a digest that is over were seen to work, as far as is known."""
    working = _working(n)
    failing = sum(count.condition is Condition.FAILING for count in n.top)
    but = f"; {failing:,} still fail{'s' * (failing == 1)}" if failing else ""
    if working >= n.size:
        return f"all {many(n.subjects)} work again{but}"
    if working:
        return f"{working:,} of {_every(n)} work again{but}"
    return f"{many(n.subjects)} failed for {span(n.duration)}, and no more since{but}"


def _working(n: Notification) -> int:
    """Return how many were seen to work; what was saved before they were counted names some."""
    return max(n.working, sum(count.condition is Condition.WORKS for count in n.top))
