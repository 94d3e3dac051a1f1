"""Incidents that nobody has heard of yet, bounded so that nobody's many push another's one out."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, TypeVar

from tcp_trace.incidents.subjects import neighbourhood

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tcp_trace.incidents.incident import Incident
    from tcp_trace.incidents.policy import Policy
    from tcp_trace.incidents.row import Owner
    from tcp_trace.incidents.subjects import Subject

KeyT = TypeVar("KeyT")
_FEW = 10


class Suspects:
    """All of them, by subject; whatever failed last is last: of all, and of those of one owner."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self._all: dict[Subject, Incident] = {}
        self._of: dict[Owner, dict[Subject, None]] = {}
        self._near: dict[object, dict[Subject, None]] = {}
        # How many of these people have heard of.
        self._told: Counter[object] = Counter()
        # When rows of those that worked before began, CLOCK_MONOTONIC.
        self._onsets: deque[tuple[float, Incident]] = deque(maxlen=policy.max_incidents)

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Incident]:
        return iter(self._all.values())

    def __contains__(self, subject: object) -> bool:
        return subject in self._all

    def get(self, subject: Subject) -> Incident | None:
        """Return the suspect of this subject, None for none."""
        return self._all.get(subject)

    def put(self, suspect: Incident) -> Incident | None:
        """Take in a suspect; return the one that has to make room for it, if any."""
        subject = suspect.subject
        self._all[subject] = suspect
        self._of.setdefault(suspect.row.owner, {})[subject] = None
        if suspect.row.works:
            self._near.setdefault(neighbourhood(subject), {})[subject] = None
        crowded = len(self._all) > max(1, self.policy.max_incidents // 2)
        return self._one_of_many(suspect.row.owner) if crowded else None

    def refresh(self, suspect: Incident) -> None:
        """Let it be the last to make room."""
        if self.remove(suspect):
            self.put(suspect)

    def remove(self, suspect: Incident) -> bool:
        """Forget a suspect; return whether it was there."""
        if self._all.get(suspect.subject) is not suspect:
            return False
        del self._all[suspect.subject]
        _drop(self._of, suspect.row.owner, suspect.subject)
        _drop(self._near, neighbourhood(suspect.subject), suspect.subject)
        return True

    def note_onset(self, suspect: Incident) -> None:
        """Remember when a row began at what worked before."""
        self._onsets.append((suspect.row.first, suspect))

    def onsets(self, since: float) -> list[Incident]:
        """Return those whose row began since then, and goes on as far as that is known."""
        while self._onsets and self._onsets[0][0] < since:
            self._onsets.popleft()
        found = {id(each): each for first, each in self._onsets if self._stands(each, first)}
        return list(found.values())

    def near(self, suspect: Incident) -> list[Incident]:
        """Return those of its port and network that worked before and fail in a row, itself too."""
        subjects = self._near.get(neighbourhood(suspect.subject), {})
        return [each for each in map(self._all.get, subjects) if each and each.row.failures]

    def failing_near(self, suspect: Incident) -> int:
        """Return how many of its port and network fail, those that people have heard of too."""
        return len(self.near(suspect)) + self._told[neighbourhood(suspect.subject)]

    def note_told(self, subject: Subject, by: int) -> None:
        """Remember that people have heard of this one (1), or that it is over (-1)."""
        near = neighbourhood(subject)
        self._told[near] += by
        if not self._told[near]:
            del self._told[near]

    def _stands(self, suspect: Incident, first: float) -> bool:
        row = suspect.row
        return self._all.get(suspect.subject) is suspect and row.failures > 0 and row.first >= first

    def _one_of_many(self, latest: Owner) -> Incident:
        """Return what is oldest of whoever came last where he has many, else of who has most."""
        own = self._of[latest]
        if len(own) <= _FEW:
            own = max(self._of.values(), key=len)
        return self._all[next(iter(own))]


def _drop(index: dict[KeyT, dict[Subject, None]], key: KeyT, subject: Subject) -> None:
    members = index.get(key, {})
    members.pop(subject, None)
    if not members:
        index.pop(key, None)
