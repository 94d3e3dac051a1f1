"""How often the kernel is asked for all that it has counted, which takes milliseconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.unit.incidents.incident_world import World, destination

if TYPE_CHECKING:
    import pytest

    from tcp_trace.incidents.subjects import Subject

MANY = 2000


def test_a_broad_storm_asks_once_a_second_what_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many more fail while it stands, and something works."""
    world = World(after=None)
    asked: list[float] = []
    working = world.working

    def counting(since: float, near: Subject | None = None) -> int:
        asked.append(world.mono)
        return working(since, near)

    monkeypatch.setattr(world, "working", counting)
    for number in range(MANY):
        world.succeed(destination(number << 8))
    world.wait(10)
    for _ in range(3):
        for number in range(20):
            world.fail(destination(number << 8))
        world.wait(6)
    storm = world.incidents._openings.storm
    assert storm is not None
    assert storm.broad
    world.wait(150)
    began = len(asked)
    for again in range(20):
        for number in range(20):
            world.fail(destination(number << 8))
        for number in range(20, MANY):
            if again % 3 == 2:
                world.succeed(destination(number << 8))
            else:
                world.fail(destination(number << 8))
        world.wait(12)
    seconds = 20 * 12
    assert 0 < len(asked) - began < seconds
