"""The outbox's disk: what is pending in memory is mirrored there, whatever the disk does.

No method raises for that. A disk that fails costs durability only: the queue goes on from memory,
the disk is tried again every few seconds, and then all that is pending is written.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from typing import TYPE_CHECKING

from tcp_trace.connects.events import Moment
from tcp_trace.incidents.notification import Notification
from tcp_trace.notify.disk import Disk
from tcp_trace.notify.queue import Dropped, Pending, Queue
from tcp_trace.notify.store import Row, Store, StoreError, TakenError, claim, move_aside

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

RETRY_INTERVAL = 5.0
"""Seconds between two tries of a disk that failed."""


class Mirror:
    """Keeps `queue`, a state and a memory in the database at `path`; None for this process only.

    Where another process has the file, `waits` says whether to take it once that one has ended.
    `degraded` says why what is pending is in memory only, `taken` that another process has the
    file, `unreadable` how many rows of an earlier process could not be read. `loaded` and
    `loaded_memory` are what an earlier process saved last. It belongs to whoever holds the outbox's
    lock.
    """

    def __init__(self, path: Path | None, queue: Queue, *, waits: bool) -> None:
        self.degraded: str | None = None
        self.taken = False
        self.unreadable = 0
        self.loaded: dict[str, object] | None = None
        self.loaded_memory: str | None = None
        self.retry_at = 0.0
        self._path = path
        self._queue = queue
        self._waits = waits
        self._disk = Disk()
        self._claim: int | None = None
        self._store: Store | None = None
        self._is_loaded = False
        self._state: str | None = None
        self._memory: str | None = None

    def save(self, now: Moment, state: str | None = None) -> list[Dropped]:
        """Bring the disk up to date; return what did not fit into memory on loading.

        `state` is JSON that takes the place of the one that is saved, None to leave that.
        """
        self._state = state or self._state
        if self._path is None:
            self._queue.saved()
            self._state = self._memory = None
            return []
        changes = self._queue.changes()
        if self._store and not any((*changes, self._state, self._memory)):
            return []
        if self.degraded and now.mono < self.retry_at:
            return []
        try:
            return self._write(self._path, now)
        except StoreError as error:
            path = self._path
            fail = self._give_way if isinstance(error, TakenError) else self._fail
            fail(str(error), now)
            return self._start_over(path, now) if error.spoilt else []

    def remember(self, memory: str) -> None:
        """Take the memory, to be written with what is saved next; where that fails, not again."""
        self._memory = memory

    def close(self, now: Moment) -> list[Dropped]:
        """Write what was not written yet, close the file, and go on in memory."""
        self.retry_at = 0.0
        dropped = self.save(now)
        self._path = None
        self._close_store()
        claimed, self._claim = self._claim, None
        if claimed is not None:
            with contextlib.suppress(StoreError):  # it ends with the process
                self._disk.call(lambda: os.close(claimed))
        return dropped

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
        state = self._state
        self._disk.call(lambda: store.save(rows, deleted, state, all_of_it=all_of_it))
        self._queue.saved()
        self._state = None
        memory, self._memory = self._memory, None
        if memory is not None:
            self._disk.call(lambda: store.remember(memory))
        if self.taken:
            log.info("the other instance has ended: this one sends messages now")
        elif self.degraded:
            log.info("the outbox is on disk again", extra={"pending": len(self._queue)})
        self.taken = False
        self.degraded = None
        return dropped

    def _load(self, store: Store, now: Moment) -> list[Dropped]:
        """Take in what an earlier process left, once: from then on memory knows better."""
        if self._is_loaded:
            return []
        rows, self.loaded, self.loaded_memory = self._disk.call(store.load)
        pending = [found for row in rows if (found := self._to_pending(row, now)) is not None]
        dropped = self._queue.adopt(pending) + self._queue.expire(now)
        self._is_loaded = True
        return dropped

    def _to_pending(self, row: Row, now: Moment) -> Pending | None:
        """Return a row as it is kept in memory, None (counted) for what cannot be read."""
        try:
            notification = Notification.from_dict(json.loads(row.body))
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            self.unreadable += 1
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
        self.retry_at = now.mono + RETRY_INTERVAL
        if self.degraded is None:
            log.error(
                "the outbox cannot be written: notifications are kept in memory until it can",
                extra={"path": str(self._path), "reason": reason},
            )
        self.degraded = reason

    def _give_way(self, reason: str, now: Moment) -> None:
        """Leave the file to the process that has it; see `waits`."""
        self.retry_at = now.mono + RETRY_INTERVAL
        if not self.taken:
            log.error(
                "another instance has STATE_DIR: this one watches and logs, and sends nothing",
                extra={"path": str(self._path)},
            )
        self.taken = True
        self.degraded = reason
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


def _close(store: Store) -> None:
    try:
        store.close()
    except StoreError as error:
        log.warning("closing the outbox failed", extra={"reason": str(error)})


def _to_row(row: Pending) -> Row:
    return Row(row.seq, row.body, row.created.wall, row.updated.wall, row.webhook)
