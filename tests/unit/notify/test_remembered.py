"""The memory beside the outbox: it costs the poll loop no write, and notifications nothing."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest

from tcp_trace.notify.mirror import RETRY_INTERVAL
from tcp_trace.notify.outbox import Outbox
from tcp_trace.notify.reading import read_state
from tcp_trace.notify.store import Store, StoreError
from tests.unit.notify.samples import Clock, notification

if TYPE_CHECKING:
    from pathlib import Path

LARGE = "x" * 500_000


def on_disk(path: Path) -> str | None:
    """Return the memory that another process can read in the file."""
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    row = database.execute("SELECT body FROM state WHERE name = 'memory'").fetchone()
    database.close()
    return None if row is None else str(row[0])


def test_it_waits_for_whoever_writes_next(path: Path) -> None:
    """For a commit, for a sender that tends, or for the end."""
    outbox = Outbox(path)
    outbox.remember("one")
    assert on_disk(path) is None
    outbox.tend()
    assert on_disk(path) == "one"
    outbox.remember(LARGE)
    assert on_disk(path) == "one"
    outbox.commit([notification("a")], {"open": ["a"]})
    assert on_disk(path) == LARGE
    outbox.remember("three")
    outbox.close()
    assert on_disk(path) == "three"


def test_the_next_process_has_it(path: Path) -> None:
    """Once; it is no part of the incidents' state."""
    outbox = Outbox(path)
    assert outbox.load_memory() is None
    outbox.remember("one\ntwo")
    outbox.commit([notification("a")], {"open": ["a"]})
    outbox.close()
    restarted = Outbox(path)
    assert restarted.load_memory() == "one\ntwo"
    assert restarted.load_memory() is None
    assert restarted.load_state() == {"open": ["a"]}
    restarted.close()
    assert on_disk(path) == "one\ntwo"
    assert read_state(path) == {"open": ["a"]}


def test_nothing_is_kept_for_no_file() -> None:
    """And that is no fault."""
    outbox = Outbox(None)
    outbox.remember(LARGE)
    outbox.tend()
    assert outbox.load_memory() is None
    assert outbox.degraded is None
    outbox.close()


def test_a_memory_that_cannot_be_written_takes_nothing_with_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried once, after what is pending is written; the outbox is on disk again soon."""
    clock = Clock()
    outbox = Outbox(path, clock=clock)

    def refuse(_: Store, __: str) -> None:
        raise StoreError("SQLITE_FULL")

    with monkeypatch.context() as patched:
        patched.setattr(Store, "remember", refuse)
        outbox.remember(LARGE)
        outbox.commit([notification("a")], {"open": ["a"]})
        assert outbox.degraded == "SQLITE_FULL"
        clock.advance(RETRY_INTERVAL)
        outbox.tend()
        assert outbox.degraded is None
        outbox.remember(LARGE)
        outbox.commit([notification("b")], {"open": ["a", "b"]})
        outbox.close()
    restarted = Outbox(path, clock=clock)
    assert restarted.load_state() == {"open": ["a", "b"]}
    assert restarted.pending == 2
    assert restarted.load_memory() is None
    restarted.close()


@pytest.mark.parametrize(
    "damage", ["CAST(X'ff00fe' AS TEXT)", "''", "printf('%.*c', 5000000, 'x')"]
)
def test_a_damaged_memory_costs_nothing_else(path: Path, damage: str) -> None:
    """The outbox and the incidents are read; whose the memory is says what it is worth."""
    outbox = Outbox(path)
    outbox.remember("one")
    outbox.commit([notification("a")], {"open": ["a"]})
    outbox.close()
    database = sqlite3.connect(path)
    database.execute(f"UPDATE state SET body = {damage} WHERE name = 'memory'")  # noqa: S608 - ours
    database.commit()
    database.close()
    restarted = Outbox(path)
    assert restarted.degraded is None
    assert restarted.load_state() == {"open": ["a"]}
    assert restarted.pending == 1
    assert restarted.load_memory() != "one"
    restarted.close()
