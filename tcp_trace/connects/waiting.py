"""Failures that are read but not reported yet, to be kept safe.

Returns, races and repeats hold failures back for a while, in the memory of this process. So each
change is noted here, and kept in a kernel map (`progress`) before the ring's records are released.
Pure.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tcp_trace.connects.events import Failure

_COUNTED = 1


class Waiting:
    """The changes since the last call of `changes`. `first` is above every key used before."""

    def __init__(self, first: int = 0) -> None:
        self._keys = count(first & ~_COUNTED, 2)
        self._known: set[int] = set()
        self._changes: dict[int, Failure | None] = {}

    def keep(self, failure: Failure, *, counted: bool = False) -> int:
        """Note that a failure waits; return its key."""
        key = next(self._keys) | counted
        self._changes[key] = failure
        return key

    def adopt(self, keys: Iterable[int]) -> None:
        """Note the keys under which an earlier process kept failures."""
        self._known.update(keys)

    def replace(self, key: int, failure: Failure) -> None:
        """Note that another failure waits under this key."""
        self._changes[key] = failure

    def done(self, key: int) -> None:
        """Note that it was reported."""
        if key in self._known:
            self._changes[key] = None
        else:
            self._changes.pop(key, None)

    def changes(self) -> dict[int, Failure | None]:
        """Return the failures to keep, by key; None for one to remove."""
        changes, self._changes = self._changes, {}
        self._known.difference_update(changes)
        self._known.update(key for key, failure in changes.items() if failure is not None)
        return changes


def is_counted(key: int) -> bool:
    """Whether the failure under this key is counted, and only its log line is missing."""
    return bool(key & _COUNTED)
