"""Days in seconds: what people hear of a host, with the real core, in simulated time.

A timeline is a scene and its bounds. The scene sets the stage of a `World`: programs that connect,
and what breaks; it returns the faults that people must hear of.

    @timeline("cache down for 5 min", days=1, a_day=3, alerts=2, mentions=(1, 1))
    def cache(world: World) -> Fault:
        world.traffic(places(200), rate=5, failing=0.0005)
        world.traffic(CACHE, rate=2, programs=programs(3), retry=1)
        return world.fault(CACHE, at=10 * HOUR, lasts=5 * MINUTE)

Put it into one of the modules of `rows.py`. `python3 -m tests.timelines "cache down"` shows what
people hear, `python3 -m tests.timelines --write` writes docs/CALM.md.

    chance.py      seeded chance, and rates that change in steps
    places.py      the cast: programs and destinations
    faults.py      what breaks, and what came of it
    kernel.py      the kernel's counts; a success is no event
    core.py        the service's part: the real `Incidents` with the defaults
    post.py        the way to a webhook that may be away: the real outbox and sender
    world.py       time, traffic, and all of it together
    observer.py    what was heard, and what is wrong with it
    timeline.py    bounds, and who keeps them
    page.py        docs/CALM.md
"""
