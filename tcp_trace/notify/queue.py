"""The pending notifications in memory: their order, their merging, their bounds. No I/O.

Rules, for each webhook by itself:

    one incident's messages leave in the order in which they were put
    a message that is not being sent takes in the next one of its incident, where `merge` can
    the oldest message goes first. One that fails BLAMED_AFTER times while no other does is to
    blame itself: it goes behind the others, so that a message the other side chokes on does not
    hold up all. Where others fail, too, the webhook is away, nobody is to blame, and when it is
    back the messages leave in their order

And for all together: over a bound the oldest goes, unless it is being sent.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from tcp_trace.incidents.merging import merge
from tcp_trace.notify.routing import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from tcp_trace.connects.events import Moment
    from tcp_trace.incidents.notification import Notification


BLAMED_AFTER = 3
"""Tries."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds of what may be pending: rows, bytes of JSON, and seconds since the last change."""

    rows: int = 5_000
    size: int = 4 * 1024 * 1024
    age: float = 3 * 86_400.0


@dataclass(slots=True, eq=False)
class Pending:
    """A notification that was not sent yet, to the webhook of that name.

    `created` is when its first part was put, `updated` when its last one was; `body` is its JSON,
    `attempts` how often it was tried since the service started, `failed` how often since another
    one failed or the webhook came back.
    """

    seq: int
    notification: Notification
    body: str
    created: Moment
    updated: Moment
    webhook: str = DEFAULT
    attempts: int = 0
    failed: int = 0
    in_flight: bool = False

    @property
    def line(self) -> tuple[str, str]:
        """In which line this waits: that of its incident at its webhook."""
        return self.webhook, self.notification.incident


class Dropped(NamedTuple):
    """A notification that will not be sent, and why (a short word for a counter)."""

    notification: Notification
    reason: str


class Changes(NamedTuple):
    """What a store lacks: rows to write, and numbers of rows to delete."""

    written: list[Pending]
    deleted: list[int]


