"""What every message says, line by line: shared by the kinds of webhooks (`receivers/`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from tcp_trace.notify import makers, remedy, titles, wording
from tcp_trace.notify.wording import Style
from tcp_trace.safetext import plain, trusted, visible

if TYPE_CHECKING:
    from collections.abc import Callable

    from tcp_trace.incidents.notification import Notification
    from tcp_trace.notify.receivers.receiver import Envelope

DIGEST_LINES = 12
"""As many as a phone shows: of a digest, a mention among them."""


class Line(NamedTuple):
    """A line of a message, safe to show; `label` says what it is, empty where that is plain."""

    label: str
    text: str

    def __str__(self) -> str:
        """`Failures: 23`."""
        return f"{self.label}: {self.text}" if self.label else self.text


class Body(NamedTuple):
    """What a message says below its title.

    `summary` is why it fails, who, how it did before, and what to do; `details` are all others;
    `footer` has times and the message's id.
    """

    summary: list[Line]
    details: list[Line]
    footer: list[str]


def plain_text(
    n: Notification,
    envelope: Envelope,
    time: Callable[[float], str] | None = None,
) -> str:
    """Return all of it for people, in lines, not escaped for any markup.

    `time` says when something was, None: how long before the message is sent.
    """
    when = time or said_ago(n, envelope)
    return "\n".join(lines(n, envelope, Style(plain, trusted, str, str, when)))


def said_ago(n: Notification, envelope: Envelope) -> Callable[[float], str]:
    """Return what says how long before the message is sent a time is."""
    return wording.ago(n.at + (envelope.delayed_by or 0.0))


def lines(n: Notification, envelope: Envelope, style: Style) -> list[str]:
    """Return all that a message says."""
    title = titles.title(n, wording.subject(n, style.name), envelope.delayed_by)
    told = body(n, style)
    runbook = [f"Runbook: {style.own(link(n.runbook))}"] if n.runbook else []
    return [
        f"{title} (host {style.host(envelope.host)})",
        *map(str, [*told.summary, *told.details]),
        ", ".join(told.footer),
        *runbook,
    ]


def link(url: str) -> str:
    """Return a URL in which nothing is markup or a mention, wherever it is shown."""
    return quote(url, safe=":/?#[]!$&()*+,;=%~", errors="replace")


def body(n: Notification, style: Style) -> Body:
    """Return a message's lines; those of a digest, with its title and runbook, fit a phone."""
    summary = _summary(n, style)
    before, after = _facts(n, style), _silence(n, style)
    if n.is_digest:
        remarks = wording.remarks(n)
        # Title, footer, a mention.
        taken = 3 + len(summary) + len(before) + len(remarks) + len(after) + bool(n.runbook)
        subjects = wording.subjects(n, style, DIGEST_LINES - taken)
        before += [Line("", line) for line in [*subjects, *remarks]]
    else:
        before += [Line("Process", line) for line in makers.processes(n, style)]
    return Body(summary, before + after, _footer(n, style))


def _summary(n: Notification, style: Style) -> list[Line]:
    who = makers.programs(n, style)
    why = style.own(wording.cause(n)) + (f" · {who}" if who else "")
    before = wording.background(n)
    return [
        Line("", why),
        *([Line("", style.own(before))] if before and not n.kind.is_last else []),
        *(Line("Check first", style.own(advice)) for advice in wording.check_first(n)),
    ]


def _facts(n: Notification, style: Style) -> list[Line]:
    facts: list[tuple[str, str | None]] = [
        ("Failures", wording.count(n)),
        ("While silenced", wording.failures(n.silenced) if n.silenced else None),
        ("Addresses", wording.addresses(n, style)),
        ("Network namespace", makers.place(n, style)),
    ]
    return [Line(label, value) for label, value in facts if value is not None]


def _silence(n: Notification, style: Style) -> list[Line]:
    found = remedy.silence(n)
    return [] if found is None else [Line(found[0], style.command(found[1]))]


def _footer(n: Notification, style: Style) -> list[str]:
    """Return when it failed, and the message's id."""
    times = [f"failed {style.time(n.first)}"]
    if n.total > 1:
        times = [f"first {style.time(n.first)}", f"last {style.time(n.last)}"]
    return [*times, f"id {visible(n.id)}"]
