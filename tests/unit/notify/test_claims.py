"""Whose an outbox is, where two processes have one directory."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from tcp_trace.notify.mirror import RETRY_INTERVAL
from tcp_trace.notify.outbox import Outbox
from tcp_trace.notify.store import is_claimed
from tests.unit.notify.samples import Clock, notification
from tests.unit.notify.test_outbox import drain, on_disk

if TYPE_CHECKING:
    from pathlib import Path


def test_two_processes_do_not_share_one_outbox(path: Path) -> None:
    """A second one goes on from memory and takes over what is left when the first ends."""
    first, clock = Outbox(path), Clock()
    first.commit([notification("a")])
    second = Outbox(path, clock=clock)
    assert (first.taken, second.taken) == (False, True)
    assert second.degraded == "another tcp-trace uses it"
    second.commit([notification("b")])
    assert on_disk(path) == ["a"]
    first.close()
    clock.advance(RETRY_INTERVAL)
    second.tend()
    assert not second.taken
    assert second.degraded is None
    assert on_disk(path) == ["a", "b"]
    assert drain(second) == ["a", "b"]
    second.close()


def test_one_that_does_not_wait_stays_the_second(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It says once what it is, and touches the file not even when the first has ended."""
    first, clock = Outbox(path), Clock()
    first.commit([notification("a")])
    second = Outbox(path, clock=clock, waits=False)
    first.close()
    clock.advance(RETRY_INTERVAL)
    second.commit([notification("b")])
    assert second.taken
    assert on_disk(path) == ["a"]
    assert second.load_state() is None
    second.close()
    assert caplog.text.count("another instance has STATE_DIR") == 1
    restarted = Outbox(path)
    assert (restarted.taken, drain(restarted)) == (False, ["a"])
    restarted.close()


def test_a_disk_that_fails_gives_nobody_the_outbox(path: Path) -> None:
    """While the file cannot be written, the process that has it still sends what is pending."""
    clock = Clock()
    first = Outbox(path, clock=clock)
    first.commit([notification("a")])
    assert first._mirror._store is not None
    first._mirror._store._db.close()  # what a disk's error does: the file is opened anew later
    first.commit([notification("b")])
    assert first.degraded is not None
    second = Outbox(path, clock=clock)
    assert (first.taken, second.taken) == (False, True)
    clock.advance(RETRY_INTERVAL)
    first.tend()
    assert first.degraded is None
    assert on_disk(path) == ["a", "b"]
    second.close()
    first.close()


def test_looking_takes_it_from_nobody(path: Path) -> None:
    """Whether somebody has it can be asked at any time, also while it is being taken."""
    assert not is_claimed(path)
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(0.001):
            is_claimed(path)

    thread = threading.Thread(target=look)
    thread.start()
    for _ in range(50):
        outbox = Outbox(path)
        assert not outbox.taken
        assert is_claimed(path)
        outbox.close()
    stop.set()
    thread.join()
    assert not is_claimed(path)


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_looking_follows_and_waits_for_nothing(path: Path, tmp_path: Path, kind: str) -> None:
    """The directory is the service user's: a link or a pipe there holds up nobody who looks."""
    lock = path.with_name(path.name + ".lock")
    lock.parent.mkdir(exist_ok=True)
    match kind:
        case "link":
            lock.symlink_to(tmp_path / "elsewhere")
            with pytest.raises(OSError, match="symbolic links"):
                is_claimed(path)
        case "pipe":
            os.mkfifo(lock)
            assert not is_claimed(path)
        case "folder":
            lock.mkdir()
            assert not is_claimed(path)
