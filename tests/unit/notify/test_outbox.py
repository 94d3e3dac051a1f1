"""The outbox on real files: what is on disk when, and what a failing disk costs."""

from __future__ import annotations

import json
import logging
import sqlite3
from typing import TYPE_CHECKING

import pytest

from tcp_trace.incidents.notification import Phase
from tcp_trace.notify.mirror import RETRY_INTERVAL
from tcp_trace.notify.outbox import Outbox
from tcp_trace.notify.queue import Limits
from tcp_trace.notify.store import SCHEMA_VERSION
from tests.unit.notify.samples import Clock, notification, update

if TYPE_CHECKING:
    from pathlib import Path


def on_disk(path: Path) -> list[str]:
    """Return the ids that another process can read in the file, oldest first."""
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    rows = database.execute("SELECT body FROM notification ORDER BY seq").fetchall()
    database.close()
    return [json.loads(row[0])["id"] for row in rows]


def spoil(path: Path, damage: str) -> None:
    """Damage the file in one of several ways."""
    if damage == "newer":
        database = sqlite3.connect(path)
        database.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
        database.close()
    else:
        with path.open("r+b") as file:
            file.seek(0 if damage == "text" else 5 * 4096)
            file.write(b"this is no database" * 1_000)


def drain(outbox: Outbox) -> list[str]:
    """Take and mark all as sent; return their ids."""
    ids = []
    while row := outbox.take():
        ids.append(row.notification.id)
        outbox.mark_sent(row)
    return ids


def test_a_notification_is_on_disk_before_it_can_be_tried(path: Path) -> None:
    """When `put` returns, or a listener is called, the row is committed."""
    outbox = Outbox(path)
    seen: list[list[str]] = []
    outbox.listen(lambda: seen.append(on_disk(path)))
    outbox.commit([notification("a")])
    assert seen == [["a"]]
    assert outbox.degraded is None
    outbox.close()


def test_it_stays_on_disk_until_it_is_sent(path: Path) -> None:
    """A row that is being sent is still there, and gone when it was."""
    outbox = Outbox(path)
    outbox.commit([notification("a")])
    row = outbox.take()
    assert row is not None
    assert on_disk(path) == ["a"]
    outbox.mark_sent(row)
    assert on_disk(path) == []
    outbox.close()


def test_merged_rows_are_one_on_disk(path: Path) -> None:
    """A day without Slack costs a row per incident."""
    outbox = Outbox(path)
    for number in range(20):
        outbox.commit([notification("a", "i") if number == 0 else update(f"u{number}", "i")])
        row = outbox.take()
        assert row is not None
        outbox.mark_retry(row)
    assert on_disk(path) == ["a"]
    outbox.close()
    restarted = Outbox(path)
    row = restarted.take()
    assert row is not None
    assert row.notification.failures == 20
    restarted.close()


def test_what_is_pending_survives_a_restart_in_order(path: Path) -> None:
    """Another process finds what this one left, with its age, and puts new ones behind."""
    clock = Clock()
    outbox = Outbox(path, clock=clock)
    outbox.commit([notification("a"), notification("b", "j", Phase.RESOLVED)])
    outbox.close()
    restarted = Outbox(path, clock=Clock(mono=5.0, wall=clock.wall + 600))
    restarted.commit([notification("c"), notification("d", "j")])
    row = restarted.take()
    assert row is not None
    assert row.created.mono == 5.0 - 600
    restarted.mark_retry(row)
    row.attempts = 0
    assert drain(restarted) == ["a", "b", "c", "d"]
    restarted.close()


def test_state_and_notifications_are_one_transaction(path: Path) -> None:
    """The state comes back as it was committed last, with the notifications it promised."""
    outbox = Outbox(path)
    assert outbox.load_state() is None
    outbox.commit([notification("a")], {"open": ["a"]})
    outbox.commit([], {"open": ["a"], "n": 2})
    outbox.commit([notification("b")])
    outbox.close()
    restarted = Outbox(path)
    assert restarted.load_state() == {"open": ["a"], "n": 2}
    assert restarted.pending == 2
    restarted.close()


def test_memory_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a path nothing is written, and that is no fault."""
    monkeypatch.chdir(tmp_path)
    outbox = Outbox(None)
    outbox.commit([notification("a")], {"x": 1})
    assert outbox.degraded is None
    assert drain(outbox) == ["a"]
    outbox.close()
    assert list(tmp_path.iterdir()) == []


def test_every_drop_is_counted_by_its_reason_and_logged(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Rows, bytes, age and rejection: whatever is not sent is told."""
    clock = Clock()
    limits = Limits(rows=2, size=2_000, age=50.0)
    outbox = Outbox(path, limits, clock)
    outbox.commit(map(notification, "abc"))
    outbox.commit([notification("x" * 2_000)])
    outbox.commit([notification("d")])
    row = outbox.take()
    assert row is not None
    outbox.mark_rejected(row, "rejected")
    outbox.commit([notification("e")])
    clock.advance(51.0)
    outbox.tend()
    assert outbox.drops == {"rows": 2, "bytes": 1, "rejected": 1, "age": 2}
    assert (outbox.pending, on_disk(path)) == (0, [])
    dropped = [record for record in caplog.records if record.message == "dropped a notification"]
    assert len(dropped) == 6
    assert dropped[-1].__dict__["reason"] == "age"
    outbox.close()


