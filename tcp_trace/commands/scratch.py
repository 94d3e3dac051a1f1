"""A user, and a directory of root's, that exist as long as this process. Needs root.

Root executes a copy of the program from the directory. So only root may write to it and to any
parent: it is below /run, never below /tmp or $TMPDIR. The service may write only to a directory of
its own user.

A shell waits for this process to end, in any way, and removes both. If another process changes
/etc/passwd at that moment, useradd and userdel may fail, and are retried.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tcp_trace import resources
from tcp_trace.settings.environment import PATH

if TYPE_CHECKING:
    from collections.abc import Iterator

_PARENT = Path("/run")
_LOCKED = 1
_PATIENCE = 20.0  # seconds
_CLEAN_UP = """
read -r _
for status in $(grep -Els "^Uid:[[:space:]]$1[[:space:]]" /proc/[0-9]*/status); do
    pid=${status#/proc/}
    kill -KILL "${pid%/status}"
done
for _ in $(seq 100); do
    userdel -f "$2"
    grep -q "^$2:" /etc/passwd || break
    sleep 0.2
done
rm -rf --one-file-system "$3"
"""


class ScratchError(Exception):
    """The user or the directory cannot be created; the text says why."""


@functools.cache
def account() -> pwd.struct_passwd:
    """Return the user of this process, without a login or a home. Raises ScratchError."""
    return _made()[0]


@functools.cache
def program() -> Path:
    """Return a copy of the program that only root can change and everybody can read.

    Run it with `python3 -I PATH`, which imports modules only from Python's own directories. A
    checkout would not do: it may be in /root, where the service cannot read it.
    """
    _, directory = _made()
    copy = directory / "program"
    for name in ("bpf", "tcp_trace"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(resources.directory(name), copy / name, ignore=ignored)
    for path in (copy, *copy.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    # Only now, with all modes right, others may enter.
    directory.chmod(0o755)
    return copy / "tcp_trace/__main__.py"


@contextlib.contextmanager
def directory() -> Iterator[Path]:
    """Create a directory of root's that the user may enter; remove it at the end."""
    program()
    with tempfile.TemporaryDirectory(dir=_made()[1]) as name:
        made = Path(name)
        made.chmod(0o755)
        yield made


def give(path: Path, mode: int) -> None:
    """Give a path in a directory of root's to the user, with this mode."""
    path.chmod(mode)
    os.chown(path, account().pw_uid, account().pw_gid)


@functools.cache
def _made() -> tuple[pwd.struct_passwd, Path]:
    """Create user and directory, and start the shell that removes them."""
    name = f"tcp-trace-{os.getpid()}"
    command = ["useradd", "--system", "--user-group", "--no-create-home"]
    command += ["--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin", name]
    until = time.monotonic() + _PATIENCE
    while (done := _run(command)).returncode == _LOCKED and time.monotonic() < until:
        time.sleep(0.2)
    if done.returncode:
        raise ScratchError(f"'{' '.join(command)}' failed: {done.stderr.strip()}")
    user = pwd.getpwnam(name)
    directory = Path(tempfile.mkdtemp(prefix="tcp-trace-", dir=_PARENT))
    waiting = subprocess.Popen(
        ["/bin/sh", "-c", _CLEAN_UP, "sh", str(user.pw_uid), name, str(directory)],
        env={"PATH": PATH},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C must not reach it
        cwd="/",
    )
    atexit.register(waiting.communicate)
    return user, directory


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env={"PATH": PATH}, capture_output=True, text=True, errors="replace", check=False
    )
