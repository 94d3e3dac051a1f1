"""What version 1 of the program saved is taken up."""

from __future__ import annotations

import json

from tcp_trace.incidents import upgrade
from tcp_trace.incidents.incidents import Incidents
from tests.unit.incidents import version_1
from tests.unit.incidents.incident_world import World, destination

GONE = {"absorbed", "gap", "growth"}
"""What earlier versions saved of an incident, a storm or a tally, and this one does not."""


def lacking(old: object, now: object, path: str = "") -> list[str]:
    """Return what was saved and is lost or another."""
    if isinstance(old, dict) and isinstance(now, dict):
        parts = [
            (f"{path}.{key}", each, now.get(key)) for key, each in old.items() if key not in GONE
        ]
    elif isinstance(old, list) and isinstance(now, list) and len(old) == len(now):
        parts = [(f"{path}[{n}]", *both) for n, both in enumerate(zip(old, now, strict=True))]
    else:
        return [] if old == now else [f"{path}: {old!r}, not {now!r}"]
    return [each for name, was, is_ in parts for each in lacking(was, is_, name)]


def of_version_1() -> World:
    """Return the world whose state version 1 saved."""
    old = version_1.saved()["state"]
    world = World()
    world.mono, world.wall_offset = old["mono"], old["wall"] - old["mono"]
    world.incidents = Incidents.load(old, world.policy, world.now, version_1.SILENCES)
    return world


def test_a_state_of_version_1_is_read() -> None:
    """All that it saved is known, and saved again; saved and read by this one it is the same."""
    old = upgrade.state(version_1.saved()["state"])
    world = of_version_1()
    now = json.loads(json.dumps(world.incidents.dump(world.now)))
    assert lacking(old, now) == []
    assert upgrade.state(now) == now
    world.incidents = Incidents.load(now, world.policy, world.now, version_1.SILENCES)
    assert json.loads(json.dumps(world.incidents.dump(world.now))) == now


def test_a_state_of_version_1_goes_on() -> None:
    """Its incidents are updated and ended under their own names, and every failure is told."""
    old = version_1.saved()["state"]
    names = {old["storm"]["incident"], *(each["incident"] for each in old["incidents"])}
    world = of_version_1()
    world.fail(destination(3))
    world.wait(14_400)
    told = [n.incident for n in world.told if n.kind.is_last]
    assert len(told) == 3
    assert set(told) < names
    assert world.told_failures == world.fed == 1  # all others were told, or silenced
    assert world.incidents.silenced == 3


def test_a_state_from_before_places_were_told_apart_is_read() -> None:
    """A destination was an address, a port and a namespace then."""
    world = of_version_1()
    state = version_1.saved()["state"]
    for incident in state["incidents"]:
        incident["destination"] = incident["destination"][:3]
    state["storm"]["members"] = [[*m[:3], *m[5:]] for m in state["storm"]["members"]]
    world.incidents = Incidents.load(state, world.policy, world.now)
    sizes = [sum(entry.subjects.values()) for entry in world.incidents.overview()]
    assert sorted(sizes) == [1, 1, 1, 1, 23]
