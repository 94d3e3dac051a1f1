"""What happens every week and is not worth waking anybody for, or hardly."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcp_trace.connects.events import Destination
from tcp_trace.connects.reasons import Reason
from tests.timelines.hosts import BY_CHANCE, background
from tests.timelines.places import DATABASE, places, program, programs
from tests.timelines.timeline import timeline
from tests.timelines.world import DAY, HOUR, MINUTE

if TYPE_CHECKING:
    from tests.timelines.faults import Fault
    from tests.timelines.world import World


@timeline("a service is restarted three times a day, 8 s each", days=3, a_day=1, alerts=0)
def restarts(world: World) -> None:
    """Clients try again, and it works."""
    background(world)
    world.traffic(DATABASE, 5.0, programs=programs(4), retry=1)
    for number in range(9):
        world.fault(DATABASE, HOUR + number * 8 * HOUR, 8.0)


@timeline(
    "a cluster of five is restarted one by one, {seconds} s each", days=2,
    over=[{"seconds": seconds} for seconds in (8, 30)], a_day=9, alerts=8, mentions=(0, 4),
)  # fmt: skip
def one_by_one(world: World, seconds: float) -> None:
    """Each is down for a while as the others work."""
    background(world)
    nodes = [Destination(f"10.0.30.{number}", 9200) for number in range(1, 6)]
    world.traffic(nodes, 5.0, programs=programs(4), retry=1)
    for number, node in enumerate(nodes):
        world.fault(node, DAY + 10 * HOUR + number * 2 * MINUTE, seconds)


@timeline(
    "down for 20 s every 10 min, for a day", days=2,
    a_day=10, alerts=12, mentions=(0, 4),
)  # fmt: skip
def flapping(world: World) -> Fault:
    """One incident that stays open, and not a hundred."""
    world.traffic(DATABASE, 5.0, programs=programs(4), retry=1)
    faults = [world.fault(DATABASE, 6 * HOUR + number * 600, 20.0) for number in range(144)]
    return faults[0]


@timeline(
    "a new program whose database refuses from the start, for 2 h", days=1,
    a_day=4, alerts=3, within=75.0,
)  # fmt: skip
def misconfigured(world: World) -> Fault:
    """Never seen to work: a warning, and nobody is woken."""
    background(world)
    world.traffic(DATABASE, 0.5, programs=program("new"), retry=1, begin=10 * HOUR)
    return world.fault(DATABASE, 10 * HOUR, 2 * HOUR)


@timeline(
    "cable out for 10 min at a host that tries {number} places once a minute", days=2,
    over=[{"number": 6}, {"number": 30}], a_day=4, alerts=3, mentions=(0, 1), alone=False,
    within=75.0,
)  # fmt: skip
def quiet_host(world: World, number: int) -> Fault:
    """No place fails three times soon, but all of them do."""
    few = places(number, "10.7")
    for place in few:
        world.every(60, place, programs=program("agent"), jitter=0.3)
    return world.fault(few, DAY + 5 * HOUR, 10 * MINUTE, reason=Reason.NETWORK_UNREACHABLE)


@timeline(
    "database down for 20 min, and the clock is set by {minutes} min meanwhile", days=2,
    over=[{"minutes": -10}, {"minutes": 10}],
    a_day=4, alerts=2, mentions=(1, 1), share=0.99,
)  # fmt: skip
def clock(world: World, minutes: float) -> Fault:
    """No message more or less, and none later."""
    background(world)
    world.traffic(DATABASE, 3.0, failing=BY_CHANCE, programs=programs(4), retry=1)
    for at in (4, 12 * MINUTE):
        world.jump(DAY + 7 * HOUR + at, minutes * MINUTE)
        minutes = -minutes
    return world.fault(DATABASE, DAY + 7 * HOUR, 20 * MINUTE)


@timeline(
    "ten services down at once for half an hour, among 200", days=2,
    a_day=9, alerts=8, mentions=(1, 4), alone=False,
)  # fmt: skip
def ten(world: World) -> Fault:
    """More than open alone; fewer than all."""
    background(world)
    services = places(10, "10.8", (8443,))
    world.traffic(services, 10.0, programs=programs(6), retry=5)
    return world.fault(services, DAY + 8 * HOUR, 30 * MINUTE)


@timeline(
    "a job succeeds once a night, and fails on the last one", days=5,
    a_day=2, alerts=2, within=45 * MINUTE, recovers=False,
)  # fmt: skip
def untried(world: World) -> Fault:
    """It worked, failed, and nobody tries again."""
    background(world)
    world.every(DAY, DATABASE, begin=2 * HOUR, jitter=0.0001, programs=program("backup"))
    return world.fault(DATABASE, 4 * DAY, 23 * HOUR)


@timeline(
    "a monitor tries 50 places every 10 s, two of which were never there", days=3, seeds=1,
    a_day=4, alerts=10, mentions=(0, 0),
)  # fmt: skip
def monitor(world: World) -> None:
    """Nobody took them out of its list."""
    checks = places(50, "10.20")
    for place in checks:
        world.every(10, place, programs=program("monitor"), jitter=0.3)
    world.fault(checks[7:9], 0.0, 9 * DAY)
