"""The service's part of a world: the real incidents, by the settings that a user would give."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tcp_trace.incidents.incidents import Incidents
from tcp_trace.incidents.memory import Memory
from tcp_trace.service import applied
from tcp_trace.settings import config

if TYPE_CHECKING:
    from tcp_trace.connects.events import Failure, Moment
    from tcp_trace.incidents.notification import Notification
    from tests.timelines.kernel import Kernel

_BOOT = "this one"


class Core:
    """Incidents and memory by these settings, the defaults for all others."""

    def __init__(self, settings: dict[str, str]) -> None:
        self._policy = applied.policy(config.load(settings, None))
        self._memory = Memory()
        self._incidents = Incidents(self._policy, memory=self._memory)
        self._swept = 0.0
        self._is_away = False
        self._waiting: list[Failure] = []

    def failed(self, failure: Failure, now: Moment, kernel: Kernel) -> list[Notification]:
        """Take in a failure; while the service is away, the ring keeps it."""
        if self._is_away:
            self._waiting.append(failure)
            return []
        return self._incidents.failed(failure, now, kernel)

    def tick(self, now: Moment, kernel: Kernel) -> list[Notification]:
        """Return what is due."""
        return self._incidents.tick(now, kernel)

    def next_deadline(self) -> float | None:
        """Return when `tick` is useful next."""
        return None if self._is_away else self._incidents.next_deadline()

    def sweep(self, kernel: Kernel, now: Moment) -> None:
        """Remember what succeeded since the last time."""
        self._memory.take_all(kernel.worked(self._swept), now)
        self._swept = now.mono - 1.0

    def stop(self, kernel: Kernel, now: Moment) -> dict[str, Any]:
        """Return all that is saved when the service ends."""
        self.sweep(kernel, now)
        self._is_away = True
        memory = "\n".join(self._memory.dump(_BOOT))
        return {"incidents": self._incidents.dump(now), "memory": memory}

    def start(self, saved: dict[str, Any], now: Moment, kernel: Kernel) -> list[Notification]:
        """Take up what was saved, and what the ring has kept meanwhile."""
        self._memory = Memory()
        self._memory.load(saved["memory"], _BOOT)
        self._incidents = Incidents.load(saved["incidents"], self._policy, now, memory=self._memory)
        self._is_away = False
        waiting, self._waiting = self._waiting, []
        told = [self._incidents.failed(failure, now, kernel) for failure in waiting]
        return [notification for each in told for notification in each]
