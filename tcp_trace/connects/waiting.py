"""Failures that were read from the kernel and are not told yet, for whoever keeps them safe.

Returns, races and repeats hold failures back, each for a while. What they hold is in the memory of
this process alone; so each change is noted here, and kept in a map of the kernel (`progress`)
before the records that it came from are let go. Pure.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tcp_trace.connects.events import Failure

_COUNTED = 1


class Waiting:
    """What changed since `changes` was called last. No process used `first`, or a key above it."""

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
        """Know what an earlier process kept under these keys."""
        self._known.update(keys)

    def replace(self, key: int, failure: Failure) -> None:
        """Note that another one waits under this key."""
        self._changes[key] = failure

    def done(self, key: int) -> None:
        """Note that it was told."""
        if key in self._known:
            self._changes[key] = None
        else:
            self._changes.pop(key, None)

    def changes(self) -> dict[int, Failure | None]:
        """Return what is to be kept now by its key, None for what is to be removed."""
        changes, self._changes = self._changes, {}
        self._known.difference_update(changes)
        self._known.update(key for key, failure in changes.items() if failure is not None)
        return changes


def is_counted(key: int) -> bool:
    """Whether only the line in the log is still to be written of what waits under a key."""
    return bool(key & _COUNTED)
