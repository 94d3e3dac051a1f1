"""A webhook that is gone, stands, or answers badly: what arrives late, and what twice."""

from __future__ import annotations

import os
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tcp_trace.notify.channel import Retry, Sent
from tcp_trace.notify.outbox import Outbox
from tcp_trace.notify.pacing import Pacing
from tcp_trace.notify.routing import DEFAULT
from tests.unit.notify import test_workers as workers_world
from tests.unit.notify.samples import notification, update
from tests.unit.notify.sender_world import World, ids, running
from tests.unit.notify.test_workers import put, to, wait_for_sent
from tests.webhook import Behaviour, Reply, Webhook

if TYPE_CHECKING:
    from pathlib import Path

    from tests.figures import Figures

OUTAGE = float(os.environ.get("TCP_TRACE_OUTAGE", "3"))
"""Seconds of an outage in real time: 60 for a thorough run."""


def test_an_hour_of_outage_costs_few_tries_and_no_message(figure: Figures) -> None:
    """An hour without Slack: tried now and then, then all is told, with how late it is."""
    world = World(lambda now: Sent() if now >= 3_600 else Retry(None, "ConnectionError"))
    for number in range(10):
        world.outbox.commit([notification(f"n{number}", f"i{number}")])
    world.run(60)
    for _ in range(1_000):
        world.outbox.commit([update("u", "i3")])
    world.run(3_600 + 310 - 60)
    assert Counter(world.channel.ids) == Counter(f"n{number}" for number in range(10))
    assert sum(payload["failures"] for _, payload in world.channel.arrived) == 1_010
    assert len([at for at in world.channel.tries if at < 3_600]) < 60
    for at, payload in world.channel.arrived:
        assert 3_600 <= at <= 3_600 + 301 + 10
        assert payload["delayed_by"] == at
    statistics = world.sender.statistics
    assert (statistics.sent, statistics.rejected) == (10, 0)
    assert statistics.retried == len(world.channel.tries) - 10
    assert statistics.last_error == "ConnectionError"
    assert statistics.last_error_at is not None
    last = max(at for at, _ in world.channel.arrived)
    figure(
        "an hour without Slack (fake time)",
        "a delay until 5 min after it is back; no message",
        f"{sum(payload['failures'] for _, payload in world.channel.arrived):,} of 1,010 failures"
        f" told in {statistics.sent} messages, the last {last - 3_600:.0f} s after it was back,"
        f" {len([at for at in world.channel.tries if at < 3_600])} tries in that hour",
    )


def test_a_day_without_slack_costs_a_row_per_incident(figure: Figures) -> None:
    """Ten incidents that are told of every five minutes wait as ten rows, and add up."""
    world = World(lambda now: Sent() if now >= 86_400 else Retry(None, "ConnectionError"))
    put = 0
    for at in range(0, 86_400, 300):
        for incident in range(10):
            world.outbox.commit([update(f"u{at}-{incident}", f"i{incident}", failures=7)])
            put += 1
        world.run(300)
    rows, size = world.outbox.pending, sum(len(row.body) for row in world.outbox._queue.rows())
    assert rows == 10
    assert size < 10_000
    world.run(400)
    assert world.outbox.drops == {}
    assert sum(payload["failures"] for _, payload in world.channel.arrived) == 7 * put
    assert {round(payload["delayed_by"]) for _, payload in world.channel.arrived} <= set(
        range(86_400, 86_800)
    )
    figure(
        "a day without Slack (fake time)",
        "a row per incident and 3 days' patience; one message per incident, which says how late",
        f"{put:,} notifications of 10 incidents waited as {rows} rows of {size / rows:.0f} bytes;"
        f" {len(world.channel.arrived)} messages told all {7 * put:,} failures",
    )


def test_everything_arrives_through_every_fault(tmp_path: Path, figure: Figures) -> None:
    """Resets, drips, hangs, 429 and 5xx cost duplicates at most, and never a message."""
    faults = [Reply(behaviour=behaviour) for behaviour in Behaviour if behaviour.name != "NORMAL"]
    faults += [Reply(429, b"rate_limited", {"Retry-After": "0"}), Reply(500), Reply(503)]
    outbox = Outbox(tmp_path / "outbox.db")
    with Webhook(faults) as webhook, running(webhook, outbox, deadline=1.0):
        for number in range(30):
            outbox.commit([notification(f"n{number}")])
        until = time.monotonic() + 60
        while outbox.pending and time.monotonic() < until:
            time.sleep(0.01)
        arrived = ids(webhook)
    assert set(arrived) == {f"n{number}" for number in range(30)}
    assert len(arrived) <= 30 + len(faults)
    figure(
        "resets before and after the body, drips, hangs, cut bodies, 429, 5xx",
        "what may have arrived comes twice",
        f"{len(faults)} faults in a row, 0 of 30 messages lost, {len(arrived) - 30} came twice",
    )


def test_a_real_outage_costs_no_message(tmp_path: Path, figure: Figures) -> None:
    """With the webhook's host gone for a while, all arrives after it is back, and is counted."""
    outbox = Outbox(tmp_path / "outbox.db")
    with Webhook() as webhook, running(webhook, outbox, Pacing()):
        outbox.commit([notification("a")])
        webhook.wait_for(1)
        webhook.__exit__()
        until, put = time.monotonic() + OUTAGE, 0
        while time.monotonic() < until:
            outbox.commit([update(f"u{put}", f"i{put % 5}")])
            put += 1
            time.sleep(0.02)
        # The longest pause so far is twice the outage, if all went badly.
        with Webhook(port=webhook.port) as back:
            arrived = back.wait_for(5, timeout=3 * OUTAGE + 10)
            assert sum(request.payload["failures"] for request in arrived) == put
            assert len(arrived) == 5
            after = arrived[-1].at - until
    figure(
        "the webhook's host is gone (real time)",
        "a delay; no message",
        f"gone for {OUTAGE:g} s, {put:,} failures of 5 incidents meanwhile: all told in"
        f" {len(arrived)} messages, the last {after:.0f} s after it was back",
    )


@pytest.mark.parametrize("fault", ["hangs", "is dead", "is slow"])
def test_a_bad_webhook_does_not_hold_up_another(
    tmp_path: Path, fault: str, figure: Figures
) -> None:
    """Hanging, dead or told to wait: the others get theirs as fast as ever."""
    reply = {
        "hangs": Reply(behaviour=Behaviour.HANG),
        "is dead": Reply(404, b"no_service"),
        "is slow": Reply(429, b"", {"Retry-After": "600"}),
    }[fault]
    outbox = Outbox(tmp_path / "outbox.db")
    with (
        Webhook([reply]) as bad,
        Webhook() as good,
        workers_world.running(outbox, [to(bad, deadline=60.0), to(good, "good")]) as workers,
    ):
        put(outbox, "first", DEFAULT)
        bad.wait_for(1)
        began = time.monotonic()
        for number in range(20):
            put(outbox, str(number), DEFAULT, "good")
        good.wait_for(20)
        took = time.monotonic() - began
        assert ids(good) == [str(number) for number in range(20)]
        # It hangs still, or waits for its turn: nobody waited for that.
        assert len(bad.received) == 1
        figure(
            f"one of two webhooks {fault}",
            "its own messages wait; the other's do not",
            f"20 messages reached the other one within {took:.2f} s (unpaced)",
        )
        wait_for_sent(workers, "good", 20)
        assert workers.statistics[DEFAULT].sent == 0
        workers.stop(0.2)
