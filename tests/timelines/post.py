"""The way of a message, simulated in time: the real outbox and sender, and a webhook that fails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tcp_trace.notify.channel import Retry, Sent
from tcp_trace.notify.outbox import Outbox
from tcp_trace.notify.routing import Router
from tcp_trace.notify.sender import Sender
from tests.timelines.chance import dice

if TYPE_CHECKING:
    from tcp_trace.incidents.notification import Notification
    from tcp_trace.notify.channel import Fate
    from tests.timelines.world import World

_BREATH = 0.05


class Post:
    """Brings messages to people, but from `gone` until `back` (seconds) nobody answers."""

    deadline = 20.0

    def __init__(self, world: World, gone: float, back: float) -> None:
        self._world = world
        self._gone, self._back = gone, back
        self._router = Router()
        self._outbox = Outbox(None, clock=lambda: world.moment)
        self._sender = Sender(
            self._outbox, self, lambda message, _: {"message": message}, clock=lambda: world.moment
        )
        self._sender._gate._backoff._rng = dice(world.seed, "post")
        self._hear = world.observer.take
        world.observer.take = self.put  # type: ignore[method-assign]
        self._step()

    def put(self, message: Notification) -> None:
        """Commit a message, which is sent later."""
        self._outbox.commit([message], lead=self._router.webhooks)

    def send(self, payload: Any) -> Fate:
        """Answer as the webhook does now."""
        if self._gone <= self._world.now < self._back:
            return Retry(None, "ConnectionError")
        self._hear(payload["message"])
        return Sent()

    def _step(self) -> None:
        self._world.at(self._world.now + max(_BREATH, self._sender.step()), self._step)
