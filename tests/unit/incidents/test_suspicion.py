"""When people hear of what nobody asked for: when it is down, degraded or given up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tcp_trace.connects.watch import parse_destinations
from tcp_trace.incidents.memory import Known
from tcp_trace.incidents.named import Named
from tcp_trace.incidents.notification import Phase, Severity, State
from tests.unit.incidents.incident_world import DATABASE, PSQL, World, destination
from tests.unit.incidents.test_snapshot import restart

if TYPE_CHECKING:
    from tcp_trace.connects.events import Destination

DAY, HOUR, MINUTE = 86_400.0, 3_600.0, 60.0


class Remembered:
    """A memory that knows this of every subject."""

    def __init__(self, known: Known) -> None:
        self._known = known

    def known(self, _: object) -> Known:
        """Return it."""
        return self._known


def host(*working: Destination, **policy: object) -> World:
    """Return a host on which these have just worked, watched as by default."""
    world = World(after=None, **policy)  # type: ignore[arg-type]
    for place in working or (DATABASE,):
        world.succeed(place)
    world.mono += 5
    return world


def remembers(world: World, share: float = 0.0, gap: float | None = None) -> None:
    """Let the memory know of all that they work since long."""
    wall = world.now.wall
    known = Known(wall - 30 * DAY, wall - 10, share, 0.001, gap)
    world.incidents._unheard._memory = Remembered(known)


def fail_on(world: World, seconds: float, every: float, place: Destination = DATABASE) -> None:
    """Let connects fail for so long."""
    for _ in range(round(seconds / every)):
        world.fail(place)
        world.wait(every)


def test_what_worked_is_down_after_ten_seconds() -> None:
    """With all failures of these, its share and its background, and critical at once."""
    world = host()
    remembers(world)
    fail_on(world, 9.9, 0.1)
    assert world.told == []
    world.fail()
    (opened,) = world.wait(1)
    assert (opened.kind, opened.state, opened.subject) == (Phase.OPENED, State.DOWN, DATABASE)
    assert (opened.severity, opened.escalated) == (Severity.CRITICAL, True)
    assert (opened.failures, opened.established, opened.ratio) == (100, 0, 1.0)
    assert opened.background is not None
    assert opened.background.worked == pytest.approx(opened.first - 5)
    assert opened.background.latency == 0.001


def test_a_row_that_takes_long_is_down_with_its_third_failure() -> None:
    """One try every five minutes is told after ten."""
    world = host()
    fail_on(world, 11 * MINUTE, 5 * MINUTE)
    (opened,) = world.fail()
    assert (opened.failures, opened.duration) == (3, 10 * MINUTE)


def test_what_the_next_success_redeems_is_in_the_digest_alone() -> None:
    """Whoever retries and gets through needs nobody; in the morning people see how often."""
    world = host()
    for number in range(200):
        world.fail(destination(number % 20))
        world.mono += 1
        world.succeed(destination(number % 20))
        world.wait(299)
    world.wait(DAY)
    assert {n.kind for n in world.told} == {Phase.DAILY}
    assert world.told_failures == world.fed == world.incidents.below_threshold
    for digest in world.told:
        assert (digest.severity, digest.is_digest) == (Severity.INFO, True)
        assert digest.at % DAY == pytest.approx(9 * HOUR, abs=1)
        assert sum(top.failures for top in digest.top) <= digest.total == digest.failures


def test_without_a_digest_they_are_counted() -> None:
    """DIGEST=off tells nobody, and the metric has them."""
    world = host(digest_hour=None)
    world.fail()
    world.mono += 1
    world.succeed()
    world.wait(2 * DAY)
    assert (world.told, world.incidents.below_threshold) == ([], 1)


def test_a_blip_before_an_outage_is_not_of_it() -> None:
    """The row begins anew with a success: so do its count, its share and its ten seconds."""
    world = host()
    world.fail()
    world.mono += 1
    world.succeed()
    world.wait(3)
    began = world.mono
    fail_on(world, 12, 0.5)
    (opened,) = world.told
    assert 10 <= opened.at - world.wall_offset - began <= 11
    assert (opened.first, opened.ratio) == (began + world.wall_offset, 1.0)
    world.succeed()
    world.wait(DAY)
    assert world.told_failures == world.fed


@pytest.mark.parametrize(("share", "usually", "is_told"), [
    (0.2, 0.0, True), (0.05, 0.0, False), (0.2, 0.03, True), (0.2, 0.1, False),
])  # fmt: skip
def test_degraded(share: float, usually: float, *, is_told: bool) -> None:
    """A share of a tenth that is five times the usual one, over a minute, is told as a warning."""
    world = host()
    remembers(world, usually)
    for second in range(70):
        world.succeed(times=round(20 * (1 - share)))
        world.mono += 0.01
        world.fail(times=round(20 * share))
        world.wait(0.99)
        assert not world.told or second >= 59
    assert [(n.state, n.severity) for n in world.told] == [
        (State.DEGRADED, Severity.WARNING)
    ] * is_told
    if is_told:
        assert world.told[0].ratio == pytest.approx(share, abs=0.02)


def test_degraded_by_half_is_critical() -> None:
    """Half of the attempts fail."""
    world = host()
    for _ in range(70):
        world.succeed(times=3)
        world.mono += 0.01
        world.fail(times=3)
        world.wait(0.99)
    assert [n.severity for n in world.told] == [Severity.CRITICAL]


def test_untried() -> None:
    """It worked, failed, and nobody has tried again for twenty minutes: a warning, told once."""
    world = host()
    world.fail()
    assert world.wait(20 * MINUTE - 1) == []
    (opened,) = world.wait(1)
    assert (opened.state, opened.severity) == (State.UNTRIED, Severity.WARNING)
    assert world.wait(DAY) == []
    world.succeed()
    (resolved,) = world.wait(MINUTE)
    assert resolved.kind is Phase.RESOLVED


def test_untried_waits_for_those_that_are_tried_rarely() -> None:
    """Eight times the usual gap, where that is not too long."""
    world = host()
    remembers(world, gap=HOUR)
    world.fail()
    assert world.wait(8 * HOUR - 1) == []
    assert [n.state for n in world.wait(1)] == [State.UNTRIED]


def test_untried_beside_a_neighbour_that_works() -> None:
    """A job that runs every three hours is told although another host of that network works."""
    world = host()
    remembers(world, gap=3 * HOUR)
    for _ in range(3):
        world.fail()
        for _ in range(36):
            world.wait(5 * MINUTE)
            world.succeed(DATABASE._replace(address="10.0.0.6"))
    opened = next(n for n in world.told if n.kind is not Phase.DAILY)
    assert opened.state is State.UNTRIED
    assert opened.at - opened.first == pytest.approx(20 * MINUTE)


def test_never_seen_to_work() -> None:
    """A warning after a minute, that wakes nobody, however long it goes on."""
    world = World(after=None)
    fail_on(world, 2 * HOUR, 10)
    (opened,) = world.told
    assert MINUTE <= opened.at - opened.first <= MINUTE + 1
    assert (opened.severity, opened.state) == (Severity.WARNING, State.DOWN)
    assert opened.background is not None
    assert opened.background.worked is None


def test_who_explores_is_in_the_digest() -> None:
    """The more dead places a program finds, the longer the next one waits."""
    world = World(after=None)
    for number in range(1000):
        for _ in range(5):
            world.fail(destination(number))
            world.wait(16.8)
    alerts = [n for n in world.told if n.kind is not Phase.DAILY]
    assert len(alerts) <= 2
    other = PSQL._replace(comm="shop")
    for _ in range(5):
        world.fail(DATABASE, process=other)
        world.wait(20)
    assert world.told[-1].subject == DATABASE


def test_a_job_that_fails_once_a_night() -> None:
    """Its row outlives days: the third night is told."""
    world = World(after=None)
    fail_on(world, 2 * DAY, DAY)
    assert world.told == []
    (opened,) = world.fail()
    assert opened.failures == 3
    fail_on(world, 5 * DAY, DAY)
    assert len(world.told) <= 1 + 5
    assert Phase.QUIET not in {n.kind for n in world.told}


@pytest.mark.parametrize("named", ["10.0.0.5", "10.0.0.5:5432", "db.example.com"])
def test_what_people_asked_for_is_told_at_once(named: str) -> None:
    """By address or by name; a network is what to watch."""
    world = World(after=None, named=Named(parse_destinations(f"{named},10.0.0.0/8")))  # type: ignore[arg-type]
    assert world.fail(destination(500)) == []
    (opened,) = world.fail(host="db.example.com")
    assert (opened.kind, opened.failures) == (Phase.OPENED, 1)
    fail_on(world, 20, 1)
    assert [n.escalated for n in world.told] == [False, True]


def test_suspects_survive_a_restart() -> None:
    """A row goes on where it was."""
    world = host()
    fail_on(world, 6, 1)
    restart(world, away=1)
    fail_on(world, 4, 1)
    (opened,) = world.told
    assert opened.failures >= 9
