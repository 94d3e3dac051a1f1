"""Around an incident: how many failures open one, how many a storm, how long its end waits."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from tcp_trace.incidents.fairness import maker_of
from tcp_trace.incidents.topics import subject_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tcp_trace.connects.events import Moment
    from tcp_trace.incidents.incident import Incident
    from tcp_trace.incidents.policy import Policy
    from tcp_trace.incidents.subjects import AnyFailure, Subject

    _Owner = tuple[str, str | int | None]

REMEMBERED_ENDS = 1000
_FEW = 10


class Threshold:
    """Failures of subjects that did not fail often enough to open an incident.

    `below` counts those that never will: they are older than `Policy.window`, or had to make room.
    """

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.below = 0
        # The subject that failed last is last: of all, and of those of one owner.
        self._waiting: dict[Subject, deque[AnyFailure]] = {}
        self._of: dict[_Owner, dict[Subject, None]] = {}

    def reached(self, failure: AnyFailure) -> Sequence[AnyFailure]:
        """Return the failures that open an incident together with this one, or none."""
        if self.policy.after == 1:
            return (failure,)
        recent = self._take(failure.subject)
        recent.append(failure)
        while recent[0].mono < failure.mono - self.policy.window:
            self.below += recent.popleft().times
        if _times(recent) >= self.policy.after:
            return recent
        self._put(recent)
        if len(self._waiting) > self.policy.max_incidents:
            self._make_room(recent)
        return ()

    def forget(self, now: Moment) -> None:
        """Free the memory of subjects whose last failure is too old to matter."""
        while self._waiting:
            subject, recent = next(iter(self._waiting.items()))
            if recent[-1].mono >= now.mono - self.policy.window:
                return
            self._drop(subject)

    def _put(self, recent: deque[AnyFailure]) -> None:
        subject = recent[0].subject
        self._waiting[subject] = recent
        self._of.setdefault(_owner(recent), {})[subject] = None

    def _take(self, subject: Subject) -> deque[AnyFailure]:
        recent = self._waiting.pop(subject, None)
        if recent is None:
            return deque()
        owner = _owner(recent)
        del self._of[owner][subject]
        if not self._of[owner]:
            del self._of[owner]
        return recent

    def _make_room(self, latest: deque[AnyFailure]) -> None:
        """Drop what is oldest: of whoever came last where he has many, so that nobody's goes."""
        own = self._of[_owner(latest)]
        self._drop(next(iter(own if len(own) > _FEW else self._waiting)))

    def _drop(self, subject: Subject) -> None:
        self.below += _times(self._take(subject))


def _owner(recent: deque[AnyFailure]) -> _Owner:
    """Return whose they are: the owner of the cgroup that the first is from, else the user."""
    owner, user = maker_of(recent[0].process, recent[0].maker)
    return ("user", user) if owner is None else ("owner", owner)


def _times(failures: Iterable[AnyFailure]) -> int:
    return sum(failure.times for failure in failures)


class Openings:
    """Which incidents opened when, as far as it matters for calling it a storm."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        remembered = max(policy.storm_subjects, policy.flood_subjects)
        self._opened: deque[tuple[float, Incident]] = deque(maxlen=remembered)

    def add(self, mono: float, incident: Incident) -> None:
        """Remember that an incident opened then (CLOCK_MONOTONIC)."""
        self._opened.append((mono, incident))

    def storm(self, now: Moment, opening: Subject, *, full: bool) -> list[Incident] | None:
        """Return those that are a storm with the one that is about to open, None for no storm.

        They are open or not, and forgotten here. With a `full` table whatever opens makes a storm:
        there is no place for an incident of its own.
        """
        policy = self.policy
        lately = self._since(now.mono - policy.storm_window)
        if len(lately) + 1 >= policy.storm_subjects:
            return self._take(lately)
        long = self._since(now.mono - policy.quiet_after)
        if full or len(long) + 1 >= policy.flood_subjects:
            return self._take(long)
        alike = [each for each in long if each.subject.site == opening.site]
        return self._take(alike) if len(alike) + 1 >= policy.storm_namespaces else None

    def _since(self, since: float) -> list[Incident]:
        return [incident for opened, incident in self._opened if opened >= since]

    def _take(self, taken: list[Incident]) -> list[Incident]:
        kept = [entry for entry in self._opened if entry[1] not in taken]
        self._opened.clear()
        self._opened.extend(kept)
        return taken


class Patience:
    """How many times `Policy.resolve_after` a subject (None: a storm) must be well.

    A subject that fails again soon after it was called recovered is believed later the next
    time. So one that fails now and then, for ever, becomes one incident that stays open instead
    of two messages every few minutes.
    """

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self._ended: dict[Subject | None, tuple[float, int]] = {}

    def begin(self, key: Subject | None, now: Moment) -> int:
        """Return the patience for an incident that begins now."""
        ended, patience = self._ended.pop(key, (now.mono, 0))
        if patience == 0 or now.mono - ended > self.policy.flap_window:
            return 1
        return min(2 * patience, self.policy.max_patience)

    def end(self, key: Subject | None, now: Moment, patience: int) -> None:
        """Remember that an incident ended now."""
        self._ended[key] = (now.mono, patience)
        if len(self._ended) > REMEMBERED_ENDS:
            del self._ended[next(iter(self._ended))]

    def dump(self) -> list[Any]:
        """Return what is remembered, for JSON."""
        return [[key, mono, patience] for key, (mono, patience) in self._ended.items()]

    def load(self, saved: list[Any], shift: float) -> None:
        """Remember what `dump` returned; `shift` is added to its times."""
        for key, mono, patience in saved:
            subject = None if key is None else subject_of(key)
            self._ended[subject] = (mono + shift, int(patience))
