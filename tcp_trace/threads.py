"""Threads that the system may refuse to start: TasksMax of a unit, or the processes of a user."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)


class Worker:
    """A thread that runs from the first `start` on for which the system has one.

    `name` says in the log what does not run without it. It belongs to the thread that starts it.
    """

    def __init__(self, target: Callable[[], None], name: str) -> None:
        self._target = target
        self._name = name
        self._thread: threading.Thread | None = None
        self._refused = False

    @property
    def started(self) -> bool:
        """Whether the thread was started."""
        return self._thread is not None

    def start(self) -> bool:
        """Start the thread; return whether it runs. A refusal is logged once; see `retry`."""
        thread = threading.Thread(target=self._target, name=self._name, daemon=True)
        try:
            thread.start()
        except RuntimeError:
            if not self._refused:
                log.error(  # noqa: TRY400 - the sentence says it all
                    "no thread can be started for the %s: let the user or the unit have more tasks"
                    " (TasksMax=); it is tried again",
                    self._name,
                )
            self._refused = True
            return False
        if self._refused:
            log.info("the %s runs now", self._name)
        self._thread = thread
        return True

    def retry(self) -> bool:
        """Start it where the system had no room before; return whether it runs since now."""
        return self._refused and self._thread is None and self.start()

    def join(self, seconds: float) -> None:
        """Wait for the thread's end, so long at most."""
        if self._thread is not None:
            self._thread.join(seconds)
