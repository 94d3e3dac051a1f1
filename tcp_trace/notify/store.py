"""The SQLite file behind the outbox: what must outlive this process.

WAL with `synchronous=FULL`: a commit survives a loss of power. All errors come out as
`StoreError`; the outbox decides what they cost.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from tcp_trace.notify.routing import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

NAME = "outbox.db"
"""The file's name in STATE_DIR."""

SCHEMA_VERSION = 2
_SCHEMA = """
CREATE TABLE notification (
    seq INTEGER PRIMARY KEY,  -- the order in which they were put
    body TEXT NOT NULL,       -- the notification's own JSON, which has a version of its own
    created REAL NOT NULL,    -- seconds since the epoch: when its first part was put
    updated REAL NOT NULL     -- and its last one
) STRICT;
CREATE TABLE state (
    name TEXT PRIMARY KEY,
    body TEXT NOT NULL
) STRICT, WITHOUT ROWID;
"""
STATE_QUERY = "SELECT body FROM state WHERE name = 'incidents'"
# As bytes: text that is none costs the memory, and not the outbox.
_MEMORY_QUERY = "SELECT CAST(body AS BLOB) FROM state WHERE name = 'memory'"
# Each brings a file to the version of its number. Rows of before are Slack's.
_MIGRATIONS = {
    1: _SCHEMA,
    2: f"ALTER TABLE notification ADD COLUMN webhook TEXT NOT NULL DEFAULT '{DEFAULT}';",
}
_KEPT_ASIDE = 3
# Whoever only looks holds the lock for a moment.
_LOOK_SECONDS = 0.2


class StoreError(Exception):
    """The store cannot be used now; with `spoilt` its file never can be again."""

    def __init__(self, reason: str, *, spoilt: bool = False) -> None:
        super().__init__(reason)
        self.spoilt = spoilt


class TakenError(StoreError):
    """Another process has the database."""


class Row(NamedTuple):
    """One row of the table `notification`; times are seconds since the epoch.

    `webhook` is the name of the one that it is for.
    """

    seq: int
    body: str
    created: float
    updated: float
    webhook: str


class Loaded(NamedTuple):
    """What was saved: all rows, oldest first, and the state and the memory, None for none."""

    rows: list[Row]
    state: dict[str, object] | None
    memory: str | None


class Store:
    """An open database. Raises StoreError where it cannot be opened or read."""

    def __init__(self, path: Path) -> None:
        with _translated():
            self._db = _connect(path)

    def load(self) -> Loaded:
        """Return all that was saved last."""
        with _translated():
            rows = self._db.execute(
                "SELECT seq, body, created, updated, webhook FROM notification ORDER BY seq"
            ).fetchall()
            state = self._db.execute(STATE_QUERY).fetchone()
            memory = self._db.execute(_MEMORY_QUERY).fetchone()
        try:
            return Loaded(
                [Row(*row) for row in rows],
                json.loads(state[0]) if state else None,
                memory[0].decode(errors="replace") if memory else None,
            )
        except (ValueError, RecursionError) as error:
            raise StoreError("the saved state is no JSON", spoilt=True) from error

    def save(
        self, written: Iterable[Row], deleted: Iterable[int], state: str | None, *, all_of_it: bool
    ) -> None:
        """Write, delete and (unless None) set the state in one transaction.

        With `all_of_it`, `written` is everything that is pending: all other rows are deleted.
        """
        with _translated(), self._db as db:
            db.execute("BEGIN IMMEDIATE")
            if all_of_it:
                db.execute("DELETE FROM notification")
            db.executemany("DELETE FROM notification WHERE seq = ?", ((seq,) for seq in deleted))
            db.executemany("INSERT OR REPLACE INTO notification VALUES (?, ?, ?, ?, ?)", written)
            if state is not None:
                db.execute("INSERT OR REPLACE INTO state VALUES ('incidents', ?)", (state,))

    def remember(self, memory: str) -> None:
        """Set the memory, in a transaction of its own: it may be large, and can be done without."""
        with _translated(), self._db as db:
            db.execute("BEGIN IMMEDIATE")
            db.execute("INSERT OR REPLACE INTO state VALUES ('memory', ?)", (memory,))

    def close(self) -> None:
        """Close the file."""
        with _translated():
            self._db.close()


def claim(path: Path) -> int:
    """Take the database for this process, until the descriptor that is returned is closed.

    Two senders of one outbox tell all twice. Raises TakenError where another process has it, and
    StoreError where that cannot be known.
    """
    with _translated():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(_lock_of(path), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        until = time.monotonic() + _LOOK_SECONDS
        while not _locked(lock, fcntl.LOCK_EX):
            if time.monotonic() > until:
                os.close(lock)
                raise TakenError("another tcp-trace uses it")
            time.sleep(_LOOK_SECONDS / 10)
    return lock


def is_claimed(path: Path) -> bool:
    """Return whether a process has the database; raises OSError where that cannot be known."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        lock = os.open(_lock_of(path), flags)
    except FileNotFoundError:
        return False
    try:
        return not _locked(lock, fcntl.LOCK_SH)
    finally:
        os.close(lock)


def move_aside(path: Path, wall: float) -> Path:
    """Rename a spoilt database, with the files that belong to it, and return its new name.

    Raises StoreError where that fails. Of earlier ones the latest few are kept.
    """
    stamp = datetime.fromtimestamp(wall, UTC).strftime("%Y%m%dT%H%M%SZ")
    aside = path.with_name(f"{path.name}.spoilt-{stamp}")
    with _translated():
        path.rename(aside)
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        for old in sorted(path.parent.glob(f"{path.name}.spoilt-*"))[:-_KEPT_ASIDE]:
            old.unlink()
    return aside


def _lock_of(path: Path) -> Path:
    return path.with_name(path.name + ".lock")


def _locked(lock: int, how: int) -> bool:
    try:
        fcntl.flock(lock, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _connect(path: Path) -> sqlite3.Connection:
    """Open or create the database; its files are for their owner only."""
    os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    # Two threads use it, one at a time: the outbox has a lock. Transactions are begun explicitly.
    db = sqlite3.connect(path, timeout=1.0, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        _migrate(db)
    except BaseException:
        db.close()
        raise
    return db


def _migrate(db: sqlite3.Connection) -> None:
    """Bring the file's schema to this version."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"its schema has version {version}, this program knows {SCHEMA_VERSION}", spoilt=True
        )
    for number in range(version + 1, SCHEMA_VERSION + 1):
        db.executescript(f"BEGIN; {_MIGRATIONS[number]} PRAGMA user_version = {number}; COMMIT;")


@contextmanager
def _translated() -> Iterator[None]:
    """Turn what SQLite and the file system raise into `StoreError`."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        spoilt = code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
        raise StoreError(f"{name}: {error}", spoilt=spoilt) from error
    except OSError as error:
        raise StoreError(f"{type(error).__name__}: {error.strerror}") from error
