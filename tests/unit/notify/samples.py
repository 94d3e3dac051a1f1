"""Values that the tests of this package share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcp_trace.connects.events import Destination, Moment
from tcp_trace.incidents.notification import Notification, Phase, Severity
from tcp_trace.notify import wording
from tcp_trace.notify.answers import judge_status
from tcp_trace.notify.channel import DEADLINE
from tcp_trace.notify.httpchannel import HttpChannel
from tcp_trace.notify.receivers import slack
from tcp_trace.notify.receivers.receiver import Envelope
from tcp_trace.notify.render import plain_text

if TYPE_CHECKING:
    from tcp_trace.notify.httpchannel import Url


STYLE = wording.Style(name=str, host=str, own=str, command=str, time=wording.utc)
"""Nothing is escaped."""


def said(notification: Notification) -> str:
    """Return its text, as JSON has it."""
    return plain_text(notification, Envelope("web-1.example.org"))


class Address:
    """A webhook's address with nothing that hides it: what leaks is seen."""

    def __init__(self, url: str) -> None:
        self._url = url

    def reveal(self) -> str:
        """Return the address."""
        return self._url


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self, mono: float = 1_000.0, wall: float = 1_700_000_000.0) -> None:
        self.mono = mono
        self.wall = wall

    def __call__(self) -> Moment:
        """Return the moment at which it stands."""
        return Moment(self.mono, self.wall)

    def advance(self, seconds: float) -> None:
        """Move both hands."""
        self.mono += seconds
        self.wall += seconds


def to_slack(url: Url, deadline: float = DEADLINE) -> HttpChannel:
    """Return a channel to a webhook that has to say `ok`."""
    return HttpChannel(url, slack.judge, deadline=deadline)


def to_any(url: Url, deadline: float = DEADLINE) -> HttpChannel:
    """Return a channel to a webhook that says all by its status."""
    return HttpChannel(url, judge_status, deadline=deadline)


def notification(
    name: str, incident: str = "", kind: Phase = Phase.OPENED, failures: int = 1
) -> Notification:
    """Return a notification of an incident of its own, or of the one named."""
    return Notification(
        id=name,
        incident=incident or name,
        kind=kind,
        severity=Severity.WARNING,
        opening=kind is Phase.OPENED,
        subject=Destination("192.0.2.1", 5432),
        failures=failures,
        total=failures,
        at=1_700_000_000.0,
        since=1_700_000_000.0,
        first=1_700_000_000.0,
        last=1_700_000_000.0,
        duration=0.0,
        causes=(),
        processes=(),
        unlisted=failures,
        established=None,
    )


def update(name: str, incident: str, failures: int = 1) -> Notification:
    """Return a notification that can merge into an earlier one of its incident."""
    return notification(name, incident, Phase.UPDATED, failures)
