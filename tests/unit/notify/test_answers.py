"""What a webhook's answer means."""

from __future__ import annotations

import pytest

from tcp_trace.notify.answers import (
    MAX_RETRY_AFTER,
    Answer,
    judge_status,
    parse_retry_after,
)
from tcp_trace.notify.channel import Fate, Rejected, Retry, Sent
from tcp_trace.notify.receivers.slack import judge

WALL = 1_700_000_000.0  # Tue, 14 Nov 2023 22:13:20 GMT


ANSWERS: list[tuple[int, bytes, Fate]] = [
    (200, b"ok", Sent()),
    (200, b"ok\n", Sent()),
    (200, b'{"success":true}', Sent()),  # Rocket.Chat
    (201, b"", Sent()),
    (202, b"", Sent()),
    (204, b"", Sent()),
    (200, b"", Rejected("status 200 without the body 'ok'", dead=True)),
    (200, b"<html>Log in", Rejected("status 200 without the body 'ok'", dead=True)),
    (200, b'{"success":false}', Rejected("status 200 without the body 'ok'", dead=True)),
    (200, b"[" * 1024, Rejected("status 200 without the body 'ok'", dead=True)),
    (200, b"invalid_payload", Rejected("status 200 invalid_payload", dead=False)),
    (200, b"no_service", Rejected("status 200 no_service", dead=True)),
    (302, b"", Rejected("status 302: a redirect, which is not followed", dead=True)),
    (400, b"invalid_payload", Rejected("status 400 invalid_payload", dead=False)),
    (400, b"user_not_found", Rejected("status 400 user_not_found", dead=False)),
    (400, b"invalid_token", Rejected("status 400 invalid_token", dead=True)),
    (401, b"", Rejected("status 401", dead=True)),
    (403, b"action_prohibited", Rejected("status 403 action_prohibited", dead=True)),
    (403, b"invalid_token", Rejected("status 403 invalid_token", dead=True)),
    (404, b"channel_not_found", Rejected("status 404 channel_not_found", dead=True)),
    (404, b"no_service", Rejected("status 404 no_service", dead=True)),
    (404, b"no_active_hooks", Rejected("status 404 no_active_hooks", dead=True)),
    (410, b"channel_is_archived", Rejected("status 410 channel_is_archived", dead=True)),
    (413, b"", Rejected("status 413", dead=False)),
    (408, b"", Retry(None, "status 408")),
    (429, b"rate_limited", Retry(None, "status 429 rate_limited")),
    (500, b"rollup_error", Retry(None, "status 500 rollup_error")),
    (502, b"<html>", Retry(None, "status 502")),
    (503, b"", Retry(None, "status 503")),
]


@pytest.mark.parametrize(("status", "body", "expected"), ANSWERS)
def test_each_status_and_body_has_one_meaning(status: int, body: bytes, expected: Fate) -> None:
    """An answer is sent, worth another try, or final, as its status and body say."""
    assert judge(Answer(status, body, None), WALL) == expected


@pytest.mark.parametrize(
    "body", [b"Not A Word", b"x" * 41, b"<!channel>", b"no_service\nx", b"\xff\xfe", b"../etc"]
)
def test_only_a_short_word_of_the_body_is_repeated(body: bytes) -> None:
    """A body that is not one of Slack's words stays out of the reason."""
    assert judge(Answer(404, body, None), WALL) == Rejected("status 404", dead=True)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("30", 30.0),
        (" 1.5 ", 1.5),
        ("0", 0.0),
        ("-7", 0.0),
        ("86400", MAX_RETRY_AFTER),
        ("9" * 400, MAX_RETRY_AFTER),
        ("inf", MAX_RETRY_AFTER),
        ("nan", None),
        ("soon", None),
        ("", None),
        ("Tue, 14 Nov 2023 22:14:00 GMT", 40.0),
        ("Tue, 14 Nov 2023 22:13:00 GMT", 0.0),
        ("Fri, 14 Nov 9999 22:13:00 GMT", MAX_RETRY_AFTER),
        ("Tue, 99 Nov 2023 22:13:00 GMT", None),
        ("Mon, 01 Jan 0001 00:00:00 +2359", 0.0),
    ],
)
def test_retry_after_is_read_in_every_form_and_bounded(
    text: str | None, seconds: float | None
) -> None:
    """Retry-After is seconds or a date, never negative, and never longer than the limit."""
    assert parse_retry_after(text, WALL) == seconds


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_heard_with_every_status_worth_another_try(status: int) -> None:
    """Both a rate limit and an overload can name a time."""
    fate = judge(Answer(status, b"", "30"), WALL)
    assert fate == Retry(30.0, f"status {status}")


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, b"", Sent()),
        (200, b"invalid_payload", Sent()),
        (299, b"", Sent()),
        (302, b"", Rejected("status 302: a redirect, which is not followed", dead=True)),
        (400, b"no_service", Rejected("status 400", dead=False)),
        (404, b"", Rejected("status 404", dead=True)),
        (429, b"", Retry(7.0, "status 429")),
        (503, b"busy", Retry(7.0, "status 503")),
    ],
)
def test_a_webhook_of_another_make_says_it_by_status(
    status: int, body: bytes, expected: Fate
) -> None:
    """Any 2xx is success, and no word of the body counts."""
    assert judge_status(Answer(status, body, "7"), WALL) == expected
