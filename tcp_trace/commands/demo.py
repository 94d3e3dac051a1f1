"""`tcp-trace demo`: the real service against real connects, with its log and messages."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import textwrap
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from tcp_trace.commands import loopback, sandbox, scratch
from tcp_trace.commands.sandbox import SERVER
from tcp_trace.log import output
from tcp_trace.settings import environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tcp_trace.commands.sandbox import Network, Service

_OPEN, _CLOSED, _DROPPED, _IMPATIENT = 443, 5432, 6379, 9092
# Its destination is named, so its first failure is told.
_VARIABLES = {"ALERT_AFTER": "auto", "DEST_IP": SERVER, "RESOLVE_AFTER": "2s"}
_FIREWALL = f"tcp dport {{ {_DROPPED}, {_IMPATIENT} }} drop"
_WAIT_SECONDS = 20.0

# Runs in the client's namespace: a program that connects, under a name of its own.
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
server = socket.create_server((sys.argv[1], int(sys.argv[2])))
print("listening", flush=True)
sys.stdin.read()
"""

_SHOWN_FIELDS = ("daddr", "dport", "reason", "errno", "elapsed_ms", "syns", "comm", "pid", "uid")


class _Expected(NamedTuple):
    """One expected line or message, and a test of whether it arrived."""

    what: str
    arrived: Callable[[], bool]


def main() -> int:
    """Run the demo and return the exit code: 0 if everything expected arrived."""
    os.environ["PATH"] = environment.PATH
    try:
        sandbox.require()
        with sandbox.network(_FIREWALL) as network, loopback.webhook() as (url, messages):
            return _show(network, url, messages)
    except (sandbox.SandboxError, scratch.ScratchError) as error:
        output.complain(str(error))
        return 1


def _show(network: Network, url: str, messages: list[dict[str, Any]]) -> int:
    _say("Starting the service ...")
    started = time.monotonic()
    with sandbox.service(**_VARIABLES, SLACK_URL=url) as service:
        facts = service.find("watching")[0]
        _say(
            f"It runs after {time.monotonic() - started:.1f} s: kernel {facts['kernel']}, hook "
            f"{facts['hook']}. Now some programs connect:"
        )
        _make_connects(network)
        expected = _expectations(service, messages)
        service.wait_for(lambda: all(one.arrived() for one in expected), _WAIT_SECONDS)
        _report(service, messages)
    return _judge(expected)


def _make_connects(network: Network) -> None:
    with _listening(network, _OPEN):
        _connect(network, "web", _OPEN, times=5).wait()
        _connect(network, "checkout", _CLOSED, times=3).wait()
        impatient = _connect(network, "kafka-client", _IMPATIENT, timeout=0.5)
        _connect(network, "cache-warmer", _DROPPED).wait()
        impatient.wait()
    with _listening(network, _CLOSED):
        _say(f"  (something listens on port {_CLOSED} now)")
        _connect(network, "checkout", _CLOSED).wait()


def _expectations(service: Service, messages: list[dict[str, Any]]) -> list[_Expected]:
    def logged(port: int, reason: str, times: int) -> Callable[[], bool]:
        return lambda: len(service.find("connect failed", dport=port, reason=reason)) == times

    def told(port: int, *words: str) -> Callable[[], bool]:
        wanted = (f"{SERVER}:{port}", *words)
        return lambda: any(all(word in m["text"] for word in wanted) for m in messages)

    return [
        _Expected("3 refused connects logged", logged(_CLOSED, "refused", 3)),
        _Expected("1 timed-out connect logged", logged(_DROPPED, "timed_out", 1)),
        _Expected("1 connect given up by its program logged", logged(_IMPATIENT, "cancelled", 1)),
        _Expected("message: refused, by checkout", told(_CLOSED, "refused", "checkout")),
        _Expected("message: timed out, by cache-warmer", told(_DROPPED, "timed", "cache-warmer")),
        _Expected("message: given up, by kafka-client", told(_IMPATIENT, "kafka-client")),
        _Expected(f"message: {_CLOSED} recovered", told(_CLOSED, "RECOVERED")),
        _Expected(
            "no line and no message for the connects that succeeded",
            lambda: not service.find("connect failed", dport=_OPEN) and not told(_OPEN)(),
        ),
    ]


def _report(service: Service, messages: list[dict[str, Any]]) -> None:
    _say("\nWhat the service logged (the main fields of each line):")
    for line in service.find("connect failed"):
        _say("  " + json.dumps({name: line.get(name) for name in _SHOWN_FIELDS}))
    _say("\nWhat Slack would get (the text of each message):")
    for message in messages:
        _say(textwrap.indent(message["text"], "  | ") + "\n")


def _judge(expected: list[_Expected]) -> int:
    results = [(one.what, one.arrived()) for one in expected]
    for what, arrived in results:
        _say(f"  {'ok' if arrived else 'MISSING':8}{what}")
    return 0 if all(arrived for _, arrived in results) else 1


def _connect(
    network: Network, name: str, port: int, *, times: int = 1, timeout: float = 0.0
) -> subprocess.Popen[bytes]:
    limit = f", waits {timeout} s at most" if timeout else ""
    _say(f"  {name} connects to {SERVER}:{port}, {times} x{limit}")
    arguments = [name, SERVER, str(port), str(times), str(timeout)]
    command = ["ip", "netns", "exec", network.client, sys.executable, "-I", "-c", _CONNECTS]
    return subprocess.Popen([*command, *arguments])


@contextlib.contextmanager
def _listening(network: Network, port: int) -> Iterator[None]:
    command = ["ip", "netns", "exec", network.server, sys.executable, "-I", "-c", _LISTEN]
    with subprocess.Popen(
        [*command, SERVER, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None  # noqa: S101 - it was opened as a pipe
        process.stdout.readline()
        yield
        process.communicate()  # ends with its input


def _say(text: str) -> None:
    output.show(text)
