"""Who made a failed attempt, told by the real service of real processes in real cgroups."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tcp_trace.commands import loopback, sandbox
from tcp_trace.commands.sandbox import SERVER, call_in
from tests.kernel.makers import (
    CONNECT_AND_EXEC,
    CONNECT_FOREIGN,
    CONNECT_IN_THREADS,
    CONTAINER,
    LATER,
    NOBODY,
    POD,
    POD_SLICE,
    cgroup,
    connecting,
    remove,
)
from tests.kernel.ways import IPPROTO_MPTCP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tcp_trace.commands.sandbox import Network, Service


MPTCP = Path("/proc/sys/net/mptcp")
_NEW_PIDS, _NEW_CGROUPS = 0x20000000, 0x02000000

_ports = iter(range(10_000, 11_000))  # nobody listens there


@pytest.fixture(scope="module")
def service(hook: str) -> Iterator[Service]:
    """Return the service watching loopback."""
    sandbox.require()
    with sandbox.service(HOOK=hook, DEST_IP="127.0.0.1") as running:
        yield running


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


@pytest.mark.parametrize("flags", [_NEW_PIDS, _NEW_CGROUPS, _NEW_PIDS | _NEW_CGROUPS])
@pytest.mark.parametrize(
    ("outside", "unit"),
    [
        ("lxc.payload.web", None),
        ("machine.slice/systemd-nspawn@web.service/payload", "systemd-nspawn@web.service"),
    ],
)
def test_a_container_of_whatever_kind(
    service: Service, version_2: Path, outside: str, unit: str | None, flags: int
) -> None:
    """Users and units of a process that is not the host's are its own: they are not told."""
    port = next(_ports)
    with (
        cgroup(version_2, outside) as outer,
        cgroup(version_2, outside + "/nginx.service") as inner,
    ):
        arguments = [str(outer), str(inner), str(NOBODY.pw_uid), str(port), str(flags)]
        subprocess.run([sys.executable, "-c", CONNECT_FOREIGN, *arguments], check=True)
        line = told(service, port)
    known = unit if flags & _NEW_CGROUPS else None
    assert (line["uid"], line["user"], line["unit"]) == (NOBODY.pw_uid, None, known)


def test_a_process_that_became_another_program(service: Service) -> None:
    """After an exec the command line is the next program's, and is not told of the one before."""
    first, second = next(_ports), next(_ports)
    with subprocess.Popen(
        [sys.executable, "-c", CONNECT_AND_EXEC, LATER, str(first), str(second)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        with held(service):
            assert process.stdout.readline() == b"done\n"
        assert (told(service, first)["pid"], told(service, first)["command"]) == (process.pid, None)
        process.stdin.write(b"\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"done\n"
        assert told(service, second)["command"].endswith(f" {second}")
        process.communicate()


def test_a_thread_is_not_the_process(service: Service) -> None:
    """The process's name is told, whichever of its threads connects, and that one's beside it."""
    first, other = next(_ports), next(_ports)
    command = [sys.executable, "-c", CONNECT_IN_THREADS, str(first), str(other)]
    with subprocess.Popen(command) as process:
        process.wait()
    lines = told(service, first), told(service, other)
    assert [line["pid"] for line in lines] == [process.pid] * 2
    assert [line["comm"] for line in lines] == ["java"] * 2
    assert [line["thread"] for line in lines] == [None, "pool-1-thread-3"]


def refuse_by_mptcp(network: Network, port: int, is_told: Callable[[], object]) -> None:
    """Let the server of an MPTCP connection announce an address that refuses, until that is told.

    The client's kernel connects to it, in a thread of its own.
    """
    for namespace in network:
        limits = ("limits", "set", "subflow", "2", "add_addr_accepted", "2")
        sandbox.run("ip", "-n", namespace, "mptcp", *limits)
    sandbox.run("ip", "-n", network.server, "address", "add", "192.0.2.3/24", "dev", "v0")
    sandbox.run("ip", "-n", network.server, "mptcp", "endpoint", "add", "192.0.2.3", "signal")

    def mptcp() -> socket.socket:
        return socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP)

    with call_in(network.server, mptcp) as listener, call_in(network.client, mptcp) as client:
        listener.bind((SERVER, port))
        listener.listen()
        client.connect((SERVER, port))
        with listener.accept()[0] as accepted:
            client.send(b"x")
            accepted.recv(1)
            is_told()


if MPTCP.exists():

    def test_the_kernel_is_no_maker(hook: str) -> None:
        """A connect that a thread of the kernel makes is told without a process."""
        firewall = "ip daddr 192.0.2.3 tcp flags syn reject with tcp reset"
        with (
            sandbox.network(firewall) as network,
            sandbox.service(HOOK=hook, DEST_IP="192.0.2.3") as service,
        ):
            refuse_by_mptcp(network, 15_000, lambda: told(service, 15_000))
            line = told(service, 15_000)
        unknown = ("pid", "comm", "thread", "uid", "user", "unit", "command")
        assert {line[name] for name in unknown} == {None}
        assert line["elapsed_ms"] is not None


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
        loopback.webhook() as (url, payloads),
        sandbox.service(HOOK=hook, DEST_IP="127.0.0.1:11000", SLACK_URL=url) as service,
        cgroup(version_2, path) as made,
    ):
        with connecting(made, 11_000):
            pass
        service.wait_for(lambda: payloads)
    (payload,) = payloads
    assert "user `root`; unit `shop.service`; podman container `3f2a3f2a3f2a`)" in payload["text"]
