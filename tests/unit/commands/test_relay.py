"""A service that is started from root's terminal: what it can do to that, and how it is ended."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tcp_trace.commands import relay
from tcp_trace.kernel.privileges import CAP_KILL
from tests.programs import FAILS
from tests.terminal import Terminal, terminal

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, whose terminal it is")

# In the place of stage 2: the user is another one, the relay is the parent.
_START = (
    FAILS
    + """
import ctypes, fcntl, json, os, signal, sys, termios, time
from tcp_trace.commands import relay, scratch
from tcp_trace.kernel.privileges import Account, become
user = scratch.account()
name = os.ttyname(0)
account = Account(user.pw_uid, user.pw_gid)
assert relay.has_terminal()
code = relay.fork(account)
if code is not None:
    os._exit(code)
assert not relay.has_terminal()
become(account)
def say(*what):
    print(json.dumps(what), flush=True)
"""
)
_EXIT = "\nos._exit({code})"


_PARTS = (0, 3), (3, 5), (5, None)


def started(code: str) -> AbstractContextManager[Terminal]:
    """Run code in the place of stage 2."""
    return terminal(sys.executable, "-c", _START + code)


def said(made: Terminal) -> list[object]:
    """Return what the code said first."""
    made.wait_for(b"]\r\n")
    found = json.loads(re.findall(rb"\[.*\]", made.written)[0])
    assert isinstance(found, list)
    return found


def test_no_terminal_is_left() -> None:
    """It has none, can open none, and can put nothing into the input of that which root has."""
    code = """
session = os.getsid(0) == os.getpid()
ttys = [fd for fd in range(100) if os.isatty(fd)]
stdin = [fails(fcntl.ioctl, fd, termios.TIOCSTI, b"x") for fd in range(3)]
say(session, ttys, stdin, fails(os.open, "/dev/tty", os.O_RDWR), fails(os.open, name, os.O_RDWR))
"""
    with started(code + _EXIT.format(code=0)) as made:
        refused = ["ENOTTY", "ENOTTY", "ENOTTY"]
        assert said(made) == [True, [], refused, "ENXIO", "EACCES"]
        assert made.exit_code() == 0


def test_a_descriptor_that_root_has_of_it_is_closed() -> None:
    """Also one that is none of the standard ones."""
    code = _START.replace("assert relay.has", "os.dup2(0, 77); assert relay.has", 1)
    code += "say([fd for fd in range(100) if os.isatty(fd)])"
    with terminal(sys.executable, "-c", code + _EXIT.format(code=0)) as made:
        assert said(made) == [[]]


def test_a_standard_stream_that_is_no_terminal_stays() -> None:
    """What root's shell redirected goes where it was sent to, and the terminal shows the rest."""
    code = _START + "sys.stdout.write('lines'); sys.stdout.flush(); sys.stderr.write('end')"
    line = '"$0" -c "$1" > "$2"; cat "$2"; echo " of $?"'
    path = f"/run/tcp-trace-test-{os.getpid()}"
    command = (sys.executable, code + _EXIT.format(code=3), path)
    try:
        with terminal("/bin/sh", "-c", line, *command) as made:
            assert made.exit_code() == 0
            assert made.written == b"endlines of 0\r\n"
    finally:
        Path(path).unlink()


def test_what_a_terminal_obeys_is_escaped() -> None:
    """Escapes in whatever coding do nothing on root's terminal; lines and tabs are as they are."""
    code = """
os.write(1, "a\\tü\\n".encode())
os.write(2, b"\\x1b]0;title\\x07 \\x9b31m \\xc2\\x9b31m \\r\\x08\\x00 \\xff" + "\\u202e".encode())
os.write(1, b"\\xc3"); time.sleep(0.3); os.write(1, b"\\xa9 end\\n")
"""
    with started(code + _EXIT.format(code=0)) as made:
        made.wait_for(b" end")
        assert made.exit_code() == 0
    assert "a\tü\r\n".encode() in made.written
    assert "é end".encode() in made.written
    for shown in (rb"\x1b]0;title\x07 \x9b31m \x9b31m \r\x08\x00 \xff", rb"\u202e"):
        assert shown in made.written
    assert not set(made.written) & (set(range(32)) - set(b"\r\n\t") | {0x7F})
    assert made.written.count(b"\r") == made.written.count(b"\n")


