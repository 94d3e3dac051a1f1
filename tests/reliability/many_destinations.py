"""100,000 destinations fail within seconds, in a process of its own; prints JSON of what it cost.

`python many_destinations.py FOLDER URL ALERT_AFTER`
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from tcp_trace.log import logs
from tcp_trace.notify.outbox import present
from tests.reliability.pipeline import feed, record, service, settings

COUNT = 100_000
STEP = 1_000
GATHERED = 6.0


def resident() -> float:
    """Return MB of memory in use."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def main(folder: Path, url: str, after: str) -> None:
    """Feed them, let the digest leave, and say what it took."""
    given = settings(folder, url, ALERT_AFTER=after)
    logs.setup(given, folder / "log", sys.stderr)
    fed = service(given)
    fed._messages.start()
    feed(fed, [record(0, "10.255.0.1")])
    before, began = resident(), time.process_time()
    at: dict[int, float] = {}
    for first in range(0, COUNT, STEP):
        numbers = range(first, first + STEP)
        feed(fed, [record(n, f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}") for n in numbers])
        at[first + STEP] = resident()
    cpu = time.process_time() - began
    until = time.monotonic() + GATHERED
    while time.monotonic() < until:
        fed._turn()
        time.sleep(0.05)
    state, below = fed._incidents.dump(present()), fed._incidents.below_threshold
    alone = [incident["tally"]["total"] for incident in state["incidents"]]
    storm = state["storm"]
    fed._stop()
    print(  # noqa: T201 - the answer
        json.dumps(
            {
                "before": before,
                "at_20000": at[20_000],
                "at_all": at[COUNT],
                "cpu": cpu,
                "counted": sum(alone) + below + (storm["tally"]["total"] if storm else 0),
                "told_apart": len(alone) + (len(storm["members"]) if storm else 0),
                "disk": sum(path.stat().st_size for path in folder.glob("outbox.db*")),
            }
        )
    )


main(Path(sys.argv[1]), *sys.argv[2:])
