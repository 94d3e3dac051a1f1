"""The file of silences: who writes it, who can read it, and what the service sees of it."""

from __future__ import annotations

import fcntl
import json
import os
import stat
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tcp_trace.silences import silencefile
from tcp_trace.silences.match import parse_match
from tcp_trace.silences.silencefile import NAME, SilenceFile, SilenceFileError
from tcp_trace.silences.silences import Silence

if TYPE_CHECKING:
    from pathlib import Path

MATCH = parse_match("10.0.0.5:5432")


def add(directory: Path, begins: float = 0.0, ends: float = 10.0) -> str:
    """Add a silence and return its id."""
    return silencefile.add(directory, Silence("", MATCH, begins, ends, "why")).id


def test_the_service_sees_what_was_added_and_removed(tmp_path: Path) -> None:
    """A change of the file is seen at the next look, and what did not change is not read again."""
    file = SilenceFile(tmp_path)
    assert not file.refresh()
    name = add(tmp_path)
    assert file.refresh()
    assert [(each.id, each.match, each.comment) for each in file.silences] == [(name, MATCH, "why")]
    assert not file.refresh()
    silencefile.remove(tmp_path, name, 1.0)
    assert file.refresh()
    assert file.silences == ()


def test_a_file_of_the_same_size_is_another_one(tmp_path: Path) -> None:
    """One silence in place of another that looks like it is seen."""
    file = SilenceFile(tmp_path)
    silencefile.remove(tmp_path, add(tmp_path), 1.0)
    first = add(tmp_path)
    file.refresh()
    silencefile.remove(tmp_path, first, 1.0)
    second = add(tmp_path)
    assert file.refresh()
    assert [each.id for each in file.silences] == [second]


def test_a_file_that_is_there_at_the_start(tmp_path: Path) -> None:
    """Silences outlive a restart of the service."""
    name = add(tmp_path)
    assert [each.id for each in SilenceFile(tmp_path).silences] == [name]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"silences": 3}', "[" * 100_000, " " * (5 << 20)])
def test_a_damaged_file(tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture) -> None:
    """Of a damaged file the service says so once and keeps its silences; a change is refused."""
    add(tmp_path)
    file = SilenceFile(tmp_path)
    (tmp_path / silencefile.NAME).write_text(text)
    assert not file.refresh()
    assert not file.refresh()
    assert len(file.silences) == 1
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    with pytest.raises(SilenceFileError, match="damaged; remove it"):
        add(tmp_path)


def test_a_removed_file_ends_all_silences(tmp_path: Path) -> None:
    """What the error for a damaged file advises works."""
    add(tmp_path)
    file = SilenceFile(tmp_path)
    (tmp_path / silencefile.NAME).unlink()
    assert file.refresh()
    assert file.silences == ()


def test_silences_that_ended_are_forgotten_after_a_week(tmp_path: Path) -> None:
    """The file does not grow for ever."""
    old = add(tmp_path, 0, 10)
    kept = add(tmp_path, 0, 20)
    new = add(tmp_path, 15 + silencefile.KEPT_ENDED, 30 + silencefile.KEPT_ENDED)
    names = [each.id for each in SilenceFile(tmp_path).silences]
    assert names == [kept, new]
    assert old not in names


def test_too_many_silences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More silences than can be asked for every failure are refused."""
    monkeypatch.setattr(silencefile, "MOST", 2)
    add(tmp_path)
    add(tmp_path)
    with pytest.raises(SilenceFileError, match="remove some"):
        add(tmp_path)


def test_who_removes_what_is_not_there_is_told(tmp_path: Path) -> None:
    """An unknown id, or a directory that does not exist, is one clear sentence."""
    with pytest.raises(SilenceFileError, match=r"no silence has the id 'x\\x1b'"):
        silencefile.remove(tmp_path, "x\x1b", 0.0)
    with pytest.raises(SilenceFileError, match="does not exist: has the service run here"):
        add(tmp_path / "none")


def test_two_who_add_at_once_lose_nothing(tmp_path: Path) -> None:
    """Changes exclude each other: each of 40 made at once is there in the end."""
    threads = [threading.Thread(target=add, args=(tmp_path,)) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(SilenceFile(tmp_path).silences) == 40
    assert [path.name for path in tmp_path.iterdir()] == [silencefile.NAME]


def test_what_a_killed_process_left_is_no_obstacle(tmp_path: Path) -> None:
    """A half-written file of a process that was killed is overwritten."""
    (tmp_path / f".{silencefile.NAME}.{os.getpid()}").write_text("half")
    add(tmp_path)
    assert len(SilenceFile(tmp_path).silences) == 1


def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    """A link that the service's user could put there leads root to no other file."""
    target = tmp_path / "target"
    target.write_text(json.dumps({"silences": []}))
    (tmp_path / silencefile.NAME).symlink_to(target)
    with pytest.raises(SilenceFileError):
        add(tmp_path)
    assert target.read_text() == '{"silences": []}'


