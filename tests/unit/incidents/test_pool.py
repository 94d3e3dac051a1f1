"""Addresses of one service, of which some are replaced while the others work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.unit.incidents.incident_world import destination
from tests.unit.incidents.test_suspicion import DAY, MINUTE, host

if TYPE_CHECKING:
    import pytest

    from tcp_trace.connects.events import Destination


def test_one_that_is_replaced_is_missed_by_nobody() -> None:
    """Not where a neighbour works: three of ten refuse for 20 s and are never used again."""
    places = [destination(number) for number in range(10)]
    world = host(*places)
    for _ in range(20):
        for place in places[3:]:
            world.succeed(place)
        for place in places[:3]:
            world.fail(place)
        world.wait(1)
    for _ in range(100):
        world.succeed(places[5])
        world.wait(MINUTE)
    assert world.told == []
    world.wait(DAY)
    assert world.told_failures == world.fed == 60


def test_a_pool_that_fails_for_a_minute_is_told() -> None:
    """Three of ten that fail on are."""
    places = [destination(number) for number in range(10)]
    world = host(*places)
    for second in range(65):
        for place in places[3:]:
            world.succeed(place)
        for place in places[:3]:
            world.fail(place)
        world.wait(1)
        assert not world.told or second >= 59
    assert {n.subject for n in world.told} == set(places[:3])


def test_a_large_pool_is_not_searched_for_each_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """To ask which neighbours work is to read all that the kernel counted."""
    places = [destination(number) for number in range(200)]
    world = host(*places)
    working, searched = world.working, []

    def count(since: float, near: Destination | None = None) -> int:
        searched.append(near)
        return working(since, near)

    monkeypatch.setattr(world, "working", count)
    for _ in range(20):
        for place in places[90:]:
            world.succeed(place)
        for place in places[:90]:
            world.fail(place)
        world.wait(1)
    assert len([near for near in searched if near]) < 50
    assert world.told == []


def test_one_of_a_pool_counts_after_it_was_told() -> None:
    """One of them is down for long; another that refuses for a while is one of two that fail."""
    places = [destination(number) for number in range(10)]
    world = host(*places)
    for second in range(200):
        for place in places[2 if second > 100 else 1 :]:
            world.succeed(place)
        world.fail(places[0])
        if 100 < second <= 120:
            world.fail(places[1])
        world.wait(1)
    assert {n.subject for n in world.told} == {places[0]}


def test_a_neighbour_that_failed_by_chance_makes_no_pool() -> None:
    """It works again, and nobody has asked since: the database is told after ten seconds."""
    places = [destination(number) for number in range(10)]
    world = host(*places)
    began = world.mono
    for second in range(15):
        for place in places[1:]:
            world.succeed(place)
        world.fail(places[0])
        if second == 8:
            world.fail(places[1])
            world.mono += 0.1
            world.succeed(places[1])
        world.wait(1)
    assert [n.subject for n in world.told] == [places[0]]
    assert world.told_at[world.told[0].id] - began <= 11
