"""The recipe for logrotate, run for real under load."""

from __future__ import annotations

import logging
import os
import pwd
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tcp_trace.log import logfile, logs
from tcp_trace.log.logfile import LogFile
from tests.unit.test_packaging import ROOT, needs_root, run

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def rotate(tmp_path: Path) -> Callable[[], str]:
    """Return what runs logrotate by its recipe on `log/tcp-trace.log`, as the user daemon."""
    user = pwd.getpwnam("daemon")
    directory = tmp_path / "log"
    directory.mkdir(0o755)
    os.chown(directory, user.pw_uid, user.pw_gid)
    for parent in directory.parents[:4]:
        if parent.is_relative_to(Path("/tmp/")):  # noqa: S108 - where pytest's directories are
            parent.chmod(parent.stat().st_mode | 0o011)
    recipe = tmp_path / "logrotate"
    text = (ROOT / "logrotate/tcp-trace").read_text().replace("tcp-trace adm", "daemon adm")
    recipe.write_text(text.replace("/var/log/tcp-trace", str(directory)))
    recipe.chmod(0o644)
    return lambda: run("logrotate", "--force", "--state", tmp_path / "state", recipe)


@needs_root
def test_logrotate_under_load_loses_no_line(tmp_path: Path, rotate: Callable[[], str]) -> None:
    """Forced rotations while a thread logs as fast as it can: every line is there, once."""
    path = tmp_path / "log/tcp-trace.log"
    written = _rotate_under_load(path, rotate)
    directory = path.parent
    rotated = sorted(directory.glob("tcp-trace.log.*"))
    assert {p.name for p in directory.iterdir()} - {p.name for p in rotated} == {path.name}
    assert len(rotated) == 4
    assert path.stat().st_mode & 0o777 == 0o640
    lines = run("sh", "-c", f"cd {directory}; zcat -f *").splitlines()
    assert sorted(lines) == sorted(f"line {number}" for number in range(written))


@needs_root
@pytest.mark.parametrize("name", ["tcp-trace.log", "tcp-trace.log.1"])
@pytest.mark.parametrize("make", [lambda path: path.symlink_to("/etc/hostname"), os.mkfifo])
def test_rotation_goes_on_whatever_is_put_in_its_way(
    tmp_path: Path,
    rotate: Callable[[], str],
    name: str,
    make: Callable[[Path], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A link or a FIFO as the log, or as the last rotated one: the next line, and all is as ever.

    Left there, logrotate would pass over the log, fail, or wait for ever.
    """
    monkeypatch.setattr(logfile, "LOOK_INTERVAL", 0.0)
    path = tmp_path / "log/tcp-trace.log"
    handler = _handler(path)
    handler.handle(logging.makeLogRecord({"msg": "before"}))
    handler.flush()
    spoilt = path.with_name(name)
    spoilt.unlink(missing_ok=True)
    make(spoilt)
    for number in range(3):
        handler.handle(logging.makeLogRecord({"msg": f"line {number}"}))
        handler.flush()
        os.chown(path, pwd.getpwnam("daemon").pw_uid, -1)  # as if this were that user
        rotate()
    handler.close()
    text = run("sh", "-c", f"cd {path.parent}; zcat -f tcp-trace.log*")
    assert {f"line {number}" for number in range(3)} <= set(text.splitlines())
    names = {p.name for p in path.parent.iterdir() if not p.name.startswith("moved-aside-")}
    assert names == {path.name, f"{path.name}.1", f"{path.name}.2.gz", f"{path.name}.3.gz"}
    assert handler.lost == 0


def _handler(path: Path) -> logs.LogHandler:
    handler = logs.LogHandler(LogFile(path, logging.getLogger("complaints")))
    os.chown(path, pwd.getpwnam("daemon").pw_uid, -1)
    handler.setFormatter(logging.Formatter("%(message)s"))
    return handler


def _rotate_under_load(path: Path, rotate: Callable[[], str]) -> int:
    """Log from a thread while logrotate runs four times; return how many lines were logged."""
    handler = _handler(path)
    done = threading.Event()
    written = 0

    def write() -> None:
        nonlocal written
        while not done.is_set():
            handler.handle(logging.makeLogRecord({"msg": f"line {written}"}))
            written += 1

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(4):
            before = written
            while written < before + 500 or not path.stat().st_size:
                time.sleep(0.001)
            rotate()
    finally:
        done.set()
        thread.join()
        handler.flush()
        handler.close()
    assert handler.lost == 0
    return written
