"""A sender: one thread that brings what is pending to one webhook, and no faster than it likes.

Nothing it does holds up the poll loop. It sends at most about one message a second, waits longer
after each failure in a row, honours Retry-After, and leaves a dead webhook alone for a quarter of
an hour, or until `revive` or `replace`.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tcp_trace.notify.channel import Rejected, Retry, Sent
from tcp_trace.notify.outbox import present
from tcp_trace.notify.pacing import Gate, Pacing
from tcp_trace.notify.routing import DEFAULT
from tcp_trace.notify.statistics import Statistics
from tcp_trace.threads import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tcp_trace.connects.events import Moment
    from tcp_trace.incidents.notification import Notification
    from tcp_trace.notify.channel import Channel, Fate, Payload
    from tcp_trace.notify.outbox import Outbox
    from tcp_trace.notify.queue import Pending

    Render = Callable[[Notification, float | None], Payload]

log = logging.getLogger(__name__)

_STUCK_MARGIN = 10.0
# A message of so many alerts is some 200 kB.
_BATCH = 100


class Sender:
    """Sends what `outbox` has for `webhook` by `channel`.

    Without one, and while another process has the outbox, it is only logged. `render` makes a
    payload of a notification and of how late it comes (seconds, None for on time).
    """

    def __init__(  # noqa: PLR0913 - a thread with all that it needs
        self,
        outbox: Outbox,
        channel: Channel | None,
        render: Render,
        *,
        webhook: str = DEFAULT,
        pacing: Pacing | None = None,
        clock: Callable[[], Moment] = present,
    ) -> None:
        self._outbox = outbox
        self._channel = channel
        self._render = render
        self._webhook = webhook
        self._standing: list[Notification] = []
        self._pacing = pacing or Pacing()
        self._clock = clock
        now = clock().mono
        self._gate = Gate(self._pacing, now)
        self._statistics = Statistics()
        self._progress = now  # when the loop last came round
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._drain_until = 0.0
        self._worker = Worker(self._run, f"sender of the webhook {webhook}")

    @property
    def statistics(self) -> Statistics:
        """What was done so far."""
        return self._statistics

    def is_stuck(self, now: float) -> bool:
        """Whether the loop has stood for longer than any one send may take: for the watchdog.

        Without a thread it does not stand: a restart would bring none.
        """
        if not self._worker.started:
            return False
        channel = self._channel
        deadline = channel.deadline if channel else 0.0
        return now - self._progress > self._pacing.idle + deadline + _STUCK_MARGIN

    def start(self) -> None:
        """Start the thread."""
        self._outbox.listen(self._wake.set)
        self._worker.start()

    def retry(self) -> None:
        """Start the thread if the system had no room for it."""
        self._worker.retry()

    def finish(self, drain_seconds: float) -> None:
        """Let the thread end once it has tried what is due, for at most that long.

        A send that takes longer is left behind; its notification stays in the outbox.
        """
        self._drain_until = self._clock().mono + drain_seconds
        self._standing = []
        self._stopping.set()
        self._wake.set()
        self._outbox.unlisten(self._wake.set)

    def join(self, seconds: float) -> None:
        """Wait so long at most for the thread's end."""
        self._worker.join(seconds)

    def stand(self, notifications: Iterable[Notification]) -> None:
        """Resend these when nothing is pending: they are for a webhook that forgets.

        They replace those given before; one that cannot be sent is dropped. For renders of lists.
        """
        with self._lock:
            self._standing = list(notifications)
        self._wake.set()

    def revive(self) -> None:
        """Try now, whatever the webhook said before."""
        self._gate.open(self._clock().mono)
        with self._lock:
            self._statistics = replace(self._statistics, dead=False)
        self._wake.set()

    def replace(self, channel: Channel | None, render: Render | None = None) -> None:
        """Send by another channel (and render) from now on, and try it at once."""
        self._channel, self._render = channel, render or self._render
        self.revive()

    def step(self) -> float:
        """Do the one thing that is due, if any; return the seconds until the next one may be.

        The thread calls this in a loop. It waits for the network, never for time.
        """
        self._outbox.tend()
        now = self._clock()
        channel = None if self._outbox.taken else self._channel
        if channel is None:
            self._log_pending()
            return self._pacing.idle
        wait = self._gate.wait(now.mono)
        if wait > 0:
            waiting = self._standing or self._outbox.pending_for(self._webhook)
            return wait if waiting else self._pacing.idle
        row = self._outbox.take(self._webhook)
        if row is None:
            return self._send_standing(channel, now)
        self._send(row, channel, now)
        return 0.0

    def _run(self) -> None:
        while True:
            self._progress = self._clock().mono
            self._wake.clear()
            # Whose time is up takes nothing more: it may be for the default webhook now.
            if self._stopping.is_set() and self._progress > self._drain_until:
                return
            wait = self.step()
            now = self._clock().mono
            drained = not self._outbox.pending_for(self._webhook) or now + wait > self._drain_until
            if self._stopping.is_set() and drained:
                return
            self._wake.wait(min(wait, self._pacing.idle))

    def _log_pending(self) -> None:
        """Without a webhook, log what is pending and drop it."""
        while (row := self._outbox.take(self._webhook)) is not None:
            payload = self._payload(row, None)
            if payload is not None:
                text = payload.get("text") if isinstance(payload, dict) else None
                log.warning("notification", extra=self._extra(row) | {"text": text})
                self._outbox.mark_sent(row)
                self._count("logged")

    def _payload(self, row: Pending, delayed_by: float | None) -> Payload | None:
        """Return the payload, or drop a notification that cannot be made into one."""
        payload = self._rendered(row.notification, delayed_by)
        if payload is None:
            self._outbox.mark_rejected(row, "unrenderable")
        return payload

    def _rendered(self, notification: Notification, delayed_by: float | None) -> Payload | None:
        """Return the payload, None (counted) for what cannot be made into one.

        It came from the disk, perhaps by another version: it must not end the thread, and again
        after each restart.
        """
        try:
            return self._render(notification, delayed_by)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told and counted
            self._count("rejected", last_error=f"unrenderable: {type(error).__name__}")
            return None

    def _send(self, row: Pending, channel: Channel, now: Moment) -> None:
        delay = now.mono - row.created.mono
        payload = self._payload(row, delay if delay > self._pacing.delay_shown else None)
        if payload is None:
            return
        era = self._gate.enter(now.mono)
        fate = channel.send(payload)
        match fate:
            case Sent():
                self._on_sent(row, delay)
            case Retry():
                self._on_retry(row, fate, era)
            case Rejected(dead=False):
                self._on_rejected(row, fate)
            case Rejected():
                self._on_dead(row, fate, era)

    def _send_standing(self, channel: Channel, now: Moment) -> float:
        """Resend open alerts, some at a time; return the seconds until the next may be due."""
        with self._lock:
            batch, self._standing = self._standing[:_BATCH], self._standing[_BATCH:]
        rendered = [self._rendered(each, None) for each in batch]
        payload = [alert for each in rendered if isinstance(each, list) for alert in each]
        if not payload:
            return self._pacing.idle
        era = self._gate.enter(now.mono)
        self._on_standing(channel.send(payload), len(batch), era)
        return 0.0

    def _on_standing(self, fate: Fate, count: int, era: int) -> None:
        match fate:
            case Sent():
                self._gate.answered()
                self._count("resent", count, dead=False)
            case Retry(after, reason):
                self._count("retried", last_error=reason)
                self._gate.back_off(after, self._clock().mono, era)
            case Rejected(reason, dead):
                extra = {"webhook": self._webhook, "reason": reason}
                log.warning("open alerts could not be resent", extra=extra)
                self._count("rejected", last_error=reason)
                pause = self._pacing.dead_pause if dead else 0.0
                self._gate.close(pause, self._clock().mono, era)

    def _on_sent(self, row: Pending, delay: float) -> None:
        self._outbox.mark_sent(row)
        log.info("notification sent", extra=self._extra(row) | {"delay": round(delay, 3)})
        if self._statistics.dead:
            log.info("the webhook takes messages again", extra={"webhook": self._webhook})
        self._gate.answered()
        self._count("sent", dead=False)

    def _on_retry(self, row: Pending, fate: Retry, era: int) -> None:
        self._outbox.mark_retry(row)
        pause = self._gate.back_off(fate.after, self._clock().mono, era)
        log.warning(
            "notification not sent yet",
            extra=self._extra(row) | {"reason": fate.reason, "retry_in": round(pause, 1)},
        )
        self._count("retried", last_error=fate.reason)

    def _on_rejected(self, row: Pending, fate: Rejected) -> None:
        self._outbox.mark_rejected(row, "rejected")
        log.error("notification rejected", extra=self._extra(row) | {"reason": fate.reason})
        self._gate.answered()
        self._count("rejected", last_error=fate.reason, dead=False)

    def _on_dead(self, row: Pending, fate: Rejected, era: int) -> None:
        self._outbox.mark_retry(row)
        pause = self._pacing.dead_pause
        extra = self._extra(row) | {"reason": fate.reason, "retry_in": pause}
        if self._statistics.dead:
            log.info("the webhook still takes no messages", extra=extra)
        else:
            where = "SLACK_URL" if self._webhook == DEFAULT else "it in ROUTES_FILE"
            log.error(
                "the webhook takes no messages: correct %s and reload the service",
                where,
                extra=extra,
            )
        is_dead = self._gate.is_current(era)
        self._count("retried", last_error=fate.reason, dead=is_dead)
        self._gate.close(pause, self._clock().mono, era)

    def _count(self, name: str, by: int = 1, **changes: Any) -> None:  # noqa: ANN401 - fields of Statistics
        with self._lock:
            changes[name] = getattr(self._statistics, name) + by
            if "last_error" in changes:
                changes["last_error_at"] = self._clock().wall
            self._statistics = replace(self._statistics, **changes)

    def _extra(self, row: Pending) -> dict[str, object]:
        """Return the fields of a log line about a notification."""
        notification = row.notification
        return {
            "webhook": self._webhook,
            "notification": notification.id,
            "incident": notification.incident,
            "kind": notification.kind.value,
            "attempts": row.attempts,
        }
