"""Descriptors go to whoever listens in systemd's place, and come back from it."""

from __future__ import annotations

import array
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tcp_trace.kernel import fdstore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    """Return the socket on which systemd hears the service."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(5)
        yield listening


def test_what_is_stored_arrives_under_its_name(systemd: socket.socket, tmp_path: Path) -> None:
    """Each with a descriptor of the same file; systemd is not to poll it."""
    store = fdstore.Store({"NOTIFY_SOCKET": str(tmp_path / "notify"), "FDSTORE": "128"})
    kept = os.memfd_create("kept")
    os.write(kept, b"it")
    store.keep({"x.map.held": kept})
    data, ((_, _, payload),), *_ = systemd.recvmsg(4096, socket.CMSG_SPACE(4))
    assert set(data.decode().splitlines()) == {"FDSTORE=1", "FDPOLL=0", "FDNAME=x.map.held"}
    (fd,) = array.array("i", payload)
    assert os.pread(fd, 9, 0) == b"it"
    store.let_go(["x.map.held"])
    assert set(systemd.recv(4096).decode().splitlines()) == {
        "FDSTOREREMOVE=1",
        "FDNAME=x.map.held",
    }
    os.close(fd)
    os.close(kept)


def test_without_systemd_nothing_is_stored() -> None:
    """Nobody is told, and nothing fails."""
    fdstore.Store({}).keep({"x": 0})
    fdstore.Store({"NOTIFY_SOCKET": "/nowhere"}).keep({"x": 0})
    fdstore.Store({}).let_go(["x"])


def test_a_socket_that_leads_nowhere_is_an_error(tmp_path: Path) -> None:
    """Whoever starts the service says so, and does not go on without a store."""
    with pytest.raises(OSError, match="No such file"):
        fdstore.Store({"NOTIFY_SOCKET": str(tmp_path / "absent"), "FDSTORE": "128"}).keep({"x": 0})


_RECEIVE = """
import os, sys
fd = os.memfd_create("kept")
os.write(fd, b"it")
os.dup2(fd, 3), os.dup2(fd, 4)
os.environ.update({"LISTEN_PID": sys.argv[1] or str(os.getpid()), "LISTEN_FDS": sys.argv[2],
                   "LISTEN_FDNAMES": "a:b"})
from tcp_trace.kernel import fdstore
found = fdstore.received(os.environ)
print(found, {os.get_inheritable(fd) for fds in found.values() for fd in fds},
      [name for name in os.environ if name.startswith("LISTEN_")])
"""


@pytest.mark.parametrize(
    ("pid", "count", "found"),
    [
        ("", "2", "{'a': [3], 'b': [4]} {False} []"),
        ("", "1", "{'a': [3]} {False} []"),
        ("1", "2", "{} set() []"),
        ("", "x", "{} set() []"),
        ("", "-1", "{} set() []"),
    ],
)
def test_what_was_kept_comes_back(pid: str, count: str, found: str) -> None:
    """It is inherited no further; what is another process's is not touched."""
    command = [sys.executable, "-c", _RECEIVE, pid, count]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.strip() == found
