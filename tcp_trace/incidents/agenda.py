"""When to look at which account: a heap that forgets what was planned anew."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tcp_trace.incidents.account import Account

_LEAST = 1000


class Agenda:
    """Accounts by their `wake`: an entry with another time than its account's is void."""

    def __init__(self) -> None:
        # When (seconds of CLOCK_MONOTONIC), a number to settle ties, at what.
        self._heap: list[tuple[float, int, Account]] = []
        self._planned = 0
        self._crowded = _LEAST

    def plan(self, account: Account, when: float) -> None:
        """Put `account` on the agenda, unless it is there for an earlier time."""
        if when < account.wake:
            account.wake = when
            self._planned += 1
            heappush(self._heap, (when, self._planned, account))
            if len(self._heap) > self._crowded:
                self._clear()

    def _clear(self) -> None:
        """Forget what is void: it would keep accounts that are gone for as long as their time."""
        self._heap = [entry for entry in self._heap if entry[0] == entry[2].wake]
        heapify(self._heap)
        self._crowded = max(_LEAST, 2 * len(self._heap))

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
