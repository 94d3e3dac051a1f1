"""Lost races: a connect that lost to a faster one of the same program is no failure.

A client with several addresses of one name begins with one, goes on with the next before the first
has answered, and closes the others once one is established (RFC 8305, Happy Eyeballs). The closed
ones did not fail. A race is among the addresses of one name, so names decide if they are known:

    closed without an error       the process connected to another address on that port at that
                                  moment: lost if that address has the same name, a failure if all
                                  have other names; if a name is unknown, the kernel program's
                                  judgement by times counts (`raced`). An attempt that outlives a
                                  success with an address is not racing against it
    no route to this family,      lost if the same process gets through to an address of the other
    returned by connect() itself  family with the same name and port; it is held for up to `HOLD`
                                  seconds to find out. Without a name it is a failure at once

An attempt that got an answer, or that the kernel gave up, lost no race.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from tcp_trace.connects.events import Raced
from tcp_trace.connects.reasons import Reason
from tcp_trace.connects.waiting import Waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tcp_trace.connects.events import Failure, Process

HOLD = 1.0
"""Seconds for the other family to get through: then a SYN is sent again."""

STEP = 0.1
"""Seconds between two looks at the other family's successes."""

HELD_MAX = 4096
"""Failures held back at a time; more are reported at once."""

# RACE_BEGIN, RACE_END and RACE_OUTLIVED of bpf/connect/races.h
BEGIN = 2.0
END = 0.2
OUTLIVED = 0.4
_UNROUTED = (Reason.NETWORK_UNREACHABLE, Reason.HOST_UNREACHABLE)


class Rival(NamedTuple):
    """The last success of a process with an address; times are seconds of CLOCK_MONOTONIC.

    `later` and `earlier` are two successes that an attempt may outlive, 0 for none.
    """

    address: str
    began: float
    established: float
    later: float = 0.0
    earlier: float = 0.0


class Races:
    """Separates failures from lost races, and counts these in `lost`.

    With `ignore` unset, lost races are failures, too. `rivals` returns the successes of a process
    on a port; `host_of` the name looked up for the address of a failed attempt, None if unknown.
    """

    def __init__(
        self,
        rivals: Callable[[Process, int], Sequence[Rival]],
        host_of: Callable[[Failure], str | None],
        *,
        ignore: bool = True,
        waiting: Waiting | None = None,
    ) -> None:
        self._ignore = ignore
        self._rivals = rivals
        self._host_of = host_of
        self._waiting = waiting or Waiting()
        self._held: deque[tuple[float, float, int, Failure]] = deque()
        self.lost = 0

    def judge(self, failure: Failure, now: float) -> Failure | Raced | None:
        """Return the failure or lost race, None while undecided; `now` is monotonic."""
        if not self._ignore:
            return failure
        if failure.reason is Reason.CANCELLED or failure.raced:
            return self._lost(failure) if self._is_lost(failure) else failure
        if not _has_no_route(failure):
            return failure
        if self._is_overtaken(failure):
            return self._lost(failure)
        if len(self._held) >= HELD_MAX:
            return failure
        key = self._waiting.keep(failure)
        self._held.append((now + STEP, now + HOLD, key, failure))
        return None

    def expire(self, now: float) -> list[Failure | Raced]:
        """Return the held failures that are decided by now."""
        known: list[Failure | Raced] = []
        while self._held and self._held[0][0] <= now:
            _, deadline, key, failure = self._held.popleft()
            overtaken = self._is_overtaken(failure)
            if overtaken or now >= deadline:
                self._waiting.done(key)
                known.append(self._lost(failure) if overtaken else failure)
            else:
                self._held.append((now + STEP, deadline, key, failure))
        return known

    def next_deadline(self) -> float | None:
        """Return when to call `expire` next, None for never."""
        return self._held[0][0] if self._held else None

    def _lost(self, failure: Failure) -> Raced:
        self.lost += failure.times
        return Raced(failure)

    def _is_lost(self, failure: Failure) -> bool:
        """Whether an attempt closed without an answer lost a race."""
        hosts = [self._host_at(failure, rival) for rival in self._rivals_of(failure, _won)]
        if failure.host is None or not hosts:
            return failure.raced
        return failure.host in hosts or (failure.raced and None in hosts)

    def _is_overtaken(self, failure: Failure) -> bool:
        """Whether the other family got through to the same name."""
        rivals = self._rivals_of(failure, _overtook)
        return any(self._host_at(failure, rival) == failure.host for rival in rivals)

    def _rivals_of(self, failure: Failure, is_one: Callable[[Failure, Rival], bool]) -> list[Rival]:
        if failure.process is None or failure.host is None:
            return []
        rivals = self._rivals(failure.process, failure.destination.port)
        return [rival for rival in rivals if is_one(failure, rival)]

    def _host_at(self, failure: Failure, rival: Rival) -> str | None:
        destination = failure.destination._replace(address=rival.address)
        return self._host_of(failure._replace(destination=destination))


def _won(failure: Failure, rival: Rival) -> bool:
    """Whether the attempt was closed because of this success."""
    began = failure.mono - (failure.elapsed or 0.0)
    return (
        rival.address != failure.destination.address
        and began < rival.established
        and failure.mono - rival.established < END
        and not any(
            began < success and failure.mono - success > OUTLIVED
            for success in (rival.later, rival.earlier)
        )
    )


def _overtook(failure: Failure, rival: Rival) -> bool:
    return (
        _is_v6(rival.address) != _is_v6(failure.destination.address)
        and abs(rival.began - failure.mono) < BEGIN
    )


def _has_no_route(failure: Failure) -> bool:
    return failure.reason in _UNROUTED and not failure.syns and failure.host is not None


def _is_v6(address: str) -> bool:
    return ":" in address
