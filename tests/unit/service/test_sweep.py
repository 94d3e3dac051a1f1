"""The sweep: when it reads the kernel's counts, what it asks for, and when the memory is saved."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, cast

import pytest

from tcp_trace.connects.events import Counters, Destination, Moment
from tcp_trace.incidents.memory import Memory
from tcp_trace.service.sweep import SAVE_INTERVAL, SWEEP_INTERVAL, Sweep, remembered

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tcp_trace.probes.connectmaps import Maps

BOOT = "c0ffee"
START = 5_000.0
BATCHES, PER_BATCH = 5, 100


def place(number: int) -> Destination:
    """Return the destination of this number."""
    return Destination(f"192.0.2.{number >> 8}", number & 255)


class World:
    """A kernel that counts, a clock, and what is saved."""

    def __init__(self) -> None:
        self.mono = START
        self.memory = Memory()
        self.saved: list[str] = []
        self.asked: list[float] = []
        self.counted = 0
        self.broken = False
        maps = cast("Maps", self)
        self.sweep = Sweep(self.memory, BOOT, lambda: maps, self.saved.append)

    @property
    def now(self) -> Moment:
        """The present."""
        return Moment(self.mono, 1.7e9 + self.mono)

    def worked(self, since: float) -> Iterator[list[tuple[Destination, Counters]]]:
        """Yield batches, as the maps do."""
        self.asked.append(since)
        for batch in range(self.counted // PER_BATCH):
            if self.broken:
                raise OSError(errno.EBADF, "Bad file descriptor")
            counts = Counters(7, 1, int(self.mono * 1e9), 10**6)
            yield [(place(batch * PER_BATCH + n), counts) for n in range(PER_BATCH)]

    def turn(self, times: int = 1) -> None:
        """Let the loop turn when something is due."""
        for _ in range(times):
            self.mono = max(self.mono, self.sweep.next_deadline())
            self.sweep.go_on(self.now)

    def pass_by(self, seconds: float) -> None:
        """Let time pass, and do what is due meanwhile."""
        until = self.mono + seconds
        while self.sweep.next_deadline() <= until:
            self.turn()
        self.mono = until


def test_each_turn_takes_one_portion() -> None:
    """The first sweep begins at once; the ring is read in between."""
    world = World()
    world.counted = BATCHES * PER_BATCH
    for batch in range(1, BATCHES + 1):
        world.turn()
        assert len(world.memory) == batch * PER_BATCH
        assert world.sweep.next_deadline() - world.mono < 0.1
        world.sweep.go_on(world.now)  # something else has woken the loop
        assert len(world.memory) == batch * PER_BATCH
    world.turn()
    assert world.sweep.next_deadline() == world.mono + SWEEP_INTERVAL


def test_only_what_succeeded_since_the_last_time_is_asked_for() -> None:
    """A success that was counted while the sweep ran is taken next time."""
    world = World()
    world.counted = BATCHES * PER_BATCH
    world.pass_by(2.5 * SWEEP_INTERVAL)
    assert len(world.asked) == 3
    assert world.asked[0] == 0
    assert START - 5 < world.asked[1] < START
    assert world.asked[2] > START + SWEEP_INTERVAL - 5


def test_what_could_not_be_read_is_asked_for_again(caplog: pytest.LogCaptureFixture) -> None:
    """The service goes on, and says so."""
    world = World()
    world.counted, world.broken = PER_BATCH, True
    world.pass_by(1.5 * SWEEP_INTERVAL)
    assert world.asked == [0, 0]
    assert [each.getMessage() for each in caplog.records] == [
        "destinations cannot be read: Bad file descriptor"
    ] * 2
    world.broken = False
    world.pass_by(SWEEP_INTERVAL)
    assert len(world.memory) == PER_BATCH


def test_the_memory_is_saved_every_half_hour() -> None:
    """In portions, too; and it is the whole of it."""
    world = World()
    world.counted = 10 * PER_BATCH
    world.pass_by(SAVE_INTERVAL - 1)
    assert world.saved == []
    while not world.saved:
        world.turn()
        assert world.mono < START + SAVE_INTERVAL + SWEEP_INTERVAL
    again = remembered(world.saved[0], BOOT)
    assert again.damaged == 0
    assert list(again.dump(BOOT)) == list(world.memory.dump(BOOT))
    world.pass_by(4.1 * SAVE_INTERVAL)
    assert len(world.saved) == 5


def test_a_memory_of_nothing_is_not_saved() -> None:
    """What is on disk may be more."""
    world = World()
    world.pass_by(3 * SAVE_INTERVAL)
    world.sweep.finish(world.now)
    assert world.saved == []


@pytest.mark.parametrize("turns", [0, 2, BATCHES + 2])
def test_at_the_end_everything_is_taken_and_saved(turns: int) -> None:
    """At once, whatever was done before."""
    world = World()
    world.counted = BATCHES * PER_BATCH
    world.turn(turns)
    world.mono += 1
    world.sweep.finish(world.now)
    assert len(remembered(world.saved[0], BOOT)) == BATCHES * PER_BATCH


def test_at_the_end_it_is_saved_although_nothing_can_be_read() -> None:
    """What was known stays known."""
    world = World()
    world.counted = PER_BATCH
    world.turn(2)
    world.broken = True
    world.sweep.finish(world.now)
    assert len(remembered(world.saved[0], BOOT)) == PER_BATCH


def test_what_is_damaged_is_counted_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """And the rest is taken up; nothing is said where nothing was saved or all is well."""
    world = World()
    world.counted = PER_BATCH
    world.sweep.finish(world.now)
    assert len(remembered(None, BOOT)) == 0
    assert len(remembered(world.saved[0], BOOT)) == PER_BATCH
    assert not caplog.records
    damaged = world.saved[0].replace(',"destination"', ',"dest"', 3)
    assert len(remembered(damaged, BOOT)) == PER_BATCH - 3
    assert [each.__dict__["lines"] for each in caplog.records] == [3]
