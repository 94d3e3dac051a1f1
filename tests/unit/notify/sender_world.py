"""A sender to test: in fake time, or against a webhook on loopback."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tcp_trace.notify.channel import Fate, Sent
from tcp_trace.notify.outbox import Outbox
from tcp_trace.notify.pacing import Pacing
from tcp_trace.notify.sender import Sender
from tests.unit.notify.samples import Address, Clock, to_slack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tcp_trace.incidents.notification import Notification
    from tcp_trace.notify.channel import Payload
    from tests.webhook import Webhook

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
