"""From one kernel program's ring and maps to failures: read, judged, said in the log, kept safe.

Where a record is read a second time, because an earlier process was killed, only that is done of
which nobody knows that it is (see `progress`).
"""

from __future__ import annotations

import math
import time
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from tcp_trace.connects.events import RETURNED, Begun, Established, Failure, Raced
from tcp_trace.connects.races import Races
from tcp_trace.connects.returns import Returns
from tcp_trace.connects.tracker import Tracker
from tcp_trace.connects.waiting import Waiting, is_counted
from tcp_trace.host.identity import Identities
from tcp_trace.kernel.rings import Ring
from tcp_trace.log import lines, logs
from tcp_trace.log.repeats import Repeats
from tcp_trace.probes.carried import Carried
from tcp_trace.probes.connectmaps import Held, Maps
from tcp_trace.probes.names import Names
from tcp_trace.probes.transitions import decode, decode_all
from tcp_trace.service import heldback
from tcp_trace.service.heldback import HeldBack
from tcp_trace.service.lag import Lag
from tcp_trace.service.progress import Due, Progress
from tcp_trace.settings.values import Events, LostRaces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tcp_trace.connects.events import Moment, Outcome, Transition
    from tcp_trace.settings.config import Settings

# Outcomes that are logged and nothing more.
_SHOWN = Begun | Established
# How many records are handled between two looks at the ring.
_BATCH = 256


class Source(NamedTuple):
    """The maps of the probes `connect` and `names`, by name; no names where that is not at work.

    `transitions` is a ring with `ring_bytes` for records.
    """

    maps: Mapping[str, int]
    names: Mapping[str, int]
    ring_bytes: int


