"""A kprobe that is placed and not run: somebody disarmed all of them."""

from __future__ import annotations

import contextlib
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tcp_trace.commands import sandbox
from tcp_trace.commands.sandbox import SERVER, call_in
from tests.kernel.connects import attempt, begun, is_connecting, many

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from tcp_trace.commands.sandbox import Network

TIMES = 23
CLOSED, DROPPED = 10_951, 11_951
_LOOK_SECONDS = 120.0
HOOK_UNUSED = (
    "the hook is not run, the net behind it does its work; look whether"
    " /sys/kernel/debug/kprobes/enabled and kernel.ftrace_enabled are 1"
)


def pending() -> socket.socket:
    """Return a socket that waits for an answer that never comes."""
    sock = begun(SERVER, DROPPED)
    assert is_connecting(sock)
    return sock


@contextlib.contextmanager
def kprobes() -> Iterator[Path]:
    """Give the file that disarms kprobes; afterwards they are armed."""
    with tempfile.TemporaryDirectory(prefix="tcp-trace-debugfs-") as directory:
        sandbox.run("mount", "-t", "debugfs", "debugfs", directory)
        enabled = Path(directory, "kprobes/enabled")
        try:
            yield enabled
        finally:
            enabled.write_text("1")
            sandbox.run("umount", directory)


def test_at_the_start_the_tracepoint_is_taken(network: Network) -> None:
    """It says so, and misses nothing; who insists on the kprobe is refused with the reason."""

    def run() -> sandbox.Service:
        with sandbox.service(HOOK="auto") as service:
            many(TIMES, lambda: attempt(SERVER, CLOSED))
            service.wait_for(lambda: len(service.find("connect failed", dport=CLOSED)) >= TIMES)
            service.stop()
        return service

    with kprobes() as enabled:
        enabled.write_text("0")
        service = call_in(network.client, run)
        refused = pytest.raises(sandbox.SandboxError, match=r"is placed but not run; .*HOOK=kprobe")
        with refused, sandbox.service(HOOK="kprobe"):
            pass
    (watching,) = service.find("watching")
    assert watching["hook"] == "tracepoint"
    assert "is placed but not run" in watching["fallback"]
    assert len(service.find("connect failed", dport=CLOSED)) == TIMES


def test_later_the_net_does_its_work(network: Network) -> None:
    """Nothing is lost, each is told once and whose it was; the log says so, once per episode."""

    def run() -> sandbox.Service:
        with sandbox.service(HOOK="kprobe", EVENTS="failures") as service, kprobes() as enabled:
            before = pending()
            enabled.write_text("0")
            before.close()
            many(TIMES, lambda: attempt(SERVER, CLOSED))
            attempt(SERVER, DROPPED, blocking=False, patience=0.01)
            service.wait_for(lambda: service.find(HOOK_UNUSED), _LOOK_SECONDS)
            meanwhile = pending()
            enabled.write_text("1")
            meanwhile.close()
            many(TIMES, lambda: attempt(SERVER, CLOSED + 1))
            time.sleep(1.0)
            service.stop()
        return service

    service = call_in(network.client, run)
    for port in (CLOSED, CLOSED + 1):
        told = service.find("connect failed", dport=port, reason="refused")
        assert len(told) == TIMES
        assert all(line["pid"] for line in told)
    given_up = service.find("connect failed", dport=DROPPED, reason="cancelled")
    assert len(given_up) == 3
    assert all(line["pid"] for line in given_up)
    (unused,) = service.find(HOOK_UNUSED)
    assert unused["taken_up"] == TIMES + 1
    (stopped,) = service.find("stopped")
    assert stopped["taken_up"] == TIMES + 2
    assert stopped["missed"] == stopped["evicted"] == 0
    assert stopped["coverage_attempts"] == stopped["coverage_failures"] == 1.0
