"""The sender for real, against a webhook on loopback."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from tcp_trace.notify.channel import Fate, Sent
from tcp_trace.notify.outbox import Outbox
from tcp_trace.notify.pacing import Pacing
from tcp_trace.notify.sender import Sender
from tests.unit.notify.samples import Address, notification, to_slack
from tests.unit.notify.sender_world import ids, render, running, stop
from tests.webhook import SECRET, Behaviour, Reply, Webhook

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tcp_trace.notify.channel import Payload


RARELY = Pacing(idle=60.0)
"""Nothing is looked for within the time of a test: who does something was woken."""


def test_the_first_message_leaves_at_once(tmp_path: Path) -> None:
    """An idle sender is woken by what is put, and does not first wait until it looks by itself."""
    outbox = Outbox(tmp_path / "outbox.db")
    with Webhook() as webhook, running(webhook, outbox, RARELY):
        time.sleep(0.2)
        put_at = time.monotonic()
        outbox.commit([notification("a")])
        (request,) = webhook.wait_for(1)
        assert request.at - put_at < 0.6 * RARELY.idle  # the first time imports requests


def test_the_poll_thread_never_waits_for_the_network(tmp_path: Path) -> None:
    """While a send hangs, what is put is committed all the same."""
    outbox = Outbox(tmp_path / "outbox.db")
    with Webhook([Reply(behaviour=Behaviour.HANG)]) as webhook:
        sender = Sender(outbox, to_slack(Address(webhook.url), deadline=60.0), render)
        sender.start()
        outbox.commit([notification("a")])
        webhook.wait_for(1)
        for number in range(20):
            outbox.commit([notification(f"n{number}")])
        # The send still hangs: who had waited for it would come here after its end.
        assert sender.statistics.retried == 0
        assert outbox.pending == 21
        stop(sender, 0.0)
    sender.join(30.0)
    outbox.close()


def test_stop_drains_what_is_due(tmp_path: Path) -> None:
    """On stop, what is pending is still sent, as fast as the pace allows."""
    outbox = Outbox(tmp_path / "outbox.db")
    with Webhook() as webhook:
        sender = Sender(outbox, to_slack(Address(webhook.url)), render)
        for number in range(5):
            outbox.commit([notification(f"n{number}")])
        began = time.monotonic()
        sender.start()
        stop(sender, 60.0)
        assert 1.5 < time.monotonic() - began < 30.0
        assert ids(webhook) == [f"n{number}" for number in range(5)]
    outbox.close()


def test_stop_of_an_idle_sender_takes_no_time() -> None:
    """A sender that waits for something to do is woken to end."""
    sender = Sender(Outbox(None), None, render, pacing=RARELY)
    sender.start()
    time.sleep(0.1)
    began = time.monotonic()
    stop(sender, RARELY.idle)
    assert time.monotonic() - began < 0.6 * RARELY.idle


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


def test_stop_does_not_wait_for_what_cannot_be_sent(tmp_path: Path) -> None:
    """During a long pause there is nothing to drain: stop returns, and the outbox keeps it."""
    outbox = Outbox(tmp_path / "outbox.db")
    with Webhook([Reply(429, b"", {"Retry-After": "600"})]) as webhook:
        sender = Sender(outbox, to_slack(Address(webhook.url)), render)
        sender.start()
        outbox.commit([notification("a")])
        webhook.wait_for(1)
        began = time.monotonic()
        stop(sender, 60.0)
        assert time.monotonic() - began < 30.0
    assert outbox.pending == 1
    outbox.close()


def test_stop_is_over_in_time_even_when_a_send_hangs(tmp_path: Path) -> None:
    """A send that hangs is left behind when the time to drain is up."""
    outbox = Outbox(tmp_path / "outbox.db")
    with Webhook([Reply(behaviour=Behaviour.HANG)]) as webhook:
        sender = Sender(outbox, to_slack(Address(webhook.url), deadline=60.0), render)
        sender.start()
        outbox.commit([notification("a")])
        webhook.wait_for(1)
        began = time.monotonic()
        stop(sender, 0.5)
        assert time.monotonic() - began < 30.0
        assert outbox.pending == 1
    stop(sender, 30.0)
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
