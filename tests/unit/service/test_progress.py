"""A process that is killed at any moment, and the one that follows it, tell each failure once.

The log's thread is replaced: lines are written when `Log.write` says so, and what a killed process
had not written is gone.
"""

from __future__ import annotations

import logging
import signal
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

from tcp_trace.connects.waiting import Waiting
from tcp_trace.kernel.rings import Ring
from tcp_trace.log import logs, repeats
from tcp_trace.log.logs import EACH
from tcp_trace.notify.outbox import present
from tcp_trace.service.progress import Progress
from tests.reliability.pipeline import Fed, Memory, record, settings
from tests.ring import Producer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tcp_trace.connects.events import Failure, Moment


class Log(logging.Handler):
    """Lines of failed connects, in the order in which they were logged."""

    def __init__(self) -> None:
        super().__init__()
        self._queue: list[dict[str, Any] | Callable[[], None]] = []
        self.written: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the lines of a record."""
        if record.getMessage() == "connect failed":
            self._queue += vars(record)[EACH]

    def after(self, callback: Callable[[], None]) -> None:
        """Queue what is to be called."""
        self._queue.append(callback)

    def write(self, *, and_call: bool = True) -> None:
        """Write all lines. What is to be called behind them is the other half of one moment."""
        queue, self._queue = self._queue, []
        for each in queue:
            if isinstance(each, dict):
                self.written.append(each)
            elif and_call:
                each()

    def lose(self) -> None:
        """Be killed."""
        self._queue = []

    def times(self) -> int:
        """Return how many failures the written lines stand for."""
        return sum(line["times"] for line in self.written)


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[Log]:
    """Return the log in place of the real one."""
    handler = Log()
    monkeypatch.setattr(logs, "after", handler.after)
    root = logging.getLogger("tcp_trace")
    root.addHandler(handler)
    level = root.level
    root.setLevel(logging.INFO)
    yield handler
    root.setLevel(level)
    root.removeHandler(handler)


class Host:
    """A kernel with a ring, and the processes that follow each other."""

    def __init__(self, state: Path) -> None:
        self._settings = settings(state, "")
        self.ring, self.memory = Producer(), Memory()
        self.process = self._start()

    def _start(self) -> Fed:
        process = Fed(self._settings, self.ring, self.memory)
        now = present()
        process._commit(process._count(process._intake.take_up(now), now), now)
        return process

    def end(self) -> None:
        """Let the process be gone."""
        self.process._messages.outbox.close()
        signals = self.process._signals
        signal.set_wakeup_fd(-1)
        signals._reader.close()
        signals._writer.close()

    def kill(self) -> None:
        """Let the process be gone, and another one follow."""
        self.end()
        self.process = self._start()

    def turn(self) -> None:
        """Read all there is; nothing is saved but what is promised."""
        self.process._next_save = float("inf")
        self.process._turn()
        while self.process._intake.ring.unread:
            self.process._turn()

    def counted(self) -> int:
        """Return how many failures the incidents know."""
        dumped = self.process._incidents.dump(present())
        return sum(each["tally"]["total"] for each in dumped["incidents"])


@pytest.fixture
def host(tmp_path: Path, log: Log) -> Iterator[Host]:  # noqa: ARG001 - of before the process
    """Return a host."""
    made = Host(tmp_path)
    yield made
    made.end()


@pytest.mark.parametrize(("writes", "saves"), product(product([True, False], repeat=2), repeat=2))
def test_killed_between_any_two_steps(
    writes: tuple[bool, bool], saves: tuple[bool, bool], host: Host, log: Log
) -> None:
    """Whatever of the lines is written and of the counts saved, each failure is told once."""
    made = 0
    for writing, saving in zip(writes, saves, strict=True):
        for _ in range(7):
            host.ring.put(record(made, "192.0.2.1"))
            made += 1
        host.turn()
        if saving:
            host.process._commit([], present())
        if writing:
            log.write()
    log.lose()
    host.kill()
    for _ in range(3):
        host.ring.put(record(made, "192.0.2.1"))
        made += 1
    host.turn()
    log.write()
    assert log.times() == made
    assert host.counted() == made
    host.process._commit([], present())
    assert host.ring.consumed == host.ring.position


def test_lines_that_are_summed_up_are_kept(
    host: Host, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits for its sum is written by the next process, with times, and not counted again."""
    monkeypatch.setattr(repeats, "LINES", 5)
    for number in range(40):
        host.ring.put(record(number, "192.0.2.1"))
    host.turn()
    log.write()
    assert log.times() == 5
    assert [entry.times for entry in host.memory.kept.values()] == [35]
    host.process._commit([], present())
    assert host.ring.consumed == host.ring.position
    log.lose()
    host.kill()
    host.turn()
    log.write()
    assert (log.times(), host.counted()) == (40, 40)
    assert host.memory.kept == {}
    (summed,) = [line for line in log.written if line["times"] > 1]
    assert summed["comm"] == "curl"
    host.kill()
    host.turn()
    log.write()
    assert (log.times(), host.counted()) == (40, 40)


def test_a_log_that_stands_costs_no_record(host: Host, log: Log) -> None:
    """Beyond half of the ring, records are let go although their lines wait."""
    half = host.ring.size // 2 // 160
    for number in range(half - 1):
        host.ring.put(record(number, f"192.0.2.{number % 200}"))
    host.turn()
    host.process._commit([], present())
    assert host.ring.consumed == 0
    for number in range(20_000):
        assert host.ring.put(record(number, f"192.0.2.{number % 200}")) >= 0
        if number % 1_000 == 0:
            host.turn()
    log.lose()


def test_the_end_waits_for_no_record_that_comes_meanwhile(
    host: Host, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may come faster than they are told; the next process tells them, and none again."""
    intake, made = host.process._intake, iter(range(10_000))
    take = intake.take

    def put() -> None:
        host.ring.put(record(next(made), "192.0.2.1"))

    def take_while_more_come(now: Moment) -> list[Failure]:
        put()
        return take(now)

    for _ in range(600):
        put()
    monkeypatch.setattr(intake, "take", take_while_more_come)
    now = present()
    host.process._commit(host.process._count(intake.take_all(now), now), now)
    intake.settle()
    log.write()
    host.kill()
    host.turn()
    log.write()
    total = next(made)
    assert total < 610
    assert log.times() == host.counted() == total


def test_another_ring_begins_anew(host: Host, log: Log) -> None:
    """Positions that were saved of a ring are not taken for those of another one."""
    for number in range(9):
        host.ring.put(record(number, "192.0.2.1"))
    host.turn()
    log.write()
    host.process._commit([], present())
    host.ring, host.memory = Producer(), Memory()
    host.kill()
    for number in range(4):
        host.ring.put(record(number, "192.0.2.1"))
    host.turn()
    log.write()
    assert (log.times(), host.counted()) == (13, 13)


@pytest.mark.parametrize("logged_to", [8, 10**12, 2**64 - 8])
def test_a_position_that_cannot_be_is_none(logged_to: int) -> None:
    """What is kept in maps comes from a process that may have been taken over."""
    producer = Producer()
    producer.start_at(160)
    memory = Memory()
    memory.reached = (7, logged_to)
    for saved in (None, "x", [7], [7, "x"], [7, -1], [7, 10**30], {"7": 1}):
        ring = Ring(producer.fd, producer.size)
        progress = Progress(ring, memory, Waiting(), saved)
        assert (progress.due()[0].lines, progress.due()[0].counts) == (True, True)
