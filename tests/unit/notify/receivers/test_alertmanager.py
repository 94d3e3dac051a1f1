"""Alerts for Alertmanager: what stands, what ends, and by which labels."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from tcp_trace.connects.reasons import Reason
from tcp_trace.incidents.notification import Phase, Severity
from tcp_trace.notify.receivers.alertmanager import Alerts
from tcp_trace.notify.receivers.receiver import Envelope
from tests.unit.notify.golden import (
    HOST,
    HOSTILE,
    HOSTILE_LINES,
    HOSTILE_MAKER,
    LOOPBACK,
    NOON,
    OPENED,
    QUIET,
    RESOLVED,
    STORM_OPENED,
    UPDATED,
)

ENVELOPE = Envelope(HOST)
WARNING = replace(UPDATED, severity=Severity.WARNING)


def test_an_open_incident_stands_without_an_end() -> None:
    """Alertmanager's own clock says when it has not heard of it for too long."""
    (alert,) = Alerts().payload(OPENED, ENVELOPE)
    assert alert["labels"] == {
        "alertname": "TcpConnectFailing",
        "destination": "10.0.0.5:5432",
        "host": HOST,
        "reason": "refused",
        "severity": "warning",
        "source": "tcp-trace",
    }
    assert datetime.fromisoformat(alert["startsAt"]).timestamp() == NOON
    assert "endsAt" not in alert
    assert "10.0.0.5:5432" in alert["annotations"]["summary"]
    assert "connection refused" in alert["annotations"]["description"]


def test_the_same_incident_is_the_same_alert() -> None:
    """Another main reason does not make another alert of it: the first one told stays."""
    alerts = Alerts()
    first = alerts.payload(OPENED, ENVELOPE)[0]["labels"]
    assert UPDATED.causes[0].cause is Reason.TIMED_OUT
    assert [alert["labels"] for alert in alerts.payload(WARNING, ENVELOPE)] == [first]


def test_a_higher_severity_ends_the_alert_by_its_old_labels() -> None:
    """A label is part of what an alert is: the old one must not stand beside the new one."""
    alerts = Alerts()
    alerts.payload(OPENED, ENVELOPE)
    for _ in range(2):  # a message is made again when it is sent again
        critical, old = alerts.payload(UPDATED, ENVELOPE)
        assert critical["labels"]["severity"] == "critical"
        assert "endsAt" not in critical
        assert old["labels"]["severity"] == "warning"
        assert datetime.fromisoformat(old["endsAt"]).timestamp() == UPDATED.at


def test_resolved_and_quiet_end_it() -> None:
    """By all the labels under which it stood, and by none under which it did not."""
    for last in (RESOLVED, QUIET):
        alerts = Alerts()
        alerts.payload(OPENED, ENVELOPE)
        told = alerts.payload(last, ENVELOPE)
        assert told == alerts.payload(last, ENVELOPE)
        assert {alert["endsAt"] for alert in told} == {told[0]["endsAt"]}
        severities = {alert["labels"]["severity"] for alert in told}
        assert severities == {"warning", last.severity.value}


def test_what_ended_does_not_stand_again() -> None:
    """What was looked at before the end was told is not told after it."""
    alerts = Alerts()
    alerts.payload(OPENED, ENVELOPE)
    alerts.payload(RESOLVED, ENVELOPE)
    assert alerts.payload(UPDATED, ENVELOPE) == []
    assert alerts.payload(replace(OPENED, incident="next"), ENVELOPE) != []


def test_a_storm_ends_the_alerts_that_it_takes_over() -> None:
    """It speaks for them from here on."""
    alerts = Alerts()
    single = replace(OPENED, incident=STORM_OPENED.absorbed[1])
    alerts.payload(single, ENVELOPE)
    for _ in range(2):
        storm, ended = alerts.payload(STORM_OPENED, ENVELOPE)
        assert storm["labels"]["alertname"] == "TcpConnectStorm"
        assert "destination" not in storm["labels"]
        assert ended["labels"]["destination"] == "10.0.0.5:5432"
        assert "endsAt" in ended
    assert alerts.payload(replace(single, kind=Phase.REMINDED), ENVELOPE) == []


def test_loopback_of_another_namespace_is_another_alert() -> None:
    """127.0.0.1 means another place in each network namespace."""
    assert Alerts().payload(LOOPBACK, ENVELOPE)[0]["labels"]["netns"] == "4026532621"


def test_a_jumping_clock_makes_no_alert_that_is_refused() -> None:
    """Alertmanager refuses an end before the beginning, and knows no year 30,000."""
    for last in (
        replace(RESOLVED, at=NOON - 1e6),
        replace(RESOLVED, first=-5.0, at=-9.0),
        replace(RESOLVED, first=9e14, at=9e14),
    ):
        (alert,) = Alerts().payload(last, ENVELOPE)
        began, ended = (datetime.fromisoformat(alert[name]) for name in ("startsAt", "endsAt"))
        assert ended >= began


def test_nothing_begins_or_ends_in_the_future() -> None:
    """An incident may have begun while the clock was ahead: the present bounds what is sent."""
    now = Envelope(HOST, wall=NOON)
    ahead = replace(OPENED, first=NOON + 600, last=NOON + 600, at=NOON + 600)
    (alert,) = Alerts().payload(ahead, now)
    assert datetime.fromisoformat(alert["startsAt"]).timestamp() == NOON
    (alert,) = Alerts().payload(replace(RESOLVED, first=NOON + 600, at=NOON + 900), now)
    for name in ("startsAt", "endsAt"):
        assert datetime.fromisoformat(alert[name]).timestamp() == NOON


def test_a_digest_of_a_day_is_no_alert() -> None:
    """It has nothing that stands."""
    daily = replace(STORM_OPENED, kind=Phase.DAILY, severity=Severity.INFO, absorbed=())
    assert Alerts().payload(daily, ENVELOPE) == []


def test_a_runbook_is_an_annotation() -> None:
    """By the name that dashboards look for."""
    (alert,) = Alerts().payload(replace(OPENED, runbook="https://wiki.example.org/db"), ENVELOPE)
    assert alert["annotations"]["runbook_url"] == "https://wiki.example.org/db"


def test_hostile_names_are_harmless_in_annotations() -> None:
    """Alertmanager hands annotations on as they are: no markup, no mention, no line of its own."""
    for hostile in (HOSTILE, HOSTILE_MAKER, HOSTILE_LINES):
        (alert,) = Alerts().payload(hostile, ENVELOPE)
        shown = str(alert["annotations"])
        assert not set("<>@`\x1b\r\u202e\u2066\u200b") & set(shown)
    assert "fake-1" in alert["annotations"]["description"]
    assert "\nid fake-1" not in alert["annotations"]["description"]


def test_what_is_remembered_is_bounded() -> None:
    """A hundred thousand incidents leave no more behind than the last few thousand."""
    alerts = Alerts()
    for number in range(5_000):
        alerts.payload(replace(OPENED, incident=str(number)), ENVELOPE)
        if number % 2:
            alerts.payload(replace(RESOLVED, incident=str(number)), ENVELOPE)
    assert len(alerts._labels) <= 2_000
    assert len(alerts._over) <= 2_000
