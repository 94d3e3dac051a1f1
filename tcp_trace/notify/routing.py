"""Who is told of what: routes lead notifications to webhooks.

    the first route that matches says which webhooks get an incident's messages
    where none matches, the default webhook does (`SLACK_URL`)
    a storm goes wherever any subject that it names, or any incident that it takes over, would
    all messages of an incident go where its first one went: who was told that it began is told
    that it is over, whatever reasons and programs came in between

Everything here is pure.
"""

from __future__ import annotations

from collections import OrderedDict
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple

from tcp_trace.incidents.subjects import is_within

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from tcp_trace.connects.watch import Rule
    from tcp_trace.incidents.notification import Notification
    from tcp_trace.incidents.subjects import Subject

DEFAULT = "default"
"""The name of the webhook that `SLACK_URL` is."""

_REMEMBERED = 10_000


class Route(NamedTuple):
    """What matches all of its conditions goes `to` these webhooks; an empty one matches anything.

    `units` are names or patterns as a shell has them (`postgresql@*.service`), `reasons` names of
    causes.
    """

    to: tuple[str, ...]
    destinations: tuple[Rule, ...] = ()
    units: tuple[str, ...] = ()
    reasons: frozenset[str] = frozenset()

    def matches(self, subject: Subject | None, notification: Notification) -> bool:
        """Tell whether a message about this subject (None where unnamed) goes this way."""
        return (
            (not self.destinations or _is_within(subject, self.destinations))
            and (not self.units or _is_of(notification, self.units))
            and (not self.reasons or _is_because(notification, self.reasons))
        )


class Router:
    """The routes, and where each open incident's messages go. It belongs to the poll loop."""

    def __init__(self, routes: Iterable[Route] = ()) -> None:
        self._routes = tuple(routes)
        self._decided: OrderedDict[str, tuple[str, ...]] = OrderedDict()

    def webhooks(self, notification: Notification) -> tuple[str, ...]:
        """Return the names of the webhooks that get this notification, at least one."""
        taken_over = [self._decided.pop(incident, ()) for incident in notification.absorbed]
        names = self._decided.pop(notification.incident, None)
        if names is None:
            names = self._decide(notification)
        names = tuple(dict.fromkeys([*names, *(name for part in taken_over for name in part)]))
        if not notification.kind.is_last:
            self._decided[notification.incident] = names
            while len(self._decided) > _REMEMBERED:
                self._decided.popitem(last=False)
        return names

    def goes_to(self, incident: str, webhook: str) -> bool:
        """Tell whether this webhook was told of this incident, and not yet that it is over."""
        return webhook in self._decided.get(incident, ())

    def dump(self) -> dict[str, list[str]]:
        """Return what must survive a restart, for `json.dumps` and `load`."""
        return {incident: list(names) for incident, names in self._decided.items()}

    def load(self, saved: Mapping[str, Collection[str]], incidents: Iterable[str]) -> None:
        """Take up what `dump` returned, for those of the incidents that are still open."""
        for incident in incidents:
            if names := saved.get(incident):
                self._decided[incident] = tuple(str(name) for name in names)

    def replace(self, routes: Iterable[Route], known: Collection[str]) -> None:
        """Use other routes from now on; what leads to no known webhook is decided anew."""
        self._routes = tuple(routes)
        for incident, names in list(self._decided.items()):
            left = tuple(name for name in names if name in known)
            if left:
                self._decided[incident] = left
            else:
                del self._decided[incident]

    def _decide(self, notification: Notification) -> tuple[str, ...]:
        if notification.subject is not None:
            return self._first_match(notification.subject, notification)
        named: list[Subject | None] = [count.subject for count in notification.top]
        named = named or [None]
        found = (self._first_match(subject, notification) for subject in named)
        return tuple(dict.fromkeys(name for names in found for name in names))

    def _first_match(self, subject: Subject | None, notification: Notification) -> tuple[str, ...]:
        for route in self._routes:
            if route.matches(subject, notification):
                return route.to
        return (DEFAULT,)


def _is_within(subject: Subject | None, rules: tuple[Rule, ...]) -> bool:
    return subject is not None and is_within(subject, rules)


def _is_of(notification: Notification, patterns: tuple[str, ...]) -> bool:
    units = {process.unit for process in notification.processes if process.unit is not None}
    return any(fnmatchcase(unit, pattern) for unit in units for pattern in patterns)


def _is_because(notification: Notification, reasons: frozenset[str]) -> bool:
    return any(count.cause.value in reasons for count in notification.causes)
