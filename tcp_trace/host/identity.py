"""The maker of a failed attempt, read from the host without privileges and without guessing.

    datum                    source                            after the process has ended
    -----------------------  --------------------------------  --------------------------------
    unit, container, pod     the cgroup path that the kernel   known: the kernel program kept
                             program saw at SYN_SENT           the path
    the host's or not        its PID and cgroup namespaces,    known
                             as seen at SYN_SENT
    unit, container, pod     /proc/PID/cgroup                  unknown
    if the host has cgroups
    of version 1
    command                  /proc/PID/cmdline                 unknown
    user                     /etc/passwd, systemd's dynamic    known
                             users

/proc/PID is believed only if it certainly is the process that made the attempt: it was started
before the attempt began, and was read after that. Start times tick every 10 ms, and no PID is
reused within one tick. It is the same program only if there was no exec since the attempt began.

A process in a container of any kind has users and units of its own, which are not the host's. Only
those of its units that were named outside the container are returned.
"""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from tcp_trace.connects.maker import (
    NOWHERE,
    Maker,
    Where,
    clean,
    command_line,
    parse_cgroup,
    parse_proc_cgroup,
)
from tcp_trace.host.cmdline import CommandLines
from tcp_trace.host.users import Users

if TYPE_CHECKING:
    from collections.abc import Callable

    from tcp_trace.connects.events import Process
    from tcp_trace.connects.maker import Cgroup

_CGROUPS_KEPT = 1024
_PROCESSES_KEPT = 1024

_READ_LIMIT = 4096
_TICK = 1 / os.sysconf("SC_CLK_TCK")
# A field of /proc/PID/stat after the name, counted from 0: starttime.
_START = 19
# PROC_PID_INIT_INO of include/linux/proc_ns.h: the kernel program sees the PIDs of this namespace.
_INITIAL_PID_NAMESPACE = 0xEFFFFFFC

# Version 1 has some twelve paths, the same for every process of a unit.
_parse_proc_cgroup = lru_cache(maxsize=128)(parse_proc_cgroup)

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class Identities:
    """Finds the makers of attempts. Not thread-safe: it belongs to the poll loop.

    `cgroup` returns a cgroup by its id, None if unknown. `last_exec` returns when a process may
    have become another program, in seconds of CLOCK_MONOTONIC, 0 for never. One failure costs some
    25 us if nothing is cached. A process is read once for all its attempts that began before the
    read: a storm costs one read per process and turn of the loop.
    """

    def __init__(
        self,
        cgroup: Callable[[int], Cgroup | None],
        last_exec: Callable[[int], float],
        *,
        proc: Path = Path("/proc"),
        users: Users | None = None,
    ) -> None:
        self._cgroup = cgroup
        self._last_exec = last_exec
        self._proc = proc
        self._users = users or Users()
        self._places: _Recent[int, _Place] = _Recent(_CGROUPS_KEPT)
        self._seen: _Recent[int, _Seen] = _Recent(_PROCESSES_KEPT)
        self._command_lines = CommandLines()
        self._pids_are_the_kernels = pids_are_the_kernels(proc)
        self._has_version_1 = _has_version_1(proc)

    def of(self, process: Process, began: float) -> Maker:
        """Return the maker of the attempt that began at `began`, in seconds of CLOCK_MONOTONIC."""
        seen = self._look(process.pid, began)
        place = self._place(process.cgroup_id)
        where = self._where(process, place, seen)
        # Inside a container, the container's own passwd names user ids.
        is_foreign = process.foreign or where.container_id is not None
        return Maker(
            user=None if is_foreign and process.uid != 0 else self._users.name(process.uid),
            unit=where.unit,
            container=where.container,
            pod=where.pod_uid,
            command=self._command(process, seen, began) if seen else None,
            owner=place.owner or None,
        )

    def _where(self, process: Process, place: _Place, seen: _Seen | None) -> Where:
        where = place.where
        if seen and (where is None or (self._has_version_1 and where.container_id is None)):
            told = _parse_proc_cgroup(seen.cgroup)
            where = told if told.container_id or not where or where == NOWHERE else where
        where = where or NOWHERE
        return place.outside if process.foreign and where.container_id is None else where

    def _place(self, cgroup_id: int) -> _Place:
        known = self._places.get(cgroup_id)
        if known is None:
            cgroup = self._cgroup(cgroup_id)
            if cgroup is None:
                return _Place()
            known = _Place(parse_cgroup(cgroup.path), parse_cgroup(cgroup.outside), cgroup.owner)
            self._places.put(cgroup_id, known)
        return known

    def _command(self, process: Process, seen: _Seen, began: float) -> str | None:
        """Return the command line, None if it may belong to a later exec.

        An exec also renames the process, and is noted a moment later. So a process with another
        name than at SYN_SENT may be another program.
        """
        is_same = seen.comm == clean(process.comm) and self._last_exec(process.pid) < began
        return seen.command if is_same else None

    def _look(self, pid: int, began: float) -> _Seen | None:
        """Return the content of /proc/PID, None if it is not certainly the same process."""
        if not self._pids_are_the_kernels:
            return None
        seen = self._seen.get(pid)
        if seen is None or seen.read_at < began:
            seen = _read(self._proc / str(pid), self._command_lines)
            self._seen.put(pid, seen)
        return seen if seen.started is not None and seen.started <= began <= seen.read_at else None


