"""One address in several network namespaces: told apart, and told once."""

from __future__ import annotations

import json

import pytest

from tcp_trace.connects.events import Destination, Process
from tcp_trace.connects.maker import Maker
from tcp_trace.incidents.incidents import Incidents
from tcp_trace.incidents.notification import Condition, Phase
from tcp_trace.incidents.subjects import placed
from tcp_trace.notify import makers, wording
from tests.unit.incidents.incident_world import DATABASE, World, destination
from tests.unit.notify.golden import CHECKOUT, IN_A_POD, LOOPBACK, PSQL
from tests.unit.notify.samples import STYLE


def place(number: int) -> Destination:
    """Return the database as it is in the network namespace of this number; 0 is the own."""
    return DATABASE._replace(netns=number and 4_026_532_000 + number, netns_mix=number)


def in_pods(world: World, pods: int, seconds: float) -> None:
    """Let the database fail in one namespace after the other."""
    for number in range(1, pods + 1):
        world.fail(place(number), process=Process(number, "app", 0, number, number))
        world.wait(seconds)


@pytest.mark.parametrize("seconds", [0.0, 0.1, 10.0])
def test_a_database_that_dies_for_sixty_pods_is_told_once(seconds: float) -> None:
    """Two incidents, and the digest that has one line for all others."""
    world = World()
    in_pods(world, 60, seconds)
    world.wait(5)
    *singles, digest = world.told[:3]
    assert [n.is_digest for n in singles] == [False, False]
    assert (digest.kind, digest.is_digest) == (Phase.OPENED, True)
    assert len(world.told) <= 5
    world.wait(7200)
    (last,) = [n for n in world.told if n.is_digest and n.kind.is_last]
    assert (last.size, len(last.top)) == (1, 1)
    line = wording.subjects(last, STYLE, 9)[0]
    assert line.startswith("10.0.0.5:5432 in 58 network namespaces: 58 failures")
    assert wording.subject(last, str) == "10.0.0.5:5432 in 58 network namespaces"
    assert world.told_failures == world.fed == 60


def test_a_digest_of_one_address_leaves_the_others_alone() -> None:
    """Another destination that fails meanwhile opens its own incident at once."""
    world = World()
    in_pods(world, 10, 0)
    (other,) = world.fail(destination(1))
    assert (other.kind, other.subject) == (Phase.OPENED, destination(1))
    assert world.incidents._openings.storm is not None
    assert len(world.incidents._openings.storm.members) == 8
    for number in range(2, 6):
        world.fail(destination(number))
    (digest,) = [n for n in world.wait(5) if n.is_digest]
    assert digest.size == 5
    world.wait(7200)
    assert world.told_failures == world.fed


def test_three_namespaces_that_fail_on_keep_their_digest_open() -> None:
    """It is no storm by its size, and not over for that."""
    world = World()
    for _ in range(300):
        in_pods(world, 3, 0)
        world.wait(10)
    assert not [n for n in world.told if n.kind.is_last]
    world.succeed(place(3))
    (resolved,) = [n for n in world.wait(300) if n.kind.is_last and n.is_digest]
    assert resolved.kind is Phase.RESOLVED
    assert [count.condition for count in resolved.top] == [Condition.WORKS]
    world.wait(7200)
    assert world.told_failures == world.fed


def test_a_success_in_another_namespace_ends_nothing() -> None:
    """A success ends an incident only where the failure was, for whoever it is made."""
    world = World()
    world.fail(DATABASE)
    world.fail(place(1))
    world.mono += 1
    world.succeed(place(2), times=40)
    world.succeed(place(1))
    (resolved,) = world.wait(600)
    assert (resolved.kind, resolved.subject) == (Phase.RESOLVED, place(1))
    world.succeed(DATABASE)
    assert [n.subject for n in world.wait(600)] == [DATABASE]


def test_a_namespace_that_has_a_number_again_is_another_place() -> None:
    """Its successor's success is not its own."""
    world = World()
    world.fail(place(1))
    world.mono += 1
    world.succeed(place(1)._replace(netns_mix=99))
    assert [n.kind for n in world.wait(1300)] == [Phase.QUIET]


@pytest.mark.parametrize(
    ("processes", "expected"),
    [
        ((CHECKOUT,), "of containerd container 3f2a9c013f2a (4026532281)"),
        ((PSQL, CHECKOUT), "of containerd container 3f2a9c013f2a (4026532281)"),
        ((PSQL._replace(unit="db.service"),), "of unit db.service (4026532281)"),
        ((PSQL,), "4026532281"),
        ((), "4026532281"),
    ],
)
def test_whose_namespace_it_is(processes: tuple[object, ...], expected: str) -> None:
    """The container that connects in it, else the unit, else the bare number."""
    n = IN_A_POD.from_dict(IN_A_POD.to_dict() | {"processes": [p._asdict() for p in processes]})  # type: ignore[attr-defined]
    assert makers.place(n, STYLE) == expected


def test_the_own_namespace_is_never_told() -> None:
    """Neither in a message nor in the list of incidents."""
    world = World()
    (own,) = world.fail(DATABASE, maker=Maker(container="docker://" + "ab" * 32))
    assert makers.place(own, STYLE) is None
    world.fail(place(1))
    shown = {(entry.subject, entry.netns) for entry in world.incidents.overview()}
    assert shown == {("10.0.0.5:5432", 0), ("10.0.0.5:5432", 4_026_532_001)}
    assert placed(place(1)) == "10.0.0.5:5432 (netns 4026532001)"
    assert str(LOOPBACK.subject) == "127.0.0.1:6379"


def test_narrow_digest_survives_a_restart() -> None:
    """It is still that of one address."""
    world = World()
    in_pods(world, 5, 0)
    state = json.loads(json.dumps(world.incidents.dump(world.now)))
    world.incidents = Incidents.load(state, world.policy, world.now)
    world.fail(place(6))
    assert len(world.fail(destination(1))) == 1
    (digest,) = [n for n in world.wait(5) if n.is_digest]
    assert (digest.size, digest.top[0].namespaces) == (1, 4)
