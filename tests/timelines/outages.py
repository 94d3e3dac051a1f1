"""Outages of every shape: many places at once, long ones, short ones, parts of one."""

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

RESOLVERS = [Destination("10.0.0.2", 53), Destination("10.0.0.3", 53)]


@timeline(
    "resolver dead for 4 min, and {followers} services that need it", days=2,
    over=[{"followers": number} for number in (3, 12, 40)],
    a_day=7, alerts=6, mentions=(1, 3), alone=False,
)  # fmt: skip
def resolver(world: World, followers: int) -> Fault:
    """Port 53 says nothing for 4 min; services refuse in a while because of that."""
    background(world)
    at = DAY + 11 * HOUR
    world.traffic(RESOLVERS, 4.0, programs=programs(6), retry=1)
    services = places(followers, "10.9", (8443,))
    world.traffic(services, 0.3 * followers, programs=programs(6), retry=5)
    for number, service in enumerate(services):
        begin = 5.0 + number * 60 / followers
        world.fault(service, at + begin, 4 * MINUTE)
    return world.fault(RESOLVERS, at, 4 * MINUTE, reason=Reason.CANCELLED, after=5.0)


@timeline(
    "cable out for 90 s: 400 destinations at {rate} connects/s, {reason}", days=0.5, seeds=1,
    over=[
        {"rate": rate, "reason": reason}
        for rate in (4, 40, 400)
        for reason in ("host_unreachable", "network_unreachable")
    ],
    a_day=3, alerts=2, mentions=(1, 1), alone=False,
)  # fmt: skip
def cable(world: World, rate: float, reason: str) -> Fault:
    """Nothing can be reached."""
    everything = places(400)
    world.traffic(everything, rate, failing=BY_CHANCE, programs=programs(20), skew=0.5)
    after = 3.1 if reason == "host_unreachable" else 0.0
    return world.fault(everything, 4 * HOUR, 90.0, reason=Reason(reason), after=after)


ADDRESSES = [Destination(f"198.51.100.{number}", 443) for number in range(10, 16)]


@timeline(
    "one name with six addresses, {down} of them down for 30 min", days=2,
    over=[{"down": 6}, {"down": 1}],
    a_day=4, alerts=3, mentions=(0, 1), within=75.0,
)  # fmt: skip
def name(world: World, down: int) -> Fault:
    """Programs take one of them by chance: where one of six is down, a sixth fails."""
    background(world)
    world.traffic(ADDRESSES, 6.0, programs=programs(5), host="api.example.com")
    return world.fault(ADDRESSES[:down], DAY + 15 * HOUR, 30 * MINUTE)


@timeline(
    "six addresses nobody knows the name of, all down for 30 min", days=2,
    a_day=5, alerts=4, mentions=(1, 3), alone=False,
)  # fmt: skip
def nameless(world: World) -> Fault:
    """The names are not learned: DNS over TLS."""
    background(world)
    world.traffic(ADDRESSES, 6.0, programs=programs(5))
    return world.fault(ADDRESSES, DAY + 15 * HOUR, 30 * MINUTE)


@timeline(
    "down for 3 days, one try every 5 min, then found again", days=6,
    a_day=2, alerts=6, mentions=(1, 1), within=15 * MINUTE, share=0.99,
)  # fmt: skip
def rarely(world: World) -> Fault:
    """A program that asks every few minutes."""
    world.every(300, DATABASE)
    return world.fault(DATABASE, DAY + 60, 3 * DAY, reason=Reason.TIMED_OUT, after=20.0)


@timeline(
    "down for 3 days at 2 connects/s, then found again", days=6, seeds=1,
    a_day=3, alerts=6, mentions=(1, 1), share=0.99,
)  # fmt: skip
def long(world: World) -> Fault:
    """Known to be broken."""
    world.traffic(DATABASE, 2.0, failing=BY_CHANCE, programs=programs(8))
    return world.fault(DATABASE, DAY + 60, 3 * DAY)


