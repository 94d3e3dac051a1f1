"""Webhooks of other programs: one JSON object, described by docs/webhook.schema.json."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tcp_trace.connects.events import Destination
from tcp_trace.connects.hostport import HostPort
from tcp_trace.connects.reasons import Evidence
from tcp_trace.notify import render
from tcp_trace.notify.answers import judge_status
from tcp_trace.notify.receivers.addresses import checked
from tcp_trace.notify.receivers.receiver import Envelope, test_text

if TYPE_CHECKING:
    from tcp_trace.incidents.notification import CauseCount, Notification, SubjectCount
    from tcp_trace.incidents.subjects import Subject
    from tcp_trace.notify.receivers.receiver import Renderer

NAME = "json"
FORGETS = False
DELIVERED = "delivered: the server took the test message, and answered that it did"

JSON_VERSION = 2
_EXAMPLE = "https://hooks.example.org/tcp-trace"

judge = judge_status


def address(text: str) -> str:
    """Return the URL as it is: its path is a secret."""
    return checked(text, _EXAMPLE)


def renderer() -> Renderer:
    """Return what makes bodies; it remembers nothing."""
    return _render


def _render(notification: Notification, envelope: Envelope) -> dict[str, Any]:
    """Return the body for a notification.

    `version` is that of this shape, which only ever grows within a version. `text` is for people,
    unescaped; `notification` has the fields of `Notification`, with times in seconds since the
    epoch and names as the processes chose them: escape them where they are shown.
    """
    text = render.plain_text(notification, envelope)
    return _body(envelope, text, notification.ratio, _published(notification))


def json_payload(
    notification: Notification, host: str, *, delayed_by: float | None = None
) -> dict[str, Any]:
    """Return the body for a notification."""
    return _render(notification, Envelope(host, delayed_by))


def test_message(host: str, wall: float) -> dict[str, Any]:  # noqa: ARG001 - as all have it
    """Return a body without a notification, which no other message is."""
    return _body(Envelope(host), test_text(host), None, None)


def _body(
    envelope: Envelope,
    text: str,
    ratio: float | None,
    notification: dict[str, Any] | None,
) -> dict[str, Any]:
    return {
        "version": JSON_VERSION,
        "source": "tcp-trace",
        "host": envelope.host,
        "delayed_by": envelope.delayed_by,
        "text": text,
        "ratio": ratio,
        "notification": notification,
    }


def _published(n: Notification) -> dict[str, Any]:
    """Return a notification as programs get it, with what version 1 had under other names."""
    told = n.to_dict()
    del told["kinds"]
    return told | {
        "subject": _subject(n.subject),
        "subjects": n.subjects,
        "causes": [_cause(count) for count in n.causes],
        "top": [_top(count) for count in n.top],
        # Of version 1, which knew connects alone.
        "destination": _destination(n.subject, n.addresses[-1:]),
        "destinations": n.size,
        "reasons": [_reason(count) for count in n.causes],
    }


def _subject(subject: Subject | None) -> dict[str, Any] | None:
    return None if subject is None else subject.published() | {"name": str(subject)}


def _cause(count: CauseCount) -> dict[str, Any]:
    return {
        "cause": count.cause.value,
        "summary": count.cause.summary,
        "failures": count.failures,
        "evidence": count.evidence._asdict(),
    }


def _top(count: SubjectCount) -> dict[str, Any]:
    return count._asdict() | {
        "subject": _subject(count.subject),
        "condition": count.condition.value if count.condition else None,
        "destination": _destination(count.subject, (count.address,)),
    }


def _destination(
    subject: Subject | None, addresses: tuple[str | None, ...]
) -> dict[str, Any] | None:
    """Return the address and port that failed: of a name that which failed last."""
    if isinstance(subject, HostPort) and any(addresses):
        subject = Destination.of(subject, str(addresses[-1]))
    if not isinstance(subject, Destination):
        return None
    return {name: value for name, value in subject.published().items() if name != "kind"}


def _reason(count: CauseCount) -> dict[str, Any]:
    found = count.evidence if isinstance(count.evidence, Evidence) else Evidence()
    return {"reason": count.cause.value, "failures": count.failures, **found._asdict()}