def pids_are_the_kernels(proc: Path) -> bool:
    """Return whether /proc has the PIDs that the kernel program sees: in a container it has not."""
    try:
        namespace = (proc / "self/ns/pid").stat().st_ino
        return namespace == _INITIAL_PID_NAMESPACE and (proc / "self").readlink() == Path(
            str(os.getpid())
        )
    except OSError:
        return False


class _Place(NamedTuple):
    """A cgroup: its unit, container and pod (None if unknown), those named outside, its owner."""

    where: Where | None = None
    outside: Where = NOWHERE
    owner: int = 0


class _Seen(NamedTuple):
    """The content of /proc/PID, read at `read_at`, of a process started at `started`.

    Both are seconds of CLOCK_MONOTONIC; `started` is None if there was no such process.
    """

    read_at: float
    started: float | None = None
    comm: str = ""
    cgroup: str = ""
    command: str | None = None


class _Recent(Generic[_Key, _Value]):
    """A cache of `size` values that evicts the least recently used one."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[_Key, _Value] = OrderedDict()

    def get(self, key: _Key) -> _Value | None:
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def put(self, key: _Key, value: _Value) -> None:
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > self._size:
            self._values.popitem(last=False)


def _read(directory: Path, command_lines: CommandLines) -> _Seen:
    """Read /proc/PID. The open directory stays that of one process, even if its PID is reused."""
    # Taken before reading: the process found then existed at this time, and later.
    read_at = time.monotonic()
    try:
        fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return _Seen(read_at)
    try:
        stat = _text("stat", fd)
        comm, fields = stat.partition("(")[2].rsplit(")", 1)
        numbers = fields.split()
        since_boot = int(numbers[_START]) * _TICK
        asleep = time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
        return _Seen(
            read_at,
            since_boot - asleep,
            clean(comm),
            _text("cgroup", fd),
            _command(command_lines.read(fd).decode(errors="backslashreplace")),
        )
    except OSError:  # the process ended meanwhile
        return _Seen(read_at)
    finally:
        os.close(fd)


def _text(name: str, directory: int) -> str:
    fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        return os.read(fd, _READ_LIMIT).decode(errors="backslashreplace")
    finally:
        os.close(fd)


def _command(text: str) -> str | None:
    """Return the command line; None if empty, as of a process that is ending."""
    return command_line(text.rstrip("\0").split("\0")) if text.strip("\0") else None


def _has_version_1(proc: Path) -> bool:
    try:
        lines = (proc / "self/cgroup").read_text(errors="backslashreplace").splitlines()
    except OSError:
        return False
    return any(not line.startswith("0::") for line in lines)
