"""Floods: what a million failures cost, in messages, time and memory."""

from __future__ import annotations

import time
import tracemalloc

from tcp_trace.connects.events import Failure, Moment, Process
from tcp_trace.connects.reasons import Reason
from tcp_trace.incidents.incidents import Incidents
from tcp_trace.incidents.notification import Notification, Phase
from tcp_trace.incidents.policy import Policy
from tests.seen import Always
from tests.unit.incidents.incident_world import World, destination


def test_a_million_failures_are_a_handful_of_messages() -> None:
    """1,000,000 failures of 10,000 destinations in 10 min: at most 20 messages, all counted."""
    incidents = Incidents(Policy(after=1))
    told: list[Notification] = []
    process = Process(1, "crawler", 1000, 5, 9)
    places = [destination(number) for number in range(10_000)]
    began = time.process_time()
    for number in range(1_000_000):
        now = Moment(1000 + number * 0.0006, 2e9 + number * 0.0006)
        failure = Failure(
            places[number % 10_000], Reason.TIMED_OUT, 110, 1, process, 1.0, 1, now.wall, now.mono
        )
        told += incidents.failed(failure, now, Always())
        if number % 1000 == 0:
            told += incidents.tick(now, Always())
    spent = time.process_time() - began
    told += incidents.tick(Moment(10_000, 2e9 + 9_000), Always())
    told += incidents.tick(Moment(20_000, 2e9 + 19_000), Always())
    assert told[-1].kind is Phase.QUIET
    assert len(told) <= 20
    assert sum(n.failures for n in told) == 1_000_000
    assert told[-1].size == 9_996
    assert spent < 20, "a failure must cost microseconds"


def test_a_hundred_thousand_destinations_stay_in_bounded_memory() -> None:
    """100,000 destinations take no more memory than 10,000 do."""
    tracemalloc.start()
    try:
        world = World()
        world.kernel = {}
        sizes = []
        for number in range(100_000):
            place = destination(number)
            failure = Failure(
                place, Reason.REFUSED, 111, 1, None, None, 1, world.now.wall, world.mono
            )
            world.incidents.failed(failure, world.now, Always())
            if number in (9_999, 99_999):
                sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert sizes[1] < 1.1 * sizes[0] < 12e6


def test_a_scan_is_counted_and_bounded() -> None:
    """100,000 dead destinations are a line in a digest, in bounded time and memory."""
    world = World(after=None)
    began = time.process_time()
    for number in range(100_000):
        place = destination(number)
        failure = Failure(
            place, Reason.TIMED_OUT, 110, 1, None, None, 1, world.now.wall, world.mono
        )
        assert world.incidents.failed(failure, world.now, Always()) == []
        world.mono += 0.01
    assert time.process_time() - began < 20, "a failure must cost microseconds"
    assert len(world.incidents._unheard.suspects) == 5_000
    assert len(world.incidents._agenda._heap) <= 10_000
    world.wait(5 * 86_400)
    assert {n.kind for n in world.told} == {Phase.DAILY}
    assert world.told_failures == world.incidents.below_threshold == 100_000
    assert sum(dict(n.kinds)["destination"] for n in world.told) <= 5 * 1_000
