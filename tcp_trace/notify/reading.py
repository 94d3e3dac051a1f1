"""The state that a service saved, read by another process: while it runs, and when it does not.

The files are untrusted: the service's user, whose they are, may have been taken over. Root's
commands call this in a child that has become their owner (`unprivileged.py`).
"""

from __future__ import annotations

import json
import os
import sqlite3
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tcp_trace.host.files import open_regular, why
from tcp_trace.host.unprivileged import Refused
from tcp_trace.notify.store import STATE_QUERY

if TYPE_CHECKING:
    from pathlib import Path

MOST_BYTES = 64 << 20
"""A state is never larger: 10,000 incidents are 20 MB."""

_PATIENCE_SECONDS = 5.0
_TRIES = 3


class StateError(Refused):
    """The state cannot be read; the text is a sentence that says what to do."""


def read_state(path: Path) -> dict[str, Any] | None:
    """Return the incidents' state in the outbox at `path`, None where there is none yet.

    Nothing is written: neither the database nor whose files it is made of changes.
    """
    try:
        os.close(open_regular(path))
        text = _read_text(path)
        state = None if text is None else json.loads(text)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError(f"{path}: {why(error)}") from error
    except sqlite3.Error as error:
        hint = "a restart of the service moves aside what is spoilt"
        raise StateError(f"{path} cannot be read ({error}); {hint}") from error
    except (ValueError, RecursionError) as error:
        raise StateError(f"{path} holds a state that is damaged") from error
    if state is not None and not isinstance(state, dict):
        raise StateError(f"{path} holds a state that is damaged")
    return state


def _read_text(path: Path) -> str | None:
    """Return the row with the state.

    SQLite makes files beside a database in WAL mode, even for who only reads it. Where there is no
    log the database alone is all of it, and nothing has to be made; unless a service began to write
    meanwhile, which the log then shows.
    """
    log = path.with_name(path.name + "-wal")
    for _ in range(_TRIES):
        if _has_content(log):
            return _query(path, "mode=ro")
        try:
            text = _query(path, "mode=ro&immutable=1")
        except sqlite3.DatabaseError:
            if not _has_content(log):
                raise
            continue
        if not _has_content(log):
            return text
    return _query(path, "mode=ro")


def _has_content(path: Path) -> bool:
    try:
        return path.lstat().st_size > 0
    except FileNotFoundError:
        return False


def _query(path: Path, how: str) -> str | None:
    db = sqlite3.connect(f"file:{quote(str(path))}?{how}", timeout=_PATIENCE_SECONDS, uri=True)
    try:
        db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MOST_BYTES)
        db.execute("PRAGMA trusted_schema = OFF")
        kind = db.execute("SELECT type FROM sqlite_master WHERE name = 'state'").fetchone()
        if kind != ("table",):
            raise StateError(f"{path} is not what the service writes: it has no table 'state'")
        row = db.execute(STATE_QUERY).fetchone()
    finally:
        db.close()
    if row is not None and not isinstance(row[0], str):
        raise ValueError("no text")
    return row[0] if row else None
