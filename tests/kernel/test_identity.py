"""Who made a failed attempt, told by the real service of real processes in real cgroups."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tcp_trace import sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tcp_trace.sandbox import Service

CONTAINER = "3f2a" * 16
POD = "12345678-1234-1234-1234-123456789abc"
POD_SLICE = f"kubepods-burstable-pod{POD.replace('-', '_')}.slice"
NOBODY = pwd.getpwnam("nobody")

_CONNECT = """
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

_ports = iter(range(10_000, 11_000))  # nobody listens there


@pytest.fixture(scope="module")
def service(hook: str) -> Iterator[Service]:
    """Return the service watching loopback."""
    sandbox.require()
    with sandbox.service(HOOK=hook, DEST_IP="127.0.0.1") as running:
        yield running


@pytest.fixture(scope="module")
def version_2() -> Path:
    """Return where cgroups of version 2 are mounted."""
    mounts = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    found = [Path(mount[1]) for mount in mounts if mount[2] == "cgroup2"]
    if not found:
        pytest.skip("no cgroups of version 2 are mounted here")
    return found[0]


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
        [sys.executable, "-c", _CONNECT, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"done\n"
        yield process.pid


@contextlib.contextmanager
def held(service: Service) -> Iterator[None]:
    """Let the service read nothing until the block ends."""
    os.kill(service.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(service.pid, signal.SIGCONT)


def told(service: Service, port: int) -> dict[str, Any]:
    """Return the one line of the failure at `port`."""
    service.wait_for(lambda: service.find("connect failed", dport=port))
    (line,) = service.find("connect failed", dport=port)
    return line


def test_a_process_that_is_there(service: Service, version_2: Path) -> None:
    """Of a process that is there everything is known, but no password of its command line."""
    port = next(_ports)
    with (
        cgroup(version_2, "checkout.service") as made,
        connecting(made, port, NOBODY.pw_uid, "--password=hunter2", "--shown") as pid,
    ):
        line = told(service, port)
    assert (line["pid"], line["uid"], line["user"]) == (pid, NOBODY.pw_uid, "nobody")
    assert (line["unit"], line["container"], line["pod"]) == ("checkout.service", None, None)
    assert line["netns"] == Path("/proc/self/ns/net").stat().st_ino
    assert line["command"].startswith(f"{sys.executable} -c \\n")
    assert "hunter2" not in str(service.lines)


@pytest.mark.parametrize(
    ("path", "where"),
    [
        ("checkout.service", ("checkout.service", None, None)),
        (f"docker-{CONTAINER}.scope", (None, f"docker://{CONTAINER}", None)),
        (f"docker/{CONTAINER}", (None, f"docker://{CONTAINER}", None)),
        (f"machine.slice/libpod-{CONTAINER}.scope", (None, f"podman://{CONTAINER}", None)),
        (f"{POD_SLICE}/crio-{CONTAINER}.scope", (None, f"cri-o://{CONTAINER}", POD)),
        (
            f"kubepods.slice/kubepods-burstable.slice/{POD_SLICE}/cri-containerd-{CONTAINER}.scope",
            (None, f"containerd://{CONTAINER}", POD),
        ),
        (f"kubepods/burstable/pod{POD}/{CONTAINER}", (None, CONTAINER, POD)),
        ("1/2/3/4/5/6/7/8/9/deep.service", ("deep.service", None, None)),
        (f"{'long' * 61}.service", (f"{'long' * 61}.service", None, None)),
        ("\x1b[31m<!channel>.service", ("\\x1b[31m<!channel>.service", None, None)),
    ],
)
def test_a_process_and_its_cgroup_that_are_gone(
    service: Service, version_2: Path, path: str, where: tuple[str | None, ...]
) -> None:
    """Where a process was is known when both are gone before anybody looks; its command is not."""
    port = next(_ports)
    with cgroup(version_2, path) as made, held(service):
        with connecting(made, port) as pid:
            pass
        remove(made, made)
        assert not made.exists()
        assert not Path(f"/proc/{pid}").exists()
    line = told(service, port)
    assert (line["pid"], line["user"], line["command"]) == (pid, "root", None)
    assert (line["unit"], line["container"], line["pod"]) == where


def test_cgroups_of_one_name_after_the_other(service: Service, version_2: Path) -> None:
    """A cgroup that was removed and made again is another one, and is known as well."""
    for path in ("again.service", "other.service", "again.service"):
        port = next(_ports)
        with cgroup(version_2, path) as made, connecting(made, port):
            pass
        assert told(service, port)["unit"] == path


@pytest.fixture
def version_1() -> Iterator[Path]:
    """Mount cgroups of version 1: a hierarchy with a name and no controller, as any kernel has."""
    with tempfile.TemporaryDirectory(prefix="tcp-trace-cgroup-") as directory:
        options = f"none,name=tcp-trace-{os.getpid()}"
        sandbox.run("mount", "-t", "cgroup", "-o", options, "none", directory)
        try:
            yield Path(directory)
        finally:
            sandbox.run("umount", directory)


def test_a_cgroup_of_version_1(hook: str, version_1: Path) -> None:
    """Where a container is only in version 1's cgroups, it is known while the process lives."""
    port, later = next(_ports), next(_ports)
    with (
        sandbox.service(HOOK=hook, DEST_IP="127.0.0.1") as service,
        cgroup(version_1, f"docker/{CONTAINER}") as made,
    ):
        with connecting(made, port, NOBODY.pw_uid):
            line = told(service, port)
        assert line["container"] == f"docker://{CONTAINER}"
        assert line["user"] is None  # the container has its own list of users
        with held(service), connecting(made, later):
            pass
        assert told(service, later)["container"] is None


def test_a_message_names_the_unit(hook: str, version_2: Path) -> None:
    """People read in the channel which unit and which container could not connect."""
    path = f"shop.service/libpod-payload-{CONTAINER}"
    with (
        sandbox.webhook() as (url, payloads),
        sandbox.service(HOOK=hook, DEST_IP="127.0.0.1:11000", SLACK_URL=url) as service,
        cgroup(version_2, path) as made,
    ):
        with connecting(made, 11_000):
            pass
        service.wait_for(lambda: payloads)
    (payload,) = payloads
    assert "user `root`; unit `shop.service`; podman container `3f2a3f2a3f2a`)" in payload["text"]
