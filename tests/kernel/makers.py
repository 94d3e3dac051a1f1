"""Programs that connect, in cgroups of their choice."""

from __future__ import annotations

import contextlib
import os
import pwd
import subprocess
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


CONTAINER = "3f2a" * 16
POD = "12345678-1234-1234-1234-123456789abc"
POD_SLICE = f"kubepods-burstable-pod{POD.replace('-', '_')}.slice"
NOBODY = pwd.getpwnam("nobody")

CONNECT = """
import os, socket, sys
cgroup, uid, port = sys.argv[1:4]
with open(cgroup + "/cgroup.procs", "w") as file:
    file.write("0")
os.setuid(int(uid))
with socket.socket() as sock:
    sock.connect_ex(("127.0.0.1", int(port)))
sys.stdout.write("done\\n")
sys.stdout.flush()
sys.stdin.read()
"""


# Connects as a process with PIDs, or cgroups, of its own.
CONNECT_FOREIGN = """
import ctypes, os, socket, sys
outside, inside, uid, port, flags = sys.argv[1:]
def enter(cgroup):
    with open(cgroup + "/cgroup.procs", "w") as file:
        file.write("0")
enter(outside)
if ctypes.CDLL(None).unshare(int(flags)):
    raise OSError("unshare")
if os.fork() == 0:
    enter(inside)
    os.setuid(int(uid))
    with socket.socket() as sock:
        sock.connect_ex(("127.0.0.1", int(port)))
    os._exit(0)
os.wait()
"""


# Connects, and becomes another program of the same name, which connects when it is told to.
LATER = """
import os, socket, sys
os.write(1, b"done\\n")
sys.stdin.readline()
socket.socket().connect_ex(("127.0.0.1", int(sys.argv[1])))
os.write(1, b"done\\n")
sys.stdin.readline()
"""


CONNECT_AND_EXEC = """
import os, socket, sys
later, first, second = sys.argv[1:]
socket.socket().connect_ex(("127.0.0.1", int(first)))
os.execv(sys.executable, [sys.executable, "-c", later, second])
"""


# Connects from its first thread and from another one, each with a name of its own.
CONNECT_IN_THREADS = """
import ctypes, socket, sys, threading
def connect(name, port):
    ctypes.CDLL(None).prctl(15, name)
    with socket.socket() as sock:
        sock.connect_ex(("127.0.0.1", int(port)))
connect(b"java", sys.argv[1])
thread = threading.Thread(target=connect, args=(b"pool-1-thread-3", sys.argv[2]))
thread.start()
thread.join()
"""


@contextlib.contextmanager
def cgroup(below: Path, path: str) -> Iterator[Path]:
    """Make a cgroup and remove it; the block may have removed it before."""
    top = below / f"tcp-trace-{os.getpid()}.slice"
    made = top / path
    made.mkdir(parents=True)
    try:
        yield made
    finally:
        remove(made, top)


def remove(made: Path, top: Path) -> None:
    """Remove a cgroup and those above it, up to `top`; processes leave it soon after their end."""
    for directory in (made, *made.parents):
        until = time.monotonic() + 5
        while directory.is_dir() and time.monotonic() < until:
            with contextlib.suppress(OSError):
                directory.rmdir()
        if directory == top:
            return


@contextlib.contextmanager
def connecting(made: Path, port: int, uid: int = 0, *more: str) -> Iterator[int]:
    """Let a process in a cgroup connect; yield its PID, it ends with the block."""
    arguments = [str(made), str(uid), str(port), *more]
    with subprocess.Popen(
        [sys.executable, "-c", CONNECT, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"done\n"
        yield process.pid
