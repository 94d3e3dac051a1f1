"""One subject that fails: what succeeded meanwhile, and whether it is over."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from tcp_trace.incidents.account import Account, incident_id
from tcp_trace.incidents.notification import Notification, Phase, State
from tcp_trace.incidents.row import Row
from tcp_trace.incidents.standing import Standing
from tcp_trace.incidents.subjects import succeeded_since
from tcp_trace.incidents.tally import Tally

if TYPE_CHECKING:
    from tcp_trace.connects.events import Moment
    from tcp_trace.incidents.notification import Background
    from tcp_trace.incidents.policy import Policy
    from tcp_trace.incidents.row import Owner
    from tcp_trace.incidents.subjects import AnyFailure, Counts, Subject


class Incident(Account):
    """An incident of one subject, which is a suspect until people hear of it: see its `row`.

    `base` is what the kernel had counted when it began, `mark` at the latest message and `upto` at
    the latest failure, as far as it was asked: for the share of failing attempts, which are of the
    outage and not of what came after. They are None where that is not known: no counters then, or
    the service was restarted since. `grave` says that it may be critical: it worked before, or
    people asked for it. `watched_mono` is since when it is known whether anything succeeded, and
    `unwatched` failures were before.
    """

    __slots__ = (
        "asked", "background", "base", "gap_then", "grave", "mark", "row", "standing", "state",
        "subject", "unwatched", "upto", "watched_mono", "withheld",
    )  # fmt: skip

    def __init__(
        self, policy: Policy, tally: Tally, incident: str, patience: int, subject: Subject
    ) -> None:
        super().__init__(policy, tally, incident, patience)
        self.subject = subject
        self.row = Row(tally.first_mono)
        self.standing = Standing(tally.last_mono, tally.last_mono, shares=False)
        self.base: Counts | None = None
        self.mark: Counts | None = None
        self.upto: Counts | None = None
        self.watched_mono = tally.first_mono
        self.unwatched = 0
        self.asked = False
        self.withheld = -inf
        self.gap_then = 0.0
        self.grave = False
        self.state = State.FAILING
        self.background: Background | None = None

    @classmethod
    def begin(
        cls, policy: Policy, first: AnyFailure, serial: int, patience: int, owner: Owner
    ) -> Incident:
        """Return the incident that begins with this failure, which is not counted yet."""
        tally = Tally(first.mono, first.wall)
        name = incident_id(first.subject, first.wall, serial)
        incident = cls(policy, tally, name, patience, first.subject)
        incident.row.owner = owner
        return incident

    @property
    def is_heard(self) -> bool:
        """Whether any failure of a suspect was not silenced."""
        return self.heard > 0 or self.row.past is not None

    @property
    def heard_of(self) -> bool:
        """Whether it was opened for people."""
        return self.sequence > 0

    def doubt(self, failure: AnyFailure) -> None:
        """Count a failure of a suspect: one after a success begins a row, and a tally, anew."""
        row, within = self.row, None if self.policy.after is None else self.policy.window
        is_over = not row.failures and self.tally.total > self.silenced
        if is_over and (within is None or failure.mono > row.last + within):
            self._put_by(failure)
        self.silenced_by = None
        super().add(failure)
        row.add(failure, within, max(1e-3, self.policy.degraded_window / 3))

    def _put_by(self, failure: AnyFailure) -> None:
        row = self.row
        if row.past is None:
            row.past = self.tally
        else:
            row.past.absorb(self.tally)
        row.past_silenced += self.silenced
        self.tally = Tally(failure.mono, failure.wall)
        self.told_mono, self.told_wall = failure.mono, failure.wall
        self.silenced = 0
        self.base = row.counts

    def take_past(self) -> None:
        """Count also the failures of rows that a success ended, in this window."""
        row = self.row
        if row.past is None:
            return
        self.tally.absorb(row.past)
        self.silenced += row.past_silenced
        self.told_wall = self.tally.first_wall
        self.base = row.base
        row.past, row.past_silenced = None, 0

    def add_silenced(self, failure: AnyFailure, silence: str) -> None:
        """Count a failure that is no cause for a message, because of this silence.

        When one sets in, neither are those before it that only wait for `interval` to be over.
        """
        if self.silenced_by is None:
            self.silenced += self.pressing
            self.worth = False
            self.row.failures = 0
        super().add_silenced(failure, silence)

    def hear(self, seen: Counts | None, now: Moment) -> None:
        """Take in what the kernel counted until now."""
        did_work = self.standing.since is not None
        self.standing.hear(seen, self.policy, now)
        if not did_work:
            self.gap_then = self.tally.usual_gap

    def add(self, failure: AnyFailure) -> bool:
        """Count a failure; return whether `wake` may have to be earlier because of it."""
        if self.standing.add(failure, self.policy):
            return super().add(failure)
        self.worth = self.tally.add(failure) or self.worth  # for when it fails again
        return False

    def note(self, seen: Counts | None) -> None:
        """Remember what the kernel had counted at the latest failure, where this is it."""
        if self.standing.since is not None:
            return
        if succeeded_since(seen, self.tally.last_mono):
            self.upto = self.upto or self.row.counts or self.base
        else:
            self.upto = seen

    def open(self, now: Moment, seen: Counts | None, state: State) -> Notification:
        """Return the first message."""
        self.note(seen)
        self.asked, self.state, self.mark = True, state, self.base
        self.standing = Standing.of(self.row, shares=state is State.DEGRADED)
        self.standing.hear(seen, self.policy, now)
        self.watched_mono = self.tally.first_mono
        self._judge(now, seen)
        return self._tell(Phase.OPENED, now, seen)

    def review(self, now: Moment, seen: Counts | None) -> Notification | None:
        """Return the message that is due, if any, given what the kernel counted until now."""
        self.hear(seen, now)
        self.note(seen)
        if self.asked:
            self._judge(now, seen)
        else:  # after a restart: what was before is not known, and not judged
            self.asked, self.mark = True, seen
            self.watched_mono, self.unwatched = now.mono, self.tally.total
        kind = self.kind(now, seen)
        self.withheld = now.mono
        return None if kind is None else self._tell(kind, now, seen)

    def _tell(self, kind: Phase, now: Moment, seen: Counts | None) -> Notification:
        established = self._established()
        if kind is Phase.OPENED and self.state is State.DOWN:
            established = 0
        told = self.tell(
            kind, now, self.subject, established, state=self.state, background=self.background
        )
        self.mark = seen
        return told

    def resolve_at(self) -> float:
        """Return from when on this could be called recovered.

        Where some in a thousand fail at all times there is no long time without a failure.
        """
        standing = self.standing
        if standing.since is None or self.gap_then > self.policy.recent:
            return super().resolve_at()
        if not standing.is_well(self.policy):
            return super().resolve_at()
        return standing.since + self.wait(self.gap_then)

    def quiet_at(self) -> float:
        """Return from when on this is called quiet: later where people know that nobody tried."""
        if self.state is State.UNTRIED:
            return self.told_mono + self.policy.untried_quiet
        return super().quiet_at()

    def next_look(self, now: Moment) -> float:
        """Return when `review` is useful again, in seconds of CLOCK_MONOTONIC."""
        if not self.asked:
            return now.mono
        resolve_at = self.resolve_at()
        if resolve_at <= now.mono:
            resolve_at = min(now.mono + self.policy.recheck, max(now.mono, self.quiet_at()))
        tell_at = self.tell_at() if self.standing.since is None else inf
        if tell_at <= now.mono:
            soon = now.mono if self.heard_mono >= self.withheld else now.mono + self.policy.recheck
            tell_at = soon if self.is_recent(now) else inf  # else the next failure says when
        elif tell_at < inf and not self.is_critical and self.is_recent(now):
            tell_at = min(tell_at, now.mono + self.policy.down_after)
        return min(tell_at, resolve_at)

    def kind(self, now: Moment, seen: Counts | None) -> Phase | None:
        """Return what is to be told now."""
        if now.mono >= self.resolve_at():
            is_well = self.standing.is_well(self.policy)
            if is_well or succeeded_since(seen, self.tally.last_mono):
                return Phase.RESOLVED
            if now.mono >= self.quiet_at():
                return Phase.QUIET
        works = self.standing.since is not None
        if now.mono >= self.tell_at() and self.is_recent(now) and not works:
            return Phase.UPDATED if self.worth else Phase.REMINDED
        return None

    def _judge(self, now: Moment, seen: Counts | None) -> None:
        """Judge by what happened since the latest message; see `docs/ALERTS.md`, Severity."""
        if seen is None or not self.is_recent(now) or self.standing.since is not None:
            return
        is_down = not succeeded_since(seen, self.watched_mono)
        has_worked = seen.last_established_ns > 0 and not succeeded_since(
            seen, self.tally.last_mono
        )
        self.grave = self.grave or has_worked
        failed = self.tally.total - self.unwatched
        if failed >= self.policy.critical_from:
            self.state = State.DOWN if is_down or not self._established() else State.DEGRADED
        if is_down:
            self.judge(0, failed)
        elif self.mark is not None:
            self.judge(seen.established - self.mark.established, self.pressing)
        else:  # no baseline: the share is that of the kernel's totals
            self.judge(seen.established, seen.failed)

    def judge(self, established: int, failed: int) -> None:
        """Find the severity by so many attempts; one that is not `grave` is a warning."""
        super().judge(established, failed if self.grave else 0)

    def _established(self) -> int | None:
        base, upto = self.base, self.upto
        if base is None or upto is None:
            return None
        if upto.established < base.established or upto.failed < base.failed:
            return None  # another entry of the same subject: the one of the opening is gone
        return upto.established - base.established
