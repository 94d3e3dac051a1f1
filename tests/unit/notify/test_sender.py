"""The sender over hours, in fake time."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from tcp_trace.incidents.notification import Notification, Phase
from tcp_trace.notify.channel import Fate, Rejected, Retry, Sent
from tcp_trace.notify.outbox import Outbox
from tcp_trace.notify.sender import Sender
from tests.unit.notify.samples import notification
from tests.unit.notify.sender_world import Weather, World, render


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
        kind = Phase.OPENED if number % 2 == 0 else Phase.RESOLVED
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