@pytest.mark.parametrize("text", ["", "plain\n", "\n\n\t\n", "\x1b[2J", "ü\x9b\n"])
def test_the_guard_leaves_lines_alone(text: str) -> None:
    """Of each text all is printable but newlines and tabs, which are where they were."""
    shown = relay.safe(text)
    assert shown.replace("\n", "").replace("\t", "").isprintable() or not shown.strip()
    assert re.findall("[\n\t]", shown) == re.findall("[\n\t]", text)


@pytest.mark.parametrize(("how", "code"), [("os._exit(7)", 7), ("os.kill(os.getpid(), 9)", 137)])
def test_the_exit_code_passes(how: str, code: int) -> None:
    """And of a signal what a shell tells of it."""
    with started(how) as made:
        assert made.exit_code() == code


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, "^C"])
def test_signals_are_forwarded(number: signal.Signals | str) -> None:
    """Ctrl-C on the terminal and what others send: the service hears it, and ends as it likes."""
    code = """
def note(number, frame):
    say(number)
    os._exit(5)
for number in (1, 2, 15):
    signal.signal(number, note)
print("ready", flush=True)
time.sleep(30)
"""
    with started(code) as made:
        made.wait_for(b"ready")
        if isinstance(number, str):
            made.press(b"\x03")
        else:
            os.kill(made.pid, number)
        assert said(made) == [signal.SIGINT if isinstance(number, str) else number]
        assert made.exit_code() == 5


def test_root_s_child_hears_them_before_it_has_changed_the_user() -> None:
    """While it compiles: the relay is another user by then."""
    code = _START.replace("become(account)", "print('ready', flush=True); time.sleep(30)")
    with terminal(sys.executable, "-c", code) as made:
        made.wait_for(b"ready")
        made.press(b"\x03")
        assert made.exit_code() == 128 + signal.SIGINT
        assert b"KeyboardInterrupt" in made.written


def test_the_relay_has_no_privilege_but_to_signal() -> None:
    """It is the service's user, and yet the service cannot look into it or take its terminal."""
    code = """
libc = ctypes.CDLL(None, use_errno=True)
parent = os.getppid()
def getfd(fd):
    pidfd = os.pidfd_open(parent)
    if libc.syscall(438, pidfd, fd, 0) < 0:
        raise OSError(ctypes.get_errno(), "pidfd_getfd")
def seize():
    if libc.ptrace(0x4206, parent, None, None) < 0:
        raise OSError(ctypes.get_errno(), "ptrace")
while not f"\\nUid:\\t{os.getuid()}\\t" in open(f"/proc/{parent}/status").read():
    pass  # it was started as root
files = [fails(open, f"/proc/{parent}/{name}", "rb") for name in ("environ", "mem", "fd/0")]
status = dict(line.split(":\\t", 1) for line in open(f"/proc/{parent}/status").read().splitlines())
names = ("Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapAmb", "NoNewPrivs")
say(*files, fails(getfd, 0), fails(seize), *[status[name] for name in names])
"""
    with started(code + _EXIT.format(code=0)) as made:
        files, others, (uid, gid, groups, *status) = (said(made)[a:b] for a, b in _PARTS)
    assert files == ["EACCES"] * 3
    assert others == ["EPERM"] * 2
    assert "0" not in f"{uid}\t{gid}".split("\t")
    assert groups == " "
    kill = f"{CAP_KILL:016x}"
    assert status == ["0" * 16, kill, kill, "0" * 16, "1"]


def test_the_service_does_not_outlive_the_relay() -> None:
    """Whoever kills the process that was started is told the truth: it is gone."""
    code = "say(os.getpid())\ntime.sleep(30)"
    with started(code) as made:
        (pid,) = said(made)
        os.kill(made.pid, signal.SIGKILL)
        until = time.monotonic() + 10
        while runs(Path(f"/proc/{pid}")) and time.monotonic() < until:
            time.sleep(0.05)
        assert not runs(Path(f"/proc/{pid}"))


def runs(process: Path) -> bool:
    """Tell whether a process is there, and more than what its parent has not asked for yet."""
    try:
        return "\nState:\tZ" not in (process / "status").read_text()
    except OSError:
        return False
