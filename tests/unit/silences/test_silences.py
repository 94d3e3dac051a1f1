"""Silences: which failures they mean, when, and what people hear of what is silenced."""

from __future__ import annotations

import json

import pytest

from tcp_trace.connects.events import Destination, Failure, Moment
from tcp_trace.connects.maker import Maker
from tcp_trace.connects.reasons import Reason
from tcp_trace.incidents.incidents import Incidents
from tcp_trace.incidents.notification import Phase, Severity
from tcp_trace.silences.match import parse_match
from tcp_trace.silences.silences import Silence, Silences
from tests.unit.incidents.incident_world import DATABASE, PSQL, World, destination

HOUR = 3600.0
FAILURE = Failure(
    DATABASE, Reason.REFUSED, 111, 40_000, PSQL, 0.001, 1, 1.0, 1.0, Maker(None, "shop.service")
)


def silence(world: World, match: str = "10.0.0.5:5432", *, seconds: float = HOUR) -> None:
    """Add a silence from now on; there may be one."""
    wall = world.now.wall
    world.incidents.silences = Silences([Silence("s1", parse_match(match), wall, wall + seconds)])


def test_a_silence_holds_from_its_beginning_until_its_end() -> None:
    """The beginning belongs to it, the end does not."""
    silences = Silences([Silence("s", parse_match("all"), 10.0, 20.0)])
    found = [silences.of(FAILURE, Moment(0.0, wall)) for wall in (9.9, 10.0, 19.9, 20.0)]
    assert found == [None, "s", "s", None]


def test_silenced_failures_open_nothing() -> None:
    """Of a destination that is silenced nothing is told, not even that it is over."""
    world = World()
    silence(world)
    world.fail(times=50)
    world.mono += 1
    world.succeed()
    assert world.wait(HOUR) == []
    assert world.incidents.silenced == 50
    assert world.incidents.silenced_by == {"s1": 50}
    assert world.incidents.failing == 0
    saved = json.loads(json.dumps(world.incidents.dump(world.now)))
    world.incidents = Incidents.load(saved, world.policy, world.now)
    assert world.incidents.silenced == 50
    (entry,) = world.incidents.overview()
    assert (entry.status, entry.failures, entry.silenced) == ("recovered", 50, 50)
    assert (entry.messages, entry.told_at) == (0, None)


def test_after_one_that_ended_in_silence() -> None:
    """What ended in silence is over: the next failure opens an incident without it."""
    world = World()
    silence(world)
    world.fail()
    world.wait(HOUR)
    (opened,) = world.fail()
    assert (opened.kind, opened.total, opened.silenced) == (Phase.OPENED, 1, 0)


def test_others_are_told_meanwhile() -> None:
    """A silence keeps to its match."""
    world = World()
    silence(world)
    assert world.fail(destination(1))
    assert world.fail(DATABASE._replace(port=5433))


def test_a_silence_that_ends_while_failures_go_on() -> None:
    """The first failure after the end opens the incident, with all that was silenced."""
    world = World()
    silence(world, seconds=600)
    for _ in range(30):
        world.fail()
        world.wait(20)
    assert world.told == []
    (opened,) = world.fail()
    assert opened.kind is Phase.OPENED
    assert opened.opening
    assert (opened.failures, opened.total, opened.silenced) == (31, 31, 30)
    assert opened.duration == pytest.approx(600)
    assert opened.severity is Severity.CRITICAL
    world.mono += 1
    world.succeed()
    (resolved,) = world.wait(HOUR)
    assert (resolved.kind, resolved.failures, resolved.silenced) == (Phase.RESOLVED, 0, 0)
    assert world.told_failures == world.fed


def test_the_ratio_covers_what_was_silenced() -> None:
    """An incident that opens late knows what succeeded since its first, silenced failure."""
    world = World()
    silence(world, seconds=60)
    world.fail()
    world.tick()
    world.mono += 1
    world.succeed(times=98)
    world.wait(61)
    (opened,) = world.fail()
    assert (opened.total, opened.established) == (2, 98)
    assert opened.severity is Severity.WARNING


def test_the_threshold_counts_what_is_heard() -> None:
    """With `after` 3, what was silenced does not help to open an incident."""
    world = World(after=3)
    silence(world, seconds=10)
    world.fail(times=20)
    world.mono += 11
    assert world.fail(times=2) == []
    (opened,) = world.fail()
    assert (opened.failures, opened.silenced) == (23, 20)


def test_a_told_incident_goes_silent_and_its_end_is_told() -> None:
    """Silenced failures are no update and no reminder; the end says how many there were."""
    world = World()
    world.fail()
    silence(world, seconds=24 * HOUR)
    for _ in range(12 * 60):
        world.wait(60)
        world.fail(reason=Reason.TIMED_OUT)
    assert len(world.told) == 1
    world.mono += 1
    world.succeed()
    (resolved,) = world.wait(120)
    assert resolved.kind is Phase.RESOLVED
    assert (resolved.failures, resolved.silenced) == (720, 720)


def test_a_told_incident_is_updated_when_the_silence_ends() -> None:
    """What fails on after the end is an update, at once where `interval` has passed.

    Nor does the silence let pass what was due of the failures before it.
    """
    for remove in (True, False):
        world = World()
        world.fail(times=2)
        silence(world, seconds=1000)
        for _ in range(5 if remove else 10):
            world.fail()
            world.wait(100)
        if remove:
            world.incidents.silences = Silences()
        assert len(world.told) == 1
        world.fail()
        (updated,) = world.wait(0)
        assert updated.kind is Phase.UPDATED
        assert updated.failures == updated.silenced + 1
        assert world.told_failures == world.fed


