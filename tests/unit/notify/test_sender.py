"""The sender: over an hour in fake time, and for real against a webhook on loopback."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tcp_trace.incidents.notification import Kind, Notification
from tcp_trace.notify.channel import Fate, Rejected, Retry, Sent
from tcp_trace.notify.outbox import Outbox
from tcp_trace.notify.pacing import Pacing
from tcp_trace.notify.sender import Sender
from tests.unit.notify.samples import Address, Clock, notification, to_slack, update
from tests.webhook import SECRET, Behaviour, Reply, Webhook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tcp_trace.notify.channel import Payload
    from tests.figures import Figures

OUTAGE = float(os.environ.get("TCP_TRACE_OUTAGE", "3"))
"""Seconds of an outage in real time: 60 for a thorough run."""

FAST = Pacing(rate=1_000.0, burst=10, first_backoff=0.01, longest_backoff=0.05)


def render(each: Notification, delayed_by: float | None) -> dict[str, Any]:
    """Make a payload that shows what it was made from."""
    text = f"{each.id} {each.failures}"
    return {"text": text, "id": each.id, "failures": each.failures, "delayed_by": delayed_by}


class Weather:
    """A channel whose fate depends on the time; it remembers what arrived and each try."""

    deadline = 20.0

    def __init__(self, clock: Clock, fate: Callable[[float], Fate]) -> None:
        self.clock = clock
        self.fate = fate
        self.tries: list[float] = []
        self.arrived: list[tuple[float, Mapping[str, Any]]] = []

    def send(self, payload: Payload) -> Fate:
        """Try at the clock's time."""
        self.tries.append(self.clock.mono)
        fate = self.fate(self.clock.mono)
        if fate == Sent():
            assert isinstance(payload, dict)
            self.arrived.append((self.clock.mono, payload))
        return fate

    @property
    def ids(self) -> list[str]:
        """What arrived, in order."""
        return [payload["id"] for _, payload in self.arrived]


class World:
    """An outbox, a sender and a channel in fake time."""

    def __init__(self, fate: Callable[[float], Fate] = lambda _: Sent()) -> None:
        self.clock = Clock(mono=0.0)
        self.channel = Weather(self.clock, fate)
        self.outbox = Outbox(None, clock=self.clock)
        self.sender = Sender(self.outbox, self.channel, render, clock=self.clock)

    def run(self, seconds: float) -> None:
        """Let the sender do what it does in so long a time."""
        end = self.clock.mono + seconds
        while self.clock.mono < end:
            wait = self.sender.step()
            assert wait >= 0
            self.clock.advance(min(wait, end - self.clock.mono))


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


def test_a_burst_is_paced() -> None:
    """Three leave at once, the others one a second."""
    world = World()
    for number in range(10):
        world.outbox.commit([notification(f"n{number}")])
    world.run(9)
    assert world.channel.tries == pytest.approx([0, 0, 0, 1, 2, 3, 4, 5, 6, 7])
    assert world.channel.ids == [f"n{number}" for number in range(10)]


def test_a_message_on_time_says_nothing_of_a_delay() -> None:
    """Only what waited for more than a minute says so."""
    world = World(lambda now: Sent() if now >= 50 else Retry(50.0, "status 429"))
    world.outbox.commit([notification("a")])
    world.run(60)
    assert [payload["delayed_by"] for _, payload in world.channel.arrived] == [None]


def test_retry_after_holds_for_every_message() -> None:
    """A rate limit is the webhook's: nothing goes out before its time, not even what is new."""
    world = World(lambda now: Sent() if now else Retry(100.0, "status 429"))
    world.outbox.commit([notification("a")])
    world.run(10)
    world.outbox.commit([notification("b")])
    world.run(100)
    assert world.channel.tries[0] == 0.0
    assert 100 <= world.channel.tries[1] <= 101
    assert sorted(world.channel.ids) == ["a", "b"]


def test_order_within_an_incident_survives_failures() -> None:
    """Whatever is retried, one incident's messages arrive in the order they were put."""
    world = World(lambda now: Sent() if int(now) % 3 == 0 else Retry(None, "status 500"))
    for number in range(30):
        kind = Kind.OPENED if number % 2 == 0 else Kind.RESOLVED
        world.outbox.commit([notification(f"{number:02}", f"i{number % 3}", kind)])
        world.run(2)
    world.run(2_000)
    assert len(world.channel.ids) == 30
    for incident in range(3):
        ids = [each for each in world.channel.ids if int(each) % 3 == incident]
        assert ids == sorted(ids)


def test_a_rejected_message_is_dropped_and_the_next_one_passes() -> None:
    """A payload that the other side refuses is not tried for ever."""
    world = World(
        lambda now: Rejected("status 400 invalid_payload", dead=False) if not now else Sent()
    )
    world.outbox.commit([notification("a")])
    world.run(1)
    world.outbox.commit([notification("b")])
    world.run(1)
    assert world.channel.ids == ["b"]
    assert world.outbox.drops == {"rejected": 1}
    assert world.sender.statistics.rejected == 1


