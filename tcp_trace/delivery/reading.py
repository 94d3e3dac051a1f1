"""The state that a service saved, read by another process: while it runs, and when it does not."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from pathlib import Path

_PATIENCE_SECONDS = 5.0


class StateError(Exception):
    """The state cannot be read; the text is a sentence that says what to do."""


def read_state(path: Path) -> dict[str, Any] | None:
    """Return the incidents' state in the outbox at `path`, None where there is none yet.

    Nothing is written: neither the database nor whose files it is made of changes.
    """
    try:
        if not path.exists():
            return None
        db = sqlite3.connect(
            f"file:{quote(str(path))}?mode=ro", timeout=_PATIENCE_SECONDS, uri=True
        )
        try:
            row = db.execute("SELECT body FROM state WHERE name = 'incidents'").fetchone()
        finally:
            db.close()
        return json.loads(row[0]) if row else None
    except OSError as error:
        raise StateError(f"{path}: {error.strerror}; try it as root") from error
    except sqlite3.Error as error:
        raise StateError(f"{path} cannot be read ({error}); try it as root") from error
    except ValueError as error:
        raise StateError(f"{path} holds a state that is damaged") from error
