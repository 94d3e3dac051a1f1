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

from tcp_trace.notify import render, titles, wording
from tcp_trace.notify.answers import error_word, judge_status
from tcp_trace.notify.channel import Fate, Rejected, Sent
from tcp_trace.notify.receivers.addresses import checked
from tcp_trace.notify.receivers.receiver import Envelope, test_text
from tcp_trace.notify.wording import Style
from tcp_trace.safetext import clip, clip_lines, code, escape, plain, trusted_code

if TYPE_CHECKING:
    from tcp_trace.incidents.notification import Notification
    from tcp_trace.notify.answers import Answer
    from tcp_trace.notify.receivers.receiver import Renderer
    from tcp_trace.notify.render import Line

NAME = "slack"
FORGETS = False
DELIVERED = "delivered: the message stands in the webhook's channel"

HEADER_LIMIT = 150
SECTION_LIMIT = 3000
OWN_LIMIT = 1000
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
    """Return the body for a notification.

    Those to be woken are mentioned by the first message that says critical. Nothing else in it can
    mention anybody, whatever the processes are called.
    """
    woken = [envelope.mention] if envelope.mention and notification.escalated else []
    text = render.lines(notification, envelope, _text_style(notification, envelope))
    told = render.body(notification, _BLOCKS)
    return {
        "text": clip_lines([*woken, *text], SECTION_LIMIT),
        "blocks": [
            _header(notification, envelope.delayed_by),
            _section([*woken, *_summary(envelope.host, told.summary)]),
            *_details(told.details),
            _context(told.footer, notification.runbook),
        ],
    }


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
    """Return the body for a notification."""
    return _render(notification, Envelope(host, delayed_by, mention))


def _slack_time(wall: float) -> str:
    fallback = wording.utc(wall)
    if fallback[0].isalpha():
        return fallback
    return f"<!date^{int(wall)}^{{date_short_pretty}} {{time_secs}}|{fallback}>"


def _code(name: str) -> str:
    return code(name, NAME_LIMIT)


def _host_code(name: str) -> str:
    return trusted_code(name, NAME_LIMIT)


def _own(text: str) -> str:
    return clip(text, OWN_LIMIT)


def _command(line: str) -> str:
    # A command that is cut would do something else.
    return code(line, OWN_LIMIT)


_BLOCKS = Style(_code, _host_code, _own, _command, _slack_time)


def _text_style(n: Notification, envelope: Envelope) -> Style:
    return _BLOCKS._replace(time=render.said_ago(n, envelope))


def _header(n: Notification, delayed_by: float | None) -> dict[str, Any]:
    title = titles.title(n, wording.subject(n, plain), delayed_by)
    text = clip(title, HEADER_LIMIT)
    return {"type": "header", "text": {"type": "plain_text", "text": text, "emoji": False}}


def _summary(host: str, summary: list[Line]) -> list[str]:
    why, *others = map(_line, summary)
    return [f"{_host_code(host)}: {why}", *others]


def _details(details: list[Line]) -> list[dict[str, Any]]:
    return [_section(list(map(_line, details)))] if details else []


def _line(line: Line) -> str:
    return f"*{line.label}:* {line.text}" if line.label else line.text


def _section(lines: list[str]) -> dict[str, Any]:
    return {"type": "section", "text": _mrkdwn(clip_lines(lines, SECTION_LIMIT))}


def _context(footer: list[str], runbook: str) -> dict[str, Any]:
    pieces = " · ".join(footer)
    link = f"\n*Runbook:* <{escape(render.link(runbook))}>" if runbook else ""
    return {"type": "context", "elements": [_mrkdwn(pieces + link)]}


def _mrkdwn(text: str) -> dict[str, Any]:
    # verbatim: Slack makes no links and mentions of what only looks like them.
    return {"type": "mrkdwn", "text": text, "verbatim": True}
