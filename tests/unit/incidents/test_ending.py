"""Silences that hold until what they silence has recovered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tcp_trace.silences.match import parse_match
from tcp_trace.silences.silences import Silence, Silences
from tests.unit.incidents.incident_world import DATABASE, World, destination

if TYPE_CHECKING:
    from tcp_trace.connects.events import Destination

MONTH = 30 * 86_400.0


def silence(world: World, *matches: str) -> None:
    """Add silences from now on, called as what they mean."""
    begins = world.now.wall
    world.incidents.silences = Silences(
        Silence(match, parse_match(match), begins, begins + MONTH, until_recovered=True)
        for match in matches
    )


def recover(world: World, *destinations: Destination) -> None:
    """Let them work again, and let it be noticed."""
    world.mono += 1
    for each in destinations:
        world.succeed(each)
    world.wait(300)


@pytest.mark.parametrize("reported", [True, False])
def test_it_ends_with_the_incident(*, reported: bool) -> None:
    """Whether that was reported before or not; no other silence ends."""
    world = World()
    if reported:
        world.fail()
    silence(world, "10.0.0.5:5432", "10.0.0.5:5433", "10.0.0.6:5432")
    world.fail(times=3)
    world.wait(600)
    world.fail()
    assert world.incidents.over == set()
    recover(world, DATABASE)
    assert world.incidents.over == {"10.0.0.5:5432"}


def test_it_ends_when_nobody_tries_any_more() -> None:
    """The incident is over then: what fails later is reported as a new one."""
    world = World()
    silence(world, "10.0.0.5:5432")
    world.fail()
    world.wait(1300)
    assert world.incidents.over == {"10.0.0.5:5432"}


@pytest.mark.parametrize("match", ["db.example.com:5432", "10.0.0.5:5432"])
def test_by_name_and_by_an_address_of_the_name(match: str) -> None:
    """Whichever of them was silenced."""
    world = World()
    silence(world, match)
    assert world.fail(host="db.example.com") == []
    world.wait(1300)
    assert world.incidents.over == {match}


def test_it_holds_while_the_same_fails_in_another_namespace() -> None:
    """An address is silenced in all of them, and ends with the last."""
    world = World()
    silence(world, "10.0.0.5:5432")
    inside = DATABASE._replace(netns=7)
    world.fail()
    world.fail(inside)
    world.mono += 1
    world.succeed()
    for _ in range(5):
        world.wait(60)
        world.fail(inside)
    assert [entry.status for entry in world.incidents.overview()] == ["silenced", "recovered"]
    assert world.incidents.over == set()
    recover(world, inside)
    assert world.incidents.over == {"10.0.0.5:5432"}


def test_those_of_a_storm_end_with_it() -> None:
    """But not of what fails on, which has an incident of its own then."""
    world = World()
    world.fail(destination(0))
    for number in range(1, 23):
        world.fail(destination(number))
    world.wait(10)
    silence(world, "10.0.0.10:443", "10.0.0.11:443")
    for _ in range(60):
        world.wait(60)
        world.fail(destination(11))
        if any(n.kind.is_last and n.is_digest for n in world.told):
            break
    assert world.told[-1].is_digest
    assert world.incidents.over == {"10.0.0.10:443"}


def test_other_silences_stay() -> None:
    """One with an end of its own does not care for incidents."""
    world = World()
    wall = world.now.wall
    world.incidents.silences = Silences([Silence("s", parse_match("all"), wall, wall + MONTH)])
    world.fail()
    recover(world, DATABASE)
    assert world.incidents.over == set()
