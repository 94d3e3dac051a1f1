"""A sandbox for the real service: network namespaces, and the service itself.

The demo and the kernel tests use it. Two namespaces, a client and a server, have a cable between
them; a firewall in the server's drops or rejects traffic to some ports. Everything is removed at
the end. Needs root.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from tcp_trace.commands import scratch
from tcp_trace.settings.variables import VARIABLES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

ResultT = TypeVar("ResultT")

CLIENT, SERVER = "192.0.2.1", "192.0.2.2"  # addresses for documentation (TEST-NET-1)
CLIENT6, SERVER6 = "2001:db8::1", "2001:db8::2"

_START_SECONDS = 300.0  # compiling is slow on an emulated machine, more so on a busy one
_WAIT_SECONDS = 60.0
_CLONE_NEWNET = 0x40000000
_ABSENT = object()
_NUMBERS = itertools.count(1)


class SandboxError(Exception):
    """The sandbox cannot be created here, or the service does not start; the text says why."""


class Network(NamedTuple):
    """Two namespaces, by name."""

    client: str
    server: str


def require(tools: tuple[str, ...] = ("ip", "nft", "useradd")) -> None:
    """Raise SandboxError without root or without a tool."""
    if os.geteuid() != 0:
        raise SandboxError(
            "needs root, for the kernel program and for network namespaces: use sudo"
        )
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        raise SandboxError(
            f"{', '.join(missing)} not found: apt-get install iproute2 nftables passwd"
        )


@contextlib.contextmanager
def network(firewall: str = "") -> Iterator[Network]:
    """Make two namespaces with a cable between them.

    `firewall` has nftables rules for input to the server, separated by semicolons. The client's
    kernel gives up after 3 s instead of two minutes.
    """
    prefix = f"tcp-trace-{os.getpid()}-{next(_NUMBERS)}"
    names = Network(*(f"{prefix}-{role}" for role in Network._fields))
    try:
        for name in names:
            run("ip", "netns", "add", name)
        run("ip", "-n", names.client, "link", "add", "v0", "type", "veth", "peer", "v0",
            "netns", names.server)  # fmt: skip
        for name, addresses in zip(names, ((CLIENT, CLIENT6), (SERVER, SERVER6)), strict=True):
            _configure(name, *addresses)
        run_in(names.client, "sysctl", "-qw", "net.ipv4.tcp_syn_retries=1")
        if firewall:
            rules = f"chain in {{ type filter hook input priority 0; {firewall}; }};"
            run_in(names.server, "nft", f"table inet sandbox {{ {rules} }}")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


def _configure(namespace: str, address: str, address6: str) -> None:
    run("ip", "-n", namespace, "address", "add", f"{address}/24", "dev", "v0")
    run("ip", "-n", namespace, "address", "add", f"{address6}/64", "dev", "v0", "nodad")
    for device in ("lo", "v0"):
        run("ip", "-n", namespace, "link", "set", device, "up")


def run(*command: str) -> str:
    """Run a command and return its output; raise SandboxError if it fails."""
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SandboxError(f"'{' '.join(command)}' failed: {done.stderr.strip()}")
    return done.stdout


def run_in(namespace: str, *command: str) -> str:
    """Run a command in a network namespace; see `run`."""
    return run("ip", "netns", "exec", namespace, *command)


def call_in(namespace: str, function: Callable[[], ResultT]) -> ResultT:
    """Call a function in a thread that enters a network namespace."""
    results: list[ResultT] = []
    errors: list[Exception] = []

    def inside() -> None:
        try:
            _enter(namespace)
            results.append(function())
        except Exception as error:  # noqa: BLE001 - raised again by the caller's thread
            errors.append(error)

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def _enter(namespace: str) -> None:
    """Move this thread, and threads that it starts later, into a network namespace."""
    with Path("/run/netns", namespace).open() as file:
        if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")


class Service:
    """The real service, as a user of its own. `lines` are its log, parsed.

    `directory` is root's; only `state`, which the service writes, is the user's.
    """

    def __init__(self, directory: Path, variables: Mapping[str, str]) -> None:
        self._env_file = directory / "tcp-trace.env"
        state = directory / "state"
        state.mkdir()
        scratch.give(state, 0o700)
        self._variables = {
            "STATE_DIR": str(state),
            "SERVICE_USER": scratch.account().pw_name,
            "LOG_FORMAT": "json",
            "ALERT_AFTER": "1",  # nobody waits here for a second failure
            **variables,
        }
        self._write()
        self.lines: list[dict[str, Any]] = []
        notify = directory / "notify"
        self._notified = _notify_socket(notify)
        command = [sys.executable, "-I", str(scratch.program()), "run"]
        self._process = subprocess.Popen(
            [*command, "--env-file", str(self._env_file)],
            cwd="/",
            env=_environment(NOTIFY_SOCKET=str(notify)),
            # No terminal: from one, the service would run as a child of its own.
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
            umask=0o022,
            text=True,
        )
        self._reader = threading.Thread(target=self._collect, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The PID of the service."""
        return self._process.pid

    def await_ready(self) -> dict[str, Any]:
        """Wait for READY=1; return the line `watching` of the log."""
        until = time.monotonic() + _START_SECONDS
        while time.monotonic() < until and self._process.poll() is None:
            with contextlib.suppress(TimeoutError):
                if b"READY=1" in self._notified.recv(4096):
                    return self.wait_for(lambda: self.find("watching"))[0]
        said = "\n".join(str(line.get("message")) for line in self.lines)
        raise SandboxError(f"the service did not start:\n{said}\nSee 'tcp-trace check'.")

    def find(self, message: str, **fields: object) -> list[dict[str, Any]]:
        """Return the log's lines with this message and these fields."""
        return [
            line
            for line in list(self.lines)
            if line.get("message") == message
            and all(line.get(name, _ABSENT) == value for name, value in fields.items())
        ]

    def failures(self, **fields: object) -> int:
        """Return the number of failures in the log, in lines with these fields."""
        messages = ("connect failed", "failures held back", "more failures held back")
        return sum(line["times"] for each in messages for line in self.find(each, **fields))

    def wait_for(self, condition: Callable[[], ResultT], seconds: float = _WAIT_SECONDS) -> ResultT:
        """Wait until a condition holds, at most `seconds`; return its last result."""
        until = time.monotonic() + seconds
        while not (result := condition()) and time.monotonic() < until:
            time.sleep(0.1)
        return result

    def reconfigure(self, *, wait: float = _WAIT_SECONDS, **variables: str) -> None:
        """Change variables in the env file and reload the service.

        Raises SandboxError if it does not reload within `wait` seconds.
        """
        self._variables.update(variables)
        self._write()
        seen = len(self.find("reloaded"))
        self._process.send_signal(signal.SIGHUP)
        if not self.wait_for(lambda: len(self.find("reloaded")) > seen, wait):
            raise SandboxError("the service did not reload")

    def stop(self) -> int:
        """Stop the service; return its exit code."""
        self._process.terminate()
        code = self._process.wait(_WAIT_SECONDS)
        self._reader.join(_WAIT_SECONDS)
        self._notified.close()
        return code

    def _write(self) -> None:
        text = "".join(f"{name}={value}\n" for name, value in self._variables.items())
        self._env_file.write_text(text)
        self._env_file.chmod(0o640)
        os.chown(self._env_file, 0, scratch.account().pw_gid)

    def _collect(self) -> None:
        assert self._process.stderr is not None  # noqa: S101 - it was opened as a pipe
        with self._process.stderr as stderr:
            for line in stderr:
                try:
                    parsed = json.loads(line)
                except ValueError:
                    parsed = {"message": line.rstrip()}
                self.lines.append(parsed)


@contextlib.contextmanager
def service(**variables: str) -> Iterator[Service]:
    """Run the real service with these variables, ready when the block begins."""
    with scratch.directory() as directory:
        running = Service(directory, variables)
        try:
            running.await_ready()
            yield running
        finally:
            running.stop()


def _environment(**more: str) -> dict[str, str]:
    """Return the environment without proxies and our variables, which override the env file.

    The sandbox's webhook is on loopback, and must not go through a proxy.
    """
    ours = {variable.name for variable in VARIABLES}
    return {
        name: value
        for name, value in os.environ.items()
        if name not in ours and not name.lower().endswith("_proxy")
    } | more


def _notify_socket(path: Path) -> socket.socket:
    """Stand in for systemd, to receive `READY=1`."""
    notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notified.bind(str(path))
    scratch.give(path, 0o600)
    notified.settimeout(0.2)
    return notified
