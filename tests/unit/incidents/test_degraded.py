"""A destination of which some connects fail."""

from __future__ import annotations

import pytest

from tcp_trace.incidents.notification import State
from tests.unit.incidents.incident_world import World, destination


def test_the_opening_has_the_share_of_its_window() -> None:
    """Also where the latest connect succeeded: what was counted before it is not lost."""
    world = World(after=None)
    world.succeed(times=50)
    world.wait(60)
    for _ in range(60):
        world.succeed()
        world.wait(0.5)
        world.fail()
        world.wait(0.5)
        world.succeed()
        world.wait(0.5)
    (opened,) = [n for n in world.told if n.opening]
    assert opened.state is State.DEGRADED
    assert opened.established is not None
    assert abs(opened.established - 2 * opened.total) <= 2


def attempts(world: World, seconds: float, every: int) -> None:
    """Let ten connects a second succeed, but for one of so many."""
    for number in range(1, round(seconds * 10) + 1):
        if number % every:
            world.succeed()
        else:
            world.fail()
        world.wait(0.1)


@pytest.mark.parametrize("before", [0.0, 10.0, 18.0])
@pytest.mark.parametrize("after", [20, 45, 200])
def test_a_blip_is_no_share(before: float, after: int) -> None:
    """A third fail for 20 s, some time after one that failed by chance; and another does after."""
    world = World(after=None, digest_hour=None)
    attempts(world, 60, 10_000)
    world.fail()
    attempts(world, before, 10_000)
    attempts(world, 20, 3)
    attempts(world, after, 10_000)
    world.fail()
    attempts(world, 300, 10_000)
    assert world.told == []


def test_one_that_fails_now_and_then_before_it_dies_is_no_share() -> None:
    """The row that stands is judged by itself: at one of a pool only after a minute."""
    world = World(after=None, digest_hour=None)
    pods = [destination(256 + number) for number in range(6)]
    for second in range(80):
        for pod in pods[2 if second > 25 else 0 :]:
            world.succeed(pod)
        if second in {10, 20, 22}:
            world.fail(pods[0])
        if second > 25:
            world.fail(pods[0])
            world.fail(pods[1])
        world.wait(1)
    assert world.told == []
