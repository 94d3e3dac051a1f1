"""All open incidents of a host. The rules stand in this package's docstring."""

from __future__ import annotations

from collections import Counter, deque
from math import inf
from typing import TYPE_CHECKING, Any, cast

from tcp_trace.incidents import snapshot, upgrade
from tcp_trace.incidents.agenda import Agenda
from tcp_trace.incidents.ending import over_with
from tcp_trace.incidents.incident import Incident
from tcp_trace.incidents.member import Member
from tcp_trace.incidents.overview import RECENT, Entry, ended, entries
from tcp_trace.incidents.places import Places
from tcp_trace.incidents.storm import Storm
from tcp_trace.incidents.threshold import Openings, Patience, Threshold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tcp_trace.connects.events import Moment
    from tcp_trace.incidents.notification import Notification
    from tcp_trace.incidents.policy import Policy
    from tcp_trace.incidents.subjects import AnyFailure, Seen, Silencing, Subject


class Incidents:
    """All open incidents of a host. Not thread-safe: it belongs to the poll loop.

    `silences` may be replaced at any time. In `over` are the ids of those that ended with the
    incident that they were for: whoever takes them out removes them.
    """

    def __init__(self, policy: Policy, silences: Silencing | None = None) -> None:
        self.policy = policy
        self.silences = silences
        self.over: set[str] = set()
        self.silenced = 0
        self.silenced_by: Counter[str] = Counter()
        self._recent: deque[Entry] = deque(maxlen=RECENT)
        # Destinations whose incidents nobody heard of, because every failure was silenced.
        self._held: set[Subject] = set()
        self._open: dict[Subject, Incident | Member] = {}
        self._storm: Storm | None = None
        self._threshold = Threshold(policy)
        self._patience = Patience(policy)
        self._openings = Openings(policy)
        self._agenda = Agenda()
        self._places = Places()
        self._serial = 0

    @property
    def failing(self) -> int:
        """How many subjects are in an open incident or storm."""
        return len(self._open)

    @property
    def below_threshold(self) -> int:
        """How many failures opened nothing because they were too few within `Policy.window`."""
        return self._threshold.below

    def use(self, policy: Policy, silences: Silencing | None, now: Moment) -> None:
        """Go by these from now on; everything that is known stays known."""
        before, self.policy, self.silences = self.policy, policy, silences
        for part in (self._threshold, self._patience, self._openings):
            part.policy = policy
        accounts: list[Incident | Storm] = [
            *self._single(),
            *([self._storm] if self._storm else []),
        ]
        for account in accounts:
            account.policy = policy
            if account.gap == before.interval:  # a storm's own pace stays
                account.gap = policy.interval
            self._plan(account, now)

    def failed(self, failure: AnyFailure, now: Moment, seen: Seen) -> list[Notification]:
        """Take in a failure; return what is to be told at once.

        `seen` is asked at most once, and only when a message is due: it lets the opening know
        whether anything succeeds. Constant time.
        """
        failure = self._places.claim(failure, self._open)
        account = self._open.get(failure.subject)
        silence = self.silences.of(failure, now) if self.silences else None
        if silence is not None:
            self._hush(account, failure, silence, now)
            return []
        if account is None or failure.subject in self._held:
            return self._begin(failure, now, seen)
        # A member is one of the storm that there is.
        whole = cast("Storm", self._storm) if isinstance(account, Member) else account
        resumed = whole.silenced_by is not None and not self._holds(whole.silenced_by, now)
        if resumed:
            whole.resume()
        if account.add(failure) or resumed:
            self._plan(whole, now)
        return []

    def tick(self, now: Moment, seen: Seen) -> list[Notification]:
        """Return what is due by now; `seen` says what the kernel counted.

        It is asked only for subjects that are due to be looked at, and the ten to be named
        of a storm.
        """
        due = self._agenda.due(now.mono)
        self._threshold.forget(now)
        told = (self._review(account, now, seen) for account in due)
        return [notification for notification in told if notification is not None]

    def next_deadline(self) -> float | None:
        """Return when `tick` is useful next, in seconds of CLOCK_MONOTONIC; None for never."""
        return self._agenda.next()

    def overview(self) -> list[Entry]:
        """Return the open incidents, the worst first, and then those that ended lately."""
        return [*entries(self._open.values(), self._storm), *reversed(self._recent)]

    def dump(self, now: Moment) -> dict[str, Any]:
        """Return all that must survive a restart, for `json.dumps` and `load`.

        Save it together with the notifications that were returned before, or after them: what
        this says was told is not told again.
        """
        known = self.silences or ()
        return {
            **snapshot.header(now),
            "serial": self._serial,
            "incidents": [snapshot.dump_incident(incident) for incident in self._single()],
            "storm": snapshot.dump_storm(self._storm) if self._storm else None,
            "ended": self._patience.dump(),
            "places": self._places.dump(self._open),
            "recent": [entry._asdict() for entry in self._recent],
            "silenced": self.silenced,
            "silenced_by": {k: n for k, n in self.silenced_by.items() if k in known},
        }

    @classmethod
    def load(
        cls, state: dict[str, Any], policy: Policy, now: Moment, silences: Silencing | None = None
    ) -> Incidents:
        """Return the incidents that `dump` wrote, at the present clock.

        Raises ValueError for anything that `dump` did not write.
        """
        incidents = cls(policy, silences)
        try:
            incidents._restore(state, now)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"the saved incidents cannot be read: {error!r}") from error
        return incidents

    def _single(self) -> list[Incident]:
        """Return the incidents that are in no storm."""
        return [account for account in self._open.values() if isinstance(account, Incident)]

    def _restore(self, state: dict[str, Any], now: Moment) -> None:
        state = upgrade.state(state)
        shift = snapshot.shift(state, now)
        self._serial = int(state["serial"])
        self._patience.load(state["ended"], shift)
        self._places.load(state.get("places", ()))
        self._recent.extend(Entry(**saved) for saved in state["recent"])
        # A state saved before there were silences has none of these.
        self.silenced = int(state.get("silenced", 0))
        self.silenced_by.update(state.get("silenced_by", {}))
        for saved in state["incidents"]:
            incident = snapshot.load_incident(saved, self.policy, shift)
            self._open[incident.subject] = incident
            self._plan(incident, now)
            if incident.held:
                self._held.add(incident.subject)
            else:
                self._openings.add(incident.opened, incident)
        if state["storm"] is not None:
            self._storm = snapshot.load_storm(state["storm"], self.policy, shift)
            self._open.update({m.subject: m for m in self._storm.members})
            self._plan(self._storm, now)

    def _begin(self, failure: AnyFailure, now: Moment, seen: Seen) -> list[Notification]:
        failures = self._threshold.reached(failure)
        if not failures:
            return []
        storm = self._storm
        if storm is None or not storm.takes(failure.subject):
            full = len(self._open) >= self.policy.max_incidents
            taken = self._openings.storm(now, failure.subject, full=full)
            if taken is None:
                return [self._open_incident(failures, now, seen)]
            storm = self._absorb(storm or self._begin_storm(now), taken)
        self._join(storm, failures, now)
        return []

    def _open_incident(
        self, failures: Sequence[AnyFailure], now: Moment, seen: Seen
    ) -> Notification:
        subject = failures[0].subject
        incident = self._release(subject)
        if incident is None:
            incident = self._make_incident(subject, failures[0], now)
        for failure in failures:
            incident.add(failure)
        self._openings.add(now.mono, incident)
        notification = incident.open(now, seen.counts(subject), asked=True)
        self._plan(incident, now)
        return notification

    def _make_incident(self, subject: Subject, first: AnyFailure, now: Moment) -> Incident:
        self._serial += 1
        patience = self._patience.begin(subject, now)
        incident = Incident.begin(self.policy, first, self._serial, patience)
        self._open[subject] = incident
        return incident

    def _hush(
        self, account: Incident | Member | None, failure: AnyFailure, silence: str, now: Moment
    ) -> None:
        """Count a failure that this silence keeps from people."""
        self.silenced_by[silence] += failure.times
        if account is None:
            # Half of the places are kept for what people want to hear of.
            if len(self._held) >= self.policy.max_incidents // 2:
                self.silenced += failure.times
                return
            account = self._make_incident(failure.subject, failure, now)
            self._held.add(failure.subject)
            account.add_silenced(failure, silence)
            self._plan(account, now)
        else:
            account.add_silenced(failure, silence)

    def _holds(self, silence: str, now: Moment) -> bool:
        return self.silences is not None and self.silences.in_force(silence, now)

    def _release(self, subject: Subject) -> Incident | None:
        """Return the incident of this subject that was held until now, if there is one."""
        if subject not in self._held:
            return None
        self._held.remove(subject)
        held = self._open[subject]
        return held if isinstance(held, Incident) else None

    def _begin_storm(self, now: Moment) -> Storm:
        self._serial += 1
        patience = self._patience.begin(None, now)
        self._storm = Storm.begin(self.policy, now, self._serial, patience)
        return self._storm

    def _absorb(self, storm: Storm, incidents: Sequence[Incident]) -> Storm:
        for incident in incidents:
            if self._open.get(incident.subject) is incident:
                incident.wake = -inf
                self._open[incident.subject] = storm.absorb(incident)
        return storm

    def _join(self, storm: Storm, failures: Sequence[AnyFailure], now: Moment) -> None:
        subject = failures[0].subject
        held = self._release(subject)
        if held is not None:
            held.wake = -inf
        if held is None and not storm.has_place(failures[0], len(self._open)):
            storm.add_untracked(failures, now)
        else:
            self._open[subject] = storm.join(failures, now, held)
        self._plan(storm, now)

    def _review(self, account: Incident | Storm, now: Moment, seen: Seen) -> Notification | None:
        if isinstance(account, Incident):
            notification = account.review(now, seen.counts(account.subject))
        else:
            notification = account.review(now, seen)
        if notification is None or not notification.kind.is_last:
            self._plan(account, now)
            return notification
        held = account.sequence == 1  # its first message is its last: it began and ended in silence
        self._recent.append(ended(account, notification, told=not held))
        self.over |= over_with(account, self.silences, self._single(), now)
        self._close(account, now)
        if not held:
            return notification
        self.silenced += notification.failures
        return None

    def _close(self, account: Incident | Storm, now: Moment) -> None:
        if isinstance(account, Storm):
            self._storm = None
            for member in account.members:
                del self._open[member.subject]
            self._patience.end(None, now, account.patience)
        else:
            del self._open[account.subject]
            self._held.discard(account.subject)
            self._patience.end(account.subject, now, account.patience)

    def _plan(self, account: Incident | Storm, now: Moment) -> None:
        self._agenda.plan(account, account.next_look(now))
