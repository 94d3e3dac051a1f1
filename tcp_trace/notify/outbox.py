"""The outbox: a notification is on disk before it is tried, and until it is sent.

The pending notifications live in memory (`queue.py`, bounded) and are mirrored to SQLite
(`store.py`); every change is committed before the method that made it returns. So a disk that
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

import contextlib
import json
import logging
import os
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

from tcp_trace.connects.events import Moment
from tcp_trace.incidents.notification import Notification
from tcp_trace.notify.disk import Disk
from tcp_trace.notify.queue import Dropped, Limits, Pending, Queue
from tcp_trace.notify.routing import DEFAULT
from tcp_trace.notify.store import Row, Store, StoreError, TakenError, claim, move_aside

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from pathlib import Path

    Lead = Callable[[Notification], Iterable[str]]

log = logging.getLogger(__name__)

RETRY_INTERVAL = 5.0
"""Seconds between two tries of a disk that failed."""


def present() -> Moment:
    """Return this moment by the system's clocks."""
    return Moment(time.monotonic(), time.time())


class Outbox:
    """Pending notifications, and the incidents' state, in one durable place.

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
        self._path = path
        self._waits = waits
        self._claim: int | None = None
        self._taken = False
        self._clock = clock
        self._queue = Queue(limits or Limits())
        self._lock = threading.RLock()
        self._drops: Counter[str] = Counter()
        self._listeners: list[Callable[[], None]] = []
        self._known: frozenset[str] | None = None
        self._disk = Disk()
        self._store: Store | None = None
        self._loaded = False
        self._retry_at = 0.0
        self._degraded: str | None = None
        self._old_state: dict[str, object] | None = None
        self._new_state: str | None = None
        self._tell(self._save())

    @property
    def degraded(self) -> str | None:
        """Why what is pending is in memory only; None while it is on disk (or meant to be not)."""
        return self._degraded

    @property
    def taken(self) -> bool:
        """Whether another process has the file, so that nothing is to be sent here."""
        return self._taken

    @property
    def drops(self) -> dict[str, int]:
        """How many notifications will never be sent, by reason."""
        with self._lock:
            return dict(self._drops)

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
            state, self._old_state = self._old_state, None
            return state

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
            if encoded is not None:
                self._new_state = encoded
            dropped += self._save()
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
            self._queue.remove(row)
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
            self._retry_at = 0.0
            dropped = self._save()
            self._path = None
            self._close_store()
            claimed, self._claim = self._claim, None
            if claimed is not None:
                with contextlib.suppress(StoreError):  # it ends with the process
                    self._disk.call(lambda: os.close(claimed))
        self._tell(dropped)

    def _save(self) -> list[Dropped]:
        """Bring the disk up to date; return what did not fit into memory on loading."""
        if self._path is None:
            self._queue.saved()
            self._new_state = None
            return []
        changes = self._queue.changes()
        if self._store and not any((changes.written, changes.deleted, self._new_state)):
            return []
        now = self._clock()
        if self._degraded and now.mono < self._retry_at:
            return []
        try:
            return self._write(self._path, now)
        except StoreError as error:
            path = self._path
            fail = self._give_way if isinstance(error, TakenError) else self._fail
            fail(str(error), now)
            return self._start_over(path, now) if error.spoilt else []

    def _write(self, path: Path, now: Moment) -> list[Dropped]:
        """Write the changes; everything, where the file was not at hand before."""
        dropped: list[Dropped] = []
        if self._claim is None:
            self._claim = self._disk.call(lambda: claim(path), os.close)
        store, all_of_it = self._store, self._store is None
        if store is None:
            self._store = store = self._disk.call(lambda: Store(path), Store.close)
            dropped = self._load(store, now)
        written, deleted = self._queue.changes()
        rows = list(map(_to_row, self._queue.rows() if all_of_it else written))
        state = self._new_state
        self._disk.call(lambda: store.save(rows, deleted, state, all_of_it=all_of_it))
        self._queue.saved()
        self._new_state = None
        if self._taken:
            log.info("the other instance has ended: this one sends messages now")
        elif self._degraded:
            log.info("the outbox is on disk again", extra={"pending": len(self._queue)})
        self._taken = False
        self._degraded = None
        return dropped

    def _load(self, store: Store, now: Moment) -> list[Dropped]:
        """Take in what an earlier process left, once: from then on memory knows better."""
        if self._loaded:
            return []
        rows, state = self._disk.call(store.load)
        pending = [found for row in rows if (found := self._to_pending(row, now)) is not None]
        dropped = self._queue.adopt(pending) + self._queue.expire(now)
        self._old_state = state
        self._loaded = True
        return dropped

    def _to_pending(self, row: Row, now: Moment) -> Pending | None:
        """Return a row as it is kept in memory, None (counted) for what cannot be read."""
        try:
            notification = Notification.from_dict(json.loads(row.body))
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            self._drops["unreadable"] += 1
            log.error(  # noqa: TRY400 - a traceback would show nothing but this line
                "dropped a notification that cannot be read from the outbox",
                extra={"reason": "unreadable", "error": str(error)},
            )
            return None
        created, updated = (
            Moment(now.mono - max(0.0, now.wall - wall), wall)
            for wall in (row.created, row.updated)
        )
        return Pending(row.seq, notification, row.body, created, updated, row.webhook)

    def _fail(self, reason: str, now: Moment) -> None:
        """Go on from memory; the file is opened anew at the next try."""
        self._close_store()
        self._retry_at = now.mono + RETRY_INTERVAL
        if self._degraded is None:
            log.error(
                "the outbox cannot be written: notifications are kept in memory until it can",
                extra={"path": str(self._path), "reason": reason},
            )
        self._degraded = reason

    def _give_way(self, reason: str, now: Moment) -> None:
        """Leave the file to the process that has it; see `waits`."""
        self._retry_at = now.mono + RETRY_INTERVAL
        if not self._taken:
            log.error(
                "another instance has STATE_DIR: this one watches and logs, and sends nothing",
                extra={"path": str(self._path)},
            )
        self._taken = True
        self._degraded = reason
        if not self._waits:
            self._path = None

    def _start_over(self, path: Path, now: Moment) -> list[Dropped]:
        """Move a spoilt file aside and write a new one."""
        try:
            aside = self._disk.call(lambda: move_aside(path, now.wall))
            log.error("a spoilt outbox was moved aside", extra={"path": str(aside)})
            return self._write(path, now)
        except StoreError as error:
            self._fail(str(error), now)
            return []

    def _close_store(self) -> None:
        store, self._store = self._store, None
        if store is not None:
            self._disk.later(lambda: _close(store))

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


def _close(store: Store) -> None:
    try:
        store.close()
    except StoreError as error:
        log.warning("closing the outbox failed", extra={"reason": str(error)})


def _to_row(row: Pending) -> Row:
    return Row(row.seq, row.body, row.created.wall, row.updated.wall, row.webhook)
