"""A host in simulated time: traffic, faults, the real core, and what people hear of it."""

from __future__ import annotations

import json
from heapq import heappop, heappush
from math import inf
from typing import TYPE_CHECKING, Any

from tcp_trace.connects.events import Destination, Failure, Moment
from tcp_trace.connects.reasons import Reason
from tests.timelines.chance import dice
from tests.timelines.core import Core
from tests.timelines.faults import Fault, Faults
from tests.timelines.kernel import BOOTED, Kernel, Stream
from tests.timelines.lines import Flow, How, Line, Try
from tests.timelines.observer import Observer
from tests.timelines.places import APP, DATABASE, Program

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from tcp_trace.incidents.notification import Notification
    from tests.timelines.chance import Intensity

MINUTE, HOUR, DAY = 60.0, 3_600.0, 86_400.0
MONDAY = 1_772_409_600.0
"""Midnight UTC, when every world begins."""
_SWEEP = 600.0
_BY_CHANCE = (Reason.REFUSED, Reason.TIMED_OUT, Reason.CANCELLED, Reason.RESET)


class World:
    """A host on which things happen. Times are seconds since its first midnight.

    `seed` settles all chance; `settings` are the service's, as its env file would have them.
    """

    def __init__(self, seed: int = 0, **settings: str) -> None:
        self.seed = seed
        self.now = 0.0
        self.jumped = 0.0
        self.fed = 0
        self.faults = Faults()
        self.kernel = Kernel()
        self.core = Core(settings)
        self.observer = Observer(lambda: self.now)
        self._flows: list[Flow] = []
        self._lines = 0
        self._planned = 0
        self._events: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []

    @property
    def moment(self) -> Moment:
        """Return the present, as the service's clocks show it."""
        return Moment(BOOTED + self.now, MONDAY + self.now + self.jumped)

    def fault(
        self, places: Destination | Collection[Destination], at: float, lasts: float, **how: Any
    ) -> Fault:
        """Let connects to places fail from then on, for so long; see `Fault`."""
        fault = Fault(_places(places), at, at + lasts, **how)
        self.faults.add(fault)
        return fault

    def traffic(
        self,
        places: Destination | Collection[Destination],
        rate: float,
        *,
        programs: Program | Sequence[Program] = APP,
        begin: float = 0.0,
        end: float = inf,
        skew: float = 0.0,
        **how: Any,
    ) -> None:
        """Let programs connect to places at random, `rate` times a second in all; see `How`.

        The place number n is used 1 / n**skew times as often as the first.
        """
        places = _places(places)
        weights = [1 / (number + 1) ** skew for number in range(len(places))]
        for place, weight in zip(places, weights, strict=True):
            line = self._line(place, How(_programs(programs), **how))
            self._flows.append(Flow(line, rate * weight / sum(weights), begin, end))

    def every(
        self,
        period: float,
        place: Destination,
        *,
        begin: float = 0.0,
        jitter: float = 0.05,
        programs: Program | Sequence[Program] = APP,
        **how: Any,
    ) -> None:
        """Let programs connect once in so many seconds, give or take a share; see `How`."""
        line = self._line(place, How(_programs(programs), **how))
        self.kernel.stay(place)
        self.at(begin + period * jitter * line.rng.random(), self._periodic, line, period, jitter)

    def script(self, tries: Iterable[Try], program: Program, **how: Any) -> None:
        """Let a program make these connects, in order; see `How`."""
        self._follow(self._line(DATABASE, How((program,), **how)), iter(tries))

    def at(self, when: float, act: Callable[..., object], *arguments: Any) -> None:
        """Let something happen then."""
        if when < inf:
            self._planned += 1
            heappush(self._events, (when, self._planned, act, arguments))

    def restart(self, at: float, away: float = 5.0, *, forgets: bool = False) -> None:
        """Restart the service then; unless it `forgets`, the kernel program goes on meanwhile."""
        self.at(at, self._stop, away, forgets)

    def jump(self, at: float, seconds: float) -> None:
        """Set the wall clock then."""
        self.at(at, self._jump, seconds)

    def feed(
        self,
        place: Destination,
        program: Program,
        reason: Reason,
        elapsed: float = 0.001,
        host: str | None = None,
    ) -> None:
        """Let a connect fail now."""
        self.kernel.fail(place)
        self.fed += 1
        now = self.moment
        failure = Failure(
            place, reason, 0, 40_000, program.process, elapsed, 1, now.wall, now.mono,
            program.maker, host,
        )  # fmt: skip
        self._tell(self.core.failed(failure, now, self.kernel))

    def run(self, seconds: float) -> Observer:
        """Let so much time pass since the beginning; return what people heard."""
        for number, flow in enumerate(self._flows):
            succeed, fail = flow.split(self.faults)
            chance = dice(self.seed, "successes", number)
            self.kernel.feed(flow.line.place, Stream(succeed, chance))
            self._next(flow.line, fail)
        self.at(_SWEEP, self._sweep)
        while True:
            due = self.core.next_deadline()
            due = inf if due is None else max(self.now, due - BOOTED)
            when = self._events[0][0]
            if min(due, when) > seconds:
                break
            if due <= when:
                self._set(due)
                self._tell(self.core.tick(self.moment, self.kernel))
            else:
                when, _, act, arguments = heappop(self._events)
                self._set(when)
                act(*arguments)
        self._set(seconds)
        return self.observer

    def _set(self, when: float) -> None:
        self.now = max(self.now, when)
        self.kernel.now = self.now

    def _tell(self, notifications: Iterable[Notification]) -> None:
        for notification in notifications:
            self.observer.take(notification)

    def _line(self, place: Destination, how: How) -> Line:
        self._lines += 1
        if how.host is not None:
            self.kernel.name(how.host, place)
        return Line(place, how, dice(self.seed, self._lines, place))

    def _next(self, line: Line, failing: Intensity) -> None:
        self.at(failing.next(line.rng, self.now), self._arrive, line, failing)

    def _arrive(self, line: Line, failing: Intensity) -> None:
        self._next(line, failing)
        self._wait(line, self.faults.at(line.place, self.now), line.how.tries)

    def _periodic(self, line: Line, period: float, jitter: float) -> None:
        wait = period * (1 + jitter * line.rng.uniform(-1, 1))
        self.at(self.now + wait, self._periodic, line, period, jitter)
        self._attempt(line, line.how.tries)

    def _follow(self, line: Line, tries: Iterator[Try]) -> None:
        one = next(tries, None)
        if one is not None:
            self.at(one.at, self._scripted, line, one, tries)

    def _scripted(self, line: Line, one: Try, tries: Iterator[Try]) -> None:
        self._follow(line, tries)
        self._try(line._replace(place=one.place), one, line.how.tries)

    def _try(self, line: Line, one: Try, left: int) -> None:
        if one.reason is None or self.faults.at(one.place, self.now):
            self._attempt(line, left)
            return
        self.feed(one.place, line.how.programs[0], one.reason)
        if line.how.retry is not None and left > 0:
            self.at(self.now + line.how.retry, self._try, line, one, left - 1)

    def _attempt(self, line: Line, left: int) -> None:
        fault = self.faults.at(line.place, self.now)
        share = line.how.failing if fault is None else fault.share
        if share and (share >= 1 or line.rng.random() < share):
            self._wait(line, fault, left)
        else:
            self.kernel.succeed(line.place)

    def _wait(self, line: Line, fault: Fault | None, left: int) -> None:
        if fault is None or not fault.after:
            self._fail(line, fault, left)
        else:
            self.at(self.now + fault.after, self._give_up, line, fault, left)

    def _give_up(self, line: Line, fault: Fault, left: int) -> None:
        if fault.share >= 1 and self.now >= fault.end:
            self.kernel.succeed(line.place)
        else:
            self._fail(line, fault, left)

    def _fail(self, line: Line, fault: Fault | None, left: int) -> None:
        how, rng = line.how, line.rng
        program = how.programs[int(rng.random() * len(how.programs))]
        if fault is None:
            self.feed(line.place, program, rng.choice(_BY_CHANCE), host=how.host)
        else:
            fault.note(self.now, program.process.comm)
            self.feed(line.place, program, fault.reason, max(0.0004, fault.after), how.host)
        if how.retry is not None and left > 0:
            wait = how.retry * rng.uniform(0.9, 1.1)
            self.at(self.now + wait, self._attempt, line, left - 1)

    def _sweep(self) -> None:
        self.core.sweep(self.kernel, self.moment)
        self.at(self.now + _SWEEP, self._sweep)

    def _stop(self, away: float, forgets: bool) -> None:  # noqa: FBT001 - what was planned
        saved = json.dumps(self.core.stop(self.kernel, self.moment))
        self.at(self.now + away, self._start, saved, forgets)

    def _start(self, saved: str, forgets: bool) -> None:  # noqa: FBT001 - what was planned
        if forgets:
            self.kernel.forget()
        self._tell(self.core.start(json.loads(saved), self.moment, self.kernel))

    def _jump(self, seconds: float) -> None:
        self.jumped += seconds


def _places(places: Destination | Collection[Destination]) -> Sequence[Destination]:
    return (places,) if isinstance(places, Destination) else tuple(places)


def _programs(programs: Program | Sequence[Program]) -> Sequence[Program]:
    return (programs,) if isinstance(programs, Program) else programs
