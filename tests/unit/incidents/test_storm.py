"""Storms: many destinations that fail together become one digest."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from tcp_trace.connects.maker import Maker
from tcp_trace.connects.reasons import Reason
from tcp_trace.incidents.notification import Condition, Phase, Severity
from tests.unit.incidents.incident_world import DATABASE, PSQL, World, destination

if TYPE_CHECKING:
    from tcp_trace.connects.events import Process


def storm(destinations: int = 23, **policy: float) -> World:
    """Return a world in which a storm was just told, and four others are open alone."""
    world = World(**policy)
    for number in range(4):
        world.fail(destination(1000 + number))
    for number in range(destinations):
        world.fail(destination(number))
    world.wait(5)
    return world


def test_many_destinations_within_seconds_become_one_digest() -> None:
    """From the fifth destination within 10 s on nothing is told but one digest, soon after."""
    world = World()
    for number in range(23):
        world.fail(destination(number), times=number + 1)
    assert [n.kind for n in world.told] == [Phase.OPENED] * 4
    assert world.wait(4.9) == []
    (digest,) = world.wait(0.1)
    assert (digest.kind, digest.subject, digest.size) == (Phase.OPENED, None, 19)
    assert [count.failures for count in digest.top] == list(range(23, 13, -1))
    assert digest.absorbed == ()
    assert digest.total == world.fed - 10
    assert world.told_failures == world.fed - 6


def test_few_destinations_are_told_one_by_one() -> None:
    """Four destinations within 10 s are no storm, nor are five that take longer."""
    world = World()
    for number in range(8):
        world.fail(destination(number))
        world.wait(3)
    assert [n.is_digest for n in world.told] == [False] * 8


def test_destinations_that_keep_opening_become_a_digest() -> None:
    """Fifteen openings within `quiet_after`, however slowly they come, are a storm, too."""
    world = World()
    for number in range(100):
        world.fail(destination(number))
        world.wait(60)
    openings = [n for n in world.told if n.kind is Phase.OPENED]
    assert [n.is_digest for n in openings] == [False] * 14 + [True]
    assert openings[-1].absorbed == ()


def test_a_storm_names_new_destinations_first() -> None:
    """An update of a storm names what joined since the last digest, the most frequent first."""
    world = storm()
    world.wait(250)
    world.fail(destination(100))
    world.fail(destination(101), times=3)
    (updated,) = world.wait(60)
    assert updated.kind is Phase.UPDATED
    assert [str(c.subject) for c in updated.top[:2]] == ["10.0.0.101:443", "10.0.0.100:443"]
    assert updated.failures == 4
    assert updated.absorbed == ()


def test_a_storm_that_goes_on_is_told_ever_more_rarely() -> None:
    """A host that lives in a storm gets a digest after 5, 10, 20 minutes, up to a day."""
    world = storm()
    for number in range(24 * 60):
        world.fail(destination(100 + number))
        world.wait(60)
    digests = [n for n in world.told if n.is_digest]
    gaps = [round((b.at - a.at) / 60) for a, b in pairwise(digests)]
    assert gaps == [5, 10, 20, 40, 80, 160, 320, 640]


@pytest.mark.parametrize("is_known", [False, True])
def test_nobody_keeps_a_storm_up_to_hide_what_another_fails_at(is_known: bool) -> None:  # noqa: FBT001
    """What a new user fails at is told within `interval`, however long the storm goes on.

    Also where who keeps it up gave up connects to the same destination before.
    """
    world = storm()
    for minute in range(10 * 60):
        world.fail(destination(100 + minute))
        if is_known:
            world.fail(DATABASE, reason=Reason.CANCELLED)
        world.wait(60)
    before = len(world.told)
    world.fail(DATABASE, process=PSQL._replace(uid=998, comm="app"))
    told = world.wait(world.policy.interval)
    assert len(told) == 1
    assert len(world.told) == before + 1
    assert DATABASE in {count.subject for count in told[0].top}


def test_another_owner_that_joins_a_storm_is_told_soon() -> None:
    """The root of a container is the user that root is: there the owner of the cgroup counts."""
    world = storm()
    for minute in range(10 * 60):
        world.fail(destination(100 + minute))
        world.wait(60)
    world.fail(DATABASE, maker=Maker(owner=7))
    (digest,) = [n for n in world.wait(world.policy.interval) if n.is_digest]
    assert DATABASE in {count.subject for count in digest.top}


def test_a_storm_resolves_when_destinations_connect_again() -> None:
    """Without failures for `resolve_after`, connects to half of its destinations end it."""
    world = storm()
    world.mono += 1
    for number in range(11):
        world.succeed(destination(number))
    assert world.wait(180) == []
    world.succeed(destination(11))
    (resolved,) = world.wait(30)
    assert (resolved.kind, resolved.working) == (Phase.RESOLVED, 12)
    conditions = {c.condition for c in resolved.top}
    assert conditions == {Condition.WORKS}
    world.wait(2000)
    assert world.incidents.failing == 0
    assert world.incidents.next_deadline() is None


def test_a_storm_of_which_few_work_again_ends_late_and_says_how_many() -> None:
    """One of 23 is no recovery of the rest: people hear of it when nobody tries the others."""
    world = storm()
    world.mono += 1
    world.succeed(destination(0))
    told = [n for n in world.wait(1100) if n.is_digest]
    assert told == []
    (last,) = [n for n in world.wait(400) if n.is_digest]
    assert (last.kind, last.working, last.size) == (Phase.RESOLVED, 1, 23)


def test_a_storm_is_quiet_when_nobody_connects_any_more() -> None:
    """A storm after which nobody connects is called quiet, not recovered."""
    world = storm()
    assert {n.kind for n in world.wait(3000)} == {Phase.QUIET}


def test_what_fails_on_after_a_storm_is_an_incident_of_its_own() -> None:
    """A storm ends though two destinations fail on: it names them, and they open anew."""
    world = storm()
    world.mono += 1
    for number in range(2, 23):
        world.succeed(destination(number))
    for _ in range(40):
        for number in (0, 1):
            world.fail(destination(number))
        world.wait(5)
    resolved = next(n for n in world.told if n.kind is Phase.RESOLVED)
    failing = [c for c in resolved.top if c.condition is Condition.FAILING]
    assert {str(c.subject) for c in failing} == {"10.0.0.0:443", "10.0.0.1:443"}
    after = world.told[world.told.index(resolved) + 1 :]
    opened = [n.subject for n in after if n.kind is Phase.OPENED]
    assert opened == [destination(0), destination(1)]
    world.wait(7200)
    assert world.told_failures == world.fed


def test_an_incident_from_long_before_stays_on_its_own() -> None:
    """A storm takes over what opened just before it, not what was open long since."""
    world = World()
    (old,) = world.fail(destination(99))
    world.wait(400)
    for number in range(23):
        world.fail(destination(number))
    world.fail(destination(99))
    (digest, updated) = sorted(world.wait(5), key=lambda n: not n.is_digest)
    assert old.incident not in digest.absorbed
    assert updated.incident == old.incident


@pytest.mark.parametrize(
    ("succeeding", "severity"),
    [(0, Severity.CRITICAL), (5, Severity.CRITICAL), (6, Severity.WARNING)],
)
def test_a_storm_is_critical_where_nothing_succeeds(succeeding: int, severity: Severity) -> None:
    """A storm is critical where the kernel saw no success at half of the ten that are named."""
    world = World()
    for number in range(23):
        world.fail(destination(number))
    world.mono += 1
    for number in range(4, 4 + succeeding):
        world.succeed(destination(number))
    assert world.wait(5)[-1].severity is severity


def test_the_severity_of_a_storm_falls() -> None:
    """Once most of those that it names work again, nothing is critical."""
    world = storm()
    assert world.told[-1].severity is Severity.CRITICAL
    world.mono += 1
    for number in range(23):
        world.succeed(destination(number))
    for place in (0, 0, 0, 0, 0, 100, 0):
        for number in range(5):
            world.fail(destination(place + number))
            world.succeed(destination(100 + number))
        world.wait(50)
    updated = world.told[-1]
    assert (updated.kind, updated.severity) == (Phase.UPDATED, Severity.WARNING)


def test_a_storm_of_which_the_kernel_knows_nothing_is_a_warning() -> None:
    """Without counters nobody is woken."""
    world = World()
    world.evicted = True
    for number in range(23):
        world.fail(destination(number))
    assert world.wait(5)[-1].severity is Severity.WARNING


def test_a_full_table_counts_what_it_cannot_hold() -> None:
    """Destinations beyond `max_incidents` are counted in the digest and take no memory."""
    world = World(max_incidents=10)
    for number in range(100):
        world.fail(destination(number), times=2)
    (digest,) = world.wait(5)
    assert world.incidents.failing == 11
    assert digest.size == 7
    assert digest.untracked == 178
    assert sum(c.failures for c in digest.top) + digest.untracked == digest.total == 192
    world.wait(7200)
    assert world.told_failures == 200


@pytest.mark.parametrize(
    ("process", "maker"),
    [
        (PSQL._replace(uid=998, comm="app"), Maker(owner=8)),
        (PSQL._replace(uid=0, comm="app"), Maker(owner=8)),
        (PSQL._replace(uid=0, comm="app"), Maker()),
    ],
)
def test_who_fills_the_table_leaves_places_to_others(process: Process, maker: Maker) -> None:
    """What others fail at is named, who may be many users but has one owner; he gets no more."""
    world = World(max_incidents=100, recent=1000)
    for number in range(300):
        flooder = PSQL._replace(uid=100_000 + number)
        world.fail(destination(number), process=flooder, maker=Maker(owner=7))
    world.wait(5)
    assert world.incidents.failing == 100
    world.fail(DATABASE, process=process, maker=maker)
    (digest,) = world.wait(world.policy.interval)
    assert DATABASE in {count.subject for count in digest.top}
    for number in range(300):
        world.fail(destination(1000 + number), process=process, maker=maker)
    assert world.incidents.failing <= 110


def test_a_full_table_counts_all_that_would_have_opened() -> None:
    """With `after` 2, both failures of a destination that finds no place are counted."""
    world = World(after=2, max_incidents=10)
    for number in range(100):
        world.fail(destination(number), times=2)
    world.wait(7200)
    assert world.told_failures == 200


def test_a_table_full_of_old_incidents_begins_a_storm() -> None:
    """Where no place is left for one destination, its failures are told in a digest."""
    world = World(max_incidents=3)
    for number in range(3):
        world.fail(destination(number))
        world.wait(300)
    world.fail(destination(3))
    digest = world.wait(5)[-1]
    assert digest.is_digest
    assert digest.untracked == 1
    world.wait(7200)
    assert world.told_failures == world.fed