class Intake:
    """Reads one source. `saved` is what an earlier process saved of `progress.state`.

    `name_of` returns the name of an address that is watched by name. Raises OSError where the ring
    cannot be mapped.
    """

    def __init__(
        self,
        source: Source,
        settings: Settings,
        name_of: Callable[[str], str | None],
        saved: object = None,
    ) -> None:
        self._shows_all = settings.events is Events.ALL
        self.maps = Maps(source.maps)
        self.names = Names(source.names)
        self.tracker = Tracker()
        self.ring = Ring(source.maps["transitions"], source.ring_bytes)
        self._name_of = name_of
        self._carried = Carried(source.maps)
        self._waiting = Waiting(time.monotonic_ns())
        self.progress = Progress(self.ring, self._carried, self._waiting, saved)
        self._returns = Returns(self._waiting)
        self._judge_races = partial(
            Races,
            self.maps.rivals,
            self._host_of,
            ignore=settings.lost_races is LostRaces.IGNORE,
        )
        self.races = self._judge_races(waiting=self._waiting)
        self._identities = Identities(self.maps.cgroup, self.maps.last_exec)
        self._repeats = Repeats(self._waiting)
        self._held_back = HeldBack(self.maps)
        self._taken: list[Held] = []
        self._lag = Lag()

    def take(self, now: Moment) -> list[Failure]:
        """Read some records and what else is due; return the failures that are to be counted."""
        # Lines are written together with the note of how far they go.
        logs.hold()
        due, until = self.progress.due()
        transitions = decode_all(self.ring.read(_BATCH, until))
        if transitions:
            oldest_ns = min([one.timestamp_ns for one in transitions])
            self._lag.note(oldest_ns, now.mono, self.ring.unread)
        if due != Due():
            return self._take_again(transitions, due, now)
        failures = self._take_in(transitions, now)
        failures += self._take_held(self._held_back.take(now.mono), now)
        lines.write_failures(self._repeats.due(now.mono))
        return failures

    def take_all(self, now: Moment) -> list[Failure]:
        """Read all there is, and wait for nothing: the end has come.

        What comes meanwhile is left to the next process: it may come faster than it is told.
        """
        failures: list[Failure] = []
        end = self.ring.position + self.ring.unread
        while (position := self.ring.position) < end:
            failures += self.take(now)
            self.progress.settle()
            if self.ring.position == position:  # a record is begun and not complete
                break
        late = [self._identify(failure) for failure in self._returns.expire(math.inf)]
        failures += self._tell([*late, *self.races.expire(math.inf)], now)
        failures += self._take_held(self._held_back.take_all(), now)
        lines.write_failures(self._repeats.flush())
        return failures

    def take_up(self, now: Moment) -> list[Failure]:
        """Take in what an earlier process had read and not told; see `take`."""
        entries = self._carried.entries()
        self._waiting.adopt(entries)
        to_wall = now.wall - now.mono
        ready: list[Failure] = []
        lined: list[Failure] = []
        for key, entry in entries.items():
            self._waiting.done(key)
            first = decode(entry.record, to_wall)
            if is_counted(key) or entry.times > 1:
                told = self._of_many(Held(first, entry.times, entry.last_ns))
                (lined if is_counted(key) else ready).extend(told)
            else:
                outcome = self._judge(first, now)
                ready += [self._identify(outcome)] if isinstance(outcome, Failure) else []
        lines.write_failures(lined)
        return self._tell([self.races.judge(failure, now.mono) for failure in ready], now)

    def settle(self) -> None:
        """Let what was read until now be known as told, once its lines are written."""
        taken, self._taken = self._taken, []
        self.progress.settle(partial(self._held_back.told, taken) if taken else None)

    @property
    def has_held(self) -> bool:
        """Whether what was taken, and is not settled, has failures that only the kernel counted."""
        return bool(self._taken)

    def next_deadline(self) -> float | None:
        """Return when `take` is useful next although there is no record, None for never."""
        parts = (self._returns, self.races, self._held_back, self._repeats)
        return min([when for part in parts if (when := part.next_deadline())], default=None)

    def expect_held(self, now: float) -> None:
        """Look soon for what the kernel program held back."""
        self._held_back.expect(now)

    def _take_in(self, transitions: list[Transition], now: Moment) -> list[Failure]:
        outcomes = [self._judge(transition, now) for transition in transitions]
        failures = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
        self._show(transitions, outcomes)
        if not self.ring.unread:
            failures += self._returns.expire(now.mono)
        judged = [self.races.judge(self._identify(failure), now.mono) for failure in failures]
        return self._tell([*judged, *self.races.expire(now.mono)], now)

    def _take_again(self, transitions: list[Transition], due: Due, now: Moment) -> list[Failure]:
        """Do the one half of what is due that an earlier process had not done.

        What waited was kept, and is told by `take_up`.
        """
        races = self._judge_races()
        alone = [one for one in transitions if one.newstate != RETURNED or not one.start_ns]
        outcomes = [self._judge_alone(transition) for transition in alone]
        failures = [self._identify(one) for one in outcomes if isinstance(one, Failure)]
        known = [races.judge(failure, now.mono) for failure in failures]
        if due.lines:
            self._show(transitions, outcomes)
            self._tell(known, now)
        return [one for one in known if isinstance(one, Failure)] if due.counts else []

    def _take_held(self, taken: list[Held], now: Moment) -> list[Failure]:
        """Return failures that are told as a sum, and say whose they are."""
        self._taken += taken
        failures = [failure for held in taken for failure in self._of_many(held)]
        judged = [self.races.judge(failure, now.mono) for failure in failures]
        told = [one for one in judged if isinstance(one, Failure)]
        lines.write_held(*heldback.to_write(told))
        lines.write_outcomes([one for one in judged if isinstance(one, Raced)])
        return told

    def _of_many(self, held: Held) -> list[Failure]:
        """Return the failure that stands for many, none where the record is of no failure."""
        one = self._judge_alone(held.first)
        if not isinstance(one, Failure):
            return []
        later = (held.last_ns - held.first.timestamp_ns) * 1e-9
        return [
            self._identify(one)._replace(
                times=held.failures, mono=held.last_ns * 1e-9, wall=one.wall + later
            )
        ]

    def _judge_alone(self, transition: Transition) -> Outcome | None:
        """Judge what has no other record to wait for."""
        if transition.newstate == RETURNED:
            return self._returns.alone(transition)
        return self.tracker.judge(transition)

    def _judge(self, transition: Transition, now: Moment) -> Outcome | None:
        if transition.newstate == RETURNED:
            return self._returns.returned(transition, now.mono)
        outcome = self.tracker.judge(transition)
        if isinstance(outcome, Failure):
            return self._returns.failed(outcome, transition, now.mono)
        return outcome

    def _show(self, transitions: list[Transition], outcomes: list[Outcome | None]) -> None:
        if self._shows_all:
            lines.write_transitions([one for one in transitions if one.newstate != RETURNED])
        else:
            lines.write_outcomes([one for one in outcomes if isinstance(one, _SHOWN)])

    def _tell(self, outcomes: Iterable[Failure | Raced | None], now: Moment) -> list[Failure]:
        known = [outcome for outcome in outcomes if outcome is not None]
        failures = [outcome for outcome in known if isinstance(outcome, Failure)]
        lines.write_failures(
            [line for each in failures for line in self._repeats.take(each, now.mono)]
        )
        lines.write_outcomes([outcome for outcome in known if isinstance(outcome, Raced)])
        if failures:
            self._held_back.expect(now.mono)
        return failures

    def _identify(self, failure: Failure) -> Failure:
        host = self._host_of(failure)
        if failure.process is None:
            return failure._replace(host=host)
        began = failure.mono - (failure.elapsed or 0.0)
        return failure._replace(maker=self._identities.of(failure.process, began), host=host)

    def _host_of(self, failure: Failure) -> str | None:
        return self.names.of(failure) or self._name_of(failure.destination.address)
