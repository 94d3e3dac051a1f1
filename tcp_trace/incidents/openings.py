"""Who hears of what begins to fail: an incident of its own, a storm, or nothing yet."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from tcp_trace.incidents.budget import Budget, Claim
from tcp_trace.incidents.fairness import maker_of, makers_of
from tcp_trace.incidents.incident import Incident
from tcp_trace.incidents.notification import State
from tcp_trace.incidents.patience import Patience
from tcp_trace.incidents.storm import Storm
from tcp_trace.incidents.suspicion import REDEEMED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tcp_trace.connects.events import Moment
    from tcp_trace.incidents.agenda import Agenda
    from tcp_trace.incidents.member import Member
    from tcp_trace.incidents.notification import Notification
    from tcp_trace.incidents.policy import Policy
    from tcp_trace.incidents.subjects import AnyFailure, Seen, Subject
    from tcp_trace.incidents.unheard import Unheard


class Openings:
    """The incidents and the storm that are open: `open` has them by subject."""

    def __init__(
        self, policy: Policy, agenda: Agenda, unheard: Unheard, serial: Callable[[], int]
    ) -> None:
        self.policy = policy
        self.open: dict[Subject, Incident | Member] = {}
        self.storm: Storm | None = None
        self.patience = Patience(policy)
        self.budget = Budget(policy)
        self.unheard = unheard
        self._agenda = agenda
        self._serial = serial

    def __contains__(self, subject: object) -> bool:
        """Return whether a subject fails, whether people have heard of it or not."""
        return subject in self.open or subject in self.unheard.suspects

    def use(self, policy: Policy, now: Moment) -> None:
        """Go by this from now on."""
        self.policy = policy
        self.patience.policy = self.budget.policy = policy
        accounts: list[Incident | Storm] = [
            *self.single(),
            *([self.storm] if self.storm else []),
        ]
        for account in accounts:
            account.policy = policy
            self.plan(account, now)

    def single(self) -> list[Incident]:
        """Return the incidents that are in no storm."""
        return [account for account in self.open.values() if isinstance(account, Incident)]

    def begin(self, failure: AnyFailure, now: Moment, seen: Seen) -> list[Notification]:
        """Take in a failure of what is not open; return what is to be told at once."""
        policy = self.policy
        if policy.after == 1 or (policy.after is None and policy.named.has(failure)):
            return self._open_at_once(failure, now, seen)
        suspect, is_due = self.unheard.take(failure, now, seen)
        return self.consider(suspect, now, seen) if is_due else []

    def _open_at_once(self, failure: AnyFailure, now: Moment, seen: Seen) -> list[Notification]:
        suspect = self.unheard.suspects.get(failure.subject)
        is_full = len(self.open) >= self.policy.max_incidents
        is_told_of = self.storm is not None and failure.subject.site in self.storm.sites
        if is_told_of or is_full or not self.budget.allows(Claim.ASKED, failure.subject, now):
            storm = self.storm or self._begin_storm(now)
            if suspect is not None:
                suspect.doubt(failure)
                suspect.grave = True
                self._absorb(storm, [suspect], now)
            elif storm.has_place([maker_of(failure.process, failure.maker)], len(self.open)):
                self.enter(failure.subject, storm.join(failure, now))
            else:
                storm.add_untracked(failure, now)
            self.plan(storm, now)
            return []
        if suspect is None:
            suspect = self.unheard.make(failure, now, seen)
        suspect.doubt(failure)
        suspect.grave = True
        return [self._open_alone(suspect, State.FAILING, now, seen)]

    def consider(self, suspect: Incident, now: Moment, seen: Seen) -> list[Notification]:
        """Let people hear of a suspect where it is time."""
        suspicion = self.unheard.suspicion
        verdict = suspicion.verdict(suspect, now, seen)
        if verdict is REDEEMED:
            self.unheard.redeem(suspect, now)
            return []
        is_overdue = suspicion.is_overdue(suspect, now)
        if is_overdue and self._joins(suspect, now, seen, is_down=verdict is State.DOWN):
            return []
        if not isinstance(verdict, State):
            self.unheard.plan(suspect, now)
            return []
        claim = Claim.KNOWN if suspect.row.works and verdict is not State.UNTRIED else Claim.NEW
        if self.policy.after is not None:
            claim = Claim.ASKED
        suspect.grave = suspect.row.works or claim is Claim.ASKED
        is_full = len(self.open) >= self.policy.max_incidents
        if self.budget.allows(claim, suspect.subject, now) and not is_full:
            return [self._open_alone(suspect, verdict, now, seen)]
        self._absorb(self.storm or self._begin_storm(now), [suspect], now)
        return []

    def _open_alone(self, suspect: Incident, state: State, now: Moment, seen: Seen) -> Notification:
        self.unheard.release(suspect)
        suspect.wake = inf
        if state in (State.DOWN, State.UNTRIED):
            self.unheard.put_past(suspect, now)
        else:
            suspect.take_past()
        if state is State.UNTRIED:
            self.unheard.note_untried(suspect, now)
        suspect.patience = self.patience.begin(suspect.subject, now)
        self.enter(suspect.subject, suspect)
        notification = suspect.open(now, seen.counts(suspect.subject), state)
        self.plan(suspect, now)
        return notification

    def _joins(self, suspect: Incident, now: Moment, seen: Seen, *, is_down: bool) -> bool:
        """Whether a suspect is one of many that fail together; they are a storm from here on."""
        storm = self.storm
        if storm is not None and storm.speaks_for(suspect, now, seen):
            self._absorb(storm, [suspect], now)
            return True
        broad = self.unheard.broad(now, seen)
        if broad:
            storm = storm or self._begin_storm(now, is_broad=True)
            self._absorb(storm, broad, now)
            return suspect in broad
        if not is_down:
            return False
        many = self.unheard.alike(suspect)
        if len(many) < self.policy.storm_namespaces:
            left = self.budget.left(now)
            many = self.unheard.together(suspect, now, seen) if left else []
            if len(many) < max(2, left):
                return False
            storm = storm or self._begin_storm(now, is_broad=True)
        self._absorb(storm or self._begin_storm(now), many, now)
        return True

    def _begin_storm(self, now: Moment, *, is_broad: bool = False) -> Storm:
        patience = self.patience.begin(None, now)
        self.storm = Storm.begin(self.policy, now, self._serial(), patience)
        self.storm.broad = is_broad
        self.storm.gather = 0.0 if is_broad else self.budget.gather(now)
        return self.storm

    def _absorb(self, storm: Storm, suspects: Sequence[Incident], now: Moment) -> None:
        for suspect in suspects:
            self.unheard.release(suspect)
            self.unheard.put_past(suspect, now)
            if storm.has_place(makers_of(suspect.tally), len(self.open)):
                self.enter(suspect.subject, storm.absorb(suspect, now))
            else:
                storm.absorb_untracked(suspect, now)
        self.plan(storm, now)

    def enter(self, subject: Subject, account: Incident | Member) -> None:
        """Take up what people hear of, or have heard of."""
        self.open[subject] = account
        self.unheard.suspects.note_told(subject, 1)

    def _leave(self, subject: Subject) -> None:
        del self.open[subject]
        self.unheard.suspects.note_told(subject, -1)

    def close(self, account: Incident | Storm, now: Moment) -> None:
        """Forget an incident or storm that is over."""
        if isinstance(account, Storm):
            self.storm = None
            self.budget.forget()
            for member in account.members:
                self._leave(member.subject)
            self.patience.end(None, now, account.patience)
        else:
            self._leave(account.subject)
            self.patience.end(account.subject, now, account.patience)

    def plan(self, account: Incident | Storm, now: Moment) -> None:
        """Look at it again in time."""
        self._agenda.plan(account, account.next_look(now))
