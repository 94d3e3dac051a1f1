"""All webhooks: a sender for each, so that none of them holds up another."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from tcp_trace.notify.sender import Sender

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping

    from tcp_trace.incidents.notification import Notification
    from tcp_trace.notify.channel import Channel
    from tcp_trace.notify.outbox import Outbox
    from tcp_trace.notify.pacing import Pacing
    from tcp_trace.notify.sender import Render
    from tcp_trace.notify.statistics import Statistics


class Recipient(NamedTuple):
    """A webhook as a sender needs it. While `identity` is the same, it is the same webhook."""

    name: str
    identity: Hashable
    channel: Channel | None
    render: Render


class Workers:
    """The senders of `outbox`, by the names of their webhooks. It belongs to the poll loop."""

    def __init__(
        self, outbox: Outbox, recipients: Iterable[Recipient], pacing: Pacing | None = None
    ) -> None:
        self._outbox = outbox
        self._pacing = pacing
        self._senders: dict[str, Sender] = {}
        self._identities: dict[str, Hashable] = {}
        self._started = False
        self.replace(recipients)

    @property
    def statistics(self) -> Mapping[str, Statistics]:
        """What each sender did so far, by the name of its webhook."""
        return {name: sender.statistics for name, sender in list(self._senders.items())}

    def start(self) -> None:
        """Start the threads."""
        self._started = True
        for sender in self._senders.values():
            sender.start()

    def retry(self) -> None:
        """Start the threads that the system had no room for."""
        for sender in self._senders.values():
            sender.retry()

    def replace(self, recipients: Iterable[Recipient]) -> None:
        """Use these webhooks from now on; one that stays is tried at once, whatever it said.

        What waits for one that is gone goes to the default one.
        """
        wanted = {recipient.name: recipient for recipient in recipients}
        for name in set(self._senders) - set(wanted):
            self._senders.pop(name).finish(0.0)
            del self._identities[name]
        for name, recipient in wanted.items():
            self._employ(name, recipient)
        self._outbox.serve(wanted)

    def is_stuck(self, now: float) -> bool:
        """Whether any sender has stood for too long: for the watchdog."""
        return any(sender.is_stuck(now) for sender in self._senders.values())

    def stand(self, name: str, notifications: Iterable[Notification]) -> None:
        """Let a webhook that forgets be told again of these (see `Sender.stand`)."""
        self._senders[name].stand(notifications)

    def stop(self, drain_seconds: float) -> None:
        """Try what is due at all webhooks at once, for at most that long, and end the threads."""
        until = time.monotonic() + drain_seconds
        for sender in self._senders.values():
            sender.finish(drain_seconds)
        for sender in self._senders.values():
            sender.join(max(0.0, until - time.monotonic()))

    def _employ(self, name: str, recipient: Recipient) -> None:
        sender = self._senders.get(name)
        if sender is None:
            sender = self._senders[name] = Sender(
                self._outbox,
                recipient.channel,
                recipient.render,
                webhook=name,
                pacing=self._pacing,
            )
            if self._started:
                sender.start()
        elif self._identities[name] == recipient.identity:
            sender.revive()
        else:
            sender.replace(recipient.channel, recipient.render)
        self._identities[name] = recipient.identity
