"""Feeds the memory with the kernel's counts, and has it saved: some at each turn of the poll loop.

Every 10 minutes all destinations are read that succeeded since the last time, and every 30 minutes
the memory is saved. Both are done in portions, between which the ring is read.
"""

from __future__ import annotations

import logging
from itertools import islice
from math import inf
from typing import TYPE_CHECKING

from tcp_trace.incidents.memory import Memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tcp_trace.connects.events import Moment
    from tcp_trace.probes.connectmaps import Maps

log = logging.getLogger(__name__)

SWEEP_INTERVAL = 600.0
"""Seconds between two looks at all that the kernel counts."""

SAVE_INTERVAL = 1_800.0
"""Seconds between two times that the memory is saved: so much of it a kill may cost."""

# Lines that are made at once: a portion takes some milliseconds.
_PORTION = 256
# Between two portions, in seconds.
_PAUSE = 0.05
# A success is counted some time after its moment is taken.
_GRACE = 1.0


def remembered(saved: str | None, boot: str) -> Memory:
    """Return the memory that was saved, as far as it can be read; `boot` says which boot it is."""
    memory = Memory()
    if saved is not None:
        memory.load(saved, boot)
    if memory.damaged:
        log.error("dropped what cannot be read of the memory", extra={"lines": memory.damaged})
    return memory


class Sweep:
    """Belongs to the poll loop. `maps` are those in use, `save` takes what is to be kept."""

    def __init__(
        self, memory: Memory, boot: str, maps: Callable[[], Maps], save: Callable[[str], None]
    ) -> None:
        self._memory = memory
        self._boot = boot
        self._maps = maps
        self._save = save
        self._swept = 0.0
        self._next_save = inf
        self._next = 0.0
        self._job: Iterator[None] | None = None

    def next_deadline(self) -> float:
        """Return when there is something to do: seconds of CLOCK_MONOTONIC."""
        return self._next

    def go_on(self, now: Moment) -> None:
        """Do a portion of what is due."""
        if now.mono < self._next:
            return
        if self._job is None:
            self._job = self._sweep(now)
        if next(self._job, True):
            self._job = None
            self._next = now.mono + SWEEP_INTERVAL
        else:
            self._next = now.mono + _PAUSE

    def finish(self, now: Moment) -> None:
        """Take in all there is and save it, at once: the service ends."""
        self._next_save = 0.0
        for _ in self._sweep(now):
            pass

    def _sweep(self, now: Moment) -> Iterator[None]:
        """Take in what succeeded since the last time, and save what is due; yield in between."""
        try:
            for counted in self._maps().worked(self._swept):
                self._memory.take_all(counted, now)
                yield
            self._swept = now.mono - _GRACE
        except OSError as error:
            log.warning("destinations cannot be read: %s", error.strerror)
        if self._next_save == inf:  # the first time
            self._next_save = now.mono + SAVE_INTERVAL
        if now.mono < self._next_save or not self._memory:
            return
        self._next_save = now.mono + SAVE_INTERVAL
        lines = self._memory.dump(self._boot)
        made: list[str] = []
        while portion := list(islice(lines, _PORTION)):
            made += portion
            yield
        self._save("\n".join(made))
