"""How many incidents open on their own: those beyond are told together, as a storm."""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import TYPE_CHECKING, Any

from tcp_trace.incidents.topics import subject_of

if TYPE_CHECKING:
    from tcp_trace.connects.events import Moment
    from tcp_trace.incidents.policy import Policy
    from tcp_trace.incidents.subjects import Subject

_DAY = 86_400.0
# More than any number of the policy that is counted here.
_REMEMBERED = 50


class Claim(Enum):
    """Why an incident opens.

    Asked: people want to hear of every failure of it. Known: it worked before. New: it was never
    seen to work, or nobody tries it any more.
    """

    ASKED = "asked"
    KNOWN = "known"
    NEW = "new"


class Budget:
    """When incidents opened, as far as it matters for the next. Times: CLOCK_MONOTONIC."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        # With the site of each: they count whether they opened alone or in a storm.
        asked = max(policy.storm_subjects, policy.flood_subjects)
        self._asked: deque[tuple[float, Subject]] = deque(maxlen=asked)
        self._alone: dict[Claim, deque[float]] = {
            claim: deque(maxlen=_REMEMBERED) for claim in (Claim.KNOWN, Claim.NEW)
        }
        self._storms: deque[float] = deque(maxlen=_REMEMBERED)

    def allows(self, claim: Claim, subject: Subject, now: Moment) -> bool:
        """Return whether one more may open on its own, and count it where it may."""
        if claim is Claim.ASKED:
            allowed = self._allows_asked(subject, now)
            self._asked.append((now.mono, subject.site))
            return allowed
        allowed = self.left(now, claim) > 0
        if allowed:
            self._alone[claim].append(now.mono)
        return allowed

    def gather(self, now: Moment) -> float:
        """Count a storm, and return how long it gathers before it is told."""
        policy = self.policy
        earlier = _count(self._storms, now.mono - _DAY)
        self._storms.append(now.mono)
        beyond = earlier - policy.storms_prompt
        if beyond < 0:
            return policy.storm_gather
        return min(policy.interval * (1 << min(beyond, 30)), policy.repeat_most)

    def left(self, now: Moment, claim: Claim = Claim.KNOWN) -> int:
        """Return how many more may open on their own."""
        policy, opened = self.policy, self._alone[claim]
        burst, daily = (
            (policy.known_burst, policy.known_daily)
            if claim is Claim.KNOWN
            else (policy.new_burst, policy.new_daily)
        )
        lately = _count(opened, now.mono - policy.burst_window)
        return max(0, min(burst - lately, daily - _count(opened, now.mono - _DAY)))

    def _allows_asked(self, subject: Subject, now: Moment) -> bool:
        policy = self.policy
        long = [each for each in self._asked if each[0] >= now.mono - policy.quiet_after]
        lately = sum(when >= now.mono - policy.storm_window for when, _ in long)
        if lately >= policy.storm_subjects - 1 or len(long) >= policy.flood_subjects - 1:
            return False
        return sum(site == subject.site for _, site in long) < policy.storm_namespaces - 1

    def forget(self) -> None:
        """Begin to count anew after a storm."""
        self._asked.clear()

    def dump(self) -> dict[str, Any]:
        """Return what is remembered, for JSON."""
        return {
            "asked": [[when, list(site)] for when, site in self._asked],
            "alone": {claim.value: list(opened) for claim, opened in self._alone.items()},
            "storms": list(self._storms),
        }

    def load(self, saved: dict[str, Any], shift: float) -> None:
        """Remember what `dump` returned; `shift` is added to its times."""
        self._asked.extend((when + shift, subject_of(site)) for when, site in saved["asked"])
        for claim, opened in self._alone.items():
            opened.extend(when + shift for when in saved["alone"][claim.value])
        self._storms.extend(when + shift for when in saved["storms"])


def _count(times: deque[float], since: float) -> int:
    return sum(when >= since for when in times)