def test_the_files_are_for_their_owner_only(path: Path) -> None:
    """What a host connects to is nobody else's business."""
    outbox = Outbox(path)
    outbox.commit([notification("a")])
    modes = {each.name: each.stat().st_mode & 0o077 for each in path.parent.iterdir()}
    assert modes == dict.fromkeys(modes, 0)
    assert path.parent.stat().st_mode & 0o077 == 0
    outbox.close()


def test_commits_wait_for_the_disk(path: Path) -> None:
    """The journal is a WAL and every commit is synced: power may fail."""
    outbox = Outbox(path)
    assert outbox._mirror._store is not None
    database = outbox._mirror._store._db
    assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert database.execute("PRAGMA synchronous").fetchone() == (2,)
    assert database.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
    outbox.close()


@pytest.mark.parametrize("state", ["no JSON", "[" * 100_000])
def test_a_state_that_is_no_json_is_moved_aside(path: Path, state: str) -> None:
    """However it is spoilt, the next start goes on."""
    Outbox(path).close()
    with sqlite3.connect(path) as database:
        database.execute("INSERT INTO state VALUES ('incidents', ?)", (state,))
    database.close()
    restarted = Outbox(path)
    assert restarted.degraded is None
    assert len(list(path.parent.glob("*spoilt*"))) == 1
    restarted.close()


def test_a_file_spoilt_while_it_is_used_costs_nothing_pending(path: Path) -> None:
    """Memory leads: the new file gets all that is pending, also what the old one had."""
    outbox = Outbox(path)
    outbox.commit(notification(f"n{number}") for number in range(200))
    assert outbox._mirror._store is not None
    outbox._mirror._store._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    spoil(path, "page")
    outbox._mirror._store._db.execute("PRAGMA cache_size = 0")
    for number in range(200):
        row = outbox.take()
        assert row is not None
        outbox.mark_sent(row)
        outbox.commit([notification(f"m{number}")])
    assert len(list(path.parent.glob("*spoilt*"))) == 1
    assert outbox.degraded is None
    assert on_disk(path) == [f"m{number}" for number in range(200)]
    outbox.close()


def test_a_row_that_cannot_be_read_is_dropped_alone(path: Path) -> None:
    """One bad row (another version's) is counted, the others are kept."""
    outbox = Outbox(path)
    outbox.commit(map(notification, "abcde"))
    outbox.close()
    database = sqlite3.connect(path)
    bad = [
        "no JSON",
        "[]",
        "[" * 100_000,
        json.dumps(notification("x").to_dict() | {"version": 99}),
    ]
    for seq, body in enumerate(bad, start=1):
        database.execute("UPDATE notification SET body = ? WHERE seq = ?", (body, seq))
    database.commit()
    database.close()
    restarted = Outbox(path)
    assert restarted.drops == {"unreadable": 4}
    assert drain(restarted) == ["e"]
    assert on_disk(path) == []
    restarted.close()


def test_a_folder_that_cannot_be_made_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Without its folder the outbox goes on from memory, and writes when it can."""
    caplog.set_level(logging.INFO)
    (tmp_path / "state").write_text("a file, no folder")
    clock = Clock()
    outbox = Outbox(tmp_path / "state" / "outbox.db", clock=clock)
    for name in "abc":
        outbox.commit([notification(name)])
        clock.advance(RETRY_INTERVAL)
    assert outbox.degraded == "FileExistsError: File exists"
    assert caplog.text.count("cannot be written") == 1
    (tmp_path / "state").unlink()
    outbox.tend()
    assert outbox.degraded is None
    assert caplog.text.count("on disk again") == 1
    assert on_disk(tmp_path / "state" / "outbox.db") == ["a", "b", "c"]
    outbox.close()


def test_a_clock_that_jumps_back_makes_nothing_old(path: Path) -> None:
    """A wall clock set back between two processes does not give a message a negative age."""
    outbox = Outbox(path, clock=Clock(wall=2_000_000_000.0))
    outbox.commit([notification("a")])
    outbox.close()
    restarted = Outbox(path, clock=Clock(mono=7.0, wall=1_000_000_000.0))
    row = restarted.take()
    assert row is not None
    assert row.created.mono == 7.0
    restarted.close()


def test_a_clock_that_jumps_ahead_drops_nothing_of_this_process(path: Path) -> None:
    """Ages are measured by the clock that does not jump."""
    clock = Clock()
    outbox = Outbox(path, Limits(age=100.0), clock)
    outbox.commit([notification("a")])
    clock.wall += 10_000_000
    outbox.tend()
    assert drain(outbox) == ["a"]
    outbox.close()


def test_only_a_few_spoilt_files_are_kept(path: Path) -> None:
    """A disk that spoils the file again and again is not filled with them."""
    clock = Clock()
    for _ in range(6):
        outbox = Outbox(path, clock=clock)
        outbox.commit(map(notification, "ab"))
        outbox.close()
        spoil(path, "text")
        clock.advance(1.0)
    Outbox(path, clock=clock).close()
    assert len(list(path.parent.glob("*spoilt*"))) == 3


def test_after_closing_it_goes_on_in_memory(path: Path) -> None:
    """A sender that is still about to mark a message finds no exception."""
    outbox = Outbox(path)
    outbox.commit(map(notification, "ab"))
    row = outbox.take()
    assert row is not None
    outbox.close()
    outbox.mark_sent(row)
    assert drain(outbox) == ["b"]
    assert on_disk(path) == ["a", "b"]
