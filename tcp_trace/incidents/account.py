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
    a message of its own before the next reminder. `silenced` of all failures, `silenced_told` of
    those told, were kept from people, lately by the silence `silenced_by`; they alone are no cause
    for a message. `wake` is when to look again, in seconds of CLOCK_MONOTONIC, minus infinity once
    nobody needs to.
    """

    __slots__ = (
        "escalated", "gap", "growth", "incident", "patience", "policy", "sequence", "severity",
        "silenced", "silenced_by", "silenced_told", "tally", "told", "told_mono", "told_wall",
        "wake", "worth",
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
        self.worth = False
        self.growth = 0
        self.gap = policy.interval
        self.severity = Severity.WARNING
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
    def pressing(self) -> int:
        """How many of the untold failures people want to hear of."""
        return self.heard - (self.told - self.silenced_told)

    def add(self, failure: AnyFailure) -> bool:
        """Count a failure; return whether `wake` may have to be earlier because of it."""
        is_new = self.tally.add(failure)
        if not self.worth and (is_new or self.sequence == 1 or self.heard >= self.growth):
            self.worth = True
            return True
        return self.pressing == failure.times

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
        if self.worth:
            return self.told_mono + self.gap
        if self.pressing:
            return self.told_mono + max(self.gap, self.policy.repeat)
        return inf

    def resolve_at(self) -> float:
        """Return from when on this could be called recovered."""
        return self.tally.last_mono + self.policy.resolve_after * self.patience

    def quiet_at(self) -> float:
        """Return from when on this is called quiet if there was no success either."""
        return max(self.resolve_at(), self.tally.last_mono + self.policy.quiet_after)

    def tell(
        self,
        kind: Phase,
        now: Moment,
        subject: Subject | None,
        established: int | None,
        **digest: Any,  # noqa: ANN401 - the fields that only a storm has
    ) -> Notification:
        """Return the message about everything untold, and remember that it was told."""
        self.sequence += 1
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
            **self.tally.counts(),
            **digest,
        )
        self.told, self.silenced_told = self.tally.total, self.silenced
        self.told_mono, self.told_wall = now.mono, now.wall
        self.growth = self.heard * self.policy.growth
        self.escalated = self.escalated or critical
        self.worth = False
        return notification

    def judge(self, established: int | None, failed: int | None = None) -> None:
        """Raise the severity if the share of failing attempts calls for it; it never falls.

        `established` is how many attempts succeeded meanwhile, None where not known; `failed` how
        many failed in the same time, None for all that were counted here.
        """
        policy = self.policy
        failed = self.tally.total if failed is None else failed
        if established is None or failed < policy.critical_from:
            return
        if failed < policy.critical_ratio * (failed + established):
            return
        if self.severity is not Severity.CRITICAL:
            self.severity = Severity.CRITICAL
            self.worth = self.worth or (self.sequence > 0 and self.pressing > 0)
