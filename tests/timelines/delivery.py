"""A webhook that is away while things happen: what is told late, and as what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.timelines.hosts import background
from tests.timelines.places import DATABASE, places, programs
from tests.timelines.post import Post
from tests.timelines.timeline import timeline
from tests.timelines.world import DAY, HOUR, MINUTE

if TYPE_CHECKING:
    from tests.timelines.faults import Fault
    from tests.timelines.world import World

GONE, BACK = DAY + 10 * HOUR, DAY + 16 * HOUR


@timeline(
    "webhook away for 6 h; a database is down for 40 min in that time", days=2, seeds=1,
    a_day=2, alerts=1, within=6 * HOUR, share=0.99,
)  # fmt: skip
def within(world: World) -> Fault:
    """What is over by the time it is told is told as over, and wakes nobody."""
    Post(world, GONE, BACK)
    background(world)
    world.traffic(DATABASE, 3.0, programs=programs(4), retry=1)
    return world.fault(DATABASE, GONE + HOUR, 40 * MINUTE)


@timeline(
    "webhook away for 6 h; a database goes down in that time, and stays down for 8 h",
    days=2, seeds=1,
    a_day=3, alerts=2, mentions=(1, 1), within=6 * HOUR, share=0.99,
)  # fmt: skip
def beyond(world: World) -> Fault:
    """What goes on when the webhook is back is told as it is then."""
    Post(world, GONE, BACK)
    background(world)
    world.traffic(DATABASE, 3.0, programs=programs(4), retry=1)
    return world.fault(DATABASE, GONE + HOUR, 8 * HOUR)


@timeline(
    "webhook away for 6 h over 09:00; a database is down, then a cable is out", days=2, seeds=1,
    a_day=3, alerts=2, within=6 * HOUR, alone=False,
)  # fmt: skip
def in_order(world: World) -> list[Fault]:
    """The daily digest, and the digest of the cable, come after what came before them."""
    Post(world, DAY + 6 * HOUR, DAY + 12 * HOUR)
    background(world)
    everything = places(200)
    world.traffic(DATABASE, 3.0, programs=programs(4), retry=1)
    return [
        world.fault(DATABASE, DAY + 7 * HOUR, 10 * MINUTE),
        world.fault(everything, DAY + 8 * HOUR, 2 * MINUTE),
    ]
