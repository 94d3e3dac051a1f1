"""Freeze the disk of log and state under a running pipeline, and thaw it. Run with `unshare -m`.

`unshare -m python standing_disk.py FOLDER URL` prints JSON of what it cost.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tcp_trace.log import logs
from tests.reliability.pipeline import await_sent, feed, record, service, settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.reliability.pipeline import Fed

FOR_GOOD = 60
"""Seconds after which a disk is thawed that nobody thawed."""


def mount(folder: Path) -> Path:
    """Mount a file system that can be frozen, which a tmpfs cannot; return where."""
    disk, image = folder / "disk", folder / "image"
    disk.mkdir()
    image.write_bytes(b"")
    subprocess.run(["truncate", "-s", "32M", str(image)], check=True)
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(disk)], check=True)
    return disk


def freeze(disk: Path) -> Callable[[], None]:
    """Let the disk stand until the function that is returned is called, once, in time."""
    subprocess.run(["fsfreeze", "--freeze", str(disk)], check=True)
    thaw = ["fsfreeze", "--unfreeze", str(disk)]
    guard = subprocess.Popen(["sh", "-c", f"sleep {FOR_GOOD}; fsfreeze --unfreeze {disk}"])

    def end() -> None:
        if guard.poll() is not None:
            raise RuntimeError("the disk was thawed too early to prove anything")
        guard.kill()
        guard.wait()
        subprocess.run(thaw, check=True)

    return end


def stand(fed: Fed, disk: Path) -> dict[str, object]:
    """Fail while the disk stands, and until all is well again; return what that cost."""
    thaw = freeze(disk)
    # An incident of its own: a message while the disk stands.
    turns = [timed_feed(fed, record(0, "192.0.2.2"))]
    sent_while_standing = await_sent(fed._messages, 2)
    for number in range(20):
        turns.append(timed_feed(fed, record(number, "192.0.2.3")))
        time.sleep(0.05)
    degraded = fed._messages.outbox.degraded
    thaw()

    until = time.monotonic() + 60
    while fed._messages.outbox.degraded and time.monotonic() < until:
        fed._turn()
        time.sleep(0.1)
    return {
        "first_turn": turns[0],
        "slowest_later": max(turns[1:]),
        "sent_while_standing": sent_while_standing,
        "degraded": degraded,
        "recovered": fed._messages.outbox.degraded is None,
    }


def stop_while_it_stands(fed: Fed, disk: Path) -> float:
    """Freeze the disk once more and end; return the seconds that took."""
    thaw = freeze(disk)
    feed(fed, [record(0, "192.0.2.4")])
    start = time.monotonic()
    fed._stop()
    seconds = time.monotonic() - start
    thaw()
    return seconds


def main(folder: Path, url: str) -> None:
    """Fail before, while and after the disk stands; end while it stands once more."""
    disk = mount(folder)
    given = settings(disk, url)
    handler = logs.setup(given, disk / "log", sys.stderr)
    fed = service(given)
    fed._messages.start()
    feed(fed, [record(0, "192.0.2.1")])
    await_sent(fed._messages, 1)
    logs.flush()

    cost = stand(fed, disk)
    assert handler.sink.flush(60)
    text = (disk / "log").read_text()
    stopped_in = stop_while_it_stands(fed, disk)
    print(  # noqa: T201 - the answer
        json.dumps(
            {
                **cost,
                "lost": handler.lost,
                "log": text,
                "stop": stopped_in,
            }
        ),
        flush=True,
    )


def timed_feed(fed: Fed, one: bytes) -> float:
    """Let the service take in one record; return the seconds that took."""
    start = time.monotonic()
    feed(fed, [one])
    return time.monotonic() - start


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
