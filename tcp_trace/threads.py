"""Threads that the system may refuse to start: TasksMax of a unit, or the user's process limit."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)


class Worker:
    """A thread that starts as soon as the system allows it.

    `name` says in the log which work waits for it. Only the thread that starts it may use this.
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
                    "no thread can be started for the %s: allow the user or the unit more tasks"
                    " (TasksMax=); retrying",
                    self._name,
                )
            self._refused = True
            return False
        if self._refused:
            log.info("started the thread for the %s", self._name)
        self._thread = thread
        return True

    def retry(self) -> bool:
        """Start it if the system refused before; return whether it was started now."""
        return self._refused and self._thread is None and self.start()

    def join(self, seconds: float) -> None:
        """Wait for the thread's end, at most this long."""
        if self._thread is not None:
            self._thread.join(seconds)
