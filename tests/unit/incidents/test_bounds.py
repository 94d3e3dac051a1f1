"""What is too few, too many, out of order or of another policy."""

from __future__ import annotations

import pytest

from tcp_trace.connects.maker import Maker
from tcp_trace.incidents.incidents import Incidents
from tcp_trace.incidents.notification import Phase, Severity
from tcp_trace.incidents.policy import Policy
from tcp_trace.silences.silences import Silences
from tests.seen import Always
from tests.unit.incidents.incident_world import DATABASE, PSQL, World, destination
from tests.unit.incidents.test_incidents import HOUR, MINUTE


def test_failures_below_the_threshold_open_nothing() -> None:
    """With `after` 3 in 60 s, two failures in any minute are counted and not told."""
    world = World(after=3, digest_hour=None)
    for gap in (61, 31, 31, 31, 61):
        world.fail()
        world.mono += 1
        world.succeed()
        world.wait(gap - 1)
    assert world.told == []
    world.wait(100)
    assert world.incidents.below_threshold == 5
    assert world.incidents.next_deadline() is None
    world.fail(times=2)
    (opened,) = world.fail()
    assert opened.failures == 3


def test_a_threshold_is_not_deaf_to_what_fails_slowly() -> None:
    """With `after` 3 in 60 s, the third failure in a row is told, however long it took."""
    world = World(after=3)
    world.succeed()
    for _ in range(2):
        world.wait(3 * HOUR)
        assert world.fail() == []
    world.wait(3 * HOUR)
    (opened,) = world.fail()
    assert (opened.failures, opened.duration) == (3, 6 * HOUR)


def test_waiting_failures_are_bounded() -> None:
    """Half of the places are for what nobody has heard of; what is too much is counted."""
    world = World(after=3, max_incidents=10)
    for number in range(100):
        world.fail(destination(number))
    assert world.incidents.below_threshold == 95
    world.wait(4 * 24 * HOUR)
    assert world.incidents.below_threshold == 100


@pytest.mark.parametrize("works", [False, True])
def test_what_is_down_for_long_is_bounded(works: bool) -> None:  # noqa: FBT001
    """A crawler that adds dead places to a storm for ever takes no more places than there are."""
    world = World(after=None, max_incidents=20)
    for wave in range(40):
        places = [destination(256 * (8 * wave + each)) for each in range(8)]
        for place in places if works else ():
            world.succeed(place)
        for _ in range(12):
            world.wait(200)
            for place in places:
                world.fail(place)
    assert world.incidents.failing <= 22
    world.wait(5 * 24 * HOUR)
    assert world.incidents.failing == 0
    assert world.told_failures == world.fed == 40 * 8 * 12
    assert max(n.untracked for n in world.told) > 1000


@pytest.mark.parametrize("owned", [False, True])
def test_nobody_crowds_out_failures_of_others_that_wait(owned: bool) -> None:  # noqa: FBT001
    """Who fails at more destinations than there is room for loses his own, many users or not."""
    world = World(after=3, max_incidents=100)
    victim = PSQL._replace(uid=998, comm="app")
    for turn in range(3):
        told = world.fail(process=victim, maker=Maker(owner=8))
        for number in range(300):
            flooder = PSQL._replace(uid=100_000 + number) if owned else PSQL
            maker = Maker(owner=7) if owned else Maker()
            world.fail(destination(1000 * turn + number), process=flooder, maker=maker)
        world.mono += 5
    (opened,) = told
    assert (opened.subject, opened.failures) == (DATABASE, 3)


def test_flapping_is_believed_later_each_time() -> None:
    """A destination failing every three minutes, for ever, becomes one incident that stays open."""
    world = World()
    for _ in range(20 * 24):
        world.fail()
        world.mono += 1
        world.succeed(times=100)
        world.wait(179)
    kinds = [n.kind for n in world.told]
    assert kinds.count(Phase.OPENED) == 2
    assert len(kinds) < 12


def test_patience_returns_after_a_good_hour() -> None:
    """After `flap_window` without a failure a recovery is believed as soon as the first time."""
    world = World()
    for _ in range(2):
        world.fail()
        world.mono += 1
        world.succeed()
        assert [n.kind for n in world.wait(120)] == [Phase.RESOLVED]
        world.wait(HOUR)


