"""Failures in a row of one subject."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcp_trace.incidents.subjects import succeeded_since

if TYPE_CHECKING:
    from tcp_trace.incidents.subjects import AnyFailure, Counts


class Streak:
    """`failures` from `first` to `last` (CLOCK_MONOTONIC), none after a success ended them."""

    __slots__ = ("failures", "first", "last")

    def __init__(self, first: float, last: float, failures: int) -> None:
        self.first, self.last, self.failures = first, last, failures

    def extend(self, failure: AnyFailure) -> None:
        """Count a failure."""
        if not self.failures:
            self.first = failure.mono
        self.failures += failure.times
        self.last = max(self.last, failure.mono)

    def is_broken(self, counts: Counts | None) -> bool:
        """Whether there was a success since the first of them."""
        return self.failures > 0 and succeeded_since(counts, self.first)

    def cut(self, counts: Counts | None) -> None:
        """End them by that success; a failure after it begins anew."""
        if succeeded_since(counts, self.last):
            self.failures = 0
        else:  # it came before a failure that is less than a second old
            self.first, self.failures = self.last, 1
