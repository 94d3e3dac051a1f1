"""Who made an attempt: what is certain is told, everything else is not."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from tcp_trace.connects.maker import UNKNOWN, Maker
from tcp_trace.host import identity
from tcp_trace.host.identity import Identities, pids_are_the_kernels
from tests.unit.host.fake_proc import CONTAINER, PATHS, Proc, process


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Proc:
    """Return a /proc of a host with cgroups of version 2 only."""
    namespace = Path("/proc/self/ns/pid").stat().st_ino
    monkeypatch.setattr(identity, "_INITIAL_PID_NAMESPACE", namespace)
    return Proc(tmp_path / "proc", "0::/system.slice/tcp-trace.service\n")


@pytest.fixture
def old_proc(tmp_path: Path, proc: Proc) -> Proc:
    """Return a /proc of a host with cgroups of both versions."""
    assert proc
    return Proc(tmp_path / "old", "2:pids:/\n1:name=systemd:/\n0::/\n")


def test_a_process_that_is_there(proc: Proc) -> None:
    """The command line of a process that was there before the attempt is known."""
    now = time.monotonic()
    proc.start(42, now - 60, b"shop\0--serve\0")
    assert proc.identities().of(process(), now) == Maker(
        unit="shop.service", command="shop --serve"
    )


def test_another_process_with_the_pid(proc: Proc) -> None:
    """A process that was started after the attempt began is another one, with its PID."""
    now = time.monotonic()
    proc.start(42, now, b"other\0")
    assert proc.identities().of(process(), now - 1).command is None


def test_a_real_process() -> None:
    """What holds for files made for a test holds for the kernel's, with their clock."""
    identities = Identities(lambda _: None, lambda _: 0.0)
    before = time.monotonic()
    with subprocess.Popen(["cat", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(b"\n")
        child.stdin.flush()
        child.stdout.readline()  # by now it is cat and nothing else
        me = process(child.pid, comm="cat")
        after = time.monotonic()
        expected = "cat -" if pids_are_the_kernels(Path("/proc")) else None
        assert identities.of(me, before - 0.1).command is None
        assert identities.of(me, after).command == expected
        child.communicate()
    assert identities.of(me, time.monotonic()).command is None


def test_a_process_that_is_gone(proc: Proc) -> None:
    """Of a process that is gone the kernel's own words stay, and nothing else is known."""
    assert proc.identities().of(process(), time.monotonic()) == Maker(unit="shop.service")


def test_a_process_that_ends_while_it_is_read(proc: Proc) -> None:
    """A process of which only some files can be read is one that is gone."""
    proc.start(42, time.monotonic() - 60, b"shop\0")
    (proc.directory / "42/cmdline").unlink()
    assert proc.identities().of(process(), time.monotonic()).command is None


def test_what_was_read_is_good_for_attempts_before_and_not_after(proc: Proc) -> None:
    """A storm reads a process once; an attempt that began later may be of the next of its PID."""
    identities = proc.identities()
    first = time.monotonic()
    proc.start(42, first - 60, b"first\0")
    assert identities.of(process(), first).command == "first"
    proc.start(42, first - 30, b"next\0")
    assert identities.of(process(), first).command == "first"
    assert identities.of(process(), time.monotonic()).command == "next"
    assert identities.of(process(), first - 45).command is None


def test_a_process_that_became_another_program(proc: Proc) -> None:
    """The command line after an exec is not the one that connected, whatever the name is."""
    now = time.monotonic()
    for pid, name in ((42, b"vim"), (43, b"java"), (44, b"java"), (45, b"java")):
        proc.start(pid, now - 60, name + b"\0-x\0", comm=name.decode(), threads=pid % 2)
    identities = proc.identities()
    assert identities.of(process(42, comm="bash"), now).command is None
    proc.execs = {44: now, 45: now - 0.001}
    commands = [identities.of(process(pid, comm="java"), now).command for pid in (43, 44, 45)]
    assert commands == ["java -x", None, "java -x"]


def test_an_exec_after_the_reading(proc: Proc) -> None:
    """What was read of a process is not believed any more once it may be another program."""
    now = time.monotonic()
    proc.start(42, now - 60, b"shop\0")
    identities = proc.identities()
    assert identities.of(process(), now).command == "shop"
    proc.execs[42] = time.monotonic()
    assert identities.of(process(), now).command is None


def test_a_host_that_slept(proc: Proc, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes are dated by a clock that sees the host sleep, attempts by one that does not."""
    monkeypatch.setattr(time, "clock_gettime", lambda _: time.monotonic() + 1000)
    now = time.monotonic()
    proc.start(42, now - 60, b"shop\0")
    identities = proc.identities()
    assert identities.of(process(), now).command == "shop"
    assert identities.of(process(), now - 61).command is None


@pytest.mark.parametrize("comm", [") S 1 (", "a b", "ö", "\x1b"])
def test_a_process_of_any_name(proc: Proc, comm: str) -> None:
    """A process's name moves no field of what is read."""
    now = time.monotonic()
    proc.start(42, now - 60, b"shop\0", comm=comm)
    assert proc.identities().of(process(comm=comm), now).command == "shop"


def test_a_process_without_a_command_line(proc: Proc) -> None:
    """The kernel's own processes, and those that are ending, have none."""
    now = time.monotonic()
    proc.start(42, now - 60, b"")
    proc.start(43, now - 60, b"\0\0")
    assert proc.identities().of(process(42), now).command is None
    assert proc.identities().of(process(43), now).command is None


def test_a_command_line_that_cannot_be_read_for_now(proc: Proc) -> None:
    """Whoever keeps his own from being read holds up nobody, and is known without it."""
    began = time.monotonic()
    proc.start(42, began - 60, b"shop\0")
    cmdline = proc.directory / "42/cmdline"
    cmdline.unlink()
    os.mkfifo(cmdline)
    proc.start(43, began - 60, b"shop\0--other\0")
    identities = proc.identities()
    now = time.monotonic()
    assert identities.of(process(42), now) == Maker(unit="shop.service")
    assert identities.of(process(43), now) == Maker(unit="shop.service")
    assert time.monotonic() - now < 10
    cmdline.write_bytes(b"shop\0")  # for which the reading waited
    until = time.monotonic() + 60
    while identities.of(process(43), time.monotonic()).command is None:
        assert time.monotonic() < until
        time.sleep(0.1)
    assert identities.of(process(43), time.monotonic()).command == "shop --other"


def test_pids_of_another_namespace(proc: Proc, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container the kernel's PIDs are others' here: nothing is read of them."""
    now = time.monotonic()
    proc.start(42, now - 60, b"shop\0")
    monkeypatch.setattr(identity, "_INITIAL_PID_NAMESPACE", 1)
    assert proc.identities().of(process(), now) == Maker(unit="shop.service")


def test_a_proc_that_is_not_ours(proc: Proc) -> None:
    """A /proc that was mounted for others, or none at all, is not believed."""
    (proc.directory / "self").unlink()
    assert not pids_are_the_kernels(proc.directory)
    (proc.directory / "self").symlink_to("1")
    (proc.directory / "1").symlink_to(str(os.getpid()))
    assert not pids_are_the_kernels(proc.directory)


def test_a_cgroup_that_nobody_knows(proc: Proc) -> None:
    """Where the kernel program has forgotten the cgroup, the living process tells it."""
    now = time.monotonic()
    proc.start(42, now - 60, b"", cgroup="0::/system.slice/mail.service\n")
    identities = proc.identities()
    assert identities.of(process(42, cgroup_id=99), now).unit == "mail.service"
    assert identities.of(process(43, cgroup_id=99), now) == UNKNOWN


def test_what_was_seen_at_the_attempt_counts(proc: Proc) -> None:
    """A process that has been moved since made its attempt where it was then."""
    now = time.monotonic()
    proc.start(42, now - 60, b"", cgroup=f"0::/docker/{CONTAINER}\n")
    assert proc.identities().of(process(), now) == Maker(unit="shop.service")


@pytest.mark.parametrize(
    ("cgroup_id", "cgroup", "expected"),
    [
        (1, "1:name=systemd:/system.slice/mail.service\n0::/\n", Maker(unit="mail.service")),
        (7, f"2:pids:/docker/{CONTAINER}\n", Maker(container=f"docker://{CONTAINER}")),
        (7, "1:name=systemd:/system.slice/mail.service\n", Maker(unit="shop.service")),
        (7, "2:pids:/\n", Maker(unit="shop.service")),
        (
            8,
            "1:name=systemd:/system.slice/mail.service\n",
            Maker(container=f"docker://{CONTAINER}"),
        ),
    ],
)
def test_version_1(old_proc: Proc, cgroup_id: int, cgroup: str, expected: Maker) -> None:
    """With version 1 beside, a container may be there only; else the kernel's word comes first."""
    now = time.monotonic()
    old_proc.start(42, now - 60, b"", cgroup=cgroup)
    assert old_proc.identities().of(process(cgroup_id=cgroup_id), now) == expected


def test_a_cgroup_is_asked_for_once_and_forgotten_in_time(proc: Proc) -> None:
    """A storm asks the kernel once per cgroup; however many there are, few are remembered."""
    identities = proc.identities()
    now = time.monotonic()
    for _ in range(23):
        identities.of(process(), now)
    assert proc.asked == [7]
    PATHS.update({number: f"/{number}.service" for number in range(100, 5100)})
    for number in range(100, 5100):
        assert identities.of(process(number, cgroup_id=number), now).unit == f"{number}.service"
        identities.of(process(), now)
    assert proc.asked.count(7) == 1
    assert len(identities._places._values) == 1024
    assert len(identities._seen._values) == 1024


@pytest.mark.parametrize(
    ("cgroup_id", "foreign", "unit"),
    [
        (7, False, "shop.service"),
        (7, True, None),
        (9, True, None),
        (10, True, "systemd-nspawn@web.service"),
        (10, False, "systemd-nspawn@web.service"),
        (99, True, None),
    ],
)
def test_units_in_containers(proc: Proc, cgroup_id: int, foreign: bool, unit: str | None) -> None:  # noqa: FBT001
    """Of a process that is not the host's, only a unit is told that was named outside."""
    now = time.monotonic()
    proc.start(42, now - 60, b"", cgroup="0::/system.slice/mail.service\n")
    assert proc.identities().of(process(cgroup_id=cgroup_id, foreign=foreign), now).unit == unit


def test_users_in_containers(proc: Proc) -> None:
    """A container has its own list of users: this host's names are only root's."""
    (proc.directory / "passwd").write_text("root:x:0:0::/:/bin/sh\npolicy:x:999:1::/:/bin/sh\n")
    identities = proc.identities()
    now = time.monotonic()
    assert identities.of(process(uid=999), now).user == "policy"
    assert identities.of(process(uid=999, cgroup_id=8), now).user is None
    assert identities.of(process(uid=0, cgroup_id=8), now).user == "root"
    assert identities.of(process(uid=999, foreign=True), now).user is None
    assert identities.of(process(uid=0, foreign=True), now).user == "root"
