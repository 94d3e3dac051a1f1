"""One subject that fails: what succeeded meanwhile, and whether it is over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcp_trace.incidents.account import Account, incident_id
from tcp_trace.incidents.notification import Notification, Phase
from tcp_trace.incidents.subjects import succeeded_since
from tcp_trace.incidents.tally import Tally

if TYPE_CHECKING:
    from tcp_trace.connects.events import Moment
    from tcp_trace.incidents.policy import Policy
    from tcp_trace.incidents.subjects import AnyFailure, Counts, Subject


class Incident(Account):
    """An open incident of one subject.

    `base` is what the kernel had counted at the opening, for the share of failing attempts. It
    is None where that is not known: no counters then, or the service was restarted since. It is
    `held` while nobody has heard of it, because every failure was silenced.
    """

    __slots__ = ("asked", "base", "subject")

    def __init__(
        self, policy: Policy, tally: Tally, incident: str, patience: int, subject: Subject
    ) -> None:
        super().__init__(policy, tally, incident, patience)
        self.subject = subject
        self.base: Counts | None = None
        self.asked = False

    @classmethod
    def begin(cls, policy: Policy, first: AnyFailure, serial: int, patience: int) -> Incident:
        """Return the incident that begins with this failure, which is not counted yet."""
        tally = Tally(first.mono, first.wall)
        name = incident_id(first.subject, first.wall, serial)
        return cls(policy, tally, name, patience, first.subject)

    @property
    def held(self) -> bool:
        """Whether it was not opened yet for people."""
        return self.sequence == 0

    @property
    def opened(self) -> float:
        """When people heard of it, CLOCK_MONOTONIC, as far as that is known.

        One that was silenced first opened when it was told, and not when it began.
        """
        return self.told_mono if self.sequence == 1 else self.tally.first_mono

    def add_silenced(self, failure: AnyFailure, silence: str) -> None:
        """Count a failure that is no cause for a message, because of this silence.

        When one sets in, neither are those before it that only wait for `interval` to be over.
        """
        if self.silenced_by is None:
            self.silenced += self.pressing
            self.worth = False
        super().add_silenced(failure, silence)

    def open(self, now: Moment, seen: Counts | None, *, asked: bool) -> Notification:
        """Return the first message; `asked` says whether `seen` is the kernel's answer."""
        established = self._established(seen)
        if seen is not None and not succeeded_since(seen, self.tally.first_mono):
            established = 0
        if not self.asked:
            self.base, self.asked = seen, asked
        self.judge(established)
        return self.tell(Phase.OPENED, now, self.subject, established)

    def review(self, now: Moment, seen: Counts | None) -> Notification | None:
        """Return the message that is due, if any, given what the kernel counted until now."""
        if self.asked:
            established = self._established(seen)
            if self.base is None and seen is not None:
                # No baseline: the share is that of the kernel's totals.
                self.judge(seen.established, seen.failed)
            else:
                self.judge(established)
        else:
            self.base, self.asked, established = seen, True, None
        kind = self._kind(now, seen)
        if kind is None:
            return None
        return self.tell(kind, now, self.subject, established)

    def next_look(self, now: Moment) -> float:
        """Return when `review` is useful again, in seconds of CLOCK_MONOTONIC."""
        if not self.asked:
            return now.mono
        resolve_at = self.resolve_at()
        if resolve_at <= now.mono:
            resolve_at = min(now.mono + self.policy.recheck, max(now.mono, self.quiet_at()))
        return min(self.tell_at(), resolve_at)

    def _kind(self, now: Moment, seen: Counts | None) -> Phase | None:
        if now.mono >= self.resolve_at():
            if succeeded_since(seen, self.tally.last_mono):
                return Phase.RESOLVED
            if now.mono >= self.quiet_at():
                return Phase.QUIET
        if now.mono >= self.tell_at():
            return Phase.UPDATED if self.worth else Phase.REMINDED
        return None

    def _established(self, seen: Counts | None) -> int | None:
        base = self.base
        if base is None or seen is None:
            return None
        if seen.established < base.established or seen.failed < base.failed:
            return None  # another entry of the same subject: the one of the opening is gone
        return seen.established - base.established