def test_a_dead_webhook_is_an_error_once_and_tried_every_quarter_hour(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its messages are kept, and told when somebody has mended it."""
    caplog.set_level(logging.INFO)
    dead = Rejected("status 404 no_service", dead=True)
    world = World(lambda now: Sent() if now > 3_000 else dead)
    world.outbox.commit([notification("a")])
    world.run(2_900)
    assert world.channel.tries == pytest.approx([0, 900, 1_800, 2_700])
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert [record.__dict__["reason"] for record in errors] == ["status 404 no_service"]
    assert world.sender.statistics.dead
    world.run(800)
    assert world.channel.ids == ["a"]
    assert not world.sender.statistics.dead
    assert caplog.text.count("takes messages again") == 1


def test_a_reload_tries_at_once() -> None:
    """After `revive` or `replace` no pause of the old webhook counts."""
    world = World(lambda _: Rejected("status 410 channel_is_archived", dead=True))
    world.outbox.commit([notification("a")])
    world.run(10)
    world.sender.revive()
    assert not world.sender.statistics.dead
    world.run(1)
    assert world.channel.tries == pytest.approx([0, 10])
    good = Weather(world.clock, lambda _: Sent())
    world.sender.replace(good)
    world.run(1)
    assert good.ids == ["a"]


def test_what_the_old_webhook_says_does_not_hold_up_the_new_one() -> None:
    """A webhook replaced while it is being tried no longer decides when to send."""
    world = World()
    good = Weather(world.clock, lambda _: Sent())

    def replaced_meanwhile(_: float) -> Fate:
        world.sender.replace(good)
        return Rejected("status 404 no_service", dead=True)

    world.channel.fate = replaced_meanwhile
    world.outbox.commit([notification("a")])
    world.run(5)
    assert good.ids == ["a"]
    assert not world.sender.statistics.dead


def test_without_a_destination_notifications_are_logged_and_not_kept(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With no webhook the log is the only way, and the outbox stays empty."""
    outbox = Outbox(None)
    sender = Sender(outbox, None, render)
    for number in range(50):
        outbox.commit([notification(f"n{number}")])
    sender.step()
    assert outbox.pending == 0
    assert sender.statistics.logged == 50
    assert [record.__dict__["text"] for record in caplog.records][:2] == ["n0 1", "n1 1"]


@pytest.mark.parametrize("channel", ["some", "none"])
def test_what_cannot_be_rendered_is_dropped_and_the_thread_lives(channel: str) -> None:
    """One broken notification does not stop the others, now or after a restart."""

    def broken(each: Notification, _: float | None) -> dict[str, Any]:
        if each.id == "a":
            raise KeyError("broken")
        return {"id": each.id, "text": each.id}

    world = World()
    sender = Sender(
        world.outbox, world.channel if channel == "some" else None, broken, clock=world.clock
    )
    world.sender = sender
    world.outbox.commit(map(notification, "ab"))
    world.run(10)
    assert (world.outbox.pending, world.outbox.drops) == (0, {"unrenderable": 1})
    assert sender.statistics.last_error == "unrenderable: KeyError"
    assert sender.statistics.sent + sender.statistics.logged == 1


def stop(sender: Sender, seconds: float) -> None:
    """Let it end as the service does."""
    sender.finish(seconds)
    sender.join(seconds)


@contextmanager
def running(
    webhook: Webhook, outbox: Outbox, pacing: Pacing = FAST, deadline: float = 5.0
) -> Iterator[Sender]:
    """Run a sender to a webhook."""
    slack = to_slack(Address(webhook.url), deadline=deadline)
    sender = Sender(outbox, slack, render, pacing=pacing)
    sender.start()
    try:
        yield sender
    finally:
        stop(sender, 5.0)
        outbox.close()


def ids(webhook: Webhook) -> list[str]:
    """Return what arrived, in order."""
    return [request.payload["id"] for request in webhook.received]


def test_the_first_message_leaves_at_once(tmp_path: Path) -> None:
    """An idle sender is woken by what is put, and does not first wait until it looks by itself."""
    outbox = Outbox(tmp_path / "outbox.db")
    with Webhook() as webhook, running(webhook, outbox, Pacing()):
        time.sleep(0.2)
        put_at = time.monotonic()
        outbox.commit([notification("a")])
        (request,) = webhook.wait_for(1)
        assert request.at - put_at < 0.6 * Pacing().idle  # the first time imports requests


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


def test_the_poll_thread_never_waits_for_the_network(tmp_path: Path) -> None:
    """While a send hangs, what is put is committed all the same."""
    outbox = Outbox(tmp_path / "outbox.db")
    with Webhook([Reply(behaviour=Behaviour.HANG)]) as webhook:
        sender = Sender(outbox, to_slack(Address(webhook.url), deadline=4.0), render)
        sender.start()
        outbox.commit([notification("a")])
        webhook.wait_for(1)
        for number in range(20):
            outbox.commit([notification(f"n{number}")])
        # The send still hangs: who had waited for it would come here after its end.
        assert sender.statistics.retried == 0
        assert outbox.pending == 21
        stop(sender, 0.0)
    outbox.close()


def test_stop_drains_what_is_due(tmp_path: Path) -> None:
    """On stop, what is pending is still sent, as fast as the pace allows."""
    outbox = Outbox(tmp_path / "outbox.db")
    with Webhook() as webhook:
        sender = Sender(outbox, to_slack(Address(webhook.url)), render)
        for number in range(5):
            outbox.commit([notification(f"n{number}")])
        sender.start()
        began = time.monotonic()
        stop(sender, 10.0)
        assert 1.5 < time.monotonic() - began < 9.0
        assert ids(webhook) == [f"n{number}" for number in range(5)]
    outbox.close()


def test_stop_of_an_idle_sender_takes_no_time() -> None:
    """A sender that waits for something to do is woken to end."""
    sender = Sender(Outbox(None), None, render)
    sender.start()
    time.sleep(0.1)
    began = time.monotonic()
    stop(sender, 10.0)
    assert time.monotonic() - began < 0.6 * Pacing().idle


def test_a_sender_whose_time_is_up_takes_nothing() -> None:
    """Its webhook is gone: what is put from then on is for another sender, however late it ends."""
    outbox = Outbox(None)
    with Webhook() as webhook:
        sender = Sender(outbox, to_slack(Address(webhook.url)), render)
        sender.finish(0.0)
        outbox.commit([notification("n")])
        sender.start()
        sender.join(5.0)
        assert webhook.received == []
    assert outbox.pending == 1


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


def test_stop_does_not_wait_for_what_cannot_be_sent(tmp_path: Path) -> None:
    """During a long pause there is nothing to drain: stop returns, and the outbox keeps it."""
    outbox = Outbox(tmp_path / "outbox.db")
    with Webhook([Reply(429, b"", {"Retry-After": "600"})]) as webhook:
        sender = Sender(outbox, to_slack(Address(webhook.url)), render)
        sender.start()
        outbox.commit([notification("a")])
        webhook.wait_for(1)
        began = time.monotonic()
        stop(sender, 10.0)
        assert time.monotonic() - began < 8.0
    assert outbox.pending == 1
    outbox.close()


def test_stop_is_over_in_time_even_when_a_send_hangs(tmp_path: Path) -> None:
    """A send that hangs is left behind when the time to drain is up."""
    outbox = Outbox(tmp_path / "outbox.db")
    with Webhook([Reply(behaviour=Behaviour.HANG)]) as webhook:
        sender = Sender(outbox, to_slack(Address(webhook.url), deadline=4.0), render)
        sender.start()
        outbox.commit([notification("a")])
        webhook.wait_for(1)
        began = time.monotonic()
        stop(sender, 0.5)
        assert time.monotonic() - began < 3.5
        assert outbox.pending == 1
        stop(sender, 5.0)
    outbox.close()


def test_progress_shows_a_loop_that_stands() -> None:
    """Idle, the loop comes round every few seconds; a send beyond its deadline is stuck."""
    begun, standing = threading.Event(), threading.Event()

    class Standing:
        deadline = 20.0

        def send(self, _: Payload) -> Fate:
            begun.set()
            standing.wait(30)
            return Sent()

    outbox = Outbox(None)
    sender = Sender(outbox, Standing(), render, pacing=Pacing(idle=0.05))
    sender.start()
    first = sender._progress
    until = time.monotonic() + 10
    while sender._progress == first and time.monotonic() < until:
        time.sleep(0.01)
    assert sender._progress > first
    outbox.commit([notification("a")])
    assert begun.wait(10)
    stood = sender._progress
    time.sleep(0.2)
    assert sender._progress == stood
    assert not sender.is_stuck(stood + 20)
    assert sender.is_stuck(stood + 31)
    standing.set()
    stop(sender, 5.0)


def test_the_secret_is_in_no_log_line_and_no_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Through every fault, neither the log at any level nor the database shows the webhook."""
    caplog.set_level(logging.DEBUG)
    faults = [Reply(behaviour=behaviour) for behaviour in Behaviour]
    faults += [Reply(status, SECRET.encode()) for status in (429, 500, 400, 302)]
    faults += [Reply(404, b"no_service")]
    outbox = Outbox(tmp_path / "outbox.db")
    with Webhook(faults) as webhook, running(webhook, outbox, deadline=0.3) as sender:
        for number in range(len(faults)):
            outbox.commit([notification(f"n{number}")])
        until = time.monotonic() + 20
        while not sender.statistics.dead and time.monotonic() < until:
            time.sleep(0.01)
        assert sender.statistics.dead
        shown = [caplog.text, repr(sender.statistics), repr(outbox.drops)]
        shown += [repr(vars(record)) for record in caplog.records]
        files = [each.read_bytes() for each in tmp_path.iterdir()]
    assert len(files) == 4
    for text in [*map(str.encode, shown), *files]:
        assert b"SECRET" not in text
        assert b"services/" not in text
