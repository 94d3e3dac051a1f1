"""Notifications as Alertmanager takes them: alerts that stand until they end.

Alertmanager knows an alert by its labels, forgets it some minutes after it was last told
(`resolve_timeout`), and ends it at `endsAt`. So open alerts are sent again and again without an
`endsAt`, which leaves the judgement to Alertmanager's own clock; and when a label changes (the
severity may rise or fall), the alert by its old labels is ended in the same breath.

It refuses a whole request (400) for one alert that begins after it ends, and ends an alert without
an end some minutes after its own present. The clock may have been ahead when an incident began: so
no time is later than that of the sending.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tcp_trace.incidents.notification import Phase
from tcp_trace.incidents.topics import TOPICS, by_plural
from tcp_trace.notify import render, titles, wording
from tcp_trace.notify.answers import judge_status
from tcp_trace.notify.receivers.addresses import checked
from tcp_trace.notify.receivers.receiver import test_text
from tcp_trace.safetext import plain, trusted, visible

if TYPE_CHECKING:
    from tcp_trace.incidents.notification import Notification
    from tcp_trace.notify.receivers.receiver import Envelope, Renderer

    Labels = dict[str, str]

NAME = "alertmanager"
FORGETS = True
DELIVERED = (
    "delivered: Alertmanager took the alert TcpTraceTest, which ends in 2 min; whom it tells"
    " is up to its own routes"
)

_MIXED_ALERT = "TcpTrace"

_EXAMPLE = "http://alertmanager.example.org:9093"
_PATH = "/api/v2/alerts"
# Long enough for Alertmanager's group_wait, after which it tells people.
_TEST_SECONDS = 120.0
_REMEMBERED = 2_000
_LAST_REPRESENTABLE = 253_402_300_799.0  # the end of the year 9999
# Alertmanager's templates put annotations into Slack and HTML as they are: nothing in them may
# mention anybody or be markup there.
_HARMLESS = str.maketrans({"<": "\u2039", ">": "\u203a", "@": "\uff20", "`": "'"})


judge = judge_status


def address(text: str) -> str:
    """Return the address of Alertmanager's API, where only the server's was given.

    It may be http: its path is no secret.
    """
    return checked(_api(text), _EXAMPLE, plain=True)


def renderer() -> Renderer:
    """Return what makes bodies, and remembers open alerts."""
    alerts = Alerts()

    def render_alerts(notification: Notification, envelope: Envelope) -> list[dict[str, Any]]:
        return alerts.payload(notification, envelope)

    return render_alerts


def test_message(host: str, wall: float) -> list[dict[str, Any]]:
    """Return an alert that ends by itself."""
    labels = {"alertname": "TcpTraceTest", "host": host, "source": "tcp-trace"}
    times = {"startsAt": _rfc3339(wall), "endsAt": _rfc3339(wall + _TEST_SECONDS)}
    return [{"labels": labels, "annotations": {"summary": test_text(host)}, **times}]


class Alerts:
    """Makes alerts of notifications, and remembers by which labels each incident stands.

    It belongs to the one thread that sends. What it forgets by a restart ends by itself.
    """

    def __init__(self) -> None:
        self._labels: OrderedDict[str, list[Labels]] = OrderedDict()
        self._over: OrderedDict[str, None] = OrderedDict()

    def payload(self, notification: Notification, envelope: Envelope) -> list[dict[str, Any]]:
        """Return the body to post: the alert, and those that end with it.

        Empty for an incident that is over: what stood when it was looked at may have ended since.
        Empty for the digest of a day, too, which is no alert.
        """
        if notification.kind is Phase.DAILY:
            return []
        if notification.incident in self._over and not notification.kind.is_last:
            return []
        known = self._labels.setdefault(notification.incident, [])
        labels = _labels(notification, envelope.host, known[0] if known else None)
        if labels in known:
            known.remove(labels)
        known.insert(0, labels)
        ended = known[1:] + [part for i in notification.absorbed for part in self._end(i)]
        if notification.kind.is_last:
            self._end(notification.incident)
        while len(self._labels) > _REMEMBERED:
            self._labels.popitem(last=False)
        times = _times(notification, envelope.wall)
        alert = {
            "labels": labels,
            "annotations": _annotations(notification, envelope),
            **(times if notification.kind.is_last else {"startsAt": times["startsAt"]}),
        }
        return [alert, *({"labels": each, "annotations": {}, **times} for each in ended)]

    def _end(self, incident: str) -> list[Labels]:
        """Note that an incident is over; return its labels, also when it was noted before."""
        self._over[incident] = None
        while len(self._over) > _REMEMBERED:
            self._labels.pop(self._over.popitem(last=False)[0], None)
        return self._labels.get(incident, [])


def _api(text: str) -> str:
    try:
        path = urlsplit(text).path
    except ValueError:
        return text
    return text if path.endswith(_PATH) else text.rstrip("/") + _PATH


def _labels(n: Notification, host: str, before: Labels | None) -> Labels:
    """Return what identifies the alert; its name and reason are the first told: so it stays."""
    labels = {
        "alertname": before["alertname"] if before else _alert_name(n),
        "host": host,
        "reason": before["reason"] if before else _reason(n),
        "severity": n.severity.value,
        "source": "tcp-trace",
    }
    if n.subject is not None:
        labels[TOPICS[n.subject.kind].label] = visible(str(n.subject))
        if n.subject.netns:
            labels["netns"] = str(n.subject.netns)
    return labels


def _alert_name(n: Notification) -> str:
    kinds = list(by_plural(n.subjects))
    name = TOPICS[kinds[0]].alert if len(kinds) == 1 else _MIXED_ALERT
    return f"{name}{'Storm' if n.is_digest else 'Failing'}"


def _reason(n: Notification) -> str:
    return n.causes[0].cause.value if n.causes else "unknown"


def _annotations(n: Notification, envelope: Envelope) -> Labels:
    subject = wording.subject(n, plain) if n.subject is None else plain(str(n.subject))
    # Alertmanager repeats it for hours, so its times are absolute.
    text = render.plain_text(n, envelope, wording.utc)
    return {
        "summary": f"{titles.title(n, subject)} (host {trusted(envelope.host)})".translate(
            _HARMLESS
        ),
        "description": text.translate(_HARMLESS),
        "incident": n.incident,
        **({"runbook_url": n.runbook.translate(_HARMLESS)} if n.runbook else {}),
    }


def _times(n: Notification, wall: float) -> dict[str, str]:
    """Return when the alert begins and ends: the end is not before the beginning, nor after now."""
    first, at = min(n.first, wall), min(n.at, wall)
    return {"startsAt": _rfc3339(first), "endsAt": _rfc3339(max(first, at))}


def _rfc3339(wall: float) -> str:
    bounded = min(max(wall, 1.0), _LAST_REPRESENTABLE)
    return datetime.fromtimestamp(bounded, UTC).isoformat(timespec="milliseconds")
