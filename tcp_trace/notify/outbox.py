"""The outbox: a notification is on disk before it is tried, and until it is sent.

The pending notifications live in memory (`queue.py`, bounded) and are mirrored to SQLite
(`mirror.py`); every change is committed before the method that made it returns. So a disk that
fails costs durability only: the outbox goes on from memory, says `degraded`, tries the disk again
every few seconds, and then writes all that is pending. What this can cost:

    kill -9        nothing committed is lost; what was being sent comes twice
    disk full      what was put since is lost if the process ends before the disk is back
    disk stands    likewise; nobody waits for it for longer than `PATIENCE`
    spoilt file    it is moved aside, with what an earlier process had left in it
    clock jump     messages of an earlier process may be taken for too old, or say a wrong delay

Only one process has the file, for as long as it runs. Another one goes on in memory, and says that
it is `taken`: its senders send nothing.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

from tcp_trace.connects.events import Moment
from tcp_trace.notify.mirror import Mirror
from tcp_trace.notify.queue import Dropped, Limits, Queue
from tcp_trace.notify.routing import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from pathlib import Path

    from tcp_trace.incidents.notification import Notification
    from tcp_trace.notify.queue import Pending

    Lead = Callable[[Notification], Iterable[str]]

log = logging.getLogger(__name__)


def present() -> Moment:
    """Return this moment by the system's clocks."""
    return Moment(time.monotonic(), time.time())


class Outbox:
    """Pending notifications, the incidents' state, and the memory, in one durable place.

    `path` is the database's file, None for memory only. Where another process has it, `waits` says
    whether to take it once that one has ended. It is written by the poll loop and read
    by the senders, one for each webhook, under a lock that is never held for longer than one
    commit, or `PATIENCE` where the disk does not answer. No method raises for what the disk does.
    """

    def __init__(
        self,
        path: Path | None,
        limits: Limits | None = None,
        clock: Callable[[], Moment] = present,
        *,
        waits: bool = True,
    ) -> None:
        self._clock = clock
        self._queue = Queue(limits or Limits())
        self._mirror = Mirror(path, self._queue, waits=waits)
        self._lock = threading.RLock()
        self._drops: Counter[str] = Counter()
        self._listeners: list[Callable[[], None]] = []
        self._known: frozenset[str] | None = None
        self._tell(self._save())

    @property
    def degraded(self) -> str | None:
        """Why what is pending is in memory only; None while it is on disk (or meant to be not)."""
        return self._mirror.degraded

    @property
    def taken(self) -> bool:
        """Whether another process has the file, so that nothing is to be sent here."""
        return self._mirror.taken

    @property
    def drops(self) -> dict[str, int]:
        """How many notifications will never be sent, by reason."""
        with self._lock:
            unreadable = self._mirror.unreadable
            return {**self._drops, **({"unreadable": unreadable} if unreadable else {})}

    @property
    def pending(self) -> int:
        """How many notifications wait to be sent, with the one being sent."""
        with self._lock:
            return len(self._queue)

    def pending_for(self, webhook: str) -> int:
        """How many of them are for this webhook."""
        with self._lock:
            return self._queue.count(webhook)

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever something was put."""
        self._listeners = [*self._listeners, listener]

    def unlisten(self, listener: Callable[[], None]) -> None:
        """Call `listener` no more."""
        self._listeners = [each for each in self._listeners if each != listener]

    def serve(self, webhooks: Collection[str]) -> None:
        """Say which webhooks there are: what waits for any other goes to the default one."""
        self._known = frozenset(webhooks)
        self.tend()

    def load_state(self) -> dict[str, object] | None:
        """Return the state that an earlier process committed last; None where there is none."""
        with self._lock:
            state, self._mirror.loaded = self._mirror.loaded, None
            return state

    def load_memory(self) -> str | None:
        """Return the memory that an earlier process had last; None where there is none."""
        with self._lock:
            memory, self._mirror.loaded_memory = self._mirror.loaded_memory, None
            return memory

    def remember(self, memory: str) -> None:
        """Let the memory be written with the next commit, or by a sender, whichever comes first."""
        with self._lock:
            self._mirror.remember(memory)

    def commit(
        self,
        notifications: Iterable[Notification],
        state: Mapping[str, object] | None = None,
        lead: Lead = lambda _: (DEFAULT,),
    ) -> None:
        """Commit notifications and the state that promised them in one transaction.

        After kill -9 either both are there or neither: nothing is told twice or forgotten. `lead`
        names the webhooks that a notification is for.
        """
        encoded = None if state is None else json.dumps(state, separators=(",", ":"))
        dropped: list[Dropped] = []
        with self._lock:
            now = self._clock()
            for notification in notifications:
                for webhook in lead(notification):
                    dropped += self._queue.add(notification, now, webhook)
            dropped += self._save(encoded)
        self._tell(dropped)
        for listener in self._listeners:
            listener()

    def take(self, webhook: str = DEFAULT) -> Pending | None:
        """Return what a webhook gets next, or None; give it to one of the `mark` methods after."""
        with self._lock:
            row = self._queue.head(webhook)
            if row is not None:
                row.in_flight = True
                row.attempts += 1
            return row

    def mark_sent(self, row: Pending) -> None:
        """Forget a notification: the other side has it."""
        with self._lock:
            self._queue.deliver(row)
            dropped = self._save()
        self._tell(dropped)

    def mark_retry(self, row: Pending) -> None:
        """Keep a notification for another try; meanwhile newer ones may merge with it."""
        with self._lock:
            self._queue.release(row)
            dropped = self._save()
        self._tell(dropped)

    def mark_rejected(self, row: Pending, reason: str) -> None:
        """Drop a notification, counted under `reason` (a short word)."""
        with self._lock:
            self._queue.remove(row)
            dropped = [Dropped(row.notification, reason), *self._save()]
        self._tell(dropped)

    def tend(self) -> None:
        """Do what is due without any notification: expire old ones, try a failed disk again."""
        with self._lock:
            dropped = self._queue.expire(self._clock())
            if self._known is not None:
                self._queue.redirect(self._known)
            dropped += self._save()
        self._tell(dropped)

    def close(self) -> None:
        """Write what was not written yet and close the file; the outbox goes on in memory."""
        with self._lock:
            dropped = self._mirror.close(self._clock())
        self._tell(dropped)

    def _save(self, state: str | None = None) -> list[Dropped]:
        return self._mirror.save(self._clock(), state)

    def _tell(self, dropped: list[Dropped]) -> None:
        """Count and log, outside the lock, what will never be sent."""
        for notification, reason in dropped:
            with self._lock:
                self._drops[reason] += 1
            log.error(
                "dropped a notification",
                extra={
                    "notification": notification.id,
                    "incident": notification.incident,
                    "reason": reason,
                },
            )
