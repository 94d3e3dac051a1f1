"""The service at its bounds: bursts, full maps, a full ring; and what it may do once it runs."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tcp_trace.commands import sandbox
from tcp_trace.commands.sandbox import SERVER, call_in
from tcp_trace.service.lag import BEHIND_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tcp_trace.commands.sandbox import Network, Service

BURST = 20_000
CLOSED, DROPPED = 10_999, 11_999

# Refused connects as fast as one CPU makes them.
_HAMMER = """
import os, socket, sys
address, port, times, cpu = sys.argv[1], *map(int, sys.argv[2:])
os.sched_setaffinity(0, {cpu})
for _ in range(times):
    with socket.socket() as s:
        s.connect_ex((address, port))
"""


def hammer(network: Network, times: int) -> float:
    """Make refused connects on every CPU, `times` in all; return the seconds it took."""
    command = ["ip", "netns", "exec", network.client, sys.executable, "-c", _HAMMER]
    cpus = sorted(os.sched_getaffinity(0))
    share, rest = divmod(times, len(cpus))
    started = time.monotonic()
    running = [
        subprocess.Popen([*command, "127.0.0.1", str(CLOSED), str(share + (n < rest)), str(cpu)])
        for n, cpu in enumerate(cpus)
    ]
    assert [process.wait(600) for process in running] == [0] * len(cpus)
    return time.monotonic() - started


@contextlib.contextmanager
def asleep(service: Service) -> Iterator[None]:
    """Let the service read nothing for a while."""
    os.kill(service.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(service.pid, signal.SIGCONT)


def tallies_of(service: Service) -> dict[str, int]:
    """Stop the service and return what its kernel program counted."""
    assert service.stop() == 0
    (stopped,) = service.find("stopped")
    return stopped


def test_a_burst_is_not_lost(hook: str, network: Network) -> None:
    """Of 20,000 failures that nobody reads meanwhile all are told, with a ring of default size."""
    # However fast they come: the ring holds what one user may make at once, the rest is counted.
    with sandbox.service(HOOK=hook, DEST_IP=f"127.0.0.1:{CLOSED}") as service:
        with asleep(service):
            seconds = hammer(network, BURST)
        service.wait_for(lambda: service.failures(dport=CLOSED) >= BURST, 300)
        told = service.failures(dport=CLOSED)
        tallies = tallies_of(service)
    sys.stdout.write(f"{hook}: {BURST} failures in {seconds:.1f} s: {tallies}\n")
    assert told == BURST
    assert tallies["lost"] == tallies["missed"] == tallies["evicted"] == 0
    assert tallies["submitted"] + tallies["held"] == BURST
    assert tallies["held_full"] == 0 < tallies["held"]


def test_a_long_burst_takes_bounded_memory(hook: str, network: Network) -> None:
    """40,000 failures as fast as two CPUs make them: each is told or counted as lost."""
    times = 2 * BURST
    with sandbox.service(HOOK=hook, DEST_IP=f"127.0.0.1:{CLOSED}") as service:
        seconds = hammer(network, times)
        began = time.monotonic()
        told = service.wait_for(lambda: service.failures(dport=CLOSED) >= times, 300)
        late = time.monotonic() - began
        status = Path("/proc", str(service.pid), "status").read_text()
        most = int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0])
        tallies = tallies_of(service)
    sys.stdout.write(f"{hook}: {times} in {seconds:.1f} s, told {late:.1f} s after, {most} kB\n")
    assert told or tallies["lost"]
    assert tallies["submitted"] + tallies["held"] + tallies["lost"] == times
    assert tallies["log_lines_lost"] == 0
    assert service.failures(dport=CLOSED) == tallies["submitted"] + tallies["held"]
    assert most < 70_000


def test_being_behind_is_said(hook: str, network: Network) -> None:
    """Records that are read only after seconds make a line that says how old they were."""
    with sandbox.service(HOOK=hook, DEST_IP=f"127.0.0.1:{CLOSED}") as service:
        began = time.monotonic()
        with asleep(service):
            hammer(network, 23)
            time.sleep(BEHIND_SECONDS + 1)
        service.wait_for(lambda: service.find("connect failed", dport=CLOSED))
        took = time.monotonic() - began
        assert service.stop() == 0
    (line,) = [each for each in service.lines if "is behind" in str(each["message"])]
    assert BEHIND_SECONDS < line["behind"] < took


def test_what_a_full_ring_does_not_take_is_counted(hook: str, network: Network) -> None:
    """No failure is lost: it is counted with others like it. That it began is, and the log says so.

    A ring of 1 MiB holds 6,553 records, and each connect makes two.
    """
    times = 3_500  # within the budget of a user
    watched = f"127.0.0.1:{CLOSED}"
    with sandbox.service(HOOK=hook, RING_MB="1", EVENTS="attempts", DEST_IP=watched) as service:
        with asleep(service):
            hammer(network, times)
        service.wait_for(lambda: service.failures(dport=CLOSED) >= times, 300)
        tallies = tallies_of(service)
    assert tallies["lost"] > 0 < tallies["held"]
    assert tallies["submitted"] + tallies["lost"] + tallies["held"] == 2 * times
    assert service.failures(dport=CLOSED) == times
    assert sum(line["times"] for line in service.find("failures held back")) == tallies["held"]
    (line,) = service.find("records were lost: the ring was full; raise RING_MB")
    assert line["lost"] == tallies["lost"]


def test_an_evicted_attempt_is_still_told(hook: str, network: Network) -> None:
    """More attempts in flight than the map holds: each failure is told, few without a maker."""
    times = 18_000
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = times + len(os.listdir("/proc/self/fd")) + 100  # noqa: PTH208 - they are numbers
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, max(limit[1], needed)))
    sandbox.run_in(network.client, "sysctl", "-qw", "net.ipv4.tcp_syn_retries=20")
    try:
        with sandbox.service(HOOK=hook, DEST_IP=f"{SERVER}:{DROPPED}") as service:
            for sock in call_in(network.client, lambda: in_flight(times)):
                sock.close()
            service.wait_for(lambda: service.failures() >= times, 300)
            told = service.failures(dport=DROPPED)
            unknown = service.failures(comm=None)
            tallies = tallies_of(service)
    finally:
        sandbox.run_in(network.client, "sysctl", "-qw", "net.ipv4.tcp_syn_retries=1")
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
    assert told == times
    assert times / 4 > unknown == tallies["evicted"] > 0
    assert tallies["lost"] == tallies["missed"] == 0


def in_flight(times: int) -> list[socket.socket]:
    """Return sockets in SYN_SENT."""
    sockets = []
    for _ in range(times):
        sock = socket.socket()
        sock.settimeout(0)
        sock.connect_ex((SERVER, DROPPED))
        sockets.append(sock)
    return sockets


def test_the_compiler_is_gone(hook: str) -> None:
    """Once it runs it has no compiler in its memory, and 30 MB before the first message.

    How much of the shared libraries is resident is the kernel's choice, and varies; what is its own
    is the same each time, but for the version of Python.
    """
    webhook = "http://127.0.0.1:1/services/T0/B0/x"
    with sandbox.service(HOOK=hook, SLACK_URL=webhook, DEST_IP=SERVER) as service:
        process = Path("/proc", str(service.pid))
        status = dict(
            line.split(":\t", 1) for line in process.joinpath("status").read_text().splitlines()
        )
        mapped = process.joinpath("maps").read_text()
    assert "libLLVM" not in mapped
    assert "libbcc" not in mapped
    assert "libbpf" not in mapped
    resident = {name: int(status[name].split()[0]) for name in ("RssAnon", "VmRSS")}
    assert resident["RssAnon"] < (20_000 if sys.version_info < (3, 13) else 23_000), resident
    assert resident["VmRSS"] < 40_000, resident
