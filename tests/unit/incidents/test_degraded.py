"""A destination of which some connects fail."""

from __future__ import annotations

from tcp_trace.incidents.notification import State
from tests.unit.incidents.incident_world import World


def test_the_opening_has_the_share_of_its_window() -> None:
    """Also where the latest connect succeeded: what was counted before it is not lost."""
    world = World(after=None)
    world.succeed(times=50)
    world.wait(60)
    for _ in range(60):
        world.succeed()
        world.wait(0.5)
        world.fail()
        world.wait(0.5)
        world.succeed()
        world.wait(0.5)
    (opened,) = [n for n in world.told if n.opening]
    assert opened.state is State.DEGRADED
    assert opened.established is not None
    assert abs(opened.established - 2 * opened.total) <= 2
