"""All open incidents of a host. The rules stand in this package's docstring."""

from __future__ import annotations

from collections import Counter, deque
from math import inf
from typing import TYPE_CHECKING, Any, cast

from tcp_trace.incidents import snapshot, upgrade
from tcp_trace.incidents.agenda import Agenda
from tcp_trace.incidents.daily import Day
from tcp_trace.incidents.ending import over_with
from tcp_trace.incidents.incident import Incident
from tcp_trace.incidents.member import Member
from tcp_trace.incidents.openings import Openings
from tcp_trace.incidents.overview import RECENT, Entry, ended, entries
from tcp_trace.incidents.places import Places
from tcp_trace.incidents.unheard import Unheard

if TYPE_CHECKING:
    from tcp_trace.connects.events import Moment
    from tcp_trace.incidents.account import Account
    from tcp_trace.incidents.notification import Notification
    from tcp_trace.incidents.policy import Policy
    from tcp_trace.incidents.storm import Storm
    from tcp_trace.incidents.subjects import AnyFailure, Seen, Silencing
    from tcp_trace.incidents.unheard import Remembering

_DAMAGED = (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError)


class Incidents:
    """All open incidents of a host. Not thread-safe: it belongs to the poll loop.

    `silences` may be replaced at any time. In `over` are the ids of those that ended with the
    incident that they were for: whoever takes them out removes them. `memory` knows what worked
    before.
    """

    def __init__(
        self,
        policy: Policy,
        silences: Silencing | None = None,
        memory: Remembering | None = None,
    ) -> None:
        self.policy = policy
        self.silences = silences
        self.over: set[str] = set()
        self.silenced_by: Counter[str] = Counter()
        self._recent: deque[Entry] = deque(maxlen=RECENT)
        self._agenda = Agenda()
        self._places = Places()
        self._serial = 0
        self._unheard = Unheard(policy, self._agenda, memory, self._next_serial)
        self._openings = Openings(policy, self._agenda, self._unheard, self._next_serial)

    @property
    def failing(self) -> int:
        """How many subjects are in an open incident or storm, or would be but for a silence."""
        silenced = sum(suspect.silenced > 0 for suspect in self._unheard.suspects)
        return len(self._openings.open) + silenced

    @property
    def below_threshold(self) -> int:
        """How many failures opened nothing: they were redeemed, or too few."""
        return self._unheard.below

    @property
    def silenced(self) -> int:
        """How many failures were of incidents that began and ended in silence."""
        return self._unheard.silenced

    def use(self, policy: Policy, silences: Silencing | None, now: Moment) -> None:
        """Go by these from now on; everything that is known stays known."""
        self.policy, self.silences = policy, silences
        self._unheard.use(policy, now)
        self._openings.use(policy, now)

    def failed(self, failure: AnyFailure, now: Moment, seen: Seen) -> list[Notification]:
        """Take in a failure; return what is to be told at once.

        `seen` is asked once a second and subject at most, and when a message is due. Constant time.
        """
        failure = self._places.claim(failure, self._openings)
        account = self._openings.open.get(failure.subject)
        silence = self.silences.of(failure, now) if self.silences else None
        if silence is not None:
            self.silenced_by[silence] += failure.times
            if account is None:
                self._unheard.hush(failure, silence, now, seen)
            else:
                account.add_silenced(failure, silence)
            return []
        if account is None:
            return self._openings.begin(failure, now, seen)
        # A member is one of the storm that there is.
        whole = cast("Storm", self._openings.storm) if isinstance(account, Member) else account
        resumed = whole.silenced_by is not None and not self._holds(whole.silenced_by, now)
        if resumed:
            whole.resume()
        wants = account.standing.wants(now)
        if wants:
            account.hear(seen.counts(account.subject), now)
        is_sooner = account.add(failure)
        if wants and isinstance(account, Incident):
            account.note(account.standing.counts)
        if is_sooner or resumed:
            self._openings.plan(whole, now)
        return []

    def tick(self, now: Moment, seen: Seen) -> list[Notification]:
        """Return what is due by now; `seen` says what the kernel counted.

        It is asked only for subjects that are due to be looked at, and those of a storm.
        """
        told: list[Notification] = []
        for account in self._agenda.due(now.mono):
            if account.wake == inf:  # else it was told with another one
                told += self._review(account, now, seen)
        return told

    def next_deadline(self) -> float | None:
        """Return when `tick` is useful next, in seconds of CLOCK_MONOTONIC; None for never."""
        return self._agenda.next()

    def overview(self) -> list[Entry]:
        """Return the open incidents, the worst first, and then those that ended lately."""
        silenced = [each for each in self._unheard.suspects if each.silenced]
        standing = [*self._openings.open.values(), *silenced]
        return [*entries(standing, self._openings.storm), *reversed(self._recent)]

    def dump(self, now: Moment) -> dict[str, Any]:
        """Return all that must survive a restart, for `json.dumps` and `load`.

        Save it together with the notifications that were returned before, or after them: what
        this says was told is not told again.
        """
        known = self.silences or ()
        single = [*self._openings.single(), *self._unheard.suspects]
        return {
            **snapshot.header(now),
            "serial": self._serial,
            "incidents": [snapshot.dump_incident(incident) for incident in single],
            "storm": snapshot.dump_storm(self._openings.storm) if self._openings.storm else None,
            "ended": self._openings.patience.dump(),
            "places": self._places.dump(self._openings),
            "recent": [entry._asdict() for entry in self._recent],
            "silenced_by": {k: n for k, n in self.silenced_by.items() if k in known},
            "budget": self._openings.budget.dump(),
            **snapshot.dump_unheard(self._unheard),
        }

    @classmethod
    def load(
        cls,
        state: dict[str, Any],
        policy: Policy,
        now: Moment,
        silences: Silencing | None = None,
        memory: Remembering | None = None,
    ) -> Incidents:
        """Return the incidents that `dump` wrote, at the present clock.

        Raises ValueError for anything that `dump` did not write.
        """
        incidents = cls(policy, silences, memory)
        try:
            incidents._restore(state, now)
        except _DAMAGED as error:
            raise ValueError(f"the saved incidents cannot be read: {error!r}") from error
        return incidents

    def _next_serial(self) -> int:
        self._serial += 1
        return self._serial

    def _restore(self, state: dict[str, Any], now: Moment) -> None:
        state = upgrade.state(state)
        shift = snapshot.shift(state, now)
        self._serial = int(state["serial"])
        self._openings.patience.load(state["ended"], shift)
        self._places.load(state.get("places", ()))
        self._recent.extend(Entry(**saved) for saved in state["recent"])
        # A state saved before there were silences has none of these.
        self.silenced_by.update(state.get("silenced_by", {}))
        if "budget" in state:  # an earlier version had none
            self._openings.budget.load(state["budget"], shift)
        snapshot.load_unheard(self._unheard, state, shift)
        self._unheard.plan_day(now)
        for saved in state["incidents"]:
            incident = snapshot.load_incident(saved, self.policy, shift)
            if incident.heard_of:
                self._openings.enter(incident.subject, incident)
                self._openings.plan(incident, now)
            else:
                self._unheard.adopt(incident, now)
        if state["storm"] is not None:
            self._openings.storm = snapshot.load_storm(state["storm"], self.policy, shift)
            for member in self._openings.storm.members:
                self._openings.enter(member.subject, member)
            self._openings.plan(self._openings.storm, now)

    def _end_silences(self, account: Incident | Storm, now: Moment) -> None:
        """Note the silences that held until this was over."""
        others = [*self._openings.single(), *self._unheard.suspects] if self.silences else []
        self.over |= over_with(account, self.silences, others, now)

    def _holds(self, silence: str, now: Moment) -> bool:
        return self.silences is not None and self.silences.in_force(silence, now)

    def _review(self, account: Account, now: Moment, seen: Seen) -> list[Notification]:
        if isinstance(account, Day):
            return self._unheard.review_day(account, now)
        if isinstance(account, Incident):
            if not account.heard_of:
                return self._review_suspect(account, now, seen)
            notification = account.review(now, seen.counts(account.subject))
        else:
            account = cast("Storm", account)
            notification = account.review(now, seen)
        if notification is None or not notification.kind.is_last:
            self._openings.plan(account, now)
            return [] if notification is None else [notification]
        self._recent.append(ended(account, notification.kind, now.wall))
        self._end_silences(account, now)
        self._openings.close(account, now)
        return [notification]

    def _review_suspect(self, suspect: Incident, now: Moment, seen: Seen) -> list[Notification]:
        counts = seen.counts(suspect.subject)
        suspect.row.hear(counts, now)
        if suspect.is_heard:
            return self._openings.consider(suspect, now, seen)
        kind = suspect.kind(now, counts)
        if kind is None or not kind.is_last:
            self._unheard.plan(suspect, now)
            return []
        self._recent.append(ended(suspect, kind, now.wall))
        self._end_silences(suspect, now)
        self._unheard.redeem(suspect, now)
        return []
