"""The daily digest: failures that nobody had to hear of at once."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from tcp_trace.incidents.account import Account, incident_id
from tcp_trace.incidents.notification import Notification, Phase, Severity, SubjectCount
from tcp_trace.incidents.tally import Tally

if TYPE_CHECKING:
    from tcp_trace.connects.events import Moment
    from tcp_trace.incidents.policy import Policy
    from tcp_trace.incidents.subjects import Subject

TOLD_SUBJECTS = 10
_DAY = 86_400.0
_HOUR = 3600.0
_KEPT = 1000


class Day(Account):
    """What was counted since the last digest; `due` is when the next is, in epoch seconds.

    Of `sites` a number is kept, what they have in common over network namespaces; `untracked`
    failures were of more of them.
    """

    __slots__ = ("due", "hosts", "sites", "untracked")

    def __init__(self, policy: Policy, tally: Tally, incident: str) -> None:
        super().__init__(policy, tally, incident, 1)
        self.sites: Counter[Subject] = Counter()
        self.hosts: dict[Subject, str] = {}
        self.untracked = 0
        self.due = 0.0

    @classmethod
    def begin(cls, policy: Policy, first: Tally, serial: int, now: Moment) -> Day:
        """Return the digest that is due at the next `digest_hour` (UTC)."""
        name = incident_id("daily", now.wall, serial)
        day = cls(policy, Tally(first.first_mono, first.first_wall), name)
        day.due = next_due(policy.digest_hour or 0, now.wall)
        day.severity = Severity.INFO
        return day

    def use(self, policy: Policy, now: Moment) -> None:
        """Go by this from now on."""
        self.policy = policy
        self.due = next_due(policy.digest_hour or 0, now.wall)

    def count(self, subject: Subject, tally: Tally, silenced: int) -> None:
        """Count what was counted of a subject."""
        site = subject.site
        if site in self.sites or len(self.sites) < _KEPT:
            self.sites[site] += tally.total
            if tally.hosts:
                self.hosts[site] = tally.hosts[-1]
        else:
            self.untracked += tally.total
        self.silenced += silenced
        self.tally.absorb(tally)
        self.told_wall = min(self.told_wall, tally.first_wall)

    def review(self, now: Moment) -> Notification | None:
        """Return the digest where it is due."""
        self.due = min(self.due, now.wall + _DAY)  # where the clock was set back
        if now.wall < self.due:
            return None
        top = tuple(
            SubjectCount(site, failures, None, self.hosts.get(site))
            for site, failures in self.sites.most_common(TOLD_SUBJECTS)
        )
        kinds = Counter(site.kind for site in self.sites)
        return self.tell(
            Phase.DAILY, now, None, None,
            kinds=tuple(kinds.items()), top=top, untracked=self.untracked,
        )  # fmt: skip

    def next_look(self, now: Moment) -> float:
        """Return when it is due, in seconds of CLOCK_MONOTONIC, as the clocks stand now."""
        return now.mono + max(0.0, min(self.due - now.wall, _DAY))


def next_due(hour: int, wall: float) -> float:
    """Return the next time that it is this hour (UTC), in seconds since the epoch."""
    today = wall // _DAY * _DAY + hour * _HOUR
    return today if today > wall else today + _DAY
