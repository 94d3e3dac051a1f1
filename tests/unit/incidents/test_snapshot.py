"""Open incidents survive a restart of the service, and of the host."""

from __future__ import annotations

import json

import pytest

from tcp_trace.connects.maker import Maker
from tcp_trace.connects.reasons import Reason
from tcp_trace.incidents.incidents import Incidents
from tcp_trace.incidents.notification import Phase, Severity
from tcp_trace.incidents.policy import Policy
from tests.unit.incidents.incident_world import World, destination


def restart(world: World, *, away: float = 10, boot: bool = False, wall_jump: float = 0) -> None:
    """Restart the service after `away` seconds; with `boot`, the monotonic clock begins anew."""
    saved = json.dumps(world.incidents.dump(world.now))
    world.mono += away
    world.wall_offset += wall_jump
    if boot:
        world.wall_offset += world.mono - 20
        world.mono = 20.0
    world.kernel.clear()
    world.incidents = Incidents.load(json.loads(saved), world.policy, world.now)


@pytest.mark.parametrize("number", [1, 12])
@pytest.mark.parametrize("after", [None, 1])
def test_what_fails_on_after_a_boot_is_not_told_to_work(after: int | None, number: int) -> None:
    """What failed before the boot, and has not succeeded since, has not recovered."""
    world = World(after=after)
    places = [destination(each) for each in range(number)]
    for place in places:
        world.succeed(place)
    for _ in range(5):
        world.wait(5)
        for place in places:
            world.fail(place)
    world.wait(10)
    restart(world, away=3000, boot=True)
    for place in places:
        world.fail(place)
    world.wait(60)
    assert {n.kind for n in world.told} <= {Phase.OPENED, Phase.UPDATED}
    for place in places:
        world.succeed(place)
    world.wait(10_000)
    assert world.told[-1].kind is Phase.RESOLVED
    assert world.told_failures == world.fed


@pytest.mark.parametrize("works", [False, True])
def test_a_row_goes_on_after_a_boot(*, works: bool) -> None:
    """Failures in a row from before the boot are ended by a success, and by nothing else."""
    world = World(after=3)
    world.fail(times=2)
    restart(world, away=300, boot=True)
    if works:
        world.succeed()
        world.mono += 1
    assert [n.failures for n in world.fail()] == ([] if works else [3])


@pytest.mark.parametrize("boot", [False, True])
def test_an_open_incident_is_neither_told_twice_nor_forgotten(*, boot: bool) -> None:
    """After a restart, further failures are folded and the end is told, under the same name."""
    world = World(recent=1000)
    (opened,) = world.fail()
    world.mono += 50
    world.fail()
    restart(world, boot=boot)
    assert world.fail() == []
    (updated,) = world.wait(241)
    assert (updated.kind, updated.failures) == (Phase.UPDATED, 2)
    world.succeed()
    (resolved,) = world.wait(120)
    assert resolved.kind is Phase.RESOLVED
    assert resolved.incident == updated.incident == opened.incident
    assert len({n.id for n in world.told}) == 3
    assert resolved.duration == pytest.approx(60)
    assert resolved.ratio is None


@pytest.mark.parametrize("boot", [False, True])
def test_a_storm_survives(*, boot: bool) -> None:
    """A storm that was not told yet is told after the restart, with all its destinations."""
    world = World()
    for number in range(23):
        world.fail(destination(number), times=2)
    restart(world, away=1, boot=boot)
    (digest,) = [n for n in world.wait(10) if n.is_digest]
    assert (digest.kind, digest.size) == (Phase.OPENED, 19)
    world.fail(destination(7))
    assert world.told_failures == 4 + 38
    world.wait(7200)
    assert world.told_failures == world.fed == 47


def test_news_not_told_yet_survive() -> None:
    """What was worth a message before the restart is told after it, when it would have been."""
    world = World(recent=1000)
    world.hold_back(times=3)
    world.mono += 1
    world.succeed(times=100)
    world.mono += 1
    world.fail(reason=Reason.TIMED_OUT)
    restart(world)
    (updated,) = world.wait(300)
    assert (updated.kind, updated.failures) == (Phase.UPDATED, 1)


def test_makers_survive() -> None:
    """Who failed before a restart is known after it, and is the same program."""
    maker = Maker("deploy", "shop.service", "docker://3f2a", "b1", "shop --serve")
    world = World(recent=1000)
    world.fail(maker=maker)
    restart(world)
    world.fail(maker=maker)
    (updated,) = world.wait(301)
    (process,) = updated.processes
    assert process.failures == 2
    assert process[-4:] == ("deploy", "shop.service", "docker://3f2a", "b1")


def test_a_state_from_before_makers_were_known() -> None:
    """A state that an older version saved is taken up, and its programs go on."""
    world = World(recent=1000)
    world.fail()
    saved = world.incidents.dump(world.now)
    for row in saved["incidents"][0]["tally"]["programs"]:
        assert row[6:] == [None] * 4
        del row[6:]
    world.incidents = Incidents.load(json.loads(json.dumps(saved)), world.policy, world.now)
    world.fail()
    (updated,) = world.wait(301)
    assert [p.failures for p in updated.processes] == [2]


