"""Who is told of what: routes lead notifications to webhooks.

    the first route that matches says which webhooks get an incident's messages
    where none matches, the default webhook does (`SLACK_URL`)
    a storm goes wherever any subject that it names, or any incident that it takes over, would
    all messages of an incident go where its first one went: who was told that it began is told
    that it is over, whatever reasons and programs came in between
    a route with a severity floor adds its webhooks once the incident is that severe
    the digest of a day goes by the first route that takes digests and has no condition

Everything here is pure.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from tcp_trace.incidents.notification import Phase, Severity
from tcp_trace.incidents.subjects import endpoints, is_within
from tcp_trace.silences.match import any_contains, any_names

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from tcp_trace.connects.watch import Endpoint, Name, Rule
    from tcp_trace.incidents.notification import Notification, ProcessCount, SubjectCount

DEFAULT = "default"
"""The name of the webhook that `SLACK_URL` is."""

_REMEMBERED = 10_000


class Messages(Enum):
    """Which messages a route is for; the value is its name in the file of routes."""

    ALL = "all"
    INCIDENTS = "incidents"
    DIGEST = "digest"


_SEVERITIES = list(Severity)  # the least severe first


class Route(NamedTuple):
    """What matches all of its conditions goes `to` these webhooks; an empty one matches anything.

    `destinations` are addresses, networks and patterns of names that are asked for; `units`, `pods`
    and `containers` patterns as a shell has them (`postgresql@*.service`), `reasons` names of
    causes, `min_severity` the least severity, `messages` the kind of messages. `runbook` is the URL
    that these messages show, empty for none.
    """

    to: tuple[str, ...]
    destinations: tuple[Rule | Name, ...] = ()
    units: tuple[str, ...] = ()
    reasons: frozenset[str] = frozenset()
    min_severity: Severity = Severity.INFO
    messages: Messages = Messages.ALL
    runbook: str = ""
    pods: tuple[str, ...] = ()
    containers: tuple[str, ...] = ()

    @property
    def is_conditional(self) -> bool:
        """Whether there is anything that it does not match."""
        has_floor = self.min_severity is not Severity.INFO
        makers = self.units or self.pods or self.containers
        return has_floor or bool(self.destinations or makers or self.reasons)

    def takes_digest(self) -> bool:
        """Tell whether the digest of a day goes this way: it is of no destination or unit."""
        if self.messages is Messages.ALL:
            return not self.is_conditional
        return self.messages is Messages.DIGEST

    def matches(self, meant: list[Endpoint] | None, notification: Notification) -> bool:
        """Tell whether a message about these endpoints (None where unnamed) goes this way."""
        return (
            self.messages is not Messages.DIGEST
            and _rank(notification.severity) >= _rank(self.min_severity)
            and (not self.destinations or _is_within(meant, self.destinations))
            and self._is_made_by(notification.processes)
            and (not self.reasons or _is_because(notification, self.reasons))
        )

    def _is_made_by(self, processes: Iterable[ProcessCount]) -> bool:
        """Tell whether one of the programs is of each kind of maker that is asked for."""
        kinds = (
            (self.units, any_names, [process.unit for process in processes]),
            (self.pods, any_names, [process.pod for process in processes]),
            (self.containers, any_contains, [process.container for process in processes]),
        )
        return all(
            not patterns or any(fit(patterns, name) for name in names)
            for patterns, fit, names in kinds
        )


class Router:
    """The routes, and where each open incident's messages go. It belongs to the poll loop."""

    def __init__(self, routes: Iterable[Route] = ()) -> None:
        self._routes = tuple(routes)
        self._decided: OrderedDict[str, tuple[str, ...]] = OrderedDict()

    def webhooks(self, notification: Notification) -> tuple[str, ...]:
        """Return the names of the webhooks that get this notification, at least one."""
        if notification.kind is Phase.DAILY:
            return self._for_digest().to
        taken_over = [self._decided.pop(incident, ()) for incident in notification.absorbed]
        matching = self._matching(notification)
        names = self._decided.pop(notification.incident, None)
        if names is None:
            names = _all_of(matching)
        else:
            floors = [route for route in matching if route.min_severity is not Severity.INFO]
            names += _all_of(floors)
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

    def addressed(self, notification: Notification) -> Notification:
        """Return the notification with the runbook of the route that it goes by."""
        if notification.kind is Phase.DAILY:
            routes = [self._for_digest()]
        else:
            routes = self._matching(notification)
        runbook = next((route.runbook for route in routes if route.runbook), "")
        return replace(notification, runbook=runbook) if runbook else notification

    def _for_digest(self) -> Route:
        return next((route for route in self._routes if route.takes_digest()), _DEFAULT_ROUTE)

    def _matching(self, notification: Notification) -> list[Route]:
        """Return the first route that matches, for a storm that of each subject it names."""
        if notification.subject is not None:
            meant = endpoints(notification.subject, notification.addresses, notification.hosts)
            return [self._first_match(meant, notification)]
        named: list[list[Endpoint] | None] = [_endpoints(count) for count in notification.top]
        named = named or [None]
        return [self._first_match(meant, notification) for meant in named]

    def _first_match(self, meant: list[Endpoint] | None, notification: Notification) -> Route:
        matching = (route for route in self._routes if route.matches(meant, notification))
        return next(matching, _DEFAULT_ROUTE)


_DEFAULT_ROUTE = Route((DEFAULT,))


def _all_of(routes: Iterable[Route]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for route in routes for name in route.to))


def _rank(severity: Severity) -> int:
    return _SEVERITIES.index(severity)


def _endpoints(count: SubjectCount) -> list[Endpoint]:
    addresses = () if count.address is None else (count.address,)
    return endpoints(count.subject, addresses, () if count.host is None else (count.host,))


def _is_within(meant: list[Endpoint] | None, rules: tuple[Rule | Name, ...]) -> bool:
    return meant is not None and is_within(meant, rules)


def _is_because(notification: Notification, reasons: frozenset[str]) -> bool:
    return any(count.cause.value in reasons for count in notification.causes)
