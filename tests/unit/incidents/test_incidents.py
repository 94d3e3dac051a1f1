"""Incidents of one destination: what people hear, and when."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tcp_trace.connects.maker import Maker
from tcp_trace.connects.reasons import Reason
from tcp_trace.incidents.notification import Phase
from tcp_trace.notify.wording import named
from tests.unit.incidents.incident_world import DATABASE, PSQL, World, destination

MINUTE = 60.0
HOUR = 3600.0


def test_first_failure_is_told_at_once() -> None:
    """The first failure of a destination opens an incident and is told without any tick."""
    world = World()
    (opened,) = world.fail()
    assert opened.kind is Phase.OPENED
    assert opened.opening
    assert opened.subject == DATABASE
    assert (opened.failures, opened.total) == (1, 1)
    assert opened.causes[0].cause is Reason.REFUSED
    assert opened.processes[0][:3] == ("psql", 4711, 1000)
    assert opened.id.startswith(opened.incident)


def test_further_failures_are_folded_into_one_message() -> None:
    """Further failures are told together, with their count, `interval` after the opening."""
    world = World()
    world.fail()
    world.mono += 1
    world.succeed(times=100)  # becoming critical would be told sooner
    for _ in range(22):
        world.wait(12)
        assert world.fail() == []
    assert world.wait(34) == []
    (updated,) = world.wait(2)
    assert updated.kind is Phase.UPDATED
    assert (updated.failures, updated.total) == (22, 23)
    assert updated.at == pytest.approx(world.told[0].at + 300)


def test_a_late_second_failure_is_told_without_waiting() -> None:
    """Once `interval` has passed since the last message, a second failure waits for nothing."""
    world = World()
    world.fail()
    world.wait(400)
    world.fail()
    (updated,) = world.wait(0)
    assert (updated.kind, updated.failures) == (Phase.UPDATED, 1)


def test_more_of_the_same_waits_for_the_reminder() -> None:
    """Failures that bring no news are told after `repeat`, then twice that, up to a day."""
    world = World(repeat=4 * HOUR)
    world.fail(times=3)
    for _ in range(70 * 60):
        world.wait(MINUTE)
        world.fail()
    kinds = [n.kind for n in world.told]
    assert kinds == [Phase.OPENED, Phase.UPDATED, *[Phase.REMINDED] * 4]
    assert world.told[1].escalated
    gaps = [b.at - a.at for a, b in pairwise(world.told[1:])]
    assert gaps == pytest.approx([4 * HOUR, 8 * HOUR, 16 * HOUR, 24 * HOUR], abs=MINUTE)
    assert [n.reminders for n in world.told] == [0, 0, 1, 2, 3, 4]


def test_news_are_told_after_the_interval() -> None:
    """A reason or a program not seen before is told on its own; ten times the failures are not."""
    for news, told in (
        ({"reason": Reason.TIMED_OUT}, 1),
        ({"process": PSQL._replace(comm="gunicorn")}, 1),
        ({"times": 20}, 0),
    ):
        world = World()
        world.hold_back(times=3)
        for second in range(340):
            world.succeed(times=10)  # becoming critical would be news
            world.wait(1)
            world.fail(**(news if second == 100 else {}))
        updates = world.told[1:]
        assert [(n.kind, round(n.at - n.since)) for n in updates] == [(Phase.UPDATED, 300)] * told


def test_news_are_told_ever_more_rarely() -> None:
    """Each update of an incident waits twice as long as the one before."""
    world = World()
    world.hold_back(times=3)
    for minute in range(24 * 60):
        world.succeed(times=100)
        world.wait(MINUTE)
        world.fail(process=PSQL._replace(comm=f"x{minute}"))
    updates = [n for n in world.told if n.kind is Phase.UPDATED]
    gaps = [b.at - a.at for a, b in pairwise(updates)]
    assert gaps == sorted(gaps)
    assert len(world.told) <= 9


def test_nothing_is_said_to_fail_still_that_did_not_in_the_last_minute() -> None:
    """News that are older than a minute when they may be told wait for the next failure."""
    world = World(resolve_after=1000)
    world.fail()
    world.mono += 1
    world.succeed()
    world.wait(230)
    world.fail(reason=Reason.TIMED_OUT)
    assert world.wait(600) == []
    world.fail()
    (updated,) = world.wait(0)
    assert (updated.kind, updated.failures) == (Phase.UPDATED, 2)


def test_a_reminder_is_on_time_whatever_the_policy() -> None:
    """Where `repeat` is shorter than `resolve_after`, the reminder does not wait for the latter."""
    world = World(interval=10, repeat=20)
    world.hold_back(times=3)
    world.mono += 1
    world.succeed(times=1000)
    world.wait(14)
    world.fail()
    (reminded,) = world.wait(5)
    assert (reminded.kind, reminded.failures) == (Phase.REMINDED, 1)


def test_a_program_is_known_by_its_unit_and_container() -> None:
    """A unit's restart is no other program, another unit's program of that name is."""
    shop, mail = Maker("deploy", "shop.service", None, None, "a"), Maker(unit="mail.service")
    world = World()
    world.fail(maker=shop)
    world.fail(process=PSQL._replace(pid=1, cgroup_id=78), maker=shop._replace(command="b"))
    world.fail(maker=mail)
    world.fail(maker=mail._replace(container="docker://3f2a"), times=3)
    world.fail()
    world.fail(process=PSQL._replace(cgroup_id=78))
    (updated,) = world.wait(11)
    told = sorted((p.failures, p.unit or "", p.container or "") for p in updated.processes)
    assert told == [
        (1, "", ""),
        (1, "", ""),
        (1, "mail.service", ""),
        (2, "shop.service", ""),
        (3, "mail.service", "docker://3f2a"),
    ]
    assert {p.user for p in updated.processes if p.unit == "shop.service"} == {"deploy"}


def test_another_pid_of_a_known_program_is_no_news() -> None:
    """A job started anew for every attempt is one program, told as several processes."""
    world = World()
    world.hold_back(times=3)
    for pid in range(400):
        world.succeed(times=10)
        world.wait(1)
        world.fail(process=PSQL._replace(pid=pid))
    assert len(world.told) == 1
    (last,) = world.wait(1300)
    assert last.processes[0].several


def test_resolved_by_a_success_after_the_last_failure() -> None:
    """After `resolve_after` without failures and with a success since, all that is untold is."""
    world = World()
    world.succeed(times=10)
    world.fail()
    world.mono += 60
    world.fail(times=2)
    world.mono += 1
    world.succeed(times=7)
    assert world.wait(118) == []
    (resolved,) = world.wait(1)
    assert resolved.kind is Phase.RESOLVED
    assert (resolved.failures, resolved.total) == (2, 3)
    assert resolved.duration == pytest.approx(60)
    # The seven came after it: the share is that of the outage.
    assert (resolved.established, resolved.ratio) == (0, 1.0)
    assert world.incidents.next_deadline() is None


def test_a_success_before_the_last_failure_does_not_resolve() -> None:
    """A connect established before the last failure, however shortly, is no recovery."""
    world = World()
    world.fail()
    world.mono += 1
    world.succeed()
    world.mono += 1e-7
    world.fail()
    assert Phase.RESOLVED not in {n.kind for n in world.wait(2 * HOUR)}


def test_a_success_before_a_failure_that_is_read_late_does_resolve() -> None:
    """What counts is when the failure happened, not when its record was read."""
    world = World()
    world.fail()
    world.mono += 0.001
    world.succeed()
    world.mono += 0.5
    assert [n.kind for n in world.wait(150)] == [Phase.RESOLVED]


def test_quiet_where_nobody_connects_any_more() -> None:
    """Without a success, silence is called quiet, after ten times `resolve_after`."""
    world = World()
    world.fail()
    assert world.wait(1199) == []
    (quiet,) = world.wait(2)
    assert quiet.kind is Phase.QUIET


def test_a_late_success_resolves_before_it_is_quiet() -> None:
    """A success within the quiet time resolves within `recheck`."""
    world = World()
    world.fail()
    world.wait(600)
    world.succeed()
    assert [n.kind for n in world.wait(30)] == [Phase.RESOLVED]


def test_ratio_is_unknown_when_the_counters_are_gone() -> None:
    """Counters that were evicted, or went backwards, make the ratio unknown, never wrong."""
    for evict in (True, False):
        world = World()
        world.succeed(times=100)
        world.fail()
        world.evicted = evict
        if not evict:
            world.kernel.clear()
            world.mono += 20
            world.succeed()
            world.fail()
            world.mono += 1
            world.succeed()
        last = world.wait(2000)[-1]
        assert last.kind is (Phase.QUIET if evict else Phase.RESOLVED)
        assert last.established is None
        assert last.ratio is None


def test_names_of_a_destination() -> None:
    """The last names are told, the latest first, once each; no name is as good as the last."""
    world = World()
    world.fail()
    for host in ("a.example", "b.example", "c.example", "d.example", "b.example", None):
        world.fail(host=host)
    (updated,) = world.wait(301)
    assert updated.hosts == ("c.example", "d.example", "b.example")
    assert named(DATABASE, updated.hosts) == ("b.example, d.example, c.example (10.0.0.5:5432)")
    long = named(DATABASE, ("x" * 500,))
    assert long == f"{'x' * 59}\N{HORIZONTAL ELLIPSIS} (10.0.0.5:5432)"


def test_a_storm_names_its_destinations() -> None:
    """Each destination of a digest has the name by which it was last asked for."""
    world = World()
    for number in range(10):
        for host in (None, "old.example", f"{number}.example"):
            world.fail(destination(number), host=host)
    (digest,) = [n for n in world.wait(10) if n.is_digest]
    assert {(top.subject, top.host) for top in digest.top} == {
        (destination(number), f"{number}.example") for number in range(4, 10)
    }
