"""The file of silences: who writes it, who can read it, and what the service sees of it."""

from __future__ import annotations

import json
import os
import stat
import threading
from typing import TYPE_CHECKING

import pytest

from tcp_trace import silencefile
from tcp_trace.core.silences import parse_match
from tcp_trace.silencefile import SilenceFile, SilenceFileError

if TYPE_CHECKING:
    from pathlib import Path

MATCH = parse_match("10.0.0.5:5432")
NOBODY = 65534


def add(directory: Path, begins: float = 0.0, ends: float = 10.0) -> str:
    """Add a silence and return its id."""
    return silencefile.add(directory, MATCH, begins, ends, "why").id


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


@pytest.mark.parametrize("text", ["", "{", "[]", '{"silences": [{}]}', '{"silences": 3}'])
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


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files to another user")
def test_what_root_writes_belongs_to_the_service(tmp_path: Path) -> None:
    """A silence that root adds is the service's file: nobody else's to read or to write."""
    os.chown(tmp_path, NOBODY, NOBODY)
    add(tmp_path)
    found = (tmp_path / silencefile.NAME).stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (NOBODY, NOBODY, 0o600)


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files to another user")
def test_the_owner_of_the_outbox_is_the_service(tmp_path: Path) -> None:
    """Where the directory is root's and everybody's, the outbox tells who the service is."""
    outbox = tmp_path / "outbox.db"
    outbox.touch()
    os.chown(outbox, NOBODY, NOBODY)
    add(tmp_path)
    assert (tmp_path / silencefile.NAME).stat().st_uid == NOBODY


def test_a_directory_of_the_group_has_a_file_of_the_group(tmp_path: Path) -> None:
    """Where the group may write into the directory, its members can change each other's file."""
    tmp_path.chmod(0o770)
    add(tmp_path)
    found = (tmp_path / silencefile.NAME).stat()
    assert stat.S_IMODE(found.st_mode) == 0o660
    assert found.st_gid == tmp_path.stat().st_gid
