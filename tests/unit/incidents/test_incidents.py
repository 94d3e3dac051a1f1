"""Incidents of one destination: what people hear, and when."""

from __future__ import annotations

import pytest

from tcp_trace.connects.maker import Maker
from tcp_trace.connects.reasons import Reason
from tcp_trace.incidents.incidents import Incidents
from tcp_trace.incidents.notification import Kind, Severity
from tcp_trace.incidents.policy import Policy
from tcp_trace.notify.wording import named
from tcp_trace.silences.silences import Silences
from tests.unit.incidents.incident_world import DATABASE, PSQL, World, destination

MINUTE = 60.0
HOUR = 3600.0


def test_first_failure_is_told_at_once() -> None:
    """The first failure of a destination opens an incident and is told without any tick."""
    world = World()
    (opened,) = world.fail()
    assert opened.kind is Kind.OPENED
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
    for _ in range(22):
        world.mono += 10
        assert world.fail() == []
    assert world.wait(79) == []
    (updated,) = world.wait(2)
    assert updated.kind is Kind.UPDATED
    assert (updated.failures, updated.total) == (22, 23)
    assert updated.at == pytest.approx(world.told[0].at + 300)


def test_a_late_second_failure_is_told_without_waiting() -> None:
    """Once `interval` has passed since the last message, a second failure waits for nothing."""
    world = World()
    world.fail()
    world.wait(400)
    world.fail()
    (updated,) = world.wait(0)
    assert (updated.kind, updated.failures) == (Kind.UPDATED, 1)


def test_more_of_the_same_waits_for_the_reminder() -> None:
    """Failures that bring no news are told every `repeat`, not every `interval`."""
    world = World()
    world.fail()
    for _ in range(11 * 60):
        world.wait(MINUTE)
        world.fail()
    kinds = [n.kind for n in world.told]
    assert kinds == [
        Kind.OPENED,
        Kind.UPDATED,  # the first fold
        Kind.UPDATED,  # ten times as many
        Kind.REMINDED,
        Kind.REMINDED,
    ]
    assert world.told[-1].at - world.told[-2].at == pytest.approx(4 * HOUR)


def test_news_are_told_after_the_interval() -> None:
    """A reason or a program not seen before, or ten times the failures, is told on its own."""
    for news in (
        {"reason": Reason.TIMED_OUT},
        {"process": PSQL._replace(comm="gunicorn")},
        {"times": 20},
    ):
        world = World()
        world.fail()
        world.succeed(times=100)  # becoming critical would be news
        world.fail()
        world.wait(301)
        world.fail()
        world.wait(100)
        assert len(world.told) == 2
        world.fail(**news)
        world.wait(100)
        world.fail()
        assert len(world.told) == 2
        (updated,) = world.wait(100)
        assert updated.kind is Kind.UPDATED
        assert updated.failures == world.fed - 2


def test_a_reminder_is_on_time_whatever_the_policy() -> None:
    """Where `repeat` is shorter than `resolve_after`, the reminder does not wait for the latter."""
    world = World(interval=10, repeat=20)
    world.fail()
    world.succeed(times=100)
    world.fail()
    world.wait(10)
    world.wait(5)
    world.fail()
    (reminded,) = world.wait(15)
    assert (reminded.kind, reminded.failures) == (Kind.REMINDED, 1)


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
    (updated,) = world.wait(301)
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
    world.fail()
    world.succeed(times=10)
    world.fail(process=PSQL._replace(pid=1))
    (updated,) = world.wait(301)
    world.fail(process=PSQL._replace(pid=2))
    assert updated.processes[0].several
    assert not [n for n in world.wait(1000) if n.kind is Kind.UPDATED]


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
    assert resolved.kind is Kind.RESOLVED
    assert (resolved.failures, resolved.total) == (2, 3)
    assert resolved.duration == pytest.approx(60)
    assert resolved.established == 7
    assert resolved.ratio == pytest.approx(0.3)
    assert world.incidents.next_deadline() is None


def test_a_success_before_the_last_failure_does_not_resolve() -> None:
    """A connect established before the last failure, however shortly, is no recovery."""
    world = World()
    world.fail()
    world.mono += 1
    world.succeed()
    world.mono += 1e-7
    world.fail()
    assert Kind.RESOLVED not in {n.kind for n in world.wait(2 * HOUR)}


def test_a_success_before_a_failure_that_is_read_late_does_resolve() -> None:
    """What counts is when the failure happened, not when its record was read."""
    world = World()
    world.fail()
    world.mono += 0.001
    world.succeed()
    world.mono += 0.5
    assert [n.kind for n in world.wait(150)] == [Kind.RESOLVED]


def test_quiet_where_nobody_connects_any_more() -> None:
    """Without a success, silence is called quiet, after ten times `resolve_after`."""
    world = World()
    world.fail()
    assert world.wait(1199) == []
    (quiet,) = world.wait(2)
    assert quiet.kind is Kind.QUIET


def test_a_late_success_resolves_before_it_is_quiet() -> None:
    """A success within the quiet time resolves within `recheck`."""
    world = World()
    world.fail()
    world.wait(600)
    world.succeed()
    assert [n.kind for n in world.wait(30)] == [Kind.RESOLVED]


