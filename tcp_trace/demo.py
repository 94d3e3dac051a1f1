"""`tcp-trace demo`: the real service against real connects, in network namespaces of its own.

Two namespaces stand for a client and a server, a firewall rule in the server's drops what comes to
some ports. A local HTTP server takes the place of Slack. Everything is removed at the end.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tcp_trace import resources

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_CLIENT, _SERVER = "192.0.2.1", "192.0.2.2"  # TEST-NET-1: never anybody's real address
_OPEN, _CLOSED, _DROPPED, _IMPATIENT = 443, 5432, 6379, 9092
_START_SECONDS = 60.0
_WAIT_SECONDS = 20.0

_FIREWALL = f"table inet demo {{ chain in {{ type filter hook input priority 0; \
tcp dport {{ {_DROPPED}, {_IMPATIENT} }} drop; }}; }}"

# What runs in the client's namespace: one program that connects, under a name of its own.
_CONNECTS = """
import socket, sys
name, address, port, times, timeout = sys.argv[1:]
open("/proc/self/comm", "w").write(name)
for _ in range(int(times)):
    with socket.socket() as s:
        s.settimeout(float(timeout) or None)
        s.connect_ex((address, int(port)))
"""

_LISTEN = """
import socket, sys
servers = [socket.create_server((sys.argv[1], int(port))) for port in sys.argv[2:]]
print("listening", flush=True)
sys.stdin.read()
"""


class DemoError(Exception):
    """The demo cannot run here, or what it expected did not come; the text says which."""


class _Expected(NamedTuple):
    """One thing that the demo makes happen: what it is, and how to see that it was told."""

    what: str
    arrived: Callable[[_Seen], bool]


class _Seen:
    """What came from the service: log lines and messages, with the time since the start."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []
        self.messages: list[dict[str, Any]] = []

    def failures(self, port: int, reason: str) -> int:
        """Return how many failed connects to `port` were told with this reason."""
        return sum(
            line.get("message") == "connect failed"
            and line.get("dport") == port
            and line.get("reason") == reason
            for line in self.lines
        )

    def told(self, *words: str) -> bool:
        """Tell whether one message has all the words in its text."""
        return any(all(word in message["text"] for word in words) for message in self.messages)


def main() -> int:
    """Run the demo and return the exit code: 0 if everything expected arrived."""
    try:
        _require()
        with _network() as (client, server), _webhook() as (url, messages):
            return _show(client, server, url, messages)
    except DemoError as error:
        sys.stderr.write(f"tcp-trace demo: {error}\n")
        return 1


def _require() -> None:
    if os.geteuid() != 0:
        raise DemoError("needs root, for the kernel program and for network namespaces: use sudo")
    missing = [tool for tool in ("ip", "nft", "setpriv") if shutil.which(tool) is None]
    if missing:
        raise DemoError(f"{', '.join(missing)} not found: apt-get install iproute2 nftables")


def _show(client: str, server: str, url: str, messages: list[dict[str, Any]]) -> int:
    seen = _Seen()
    seen.messages = messages
    with _service(url, seen):
        _say("The service runs. Now some programs connect:")
        _make_connects(client, server)
        missing = _wait_for(_expectations(), seen)
    _report(seen, missing)
    return 1 if missing else 0


def _make_connects(client: str, server: str) -> None:
    with _listening(server, _OPEN):
        _connect(client, "web", _OPEN, times=5)
        _connect(client, "checkout", _CLOSED, times=3)
        impatient = _start_connect(client, "kafka-client", _IMPATIENT, timeout=0.5)
        patient = _start_connect(client, "cache-warmer", _DROPPED)
        for running in (impatient, patient):
            running.wait(_WAIT_SECONDS)
    with _listening(server, _CLOSED):
        _say(f"  (something listens on port {_CLOSED} now)")
        _connect(client, "checkout", _CLOSED, times=1)


def _expectations() -> list[_Expected]:
    def at(port: int) -> str:
        return f"{_SERVER}:{port}"

    return [
        _Expected("5 connects that succeeded: not a word", lambda s: not s.told(at(_OPEN))),
        _Expected("3 refused connects logged", lambda s: s.failures(_CLOSED, "refused") == 3),
        _Expected("1 connect timed out", lambda s: s.failures(_DROPPED, "timed_out") == 1),
        _Expected("1 given up by its program", lambda s: s.failures(_IMPATIENT, "cancelled") == 1),
        _Expected("message: refused, by checkout", lambda s: s.told(at(_CLOSED), "checkout")),
        _Expected("message: timed out, by cache-warmer", lambda s: s.told(at(_DROPPED), "cache-")),
        _Expected("message: given up, by kafka-client", lambda s: s.told(at(_IMPATIENT), "kafka")),
        _Expected(
            f"message: port {_CLOSED} recovered", lambda s: s.told(at(_CLOSED), "RECOVERED")
        ),
    ]


def _wait_for(expected: list[_Expected], seen: _Seen) -> list[_Expected]:
    """Wait until everything arrived; return what did not, in time."""
    until = time.monotonic() + _WAIT_SECONDS
    while time.monotonic() < until:
        missing = [one for one in expected if not one.arrived(seen)]
        if not missing:
            return []
        time.sleep(0.1)
    return missing


def _report(seen: _Seen, missing: list[_Expected]) -> None:
    _say("\nWhat the service logged (its own names for the fields):")
    for line in seen.lines:
        if line.get("message") == "connect failed":
            _say("  " + json.dumps({k: v for k, v in line.items() if k in _SHOWN_FIELDS}))
    _say("\nWhat Slack would get:")
    for message in seen.messages:
        _say(textwrap.indent(message["text"], "  | ") + "\n")
    for one in _expectations():
        _say(f"  {'MISSING' if one.what in [m.what for m in missing] else 'ok':8}{one.what}")


