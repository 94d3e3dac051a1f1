"""What version 1 of the program saved, when all that failed were connects (`version_1.json`).

The file was written by that version, which did what `scenario` does.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tcp_trace.connects.maker import Maker
from tcp_trace.connects.reasons import Reason
from tcp_trace.silences.match import parse_match
from tcp_trace.silences.silences import Silence, Silences
from tests.unit.incidents.incident_world import DATABASE, destination

if TYPE_CHECKING:
    from tcp_trace.connects.events import Destination
    from tests.unit.incidents.incident_world import World

SHOP = Maker("deploy", "shop.service", "docker://3f2a", "b1", "shop --serve")
IN_A_POD = DATABASE._replace(netns=4_026_532_281, netns_mix=7, interface="eth0")


def saved() -> dict[str, Any]:
    """Return the file: `state`, and `notifications` by the names of the golden samples."""
    found: dict[str, Any] = json.loads(Path(__file__).with_suffix(".json").read_text())
    return found


def scenario(world: World) -> None:
    """Let one recover, one be open, one be silenced, and 23 make a storm.

    To that version an address was what failed, also where a name was asked for.
    """

    def fail(at: Destination, host: str, **how: Any) -> None:  # noqa: ANN401 - as World.fail has it
        world.fail(at, host=host, owner=at, **how)

    fail(destination(100), "web.example.com")
    world.mono += 1
    world.succeed(destination(100))
    world.wait(200)
    world.fail()
    fail(IN_A_POD, "db.example.com", reason=Reason.TIMED_OUT, maker=SHOP)
    match = parse_match("10.0.0.101")
    world.incidents.silences = Silences([Silence("s1", match, 0, 10_000_000_000)])
    world.fail(destination(101), times=3)
    world.wait(30)
    for number in range(23):
        fail(destination(number), f"host-{number}.example.com", times=2)
    world.wait(7)
