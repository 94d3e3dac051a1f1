"""Many subjects that fail together: counted one by one, told as one."""

from __future__ import annotations

from collections import Counter
from math import inf
from typing import TYPE_CHECKING

from tcp_trace.incidents.account import Account, incident_id
from tcp_trace.incidents.fairness import Shares, fairly, maker_of, makers_of
from tcp_trace.incidents.member import Member
from tcp_trace.incidents.notification import (
    Condition,
    Notification,
    Phase,
    SubjectCount,
)
from tcp_trace.incidents.subjects import succeeded_since
from tcp_trace.incidents.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tcp_trace.connects.events import Moment
    from tcp_trace.incidents.fairness import Whose
    from tcp_trace.incidents.incident import Incident
    from tcp_trace.incidents.policy import Policy
    from tcp_trace.incidents.subjects import AnyFailure, Seen, Subject

TOLD_SUBJECTS = 10
_MAKERS_KNOWN = 4096
# How often it is asked whether anything works (seconds).
_ASK_EVERY = 1.0


class Storm(Account):
    """An open storm.

    It rages while subjects join (the last one at `joined_mono`), or as many as make a storm or
    half of them are failing; `raged_mono` is when it was last seen to. `untracked` failures went to
    subjects that found no place. It is `broad` where more fails than works, and waits `gather`
    seconds before it is told. Its `sites` are the members by what they have in common over
    network namespaces: those are told as one. `nothing_works` is as of `asked_mono`. `known` are
    the makers that it was heard of, and the users among them by themselves.
    """

    __slots__ = (
        "asked_mono", "broad", "gather", "joined_mono", "known", "members", "nothing_works",
        "raged_mono", "shares", "sites", "untracked",
    )  # fmt: skip

    def __init__(self, policy: Policy, tally: Tally, incident: str, patience: int) -> None:
        super().__init__(policy, tally, incident, patience)
        self.members: list[Member] = []
        self.sites: dict[Subject, list[Member]] = {}
        self.broad = False
        self.gather = policy.storm_gather
        self.known: set[Whose | int | None] = set()
        self.shares = Shares()
        self.untracked = 0
        self.asked_mono, self.nothing_works = -inf, False
        self.joined_mono = self.raged_mono = tally.first_mono

    @classmethod
    def begin(cls, policy: Policy, now: Moment, serial: int, patience: int) -> Storm:
        """Return a storm without failures."""
        name = incident_id("storm", now.wall, serial)
        return cls(policy, Tally(now.mono, now.wall), name, patience)

    def speaks_for(self, suspect: Incident, now: Moment, seen: Seen) -> bool:
        """Whether a suspect fails for what this storm is about.

        That is its site in another network namespace; and where more failed than worked, whatever
        begins to fail at first, or while nothing works at all.
        """
        if suspect.subject.site in self.sites:
            return True
        if not self.broad or now.mono > self.heard_mono + self.policy.recent:
            return False
        is_early = suspect.row.first < self.tally.first_mono + self.policy.resolve_after
        return is_early or self._nothing_works(suspect.row.first, now, seen)

    def _nothing_works(self, since: float, now: Moment, seen: Seen) -> bool:
        """Whether nothing worked since then; all that the kernel counted is read once a second."""
        if now.mono >= self.asked_mono + _ASK_EVERY:
            self.asked_mono, self.nothing_works = now.mono, not seen.working(since)
        return self.nothing_works

    def has_place(self, makers: Iterable[Whose], taken: int) -> bool:
        """Whether one more, of these makers, is remembered by itself, of so many that are already.

        A tenth more than the policy has are for those who have few, to be named.
        """
        most = self.policy.max_incidents
        if taken < most:
            return True
        return taken < most + most // 10 and any(map(self.shares.is_small, makers))

    def add_member(self, member: Member) -> None:
        """Take in a subject with what was counted of it."""
        self.members.append(member)
        self.sites.setdefault(member.subject.site, []).append(member)

    def absorb(self, suspect: Incident, now: Moment) -> Member:
        """Take in a suspect, of which nobody has heard, with what was counted of it."""
        tally = suspect.tally
        member = Member(self, suspect.subject, self.sequence, suspect.heard_mono)
        member.failures = tally.total
        member.grave = suspect.grave or suspect.row.works
        member.host = tally.hosts[-1] if tally.hosts else None
        member.address = tally.addresses[-1] if tally.addresses else None
        member.standing.usual = suspect.row.share
        member.add_makers(tally)
        self._take_over(suspect, now)
        self.shares.add(member.makers)
        self.add_member(member)
        return member

    def absorb_untracked(self, suspect: Incident, now: Moment) -> None:
        """Take in what was counted of a suspect that finds no place."""
        self.untracked += suspect.tally.total
        self._take_over(suspect, now)

    def _take_over(self, suspect: Incident, now: Moment) -> None:
        self.joined_mono = now.mono
        self.heard_mono = max(self.heard_mono, suspect.heard_mono)
        self.worth = True
        self.silenced += suspect.silenced
        self.told_wall = min(self.told_wall, suspect.told_wall)
        makers = makers_of(suspect.tally)
        self.tally.absorb(suspect.tally)
        for maker in makers:
            self.meet(maker, joins=True)

    def join(self, failure: AnyFailure, now: Moment) -> Member:
        """Take in a subject with its first failure."""
        self.joined_mono = now.mono
        self.worth = True
        member = Member(self, failure.subject, self.sequence, failure.mono)
        self.add_member(member)
        self.meet(maker_of(failure.process, failure.maker), joins=True)
        member.add(failure)
        self.shares.add(member.makers)
        return member

    def meet(self, maker: Whose, *, joins: bool) -> bool:
        """Note whose a failure is; return whether the next digest is due the sooner for it.

        A storm is told ever more rarely, and so whoever keeps one up would keep others' failures
        from people for hours. So what a user fails at who is new to it is told after `interval`
        again, and what another owner's cgroups do where their subject `joins`: those come and
        go too often to be news at a known one.
        """
        is_new = maker[1] not in self.known or (joins and maker not in self.known)
        self._know(maker)
        if not is_new or self.sequence == 0:
            return False
        self.updates = 0
        self.worth = True
        return True

    def know_of(self, tally: Tally) -> None:
        """Take those whose failures were counted for known."""
        for maker in makers_of(tally):
            self._know(maker)

    def _know(self, maker: Whose) -> None:
        if len(self.known) < _MAKERS_KNOWN:  # where they are more, some stay new
            self.known |= {maker, maker[1]}

    def add_untracked(self, failure: AnyFailure, now: Moment) -> None:
        """Count a failure of a subject that finds no place."""
        self.joined_mono = now.mono
        self.untracked += failure.times
        self.meet(maker_of(failure.process, failure.maker), joins=True)
        self.add(failure)

    def tell_at(self) -> float:
        """Return when the next digest is due; the first one waits to see how large this is."""
        if self.sequence == 0:
            return self.told_mono + self.gather
        return super().tell_at()

    def review(self, now: Moment, seen: Seen) -> Notification | None:
        """Return the digest that is due, if any."""
        if self.sequence == 0:
            return self._tell(Phase.OPENED, now, seen) if now.mono >= self.tell_at() else None
        kind = self._ending(now, seen)
        if kind is not None:
            return self._tell(kind, now, seen)
        if now.mono < self.tell_at() or not self.is_recent(now):
            return None
        return self._tell(Phase.UPDATED if self.worth else Phase.REMINDED, now, seen)

    def next_look(self, now: Moment) -> float:
        """Return when `review` is useful again, in seconds of CLOCK_MONOTONIC."""
        if self.sequence == 0:
            return self.tell_at()
        tell_at = self.tell_at()
        if tell_at <= now.mono and not self.is_recent(now):
            tell_at = inf  # the next failure says when
        return min(tell_at, now.mono + self.policy.recheck)

    def _ending(self, now: Moment, seen: Seen) -> Phase | None:
        if self._rages(self._failing_since(now)):
            self.raged_mono = now.mono
            return None
        working = self._working(seen)
        if 2 * working >= len(self.members):
            return Phase.RESOLVED
        if now.mono < self.raged_mono + self.policy.quiet_after:
            return None
        return Phase.RESOLVED if working else Phase.QUIET

    def _working(self, seen: Seen) -> int:
        """Return how many were seen to work after their last failure."""
        return sum(succeeded_since(seen.counts(m.subject), m.last_mono) for m in self.members)

    def _rages(self, since: float) -> bool:
        """Whether subjects joined since then, or so many failed: those of a storm, or half."""
        if self.joined_mono > since:
            return True
        failing = [sum(m.last_mono > since for m in members) for members in self.sites.values()]
        enough = min(self.policy.storm_subjects, (len(self.members) + 1) // 2)
        return sum(failing) >= max(1, enough)

    def _failing_since(self, now: Moment) -> float:
        """Return the time since when a subject must have failed to count as failing."""
        return now.mono - self.policy.resolve_after * self.patience

    def _tell(self, kind: Phase, now: Moment, seen: Seen) -> Notification:
        top = self._top(now, seen, ending=kind.is_last)
        self._judge_storm(top, seen)
        return self.tell(
            kind,
            now,
            None,
            None,
            kinds=tuple(Counter(site.kind for site in self.sites).items()),
            top=top,
            untracked=self.untracked,
            working=self._working(seen) if kind.is_last else 0,
        )

    def _judge_storm(self, top: tuple[SubjectCount, ...], seen: Seen) -> None:
        """Judge by the named subjects: at how many of them nothing was established."""
        members = [m for count in top for m in self.sites[count.subject.site]]
        counted = [(member, seen.counts(member.subject)) for member in members]
        known = [(member, counts) for member, counts in counted if counts is not None]
        dead = sum(m.grave and not succeeded_since(c, self.tally.first_mono) for m, c in known)
        is_dead = known and dead >= self.policy.critical_ratio * len(known)
        self.judge(0, self.tally.total if is_dead else 0)

    def _top(self, now: Moment, seen: Seen, *, ending: bool) -> tuple[SubjectCount, ...]:
        """Return the subjects to name: new ones first, at the end those that still fail.

        Of them one of each maker comes before a second of any: nobody's hide another's.
        """
        failing_since = self._failing_since(now)

        def rank(members: list[Member]) -> tuple[bool, int]:
            first = (
                any(m.last_mono > failing_since for m in members)
                if ending
                else any(m.joined == self.sequence for m in members)
            )
            return first, sum(m.failures for m in members)

        return tuple(
            SubjectCount(
                members[0].subject,
                sum(m.failures for m in members),
                _condition(members, failing_since, seen) if ending else None,
                next((m.host for m in members if m.host), None),
                len(members),
                next((m.address for m in members if m.address), None),
            )
            for members in fairly(self.sites.values(), TOLD_SUBJECTS, rank, _makers)
        )


def _makers(members: list[Member]) -> set[Whose]:
    return {maker for member in members for maker in member.makers}


def _condition(members: list[Member], failing_since: float, seen: Seen) -> Condition:
    """Return how they stand together: failing where one is, else by whether one works."""
    if any(m.last_mono > failing_since for m in members):
        return Condition.FAILING
    if any(succeeded_since(seen.counts(m.subject), m.last_mono) for m in members):
        return Condition.WORKS
    return Condition.QUIET
