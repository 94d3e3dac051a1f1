"""What happened and how much of it was told: the part that incidents and storms share."""

from __future__ import annotations

from base64 import b32encode
from hashlib import blake2s
from math import inf
from typing import TYPE_CHECKING, Any

from tcp_trace.incidents.notification import Notification, Phase, Severity

if TYPE_CHECKING:
    from tcp_trace.connects.events import Moment
    from tcp_trace.incidents.policy import Policy
    from tcp_trace.incidents.subjects import AnyFailure, Subject
    from tcp_trace.incidents.tally import Tally


def incident_id(*parts: object) -> str:
    """Return a short name: the same for the same parts, another for others, without chance."""
    digest = blake2s(repr(parts).encode(), digest_size=5).digest()
    return b32encode(digest).decode().lower()


class Account:
    """The failures of one incident, and when people should hear of them.

    `untold` failures are in no message yet. `worth` says that something happened that is worth
    a message of its own before the next reminder. `updates` of these were told lately. `silenced`
    of all failures, `silenced_told` of those told, were kept from people, lately by the silence
    `silenced_by`; they alone are no cause for a message. `heard_mono` is the latest other one.
    `is_critical` is how it stands now, `severity` what people were told of it or are told next.
    `wake` is when to look again, in seconds of CLOCK_MONOTONIC, minus infinity once nobody
    needs to.
    """

    __slots__ = (
        "escalated", "heard_mono", "incident", "is_critical", "patience", "policy",
        "reminders", "sequence", "severity", "silenced", "silenced_by", "silenced_told", "tally",
        "told", "told_mono", "told_wall", "updates", "wake", "worth",
    )  # fmt: skip

    def __init__(self, policy: Policy, tally: Tally, incident: str, patience: int) -> None:
        self.policy = policy
        self.tally = tally
        self.incident = incident
        self.patience = patience
        self.sequence = 0
        self.told = 0
        self.told_mono = tally.first_mono
        self.told_wall = tally.first_wall
        self.heard_mono = tally.first_mono
        self.worth = False
        self.updates = 0
        self.reminders = 0
        self.severity = Severity.WARNING
        self.is_critical = False
        self.escalated = False
        self.silenced = self.silenced_told = 0
        self.silenced_by: str | None = None
        self.wake = inf

    @property
    def untold(self) -> int:
        """How many failures are in no message yet."""
        return self.tally.total - self.told

    @property
    def heard(self) -> int:
        """How many failures there were while nothing silenced them."""
        return self.tally.total - self.silenced

    @property
    def gap(self) -> float:
        """How long news wait: what goes on is told ever more rarely."""
        policy = self.policy
        most = max(policy.interval, policy.repeat_most)
        return min(policy.interval * (1 << min(self.updates, 30)), most)

    @property
    def pressing(self) -> int:
        """How many of the untold failures people want to hear of."""
        return self.heard - (self.told - self.silenced_told)

    def add(self, failure: AnyFailure) -> bool:
        """Count a failure; return whether `wake` may have to be earlier because of it."""
        is_new = self.tally.add(failure)
        was_recent = failure.mono < self.heard_mono + self.policy.recent
        self.heard_mono = max(self.heard_mono, failure.mono)
        said_little = self.sequence == 1 and self.told < self.policy.critical_from
        if not self.worth and (is_new or said_little):
            self.worth = True
            return True
        return not was_recent or self.pressing == failure.times

    def is_recent(self, now: Moment) -> bool:
        """Whether it failed within the last minute, of what people are to hear."""
        return now.mono <= self.heard_mono + self.policy.recent

    def add_silenced(self, failure: AnyFailure, silence: str) -> None:
        """Count a failure that is no cause for a message, because of this silence."""
        self.tally.add(failure)
        self.silenced += failure.times
        self.silenced_by = silence

    def resume(self) -> None:
        """Let people hear of a failure that comes when the silence before it has ended."""
        self.silenced_by = None
        self.worth = True

    def tell_at(self) -> float:
        """Return when the next message is due if nothing else happens; infinity for never."""
        policy = self.policy
        if self.worth and self.severity is Severity.CRITICAL and not self.escalated:
            return self.told_mono + min(policy.down_after, policy.interval)
        if self.worth:
            return self.told_mono + self.gap
        if self.pressing:
            wait = min(policy.repeat * (1 << min(self.reminders, 30)), policy.repeat_most)
            return self.told_mono + max(self.gap, policy.repeat, wait)
        return inf

    def resolve_at(self) -> float:
        """Return from when on this could be called recovered."""
        return self.tally.last_mono + self.wait(self.tally.usual_gap)

    def wait(self, gap: float) -> float:
        """Return how long nothing may fail where there usually is this gap between failures."""
        policy = self.policy
        return max(policy.resolve_after * self.patience, policy.resolve_gaps * gap)

    def quiet_at(self) -> float:
        """Return from when on this is called quiet if there was no success either."""
        return max(self.resolve_at(), self.tally.last_mono + self.policy.quiet_after)

    def tell(
        self,
        kind: Phase,
        now: Moment,
        subject: Subject | None,
        established: int | None,
        **more: Any,  # noqa: ANN401 - the fields that only an incident has, or a storm
    ) -> Notification:
        """Return the message about everything untold, and remember that it was told."""
        self.sequence += 1
        self.reminders += kind is Phase.REMINDED
        if not kind.is_last:
            self.severity = Severity.CRITICAL if self.is_critical else Severity.WARNING
        critical = self.severity is Severity.CRITICAL and not kind.is_last
        notification = Notification(
            id=f"{self.incident}-{self.sequence}",
            incident=self.incident,
            kind=kind,
            severity=self.severity,
            opening=kind is Phase.OPENED,
            subject=subject,
            failures=self.untold,
            at=now.wall,
            since=self.told_wall,
            established=established,
            silenced=self.silenced - self.silenced_told,
            escalated=critical and not self.escalated,
            hosts=() if subject is None else self.tally.hosts,
            addresses=() if subject is None else self.tally.addresses,
            reminders=self.reminders,
            **self.tally.counts(),
            **more,
        )
        self.told, self.silenced_told = self.tally.total, self.silenced
        self.told_mono, self.told_wall = now.mono, now.wall
        self.updates += kind is Phase.UPDATED
        self.escalated = self.escalated or critical
        self.worth = False
        return notification

    def judge(self, established: int, failed: int) -> None:
        """Find the severity by so many attempts. It rises at once, and falls with a message."""
        policy = self.policy
        share = policy.critical_ratio * (failed + established)
        self.is_critical = failed >= policy.critical_from and failed >= share
        if self.is_critical and self.severity is not Severity.CRITICAL:
            self.severity = Severity.CRITICAL
            self.worth = self.worth or (self.sequence > 0 and self.pressing > 0)
