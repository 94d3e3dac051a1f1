"""What a message says, where, and in how many lines."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from tcp_trace.connects.reasons import Evidence, Reason
from tcp_trace.incidents.notification import CauseCount, Phase
from tcp_trace.notify.receivers import RECEIVERS
from tcp_trace.notify.receivers.receiver import Envelope
from tcp_trace.notify.receivers.slack import slack_payload
from tests.unit.notify.golden import HOST, OPENED, SAMPLES
from tests.unit.notify.test_render import strings


def test_what_people_need_is_in_both_text_and_blocks() -> None:
    """Host, destination, reason, advice, process, user and id are in text and blocks."""
    payload = slack_payload(OPENED, HOST, delayed_by=600)
    for shown in (payload["text"], "\n".join(strings(payload["blocks"]))):
        for wanted in (
            HOST, "10.0.0.5:5432", "connection refused", "Is the service running", "`psql`",
            "pid 4711", "user id 1000", "k7f3q2ab-1", "LATE 10 min",
        ):  # fmt: skip
            assert wanted in shown


def test_times_are_local_in_blocks_and_relative_in_text() -> None:
    """Who opens Slack sees the local time, who reads the push how long ago it was, sent late too.

    What Alertmanager repeats for hours is in UTC.
    """
    payload = slack_payload(OPENED, HOST, delayed_by=600)
    assert payload["text"].endswith("\nfailed 10 min ago, id k7f3q2ab-1")
    alert = str(RECEIVERS["alertmanager"].renderer()(OPENED, Envelope(HOST)))
    assert "failed 2026-01-01 12:00:00 UTC, id k7f3q2ab-1" in alert
    local = "<!date^1767268800^{date_short_pretty} {time_secs}|2026-01-01 12:00:00 UTC>"
    assert local in "\n".join(strings(payload["blocks"]))
    assert "<!date" not in payload["text"]
    assert "UTC" not in payload["text"]


@pytest.mark.parametrize("name", [name for name, (n, _) in SAMPLES.items() if n.is_digest])
def test_a_digest_fits_a_phone(name: str) -> None:
    """In 12 lines, with a mention and a runbook: its text, and its blocks."""
    notification, delayed_by = SAMPLES[name]
    busy = replace(
        notification, escalated=True, silenced=7, runbook="https://a.example/x", absorbed=("a",) * 3
    )
    for digest in (notification, busy):
        payload = slack_payload(digest, HOST, delayed_by=delayed_by, mention="<!here>")
        assert len(payload["text"].splitlines()) <= 12
        shown = "\n".join(text for block in payload["blocks"] for text in strings(block) if text)
        assert len(shown.splitlines()) <= 12


def test_the_runbook_is_the_last_line() -> None:
    """A link that is nothing else, wherever it is shown."""
    for runbook in ("https://a.example/db?id=7&x=|y", "https://a.example/<!here> @all `x`"):
        payload = slack_payload(replace(OPENED, runbook=runbook), HOST)
        last = payload["text"].splitlines()[-1]
        assert re.fullmatch(r"Runbook: https://a\.example/[^\s<>|`@]+", last)
        shown = payload["blocks"][-1]["elements"][0]["text"].splitlines()[-1]
        assert shown == f"*Runbook:* <{last.partition(': ')[2]}>"


def test_advice_only_at_the_beginning() -> None:
    """What to check first is said when an incident opens, and not again."""
    for name, (notification, _) in SAMPLES.items():
        advised = "Check first" in slack_payload(notification, HOST)["text"]
        assert advised is (notification.kind is Phase.OPENED), name


def test_every_frequent_reason_has_its_advice() -> None:
    """What helps with one reason does not with another: each of the first three says its own."""
    counts = tuple(
        CauseCount(reason, 9 - number, Evidence(syns=1)) for number, reason in enumerate(Reason)
    )
    payload = slack_payload(replace(OPENED, causes=counts, total=45), HOST)
    for shown in (payload["text"], "\n".join(strings(payload["blocks"]))):
        for number, reason in enumerate(Reason):
            advice = f"{reason.summary.partition(':')[0]}: {reason.check_first}"
            assert (advice in shown) is (number < 3)


def test_what_sent_no_syn_took_no_time() -> None:
    """No time is told of a connect that failed before it began, but that it did."""
    counts = (CauseCount(Reason.NO_LOCAL_PORT, 1, Evidence(99, 0.00002, 0)),)
    text = slack_payload(replace(OPENED, causes=counts, total=1, failures=1), HOST)["text"]
    assert f"{Reason.NO_LOCAL_PORT.summary} (no SYN was sent)" in text
    assert "0.1 ms" not in text
