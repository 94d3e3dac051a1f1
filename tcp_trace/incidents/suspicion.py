"""When people hear of a suspect, and when it is redeemed: the rules of `ALERT_AFTER`."""

from __future__ import annotations

from enum import Enum
from math import inf
from typing import TYPE_CHECKING

from tcp_trace.incidents.explorers import Explorers, name_of
from tcp_trace.incidents.notification import State
from tcp_trace.incidents.subjects import neighbourhood

if TYPE_CHECKING:
    from tcp_trace.connects.events import Moment
    from tcp_trace.incidents.incident import Incident
    from tcp_trace.incidents.policy import Policy
    from tcp_trace.incidents.subjects import Seen
    from tcp_trace.incidents.suspects import Suspects

_ASK_EVERY = 1.0
_NEAR_KEPT = 100
_FEW = 5


class Redeemed(Enum):
    """Nobody needs to hear of it: it works, or its neighbours do its work, or it is long ago."""

    REDEEMED = "redeemed"


REDEEMED = Redeemed.REDEEMED
Verdict = State | Redeemed | None


class Suspicion:
    """Judges suspects. `began` is when the first was, in seconds since the epoch."""

    def __init__(self, policy: Policy, suspects: Suspects) -> None:
        self.policy = policy
        self.explorers = Explorers(policy)
        self.began: float | None = None
        self._suspects = suspects
        # When it was asked whether neighbours work, and whether they do.
        self._works_near: dict[object, tuple[float, bool]] = {}

    def verdict(self, suspect: Incident, now: Moment, seen: Seen) -> Verdict:
        """Return how it fails where people are to hear of it now, None to wait.

        The row has heard what the kernel counted.
        """
        row, policy = suspect.row, self.policy
        if policy.after is not None:
            return self._counted(suspect, now)
        if row.failures:
            if self.is_down(suspect, now, seen):
                return State.DOWN
            if row.works and now.mono >= self._untried_at(suspect, now):
                return REDEEMED if self._is_replaced(suspect, seen) else State.UNTRIED
        if now.mono >= self._window_ends(suspect):
            if self._is_degraded(suspect, now):
                return State.DEGRADED
            if not row.failures:
                return REDEEMED
        return REDEEMED if now.mono >= row.last + policy.forget_after else None

    def next_look(self, suspect: Incident, now: Moment) -> float:
        """Return when `verdict` is useful again, in seconds of CLOCK_MONOTONIC."""
        row, policy = suspect.row, self.policy
        if policy.after is not None:
            looks = [row.last + policy.window]
        else:
            looks = [self._window_ends(suspect)]
        if policy.after is None and row.works and row.failures:
            looks += [row.first + policy.down_after, self._untried_at(suspect, now)]
        # And now and then, ever more rarely: it may work again.
        age = max(policy.degraded_window, now.mono - row.window)
        looks += [now.mono + age, row.last + policy.forget_after]
        return min(when for when in looks if when > now.mono)

    def is_past(self, suspect: Incident, now: Moment) -> bool:
        """Whether a failure now has nothing to do with those before it."""
        row, policy = suspect.row, self.policy
        if row.failures or not suspect.is_heard:
            return False
        if policy.after is not None:
            return now.mono > row.last + policy.window
        return now.mono >= self._window_ends(suspect) and not self._is_degraded(suspect, now)

    def is_overdue(self, suspect: Incident, now: Moment) -> bool:
        """Whether a suspect that worked before has failed for long enough to be down."""
        row = suspect.row
        return row.works and row.failures > 0 and now.mono >= row.first + self.policy.down_after

    def _counted(self, suspect: Incident, now: Moment) -> Verdict:
        row, policy = suspect.row, self.policy
        after = policy.after or 1
        lately = sum(times for when, times in row.recent if when >= row.last - policy.window)
        if max(lately, row.failures) >= after:
            return State.FAILING
        is_over = not row.failures and now.mono >= row.last + policy.window
        return REDEEMED if is_over or now.mono >= row.last + policy.forget_after else None

    def is_down(self, suspect: Incident, now: Moment, seen: Seen) -> bool:
        """Whether it failed often enough in a row, for long enough."""
        row, policy = suspect.row, self.policy
        least = policy.down_failures if row.works else policy.new_failures
        if row.failures < least or now.mono > row.last + policy.recent:
            return False
        if not row.works:
            places = self._places(suspect, now)
            over = min(places * policy.new_after, policy.explorer_after)
            explores = over >= policy.explorer_after
            enough = policy.explorer_failures if explores else policy.new_failures
            return row.failures >= enough and row.last - row.first >= over
        if now.mono < row.first + policy.down_after:
            return False
        return row.last - row.first >= policy.pool_after or not self.is_of_pool(suspect, now, seen)

    def is_of_pool(self, suspect: Incident, now: Moment, seen: Seen) -> bool:
        """Whether it is one of several places for the same, of which others work."""
        policy = self.policy
        since, began = suspect.row.since, self.began or 0.0
        came = since is not None and since > began + policy.pool_settled
        is_young = came and suspect.tally.first_wall - (since or 0.0) < policy.pool_age
        if not is_young:
            others = self._suspects.near(suspect)
            for each in others if len(others) <= _FEW else ():  # one by chance is none of a pool
                each.row.hear(seen.counts(each.subject), now)
            if self._suspects.failing_near(suspect) < policy.pool_failing:
                return False
        near = neighbourhood(suspect.subject)
        asked, works = self._works_near.get(near, (-inf, False))
        if now.mono >= asked + _ASK_EVERY:  # all that the kernel counted is read for it
            works = seen.working(suspect.row.first, suspect.subject) > 0
            if len(self._works_near) >= _NEAR_KEPT:
                self._works_near.clear()
            self._works_near[near] = now.mono, works
        return works

    def _is_replaced(self, suspect: Incident, seen: Seen) -> bool:
        """Whether its neighbours do its work; not that of a rare job, which has its own place."""
        gap = suspect.row.gap
        is_rare = gap is not None and gap > self.policy.untried_gap
        return not is_rare and seen.working(suspect.row.first, suspect.subject) > 0

    def _untried_at(self, suspect: Incident, now: Moment) -> float:
        row, policy = suspect.row, self.policy
        wait = policy.untried_after
        if row.gap is not None and row.gap <= policy.untried_gap:
            wait = max(wait, policy.untried_gaps * row.gap)
        return row.last + wait * self._places(suspect, now)

    def _places(self, suspect: Incident, now: Moment) -> int:
        """Return how many places its programs found dead lately, of those that explore least."""
        programs = suspect.tally.programs.values()
        return self.explorers.places((name_of(p, p.maker) for p in programs), now)

    def _window_ends(self, suspect: Incident) -> float:
        """Return when it is judged by its share.

        Soon where that is usual, late where some fail, and not enough to say.
        """
        row, policy = suspect.row, self.policy
        soon = row.window + policy.degraded_window / 3
        if row.asked >= soon:
            is_usual = self._share(suspect) < self._usual(suspect)
        else:
            is_usual = not row.failures
        if is_usual:
            return soon
        failed = self._failed(suspect)
        is_open = failed >= policy.critical_from and failed < policy.degraded_failures
        return row.window + (policy.degraded_within if is_open else policy.degraded_window)

    def _is_degraded(self, suspect: Incident, now: Moment) -> bool:
        """Whether enough attempts of its window failed, others succeeded, and it goes on."""
        row = suspect.row
        if self._failed(suspect) < self.policy.degraded_failures or not row.works:
            return False
        if 2 * row.failures > self._failed(suspect):  # most of them had no success after them
            return False
        age = now.mono - row.window
        is_short = age < 2 * self.policy.degraded_window
        if is_short and 10 * min(row.thirds) < sum(row.thirds):  # it began lately, or is over
            return False
        goes_on = now.mono - row.last <= age / 4
        return goes_on and self._usual(suspect) <= self._share(suspect) < 1

    def _failed(self, suspect: Incident) -> int:
        row = suspect.row
        past = 0 if row.past is None else row.past.total - row.past_silenced
        return past + suspect.heard

    def _share(self, suspect: Incident) -> float:
        """Return the share of attempts in this window that failed, 1 where that is not known."""
        row, failed = suspect.row, self._failed(suspect)
        if row.counts is None:
            return 1.0
        before = 0 if row.base is None else row.base.established
        established = row.counts.established - before
        return failed / (failed + established) if established >= 0 else 0.0

    def _usual(self, suspect: Incident) -> float:
        """Return the share from which on it is degraded."""
        policy = self.policy
        return max(policy.degraded_share, policy.degraded_factor * suspect.row.share)
