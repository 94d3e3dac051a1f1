"""What is no regular file in the place of the log."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tcp_trace.log import logfile, sinks
from tcp_trace.log.logfile import NotRegularError
from tests.unit.log.logfile_world import Log, as_nobody, as_root, say
from tests.unit.log.test_logs import messages

if TYPE_CHECKING:
    from collections.abc import Callable


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
    assert (told["message"], told["was"]) == ("removed a file that is not a log", kind)
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
    assert (told["message"], told["was"]) == ("removed a file that is not a log", kind)


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
    assert here.complaints() == ["removed a file that is not a log"]
    assert json.loads(here.stderr.getvalue())["was"] == kind
    assert not os.path.lexists(rotated)
