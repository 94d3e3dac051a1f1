"""The world itself: what it counts is what its rates say, and every run of a seed is the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tcp_trace.connects.events import Destination
from tcp_trace.connects.reasons import Reason
from tests.timelines.chance import Intensity, dice, poisson
from tests.timelines.kernel import BOOTED, CAPACITY
from tests.timelines.lines import Try
from tests.timelines.noise import anywhere
from tests.timelines.places import DATABASE, places, program
from tests.timelines.world import DAY, HOUR, World

if TYPE_CHECKING:
    from tcp_trace.connects.events import Counters
    from tests.timelines.observer import Observer


def counts(world: World, place: Destination = DATABASE) -> Counters:
    """Return what the kernel has of a place."""
    found = world.kernel.counts(place)
    assert found is not None
    return found


@pytest.mark.parametrize("mean", [0.01, 3.0, 59.0, 400.0])
def test_poisson(mean: float) -> None:
    """Mean and variance are what they should be."""
    rng = dice("poisson", mean)
    drawn = [poisson(rng, mean) for _ in range(20_000)]
    average = sum(drawn) / len(drawn)
    spread = (mean / len(drawn)) ** 0.5
    assert abs(average - mean) < 4 * spread
    variance = sum((each - average) ** 2 for each in drawn) / len(drawn)
    assert abs(variance - mean) < 0.1 * mean


def test_steps_of_a_rate() -> None:
    """Nothing arrives while the rate is 0, and time and expectation are each other's inverse."""
    rate = Intensity([(0.0, 2.0), (10.0, 0.0), (30.0, 1.0), (40.0, 0.0)])
    assert [rate.until(when) for when in (-1, 5, 10, 20, 30, 35, 99)] == [0, 10, 20, 20, 20, 25, 30]
    assert [rate.when(expected) for expected in (4, 21, 29)] == [2, 31, 39]
    assert rate.when(30.1) == float("inf")
    rng = dice("steps")
    drawn = [rate.next(rng, 9.9) for _ in range(1_000)]
    assert not [when for when in drawn if 10 < when < 30]


def test_what_succeeds_and_fails_adds_up() -> None:
    """A day at 10 a second, an hour of which fails: however often it is looked at."""
    worlds = [World(1), World(1)]
    for often, world in enumerate(worlds):
        world.traffic(DATABASE, 10.0, failing=0.001)
        fault = world.fault(DATABASE, 10 * HOUR, HOUR)
        for number in range(2_000 * often):
            world.at(number * 43.0, world.kernel.counts, DATABASE)
        world.run(DAY)
        found = counts(world)
        assert abs(found.established - 827_172) < 4_000
        assert abs(found.failed - 36_828) < 800
        assert found.failed == world.fed
        assert 10 * HOUR < fault.failures[0] < fault.last < 11 * HOUR
        assert found.last_established_ns > (BOOTED + DAY - 5) * 1e9
    assert worlds[0].fed == worlds[1].fed


def test_nothing_succeeds_while_it_is_down() -> None:
    """So the last success is from before."""
    world = World()
    world.traffic(DATABASE, 10.0)
    world.fault(DATABASE, HOUR, HOUR)
    world.run(1.5 * HOUR)
    assert HOUR - 5 < counts(world).last_established_ns / 1e9 - BOOTED < HOUR


def test_one_that_waits_succeeds_when_the_fault_ends() -> None:
    """Its SYN is sent again."""
    world = World()
    world.every(100, DATABASE, jitter=0.0)
    world.fault(DATABASE, 150.0, 100.0, reason=Reason.TIMED_OUT, after=60.0)
    world.run(350)
    assert counts(world)[:2] == (4, 0)


def test_a_retry_fails_while_it_is_down_and_then_succeeds() -> None:
    """Three more tries, ten seconds apart."""
    world = World()
    world.every(1_000, DATABASE, jitter=0.0, retry=10)
    world.fault(DATABASE, 0.0, 25.0)
    world.run(500)
    assert counts(world)[:2] == (1, 3)


def test_the_least_recently_used_makes_room() -> None:
    """A destination that is used once is counted until so many others came; so is a lasting one."""
    world = World()
    world.kernel.stay(DATABASE)
    crowd = (Try(number + 1, anywhere(number)) for number in range(CAPACITY))
    world.script(crowd, program("crawler"))
    world.kernel.succeed(DATABASE)
    world.run(CAPACITY - 10)
    assert counts(world).established == 1
    assert counts(world, anywhere(0)).established == 1
    world.run(CAPACITY + 10)
    assert world.kernel.counts(DATABASE) is None
    assert world.kernel.counts(anywhere(0)) is None
    assert world.kernel.working(CAPACITY) == BOOTED


def test_who_works() -> None:
    """Loopback is left out; neighbours are of one port and /24."""
    world = World()
    for place in (DATABASE, Destination("127.0.0.1", 80), *places(24)):
        world.kernel.succeed(place)
    assert world.kernel.working(0.0) == 25
    assert world.kernel.working(0.0, places(1)[0]) == 1
    assert world.kernel.working(0.0, DATABASE) == 0
    assert world.kernel.working(BOOTED + 1.0) == 0


def test_every_run_of_a_seed_is_the_same() -> None:
    """And of another one is another."""

    def heard(seed: int) -> Observer:
        world = World(seed)
        world.traffic(places(50), 5.0, failing=0.001)
        world.traffic(DATABASE, 2.0, retry=5)
        world.fault(DATABASE, 10 * HOUR, HOUR)
        return world.run(DAY)

    assert heard(1).timeline() == heard(1).timeline()
    assert heard(1).timeline() != heard(2).timeline()
