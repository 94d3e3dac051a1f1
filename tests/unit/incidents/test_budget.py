"""How many open alone, and what is told together."""

from __future__ import annotations

import pytest

from tcp_trace.connects.events import Destination
from tcp_trace.incidents.notification import Phase, Severity, State
from tests.unit.incidents.incident_world import DATABASE, World, destination
from tests.unit.incidents.test_snapshot import restart
from tests.unit.incidents.test_suspicion import DAY, HOUR, MINUTE, fail_on, host

BUSY = [Destination(f"10.{number}.0.1", 80) for number in range(50, 90)]


def apart(number: int) -> Destination:
    """Return a destination in a network of its own."""
    return Destination(f"10.9.{number}.1", 443)


def keep_busy(world: World) -> None:
    """Let others work."""
    for place in BUSY:
        world.succeed(place)


def outage(world: World, place: Destination) -> None:
    """Let it fail for a quarter of a minute, while others work."""
    for _ in range(15):
        keep_busy(world)
        world.fail(place)
        world.wait(1)


def test_a_cable_that_is_pulled_is_one_message() -> None:
    """Also where each destination is tried once: more fail than work, in ten seconds."""
    places = [apart(number) for number in range(100)]
    world = host(*places)
    began = world.mono
    for _ in range(9):
        for number, place in enumerate(places):
            if (number + _) % 9 == 0:
                world.fail(place)
        world.wait(10)
    (opened,) = world.told
    assert world.told_at[opened.id] - began <= 15
    assert (opened.is_digest, opened.severity) == (True, Severity.CRITICAL)
    for place in places:
        world.succeed(place)
    told = [n for n in world.wait(HOUR) if n.kind is not Phase.DAILY]
    assert [(n.kind, n.working, n.size) for n in told] == [(Phase.RESOLVED, 100, 100)]
    world.wait(DAY)
    assert world.told_failures == world.fed


@pytest.mark.parametrize(("failing", "is_told"), [(60, True), (30, False)])
def test_more_fail_than_work(failing: int, *, is_told: bool) -> None:
    """Each was tried once only: forty work, which is little beside sixty and much beside thirty."""
    places = [apart(number) for number in range(failing)]
    world = host(*BUSY, *places)
    for place in places:
        world.fail(place)
        world.wait(0.1)
    for _ in range(12):
        keep_busy(world)
        world.wait(1)
    assert [n.size for n in world.told] == [60] * is_told


def test_nothing_works_at_a_host_that_tries_little() -> None:
    """Three that fail within two minutes while nothing works are one outage."""
    places = [apart(number) for number in range(6)]
    world = host(*places)
    for place in places:
        world.fail(place)
        world.wait(10)
    (opened,) = world.told
    assert opened.is_digest


def test_five_that_go_down_together_are_one_message() -> None:
    """While others work: a switch, or what all of them need."""
    world = host(*BUSY, *(apart(number) for number in range(5)))
    for _ in range(12):
        keep_busy(world)
        for number in range(5):
            world.fail(apart(number))
        world.wait(1)
    assert [(n.is_digest, n.size) for n in world.told] == [(True, 5)]


def test_three_open_alone_in_ten_minutes_and_the_others_together() -> None:
    """And those that people heard of are never taken over."""
    world = host(*BUSY, *(apart(number) for number in range(6)))
    for number in range(6):
        outage(world, apart(number))
        world.wait(20)
    opened = [n for n in world.told if n.kind is Phase.OPENED]
    assert [n.is_digest for n in opened] == [False, False, False, True]
    assert all(n.absorbed == () for n in world.told)


def test_as_many_as_the_budget_that_fail_together_are_one_message() -> None:
    """A resolver, and what needs it: what fails within two minutes after it is of it, too."""
    world = host(*BUSY, *(apart(number) for number in range(9)))
    for second in range(100):
        keep_busy(world)
        for number in range(9):
            if second >= 10 * max(0, number - 2):
                world.fail(apart(number))
            else:
                world.succeed(apart(number))
        world.wait(1)
    assert [(n.kind, n.is_digest, n.size) for n in world.told] == [(Phase.OPENED, True, 3)]
    for _ in range(300):
        for number in range(9):
            world.succeed(apart(number))
        world.wait(1)
    assert [n.kind for n in world.told] == [Phase.OPENED, Phase.RESOLVED]
    assert world.told[-1].size == 9


