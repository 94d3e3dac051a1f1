"""Runs what may stand, as an fsync does on a disk that does not answer, and waits a bounded time.

The thread that runs it stands with the disk; whoever asked goes on after `PATIENCE`. Until the disk
answers nothing else is tried.
"""

from __future__ import annotations

import threading
import weakref
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from tcp_trace.notify.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

ResultT = TypeVar("ResultT")

PATIENCE = 2.0
"""Seconds that a job may take; SQLite itself waits for one. The ring holds more than that."""

_STANDS = "the disk does not answer"


class Disk:
    """One thread for all that is done on a disk, in the order in which it was asked for.

    It belongs to one thread at a time.
    """

    def __init__(self) -> None:
        self._jobs: SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = SimpleQueue()
        self._started = False
        self._abandoned: Future[Any] | None = None
        weakref.finalize(self, self._jobs.put, None)

    def call(
        self, job: Callable[[], ResultT], undo: Callable[[ResultT], object] | None = None
    ) -> ResultT:
        """Return what `job` returns, or raise what it raises; StoreError where it takes too long.

        A job that was given up goes on; `undo` gets what it returns in the end.
        """
        if self._abandoned is not None and not self._abandoned.done():
            raise StoreError(_STANDS)
        future = self._submit(job)
        try:
            return future.result(PATIENCE)
        except TimeoutError:
            self._abandoned = future
            if undo is not None:
                future.add_done_callback(lambda done: _undo(done, undo))
            raise StoreError(_STANDS) from None

    def later(self, job: Callable[[], object]) -> None:
        """Do a job when all before it are done; nobody waits for it or hears of its errors."""
        self._submit(job)

    def _submit(self, job: Callable[[], ResultT]) -> Future[ResultT]:
        future: Future[ResultT] = Future()
        if not self._started:
            thread = threading.Thread(
                target=_work, args=(self._jobs,), name="tcp-trace-disk", daemon=True
            )
            try:
                thread.start()
            except RuntimeError:  # no thread can be had now: better to wait than not to keep it
                _run(job, future)
                return future
            self._started = True
        self._jobs.put((job, future))
        return future


def _work(jobs: SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None]) -> None:
    while (asked := jobs.get()) is not None:
        _run(*asked)


def _run(job: Callable[[], ResultT], future: Future[ResultT]) -> None:
    try:
        result = job()
    except BaseException as error:  # noqa: BLE001 - it is raised where the result is asked for
        future.set_exception(error)
    else:
        future.set_result(result)


def _undo(done: Future[ResultT], undo: Callable[[ResultT], object]) -> None:
    if done.exception() is None:
        undo(done.result())
