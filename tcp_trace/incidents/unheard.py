"""Failures that people have not heard of: suspects, the redeemed, and the daily digest of these."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Protocol

from tcp_trace.incidents.daily import Day
from tcp_trace.incidents.explorers import name_of
from tcp_trace.incidents.incident import Incident
from tcp_trace.incidents.row import background_of, owner_of
from tcp_trace.incidents.suspects import Suspects
from tcp_trace.incidents.suspicion import Suspicion

if TYPE_CHECKING:
    from collections.abc import Callable

    from tcp_trace.connects.events import Moment
    from tcp_trace.incidents.agenda import Agenda
    from tcp_trace.incidents.memory import Known
    from tcp_trace.incidents.notification import Notification
    from tcp_trace.incidents.policy import Policy
    from tcp_trace.incidents.subjects import AnyFailure, Seen, Subject
    from tcp_trace.incidents.tally import Tally

# The kernel is asked for the counts of a suspect no more often than this (seconds).
_ASK_EVERY = 1.0


class Remembering(Protocol):
    """What is known of subjects from before."""

    def known(self, subject: Subject) -> Known | None:
        """Return what is known of a subject, None where it was never seen to work."""


class Unheard:
    """All suspects. `below` failures were redeemed, too few, or had to make room for others."""

    def __init__(
        self,
        policy: Policy,
        agenda: Agenda,
        memory: Remembering | None,
        serial: Callable[[], int],
    ) -> None:
        self.policy = policy
        self.below = 0
        self.silenced = 0
        self.day: Day | None = None
        self.suspects = Suspects(policy)
        self.suspicion = Suspicion(policy, self.suspects)
        self._agenda = agenda
        self._memory = memory
        self._serial = serial
        self._looked = -inf

    def use(self, policy: Policy, now: Moment) -> None:
        """Go by this from now on."""
        self.policy = self.suspects.policy = self.suspicion.policy = policy
        self.suspicion.explorers.policy = policy
        for suspect in self.suspects:
            suspect.policy = policy
            self.plan(suspect, now)
        if self.day is not None and policy.digest_hour is None:
            self.day.wake, self.day = -inf, None
        elif self.day is not None:
            self.day.use(policy, now)
            self.plan_day(now)

    def take(self, failure: AnyFailure, now: Moment, seen: Seen) -> tuple[Incident, bool]:
        """Count a failure; return its suspect, and whether it is to be judged now."""
        suspect = self.suspects.get(failure.subject)
        if suspect is None:
            suspect = self.begin(failure, now, seen)
            is_asked = True
        else:
            is_asked = now.mono >= suspect.row.asked + _ASK_EVERY
            if is_asked:
                suspect.row.hear(seen.counts(failure.subject), now)
                if self.suspicion.is_past(suspect, now):
                    self.redeem(suspect, now)
                    suspect = self.begin(failure, now, seen)
                else:
                    self.suspects.refresh(suspect)
        begins = not suspect.row.failures
        suspect.doubt(failure)
        if begins and suspect.row.works:
            self.suspects.note_onset(suspect)
        if not is_asked:
            self._agenda.plan(suspect, suspect.row.asked + _ASK_EVERY)
        return suspect, is_asked or self.policy.after is not None

    def hush(self, failure: AnyFailure, silence: str, now: Moment, seen: Seen) -> None:
        """Count a failure that a silence keeps from people."""
        suspect = self.suspects.get(failure.subject)
        if suspect is None:
            # Half of the places are kept for what people want to hear of.
            if len(self.suspects) >= self.policy.max_incidents // 2:
                self.silenced += failure.times
                return
            suspect = self.begin(failure, now, seen)
        suspect.add_silenced(failure, silence)
        self.plan(suspect, now)

    def begin(self, failure: AnyFailure, now: Moment, seen: Seen) -> Incident:
        """Return a new suspect; its first failure is not counted yet."""
        suspect = self.make(failure, now, seen)
        if self.suspicion.began is None:
            self.suspicion.began = now.wall
        if not suspect.row.works:
            self.suspicion.explorers.add(name_of(failure.process, failure.maker), now)
        crowded_out = self.suspects.put(suspect)
        if crowded_out is not None:
            self.redeem(crowded_out, now)
        return suspect

    def make(self, failure: AnyFailure, now: Moment, seen: Seen) -> Incident:
        """Return an incident that begins with this failure, which is not counted yet."""
        owner, subject = owner_of(failure), failure.subject
        incident = Incident.begin(self.policy, failure, self._serial(), 1, owner)
        counts = seen.counts(subject)
        known = None if self._memory is None else self._memory.known(subject)
        incident.row.know(known, counts)
        if self._memory is not None and known is None:  # it began to work just now, if ever
            incident.row.since = now.wall
        incident.row.asked, incident.row.counts = now.mono, counts
        incident.background = background_of(known, counts, now)
        incident.base, incident.asked = counts, True
        return incident

    def plan(self, suspect: Incident, now: Moment) -> None:
        """Look at a suspect again in time."""
        when = (
            self.suspicion.next_look(suspect, now) if suspect.is_heard else suspect.next_look(now)
        )
        self._agenda.plan(suspect, when)

    def release(self, suspect: Incident) -> None:
        """Let go of a suspect: people hear of it, alone or in a storm."""
        self.suspects.remove(suspect)
        suspect.wake = -inf

    def redeem(self, suspect: Incident, now: Moment) -> None:
        """Count a suspect of which nobody needs to hear."""
        self.release(suspect)
        if not suspect.is_heard:
            self.silenced += suspect.tally.total
            return
        suspect.take_past()
        self._count(suspect.subject, suspect.tally, suspect.silenced, now)

    def adopt(self, suspect: Incident, now: Moment) -> None:
        """Take up a suspect that was saved."""
        self.suspects.put(suspect)
        self.plan(suspect, now)

    def review_day(self, day: Day, now: Moment) -> list[Notification]:
        """Return the daily digest where it is due."""
        notification = day.review(now)
        if notification is None:
            self.plan_day(now)
            return []
        self.day = None
        return [notification]

    def note_untried(self, suspect: Incident, now: Moment) -> None:
        """Count a place that its programs gave up, as one that they found dead."""
        for program in suspect.tally.programs.values():
            self.suspicion.explorers.add(name_of(program, program.maker), now)

    def alike(self, suspect: Incident) -> list[Incident]:
        """Return the same in all network namespaces, itself too, as far as it fails for long."""
        site, least = suspect.subject.site, self.policy.down_failures
        near = self.suspects.near(suspect)
        return [s for s in near if s.subject.site == site and s.row.failures >= least]

    def put_past(self, suspect: Incident, now: Moment) -> None:
        """Count what a success ended before the row of which people are to hear."""
        row = suspect.row
        if row.past is not None:
            past, silenced = row.past, row.past_silenced
            row.past, row.past_silenced = None, 0
            self._count(suspect.subject, past, silenced, now)

    def broad(self, now: Moment, seen: Seen) -> list[Incident]:
        """Return those that worked before and fail together, none where that are not enough.

        They are more than those that work, or all of them are down, or nothing works at all.
        """
        policy = self.policy
        if now.mono < self._looked + _ASK_EVERY:
            return []
        if len(self.suspects.onsets(now.mono - policy.outage_window)) < policy.outage_subjects:
            return []
        self._looked = now.mono
        standing = self._standing(now, seen)
        lately = [s for s in standing if s.row.first >= now.mono - policy.breadth_window]
        if len(lately) >= policy.storm_subjects:
            if len(lately) > seen.working(min(suspect.row.first for suspect in lately)):
                return lately
            down = [each for each in lately if each.row.failures >= policy.down_failures]
            alone = [each for each in down if not self.suspicion.is_of_pool(each, now, seen)]
            if len(alone) >= policy.storm_subjects:
                return alone
        if len(standing) < policy.outage_subjects:
            return []
        return [] if seen.working(min(suspect.row.first for suspect in standing)) else standing

    def together(self, suspect: Incident, now: Moment, seen: Seen) -> list[Incident]:
        """Return this one, which is down, and those that worked before and fail in a row, too."""
        others = [s for s in self._standing(now, seen) if s.row.failures > 1 and s is not suspect]
        return [suspect, *(s for s in others if not self.suspicion.is_of_pool(s, now, seen))]

    def _standing(self, now: Moment, seen: Seen) -> list[Incident]:
        onsets = self.suspects.onsets(now.mono - self.policy.outage_window)
        for suspect in onsets:
            suspect.row.hear(seen.counts(suspect.subject), now)
        return [suspect for suspect in onsets if suspect.row.failures]

    def _count(self, subject: Subject, tally: Tally, silenced: int, now: Moment) -> None:
        self.below += tally.total
        if self.policy.digest_hour is None:
            return
        if self.day is None:
            self.day = Day.begin(self.policy, tally, self._serial(), now)
        self.day.count(subject, tally, silenced)
        self.plan_day(now)

    def plan_day(self, now: Moment) -> None:
        """Look at the digest again in time, if there is one."""
        if self.day is not None:
            self._agenda.plan(self.day, self.day.next_look(now))
