"""Who is named where not all can be: nobody's many hide another's one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcp_trace.connects.events import Process
from tcp_trace.connects.maker import Maker
from tcp_trace.incidents.fairness import fairly
from tests.unit.incidents.incident_world import World, destination

if TYPE_CHECKING:
    from tcp_trace.incidents.fairness import Whose

DATABASE = "10.0.3.231:443"


def flood(world: World, makers: list[tuple[Process, Maker]], times: int = 200) -> None:
    """Let 15 ports be refused, of each of these makers in turn."""
    for number in range(15):
        process, maker = makers[number % len(makers)]
        world.fail(destination(number), times=times, process=process, maker=maker)


def process(uid: int, cgroup_id: int = 77) -> Process:
    """Return a process of a user."""
    return Process(4711, "app", uid, cgroup_id, 0)


@pytest.mark.parametrize(
    "makers",
    [
        pytest.param([(process(1000), Maker())], id="one user"),
        pytest.param(
            [(process(1000, n), Maker(unit=f"app-{n}.scope", owner=5)) for n in range(15)],
            id="one user, with many units below his manager",
        ),
        pytest.param(
            [(process(1000 + n), Maker(owner=5)) for n in range(15)],
            id="the root of a container, as many users",
        ),
        pytest.param([(process(n), Maker()) for n in (1000, 1001, 1002)], id="three users"),
    ],
)
def test_nobody_pushes_a_database_out_of_a_digest(makers: list[tuple[Process, Maker]]) -> None:
    """Fifteen ports of somebody's own, refused 200 times each, leave the database its line."""
    world = World()
    flood(world, makers)
    world.fail(destination(999), process=process(33, 78), maker=Maker(unit="shop.service", owner=6))
    (digest,) = [n for n in world.wait(5) if n.is_digest]
    assert DATABASE in [str(count.subject) for count in digest.top]
    assert len(digest.top) == 10
    assert [count.failures for count in digest.top] == [200] * 9 + [1]


def test_a_maker_is_not_hidden_by_one_who_joins_him() -> None:
    """Who fails at the database, too, does not make it his own."""
    world = World()
    flood(world, [(process(1000), Maker())])
    world.fail(destination(999), process=process(1000))
    world.fail(destination(999), process=process(33))
    (digest,) = [n for n in world.wait(5) if n.is_digest]
    assert DATABASE in [str(count.subject) for count in digest.top]


ITEMS = st.lists(
    st.tuples(st.booleans(), st.integers(0, 9), st.integers(0, 3), st.integers(0, 3)), max_size=40
)


@given(ITEMS, st.integers(1, 12))
def test_one_of_each_before_a_second_of_any(
    items: list[tuple[bool, int, int, int]], most: int
) -> None:
    """As many as there is place for, by rank; no owner has two where another one has none."""

    def rank(item: tuple[bool, int, int, int]) -> tuple[bool, int]:
        return item[:2]

    def whose(item: tuple[bool, int, int, int]) -> tuple[Whose]:
        return (item[2:],)

    chosen = fairly(items, most, rank, whose)
    assert len(chosen) == min(most, len(items))
    assert [rank(item) for item in chosen] == sorted(map(rank, chosen), reverse=True)
    first = [item for item in items if item[0]]
    if len(items) <= most:
        return
    assert sum(item[0] for item in chosen) == min(most, len(first))
    if len(first) >= most:
        owners = [item[2] for item in chosen]
        missing = {item[2] for item in first} - set(owners)
        assert not missing or len(set(owners)) == len(owners)
