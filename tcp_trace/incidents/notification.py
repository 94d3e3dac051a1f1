"""What is told of an incident: one frozen value that travels through the outbox as JSON.

Its `failures` are told here for the first time; over all messages they add up to what happened.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

from tcp_trace.incidents import upgrade
from tcp_trace.incidents.topics import TOPICS, cause_of

if TYPE_CHECKING:
    from tcp_trace.incidents.subjects import Cause, Evidence, Subject

VERSION = 2


class Phase(Enum):
    """What a message says of its incident; the value is its `kind` in JSON."""

    OPENED = "opened"
    UPDATED = "updated"
    REMINDED = "reminded"
    RESOLVED = "resolved"
    QUIET = "quiet"
    DAILY = "daily"

    @property
    def is_last(self) -> bool:
        """Whether no message of the incident follows."""
        return self in (Phase.RESOLVED, Phase.QUIET, Phase.DAILY)


class Severity(Enum):
    """How bad it is, by the share of attempts that fail; the value is its name in JSON."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class Condition(Enum):
    """How one subject of a storm stands when the storm ends; the value is its name in JSON."""

    FAILING = "failing"
    WORKS = "connects"
    QUIET = "quiet"


class State(Enum):
    """How a subject fails; the value is its name in JSON.

    Down: nothing succeeds. Degraded: a share of the attempts fails. Untried: it worked, failed, and
    nobody has tried again. Failing: one of these, and not known which.
    """

    DOWN = "down"
    DEGRADED = "degraded"
    UNTRIED = "untried"
    FAILING = "failing"


class Background(NamedTuple):
    """How a subject did before it failed; each field is None where that is not known.

    worked    when an attempt last succeeded, seconds since the epoch; None: never seen to work
    latency   how long a connect usually takes, in seconds
    share     the share of its attempts that usually fails, 0 to 1
    """

    worked: float | None = None
    latency: float | None = None
    share: float | None = None


class CauseCount(NamedTuple):
    """Failures of one cause; `evidence` is that of the latest one."""

    cause: Cause
    failures: int
    evidence: Evidence


class ProcessCount(NamedTuple):
    """Failures of one program; `pid` is the latest, `several` says that there were others.

    `comm` is untrusted text, as in `Process`; what follows `failures` is so as in `Maker`, and
    None where it is not known, or where it was written before it was told.
    """

    comm: str
    pid: int
    uid: int
    cgroup_id: int
    several: bool
    failures: int
    user: str | None = None
    unit: str | None = None
    container: str | None = None
    pod: str | None = None


