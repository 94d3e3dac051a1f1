"""A process to be killed: it puts notifications and sends them, and says what is committed.

`python crashing.py DATABASE URL FIRST COUNT` prints `state ID MEMORY` at its start, `committed ID`
after each commit returned, and `drained` when nothing is pending. The notifications are numbered
from FIRST on. The memory has the ID of the commit that follows, many times.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from tcp_trace.incidents.notification import Notification, Phase
from tcp_trace.notify.outbox import Outbox
from tcp_trace.notify.pacing import Pacing
from tcp_trace.notify.sender import Sender
from tests.unit.notify.samples import Address, notification, to_slack

REPEATED = 1_000


def render(each: Notification, _: float | None) -> dict[str, object]:
    """Make a payload to audit."""
    return {"id": each.id, "incident": each.incident, "failures": each.failures}


def tell(line: str) -> None:
    """Write a line in one piece: a kill leaves whole lines only."""
    os.write(1, f"{line}\n".encode())


def main(database: Path, url: str, first: int, count: int) -> None:
    """Put and send, until killed."""
    outbox = Outbox(database)
    remembered = set((outbox.load_memory() or "None").split())
    tell(f"state {(outbox.load_state() or {}).get('last')} {'+'.join(remembered)}")
    pacing = Pacing(rate=400.0, burst=1, first_backoff=0.01, longest_backoff=0.05)
    Sender(outbox, to_slack(Address(url), deadline=5.0), render, pacing=pacing).start()
    for number in range(first, first + count):
        name, kind = f"n{number:06}", Phase.UPDATED if number % 3 else Phase.RESOLVED
        outbox.remember(" ".join([name] * REPEATED))
        outbox.commit([notification(name, f"i{number % 7}", kind)], {"last": name})
        tell(f"committed {name}")
        time.sleep(0.002)
    while outbox.pending:
        time.sleep(0.005)
    tell("drained")


main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
