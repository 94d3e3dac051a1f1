"""What the running service holds, and what another process of its own user can do to it."""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tcp_trace.commands import sandbox, scratch
from tcp_trace.settings import environment
from tests import descriptors
from tests.libc import LIBC
from tests.programs import FAILS
from tests.terminal import terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tcp_trace.commands.sandbox import Service

_LOOK_INTO = (
    FAILS
    + """
import ctypes, json, os, sys
libc = ctypes.CDLL(None, use_errno=True)
pid = int(sys.argv[1])
def checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "")
def getfd(fd):
    checked(libc.syscall(438, os.pidfd_open(pid), fd, 0))
def readv():
    vector = (ctypes.c_ulong * 2)(id(pid), 1)
    checked(libc.process_vm_readv(pid, vector, 1, vector, 1, 0))
print(json.dumps([
    *[fails(open, f"/proc/{pid}/{name}", "rb") for name in ("environ", "mem", "maps", "auxv")],
    fails(os.listdir, f"/proc/{pid}/fd"),
    *[fails(getfd, fd) for fd in range(32)],
    fails(readv),
    fails(lambda: checked(libc.ptrace(0x4206, pid, None, None))),
]))
"""
)


@pytest.fixture(scope="module")
def running(hook: str) -> Iterator[Service]:
    """Return a service that somebody started with much in the environment, and open files."""
    hostile = {"SECRET_OF_ROOT": "x", "LD_DEBUG_OUTPUT": "/nowhere", "PYTHONPATH": "/nowhere"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in hostile.items():
            patch.setenv(name, value)
        with sandbox.service(HOOK=hook, DEST_IP="127.0.0.1") as service:
            yield service


def status(service: Service) -> dict[str, str]:
    """Return the kernel's account of the service's process."""
    text = Path(f"/proc/{service.pid}/status").read_text()
    return dict(re.findall(r"^(\w+):\s*(.*)$", text, re.MULTILINE))


def test_no_privilege_is_left(running: Service) -> None:
    """No capability, no way to any, two filters of system calls, users and groups of its own."""
    found, user = status(running), scratch.account()
    assert set(found["Uid"].split()) == {str(user.pw_uid)}
    assert set(found["Gid"].split()) == {str(user.pw_gid)}
    assert found["Groups"].split() == [str(user.pw_gid)]
    kept = 0 if int(os.uname().release.split(".")[0]) >= 6 else 1 << 39
    for name in ("CapInh", "CapAmb"):
        assert int(found[name], 16) == 0
    for name in ("CapPrm", "CapEff", "CapBnd"):
        assert int(found[name], 16) == kept
    assert (found["NoNewPrivs"], found["Seccomp"]) == ("1", "2")
    assert int(found.get("Seccomp_filters", "2")) >= 2


def test_its_user_cannot_look_into_it(running: Service) -> None:
    """Not into memory, environment or descriptors: whoever shares the user gets no webhook."""
    user = scratch.account()
    done = subprocess.run(
        [sys.executable, "-I", "-c", _LOOK_INTO, str(running.pid)],
        user=user.pw_uid,
        group=user.pw_gid,
        extra_groups=[],
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
    )
    assert set(json.loads(done.stdout)) == {"EACCES", "EPERM"}


def test_only_what_is_listed_reaches_it(running: Service) -> None:
    """Of the environment what it reads, of descriptors what stage 1 made for it."""
    text = Path(f"/proc/{running.pid}/environ").read_bytes().decode()
    given = dict(pair.split("=", 1) for pair in text.rstrip("\0").split("\0"))
    assert set(given) <= environment._HANDED_ON | set(environment._FIXED)
    assert (given["PATH"], given["LC_ALL"]) == (environment.PATH, "C.UTF-8")
    kinds = {re.sub(r"\[?\d+\]?$", "", link) for link in descriptors.links(running.pid)}
    ours = {f"{running._variables['STATE_DIR']}/outbox.db{end}" for end in ("", "-wal", "-shm")}
    ours |= {f"{running._variables['STATE_DIR']}/outbox.db.lock", "/dev/null"}
    nameless = ("anon_inode:", "pipe:", "socket:", "/memfd:libffi")  # the last is ctypes'
    assert {kind for kind in kinds if not kind.startswith(nameless)} == ours


def test_the_start_says_how_it_is_confined(running: Service) -> None:
    """Whether system calls and writing are restricted is in the first line of the log."""
    (line,) = running.find("watching")
    version = LIBC.syscall(444, None, ctypes.c_size_t(0), 1)  # landlock_create_ruleset
    assert (line["seccomp"], line["landlock"]) == (True, version > 0)


@contextmanager
def root_s_file() -> Iterator[None]:
    """Let every program that is started have a descriptor that only root can open."""
    with Path("/etc/shadow").open() as file:
        os.set_inheritable(file.fileno(), True)  # noqa: FBT003 - as the library has it
        yield


def test_ctrl_c_ends_what_was_started_from_a_terminal(hook: str) -> None:
    """The service is a child without that terminal; its lines are shown, and its status is ours."""
    user = scratch.account()
    with scratch.directory() as directory:
        state = directory / "state"
        state.mkdir()
        scratch.give(state, 0o700)
        given = {"HOOK": hook, "SERVICE_USER": user.pw_name, "STATE_DIR": str(state)}
        command = [sys.executable, "-I", str(scratch.program()), "run", "--env-file", "/dev/null"]
        with root_s_file(), terminal(*command, LOG_FORMAT="text", **given) as made:
            made.wait_for(b" watching ")
            (child,) = Path(f"/proc/{made.pid}/task/{made.pid}/children").read_text().split()
            session = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
            assert session[3] == child
            assert session[4] == "0"  # no terminal
            links = descriptors.links(child)
            assert not [link for link in links if re.search("pts|tty|shadow", link)]
            made.press(b"\x03")
            made.wait_for(b" stopped ")
            assert made.exit_code() == 0
            assert not Path(f"/proc/{child}").exists()


def test_ctrl_c_while_it_compiles_ends_it(hook: str) -> None:
    """As any other program: 130, at once, without a traceback."""
    given = {"HOOK": hook, "SERVICE_USER": scratch.account().pw_name, "STATE_DIR": "/nowhere"}
    command = [sys.executable, "-I", str(scratch.program()), "run", "--env-file", "/dev/null"]
    with terminal(*command, **given) as made:
        waiting = Path(f"/proc/{made.pid}/task/{made.pid}/children")
        while not waiting.read_text():
            pass
        child = waiting.read_text().strip()
        while "libbcc" not in Path(f"/proc/{child}/maps").read_text():
            pass
        made.press(b"\x03")
        assert made.exit_code() in {130, 128 + signal.SIGINT}
        assert b"watching" not in made.written


def test_confined_it_still_keeps_its_log_in_order(hook: str) -> None:
    """What is no file in the log's place is moved aside, and a renamed log is begun anew."""
    with scratch.directory() as directory:
        for name in ("state", "logs"):
            (directory / name).mkdir()
            scratch.give(directory / name, 0o700)
        log = directory / "logs/log"
        given = {"HOOK": hook, "SERVICE_USER": scratch.account().pw_name}
        command = [sys.executable, "-I", str(scratch.program()), "run", "--env-file", "/dev/null"]
        with subprocess.Popen(
            [*command, "--log-file", str(log)],
            env={**given, "STATE_DIR": str(directory / "state")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as process:
            try:
                _wait_until(lambda: log.is_file() and '"watching"' in log.read_text())
                log.rename(f"{log}.1")
                log.symlink_to("/nowhere")
                process.send_signal(signal.SIGHUP)
                _wait_until(lambda: log.is_file() and '"reloaded"' in log.read_text())
            finally:
                process.terminate()
        assert process.returncode == 0
        assert '"stopped"' in log.read_text()
        assert not log.is_symlink()


def _wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)