def test_names_survive() -> None:
    """Names and addresses are known after a restart, in an incident and in a storm."""
    world = World(recent=1000)
    world.fail()
    for host in ("a.example", "b.example"):
        world.fail(host=host)
    restart(world)
    world.fail(host="a.example")
    (updated,) = world.wait(301)
    assert updated.hosts == ("b.example", "a.example")
    for number in range(23):
        world.fail(destination(number), host=f"{number}.example")
    restart(world)
    (digest,) = world.wait(10)
    assert {(top.host, top.address) for top in digest.top} <= {
        (f"{number}.example", destination(number).address) for number in range(23)
    }
    assert digest.hosts == ()


def test_a_state_from_before_names_were_known() -> None:
    """A state that an older version saved is taken up without names."""
    world = World()
    for number in range(23):
        world.fail(destination(number), host="a.example", owner=destination(number))
    saved = world.incidents.dump(world.now)
    del saved["storm"]["hosts"], saved["storm"]["tally"]["hosts"], saved["places"]
    del saved["storm"]["addresses"], saved["storm"]["tally"]["addresses"]
    world.incidents = Incidents.load(json.loads(json.dumps(saved)), world.policy, world.now)
    (digest,) = world.wait(10)
    assert {top.host for top in digest.top} == {None}


@pytest.mark.parametrize(
    ("failures", "successes", "severity"),
    [(2, 0, Severity.WARNING), (23, 23, Severity.CRITICAL), (23, 24, Severity.WARNING)],
)
def test_the_severity_is_judged_anew_after_a_restart(
    failures: int, successes: int, severity: Severity
) -> None:
    """By what the kernel counted since then; the share of the whole is not known, and not told."""
    world = World(recent=1000)
    world.fail(times=100)
    world.succeed(times=100_000)
    world.incidents.tick(world.now, world)
    restart(world)
    world.tick()
    world.mono += 1
    world.fail(times=failures)
    world.succeed(times=successes)
    (updated,) = world.wait(300)
    assert (updated.severity, updated.escalated) == (severity, severity is Severity.CRITICAL)
    assert updated.ratio is None


def test_an_incident_goes_by_the_interval_that_is_configured_now() -> None:
    """One that was opened under a longer interval does not keep it over a restart."""
    world = World(interval=3600)
    world.fail()
    world.policy = Policy(interval=60)
    restart(world, away=0)
    world.fail()
    assert world.wait(59) == []
    assert [n.kind for n in world.wait(1)] == [Phase.UPDATED]


def test_a_storm_keeps_its_pace() -> None:
    """A storm that is told ever more rarely goes on so after a restart."""
    world = World(interval=300)
    for number in range(23):
        world.fail(destination(number))
    world.wait(5)
    world.wait(290)
    world.fail(destination(100))
    (updated,) = world.wait(10)
    assert (updated.kind, updated.is_digest) == (Phase.UPDATED, True)
    restart(world, away=0)
    world.wait(570)
    world.fail(destination(101))
    assert world.wait(29) == []
    assert [n.kind for n in world.wait(1)] == [Phase.UPDATED]


def test_what_ended_meanwhile_is_told() -> None:
    """An incident whose quiet time passed while the service was away is closed at once."""
    world = World()
    world.fail()
    restart(world, away=5000)
    assert [n.kind for n in world.wait(0)] == [Phase.QUIET]


@pytest.mark.parametrize("jump", [-1e6, -10.0])
def test_a_wall_clock_that_went_back_takes_no_time_away(jump: float) -> None:
    """With the clock set back during the restart, no duration is negative and nothing is early."""
    world = World()
    world.fail()
    world.mono += 30
    world.fail()
    restart(world, wall_jump=jump)
    world.fail()
    told = world.wait(3000)
    assert told[-1].kind is Phase.QUIET
    for notification in told:
        assert notification.duration >= 30
        assert notification.last >= notification.first


def test_patience_survives() -> None:
    """A destination that flapped before the restart is still believed later after it."""
    world = World()
    world.fail()
    world.mono += 1
    world.succeed()
    world.wait(130)
    restart(world)
    world.fail()
    world.mono += 1
    world.succeed()
    assert world.wait(200) == []
    assert [n.kind for n in world.wait(50)] == [Phase.RESOLVED]


def test_a_new_incident_after_a_restart_has_a_new_name() -> None:
    """Even with a clock that repeats itself, no two incidents share a name."""
    world = World()
    (first,) = world.fail()
    world.wait(3000)
    saved = world.incidents.dump(world.now)
    world.mono, world.wall_offset = 1000.0, world.wall_offset
    world.incidents = Incidents.load(saved, world.policy, world.now)
    (second,) = world.fail()
    assert first.first == second.first
    assert first.incident != second.incident


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"version": 2},
        {"version": 2, "mono": 0, "wall": 0, "serial": float("inf")},
        {"version": 1, "mono": 0, "wall": "x"},
        {"version": 1, "mono": 0, "wall": 0, "serial": 1, "ended": [], "incidents": [{}]},
        {"version": 1, "mono": 0, "wall": 0, "serial": 1, "ended": [3], "incidents": []},
    ],
)
def test_what_was_not_dumped_is_refused(broken: dict[str, object]) -> None:
    """A state that is damaged or of another version raises ValueError, and nothing else."""
    with pytest.raises(ValueError, match="the saved incidents cannot be read"):
        Incidents.load(broken, World().policy, World().now)