_SHOWN_FIELDS = ("daddr", "dport", "reason", "errno", "elapsed_ms", "syns", "comm", "pid", "uid")


@contextlib.contextmanager
def _network() -> Iterator[tuple[str, str]]:
    """Make two namespaces with a cable between them; yield their names."""
    names = tuple(f"tcp-trace-demo-{os.getpid()}-{role}" for role in ("client", "server"))
    try:
        for name in names:
            _run("ip", "netns", "add", name)
        _run("ip", "-n", names[0], "link", "add", "v0", "type", "veth", "peer", "v0", "netns",
             names[1])  # fmt: skip
        for name, address in zip(names, (_CLIENT, _SERVER), strict=True):
            _run("ip", "-n", name, "address", "add", f"{address}/24", "dev", "v0")
            _run("ip", "-n", name, "link", "set", "v0", "up")
        _run("ip", "netns", "exec", names[1], "nft", _FIREWALL)
        # The kernel then gives up after 3 s and not after two minutes.
        _run("ip", "netns", "exec", names[0], "sysctl", "-qw", "net.ipv4.tcp_syn_retries=1")
        yield names[0], names[1]
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


def _run(*command: str) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise DemoError(f"'{' '.join(command)}' failed: {done.stderr.strip()}")


@contextlib.contextmanager
def _webhook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Serve a webhook on loopback; yield its URL and the list that fills with messages."""
    messages: list[dict[str, Any]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # noqa: N802 - the name is the base class's
            messages.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_address[1]}/services/demo", messages
        httpd.shutdown()


@contextlib.contextmanager
def _service(url: str, seen: _Seen) -> Iterator[None]:
    """Run the real service until the block ends; its log lines go to `seen`."""
    with tempfile.TemporaryDirectory(prefix="tcp-trace-demo-") as name:
        directory = Path(name)
        directory.chmod(0o777)  # the service is not root for long
        with _notify_socket(directory) as (path, notified):
            env = {
                **os.environ,
                "SLACK_URL": url,
                "DEST_IP": f"{_SERVER}/32",
                "RESOLVE_AFTER": "2s",
                "STATE_DIR": name,
                "SERVICE_USER": "nobody",
                "LOG_FORMAT": "json",
                "NOTIFY_SOCKET": path,
            }
            started = time.monotonic()
            process = subprocess.Popen(
                [sys.executable, "-m", "tcp_trace", "run", "--env-file", os.devnull],
                env=env,
                cwd=_readable_copy(directory),
                stderr=subprocess.PIPE,
                text=True,
            )
            reader = threading.Thread(target=_collect, args=(process, seen), daemon=True)
            reader.start()
            try:
                _await_ready(process, notified, seen)
                _say_started(seen, time.monotonic() - started)
                yield
            finally:
                process.terminate()
                process.wait(_WAIT_SECONDS)
                reader.join(_WAIT_SECONDS)


def _readable_copy(directory: Path) -> Path:
    """Copy the program to where the unprivileged stage can read it: a checkout may be in /root."""
    copy = directory / "program"
    for name in ("bpf", "tcp_trace"):
        source = resources.directory(name)
        shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (copy, *copy.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return copy


@contextlib.contextmanager
def _notify_socket(directory: Path) -> Iterator[tuple[str, socket.socket]]:
    """Take the place of systemd for `READY=1`."""
    path = str(directory / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(path)
        Path(path).chmod(0o777)
        notified.settimeout(0.2)
        yield path, notified


def _await_ready(process: subprocess.Popen[str], notified: socket.socket, seen: _Seen) -> None:
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until:
        with contextlib.suppress(TimeoutError):
            if b"READY=1" in notified.recv(4096):
                return
        if process.poll() is not None:
            break
    said = "\n".join(str(line.get("message")) for line in seen.lines)
    raise DemoError(f"the service did not start:\n{said}\nSee 'tcp-trace check'.")


def _collect(process: subprocess.Popen[str], seen: _Seen) -> None:
    assert process.stderr is not None  # noqa: S101 - it was opened as a pipe
    for line in process.stderr:
        try:
            parsed = json.loads(line)
        except ValueError:
            parsed = {"message": line.rstrip()}
        seen.lines.append(parsed)


def _say_started(seen: _Seen, seconds: float) -> None:
    told = next((line for line in seen.lines if line.get("message") == "watching"), {})
    _say(
        f"Started in {seconds:.1f} s: kernel {told.get('kernel')}, hook {told.get('hook')}, "
        f"headers of {told.get('headers')}."
    )


def _connect(namespace: str, name: str, port: int, *, times: int) -> None:
    _start_connect(namespace, name, port, times=times).wait(_WAIT_SECONDS)


def _start_connect(
    namespace: str, name: str, port: int, *, times: int = 1, timeout: float = 0.0
) -> subprocess.Popen[bytes]:
    _say(f"  {name}: {times} x {_SERVER}:{port}" + (f", waits {timeout} s" if timeout else ""))
    arguments = [name, _SERVER, str(port), str(times), str(timeout)]
    return subprocess.Popen(
        ["ip", "netns", "exec", namespace, sys.executable, "-c", _CONNECTS, *arguments]
    )


@contextlib.contextmanager
def _listening(namespace: str, port: int) -> Iterator[None]:
    process = subprocess.Popen(
        ["ip", "netns", "exec", namespace, sys.executable, "-c", _LISTEN, _SERVER, str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None  # noqa: S101 - it was opened as a pipe
    assert process.stdout is not None  # noqa: S101 - the same
    try:
        process.stdout.readline()
        yield
    finally:
        process.stdin.close()
        process.wait(_WAIT_SECONDS)
        process.stdout.close()


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
