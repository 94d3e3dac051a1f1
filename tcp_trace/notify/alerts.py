"""Notifications as Alertmanager takes them: alerts that stand until they end.

Alertmanager knows an alert by its labels, forgets it some minutes after it was last told
(`resolve_timeout`), and ends it at `endsAt`. So what stands is told again and again without an
`endsAt`, which leaves the judgement to Alertmanager's own clock; and when a label changes (the
severity may rise), the alert by its old labels is ended in the same breath.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tcp_trace.notify import wording
from tcp_trace.notify.render import json_payload
from tcp_trace.safetext import plain, trusted, visible

if TYPE_CHECKING:
    from tcp_trace.incidents.notification import Notification

    Labels = dict[str, str]

CONNECT_ALERT = "TcpConnectFailing"
STORM_ALERT = "TcpConnectStorm"

_REMEMBERED = 2_000
_LAST_REPRESENTABLE = 253_402_300_799.0  # the end of the year 9999
# Alertmanager's templates put annotations into Slack and HTML as they are: nothing in them may
# mention anybody or be markup there.
_HARMLESS = str.maketrans({"<": "\u2039", ">": "\u203a", "@": "\uff20", "`": "'"})


class Alerts:
    """Makes alerts of notifications, and remembers by which labels each incident stands.

    It belongs to the one thread that sends. What it forgets by a restart ends by itself.
    """

    def __init__(self) -> None:
        self._labels: OrderedDict[str, list[Labels]] = OrderedDict()
        self._over: OrderedDict[str, None] = OrderedDict()

    def payload(
        self, notification: Notification, host: str, *, delayed_by: float | None = None
    ) -> list[dict[str, Any]]:
        """Return the body to post: the alert, and those that end with it.

        Empty for an incident that is over: what stood when it was looked at may have ended since.
        """
        if notification.incident in self._over and not notification.kind.is_last:
            return []
        known = self._labels.setdefault(notification.incident, [])
        labels = _labels(notification, host, known[0] if known else None)
        if labels in known:
            known.remove(labels)
        known.insert(0, labels)
        ended = known[1:] + [part for i in notification.absorbed for part in self._end(i)]
        if notification.kind.is_last:
            self._end(notification.incident)
        while len(self._labels) > _REMEMBERED:
            self._labels.popitem(last=False)
        times = _times(notification)
        alert = {
            "labels": labels,
            "annotations": _annotations(notification, host, delayed_by),
            **(times if notification.kind.is_last else {"startsAt": times["startsAt"]}),
        }
        return [alert, *({"labels": each, "annotations": {}, **times} for each in ended)]

    def _end(self, incident: str) -> list[Labels]:
        """Note that an incident is over; return its labels, also when it was noted before."""
        self._over[incident] = None
        while len(self._over) > _REMEMBERED:
            self._labels.pop(self._over.popitem(last=False)[0], None)
        return self._labels.get(incident, [])


def _labels(n: Notification, host: str, before: Labels | None) -> Labels:
    """Return what identifies the alert; the reason is the first one told, so that it stays."""
    reason = n.reasons[0].reason.value if n.reasons else "unknown"
    labels = {
        "alertname": STORM_ALERT if n.is_digest else CONNECT_ALERT,
        "host": host,
        "reason": before["reason"] if before else reason,
        "severity": n.severity.value,
        "source": "tcp-trace",
    }
    if n.destination is not None:
        labels["destination"] = visible(str(n.destination))
        if n.destination.netns:
            labels["netns"] = str(n.destination.netns)
    return labels


def _annotations(n: Notification, host: str, delayed_by: float | None) -> Labels:
    subject = plain(str(n.destination or wording.subject(n)))
    text = json_payload(n, host, delayed_by=delayed_by)["text"]
    return {
        "summary": f"{wording.title(n, subject)} (host {trusted(host)})".translate(_HARMLESS),
        "description": text.translate(_HARMLESS),
        "incident": n.incident,
    }


def _times(n: Notification) -> dict[str, str]:
    return {"startsAt": _rfc3339(n.first), "endsAt": _rfc3339(max(n.first, n.at))}


def _rfc3339(wall: float) -> str:
    bounded = min(max(wall, 1.0), _LAST_REPRESENTABLE)
    return datetime.fromtimestamp(bounded, UTC).isoformat(timespec="milliseconds")
