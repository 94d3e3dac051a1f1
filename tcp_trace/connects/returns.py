"""Joins the error that connect() returned to its attempt: one connect is one failure.

An attempt that connect() itself gives up is closed without an error in its socket; only the return
value, a moment later, has the reason. So such a failure is held back until the error comes, or for
`HOLD` seconds: then the return was missed, and the failure is reported without it. An error without
an attempt is a failure by itself, at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcp_trace.connects.events import Failure
from tcp_trace.connects.reasons import classify_returned
from tcp_trace.connects.tracker import elapsed
from tcp_trace.connects.waiting import Waiting

if TYPE_CHECKING:
    from tcp_trace.connects.events import Transition

HOLD = 0.2
"""Seconds. The record follows within microseconds; reading the ring takes longer."""

_Attempt = tuple[int, int]


class Returns:
    """Failures that wait for their error, and errors that wait for their failure.

    Both are bounded by a backlog of records, and gone after `HOLD` seconds.
    """

    def __init__(self, waiting: Waiting | None = None) -> None:
        self._waiting = waiting or Waiting()
        self._failures: dict[_Attempt, tuple[float, int, Failure]] = {}
        self._errors: dict[_Attempt, tuple[float, int, Failure]] = {}

    def failed(self, failure: Failure, transition: Transition, now: float) -> Failure | None:
        """Return the failure to report now, None while it waits; `now` is monotonic."""
        if not transition.may_return:
            return failure
        attempt = (transition.start_ns, transition.start_cpu)
        error = self._errors.pop(attempt, None)
        if error is not None:
            self._waiting.done(error[1])
            return _joined(failure, error[2])
        self._failures[attempt] = (now, self._waiting.keep(failure), failure)
        return None

    def returned(self, record: Transition, now: float) -> Failure | None:
        """Take in an error that connect() returned; see `failed`."""
        alone = _failure_of(record)
        if not record.start_ns:
            return alone
        attempt = (record.start_ns, record.start_cpu)
        failure = self._failures.pop(attempt, None)
        if failure is not None:
            self._waiting.done(failure[1])
            return _joined(failure[2], alone)
        self._errors[attempt] = (now, self._waiting.keep(alone), alone)
        return None

    def alone(self, record: Transition) -> Failure:
        """Return the failure for an error without an attempt."""
        return _failure_of(record)

    def expire(self, now: float) -> list[Failure]:
        """Return the failures that waited long enough.

        Call this after reading the ring to its end: the missing record may be in it.
        """
        late: list[Failure] = []
        for waiting in (self._failures, self._errors):
            for attempt, (since, key, failure) in list(waiting.items()):
                if now - since < HOLD:
                    break  # the rest came later
                del waiting[attempt]
                self._waiting.done(key)
                late.append(failure)
        return late

    def next_deadline(self) -> float | None:
        """Return when to call `expire` next, None for never."""
        firsts = [
            next(iter(waiting.values()))[0] for waiting in (self._failures, self._errors) if waiting
        ]
        return min(firsts) + HOLD if firsts else None


def _joined(failure: Failure, error: Failure) -> Failure:
    """Return the failure with the error that connect() returned: it gave up before any SYN."""
    return failure._replace(errno=error.errno, reason=error.reason, syns=0, record=error.record)


def _failure_of(record: Transition) -> Failure:
    begun = bool(record.start_ns)
    return Failure(
        destination=record.destination,
        reason=classify_returned(record.errno, begun=begun),
        errno=record.errno,
        local_port=record.local_port,
        process=record.process,
        elapsed=elapsed(record) if begun else 0.0,
        syns=0,
        wall=record.wall,
        mono=record.timestamp_ns * 1e-9,
        record=record.record,
    )
