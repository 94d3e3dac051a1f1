"""A contender as a process: started, waited for, measured, ended."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.contenders import Contender, count_failures

if TYPE_CHECKING:
    from collections.abc import Iterator

_START_SECONDS = 400.0
_STOP_SECONDS = 120.0
_QUIET_SECONDS = 1.0
_QUIET_MS = 30.0
_SETTLE_SECONDS = 180.0
_SYSCALL_POLL = "7"  # x86-64
_CGROUPS = Path("/sys/fs/cgroup")
_TAIL_BYTES = 100_000


class Broken(Exception):  # noqa: N818 - it says what is the matter, and reads so
    """A contender did not start or stop; the text has what it said."""


class Running:
    """A contender that runs. All its threads and children are in a cgroup of their own."""

    def __init__(self, contender: Contender, folder: Path) -> None:
        self.contender = contender
        self.folder = folder
        self.state = folder / "state"
        self.log, self.stdout, self.stderr = (folder / n for n in ("log", "stdout", "stderr"))
        self._cgroup = _CGROUPS / f"benchmark-{os.getpid()}"
        self._cgroup.mkdir()
        # Open for as long as it runs, as systemd's is.
        self._notified = _notify_socket(folder)
        started = time.monotonic()
        self._process = self._start()
        try:
            self._await_ready()
        except BaseException:
            self.kill()
            raise
        self.startup = time.monotonic() - started

    def _start(self) -> subprocess.Popen[bytes]:
        def fill(text: str) -> str:
            return text.format(log=self.log, state=self.state)

        environment = {name: fill(v) for name, v in self.contender.environment.items()}
        enter = f'echo $$ >{self._cgroup}/cgroup.procs; exec "$@"'
        with self.stdout.open("wb") as out, self.stderr.open("wb") as err:
            return subprocess.Popen(
                ["sh", "-c", enter, "sh", *map(fill, self.contender.command)],
                env={**os.environ, **environment, "NOTIFY_SOCKET": str(self.folder / "notify")},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )

    def _await_ready(self) -> None:
        until = time.monotonic() + _START_SECONDS
        while time.monotonic() < until:
            if self._process.poll() is not None:
                break
            if self._is_ready():
                return
            time.sleep(0.05)
        raise Broken(f"{self.contender.name} did not start:\n{_tail(self.stderr)}")

    def _is_ready(self) -> bool:
        match self.contender.ready:
            case "notify":
                try:
                    return b"READY=1" in self._notified.recv(4096)
                except BlockingIOError:
                    return False
            case "stdout":
                return "ready" in _tail(self.stdout)
            case _:
                return self._polls_a_ring()

    def _polls_a_ring(self) -> bool:
        """Tell whether it sleeps in poll(2) with a perf ring open, and so reads the ring.

        BCC's tools print their header a moment earlier, but into a buffer that they flush only
        when it is full: it cannot be seen without making them run in another way.
        """
        process = Path(f"/proc/{self._process.pid}")
        try:
            if (process / "syscall").read_text().split()[0] != _SYSCALL_POLL:
                return False
            fds = [os.readlink(fd) for fd in (process / "fd").iterdir()]  # noqa: PTH115 - text
        except OSError:
            return False
        return "anon_inode:[perf_event]" in fds

    @property
    def cpu_ms(self) -> float:
        """CPU time so far, in milliseconds, to the microsecond: the cgroup's own account."""
        stat = (self._cgroup / "cpu.stat").read_text().split()
        return int(stat[stat.index("usage_usec") + 1]) / 1000

    @property
    def ticks(self) -> int:
        """CPU time so far, in clock ticks of /proc/PID/stat, ended children included."""
        stat = Path(f"/proc/{self._process.pid}/stat").read_text()
        return sum(int(field) for field in stat.rpartition(")")[2].split()[11:15])

    @property
    def resident_kb(self) -> int:
        """Resident memory now."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0])

    def settle(self) -> None:
        """Return once it has done what there was to do: it uses no CPU time for a second."""
        until = time.monotonic() + _SETTLE_SECONDS
        while time.monotonic() < until:
            before = self.cpu_ms
            time.sleep(_QUIET_SECONDS)
            if self.cpu_ms - before < _QUIET_MS:
                return

    def stop(self) -> None:
        """End it as a user would, so that it writes what it has not written yet."""
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            raise Broken(f"{self.contender.name} does not end") from None
        finally:
            self.kill()

    def kill(self) -> None:
        """End it at once, and what belongs to it; does nothing where `stop` has done so."""
        if self._cgroup.exists():
            self._process.kill()
            self._process.wait()
            self._cgroup.rmdir()
        self._notified.close()

    def failures(self) -> tuple[int, int] | None:
        """Return the false alarms and the refused connects it told of, None if it tells none."""
        if self.contender.failed_port is None:
            return None
        path = self.log if self.contender.told == "log" else self.stdout
        with path.open(errors="replace") as lines:
            return count_failures(lines, self.contender.failed_port)

    def lost(self) -> int:
        """Return how many records it lost."""
        return self.contender.lost(_tail(self.log), self.stderr.read_text(errors="replace"))


@contextmanager
def running(contender: Contender) -> Iterator[Running]:
    """Start a contender in a folder of its own and yield it when it is ready.

    `stop` is the caller's to call, because what was told is complete only then. Root works in the
    folder, so only `state` and the log in it are the service's.
    """
    folder = Path(tempfile.mkdtemp(prefix="benchmark-", dir="/var/tmp"))
    folder.chmod(0o755)
    account = pwd.getpwnam("tcp-trace")
    (folder / "state").mkdir(0o700)
    (folder / "log").touch(0o644)
    for path in (folder / "state", folder / "log"):
        os.chown(path, account.pw_uid, account.pw_gid)
    try:
        process = Running(contender, folder)
        try:
            yield process
        finally:
            process.kill()
    finally:
        shutil.rmtree(folder)


def _notify_socket(folder: Path) -> socket.socket:
    """Take the place of systemd for `READY=1`."""
    notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    path = folder / "notify"
    notified.bind(str(path))
    path.chmod(0o666)  # the service writes to it as its own user
    return notified


def _tail(path: Path) -> str:
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        return file.read().decode(errors="replace")
