"""How bad it is: judged at every message by what happened since the one before."""

from __future__ import annotations

from tcp_trace.connects.reasons import Reason
from tcp_trace.incidents.notification import Phase, Severity
from tests.unit.incidents.incident_world import World


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
    world.succeed(times=4)
    (opened,) = world.fail()
    assert opened.severity is Severity.WARNING


def test_becoming_critical_is_news() -> None:
    """When the share of failures rises to critical, that is told without waiting for `repeat`."""
    world = World()
    world.fail()
    world.mono += 1
    world.succeed(times=50)
    world.fail(times=9)
    for _ in range(15):
        world.wait(1)
        world.succeed(times=10)
        world.fail(times=9)
    assert {n.severity for n in world.told} == {Severity.WARNING}
    for _ in range(15):
        world.wait(1)
        world.fail(times=30)
    critical = world.told[-1]
    assert (critical.severity, critical.kind) == (Severity.CRITICAL, Phase.UPDATED)
    assert critical.escalated


def test_severity_falls_with_a_message() -> None:
    """It goes by what happened since the message before, and is critical again where that is so."""
    world = World()
    world.fail(times=3)
    world.wait(20)
    assert world.told[-1].severity is Severity.CRITICAL
    for second in range(700):
        world.succeed(times=10)
        world.wait(1)
        world.fail(reason=Reason.TIMED_OUT if second > 100 else Reason.REFUSED)
    fallen = world.told[-1]
    assert (fallen.kind, fallen.severity) == (Phase.UPDATED, Severity.WARNING)
    for _ in range(1300):
        world.wait(1)
        world.fail()
    assert world.told[-1].severity is Severity.CRITICAL
    assert [n.escalated for n in world.told] == [False, True, False, False]
