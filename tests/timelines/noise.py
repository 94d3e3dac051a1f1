"""Those who explore, and jobs that fail for ever: what must not drown a database that dies."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from tcp_trace.connects.events import Destination
from tcp_trace.connects.reasons import Reason
from tests.timelines.chance import dice
from tests.timelines.hosts import background
from tests.timelines.lines import Try
from tests.timelines.places import DATABASE, program, programs
from tests.timelines.timeline import timeline
from tests.timelines.world import DAY, HOUR, MINUTE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.timelines.faults import Fault
    from tests.timelines.world import World


def anywhere(number: int, port: int = 443) -> Destination:
    """Return the address of this number somewhere in the internet."""
    return Destination(f"{20 + (number >> 16)}.{number >> 8 & 255}.{number & 255}.80", port)


def scan(begin: float, hosts: int, ports: int, rate: float) -> Iterator[Try]:
    """Connect to every port of every host: one in fifty is open, a tenth of the hosts is there."""
    rng = dice("scan", hosts, ports)
    alive = {host for host in range(hosts) if rng.random() < 0.1}
    for number in range(hosts * ports):
        host, port = number % hosts, number // hosts + 1
        reason: Reason | None = Reason.TIMED_OUT
        if host in alive:
            reason = None if rng.random() < 0.02 else Reason.REFUSED
        yield Try(begin + number / rate, Destination(f"10.50.0.{host + 1}", port), reason)


def crawl(seed: int, a_day: int, failing: float) -> Iterator[Try]:
    """Connect to one new host after the other."""
    rng = dice(seed, "crawl")
    at = 0.0
    for number in count():
        at += rng.expovariate(a_day / DAY)
        yield Try(at, anywhere(number), Reason.TIMED_OUT if rng.random() < failing else None)


@timeline(
    "port scanner: {ports} ports of 254 hosts, {rate} a second, tried again after {retry} s; a"
    " database dies meanwhile",
    days=1.5, seeds=1, over=[
        {"ports": 1000, "rate": 1000, "retry": None},
        {"ports": 60, "rate": 1, "retry": None},
        {"ports": 20, "rate": 2, "retry": 30},
    ],
    a_day=3, alerts=3, mentions=(1, 1), share=0.99,
)  # fmt: skip
def scanner(world: World, ports: int, rate: float, retry: float | None) -> Fault:
    """It fails at thousands of places, none of which ever worked."""
    background(world, 1.0)
    world.traffic(DATABASE, 3.0, programs=programs(4), retry=1)
    begin = DAY + HOUR
    world.script(scan(begin, 254, ports, rate), program("nmap"), retry=retry)
    return world.fault(DATABASE, begin + 100, 10 * MINUTE)


@timeline(
    "crawler: 50,000 hosts a day, 8 % fail, tried again after {retry} s", days=2, seeds=1,
    over=[{"retry": None}, {"retry": 20}], a_day=1, alerts=0,
)  # fmt: skip
def crawler(world: World, retry: float | None) -> None:
    """It meets hosts that are dead, as crawlers do."""
    background(world)
    world.script(crawl(world.seed, 50_000, 0.08), program("crawler"), retry=retry)


@timeline(
    "crawler, and a database dies meanwhile", days=1.5, seeds=1,
    a_day=3, alerts=2, mentions=(1, 1), share=0.99,
)  # fmt: skip
def crawler_database(world: World) -> Fault:
    """What the kernel has counted of others, the crawler pushes out of its table."""
    world.traffic(DATABASE, 0.5, programs=programs(4), retry=1)
    world.script(crawl(world.seed, 50_000, 0.08), program("crawler"))
    return world.fault(DATABASE, DAY + 2 * HOUR, 20 * MINUTE)


@timeline(
    "every {seconds} s a new dead host, tried {tries}", days=3,
    over=[
        {"seconds": seconds, "tries": tries}
        for seconds in (84, 86, 600)
        for tries in ("once", "for 2 min")
    ],
    a_day=4, alerts=9,
)  # fmt: skip
def dead_hosts(world: World, seconds: float, tries: str) -> None:
    """A monitor with a list of hosts that are gone."""
    retry = None if tries == "once" else 20.0
    scene = (Try(n * seconds, anywhere(n), Reason.TIMED_OUT) for n in count(1))
    for one in scene:
        if one.at > 3 * DAY:
            break
        world.fault(one.place, 0.0, 9 * DAY, reason=Reason.TIMED_OUT)
    world.script((Try(n * seconds, anywhere(n)) for n in count(1)), program("poller"), retry=retry)


@timeline(
    "nightly job that fails once each night",
    days=14,
    a_day=1,
    alerts=12,
)  # fmt: skip
def nightly(world: World) -> None:
    """One failure a night, for ever."""
    world.every(DAY, DATABASE, begin=2 * HOUR, jitter=0.0001, programs=program("backup"))
    world.fault(DATABASE, 0.0, 15 * DAY, reason=Reason.TIMED_OUT)


@timeline("hourly job that always fails", days=7, a_day=3, alerts=10)
def hourly(world: World) -> None:
    """Twenty-four failures a day, for ever."""
    world.every(HOUR, DATABASE, jitter=0.01, programs=program("report"))
    world.fault(DATABASE, 0.0, 15 * DAY)


@timeline(
    "job that fails every {minutes} min for ever, never seen to work", days=7,
    over=[{"minutes": 1}, {"minutes": 5}], a_day=3, alerts=10,
)  # fmt: skip
def never(world: World, minutes: float) -> None:
    """A leftover in a configuration."""
    world.every(minutes * MINUTE, DATABASE, programs=program("agent"))
    world.fault(DATABASE, 0.0, 15 * DAY)
