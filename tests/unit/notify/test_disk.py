"""Work on a disk is waited for, but not for ever, and nothing that it took is left behind."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from tcp_trace.notify import disk
from tcp_trace.notify.disk import Disk
from tcp_trace.notify.outbox import Outbox
from tcp_trace.notify.store import Store, StoreError, claim, is_claimed
from tests.unit.notify.samples import notification

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait a short time only."""
    monkeypatch.setattr(disk, "PATIENCE", 0.2)


def test_results_and_errors_come_back() -> None:
    """As if it had been called here, in the order in which it was asked for."""
    done: list[int] = []
    one = Disk()
    one.later(lambda: done.append(1))
    assert one.call(lambda: [*done, 2]) == [1, 2]
    with pytest.raises(ZeroDivisionError):
        one.call(lambda: 1 // 0)
    assert one.call(lambda: 3) == 3


def test_a_job_that_stands_is_given_up() -> None:
    """After it nothing is waited for until it has ended; what it took is given back then."""
    goes_on = threading.Event()
    given_back: list[object] = []
    one = Disk()
    began = time.monotonic()
    with pytest.raises(StoreError, match="does not answer"):
        one.call(lambda: goes_on.wait() and 7, given_back.append)
    assert time.monotonic() - began < 30
    began = time.monotonic()
    for _ in range(100):
        with pytest.raises(StoreError, match="does not answer"):
            one.call(lambda: 1)
    assert time.monotonic() - began < 50 * disk.PATIENCE
    goes_on.set()
    until = time.monotonic() + 10
    while not given_back and time.monotonic() < until:
        time.sleep(0.001)
    assert given_back == [7]
    assert one.call(lambda: 1) == 1


def test_without_a_thread_it_is_done_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """To wait for the disk is better than to keep nothing."""

    def none(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    one = Disk()
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", none)
        assert one.call(threading.get_ident) == threading.get_ident()
    assert one.call(threading.get_ident) != threading.get_ident()


def test_the_thread_ends_with_its_disk() -> None:
    """No thread stays for a disk that nobody uses any more."""
    one = Disk()
    thread = one.call(threading.current_thread)
    del one
    thread.join(10)
    assert not thread.is_alive()


def test_an_outbox_whose_disk_stood_is_whole_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit that stands costs durability while it does; then all that is pending is written."""
    path = tmp_path / "outbox.db"
    outbox = Outbox(path)
    goes_on = threading.Event()
    save = Store.save

    def stand(*args: object, **kwargs: object) -> None:
        goes_on.wait()
        save(*args, **kwargs)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(Store, "save", stand)
        outbox.commit([notification("a")])
        assert outbox.degraded == "the disk does not answer"
        row = outbox.take()
        assert row is not None
        outbox.mark_sent(row)
        outbox.commit([notification("b")])
        goes_on.set()
    until = time.monotonic() + 20
    while outbox.degraded and time.monotonic() < until:
        outbox._mirror.retry_at = 0.0
        outbox.tend()
        time.sleep(0.01)
    assert outbox.degraded is None
    outbox.close()
    assert not is_claimed(path)
    rows = Store(path).load().rows
    assert len(rows) == 1
    assert '"b' in rows[0].body


def test_a_lock_that_was_got_too_late_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the service would take itself for another instance, for good."""
    path = tmp_path / "outbox.db"
    goes_on = threading.Event()

    def stand(where: Path) -> int:
        goes_on.wait()
        return claim(where)

    with monkeypatch.context() as patched:
        patched.setattr("tcp_trace.notify.mirror.claim", stand)
        outbox = Outbox(path)
        assert outbox.degraded == "the disk does not answer"
    goes_on.set()
    until = time.monotonic() + 20
    while outbox.degraded and time.monotonic() < until:
        outbox._mirror.retry_at = 0.0
        outbox.tend()
        time.sleep(0.01)
    assert not outbox.degraded
    assert not outbox.taken
    outbox.close()
