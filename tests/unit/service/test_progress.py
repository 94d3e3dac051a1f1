"""A process that is killed at any moment, and the one that follows it, tell each failure once."""

from __future__ import annotations

import logging
from itertools import product
from typing import TYPE_CHECKING

import pytest

from tcp_trace.connects.waiting import Waiting
from tcp_trace.kernel.rings import Ring
from tcp_trace.log import logs, repeats
from tcp_trace.notify.outbox import present
from tcp_trace.probes.carried import Reached
from tcp_trace.service.progress import Progress
from tests.reliability.pipeline import Memory, record
from tests.ring import Producer
from tests.unit.service.progress_world import Host, Log

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tcp_trace.connects.events import Failure, Moment


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[Log]:
    """Return the log in place of the real one."""
    handler = Log()
    monkeypatch.setattr(logs, "after", handler.after)
    monkeypatch.setattr(logs, "began_with", handler.began_with)
    root = logging.getLogger("tcp_trace")
    root.addHandler(handler)
    level = root.level
    root.setLevel(logging.INFO)
    yield handler
    root.setLevel(level)
    root.removeHandler(handler)


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


@pytest.mark.parametrize("killed", ["before", "behind"])
def test_killed_beside_a_write(killed: str, host: Host, log: Log) -> None:
    """The size of the file says whether lines are written of which no note says so."""
    for number in range(7):
        host.ring.put(record(number, "192.0.2.1"))
    host.turn()
    log.write(killed=killed)
    assert log.times() == (7 if killed == "behind" else 0)
    log.lose()
    host.kill()
    for number in range(7, 10):
        host.ring.put(record(number, "192.0.2.1"))
    host.turn()
    log.write()
    assert (log.times(), host.counted()) == (10, 10)
    host.kill()
    host.turn()
    log.write()
    assert (log.times(), host.counted()) == (10, 10)


def test_what_no_disk_has_is_counted_by_the_next(
    host: Host, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records whose counts are in memory alone stay in the ring; their lines do not come again."""
    for number in range(7):
        host.ring.put(record(number, "192.0.2.1"))
    with monkeypatch.context() as full:
        full.setattr(type(host.process._messages.outbox), "degraded", "the disk is full")
        full.setattr(host.process._messages, "commit", lambda *_: None)
        host.turn()
        log.write()
        host.turn()
        assert host.ring.consumed == 0
    log.lose()
    host.kill()
    host.turn()
    log.write()
    assert (log.times(), host.counted()) == (7, 7)


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


def test_a_backlog_is_no_log_that_stands(host: Host, log: Log) -> None:
    """What nobody has read yet takes the room: what was read stays until its lines are written."""
    made = host.ring.size // 160 - 10
    for number in range(made):
        host.ring.put(record(number, f"10.0.{number % 4}.{number % 250}"))
    host.process._turn()
    log.lose()
    host.kill()
    while host.process._intake.ring.unread:
        host.process._turn()
        log.write()
    host.turn()
    log.write()
    assert log.times() == made


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
    memory.reached = Reached(7, logged_to)
    for saved in (None, "x", [7], [7, "x"], [7, -1], [7, 10**30], {"7": 1}):
        ring = Ring(producer.fd, producer.size)
        progress = Progress(ring, memory, Waiting(), saved)
        assert (progress.due()[0].lines, progress.due()[0].counts) == (True, True)