@pytest.mark.parametrize("heard", [0, 1])
def test_the_end_of_a_silence_is_news_by_itself(heard: int) -> None:
    """Even where nothing else is new, people hear what goes on before the next reminder."""
    world = World()
    world.fail()
    world.mono += 1
    world.succeed(times=100)  # becoming critical would be news
    world.fail()
    world.wait(300)
    world.fail()
    world.wait(1)
    assert [n.kind for n in world.told] == [Phase.OPENED, Phase.UPDATED]
    silence(world, "reason=timed_out", seconds=600)
    world.fail(reason=Reason.TIMED_OUT)
    world.fail(times=heard)
    assert world.wait(700) == []
    world.fail()
    (updated,) = world.wait(0)
    assert (updated.kind, updated.failures, updated.silenced) == (Phase.UPDATED, 2 + heard, 1)


def test_what_was_held_over_a_restart_claims_no_ratio() -> None:
    """Successes before the restart are not known, so none are counted after it, either."""
    world = World()
    silence(world, seconds=60)
    silences = world.incidents.silences
    world.fail()
    saved = world.incidents.dump(world.now)
    world.incidents = Incidents.load(saved, world.policy, world.now, silences)
    world.mono += 1
    world.succeed()
    world.wait(60)
    (opened,) = world.fail()
    world.mono += 1
    world.succeed(times=5)
    (resolved,) = world.wait(HOUR)
    assert (opened.established, resolved.established) == (None, None)


def test_what_is_heard_beside_the_silenced_is_no_constant_news() -> None:
    """With one reason silenced, the others are told no more often than without the silence."""
    world = World()
    silence(world, "reason=timed_out", seconds=24 * HOUR)
    for _ in range(3 * 60):
        world.fail()
        world.fail(reason=Reason.TIMED_OUT, times=10)
        world.wait(60)
    assert [n.kind for n in world.told] == [Phase.OPENED, Phase.UPDATED]
    assert [n.failures - n.silenced for n in world.told] == [1, 1]
    assert world.told[-1].escalated


def test_a_storm_in_silence() -> None:
    """A storm of silenced destinations is silent; those heard make one digest of their own."""
    world = World()
    silence(world, "10.0.0.0/28")
    for number in range(40):
        world.fail(destination(number), times=2)
    (digest,) = world.wait(5)[-1:]
    assert digest.is_digest
    assert digest.size == 20
    assert digest.total == 40
    assert (digest.silenced, world.incidents.silenced_by["s1"]) == (0, 32)


def test_held_destinations_join_a_storm() -> None:
    """When a silence over many destinations ends, they come as one digest, not one by one."""
    world = World()
    silence(world, "all", seconds=60)
    for number in range(40):
        world.fail(destination(number))
    world.wait(61)
    for number in range(40):
        world.fail(destination(number))
    world.wait(5)
    assert len(world.told) == 5
    digest = world.told[-1]
    assert (digest.size, digest.total) == (36, 72)
    assert sum(n.silenced for n in world.told) == 40
    world.wait(2 * HOUR)
    assert world.told_failures == world.fed
    assert world.incidents.failing == world.incidents.silenced == 0


def test_a_silence_within_a_storm() -> None:
    """Silenced failures are counted, are no cause for a digest, and do not keep the storm open."""
    world = World()
    for number in range(20):
        world.fail(destination(number))
    world.wait(5)
    told = len(world.told)
    silence(world, "all", seconds=24 * HOUR)
    for minute in range(100):
        for number in range(20):
            world.fail(destination(number))
        world.wait(60)
        assert len(world.told) == told or minute >= 20
    (last,) = [n for n in world.told[told:] if n.is_digest]
    assert last.kind is Phase.QUIET
    assert last.silenced == last.failures == 16 * 22
    world.wait(24 * HOUR)
    assert world.told_failures + world.incidents.silenced == world.fed


def test_silenced_destinations_leave_room() -> None:
    """However many destinations are silenced, half of the places are for what people hear of."""
    world = World(max_incidents=10)
    silence(world, "10.0.0.0/8")
    for number in range(100):
        world.fail(destination(number))
    assert world.incidents.failing == 5
    assert world.incidents.silenced == 95
    (opened,) = world.fail(Destination("192.0.2.1", 443))
    assert not opened.is_digest
    assert world.incidents.silenced_by == {"s1": 100}


def test_silenced_incidents_survive_a_restart() -> None:
    """What is held stays held, and what was counted stays counted."""
    world = World()
    silence(world, seconds=100)
    silences = world.incidents.silences
    world.fail(times=7)
    saved = json.loads(json.dumps(world.incidents.dump(world.now)))
    world.incidents = Incidents.load(saved, world.policy, world.now, silences)
    world.fail()
    assert world.incidents.silenced_by == {"s1": 8}
    world.wait(101)
    (opened,) = world.fail()
    assert (opened.failures, opened.silenced) == (9, 8)
    assert opened.kind is Phase.OPENED


def test_counts_of_silences_that_are_gone_are_forgotten() -> None:
    """What is saved is bounded by the silences that there are."""
    world = World()
    silence(world)
    world.fail()
    world.incidents.silences = Silences()
    assert world.incidents.dump(world.now)["silenced_by"] == {}
