"""When to look at which account: a heap that forgets what was planned anew."""

from __future__ import annotations

from heapq import heappop, heappush
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tcp_trace.incidents.account import Account


class Agenda:
    """Accounts by their `wake`: an entry with another time than its account's is void."""

    def __init__(self) -> None:
        # When (seconds of CLOCK_MONOTONIC), a number to settle ties, at what.
        self._heap: list[tuple[float, int, Account]] = []
        self._planned = 0

    def plan(self, account: Account, when: float) -> None:
        """Put `account` on the agenda, unless it is there for an earlier time."""
        if when < account.wake:
            account.wake = when
            self._planned += 1
            heappush(self._heap, (when, self._planned, account))

    def next(self) -> float | None:
        """Return the earliest time, None where nothing is planned."""
        heap = self._heap
        while heap and heap[0][0] != heap[0][2].wake:
            heappop(heap)
        return heap[0][0] if heap else None

    def due(self, mono: float) -> list[Account]:
        """Take what is planned until then off the agenda, and return it."""
        due = []
        while (when := self.next()) is not None and when <= mono:
            account = heappop(self._heap)[2]
            account.wake = inf
            due.append(account)
        return due
