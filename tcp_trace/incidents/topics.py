"""The kinds of failures that there are: what fails, why, and the words for it.

To add one: its subject, causes and evidence (see `subjects.py`) in a room before this one, and its
line in `TOPICS`. Nothing else here, in silences/ or in notify/ names a kind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

from tcp_trace.connects.events import Destination
from tcp_trace.connects.hostport import HostPort
from tcp_trace.connects.reasons import Evidence, Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from enum import Enum

    from tcp_trace.incidents import subjects


class Topic(NamedTuple):
    """One kind of failure.

    subject, evidence   make them of their fields, in order or by name
    causes              all causes there are
    attempt, attempts   one that fails, and many: "connect", "connects"
    activity            stands before subjects, after how many attempts failed: "connects to"
    plural              many of its subjects: "destinations"
    usually             stands before how long a success usually takes: "connects in"
    works, unseen       how one stands when a storm ends: "connects again", "no connect seen since"
    untried             why nothing is known of it any more: "nobody has tried"
    alert               what Alertmanager knows it by, before "Failing" and "Storm"
    label               the label that has its subject there
    """

    subject: Callable[..., subjects.Subject]
    causes: type[Enum]
    evidence: Callable[..., subjects.Evidence]
    attempt: str
    attempts: str
    activity: str
    plural: str
    usually: str
    works: str
    unseen: str
    untried: str
    alert: str
    label: str


_CONNECTS = Topic(
    Destination, Reason, Evidence,
    attempt="connect", attempts="connects", activity="connects to", plural="destinations",
    usually="connects in", works="connects again", unseen="no connect seen since",
    untried="nobody has tried", alert="TcpConnect", label="destination",
)  # fmt: skip

TOPICS: dict[str, Topic] = {
    "destination": _CONNECTS,
    "host": _CONNECTS._replace(subject=HostPort),
}
"""By the kind of their subjects, which is its name in saved states and JSON."""


def subject_of(fields: Sequence[Any]) -> subjects.Subject:
    """Return the subject that `list(subject)` was; raises KeyError or TypeError for none.

    Fields that it did not have yet when it was saved have their defaults.
    """
    *known, kind = fields
    return TOPICS[kind].subject(*known)


def by_plural(numbers: Mapping[str, int]) -> dict[str, int]:
    """Return numbers by kind with kinds that people know by one word as one: the first of them."""
    kinds: dict[str, str] = {}
    told: dict[str, int] = {}
    for kind, number in numbers.items():
        first = kinds.setdefault(TOPICS[kind].plural, kind)
        told[first] = told.get(first, 0) + number
    return told


def cause_of(kind: str, name: str) -> subjects.Cause:
    """Return the cause of this name; raises KeyError or ValueError for none."""
    return cast("subjects.Cause", TOPICS[kind].causes(name))


def cause_names() -> list[str]:
    """Return the names of all causes, each once: a name may mean the like in several topics."""
    names = (str(cause.value) for topic in TOPICS.values() for cause in topic.causes)
    return list(dict.fromkeys(names))
