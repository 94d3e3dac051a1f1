"""Notifications as webhooks take them: Slack's blocks with a text for all others, and JSON.

Slack shows `blocks`; `text` is what its push notifications read out, and all that Mattermost and
Rocket.Chat need. Both say the same. Limits are those at which Slack was seen to refuse a message;
whoever changes what is shown regenerates the golden files on purpose
(`python3 -m tests.unit.notify.golden`) and reads the difference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tcp_trace.notify import wording
from tcp_trace.notify.wording import Style
from tcp_trace.safetext import clip, clip_lines, code, plain, trusted, trusted_code, visible

if TYPE_CHECKING:
    from tcp_trace.incidents.notification import Notification

JSON_VERSION = 1

HEADER_LIMIT = 150
SECTION_LIMIT = 3000
FIELD_LIMIT = 2000
NAME_LIMIT = 120


def slack_payload(
    notification: Notification,
    host: str,
    *,
    delayed_by: float | None = None,
    mention: str = "",
) -> dict[str, Any]:
    """Return the body for a Slack incoming webhook, and those that take the same.

    `host` is the name people know this host by; `delayed_by` is in seconds, None for a message
    that is on time. `mention` is Slack's markup for those to be woken by the first message that
    says critical. Nothing else in it can mention anybody, whatever the processes are called.
    """
    woken = [mention] if mention and notification.escalated else []
    return {
        "text": clip_lines([*woken, *_text(notification, host, delayed_by, _TEXT)], SECTION_LIMIT),
        "blocks": [
            _header(notification),
            _section([*woken, *_summary(notification, host)]),
            _fields(notification),
            *_lists(notification),
            _context(notification, delayed_by),
        ],
    }


def json_payload(
    notification: Notification, host: str, *, delayed_by: float | None = None
) -> dict[str, Any]:
    """Return the body for webhooks of other makes.

    `version` is that of this shape, which only ever grows within a version. `text` is for people,
    unescaped; `notification` is `Notification.to_dict`, less `netns_mix`, with times in seconds
    since the epoch and names as the processes chose them: escape them where they are shown.
    """
    return {
        "version": JSON_VERSION,
        "source": "tcp-trace",
        "host": host,
        "delayed_by": delayed_by,
        "text": "\n".join(_text(notification, host, delayed_by, _PLAIN)),
        "ratio": notification.ratio,
        "notification": _published(notification),
    }


def _published(notification: Notification) -> dict[str, Any]:
    """Return a notification without what seeds the hash tables of a namespace's sockets."""
    told = notification.to_dict()
    for holder in (told, *told["top"]):
        if holder["destination"] is not None:
            del holder["destination"]["netns_mix"]
    return told


def _slack_time(wall: float) -> str:
    fallback = wording.utc(wall)
    if fallback[0].isalpha():
        return fallback
    return f"<!date^{int(wall)}^{{date_short_pretty}} {{time_secs}}|{fallback}>"


def _code(name: str) -> str:
    return code(name, NAME_LIMIT)


def _host_code(name: str) -> str:
    return trusted_code(name, NAME_LIMIT)


_BLOCKS = Style(name=_code, host=_host_code, time=_slack_time)
_TEXT = Style(name=_code, host=_host_code, time=wording.utc)
_PLAIN = Style(name=plain, host=trusted, time=wording.utc)


def _text(n: Notification, host: str, delayed_by: float | None, style: Style) -> list[str]:
    lines = [f"{wording.title(n, style.name(wording.subject(n)))} (host {style.host(host)})"]
    escaped = style is not _PLAIN
    lines += [clip(line, FIELD_LIMIT) if escaped else line for line in _reasons(n)]
    lines += [f"{label}: {value}" for label, value in _facts(n, style)]
    lines += wording.destinations(n, style) if n.is_digest else []
    lines += [f"Process: {line}" for line in wording.processes(n, style)]
    return [*lines, ", ".join(_footer(n, delayed_by))]


def _reasons(n: Notification) -> list[str]:
    return [wording.cause(n), *(f"Check first: {advice}" for advice in wording.check_first(n))]


def _summary(n: Notification, host: str) -> list[str]:
    where = _host_code(host)
    if not n.is_digest:
        where += f" → {_code(wording.subject(n))}"
    lines = [f"{where}: {clip(wording.cause(n), FIELD_LIMIT)}"]
    advised = (clip(advice, NAME_LIMIT * 4) for advice in wording.check_first(n))
    return [*lines, *(f"*Check first:* {advice}" for advice in advised)]


def _facts(n: Notification, style: Style) -> list[tuple[str, str]]:
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


def _footer(n: Notification, delayed_by: float | None) -> list[str]:
    late = wording.late(delayed_by)
    return [f"id {visible(n.id)}", *([late] if late else [])]


def _header(n: Notification) -> dict[str, Any]:
    title = clip(wording.title(n, plain(wording.subject(n))), HEADER_LIMIT)
    return {"type": "header", "text": {"type": "plain_text", "text": title, "emoji": False}}


def _section(lines: list[str]) -> dict[str, Any]:
    return {"type": "section", "text": _mrkdwn(clip_lines(lines, SECTION_LIMIT))}


def _fields(n: Notification) -> dict[str, Any]:
    fields = [f"*{label}*\n{value}" for label, value in _facts(n, _BLOCKS)]
    return {"type": "section", "fields": [_mrkdwn(field) for field in fields]}


def _lists(n: Notification) -> list[dict[str, Any]]:
    lists = [("Process", wording.processes(n, _BLOCKS))]
    if n.is_digest:
        lists.insert(0, ("Destinations", wording.destinations(n, _BLOCKS)))
    return [_section([f"*{label}*", *lines]) for label, lines in lists if lines]


def _context(n: Notification, delayed_by: float | None) -> dict[str, Any]:
    footer = " · ".join(clip(piece, NAME_LIMIT) for piece in _footer(n, delayed_by))
    return {"type": "context", "elements": [_mrkdwn(footer)]}


def _mrkdwn(text: str) -> dict[str, Any]:
    # verbatim: Slack makes no links and mentions of what only looks like them.
    return {"type": "mrkdwn", "text": text, "verbatim": True}
