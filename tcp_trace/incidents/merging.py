"""How two pending messages become one.

What is told for the first time, `failures` and `silenced`, adds up. The rest is the incident as it
stood when the newer message was made: one that never arrived leaves no gap in a later one's totals.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tcp_trace.incidents.notification import Phase

if TYPE_CHECKING:
    from tcp_trace.incidents.notification import Notification


def merge(older: Notification, newer: Notification) -> Notification | None:
    """Return one message that says what two pending ones would, or None if they do not fit.

    They fit when they are of one incident that is not over with the older one. What is returned
    keeps the older one's id: should that have arrived after all, people see that it came twice.
    """
    if older.incident != newer.incident or older.kind.is_last or newer.kind is Phase.OPENED:
        return None
    opens = older.kind is Phase.OPENED and not newer.kind.is_last
    return replace(
        newer,
        id=older.id,
        kind=Phase.OPENED if opens else newer.kind,
        opening=older.opening,
        failures=older.failures + newer.failures,
        since=older.since,
        absorbed=older.absorbed + newer.absorbed,
        silenced=older.silenced + newer.silenced,
        # What is over by the time it is told wakes nobody.
        escalated=(older.escalated or newer.escalated) and not newer.kind.is_last,
    )
