"""Takes the place of systemd: starts the service again and again, and keeps its descriptors."""

from __future__ import annotations

import array
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from tcp_trace.commands import sandbox, scratch

if TYPE_CHECKING:
    from pathlib import Path

_START_SECONDS = 300.0
_FDS_MOST = 253
# Moves the descriptors that it is given to those from 3 on, and becomes the service.
_LAUNCH = """
import os, sys
fds = [int(fd) for fd in sys.argv[1].split(",") if fd]
high = [os.dup2(fd, 500 + number, False) for number, fd in enumerate(fds)]
for number, fd in enumerate(high):
    os.dup2(fd, 3 + number)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
"""


class Supervisor:
    """The service with this configuration, in `directory`, which is root's."""

    def __init__(self, directory: Path, **variables: str) -> None:
        state = directory / "state"
        state.mkdir()
        scratch.give(state, 0o700)
        self._log = state / "log"
        self._env_file = directory / "tcp-trace.env"
        self._variables = {
            "STATE_DIR": str(state),
            "SERVICE_USER": scratch.account().pw_name,
            "LOG_FORMAT": "json",
        }
        self.configure(**variables)
        self.kept: dict[str, list[int]] = {}
        """Descriptors by their names."""
        self._ready = threading.Event()
        self._path = directory / "notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self._path))
        scratch.give(self._path, 0o600)
        self._reader = threading.Thread(target=self._hear, daemon=True)
        self._reader.start()
        self.process: subprocess.Popen[str] | None = None
        self.cold = 0.0
        """Seconds that the first start took."""

    def configure(self, **variables: str) -> None:
        """Change variables, for the next start."""
        self._variables |= variables
        text = "".join(f"{name}={value}\n" for name, value in self._variables.items())
        self._env_file.write_text(text)
        self._env_file.chmod(0o640)
        os.chown(self._env_file, 0, scratch.account().pw_gid)

    def start(self) -> float:
        """Start it with what is kept; return the seconds that it took to be ready."""
        self._ready.clear()
        seen = len(self.find("watching"))
        began = time.monotonic()
        self.launch()
        assert self._ready.wait(_START_SECONDS), self.lines()[-5:]
        took = time.monotonic() - began
        until = began + _START_SECONDS
        while len(self.find("watching")) == seen and time.monotonic() < until:
            time.sleep(0.02)
        return took

    def launch(self, *program: str) -> None:
        """Start it, and do not wait."""
        given = [(name, fd) for name, fds in self.kept.items() for fd in fds]
        numbers = ",".join(str(fd) for _, fd in given)
        command = program or (sys.executable, "-I", str(scratch.program()))
        run = ("run", "--env-file", str(self._env_file), "--log-file", str(self._log))
        self.process = subprocess.Popen(
            [sys.executable, "-c", _LAUNCH, numbers, *command, *run],
            cwd="/",
            env={
                **sandbox._environment(NOTIFY_SOCKET=str(self._path)),
                "FDSTORE": "128",
                "LISTEN_FDS": str(len(given)),
                "LISTEN_FDNAMES": ":".join(name for name, _ in given),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
            umask=0o022,
            text=True,
            pass_fds=[fd for _, fd in given],
        )

    def kill(self, number: int = signal.SIGKILL) -> str:
        """End it by a signal; return what it said last on stderr."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> str:
        """Wait for its end; return what it said on stderr."""
        assert self.process is not None
        said = self.process.communicate(timeout=120)[1]
        self.process = None
        return said

    def close(self) -> None:
        """End it, and let go of everything."""
        if self.process is not None:
            self.kill()
        for fds in self.kept.values():
            for fd in fds:
                os.close(fd)
        self.kept = {}
        self._socket.shutdown(socket.SHUT_RDWR)
        self._reader.join(10)
        self._socket.close()

    def lines(self) -> list[dict[str, Any]]:
        """Return the lines of the log, of all processes."""
        text = self._log.read_text() if self._log.exists() else ""
        return [json.loads(line) for line in text.splitlines()]

    def find(self, message: str, **fields: object) -> list[dict[str, Any]]:
        """Return those with this message and these fields."""
        wanted = {"message": message, **fields}
        return [line for line in self.lines() if wanted.items() <= line.items()]

    def _hear(self) -> None:
        size = socket.CMSG_SPACE(_FDS_MOST * 4)
        while True:
            data, ancillary, *_ = self._socket.recvmsg(4096, size)
            fds = array.array("i")
            for _level, _kind, payload in ancillary:
                fds.frombytes(payload[: len(payload) - len(payload) % 4])
            said = dict(line.split("=", 1) for line in data.decode().splitlines())
            if not said:
                return
            self._heed(said, list(fds))

    def _heed(self, said: dict[str, str], fds: list[int]) -> None:
        if "FDSTORE" in said:
            assert said["FDPOLL"] == "0"
            self.kept.setdefault(said["FDNAME"], []).extend(fds)
        elif "FDSTOREREMOVE" in said:
            for fd in self.kept.pop(said["FDNAME"], []):
                os.close(fd)
        elif said.get("READY") == "1":
            self._ready.set()
