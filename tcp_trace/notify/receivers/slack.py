"""Slack's incoming webhooks, and those that take the same: Mattermost and Rocket.Chat.

Slack shows `blocks`; `text` is what its push notifications read out, and all that Mattermost and
Rocket.Chat need. Both say the same. Limits are those at which Slack was seen to refuse a message;
whoever changes what is shown regenerates the golden files on purpose
(`python3 -m tests.unit.notify.golden`) and reads the difference.

Slack answers 200 with the body `ok`; Mattermost does the same; Rocket.Chat answers 200 with
`{"success":true}`. None of them has an idempotency key, so whatever is retried may arrive twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tcp_trace.notify import render, wording
from tcp_trace.notify.answers import error_word, judge_status
from tcp_trace.notify.channel import Fate, Rejected, Sent
from tcp_trace.notify.receivers.addresses import checked
from tcp_trace.notify.receivers.receiver import test_text
from tcp_trace.notify.wording import Style
from tcp_trace.safetext import clip, clip_lines, code, plain, trusted_code

if TYPE_CHECKING:
    from tcp_trace.incidents.notification import Notification
    from tcp_trace.notify.answers import Answer
    from tcp_trace.notify.receivers.receiver import Envelope, Renderer

NAME = "slack"
FORGETS = False
DELIVERED = "delivered: the message stands in the webhook's channel"

HEADER_LIMIT = 150
SECTION_LIMIT = 3000
FIELD_LIMIT = 2000
NAME_LIMIT = 120

_EXAMPLE = "https://hooks.slack.com/services/..."
_ACCEPTED = frozenset({201, 202, 204})
_DEAD_WORDS = frozenset(
    {
        "action_prohibited",
        "channel_is_archived",
        "channel_not_found",
        "invalid_token",
        "no_active_hooks",
        "no_service",
    }
)


def address(text: str) -> str:
    """Return the URL as it is: its path is a secret."""
    url = checked(text, _EXAMPLE)
    if urlsplit(url).path.endswith("..."):
        raise ValueError("still the example; paste the webhook's URL that Slack shows")
    return url


def renderer() -> Renderer:
    """Return what makes bodies; it remembers nothing."""
    return _render


def _render(notification: Notification, envelope: Envelope) -> dict[str, Any]:
    return slack_payload(
        notification, envelope.host, delayed_by=envelope.delayed_by, mention=envelope.mention
    )


def judge(answer: Answer, wall: float) -> Fate:
    """Return what an answer means: of those with status 200, only an `ok` is success."""
    word = error_word(answer.body)
    if answer.status == 200:
        return _judge_200(answer.body, word)
    if 200 <= answer.status < 300 and answer.status not in _ACCEPTED:
        return Rejected(f"status {answer.status}", dead=True)
    return judge_status(answer, wall, word, dead=word in _DEAD_WORDS)


def test_message(host: str, wall: float) -> dict[str, Any]:  # noqa: ARG001 - as all have it
    """Return a text without blocks."""
    text = test_text(host)
    return {"text": text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")}


def _judge_200(body: bytes, word: str | None) -> Fate:
    """Tell apart the ways to say 200: only an `ok` in Slack's or Rocket.Chat's form is one.

    An error word blames the message. Anything else (a proxy's page, another service) is no
    webhook of a kind known here: the message is kept, and a person has to look at the address.
    """
    if body.strip() == b"ok" or _says_success(body):
        return Sent()
    if word:
        return Rejected(f"status 200 {word}", dead=word in _DEAD_WORDS)
    return Rejected("status 200 without the body 'ok'", dead=True)


def _says_success(body: bytes) -> bool:
    import json  # noqa: PLC0415 - only for an answer; settings import this module

    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and value.get("success") is True


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
        "text": clip_lines([*woken, *_text(notification, host, delayed_by)], SECTION_LIMIT),
        "blocks": [
            _header(notification),
            _section([*woken, *_summary(notification, host)]),
            _fields(notification),
            *_lists(notification),
            _context(notification, delayed_by),
        ],
    }


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


def _text(n: Notification, host: str, delayed_by: float | None) -> list[str]:
    return render.lines(n, host, delayed_by, _TEXT, lambda line: clip(line, FIELD_LIMIT))


def _summary(n: Notification, host: str) -> list[str]:
    where = _host_code(host)
    if not n.is_digest:
        where += f" → {_code(wording.subject(n))}"
    lines = [f"{where}: {clip(wording.cause(n), FIELD_LIMIT)}"]
    advised = (clip(advice, NAME_LIMIT * 4) for advice in wording.check_first(n))
    return [*lines, *(f"*Check first:* {advice}" for advice in advised)]


def _header(n: Notification) -> dict[str, Any]:
    title = clip(wording.title(n, plain(wording.subject(n))), HEADER_LIMIT)
    return {"type": "header", "text": {"type": "plain_text", "text": title, "emoji": False}}


def _section(lines: list[str]) -> dict[str, Any]:
    return {"type": "section", "text": _mrkdwn(clip_lines(lines, SECTION_LIMIT))}


def _fields(n: Notification) -> dict[str, Any]:
    fields = [f"*{label}*\n{value}" for label, value in render.facts(n, _BLOCKS)]
    return {"type": "section", "fields": [_mrkdwn(field) for field in fields]}


def _lists(n: Notification) -> list[dict[str, Any]]:
    lists = [("Process", wording.processes(n, _BLOCKS))]
    if n.is_digest:
        lists.insert(0, (wording.heading(n), wording.subjects(n, _BLOCKS)))
    return [_section([f"*{label}*", *lines]) for label, lines in lists if lines]


def _context(n: Notification, delayed_by: float | None) -> dict[str, Any]:
    footer = " · ".join(clip(piece, NAME_LIMIT) for piece in render.footer(n, delayed_by))
    return {"type": "context", "elements": [_mrkdwn(footer)]}


def _mrkdwn(text: str) -> dict[str, Any]:
    # verbatim: Slack makes no links and mentions of what only looks like them.
    return {"type": "mrkdwn", "text": text, "verbatim": True}
