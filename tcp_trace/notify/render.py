"""What every message says, line by line: shared by the kinds of webhooks (`receivers/`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcp_trace.notify import wording
from tcp_trace.notify.wording import Style
from tcp_trace.safetext import plain, trusted, visible

if TYPE_CHECKING:
    from collections.abc import Callable

    from tcp_trace.incidents.notification import Notification

_PLAIN = Style(name=plain, host=trusted, time=wording.utc)


def plain_text(n: Notification, host: str, delayed_by: float | None) -> str:
    """Return all of it for people, in lines, not escaped for any markup."""
    return "\n".join(lines(n, host, delayed_by, _PLAIN))


def lines(
    n: Notification,
    host: str,
    delayed_by: float | None,
    style: Style,
    shorten: Callable[[str], str] = str,
) -> list[str]:
    """Return all that a message says; `shorten` is for lines that hold no name."""
    told = [f"{wording.title(n, style.name(wording.subject(n)))} (host {style.host(host)})"]
    told += map(shorten, _reasons(n))
    told += [f"{label}: {value}" for label, value in facts(n, style)]
    told += wording.subjects(n, style) if n.is_digest else []
    told += [f"Process: {line}" for line in wording.processes(n, style)]
    return [*told, ", ".join(footer(n, delayed_by))]


def facts(n: Notification, style: Style) -> list[tuple[str, str]]:
    """Return what is counted and timed, each with its label, both safe to show."""
    facts: list[tuple[str, str | None]] = [
        ("Failures", wording.count(n)),
        ("While silenced", wording.failures(n.silenced) if n.silenced else None),
        ("Share that failed" if n.kind.is_last else "Share that fails", wording.share(n)),
        ("First", style.time(n.first)),
        ("Last", style.time(n.last) if n.total > 1 else None),
        (
            "Failed for" if n.kind.is_last else "Failing for",
            wording.span(n.duration) if n.total > 1 else None,
        ),
        ("Network namespace", wording.place(n, style)),
    ]
    return [(label, value) for label, value in facts if value is not None]


def footer(n: Notification, delayed_by: float | None) -> list[str]:
    """Return the last pieces of a message: its id, and how late it comes."""
    late = wording.late(delayed_by)
    return [f"id {visible(n.id)}", *([late] if late else [])]


def _reasons(n: Notification) -> list[str]:
    return [wording.cause(n), *(f"Check first: {advice}" for advice in wording.check_first(n))]
