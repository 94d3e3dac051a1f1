"""A timeline: a world, how long it is watched, and what people may hear of it at most."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from tcp_trace.incidents.notification import Phase
from tests.timelines.world import DAY, World

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.timelines.faults import Fault
    from tests.timelines.observer import Story

    Scene = Callable[..., Fault | Sequence[Fault] | None]

SEEDS = int(os.environ.get("TCP_TRACE_SEEDS", "3"))
"""How many seeds each timeline is run with: more for a thorough run."""


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What people may hear.

    a_day       messages on any one day, at most
    alerts      messages in all, at most, without the daily digests
    mentions    of them mention people, at least and at most
    within      seconds from the first failure of each fault to the message that names it
    alone       whether that must be a message of its own
    share       of the attempts that it says fail, at least
    programs    that it names, at least
    recovers    whether its end must be told
    """

    a_day: int
    alerts: int
    mentions: tuple[int, int] = (0, 0)
    within: float = 15.0
    alone: bool = True
    share: float = 0.0
    programs: int = 1
    recovers: bool = True


class Result(NamedTuple):
    """What a world gave: see `Observer`."""

    busiest: int
    messages: int
    alerts: int
    mentions: int
    stories: tuple[Story, ...]
    lies: tuple[str, ...]
    heard: str


@dataclass(frozen=True)
class Timeline:
    """One row of the page. The scene sets the stage, and returns the faults that must be told."""

    name: str
    days: float
    bounds: Bounds
    scene: Scene
    seeds: int = SEEDS
    settings: dict[str, str] = field(default_factory=dict)
    arguments: dict[str, Any] = field(default_factory=dict)

    def run(self, seed: int) -> Result:
        """Return what people hear with this seed. What was run once is not run again."""
        return _run(self.name, seed)

    def broken(self, seed: int) -> list[str]:
        """Return which bounds do not hold."""
        result, bounds = self.run(seed), self.bounds
        low, high = bounds.mentions
        checks = {
            f"{result.busiest} messages on one day": result.busiest <= bounds.a_day,
            f"{result.alerts} alerts": result.alerts <= bounds.alerts,
            f"{result.mentions} mentions": low <= result.mentions <= high,
        }
        broken = [what for what, holds in checks.items() if not holds]
        told = [what for story in result.stories for what in _untold(story, bounds)]
        return [*broken, *told, *result.lies]


TIMELINES: dict[str, Timeline] = {}


def timeline(
    name: str,
    *,
    days: float,
    seeds: int = SEEDS,
    over: Sequence[dict[str, Any]] = ({},),
    settings: dict[str, str] | None = None,
    **bounds: Any,
) -> Callable[[Scene], Scene]:
    """Make timelines of a scene: one for each of the arguments in `over`, which the name shows."""

    def register(scene: Scene) -> Scene:
        for arguments in over:
            shown = name.format(**arguments).replace("after None s", "never")
            assert shown not in TIMELINES
            TIMELINES[shown] = Timeline(
                shown, days, Bounds(**bounds), scene, seeds, settings or {}, dict(arguments)
            )
        return scene

    return register


@cache
def _run(name: str, seed: int) -> Result:
    of = TIMELINES[name]
    world = World(seed, **of.settings)
    faults = of.scene(world, **of.arguments) or ()
    observer = world.run(of.days * DAY)
    return Result(
        busiest=observer.busiest(),
        messages=observer.messages,
        alerts=len(observer.besides(Phase.DAILY)),
        mentions=observer.mentions,
        stories=tuple(observer.story(each) for each in _many(faults)),
        lies=tuple(observer.lies()),
        heard=observer.timeline(),
    )


def _many(faults: Fault | Sequence[Fault]) -> Sequence[Fault]:
    return faults if isinstance(faults, list | tuple) else [faults]  # type: ignore[list-item]


def _untold(story: Story, bounds: Bounds) -> list[str]:
    told = story.named if bounds.alone else story.listed
    if told is None:
        listed = "" if story.listed is None else f"; among others after {story.listed:.0f} s"
        return [f"an outage was not told of{listed}"]
    checks = {
        f"told after {told:.1f} s": told <= bounds.within,
        f"its share is {story.share}": not bounds.share or (story.share or 0) >= bounds.share,
        f"it names {story.programs} programs": not bounds.alone
        or story.programs >= bounds.programs,
        "its end was not told": not (bounds.recovers and bounds.alone)
        or story.recovered is not None,
    }
    return [what for what, holds in checks.items() if not holds]
