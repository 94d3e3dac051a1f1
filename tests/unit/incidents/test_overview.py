"""The overview: the worst first, and all that a restart must not lose of it."""

from __future__ import annotations

import json

from tcp_trace.incidents.incidents import Incidents
from tcp_trace.silences.match import parse_match
from tcp_trace.silences.silences import Silence, Silences
from tests.unit.incidents.incident_world import World, destination


def eventful() -> World:
    """Return a world with incidents of every kind."""
    world = World(storm_subjects=4)
    for number in (1, 2):
        world.fail(destination(number))
        world.mono += 1
        world.succeed(destination(number))
        world.wait(200)
    wall = world.now.wall
    world.incidents.silences = Silences([Silence("s", parse_match(":443"), wall, wall + 1)])
    world.fail(destination(3), times=99)
    world.fail(destination(7))
    world.mono += 1
    world.fail(destination(4))
    world.fail(destination(5), times=49)
    world.mono += 1
    world.succeed(destination(5), times=1000)
    world.mono += 0.001
    world.fail(destination(5))
    world.fail(destination(6), times=7)
    world.wait(301)
    world.fail(destination(7))
    world.wait(20)
    return world


def test_the_worst_comes_first() -> None:
    """Critical before the rest, then by failures; what is silenced last, and then what ended."""
    found = eventful().incidents.overview()
    assert [(entry.status, entry.severity, entry.failures) for entry in found] == [
        ("open", "critical", 7),
        ("open", "warning", 50),
        ("open", "warning", 2),
        ("open", "warning", 1),
        ("silenced", "warning", 99),
        ("recovered", "warning", 1),
        ("recovered", "warning", 1),
    ]
    assert [entry.subject for entry in found[-2:]] == [str(destination(2)), str(destination(1))]


def test_what_is_saved_is_all_there_is() -> None:
    """What is loaded is saved as it was before, with incidents, a storm and silences."""
    world = eventful()
    wall = world.now.wall
    silences = Silences([Silence("s", parse_match("all"), wall, wall + 1000)])
    for number in range(20, 40):
        world.fail(destination(number), times=3)
    world.wait(5)
    world.incidents.silences = silences
    for number in (3, 4, 5, 6, 7, 25, 50):
        world.fail(destination(number))
    saved = json.loads(json.dumps(world.incidents.dump(world.now)))
    loaded = Incidents.load(saved, world.policy, world.now, silences)
    assert json.loads(json.dumps(loaded.dump(world.now))) == saved
    for key in ("silenced", "silenced_told", "silenced_by", "escalated"):
        assert any(each[key] for each in saved["incidents"])
        assert saved["storm"][key] or key == "silenced_told"
