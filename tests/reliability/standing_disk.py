"""Freeze the disk of log and state under a running pipeline, and thaw it. Run with `unshare -m`.

`unshare -m python standing_disk.py FOLDER URL` prints JSON of what it cost.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tcp_trace.log import logs
from tcp_trace.notify.routing import DEFAULT
from tests.reliability.pipeline import feed, record, service, settings

if TYPE_CHECKING:
    from tcp_trace.service.messages import Messages

THAW_AFTER = 12.0


def main(folder: Path, url: str) -> None:
    """Fail before, while and after the disk stands; end while it stands once more."""
    disk, image = folder / "disk", folder / "image"
    disk.mkdir()
    image.write_bytes(b"")
    subprocess.run(["truncate", "-s", "32M", str(image)], check=True)
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(disk)], check=True)
    given = settings(disk, url)
    handler = logs.setup(given, disk / "log", sys.stderr)
    fed = service(given)
    fed._messages.start()
    feed(fed, [record(0, "192.0.2.1")])
    await_sent(fed._messages, 1)
    logs.flush()

    subprocess.run(["fsfreeze", "--freeze", str(disk)], check=True)
    thaw = ["fsfreeze", "--unfreeze", str(disk)]
    timer = threading.Timer(THAW_AFTER, lambda: subprocess.run(thaw, check=True))
    timer.start()
    began, turns = time.monotonic(), []
    feed(fed, [record(0, "192.0.2.2")])  # an incident of its own: a message while the disk stands
    turns.append(time.monotonic() - began)
    sent_while_standing = await_sent(fed._messages, 2)
    for number in range(20):
        start = time.monotonic()
        feed(fed, [record(number, "192.0.2.3")])
        turns.append(time.monotonic() - start)
        time.sleep(0.05)
    degraded = fed._messages.outbox.degraded
    before_thaw = time.monotonic() - began
    timer.join()

    until = time.monotonic() + 20
    while fed._messages.outbox.degraded and time.monotonic() < until:
        fed._turn()
        time.sleep(0.1)
    recovered = fed._messages.outbox.degraded is None
    logs.flush()
    text = (disk / "log").read_text()
    subprocess.run(["fsfreeze", "--freeze", str(disk)], check=True)
    subprocess.Popen(f"sleep {THAW_AFTER}; fsfreeze --unfreeze {disk}", shell=True)  # noqa: S602
    feed(fed, [record(0, "192.0.2.4")])
    start = time.monotonic()
    fed._stop()
    print(  # noqa: T201 - the answer
        json.dumps(
            {
                "first_turn": turns[0],
                "slowest_later": max(turns[1:]),
                "before_thaw": before_thaw,
                "sent_while_standing": sent_while_standing,
                "degraded": degraded,
                "recovered": recovered,
                "lost": handler.lost,
                "log": text,
                "stop": time.monotonic() - start,
            }
        ),
        flush=True,
    )


def await_sent(messages: Messages, wanted: int) -> int:
    """Wait for so many messages to be sent, 6 s at most; return how many were."""
    until = time.monotonic() + 6
    while time.monotonic() < until and messages.statistics[DEFAULT].sent < wanted:
        time.sleep(0.02)
    return messages.statistics[DEFAULT].sent


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