def test_two_that_fail_together_open_alone() -> None:
    """Few that fail are told by their names."""
    world = host(*BUSY, apart(1), apart(2))
    for _ in range(15):
        keep_busy(world)
        world.fail(apart(1))
        world.fail(apart(2))
        world.wait(1)
    assert [n.subject for n in world.told] == [apart(1), apart(2)]


def test_twelve_open_alone_in_a_day() -> None:
    """Whatever an hour brings."""
    world = host(*BUSY, *(apart(number) for number in range(30)))
    for number in range(20):
        outage(world, apart(number))
        world.succeed(apart(number))
        world.wait(HOUR)
    alone = [n for n in world.told if n.kind is Phase.OPENED and not n.is_digest]
    assert len(alone) == 12
    assert len([n for n in world.told if n.kind is Phase.OPENED]) <= 20


def test_an_outage_stands_beside_a_storm() -> None:
    """A database that dies an hour after a digest began is told by its name, and wakes."""
    world = host(*BUSY, DATABASE)
    broken = [apart(number) for number in range(100)]
    for place in broken:
        world.succeed(place)
    world.mono += 5
    for minute in range(60):
        for place in broken:
            world.fail(place)
        keep_busy(world)
        world.succeed()
        world.wait(60 if minute else 30)
    assert [n.is_digest for n in world.told if n.kind is Phase.OPENED] == [True]
    before = world.mono
    for _ in range(12):
        world.fail()
        keep_busy(world)
        world.wait(1)
    opened = world.told[-1]
    assert (opened.subject, opened.state, opened.escalated) == (DATABASE, State.DOWN, True)
    assert world.told_at[opened.id] - before <= 15


@pytest.mark.parametrize("gap", [84, 86])
def test_new_dead_hosts_are_few_messages(gap: float) -> None:
    """Every 84 or 86 s one that is tried for two minutes: a handful in a day, not a thousand."""
    world = World(after=None)
    for number in range(round(DAY / gap)):
        for _ in range(6):
            world.fail(destination(number))
            world.wait(gap / 6)
    assert len(world.told) <= 5


def test_a_budget_survives_a_restart() -> None:
    """Four that go down around one are three messages and a digest."""
    world = host(*BUSY, *(apart(number) for number in range(6)))
    for number in range(4):
        outage(world, apart(number))
        restart(world, away=1)
        for place in (*BUSY, *(apart(each) for each in range(number + 1, 6))):
            world.succeed(place)
        world.mono += 1
        world.wait(10)
    opened = [n for n in world.told if n.kind is Phase.OPENED]
    assert [n.is_digest for n in opened] == [False, False, False, True]


def test_a_total_outage_of_280_s_wakes_somebody() -> None:
    """At twenty failures a second, asked for by name or not, it is critical at once and once."""
    for after in (None, 1):
        world = World(after=after)
        world.succeed()
        world.mono += 5
        fail_on(world, 280, 0.05)
        world.succeed()
        world.wait(10 * MINUTE)
        assert [n.escalated for n in world.told].count(True) == 1
        critical = next(n for n in world.told if n.escalated)
        assert critical.at - critical.first <= 15
        assert [n.kind for n in world.told if n.at > critical.at] == [Phase.RESOLVED]


def test_nothing_is_critical_long_after_the_last_failure() -> None:
    """A burst of failures, and 298 s without any: no "still fails", and no mention."""
    world = World()
    world.fail(times=2)
    world.wait(298)
    assert world.wait(10) == []


def test_a_share_of_a_thousandth_is_never_critical() -> None:
    """However many failures that is."""
    world = World()
    world.fail()
    for _ in range(600):
        world.succeed(times=999)
        world.mono += 0.01
        world.fail()
        world.wait(0.99)
    assert {n.severity for n in world.told} == {Severity.WARNING}