class SubjectCount(NamedTuple):
    """Failures of one subject in a storm; `condition` is None until the storm ends.

    `host` is the name by which it was last asked for, None where it is not known. It failed in so
    many `namespaces`; `subject` is that of one of them. `address` is that which failed last of a
    subject that is a name.
    """

    subject: Subject
    failures: int
    condition: Condition | None
    host: str | None = None
    namespaces: int = 1
    address: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """One message about one incident. Times are seconds since the epoch, durations seconds.

    id            short and unique on a host: people see by it that a message came twice
    incident      the same for all messages of an incident
    opening       the first message that people see of the incident (also when it is over)
    subject       None for the digest of a storm, which has `top` instead
    hosts         the names by which the subject was asked for, as far as they are known and
                  the latest last; none where nobody knows, and for the digest of a storm
    failures      told here for the first time; `total` since the incident began
    at, since     when this was made, and from when on `failures` counts
    first, last   the first and the last failure of the incident; `duration` between them,
                  measured by a clock that does not jump
    causes        sum to `total`, most frequent first
    processes     the most frequent; `unlisted` failures were made by others or by nobody known
    established   attempts that succeeded during the incident, None where not known
    kinds         of a storm: how many of each kind of subject failed, each counted once in all
                  network namespaces; `untracked` failures were of even more of them
    absorbed      incidents that this digest speaks for from here on: their own messages end
    silenced      of `failures`, those that a silence or a maintenance window kept from people
    escalated     the first message of the incident that says critical: worth waking somebody
    state         how the subject fails, or failed
    background    how the subject did before; None for a digest
    addresses     of a subject that is a name: the addresses that failed, the latest last
    reminders     how many reminders of the incident there were, this one included
    working       of a digest that is its last message: how many subjects were seen to work again
    runbook       a URL that says what to do about it; empty for none
    """

    id: str
    incident: str
    kind: Phase
    severity: Severity
    opening: bool
    subject: Subject | None
    failures: int
    total: int
    at: float
    since: float
    first: float
    last: float
    duration: float
    causes: tuple[CauseCount, ...]
    processes: tuple[ProcessCount, ...]
    unlisted: int
    established: int | None
    kinds: tuple[tuple[str, int], ...] = ()
    top: tuple[SubjectCount, ...] = ()
    untracked: int = 0
    absorbed: tuple[str, ...] = ()
    silenced: int = 0
    escalated: bool = False
    hosts: tuple[str, ...] = ()
    state: State = State.FAILING
    background: Background | None = None
    addresses: tuple[str, ...] = ()
    reminders: int = 0
    working: int = 0
    runbook: str = ""

    @property
    def is_digest(self) -> bool:
        """Whether this speaks of a storm of subjects instead of one."""
        return self.subject is None

    @property
    def subjects(self) -> dict[str, int]:
        """How many of each kind failed."""
        return dict(self.kinds) if self.subject is None else {self.subject.kind: 1}

    @property
    def size(self) -> int:
        """How many failed."""
        return sum(self.subjects.values())

    @property
    def ratio(self) -> float | None:
        """The share of attempts that failed during the incident, 0 to 1; None where not known."""
        if self.established is None:
            return None
        return self.total / (self.total + self.established)

    def to_dict(self) -> dict[str, Any]:
        """Return what `json.dumps` takes and `from_dict` gives back."""
        return {field.name: getattr(self, field.name) for field in fields(self)} | {
            "version": VERSION,
            "kind": self.kind.value,
            "severity": self.severity.value,
            "subject": self.subject._asdict() if self.subject else None,
            "causes": [_cause_to_dict(c) for c in self.causes],
            "processes": [p._asdict() for p in self.processes],
            "kinds": [list(each) for each in self.kinds],
            "top": [_top_to_dict(t) for t in self.top],
            "absorbed": list(self.absorbed),
            "hosts": list(self.hosts),
            "state": self.state.value,
            "background": self.background._asdict() if self.background else None,
            "addresses": list(self.addresses),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Notification:
        """Return the notification that `to_dict` wrote; raise ValueError for anything else."""
        try:
            data = upgrade.notification(data)
            if data["version"] != VERSION:
                raise ValueError(f"a notification of version {data['version']} cannot be read")
            values = {name: value for name, value in data.items() if name != "version"}
            values["kind"] = Phase(data["kind"])
            values["severity"] = Severity(data["severity"])
            values["subject"] = _subject_from_dict(data["subject"]) if data["subject"] else None
            values["causes"] = tuple(_cause_from_dict(c) for c in data["causes"])
            values["processes"] = tuple(ProcessCount(**p) for p in data["processes"])
            values["kinds"] = tuple((str(kind), int(n)) for kind, n in data["kinds"])
            values["top"] = tuple(_top_from_dict(t) for t in data["top"])
            values["absorbed"] = tuple(data["absorbed"])
            values["hosts"] = tuple(data["hosts"])
            # A notification that was saved before these were known has none.
            values["state"] = State(data.get("state", State.FAILING.value))
            background = data.get("background")
            values["background"] = Background(**background) if background else None
            values["addresses"] = tuple(data.get("addresses", ()))
            return cls(**values)
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"this is not a notification: {error}") from error


def _subject_from_dict(data: dict[str, Any]) -> Subject:
    return TOPICS[data["kind"]].subject(**data)


def _cause_to_dict(count: CauseCount) -> dict[str, Any]:
    return {
        "kind": count.cause.kind,
        "cause": count.cause.value,
        "failures": count.failures,
        "evidence": count.evidence._asdict(),
    }


def _cause_from_dict(data: dict[str, Any]) -> CauseCount:
    kind = data["kind"]
    evidence = TOPICS[kind].evidence(**data["evidence"])
    return CauseCount(cause_of(kind, data["cause"]), data["failures"], evidence)


def _top_to_dict(count: SubjectCount) -> dict[str, Any]:
    return count._asdict() | {
        "subject": count.subject._asdict(),
        "condition": count.condition.value if count.condition else None,
    }


def _top_from_dict(data: dict[str, Any]) -> SubjectCount:
    condition = data["condition"]
    return SubjectCount(**data)._replace(
        subject=_subject_from_dict(data["subject"]),
        condition=None if condition is None else Condition(condition),
    )
