"""From notifications to webhooks: committed, routed, and sent."""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING, Any

from tcp_trace.notify.httpchannel import HttpChannel
from tcp_trace.notify.outbox import Outbox
from tcp_trace.notify.receivers import DEFAULT_TYPE, RECEIVERS
from tcp_trace.notify.receivers.receiver import Envelope
from tcp_trace.notify.routing import DEFAULT, Router
from tcp_trace.notify.standing import Standing
from tcp_trace.notify.store import NAME
from tcp_trace.notify.workers import Recipient, Workers
from tcp_trace.settings.routes import Webhook

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tcp_trace.connects.events import Moment
    from tcp_trace.incidents.notification import Notification
    from tcp_trace.notify.channel import Payload
    from tcp_trace.notify.pacing import Pacing
    from tcp_trace.notify.receivers.receiver import Renderer
    from tcp_trace.notify.sender import Render
    from tcp_trace.notify.statistics import Statistics
    from tcp_trace.settings.config import Settings

log = logging.getLogger(__name__)

STAND_INTERVAL = 60.0
"""Seconds between two times that Alertmanager is sent open alerts; it forgets after 5 min."""


class Messages:
    """The outbox, the routes and the senders as one. It belongs to the poll loop.

    Raises ModuleNotFoundError where a webhook is set and `requests` is missing.
    """

    def __init__(self, settings: Settings, pacing: Pacing | None = None) -> None:
        self._settings = settings
        # Started by hand beside the service, it stays the second one while the service restarts.
        is_the_service = "NOTIFY_SOCKET" in os.environ
        self.outbox = Outbox(settings.state_dir / NAME, waits=is_the_service)
        self._router = Router(settings.routes)
        self._standing = Standing()
        self._next_stand = 0.0
        self._workers = Workers(self.outbox, self._recipients(), pacing)

    @property
    def statistics(self) -> Mapping[str, Statistics]:
        """Messages sent so far, by the name of the webhook."""
        return self._workers.statistics

    @property
    def pending(self) -> Mapping[str, int]:
        """How many notifications wait, by the name of the webhook."""
        return {name: self.outbox.pending_for(name) for name in self.statistics}

    def restore(self) -> dict[str, Any] | None:
        """Return the incidents' state that an earlier process committed, None for none.

        Also takes up the routing of those incidents.
        """
        state: dict[str, Any] | None = self.outbox.load_state()
        if state is None:
            return None
        try:
            accounts = [*state["incidents"], *([state["storm"]] if state["storm"] else [])]
            incidents = {str(account["incident"]) for account in accounts}
            self._router.load(state.get("routes", {}), incidents)
            self._standing.load(state.get("standing", []), incidents)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            log.error("saved routing is unreadable; discarded: %r", error)  # noqa: TRY400
        self._router.replace(self._settings.routes, self._known())
        return state

    def start(self) -> None:
        """Begin to send."""
        self._workers.start()

    def commit(self, notifications: list[Notification], incidents: Mapping[str, object]) -> None:
        """Write notifications to disk together with the state that made them."""
        notifications = [self._router.addressed(each) for each in notifications]
        led = {id(each): self._router.webhooks(each) for each in notifications}
        state = {**incidents, "routes": self._router.dump()}
        if self._forgetful():
            for notification in notifications:
                self._standing.note(notification)
            state["standing"] = self._standing.dump()
        self.outbox.commit(notifications, state, lambda each: led[id(each)])

    def keep_house(self, now: Moment) -> None:
        """Start senders that could not be started; once a minute, resend open alerts."""
        self._workers.retry()
        if now.mono < self._next_stand:
            return
        self._next_stand = now.mono + STAND_INTERVAL
        for name in self._forgetful():
            goes_there = [
                each for each in self._standing.all() if self._router.goes_to(each.incident, name)
            ]
            self._workers.stand(name, goes_there)

    def apply(self, settings: Settings) -> None:
        """Use changed settings from now on; every webhook is tried at once."""
        self._settings = settings
        self._router.replace(settings.routes, self._known())
        self._workers.replace(self._recipients())

    def is_stuck(self, now: float) -> bool:
        """Whether any sender has been stuck for too long: for the watchdog."""
        return self._workers.is_stuck(now)

    def stop(self, drain_seconds: float) -> None:
        """Send due messages for at most that long, and close the outbox."""
        self._workers.stop(drain_seconds)
        self.outbox.close()

    def _known(self) -> set[str]:
        return {DEFAULT, *(webhook.name for webhook in self._settings.webhooks)}

    def _forgetful(self) -> list[str]:
        return [each.name for each in self._settings.webhooks if RECEIVERS[each.type].FORGETS]

    def _recipients(self) -> list[Recipient]:
        url = self._settings.slack_url
        if url is None:  # messages without a webhook are logged
            render = self._addressed(RECEIVERS[DEFAULT_TYPE].renderer())
            default = Recipient(DEFAULT, None, None, render)
        else:
            default = self._recipient(Webhook(DEFAULT, DEFAULT_TYPE, url))
        return [default, *map(self._recipient, self._settings.webhooks)]

    def _recipient(self, webhook: Webhook) -> Recipient:
        receiver = RECEIVERS[webhook.type]
        channel = HttpChannel(webhook.url, receiver.judge)
        return Recipient(webhook.name, webhook, channel, self._addressed(receiver.renderer()))

    def _addressed(self, renderer: Renderer) -> Render:
        """Return a `render` for a sender, with the host's name and mentions as they are then."""

        def render(notification: Notification, delayed_by: float | None) -> Payload:
            mention = self._settings.alert_mention or ""
            host = self._settings.host_name
            envelope = Envelope(host, delayed_by, mention, time.time())
            return renderer(notification, envelope)

        return render