GOOD = {"id": "good", "match": "10.0.0.5:5432", "begins": 0, "ends": 10, "comment": ""}
BAD = (
    {**GOOD, "id": "bad", "match": "no/where"},
    {**GOOD, "id": "bad", "ends": 1e300},
    {**GOOD, "id": "bad", "ends": float("nan")},
    {**GOOD, "id": "bad", "begins": "soon"},
    {"id": "bad"},
)


@pytest.mark.parametrize("bad", [*BAD, {}, [], "x", 3, None, {"id": 3}, {"id": "\x1b[31m" * 99}])
def test_one_bad_entry_costs_no_good_one(
    tmp_path: Path, bad: object, caplog: pytest.LogCaptureFixture
) -> None:
    """It is complained of once and counted, and stays in the file as it is when that changes."""
    path = tmp_path / silencefile.NAME
    path.write_text(json.dumps({"silences": [bad, GOOD]}))
    file = SilenceFile(tmp_path)
    assert [each.id for each in file.silences] == ["good"]
    assert file.unread == 1
    (complaint,) = (record for record in caplog.records if record.levelname == "ERROR")
    assert len(complaint.getMessage()) < 350
    assert complaint.getMessage().isprintable()
    name = add(tmp_path, 5, 20)
    silencefile.remove(tmp_path, "good", 5)
    assert file.refresh()
    assert [each.id for each in file.silences] == [name]
    saved = json.loads(path.read_text())["silences"]
    assert json.dumps(bad) in map(json.dumps, saved)


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_entry_can_be_removed(tmp_path: Path, bad: object) -> None:
    """By its id, as a good one."""
    (tmp_path / silencefile.NAME).write_text(json.dumps({"silences": [bad, GOOD]}))
    assert silencefile.remove(tmp_path, "bad", 5) == "an unreadable entry"
    assert silencefile.read(tmp_path / silencefile.NAME).unread == ()


@pytest.mark.parametrize("bad", [{}, [], "x", None, {"id": 3}, {"id": "\x1b[31m"}, {"id": "a b"}])
def test_an_entry_without_an_id_has_one_to_be_removed_by(tmp_path: Path, bad: object) -> None:
    """Which is the same at every look."""
    path = tmp_path / silencefile.NAME
    path.write_text(json.dumps({"silences": [bad, GOOD]}))
    (unread,) = silencefile.read(path).unread
    assert str(unread).startswith(f"{unread.id} is not in force: ")
    silencefile.remove(tmp_path, unread.id, 5)
    assert silencefile.read(path).unread == ()
    assert len(silencefile.read(path).silences) == 1


def test_a_lock_that_is_held_is_no_reason_to_hang(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who holds the directory's lock for longer than a change takes is told of."""
    monkeypatch.setattr(silencefile, "_PATIENCE_SECONDS", 0.1)
    folder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    with pytest.raises(SilenceFileError, match="locked by another process"):
        add(tmp_path)
    os.close(folder)
    add(tmp_path)


def test_a_fifo_holds_nobody_up(tmp_path: Path) -> None:
    """Neither the service nor a command waits for who never writes."""
    os.mkfifo(tmp_path / silencefile.NAME)
    assert SilenceFile(tmp_path).silences == ()
    with pytest.raises(SilenceFileError, match="not a regular file"):
        add(tmp_path)


def test_a_directory_of_the_group_has_a_file_of_the_group(tmp_path: Path) -> None:
    """Where the group may write into the directory, its members can change each other's file."""
    tmp_path.chmod(0o770)
    add(tmp_path)
    found = (tmp_path / silencefile.NAME).stat()
    assert stat.S_IMODE(found.st_mode) == 0o660
    assert found.st_gid == tmp_path.stat().st_gid


def test_what_the_service_drops_ends_at_once_and_leaves_the_file(tmp_path: Path) -> None:
    """The others stay, and what somebody adds meanwhile."""
    far = time.time() + 1000
    dropped, kept = add(tmp_path, 0, far), add(tmp_path, 0, far)
    file = SilenceFile(tmp_path)
    added = add(tmp_path, 0, far)
    file.drop({dropped})
    assert [each.id for each in file.silences] == [kept]
    assert file.refresh()
    assert [each.id for each in file.silences] == [kept, added]
    assert [each.id for each in silencefile.read(tmp_path / NAME).silences] == [kept, added]


def test_what_is_dropped_while_the_file_cannot_be_written(tmp_path: Path) -> None:
    """It is in force no more, the service does not wait, and it leaves the file later."""
    far = time.time() + 1000
    dropped, kept = add(tmp_path, 0, far), add(tmp_path, 0, far)
    file = SilenceFile(tmp_path)
    folder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    began = time.monotonic()
    file.drop({dropped})
    assert time.monotonic() - began < 1
    assert [each.id for each in file.silences] == [kept]
    (tmp_path / NAME).touch()
    assert file.refresh()
    assert [each.id for each in file.silences] == [kept]
    assert len(silencefile.read(tmp_path / NAME).silences) == 2
    os.close(folder)
    file.write_dropped()
    assert [each.id for each in silencefile.read(tmp_path / NAME).silences] == [kept]
