"""Fill the log's small tmpfs, and only it, under a running pipeline. Run with `unshare -m`.

`unshare -m python full_log.py FOLDER URL` prints JSON of what it cost.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tcp_trace.log import logs
from tcp_trace.notify.outbox import present
from tests.reliability.filling import fill
from tests.reliability.pipeline import await_sent, feed, record, service, settings

if TYPE_CHECKING:
    import logging

BEFORE, FULL, AFTER = 10, 200, 10


def records(count: int, address: str = "192.0.2.1") -> list[bytes]:
    """Return so many failures of one destination."""
    return [record(number, address) for number in range(count)]


def mount(folder: Path) -> None:
    """Make a folder a small file system of its own."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    subprocess.run(command, check=True)


def lines_emitted(handler: logging.Handler) -> list[int]:
    """Return a list that fills with the lines of each record."""
    emitted: list[int] = []

    def note(record: logging.LogRecord) -> bool:
        emitted.append(len(vars(record).get(logs.EACH, "1")))
        return True

    handler.addFilter(note)
    return emitted


def main(folder: Path, url: str) -> None:
    """Fail before, while and after the log's disk is full."""
    logs.FLUSH_SECONDS = 60.0  # what is counted below is to be complete
    log_folder, state = folder / "log", folder / "state"
    state.mkdir()
    mount(log_folder)
    given = settings(state, url)
    handler = logs.setup(given, log_folder / "log", sys.stderr)
    emitted = lines_emitted(handler)
    fed = service(given)
    fed._messages.start()
    feed(fed, records(BEFORE))
    logs.flush()
    fill(log_folder)
    feed(fed, records(FULL))
    feed(fed, [record(0, "192.0.2.2")])  # an incident of its own: a message while the disk is full
    told_while_full = await_sent(fed._messages, 2)
    logs.flush()
    lost_while_full = handler.lost
    (log_folder / "filler").unlink()
    # Not the destination from before, whose further lines are summed up.
    feed(fed, records(AFTER, "192.0.2.3"))
    logs.flush()
    text, count = (log_folder / "log").read_text(), sum(emitted)
    fed._stop()
    print(  # noqa: T201 - the answer
        json.dumps(
            {
                "told": told_while_full,
                "emitted": count,
                "degraded": fed._messages.outbox.degraded,
                "lost": lost_while_full,
                "lost_after": handler.lost - lost_while_full,
                "failures": fed._incidents.dump(present())["incidents"][0]["tally"]["total"],
                "log": text,
            }
        )
    )


main(Path(sys.argv[1]), sys.argv[2])
