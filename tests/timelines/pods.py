"""Nodes of Kubernetes: addresses that come and go, service addresses, a namespace for each pod."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcp_trace.connects.events import Destination
from tests.timelines.chance import dice
from tests.timelines.hosts import BY_CHANCE
from tests.timelines.places import DATABASE, places, program, programs
from tests.timelines.timeline import timeline
from tests.timelines.world import DAY, HOUR, MINUTE

if TYPE_CHECKING:
    from tests.timelines.faults import Fault
    from tests.timelines.world import World


@timeline(
    "60 pods, 40 rollouts a day, tried again after {retry} s", days=3, seeds=1,
    over=[{"retry": retry} for retry in (None, 1, 5)], a_day=2, alerts=0,
)  # fmt: skip
def rollouts(world: World, retry: float | None) -> None:
    """Three of ten addresses of a service refuse for 20 s, and are never used again."""
    rng = dice(world.seed, "rollouts")
    services = [[_pod(service, pod) for pod in range(10)] for service in range(6)]
    since = {pod: 0.0 for pods in services for pod in pods}
    new = [10] * 6
    for at in sorted(rng.uniform(HOUR, 3 * DAY - HOUR) for _ in range(3 * 40)):
        service = rng.randrange(6)
        for number in rng.sample(range(10), 3):
            old, services[service][number] = services[service][number], _pod(service, new[service])
            world.fault(old, at, 9 * DAY)
            _use(world, old, since.pop(old), at + 20.0, retry)
            since[services[service][number]] = at
            new[service] += 1
    for pod, begin in since.items():
        _use(world, pod, begin, 4 * DAY, retry)
    world.traffic(places(40), 5, failing=BY_CHANCE)


@timeline(
    "6 services by their addresses, 40 rollouts a day: 30 % fail for 20 s, {rate} connects/s each",
    days=3, seeds=1, over=[{"rate": 5}, {"rate": 50}], a_day=2, alerts=0,
)  # fmt: skip
def services(world: World, rate: float) -> None:
    """The same, by addresses that stay, behind which the node chooses a pod."""
    rng = dice(world.seed, "services")
    fronts = [Destination(f"10.96.0.{number}", 80) for number in range(10, 16)]
    world.traffic(fronts, rate * 6, failing=BY_CHANCE, programs=programs(8, "client"), retry=1)
    for _ in range(3 * 40):
        world.fault(rng.choice(fronts), rng.uniform(HOUR, 3 * DAY - HOUR), 20.0, share=0.3)


@timeline(
    "a database down for 20 min, used by {pods} pods, each in a namespace of its own",
    days=1, seeds=1,
    over=[{"pods": 2}, {"pods": 12}, {"pods": 60}],
    a_day=5, alerts=4, mentions=(1, 2), alone=False,
)  # fmt: skip
def namespaces(world: World, pods: int) -> Fault:
    """One address is another destination in each network namespace."""
    seen = [_inside(DATABASE, number) for number in range(pods)]
    for number, place in enumerate(seen):
        world.traffic(place, 1.0, failing=BY_CHANCE, programs=program("app", number), retry=1)
    return world.fault(seen, 13 * HOUR, 20 * MINUTE)


def _use(world: World, pod: Destination, begin: float, end: float, retry: float | None) -> None:
    clients = programs(8, "client")
    world.traffic(
        pod, 0.5, failing=BY_CHANCE, programs=clients, begin=begin, end=end, retry=retry
    )  # fmt: skip


def _pod(service: int, number: int) -> Destination:
    return Destination(f"10.244.{service}.{number + 2}", 8000 + service)


def _inside(place: Destination, number: int) -> Destination:
    return place._replace(netns=4_026_532_000 + number, netns_mix=77 + number)