@timeline(
    "fails, and nobody tries again for hours, though it worked every 5 min", days=2,
    a_day=3, alerts=2, within=60 * MINUTE,
)  # fmt: skip
def given_up(world: World) -> Fault:
    """A program that ends with its first failure, and is started again by hand."""
    world.traffic(DATABASE, 1 / 300, end=DAY)
    world.every(5 * HOUR, DATABASE, begin=DAY + 10)
    return world.fault(DATABASE, DAY, 4 * HOUR)


@timeline(
    "down for 280 s at 20 failures a second", days=1,
    a_day=3, alerts=2, mentions=(1, 1), share=0.99,
)  # fmt: skip
def short(world: World) -> Fault:
    """Over before the first update would have been due."""
    world.traffic(DATABASE, 20.0, programs=programs(3))
    return world.fault(DATABASE, 12 * HOUR, 280.0)


@timeline(
    "{share:.0%} of the connects fail for 30 min, at {rate} connects/s", days=2,
    over=[{"share": 0.3, "rate": 5}, {"share": 0.3, "rate": 50}, {"share": 0.15, "rate": 20}],
    a_day=4, alerts=3, within=75.0, share=0.1,
)  # fmt: skip
def degraded(world: World, share: float, rate: float) -> Fault:
    """Two of seven backends behind an address refuse."""
    background(world)
    world.traffic(DATABASE, rate, failing=BY_CHANCE, programs=programs(3))
    return world.fault(DATABASE, DAY + 9 * HOUR, 30 * MINUTE, share=share)


@timeline(
    "down for a minute, then 0.1 % fail for 6 h at 50 connects/s", days=2,
    a_day=5, alerts=4, mentions=(1, 1), share=0.9,
)  # fmt: skip
def tail(world: World) -> Fault:
    """The share is that of the outage, and not of what came after."""
    world.traffic(DATABASE, 50.0, programs=programs(3))
    world.fault(DATABASE, DAY + HOUR + 60, 6 * HOUR, share=0.001)
    return world.fault(DATABASE, DAY + HOUR, 60.0)


@timeline(
    "a program that never connects, beside another that does, every hour", days=4,
    a_day=3, alerts=8,
)  # fmt: skip
def beside(world: World) -> None:
    """Not recovered by another that succeeds: a firewall lets only one of two users out."""
    world.traffic(DATABASE, 0.2, programs=programs(2))
    world.at(DAY, _fail_hourly, world)


def _fail_hourly(world: World) -> None:
    world.feed(DATABASE, program("backup"), Reason.NOT_PERMITTED)
    world.at(world.now + HOUR, _fail_hourly, world)


@timeline(
    "service restarted in the middle of an outage of 20 min, {kernel}", days=2,
    over=[{"kernel": "kernel program kept"}, {"kernel": "kernel program new"}],
    a_day=3, alerts=2, mentions=(1, 1), share=0.99,
)  # fmt: skip
def restarted(world: World, kernel: str) -> Fault:
    """What was told is not told again, and its end is."""
    background(world)
    world.traffic(DATABASE, 3.0, programs=programs(4), retry=1)
    at = DAY + 5 * HOUR
    for when in (at + 4, at + 8 * MINUTE):
        world.restart(when, 5.0, forgets=kernel.endswith("new"))
    return world.fault(DATABASE, at, 20 * MINUTE)


@timeline(
    "database down for 20 min, {minutes} min after the very first start", days=1,
    over=[{"minutes": 0.5}, {"minutes": 5}],
    a_day=3, alerts=2, mentions=(1, 1), share=0.99,
)  # fmt: skip
def unknown(world: World, minutes: float) -> Fault:
    """Nothing is remembered: what is known comes from half a minute of the kernel's counts."""
    background(world)
    world.traffic(DATABASE, 3.0, programs=programs(4), retry=1)
    return world.fault(DATABASE, minutes * MINUTE, 20 * MINUTE)
