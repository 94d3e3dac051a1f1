"""The log's file: rotated, deleted, full, somebody else's, or no file at all."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import stat
import time
from typing import TYPE_CHECKING

import pytest

from tcp_trace.log import logs
from tcp_trace.settings import config
from tests.unit.log.logfile_world import Log, as_nobody, as_root, log, say
from tests.unit.log.test_logs import many, messages, written

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def full_at(size: int) -> Iterator[None]:
    """Let no file become larger than that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_rotated_file_is_followed(path: Path) -> None:
    """After a rotation lines go to the new file, and none is lost."""
    handler = Log(path).handler
    say("one")
    rotated = path.rename(path.with_name("log.1"))
    path.touch()
    say("two")
    assert (messages(rotated), messages(path)) == (["one"], ["two"])
    assert handler.lost == 0


def test_gap_of_a_rotation_is_left_to_logrotate(path: Path) -> None:
    """Between rename and create the old file is written on, so that logrotate can create."""
    Log(path)
    rotated = path.rename(path.with_name("log.1"))
    say("in the gap")
    assert not path.exists()
    path.touch()
    say("after it")
    assert (messages(rotated), messages(path)) == (["in the gap"], ["after it"])


def test_renamed_file_is_replaced(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody creates the new file for a second, the service does."""
    Log(path)
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    path.rename(path.with_name("log.1"))
    say("to the old one")
    assert not path.exists()
    now += 1.1
    say("to the new one")
    assert messages(path) == ["to the new one"]


def test_deleted_file_is_created_again(path: Path) -> None:
    """What is written to a file without a name is lost: a deleted one comes back at once."""
    handler = Log(path).handler
    path.unlink()
    say("again")
    assert messages(path) == ["again"]
    assert handler.lost == 0


def test_lines_that_cannot_be_written_are_counted(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a full disk logging neither raises nor prints; it counts, complains and tells after."""
    here = Log(path)
    say("before")
    with full_at(path.stat().st_size):
        for _ in range(23):
            say("lost")
        assert here.handler.lost == 23
    say("after")
    assert messages(path) == ["before", "after", "log lines were lost"]
    told = json.loads(written(path).splitlines()[-1])
    assert (told["level"], told["lost"], told["lost_total"]) == ("error", 23, 23)
    assert here.complaints() == ["cannot write the log: lines are lost until writing works"]
    assert "".join(capsys.readouterr()) == ""


def test_torn_line_does_not_spoil_the_next(path: Path) -> None:
    """What the disk took of a line stays a line of its own."""
    handler = Log(path).handler
    with full_at(20):
        say("torn")
    say("whole")
    torn, whole, told = written(path).splitlines()
    assert len(torn) == 20
    assert json.loads(whole)["message"] == "whole"
    assert json.loads(told)["lost"] == handler.lost == 1


def test_every_line_that_cannot_be_written_is_counted(path: Path) -> None:
    """Of a record with many lines all that are not whole in the file are counted."""
    handler = Log(path).handler
    with full_at(600):
        log.info("torn", extra=many(*range(23)))
        logs.flush()
    assert handler.lost == 23 - path.read_text().count("\n")
    assert 0 < handler.lost < 23


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o027, 0o077, 0o277, 0o777])
def test_log_is_for_its_owner_alone(path: Path, umask: int) -> None:
    """Whatever the umask: at the first start, and when it is created anew."""
    before = os.umask(umask)
    try:
        Log(path)
        first = stat.S_IMODE(path.stat().st_mode)
        path.unlink()
        say("anew")
    finally:
        os.umask(before)
    assert (first, stat.S_IMODE(path.stat().st_mode)) == (0o600, 0o600)


def test_mode_of_a_log_that_is_there_is_kept(path: Path) -> None:
    """Who created it for a group to read, as logrotate does, is not overruled."""
    path.touch()
    path.chmod(0o640)
    Log(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@as_root
def test_log_that_cannot_be_opened_anew_costs_nothing(path: Path) -> None:
    """Somebody else's file at the path: the old one is written on, with one complaint."""
    path.parent.chmod(0o777)
    with as_nobody():
        here = Log(path)
    old = path.rename(path.with_name("old"))
    path.touch()
    path.chmod(0o640)
    with as_nobody():
        say("one")
        logs.apply(config.load({"LOG_LEVEL": "debug"}, None))
        say("two")
    assert (messages(old), written(path)) == (["one", "two"], "")
    path.chmod(0o666)
    say("three")
    assert messages(path) == ["three"]
    assert here.handler.lost == 0
    assert here.complaints() == [
        "cannot reopen the log: lines go to the old file until reopening works",
        "the log is at its path again",
    ]
    assert json.loads(here.stderr.getvalue().splitlines()[-1])["lines_in_the_old_file"] == 2


@as_root
def test_lines_to_a_file_without_a_name_are_lost(path: Path) -> None:
    """Deleted, and nothing can be created there: the lines are counted as lost."""
    path.parent.chmod(0o777)
    with as_nobody():
        here = Log(path)
    path.unlink()
    path.parent.chmod(0o755)
    with as_nobody():
        say("lost")
    assert here.handler.lost == 1
    path.parent.chmod(0o777)
    say("back")
    assert messages(path) == ["back", "log lines were lost"]
