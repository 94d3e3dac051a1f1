"""What a webhook's answer means: the one place that knows statuses and bodies.

Slack answers 200 with the body `ok`; Mattermost does the same; Rocket.Chat answers 200 with
`{"success":true}`. None of them has an idempotency key, so whatever is retried may arrive twice.
"""

from __future__ import annotations

import json
import math
import re
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from tcp_trace.notify.channel import Fate, Rejected, Retry, Sent

MAX_RETRY_AFTER = 900.0
"""Seconds: a longer Retry-After is taken for a mistake and cut to this."""

_WORD = re.compile(r"[a-z_]{1,40}")
_ACCEPTED = frozenset({201, 202, 204})
_TRANSIENT = frozenset({408, 425, 429})
_MESSAGE_AT_FAULT = frozenset({400, 413, 415, 422})
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


class Answer(NamedTuple):
    """An HTTP answer: `body` is its beginning, `retry_after` the header's text or None."""

    status: int
    body: bytes
    retry_after: str | None


def classify(answer: Answer, wall: float) -> Fate:
    """Return what an answer means; `wall` (seconds since the epoch) reads Retry-After's dates."""
    status, word = answer.status, error_word(answer.body)
    reason = f"status {status} {word}" if word else f"status {status}"
    if status == 200:
        return _classify_200(answer.body, word)
    if status in _ACCEPTED:
        return Sent()
    if status >= 500 or status in _TRANSIENT:
        return Retry(parse_retry_after(answer.retry_after, wall), reason)
    if 300 <= status < 400:
        return Rejected(f"{reason}: a redirect, which is not followed", dead=True)
    if status in _MESSAGE_AT_FAULT:
        return Rejected(reason, dead=word in _DEAD_WORDS)
    return Rejected(reason, dead=True)


def classify_plainly(answer: Answer, wall: float) -> Fate:
    """Return what an answer of a webhook means that says all by its status: 2xx is success."""
    if 200 <= answer.status < 300:
        return Sent()
    return classify(answer._replace(body=b""), wall)


def _classify_200(body: bytes, word: str | None) -> Fate:
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
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and value.get("success") is True


def error_word(body: bytes) -> str | None:
    """Return Slack's short error word, or None where the body is anything but such a word."""
    word = body.strip().decode("ascii", errors="replace")
    return word if word != "ok" and _WORD.fullmatch(word) else None


def parse_retry_after(text: str | None, wall: float) -> float | None:
    """Return the seconds to wait, 0 to MAX_RETRY_AFTER, or None where the header says nothing."""
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = _seconds_until(text, wall)
    if math.isnan(seconds):
        return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER)


def _seconds_until(date: str, wall: float) -> float:
    """Return the seconds from `wall` until an HTTP date, NaN for what is no date."""
    try:
        return parsedate_to_datetime(date).timestamp() - wall
    except (ValueError, TypeError, OverflowError, IndexError):
        return math.nan
