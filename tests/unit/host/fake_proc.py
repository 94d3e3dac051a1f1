"""A /proc with what a test puts there, and the cgroups that the kernel program knows."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from tcp_trace.connects.events import Process
from tcp_trace.connects.maker import Cgroup
from tcp_trace.host.identity import Identities
from tcp_trace.host.users import Users

if TYPE_CHECKING:
    from pathlib import Path

CONTAINER = "0123456789abcdef" * 4
NSPAWN = "/machine.slice/systemd-nspawn@web.service"
PATHS = {
    1: "/",
    7: "/system.slice/shop.service",
    8: f"/docker/{CONTAINER}",
    9: "/lxc.payload.web/system.slice/nginx.service",
    10: f"{NSPAWN}/payload/system.slice/nginx.service",
}
# What is the root to a process there, where it is not that of the host.
OUTSIDE = {8: f"/docker/{CONTAINER}", 9: "/lxc.payload.web", 10: f"{NSPAWN}/payload"}
TICK = 1 / os.sysconf("SC_CLK_TCK")


class Proc:
    """A /proc with what a test puts there."""

    def __init__(self, directory: Path, own_cgroup: str) -> None:
        self.directory = directory
        own = directory / str(os.getpid())
        (own / "ns").mkdir(parents=True)
        (own / "ns/pid").symlink_to("/proc/self/ns/pid")
        (own / "cgroup").write_text(own_cgroup)
        (directory / "self").symlink_to(own.name)
        self.asked: list[int] = []
        self.execs: dict[int, float] = {}

    def start(
        self,
        pid: int,
        started: float,
        command: bytes,
        *,
        comm: str = "shop",
        threads: int = 1,
        cgroup: str = "0::/\n",
    ) -> None:
        """Let a process be there that was started at `started`, in CLOCK_MONOTONIC."""
        process = self.directory / str(pid)
        process.mkdir(exist_ok=True)
        asleep = time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
        numbers = ["0"] * 50
        numbers[17], numbers[19] = str(threads), str(int((started + asleep) / TICK))
        (process / "stat").write_text(f"{pid} ({comm}) {' '.join(numbers)}\n")
        (process / "cmdline").write_bytes(command)
        (process / "cgroup").write_text(cgroup)

    def identities(self) -> Identities:
        """Return what is tested, on this /proc and without users."""
        users = Users(self.directory / "passwd", self.directory / "dynamic")
        return Identities(self._cgroup, self._last_exec, proc=self.directory, users=users)

    def _last_exec(self, pid: int) -> float:
        return self.execs.get(pid, 0.0)

    def _cgroup(self, cgroup_id: int) -> Cgroup | None:
        self.asked.append(cgroup_id)
        path = PATHS.get(cgroup_id)
        return None if path is None else Cgroup(path, OUTSIDE.get(cgroup_id, "/"))


def process(
    pid: int = 42,
    *,
    uid: int = 0,
    cgroup_id: int = 7,
    comm: str = "shop",
    foreign: bool = False,
) -> Process:
    """Return who connected."""
    return Process(pid, comm, uid, cgroup_id, 4_026_531_840, "worker", foreign)