def test_programs_are_bounded_and_the_frequent_one_is_kept() -> None:
    """Among endless names a program that fails often is named, and the rest is counted."""
    world = World()
    for number in range(1000):
        world.fail(process=PSQL._replace(comm=f"x{number}"))
        world.fail(process=PSQL._replace(comm="often"))
    world.fail(process=None)
    (updated,) = world.wait(11)
    assert len(updated.processes) <= 16
    assert updated.processes[0].comm == "often"
    assert updated.unlisted + sum(p.failures for p in updated.processes) == 2001
    account = next(iter(world.incidents._openings.open.values()))
    assert len(account.tally.programs) == 16  # type: ignore[union-attr]


def test_endless_new_names_are_not_endless_news() -> None:
    """An attacker who fails under ever new names gets no message every `interval`."""
    world = World()
    for number in range(24 * 60):
        world.fail(process=PSQL._replace(comm=f"x{number}"))
        world.wait(MINUTE)
    assert len(world.told) < 15


def test_records_out_of_order_do_not_turn_time_back() -> None:
    """Failures of two CPUs that come in the wrong order keep first and last right."""
    world = World()
    world.fail()
    world.mono += 10
    world.fail()
    world.mono -= 5
    world.fail()
    world.mono += 5
    (updated,) = world.wait(301)
    assert updated.duration == pytest.approx(10)
    assert updated.last - updated.first == pytest.approx(10)


def test_counters_are_asked_only_when_useful() -> None:
    """Of a destination that fails on, the kernel's counters are asked every second."""
    world = World()
    for _ in range(1000):
        world.fail()
        world.wait(0.2)
    assert len(world.asked) < 220


def test_counters_of_suspects_are_asked_once_a_second() -> None:
    """However often it fails before people hear of it."""
    world = World(after=None)
    world.succeed()
    world.mono += 1
    for _ in range(900):
        world.fail()
        world.wait(0.01)
    assert world.told == []
    assert len(world.asked) <= 10


def test_another_policy_is_used_at_once_and_nothing_is_forgotten() -> None:
    """After a change open incidents go by it, and still know what succeeded since they opened."""
    world = World(interval=3600)
    world.fail()
    world.mono += 1
    world.succeed(times=10)
    world.mono += 1
    world.fail()
    world.incidents.use(Policy(after=1, interval=60), Silences(), world.now)
    (updated,) = world.wait(58)
    assert (updated.severity, updated.ratio) == (Severity.WARNING, 2 / 12)
    world.wait(10)
    world.fail(times=98)
    (updated,) = world.wait(60)
    assert (updated.severity, updated.ratio) == (Severity.CRITICAL, 100 / 110)
    world.incidents.use(Policy(after=1, resolve_after=700), Silences(), world.now)
    world.mono += 1
    world.succeed()
    assert world.wait(638) == []
    assert [n.kind for n in world.wait(1)] == [Phase.RESOLVED]


def test_failures_that_wait_for_others_outlive_another_policy() -> None:
    """Two failures before a change and two after it are the four that are wanted now."""
    world = World(after=3)
    world.fail(times=2)
    world.incidents.use(Policy(after=4), Silences(), world.now)
    assert world.fail() == []
    (opened,) = world.fail()
    assert opened.failures == 4
    assert world.incidents.below_threshold == 0


@pytest.mark.parametrize(
    "wrong", [{"after": 0}, {"recheck": 0}, {"interval": -1}, {"repeat": float("nan")}]
)
def test_a_policy_that_cannot_work_is_refused(wrong: dict[str, float]) -> None:
    """A number that cannot work is refused with a sentence that names it."""
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} is .*, but must be at least"):
        Policy(**wrong)  # type: ignore[arg-type]


def test_nothing_open_needs_no_tick() -> None:
    """Without incidents there is no deadline, and a tick tells nothing."""
    incidents = Incidents(Policy())
    assert incidents.next_deadline() is None
    assert incidents.tick(World().now, Always()) == []
