"""What fails by chance after an outage is no news of it, and does not keep it open."""

from __future__ import annotations

import pytest

from tcp_trace.connects.reasons import Reason
from tcp_trace.incidents.notification import Phase, State
from tests.unit.incidents.incident_world import World, destination

RATE = 20


def serve(world: World, seconds: int, fails_every: int, reason: Reason = Reason.REFUSED) -> None:
    """Let connects succeed for so long, but for one of so many."""
    for number in range(1, seconds * RATE + 1):
        if number % fails_every:
            world.succeed()
        else:
            world.fail(reason=reason)
        world.wait(1 / RATE)


def outage(world: World, seconds: int = 60) -> None:
    """Let all of them fail."""
    for _ in range(seconds * 4):
        world.fail()
        world.wait(0.25)


def host(**policy: float | None) -> World:
    """Return a host whose database works."""
    world = World(**{"after": None, "digest_hour": None, **policy})
    world.succeed(times=1000)
    world.wait(1)
    return world


def phases(world: World) -> list[Phase]:
    """Return what was told."""
    return [told.kind for told in world.told]


def test_what_fails_by_chance_neither_is_news_nor_keeps_it_open() -> None:
    """One in a thousand fails, every 50 s; it is over two minutes after the last of the outage."""
    world = host()
    outage(world)
    ended = world.mono
    serve(world, 300, 1000)
    assert phases(world) == [Phase.OPENED, Phase.RESOLVED]
    assert world.told_at[world.told[-1].id] == pytest.approx(ended + 120, abs=2)
    assert world.told[-1].established == 0


def test_a_share_since_the_end_goes_on() -> None:
    """Three in ten fail still: it is degraded, and not over while it is."""
    world = host(interval=30)
    outage(world)
    serve(world, 400, 3, Reason.TIMED_OUT)
    states = [(told.kind, told.state) for told in world.told]
    assert states == [(Phase.OPENED, State.DOWN), (Phase.UPDATED, State.DEGRADED)]
    serve(world, 300, 1000)
    assert world.told[-1].kind is Phase.RESOLVED


def test_it_is_down_again() -> None:
    """A row of failures is news as the first was."""
    world = host(interval=30)
    outage(world)
    serve(world, 60, 1000)
    assert phases(world) == [Phase.OPENED]
    outage(world)
    serve(world, 90, 1000)
    assert Phase.RESOLVED not in phases(world)
    serve(world, 60, 1000)
    assert world.told[-1].kind is Phase.RESOLVED


def test_a_blip_after_the_end_is_no_share() -> None:
    """Many fail within some seconds, and a success ends that: nothing."""
    world = host(interval=30)
    outage(world)
    serve(world, 10, 1000)
    outage(world, 8)
    serve(world, 200, 1000)
    assert phases(world) == [Phase.OPENED, Phase.RESOLVED]


def test_members_of_a_storm_that_fail_by_chance_do_not_keep_it_open() -> None:
    """Each of ten in turn, every 20 s, long after all of them work again."""
    world = World(after=None, digest_hour=None)
    everywhere = [destination(number) for number in range(10)]
    for each in everywhere:
        world.succeed(each, times=100)
    world.wait(1)
    for _ in range(60):
        for each in everywhere:
            world.fail(each)
        world.wait(1)
    ended = world.mono
    for second in range(300):
        for each in everywhere:
            world.succeed(each, times=2)
        if second % 20 == 7:
            world.wait(0.1)
            world.fail(everywhere[second // 20 % 10])
            world.wait(0.9)
        else:
            world.wait(1)
    assert phases(world) == [Phase.OPENED, Phase.RESOLVED]
    assert world.told_at[world.told[-1].id] < ended + 160


def test_what_fails_every_ten_minutes_stays_one_incident() -> None:
    """After three recoveries, each believed later, it is reminded of, and no more."""
    world = host(digest_hour=9)
    for _ in range(144):
        outage(world, 20)
        for _ in range(580):
            world.succeed()
            world.wait(1)
    alerts = [kind for kind in phases(world) if kind is not Phase.DAILY]
    assert alerts == [Phase.OPENED, Phase.RESOLVED] * 3 + [Phase.OPENED, Phase.REMINDED]


@pytest.mark.parametrize("jump", [-600.0, 600.0])
def test_a_clock_that_is_set_changes_nothing(jump: float) -> None:
    """By ten minutes, in the middle of an outage."""
    world = host()
    outage(world, 30)
    world.wall_offset += jump
    outage(world, 30)
    ended = world.mono
    serve(world, 200, 1000)
    assert phases(world) == [Phase.OPENED, Phase.RESOLVED]
    assert world.told_at[world.told[-1].id] == pytest.approx(ended + 120, abs=2)


def test_what_failed_last_and_is_tried_no_more_has_not_recovered() -> None:
    """Two fail some seconds after the end, and nobody tries again."""
    world = host()
    outage(world)
    serve(world, 5, 1000)
    world.fail(times=2)
    world.wait(3000)
    assert phases(world) == [Phase.OPENED, Phase.QUIET]