def test_ratio_is_unknown_when_the_counters_are_gone() -> None:
    """Counters that were evicted, or went backwards, make the ratio unknown, never wrong."""
    for evict in (True, False):
        world = World()
        world.succeed(times=100)
        world.fail()
        world.evicted = evict
        if not evict:
            world.kernel.clear()
            world.mono += 1
            world.succeed()
        last = world.wait(2000)[-1]
        assert last.kind is (Kind.QUIET if evict else Kind.RESOLVED)
        assert last.established is None
        assert last.ratio is None


def test_nothing_succeeding_is_critical() -> None:
    """Three failures and no success in between are critical already at the opening."""
    world = World(after=3)
    world.succeed()
    world.mono += 1
    world.fail(times=2)
    (opened,) = world.fail()
    assert opened.severity is Severity.CRITICAL


def test_a_success_among_the_first_failures_is_a_warning() -> None:
    """Where something succeeds between the failures that open an incident, it is a warning."""
    world = World(after=3)
    world.fail(times=2)
    world.mono += 1
    world.succeed()
    (opened,) = world.fail()
    assert opened.severity is Severity.WARNING


def test_becoming_critical_is_news() -> None:
    """When the share of failures rises to critical, that is told without waiting for `repeat`."""
    world = World()
    world.fail()
    world.succeed(times=50)
    world.fail(times=9)
    world.wait(301)
    assert {n.severity for n in world.told} == {Severity.WARNING}
    for _ in range(8):
        world.wait(50)
        world.fail(times=9)
    assert world.told[-1].severity is Severity.CRITICAL
    assert world.told[-1].kind is Kind.UPDATED


def test_failures_below_the_threshold_open_nothing() -> None:
    """With `after` 3 in 60 s, two failures in any minute are counted and not told."""
    world = World(after=3)
    for _ in range(10):
        world.mono += 31
        world.fail()
    assert world.told == []
    assert world.incidents.below_threshold == 8
    world.mono += 1
    (opened,) = world.fail()
    assert opened.failures == 3
    world.wait(100)


def test_waiting_failures_are_forgotten_in_time() -> None:
    """Destinations that failed too rarely leave memory at a tick after `window`."""
    world = World(after=3, max_incidents=10)
    for number in range(100):
        world.fail(destination(number))
    assert world.incidents.below_threshold == 90
    world.mono += 61
    world.tick()
    assert world.incidents.below_threshold == 100


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
    assert kinds.count(Kind.OPENED) == 2
    assert len(kinds) < 12


def test_patience_returns_after_a_good_hour() -> None:
    """After `flap_window` without a failure a recovery is believed as soon as the first time."""
    world = World()
    for _ in range(2):
        world.fail()
        world.mono += 1
        world.succeed()
        assert [n.kind for n in world.wait(120)] == [Kind.RESOLVED]
        world.wait(HOUR)


def test_programs_are_bounded_and_the_frequent_one_is_kept() -> None:
    """Among endless names a program that fails often is named, and the rest is counted."""
    world = World()
    for number in range(1000):
        world.fail(process=PSQL._replace(comm=f"x{number}"))
        world.fail(process=PSQL._replace(comm="often"))
    world.fail(process=None)
    (updated,) = world.wait(301)
    assert len(updated.processes) <= 5
    assert updated.processes[0].comm == "often"
    assert updated.unlisted + sum(p.failures for p in updated.processes) == 2001
    account = next(iter(world.incidents._open.values()))
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
    """A thousand failures of one destination ask the kernel's counters a handful of times."""
    world = World()
    for _ in range(1000):
        world.fail()
        world.wait(0.2)
    assert len(world.asked) < 10


def test_without_counters_at_the_opening_the_next_tick_asks() -> None:
    """Where `failed` is given no counters, the first tick takes the snapshot for the ratio."""
    world = World()
    ask, world.counters = world.counters, None  # type: ignore[assignment, method-assign]
    world.fail()
    world.counters = ask  # type: ignore[method-assign]
    assert world.incidents.next_deadline() == world.mono
    world.tick()
    world.mono += 1
    world.succeed(times=3)
    (resolved,) = world.wait(200)
    assert resolved.established == 3


def test_another_policy_is_used_at_once_and_nothing_is_forgotten() -> None:
    """After a change open incidents go by it, and still know what succeeded since they opened."""
    world = World(interval=3600)
    world.fail()
    world.succeed(times=10)
    world.fail()
    world.incidents.use(Policy(interval=60), Silences(), world.now)
    (updated,) = world.wait(60)
    assert (updated.severity, updated.ratio) == (Severity.WARNING, 2 / 12)
    world.fail(times=98)
    (updated,) = world.wait(60)
    assert (updated.severity, updated.ratio) == (Severity.CRITICAL, 100 / 110)
    world.incidents.use(Policy(interval=600), Silences(), world.now)
    world.fail(reason=Reason.TIMED_OUT)
    assert world.wait(599) == []
    assert [n.kind for n in world.wait(1)] == [Kind.UPDATED]
    world.incidents.use(Policy(resolve_after=700), Silences(), world.now)
    world.mono += 1
    world.succeed()
    assert world.wait(98) == []
    assert [n.kind for n in world.wait(1)] == [Kind.RESOLVED]


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
    assert incidents.tick(World().now, lambda _: None) == []


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
        for host in ("old.example", f"{number}.example", None):
            world.fail(destination(number), host=host)
    (digest,) = world.wait(10)
    assert {(top.subject, top.host) for top in digest.top} == {
        (destination(number), f"{number}.example") for number in range(10)
    }
