"""A real Alertmanager takes what is sent, and makes few notifications of a fleet's outage."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tcp_trace.incidents.notification import Phase, Severity
from tcp_trace.notify.channel import Sent
from tcp_trace.notify.httpchannel import HttpChannel
from tcp_trace.notify.receivers import alertmanager as receiver
from tcp_trace.notify.receivers.receiver import Envelope
from tcp_trace.settings.values import Secret
from tests.reliability.alertmanager import Alertmanager, running
from tests.unit.notify.golden import OPENED, RESOLVED
from tests.webhook import Webhook

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tcp_trace.incidents.notification import Notification
    from tests.figures import Figures

HOSTS = 100
GROUPED = 12.0
"""Seconds after which a group that changed was notified: group_interval, and some to spare."""


@pytest.fixture(name="team", scope="module")
def _team() -> Iterator[Webhook]:
    with Webhook() as webhook:
        yield webhook


@pytest.fixture(name="server", scope="module")
def _server(team: Webhook, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alertmanager]:
    with running(tmp_path_factory.mktemp("alertmanager"), team.url) as server:
        yield server


class Host:
    """One host of a fleet, with what it remembers of the alerts it sent."""

    def __init__(self, name: str, server: Alertmanager) -> None:
        self._name = name
        self._render = receiver.renderer()
        self._channel = HttpChannel(Secret(receiver.address(server.url)), receiver.judge)

    def send(self, notification: Notification) -> None:
        """Send it as the service does; Alertmanager must take it."""
        payload = self._render(notification, Envelope(self._name, wall=time.time()))
        assert self._channel.send(payload) == Sent()


def _at(notification: Notification, began: float, **changes: Any) -> Notification:  # noqa: ANN401
    now = time.time()
    return replace(notification, first=began, last=now, at=now, since=began, **changes)


def _statuses(team: Webhook) -> list[tuple[str, int]]:
    """Return of each notification so far its status and the number of its alerts."""
    bodies = [request.payload for request in team.wait_for(0)]
    return [(body["status"], len(body["alerts"])) for body in bodies]


def test_a_fleet_that_loses_one_database_is_three_notifications_at_most(
    server: Alertmanager, team: Webhook, figure: Figures
) -> None:
    """Every host tells that it fails, that it fails on, and that it works again."""
    fleet = [Host(f"web-{number}.example.org", server) for number in range(HOSTS)]
    began = time.time()
    critical = replace(OPENED, severity=Severity.CRITICAL)
    for host in fleet:
        host.send(_at(critical, began))
    team.wait_for(1, 30)
    for host in fleet:
        host.send(_at(critical, began, kind=Phase.REMINDED))
    time.sleep(GROUPED)
    for host in fleet:
        host.send(_at(RESOLVED, began))
    until = time.monotonic() + 60
    while ("resolved", HOSTS) not in _statuses(team) and time.monotonic() < until:
        time.sleep(0.2)
    time.sleep(GROUPED)
    statuses = _statuses(team)
    assert statuses[-1] == ("resolved", HOSTS)
    assert max(number for status, number in statuses if status == "firing") == HOSTS
    assert len(statuses) <= 3
    figure(
        "100 hosts lose one database (real Alertmanager)",
        "3 notifications at most",
        f"{len(statuses)} notifications of {3 * HOSTS} alerts sent",
    )


@pytest.mark.parametrize("ahead", [600.0, 86_400.0])
def test_an_incident_that_began_while_the_clock_was_ahead_is_taken(
    server: Alertmanager, ahead: float
) -> None:
    """It stands from the present on, and ends when it is over."""
    destination = OPENED.subject
    assert destination is not None
    subject = destination._replace(port=int(ahead) % 60_000)  # type: ignore[attr-defined]
    host = Host("ahead.example.org", server)
    began = time.time() + ahead

    def stands() -> int:
        return sum(alert["labels"]["host"] == "ahead.example.org" for alert in server.alerts())

    changes: dict[str, Any] = {"subject": subject, "incident": str(ahead), "first": began}
    host.send(replace(OPENED, last=began, at=began, **changes))
    assert stands() == 1
    host.send(replace(RESOLVED, at=began + 60, **changes))
    assert stands() == 0
