"""What was told last of each incident that is still open, for those who have to be told again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tcp_trace.incidents.notification import Notification

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

MOST = 1_000


class Standing:
    """The last notification of every open incident, MOST of them at most. Pure."""

    def __init__(self) -> None:
        self._last: dict[str, Notification] = {}

    def note(self, notification: Notification) -> None:
        """Take in what is told; what it ends is forgotten."""
        for incident in (*notification.absorbed, notification.incident):
            self._last.pop(incident, None)
        if not notification.kind.is_last and len(self._last) < MOST:
            self._last[notification.incident] = notification

    def all(self) -> list[Notification]:
        """Return the last notification of each, oldest first."""
        return list(self._last.values())

    def dump(self) -> list[dict[str, Any]]:
        """Return what must survive a restart, for `json.dumps` and `load`."""
        return [notification.to_dict() for notification in self._last.values()]

    def load(self, saved: Collection[Mapping[str, Any]], incidents: Collection[str]) -> None:
        """Take up what `dump` returned, as far as those incidents are still open.

        Raises ValueError for anything else.
        """
        for each in saved:
            notification = Notification.from_dict(dict(each))
            if notification.incident in incidents:
                self._last[notification.incident] = notification
