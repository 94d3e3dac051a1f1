"""Fill a small tmpfs, or make it read-only, under an outbox. Run in a mount namespace of its own.

`unshare -m python full_disk.py FOLDER full|readonly` exits with 0 and prints `all as expected`.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

from tcp_trace.notify.mirror import RETRY_INTERVAL
from tcp_trace.notify.outbox import Outbox
from tests.reliability.filling import fill
from tests.unit.notify.samples import Clock, notification


def mount(folder: Path, options: str) -> None:
    """Mount or remount the tmpfs."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)


def on_disk(path: Path) -> list[str]:
    """Return the ids in the file."""
    database = sqlite3.connect(path)
    rows = database.execute("SELECT body FROM notification ORDER BY seq").fetchall()
    database.close()
    return [json.loads(row[0])["id"] for row in rows]


def drain(outbox: Outbox, count: int) -> list[str]:
    """Send so many; return their ids."""
    ids = []
    for _ in range(count):
        row = outbox.take()
        assert row is not None
        ids.append(row.notification.id)
        outbox.mark_sent(row)
    return ids


def break_disk(folder: Path, fault: str) -> None:
    """Leave no byte free, or no way to write."""
    if fault == "full":
        fill(folder)
    else:
        # A file open for writing keeps a mount from being made read-only: only the bind is.
        subprocess.run(["mount", "-o", "remount,bind,ro", str(folder)], check=True)


def mend_disk(folder: Path, fault: str) -> None:
    """Undo it."""
    if fault == "full":
        (folder / "filler").unlink()
    else:
        subprocess.run(["mount", "-o", "remount,bind,rw", str(folder)], check=True)


def main(folder: Path, fault: str) -> None:
    """Go through the fault twice: in use, and at the start."""
    mount(folder, "size=1m")
    path, clock = folder / "outbox.db", Clock()
    outbox = Outbox(path, clock=clock)
    outbox.commit(map(notification, "abc"), {"saved": 1})
    if fault == "readonly":
        outbox.close()  # what is open stays writable: this fault is met when opening
    break_disk(folder, fault)
    if fault == "readonly":
        outbox = Outbox(path, clock=clock)
        assert outbox.pending == 0, outbox.pending
    outbox.commit((notification(f"n{number}") for number in range(300)), {"saved": 2})
    assert outbox.degraded, "not degraded"
    print("degraded:", outbox.degraded)  # noqa: T201 - seen when the test fails
    first = drain(outbox, 4)
    expected = ["a", "b", "c", "n0"] if fault == "full" else ["n0", "n1", "n2", "n3"]
    assert first == expected, first
    clock.advance(RETRY_INTERVAL)
    outbox.tend()
    assert outbox.degraded, "not degraded after a second try"

    mend_disk(folder, fault)
    clock.advance(RETRY_INTERVAL)
    outbox.tend()
    assert outbox.degraded is None, outbox.degraded
    left = [f"n{number}" for number in range(300) if f"n{number}" not in first]
    left = left if fault == "full" else ["a", "b", "c", *left]
    outbox.close()
    assert on_disk(path) == left, on_disk(path)
    outbox = Outbox(path, clock=clock)
    assert outbox.load_state() == {"saved": 2}
    assert drain(outbox, len(left)) == left
    outbox.close()
    if fault == "full":
        leave_little_room(folder)
    print(  # noqa: T201 - a figure
        f"300 notifications put meanwhile: {len(first)} sent from memory, all {len(left)} others on"
        f" disk {RETRY_INTERVAL:g} s after it could be written"
    )
    print("all as expected")  # noqa: T201 - what the test looks for


def leave_little_room(folder: Path) -> None:
    """Let there be room for notifications, and not for a memory: it is given up, and alone."""
    path, clock = folder / "outbox.db", Clock()
    outbox = Outbox(path, clock=clock)
    fill(folder)
    filler = folder / "filler"
    os.truncate(filler, filler.stat().st_size - 100_000)
    outbox.remember("x" * 500_000)
    outbox.commit([notification("z")], {"saved": 3})
    assert on_disk(path) == ["z"], on_disk(path)
    clock.advance(RETRY_INTERVAL)
    outbox.tend()
    assert outbox.degraded is None, outbox.degraded
    outbox.remember("x" * 500_000)
    outbox.close()
    outbox = Outbox(path, clock=clock)
    assert outbox.load_state() == {"saved": 3}
    assert outbox.load_memory() is None
    assert drain(outbox, 1) == ["z"]
    outbox.close()
    filler.unlink()


logging.disable()
main(Path(sys.argv[1]), sys.argv[2])
