"""Hosts on which little is wrong, and a database that dies among all the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tcp_trace.connects.events import Destination
from tcp_trace.connects.reasons import Reason
from tests.timelines.places import DATABASE, places, programs
from tests.timelines.timeline import timeline
from tests.timelines.world import DAY, HOUR, MINUTE

if TYPE_CHECKING:
    from tests.timelines.faults import Fault
    from tests.timelines.world import World

BY_CHANCE = 0.0005
PROXY = Destination("10.0.0.99", 3128)
RATES = [{"rate": rate} for rate in (1, 5, 20)]
BUSY = [{"rate": 500}]


def background(world: World, rate: float = 5.0, **how: Any) -> None:
    """Let 200 destinations be used, and fail now and then."""
    world.traffic(places(200), rate, failing=BY_CHANCE, programs=programs(20), **how)


@timeline(
    "healthy host: 200 destinations, {rate} connects/s, 0.05 % fail",
    days=7,
    over=RATES,
    a_day=1,
    alerts=0,
)
@timeline(
    "healthy host: 200 destinations, {rate} connects/s, 0.05 % fail", days=7, over=BUSY, seeds=1,
    a_day=1, alerts=0,
)  # fmt: skip
def healthy(world: World, rate: float) -> None:
    """Nothing is wrong."""
    background(world, rate)


@timeline(
    "healthy host: {retry} s until a failure is tried again, busy places far busier",
    days=4, seeds=2,
    over=[{"retry": retry} for retry in (1, 5, 30)], a_day=1, alerts=0,
)  # fmt: skip
def healthy_skewed(world: World, retry: float) -> None:
    """Some places are used a thousand times as often as others."""
    background(world, 10, retry=retry, skew=1.3)


@timeline(
    "healthy host: 50 names of four addresses, 10 connects/s", days=4, seeds=2, a_day=1, alerts=0
)
def healthy_names(world: World) -> None:
    """The applications asked for names; the addresses of one fail now and then."""
    for number in range(50):
        world.traffic(
            places(4, f"10.{number + 100}"), 0.2, failing=BY_CHANCE, programs=programs(5),
            retry=2, host=f"service-{number}.example.com",
        )  # fmt: skip


@timeline(
    "database down for 20 min on day 2, among 200 at {rate} connects/s",
    days=3,
    over=RATES,
    a_day=3,
    alerts=2,
    mentions=(1, 1),
    share=0.99,
    programs=4,
)
@timeline(
    "database down for 20 min on day 2, among 200 at {rate} connects/s", days=2, over=BUSY, seeds=1,
    a_day=3, alerts=2, mentions=(1, 1), share=0.99, programs=4,
)  # fmt: skip
def database(world: World, rate: float) -> Fault:
    """The one thing that is wrong in days."""
    background(world, rate)
    world.traffic(DATABASE, 3.0, failing=BY_CHANCE, programs=programs(4), retry=1)
    return world.fault(DATABASE, DAY + 14 * HOUR, 20 * MINUTE)


@timeline(
    "the same at {rate} connects/s of one program, without retries, {reason}", days=2, seeds=2,
    over=[
        {"rate": rate, "reason": reason}
        for rate in (0.3, 10, 50)
        for reason in ("refused", "timed_out")
    ],
    a_day=3, alerts=2, mentions=(1, 1), share=0.1, within=25,
)  # fmt: skip
def database_alone(world: World, rate: float, reason: str) -> Fault:
    """A database that is used rarely, or often, refuses or says nothing."""
    background(world)
    world.traffic(DATABASE, rate, failing=BY_CHANCE)
    after = 5.0 if reason == "timed_out" else 0.0
    return world.fault(DATABASE, 1.3 * DAY, 20 * MINUTE, reason=Reason(reason), after=after)


@timeline(
    "all traffic by one proxy, {rate} connects/s, 0.05 % fail; down for 5 min on day 2", days=2,
    over=[{"rate": 20}, {"rate": 200}], seeds=1,
    a_day=3, alerts=2, mentions=(1, 1), share=0.9,
)  # fmt: skip
def proxy(world: World, rate: float) -> Fault:
    """It fails by chance every few seconds, for ever, and that is no outage."""
    world.traffic(PROXY, rate, failing=BY_CHANCE, programs=programs(20), retry=1)
    return world.fault(PROXY, 1.3 * DAY, 5 * MINUTE)


@timeline(
    "database with the port and network of 200 others", days=3,
    a_day=3, alerts=2, mentions=(1, 1), share=0.99,
)  # fmt: skip
def database_of_a_pool(world: World) -> Fault:
    """It is one of many that look alike, and none of them is a pod."""
    pool = [Destination(f"10.0.12.{number}", 5432) for number in range(20, 220)]
    world.traffic(pool, 20, failing=BY_CHANCE, programs=programs(20))
    world.traffic(DATABASE, 3.0, failing=BY_CHANCE, programs=programs(4), retry=1)
    return world.fault(DATABASE, 2 * DAY + 3 * HOUR, 20 * MINUTE)


@timeline(
    "database fails over for 35 s, 12 programs; again 20 min later", days=3,
    a_day=5, alerts=4, mentions=(2, 2), share=0.99, programs=12,
)  # fmt: skip
def failover(world: World) -> list[Fault]:
    """Two outages, each short."""
    background(world)
    world.traffic(DATABASE, 12.0, programs=programs(12), retry=1)
    first = DAY + 10 * HOUR
    return [world.fault(DATABASE, at, 35.0) for at in (first, first + 20 * MINUTE)]


@timeline(
    "two databases down, 3 min apart, for half an hour each", days=3,
    a_day=5, alerts=4, mentions=(2, 2), share=0.99,
)  # fmt: skip
def two(world: World) -> list[Fault]:
    """Two outages at once."""
    background(world)
    other = Destination("10.0.77.7", 3306)
    for place in (DATABASE, other):
        world.traffic(place, 2.0, programs=programs(3), retry=5)
    first = DAY + 8 * HOUR + 50 * MINUTE  # over the time of the daily digest
    return [
        world.fault(DATABASE, first, 30 * MINUTE),
        world.fault(other, first + 3 * MINUTE, 30 * MINUTE),
    ]
