"""Whether an outage that people heard of goes on, or only some attempts fail by chance since."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcp_trace.incidents.streak import Streak

if TYPE_CHECKING:
    from tcp_trace.connects.events import Moment
    from tcp_trace.incidents.policy import Policy
    from tcp_trace.incidents.row import Row
    from tcp_trace.incidents.subjects import AnyFailure, Counts

# The kernel is asked at failures no more often than this (seconds).
_ASK_EVERY = 1.0


class Standing(Streak):
    """How one subject stands. Times are seconds of CLOCK_MONOTONIC.

    `failures` in a row, from `first` to `last`, were not ended by a success. `since` is when an
    outage ended, None while it goes on: with its row, or, where it is one by its share (`shares`),
    until that is usual again. The `failed` failures since `window`, of which `most` in one row,
    stand against what was established since `base` was counted. `usual` is the usual share.
    """

    __slots__ = (
        "asked", "base", "counts", "failed", "most", "shares", "since", "usual", "window",
    )  # fmt: skip

    def __init__(
        self, first: float, last: float, failures: int = 1, *, usual: float = 0.0, shares: bool
    ) -> None:
        super().__init__(first, last, failures)
        self.shares, self.usual = shares, usual
        self.since: float | None = None
        self.counts: Counts | None = None
        self.asked = float("-inf")
        self.window, self.base, self.failed, self.most = last, 0, 0, 0

    @classmethod
    def of(cls, row: Row, *, shares: bool) -> Standing:
        """Return how a suspect with this row stands when people hear of it."""
        return cls(row.first, row.last, row.failures, usual=row.share, shares=shares)

    def wants(self, now: Moment) -> bool:
        """Whether the kernel is to be asked at this failure."""
        return now.mono >= self.asked + _ASK_EVERY

    def hear(self, counts: Counts | None, policy: Policy, now: Moment) -> None:
        """Take in what the kernel counted until now."""
        before, self.counts, self.asked = self.counts, counts, now.mono
        if counts is None:
            return
        if self.shares and before is None:
            self._begin(now.mono, counts)
        if self.is_broken(counts):
            ends = not self.shares or self._is_down(policy)
            self.cut(counts)
            ends = ends and (not self.failures or policy.after is None)
            if ends and self.since is None:
                self.since, self.shares = self.last, False
                self._begin(self.last, before or counts)
        if policy.after is None and (self.shares or self.since is not None):
            self._judge(counts, policy, now)

    def add(self, failure: AnyFailure, policy: Policy) -> bool:
        """Count a failure; return whether it is of an outage."""
        self.extend(failure)
        self.failed += failure.times
        self.most = max(self.most, self.failures)
        if self.since is not None and (policy.after is not None or self._is_down(policy)):
            self.since = None
        return self.since is None

    def is_well(self, policy: Policy) -> bool:
        """Whether the outage is over, and no more failed since than does as usual."""
        if self.since is None or self.counts is None:
            return False
        most = max(policy.well_share, policy.degraded_factor * self.usual)
        established = self.counts.established - self.base
        return established > 0 and self.failed < most * (self.failed + established)

    def _is_down(self, policy: Policy) -> bool:
        is_long = self.last - self.first >= policy.down_after
        return is_long and self.failures >= policy.down_failures

    def _begin(self, window: float, counts: Counts) -> None:
        self.window, self.base, self.failed, self.most = window, counts.established, 0, 0

    def _judge(self, counts: Counts, policy: Policy, now: Moment) -> None:
        """Judge by the share of the window, where it is long enough."""
        age = now.mono - self.window
        if age < policy.degraded_window:
            return
        established = counts.established - self.base
        usual = max(policy.degraded_share, policy.degraded_factor * self.usual)
        is_usual = self.failed < usual * (self.failed + established)
        # A single row of failures is no share: a success ended it, or it is down.
        is_share = self.failed >= policy.degraded_failures and 2 * self.most <= self.failed
        if established < 0 or (is_share and not is_usual):
            self.since, self.shares = None, True
        elif is_usual and self.shares and not self._is_down(policy):
            self.since, self.shares = self.window, False
            return
        elif age < policy.degraded_within:
            return
        self._begin(now.mono, counts)
