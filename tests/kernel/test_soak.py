"""Many connects on all CPUs, one in a hundred of which fails: not one too many, not one too few.

`TCP_TRACE_SOAK=1000000` makes it long; `make soak` does.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from tcp_trace import sandbox

if TYPE_CHECKING:
    from tcp_trace.sandbox import Network, Service

CONNECTS = int(os.environ.get("TCP_TRACE_SOAK", "20000"))
OPEN, CLOSED, BESIDE = 16_000, 16_001, 16_002
EVERY = 100
GROWTH_KB = 1024

# Serves two ports: one for the connects, one for the traffic beside them, which it echoes.
_SERVER = """
import asyncio, resource, sys
async def close(reader, writer):
    writer.close()
async def echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()
async def main():
    resource.setrlimit(resource.RLIMIT_NOFILE, (16384, 16384))
    await asyncio.start_server(close, "127.0.0.1", int(sys.argv[1]), backlog=1024)
    await asyncio.start_server(echo, "127.0.0.1", int(sys.argv[2]))
    print("listening", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
asyncio.run(main())
"""

# A reset at the end leaves no TIME_WAIT, and so no shortage of ports.
_CLIENT = """
import socket, struct, sys
times, every, opened, closed = map(int, sys.argv[1:])
linger = struct.pack("ii", 1, 0)
for number in range(1, times + 1):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        failed = s.connect_ex(("127.0.0.1", opened if number % every else closed))
        assert bool(failed) is (number % every == 0), failed
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


def run_clients(network: Network, times: int) -> int:
    """Make connects from as many processes as there are CPUs; return how many failed."""
    processes = os.cpu_count() or 1
    share = times // processes
    clients = [start(network, _CLIENT, share, EVERY, OPEN, CLOSED) for _ in range(processes)]
    assert [client.wait() for client in clients] == [0] * processes
    for client in clients:
        client.communicate()
    return processes * (share // EVERY)


def test_soak(hook: str, network: Network) -> None:
    """All failures of many connects are told, nothing else is, and memory does not grow."""
    watched = ",".join(f"127.0.0.1:{port}" for port in (OPEN, CLOSED, BESIDE))
    with sandbox.service(HOOK=hook, DEST_IP=watched) as service:
        server = start(network, _SERVER, OPEN, BESIDE)
        assert server.stdout is not None
        server.stdout.readline()
        beside = start(network, _BESIDE, BESIDE)
        try:
            failed = run_clients(network, max(2000, CONNECTS // 10))
            before = resident_kb(service)
            failed += run_clients(network, CONNECTS)
            service.wait_for(lambda: len(service.find("connect failed")) >= failed, 60)
            after = resident_kb(service)
        finally:
            beside.kill()
            beside.communicate()
            server.communicate()
        service.stop()
    told = Counter((line["dport"], line["reason"]) for line in service.find("connect failed"))
    (tallies,) = service.find("stopped")
    sys.stdout.write(f"{hook}: {CONNECTS} connects, {tallies}, RSS {before} -> {after} kB\n")
    assert told == {(CLOSED, "refused"): failed}
    assert tallies["lost"] == tallies["missed"] == tallies["evicted"] == 0
    assert after - before < GROWTH_KB