class Queue:
    """The pending notifications, within `limits`."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._rows: dict[int, Pending] = {}
        self._lines: dict[tuple[str, str], list[Pending]] = {}
        self._size = 0
        self._last_seq = 0
        self._written: set[int] = set()
        self._deleted: set[int] = set()
        self._away: set[str] = set()  # webhooks

    def __len__(self) -> int:
        return len(self._rows)

    def rows(self) -> list[Pending]:
        """Return all rows, oldest first."""
        return list(self._rows.values())

    def count(self, webhook: str) -> int:
        """Return how many wait for one webhook."""
        return sum(len(rows) for line, rows in self._lines.items() if line[0] == webhook)

    def add(self, notification: Notification, now: Moment, webhook: str = DEFAULT) -> list[Dropped]:
        """Put a notification last; return what its coming pushed out."""
        body = _encode(notification)
        if len(body) > self._limits.size:  # it would push out all others, and then go itself
            return [Dropped(notification, "bytes")]
        self._last_seq += 1
        row = Pending(self._last_seq, notification, body, now, now, webhook)
        self._insert(row)
        rows = self._lines[row.line]
        if len(rows) > 1:
            self._merge(rows[-2], row)
        return self._enforce_bounds()

    def adopt(self, loaded: Iterable[Pending]) -> list[Dropped]:
        """Take in what a store held from before: older than everything here."""
        own, loaded = self.rows(), sorted(loaded, key=lambda row: row.seq)
        shift = loaded[-1].seq if loaded else 0
        self._rows.clear()
        self._lines.clear()
        self._size = 0
        self.saved()  # what was noted by its old number; every row is noted anew
        for row in own:
            row.seq += shift
        for row in [*loaded, *own]:
            self._insert(row)
        self._last_seq += shift
        return self._enforce_bounds()

    def head(self, webhook: str = DEFAULT) -> Pending | None:
        """Return the row to send next to this webhook, or None."""
        heads = (rows[0] for line, rows in self._lines.items() if line[0] == webhook)
        free = (row for row in heads if not row.in_flight)
        return min(free, key=lambda row: (row.failed // BLAMED_AFTER, row.seq), default=None)

    def release(self, row: Pending) -> None:
        """Take back a row that was being sent and was not: newer ones may merge with it now."""
        row.in_flight = False
        row.failed += 1
        if any(other.failed for other in self._others(row)):
            self._away.add(row.webhook)
            self._forgive(row.webhook)
        rows = self._lines[row.line]
        while len(rows) > 1 and self._merge(rows[0], rows[1]):
            pass

    def deliver(self, row: Pending) -> None:
        """Forget a row that was sent."""
        self.remove(row)
        if row.webhook in self._away:
            self._away.remove(row.webhook)
            self._forgive(row.webhook)

    def redirect(self, known: Collection[str]) -> None:
        """Let what waits for a webhook that is not known any more go to the default one."""
        for row in list(self._rows.values()):
            if row.webhook not in known and not row.in_flight:
                self._leave_line(row)
                row.webhook = DEFAULT
                self._lines.setdefault(row.line, []).append(row)
                self._lines[row.line].sort(key=lambda each: each.seq)
                self._written.add(row.seq)

    def remove(self, row: Pending) -> None:
        """Forget a row."""
        del self._rows[row.seq]
        self._leave_line(row)
        self._size -= len(row.body)
        self._written.discard(row.seq)
        self._deleted.add(row.seq)

    def expire(self, now: Moment) -> list[Dropped]:
        """Remove the rows that were not changed for too long; return them."""
        limit = now.mono - self._limits.age
        old = [row for row in self._rows.values() if row.updated.mono < limit and not row.in_flight]
        return [self._drop(row, "age") for row in old]

    def changes(self) -> Changes:
        """Return what changed since `saved`."""
        return Changes([self._rows[seq] for seq in sorted(self._written)], sorted(self._deleted))

    def saved(self) -> None:
        """Note that a store has all of it."""
        self._written.clear()
        self._deleted.clear()

    def _others(self, row: Pending) -> list[Pending]:
        """Return the other rows for the same webhook."""
        rows = self._rows.values()
        return [each for each in rows if each.webhook == row.webhook and each is not row]

    def _forgive(self, webhook: str) -> None:
        for row in self._rows.values():
            if row.webhook == webhook:
                row.failed = 0

    def _leave_line(self, row: Pending) -> None:
        self._lines[row.line].remove(row)
        if not self._lines[row.line]:
            del self._lines[row.line]

    def _insert(self, row: Pending) -> None:
        self._rows[row.seq] = row
        self._lines.setdefault(row.line, []).append(row)
        self._size += len(row.body)
        self._written.add(row.seq)

    def _merge(self, older: Pending, newer: Pending) -> bool:
        """Put `newer` into `older`, if both are free to and say one thing together."""
        if older.in_flight or newer.in_flight:
            return False
        merged = merge(older.notification, newer.notification)
        if merged is None:
            return False
        self.remove(newer)
        self._size -= len(older.body)
        older.notification, older.body, older.updated = merged, _encode(merged), newer.updated
        self._size += len(older.body)
        self._written.add(older.seq)
        return True

    def _enforce_bounds(self) -> list[Dropped]:
        dropped = []
        while reason := self._exceeded():
            oldest = next((row for row in self._rows.values() if not row.in_flight), None)
            if oldest is None:
                break
            dropped.append(self._drop(oldest, reason))
        return dropped

    def _exceeded(self) -> str | None:
        if len(self._rows) > self._limits.rows:
            return "rows"
        return "bytes" if self._size > self._limits.size else None

    def _drop(self, row: Pending, reason: str) -> Dropped:
        self.remove(row)
        return Dropped(row.notification, reason)


def _encode(notification: Notification) -> str:
    """Return ASCII JSON: its length is its size in bytes, and lone surrogates survive."""
    return json.dumps(notification.to_dict(), separators=(",", ":"))
