"""Programs that ask a name server and connect, and the service that hears them."""

from __future__ import annotations

import contextlib
import sys
from itertools import count
from typing import TYPE_CHECKING

from tcp_trace.commands import sandbox, scratch
from tcp_trace.commands.sandbox import SERVER
from tests.kernel.dns import NameServer, wire
from tests.libc import LIBC

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tcp_trace.commands.sandbox import Network, Service

# A line of these is a step of a program: what it asks for, and what it connects to.
_STEPS = """
import socket, sys

def look_up(name):
    return [found[4][0] for found in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)]

def connect(address, port):
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as sock:
        sock.settimeout(2)
        sock.connect_ex((address, port))

def from_whom(sock):
    return sock.recvfrom(65536)[0]

def from_anybody(sock):
    return sock.recv(65536)

def into_two_buffers(sock):
    sock.recvmsg_into([bytearray(20), bytearray(65536)])

def too_short(sock):
    sock.recvfrom(50)

def ask(query, receive=from_whom, *, connected=True):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(60)
        if connected:
            sock.connect((SERVER, 53))
            sock.send(query)
        else:
            sock.sendto(query, (SERVER, 53))
        return receive(sock)

def ask_tcp(query, receive):
    with socket.create_connection((SERVER, 53), timeout=60) as sock:
        sock.sendall(len(query).to_bytes(2, "big") + query)
        receive(sock)

def in_pieces(sock):
    sock.recv(2)
    sock.recv(20)
    sock.recv(65536)

def at_once(sock):
    sock.recv(65536)

def length_first(sock):
    size = int.from_bytes(sock.recv(2), "big")
    sock.recv(size)

def in_two_buffers(sock):
    sock.recvmsg_into([bytearray(2), bytearray(65536)])

def in_two_buffers_filled(sock):
    size = int.from_bytes(sock.recv(2, socket.MSG_PEEK), "big")
    sock.recvmsg_into([bytearray(2), bytearray(size)])
"""
QUERY = b"\x12\x34\x01\0\0\1\0\0\0\0\0\0"
PORTS = count(10_000)  # nobody listens there
NETWORK = "198.18.0.0/15"  # for tests of network devices (RFC 2544): nobody's real addresses
_NUMBERS = count(1)
_CLONE_NEWNS = 0x20000


@contextlib.contextmanager
def servers(network: Network) -> Iterator[NameServer]:
    """Run the name server; let the server's namespace have every address of `NETWORK`."""
    sandbox.run(*f"ip -n {network.server} route replace local {NETWORK} dev lo".split())
    sandbox.run(*f"ip -n {network.client} route replace {NETWORK} via {SERVER}".split())
    running = NameServer(network.server)
    yield running
    running.close()


@contextlib.contextmanager
def service(**variables: str) -> Iterator[Service]:
    """Run the service, which learns names on every kernel that runs this."""
    watched = f"192.0.2.0/24,2001:db8::/32,{NETWORK}"
    with sandbox.service(DEST_IP=watched, **variables) as running:
        facts = running.find("watching")[0]
        assert "no_names" not in facts, facts
        yield running


@contextlib.contextmanager
def service_in(namespace: str, resolv_conf: Path, **variables: str) -> Iterator[Service]:
    """Run the service in a network namespace, where `resolv_conf` is /etc/resolv.conf."""
    scratch.program()  # what it starts is to be outside
    with contextlib.ExitStack() as stack:

        def start() -> Service:
            if LIBC.unshare(_CLONE_NEWNS):
                raise OSError("unshare")
            sandbox.run("mount", "--make-rslave", "/")
            sandbox.run("mount", "--bind", str(resolv_conf), "/etc/resolv.conf")
            return stack.enter_context(service(**variables))

        yield sandbox.call_in(namespace, start)


def an_address() -> str:
    """Return an address of the server that no other test uses."""
    number = next(_NUMBERS)
    return f"198.18.{number >> 8}.{number & 0xFF}"


def a_name() -> str:
    """Return a name that no other test uses."""
    return f"Host-{next(PORTS)}.Example.com"


def program(*steps: str) -> str:
    """Return a program of these steps."""
    return _STEPS + f"SERVER = {SERVER!r}\n" + "\n".join(steps)


def run(place: Network, *steps: str, uid: int = 0) -> str:
    """Run steps of `_STEPS` as one process in the client's namespace; return what it printed."""
    user = ["setpriv", f"--reuid={uid}", "--clear-groups"] if uid else []
    return sandbox.run_in(place.client, *user, sys.executable, "-c", program(*steps))


def connect(place: Network, address: str, *steps: str, uid: int = 0) -> int:
    """Take steps and connect to an address as one process; return the port."""
    port = next(PORTS)
    run(place, *steps, f"connect({address!r}, {port})", uid=uid)
    return port


def told(service: Service, port: int) -> str | None:
    """Return the host that the one failure of a port is told with."""
    lines = service.wait_for(lambda: service.find("connect failed", dport=port))
    (line,) = lines
    host: str | None = line["host"]
    return host


def resolve_and_connect(place: Network, name: str) -> int:
    """Look a name up and connect to its first address as one process; return the port."""
    port = next(PORTS)
    run(place, f"connect(look_up({name!r})[0], {port})")
    return port


def question(name: bytes) -> bytes:
    """Return a question for addresses."""
    return name + b"\0\1\0\1"


def query_for(name: str) -> bytes:
    """Return a query for addresses."""
    return QUERY + question(wire(name))
