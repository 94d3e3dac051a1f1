"""The log's file: rotated, deleted, full, somebody else's, or no file at all."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import resource
import socket
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tcp_trace.log import logfile, logs, sinks
from tcp_trace.log.logfile import NotRegularError
from tcp_trace.settings import config
from tests.captured import Captured
from tests.unit.log.test_logs import _restore_logging, many, messages, written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["_restore_logging"]

log = logging.getLogger("tcp_trace.test")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="takes root: files of two users")
NOBODY = 65534


class Log:
    """A log that is set up, and what it complained of."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stderr = Captured()
        self.handler = logs.setup(config.load({}, None), path, self.stderr)

    def complaints(self) -> list[str]:
        """Return the messages on stderr."""
        return [json.loads(line)["message"] for line in self.stderr.getvalue().splitlines()]


@pytest.fixture
def path() -> Iterator[Path]:
    """Return where the log is: in a directory that every user may enter."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield Path(directory, "log")


@contextlib.contextmanager
def full_at(size: int) -> Iterator[None]:
    """Let no file become larger than that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Be nobody, in all threads, as stage 2 is somebody who is not root."""
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


def say(text: str) -> None:
    """Log a line and wait until it is written."""
    log.info(text)
    logs.flush()


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
    assert here.complaints() == ["the log cannot be written: lines are lost until it can"]
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
        "the log cannot be opened anew: lines go to the old file until it can",
        "the log is written at its path again",
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


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))


def _link(path: Path) -> None:
    path.with_name("victim").touch()
    path.symlink_to("victim")


THINGS = {
    "a symbolic link": _link,
    "a FIFO": os.mkfifo,
    "a socket": _socket,
    "a directory": Path.mkdir,
}
things = pytest.mark.parametrize(("kind", "make"), THINGS.items(), ids=THINGS)


@things
def test_what_is_no_file_is_removed(path: Path, kind: str, make: Callable[[Path], None]) -> None:
    """In place of the log, while it is written: the next line is in a file at the path."""
    here = Log(path)
    say("before")
    path.unlink()
    make(path)
    say("after")
    assert messages(path) == ["after"]
    assert stat.S_ISREG(path.lstat().st_mode)
    (told,) = [json.loads(line) for line in here.stderr.getvalue().splitlines()]
    assert (told["message"], told["was"]) == ("removed what is no log file", kind)
    assert list(map(str, path.parent.glob("moved-aside-*-log"))) == (
        [told["moved_to"]] if kind == "a directory" else []
    )
    assert told.get("led_to") == ("victim" if kind == "a symbolic link" else None)
    victim = path.with_name("victim")
    assert not victim.exists() or victim.read_text() == ""


@things
def test_what_this_user_put_there_is_removed_at_the_start(
    path: Path, kind: str, make: Callable[[Path], None]
) -> None:
    """A service that once was made to spoil its own log starts again, and says what it found."""
    make(path)
    here = Log(path)
    say("one")
    assert messages(path) == ["one"]
    (told,) = [json.loads(line) for line in here.stderr.getvalue().splitlines()]
    assert (told["message"], told["was"]) == ("removed what is no log file", kind)


@things
def test_confinement_leaves_the_rights_for_it(
    path: Path, kind: str, make: Callable[[Path], None]
) -> None:
    """Where Landlock lets the service write and remove files only, that is enough.

    A directory stays, and the start says so.
    """
    make(path)
    program = """
import sys
from pathlib import Path
from tcp_trace.log import logs
from tcp_trace.settings import config
from tcp_trace.kernel.confinement import restrict_writes
restrict_writes((Path(sys.argv[1]).parent,))
logs.setup(config.load({}, None), Path(sys.argv[1]), sys.stderr)
"""
    command = [sys.executable, "-B", "-c", program, str(path)]
    done = subprocess.run(
        command, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False
    )
    if kind == "a directory" and "PermissionError" in done.stderr:
        return
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stderr)["was"] == kind
    assert stat.S_ISREG(path.lstat().st_mode)


@as_root
@things
def test_what_another_user_put_there_is_refused_at_the_start(
    path: Path, kind: str, make: Callable[[Path], None]
) -> None:
    """It was meant so: the error says what it is, and nothing is waited for or written to."""
    make(path)
    path.parent.chmod(0o777)
    with as_nobody(), pytest.raises(NotRegularError) as caught:
        Log(path)
    assert str(caught.value.strerror).startswith(f"is {kind}; a log is a regular file")
    assert [found.name for found in path.parent.glob("moved-*")] == []


@things
def test_what_would_stop_logrotate_is_removed(
    path: Path, kind: str, make: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In place of the last rotated file, within seconds, also while nothing is logged."""
    monkeypatch.setattr(sinks, "LOOK_INTERVAL", 0.05)
    monkeypatch.setattr(logfile, "LOOK_INTERVAL", 0.05)
    here = Log(path)
    say("one")
    rotated = path.with_name("log.1")
    make(rotated)
    until = time.monotonic() + 10
    while os.path.lexists(rotated) and time.monotonic() < until:
        time.sleep(0.01)
    assert here.complaints() == ["removed what is no log file"]
    assert json.loads(here.stderr.getvalue())["was"] == kind
    assert not os.path.lexists(rotated)
