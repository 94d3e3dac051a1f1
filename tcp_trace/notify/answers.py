"""What the status of a webhook's answer means; what a body means, each kind of webhook knows."""

from __future__ import annotations

import math
import re
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from tcp_trace.notify.channel import Fate, Rejected, Retry, Sent

MAX_RETRY_AFTER = 900.0
"""Seconds: a longer Retry-After is taken for a mistake and cut to this."""

_WORD = re.compile(r"[a-z_]{1,40}")
_TRANSIENT = frozenset({408, 425, 429})
_MESSAGE_AT_FAULT = frozenset({400, 413, 415, 422})


class Answer(NamedTuple):
    """An HTTP answer: `body` is its beginning, `retry_after` the header's text or None."""

    status: int
    body: bytes
    retry_after: str | None


def judge_status(
    answer: Answer, wall: float, word: str | None = None, *, dead: bool = False
) -> Fate:
    """Return what an answer means by its status alone: 2xx is success.

    `wall` (seconds since the epoch) reads Retry-After's dates. `word` is what the body says, for
    the reason; where a status blames the message, it is the webhook that is `dead` all the same.
    """
    status = answer.status
    reason = f"status {status} {word}" if word else f"status {status}"
    if 200 <= status < 300:
        return Sent()
    if status >= 500 or status in _TRANSIENT:
        return Retry(parse_retry_after(answer.retry_after, wall), reason)
    if 300 <= status < 400:
        return Rejected(f"{reason}: a redirect, which is not followed", dead=True)
    return Rejected(reason, dead=dead or status not in _MESSAGE_AT_FAULT)


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
