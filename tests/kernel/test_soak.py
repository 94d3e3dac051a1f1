"""Many connects on all CPUs, one in a hundred of which fails: not one too many, not one too few.

`TCP_TRACE_SOAK=1000000` makes it long; `make soak` does, and writes down what came of it.
"""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from tcp_trace.commands import sandbox
from tests.kernel import accuracy, witness

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tcp_trace.commands.sandbox import Network, Service

CONNECTS = int(os.environ.get("TCP_TRACE_SOAK", "20000"))
OPEN, CLOSED, DROPPED, BESIDE = 16_000, 16_001, 16_002, 16_003
EVERY = 100
GROWTH_KB = 1024

# Serves two ports: one for the connects, one for the traffic beside them, which it echoes.
_SERVER = """
import asyncio, resource, socket, sys
async def close(reader, writer):
    writer.close()
async def echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()
async def main():
    resource.setrlimit(resource.RLIMIT_NOFILE, (16384, 16384))
    for port, serve in zip(sys.argv[1:], (close, echo)):
        listener = socket.create_server(("", int(port)), family=socket.AF_INET6, backlog=4096,
                                        dualstack_ipv6=True)
        await asyncio.start_server(serve, sock=listener, backlog=4096)
    print("listening", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
asyncio.run(main())
"""

# A reset at the end leaves no TIME_WAIT, and so no shortage of ports.
_CLIENT = """
import errno, os, socket, struct, sys
cpu, times, every, opened, closed, dropped = map(int, sys.argv[1:])
os.sched_setaffinity(0, {cpu})
linger = struct.pack("ii", 1, 0)
addresses = ("127.0.0.1", "::1", "::ffff:127.0.0.1")
kinds = ((closed, True, errno.ECONNREFUSED), (dropped, False, errno.EINPROGRESS))
for number in range(1, times + 1):
    address = addresses[number % 3]
    turn, remainder = divmod(number, every)
    port, blocking, wanted = (opened, True, 0) if remainder else kinds[turn % 2]
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        s.setblocking(blocking)
        assert s.connect_ex((address, port)) == wanted
"""

_BESIDE = """
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as s:
    while True:
        s.sendall(b"x" * 4096)
        s.recv(65536)
"""


def start(network: Network, code: str, *arguments: int) -> subprocess.Popen[bytes]:
    """Start a script in the client's namespace."""
    command = ["ip", "netns", "exec", network.client, sys.executable, "-c", code]
    pipe = subprocess.PIPE
    return subprocess.Popen([*command, *map(str, arguments)], stdin=pipe, stdout=pipe)


def resident_kb(service: Service) -> int:
    """Return the service's resident memory."""
    status = Path("/proc", str(service.pid), "status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


def run_clients(network: Network, times: int) -> Counter[tuple[int, str]]:
    """Make connects on every CPU; return how many failed at which port, and why."""
    cpus = sorted(os.sched_getaffinity(0))
    share = times // len(cpus)
    ports = (OPEN, CLOSED, DROPPED)
    clients = [start(network, _CLIENT, cpu, share, EVERY, *ports) for cpu in cpus]
    assert [client.wait() for client in clients] == [0] * len(clients)
    for client in clients:
        client.communicate()
    given_up = len(cpus) * ((share // EVERY + 1) // 2)
    refused = len(cpus) * (share // EVERY) - given_up
    return Counter({(CLOSED, "refused"): refused, (DROPPED, "cancelled"): given_up})


@contextlib.contextmanager
def traffic(network: Network) -> Iterator[None]:
    """Serve the ports, with traffic of another connection beside the connects."""
    rules = f"chain in {{ type filter hook input priority 0; tcp dport {DROPPED} drop; }};"
    sandbox.run_in(network.client, "nft", f"table inet soak {{ {rules} }}")
    server = start(network, _SERVER, OPEN, BESIDE)
    assert server.stdout is not None
    server.stdout.readline()
    beside = start(network, _BESIDE, BESIDE)
    try:
        yield
    finally:
        beside.kill()
        beside.communicate()
        server.communicate()
        sandbox.run_in(network.client, "nft", "delete table inet soak")


def test_soak(hook: str, network: Network) -> None:
    """All failures of many connects are told, nothing else is, and memory does not grow."""
    ports = (OPEN, CLOSED, DROPPED, BESIDE)
    watched = ",".join(f"127.0.0.1:{port},[::1]:{port}" for port in ports)
    with sandbox.service(HOOK=hook, DEST_IP=watched) as service, witness.watching() as seen:
        with traffic(network):
            warm_up = run_clients(network, max(2000, CONNECTS // 10))
            before, began = resident_kb(service), time.monotonic()
            failed = run_clients(network, CONNECTS)
            seconds = time.monotonic() - began
            wanted = (warm_up + failed).total()
            service.wait_for(lambda: service.failures() >= wanted, 300)
            after = resident_kb(service)
        kept_back = seen.kept_back()
        service.stop()
    told: Counter[tuple[int, str]] = Counter()
    for line in service.find("connect failed") + service.find("failures held back"):
        told[line["dport"], line["reason"]] += line["times"]
    (tallies,) = service.find("stopped")
    sys.stdout.write(f"{hook}: {seconds:.0f} s, kept back {kept_back}, {tallies}, {told}\n")
    assert told == warm_up + failed
    assert tallies["lost"] == tallies["evicted"] == 0
    # A change of state that a sandbox's kernel kept from all BPF programs is missed, and counted.
    assert tallies["missed"] <= kept_back
    assert after - before < GROWTH_KB
    directory = os.environ.get("TCP_TRACE_ACCURACY")
    if directory:
        cpus, day = len(os.sched_getaffinity(0)), accuracy.today()
        told_of = (CONNECTS, failed.total(), before, after)
        soak = accuracy.Soak(platform.release(), hook, day, cpus, seconds, *told_of)
        accuracy.save(Path(directory), soak)
