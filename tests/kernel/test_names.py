"""Which host name is told of a failure, of real programs that ask a real name server.

Collected where the kernel lets programs watch functions returning, and so can learn names.
"""

from __future__ import annotations

import random
import subprocess
import sys
from itertools import count, pairwise
from typing import TYPE_CHECKING

import pytest

from tcp_trace import sandbox
from tcp_trace.sandbox import SERVER, SERVER6
from tests.kernel import dns
from tests.kernel.dns import CNAME, QUESTION, NameServer, message, record, wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tcp_trace.sandbox import Network, Service

# A line of these is a step of a program: what it asks for, and what it connects to.
_PROGRAM = """
import socket, sys

def look_up(name):
    return [found[4][0] for found in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)]

def connect(address, port):
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as sock:
        sock.settimeout(2)
        sock.connect_ex((address, port))

def ask(query, *, connected):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(2)
        if connected:
            sock.connect((SERVER, 53))
            sock.send(query)
        else:
            sock.sendto(query, (SERVER, 53))
        sock.recvfrom(65536)

def ask_tcp(query, receive):
    with socket.create_connection((SERVER, 53), timeout=2) as sock:
        sock.sendall(len(query).to_bytes(2, "big") + query)
        receive(sock)

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
_QUERY = b"\x12\x34\x01\0\0\1\0\0\0\0\0\0"
_ports = count(10_000)  # nobody listens there
_last_bytes = count(130)


@pytest.fixture(scope="module")
def place(network: Network) -> Network:
    """Return the network, its server with 192.0.2.128/25 for addresses."""
    sandbox.run(*f"ip -n {network.server} route add local 192.0.2.128/25 dev lo".split())
    return network


@pytest.fixture(scope="module")
def server(place: Network) -> Iterator[NameServer]:
    """Return the name server."""
    running = NameServer(place.server)
    yield running
    running.close()


@pytest.fixture(scope="module")
def service(hook: str, place: Network) -> Iterator[Service]:
    """Return the service, which learns names on every kernel that runs this."""
    assert place
    with sandbox.service(HOOK=hook, DEST_IP="192.0.2.0/24,2001:db8::/32") as running:
        facts = running.find("watching")[0]
        assert "no_names" not in facts, facts
        yield running


def an_address() -> str:
    """Return an address of the server that no other test uses."""
    return f"192.0.2.{next(_last_bytes)}"


def a_name() -> str:
    """Return a name that no other test uses."""
    return f"Host-{next(_ports)}.Example.com"


@pytest.fixture(autouse=True)
def asking(place: Network) -> Iterator[Callable[..., None]]:
    """Let programs in the client's namespace ask the name server; say how else they are to."""
    with dns.resolver(place.client) as ask:
        yield ask


def program(*steps: str) -> str:
    """Return a program of these steps."""
    return _PROGRAM + f"SERVER = {SERVER!r}\n" + "\n".join(steps)


def run(place: Network, *steps: str) -> None:
    """Run steps of `_PROGRAM` as one process in the client's namespace."""
    sandbox.run_in(place.client, sys.executable, "-c", program(*steps))


def told(service: Service, port: int) -> str | None:
    """Return the host that the one failure of a port is told with."""
    lines = service.wait_for(lambda: service.find("connect failed", dport=port))
    (line,) = lines
    host: str | None = line["host"]
    return host


def resolve_and_connect(place: Network, name: str) -> int:
    """Look a name up and connect to its first address as one process; return the port."""
    port = next(_ports)
    run(place, f"connect(look_up({name!r})[0], {port})")
    return port


@pytest.mark.parametrize("address", [SERVER, SERVER6])
def test_the_name_that_was_asked_for(
    service: Service, place: Network, server: NameServer, address: str
) -> None:
    """A failure is told with the name by which the program looked the address up."""
    name = a_name()
    server.has(name, address)
    assert told(service, resolve_and_connect(place, name)) == name.lower()


@pytest.mark.parametrize(
    "how", [(SERVER, ""), (SERVER6, ""), (SERVER, "use-vc"), (SERVER6, "use-vc")]
)
def test_whatever_the_resolver_uses(
    service: Service,
    place: Network,
    server: NameServer,
    asking: Callable[..., None],
    how: tuple[str, str],
) -> None:
    """The C library's own look-up, over UDP and TCP, to a name server with IPv4 and with IPv6."""
    name, target = a_name(), an_address()
    server.has(name, target)
    asking(*how)
    assert told(service, resolve_and_connect(place, name)) == name.lower()


@pytest.mark.parametrize(
    "receive", ["at_once", "length_first", "in_two_buffers", "in_two_buffers_filled"]
)
def test_answers_over_tcp(
    service: Service, place: Network, server: NameServer, receive: str
) -> None:
    """However a program takes the answer and the length in front of it from the socket."""
    name, address, port = a_name(), an_address(), next(_ports)
    server.has(name, address)
    query = _QUERY + struct_question(wire(name))
    run(place, f"ask_tcp({query!r}, {receive})", f"connect({address!r}, {port})")
    assert told(service, port) == name.lower()


@pytest.mark.parametrize("compressed", [True, False])
def test_aliases_are_the_name_that_was_asked_for(
    service: Service,
    place: Network,
    server: NameServer,
    compressed: bool,  # noqa: FBT001
) -> None:
    """However many aliases lie between, the name is the one asked for and not the last one."""
    name, address = a_name(), an_address()

    def answer(query: bytes, kind: int) -> bytes:
        chain = [wire(name), wire("one.example.net"), wire("two.cdn.example.org")]
        records = [
            record(QUESTION if compressed and owner == chain[0] else owner, CNAME, target)
            for owner, target in pairwise(chain)
        ]
        last = [dns.address(address, chain[-1])] * (kind == dns.A)
        return message(query, records + last)

    server.answers(name, answer)
    assert told(service, resolve_and_connect(place, name)) == name.lower()


def test_every_address_of_an_answer_has_the_name(
    service: Service, place: Network, server: NameServer
) -> None:
    """A name with several addresses is told for each of them."""
    name, addresses = a_name(), [an_address() for _ in range(8)]
    server.has(name, *addresses)
    port = next(_ports)
    run(place, f"for a in look_up({name!r}): connect(a, {port})")
    service.wait_for(lambda: len(service.find("connect failed", dport=port)) == 8)
    lines = service.find("connect failed", dport=port, host=name.lower())
    assert {line["daddr"] for line in lines} == set(addresses)


def test_own_question_wins(service: Service, place: Network, server: NameServer) -> None:
    """Of several names of one address it is the one that this process asked for last."""
    first, second, other, address = a_name(), a_name(), a_name(), an_address()
    for name in (first, second, other):
        server.has(name, address)
    ports = [next(_ports), next(_ports)]
    run(place, f"look_up({other!r})")
    connects = [
        f"connect(look_up({name!r})[0], {port})"
        for name, port in zip((first, second), ports, strict=True)
    ]
    command = ["ip", "netns", "exec", place.client, sys.executable, "-c"]
    command.append(program(connects[0], "input()", connects[1]))
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        # A name is looked up when a failure is told: the next one is asked for after that.
        hosts = [told(service, ports[0])]
        process.communicate(b"\n", timeout=60)
    hosts.append(told(service, ports[1]))
    assert hosts == [first.lower(), second.lower()]


def test_a_question_of_somebody_else(service: Service, place: Network, server: NameServer) -> None:
    """Without an own question the only name asked for in the namespace is told; of two, none."""
    first, second, address = a_name(), a_name(), an_address()
    server.has(first, address)
    server.has(second, address)
    ports = [next(_ports) for _ in range(3)]
    run(place, f"connect({address!r}, {ports[0]})")
    run(place, f"look_up({first!r})")
    run(place, f"connect({address!r}, {ports[1]})")
    run(place, f"look_up({second!r})")
    run(place, f"connect({address!r}, {ports[2]})")
    assert [told(service, port) for port in ports] == [None, first.lower(), None]


def test_a_question_after_the_connect_began(
    service: Service, place: Network, server: NameServer
) -> None:
    """A name that is asked for while the connect waits is not what it was made for."""
    name, address, port = a_name(), an_address(), 11_000 + next(_ports) % 1000  # dropped
    server.has(name, address)
    run(
        place,
        "s = socket.socket(); s.settimeout(0)",
        f"s.connect_ex(({address!r}, {port}))",
        f"look_up({name!r})",
        "s.close()",
    )
    assert told(service, port) is None


def test_an_unconnected_socket_speaks_for_its_process_alone(
    service: Service, place: Network, server: NameServer
) -> None:
    """What anybody could have sent names nothing that another process connects to."""
    name, address = a_name(), an_address()
    server.has(name, address)
    query = _QUERY + wire(name) + b"\0\1\0\1"
    own, foreign = next(_ports), next(_ports)
    run(place, f"ask({query!r}, connected=False)", f"connect({address!r}, {own})")
    run(place, f"connect({address!r}, {foreign})")
    assert [told(service, own), told(service, foreign)] == [name.lower(), None]


def test_a_hostile_name_is_escaped(service: Service, place: Network, server: NameServer) -> None:
    """Bytes that are no letters of a host name are told as numbers."""
    address, port = an_address(), next(_ports)
    name = b"\x09<!here>\n`\x01x\0"
    server.zone[name] = lambda query, _: message(query, [dns.address(address)])
    query = _QUERY + struct_question(name)
    run(place, f"ask({query!r}, connected=True)", f"connect({address!r}, {port})")
    assert told(service, port) == r"\060\033here\062\010\096.x"


def hostile(query: bytes, name: bytes, good: bytes) -> dict[str, bytes]:
    """Return answers from which nothing may be learned."""
    loop = b"\xc0\x0c"
    tail = struct_question(name)
    return {
        "nothing": b"",
        "header": query[:12],
        "a question, not an answer": message(query, [good], flags=0x0100),
        "an error": message(query, [good], flags=0x8182),
        "another opcode": message(query, [good], flags=0xA800),
        "two questions": message(query, [good], counts=(2, 1)),
        "no question": message(query, [good], counts=(0, 1)),
        "no answers": message(query, [good], counts=(1, 0)),
        "a name that points at itself": query[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + loop
        + b"\0\1\0\1" + good,
        "a label beyond the end": query[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + b"\x3f" + tail,
        "a reserved label": query[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + b"\x80abc\0" + good,
        "data beyond the end": message(query, [good[:-1]]),
        "a length beyond the end": message(query, [good[:10] + b"\xff\xff" + good[12:]]),
        "an address of three bytes": message(query, [record(QUESTION, dns.A, good[12:15])]),
        "another class": message(query, [good[:4] + b"\0\3" + good[6:]]),
    }  # fmt: skip


def struct_question(name: bytes) -> bytes:
    """Return a question for addresses."""
    return name + b"\0\1\0\1"


def test_hostile_answers_teach_nothing(
    service: Service, place: Network, server: NameServer
) -> None:
    """From what is no answer to one question for addresses no name is learned."""
    name, address, port = wire(a_name()), an_address(), next(_ports)
    query = _QUERY + struct_question(name)
    answers = hostile(query, name, dns.address(address))
    left = list(answers.values())
    server.zone[name.lower()] = lambda *_: left.pop()
    run(
        place,
        f"for _ in range({len(answers)}): ask({query!r}, connected=True)",
        f"connect({address!r}, {port})",
    )
    assert not left
    assert told(service, port) is None


def test_limits(service: Service, place: Network, server: NameServer) -> None:
    """The longest name that is kept, one that is longer, and more records than are looked at."""
    longest = ".".join(["a" * 62] * 2)  # 127 bytes in wire format
    too_long = ".".join(["b" * 62, "b" * 62, "b"])
    many, addresses = a_name(), [an_address() for _ in range(17)]
    places = {longest: [an_address()], too_long: [an_address()], many: addresses}
    for name, each in places.items():
        server.has(name, *each)
    ports = [next(_ports) for _ in range(4)]
    for name, its, port in (
        (longest, places[longest][0], ports[0]),
        (too_long, places[too_long][0], ports[1]),
        (many, addresses[15], ports[2]),
        (many, addresses[16], ports[3]),
    ):
        query = _QUERY + struct_question(wire(name))
        run(place, f"ask({query!r}, connected=True)", f"connect({its!r}, {port})")
    assert [told(service, port) for port in ports] == [longest, None, many.lower(), None]


def test_a_message_names_the_host(hook: str, place: Network, server: NameServer) -> None:
    """People read in the channel what the program asked for, and where that led."""
    name, port = a_name(), next(_ports)
    server.has(name, SERVER)
    with (
        sandbox.webhook() as (url, payloads),
        sandbox.service(HOOK=hook, DEST_IP=f"{SERVER}:{port}", SLACK_URL=url) as service,
    ):
        run(place, f"connect(look_up({name!r})[0], {port})")
        service.wait_for(lambda: payloads)
    assert f"`{name.lower()} ({SERVER}:{port})`" in payloads[0]["text"]


def test_off(hook: str, place: Network, server: NameServer) -> None:
    """With DNS_NAMES=off no name is told."""
    name = a_name()
    server.has(name, SERVER)
    with sandbox.service(HOOK=hook, DNS_NAMES="off") as service:
        assert told(service, resolve_and_connect(place, name)) is None


def test_random_answers_harm_nothing(service: Service, place: Network, server: NameServer) -> None:
    """After thousands of damaged answers names are still learned, and no wrong one of them."""
    # The last test of this service: damage makes other addresses, which then have this name.
    name, address, port = wire("abc.example"), an_address(), next(_ports)
    choice = random.Random(1)  # noqa: S311 - it is to be the same every time

    def damaged(query: bytes, _: int) -> bytes:
        answer = bytearray(message(query, [dns.address(address)] * choice.randrange(40)))
        for _ in range(choice.randrange(1, 9)):
            answer[choice.randrange(2, len(answer))] = choice.randrange(256)
        return bytes(answer[: choice.randrange(1, len(answer) + 1)])

    server.zone[name] = damaged
    query = _QUERY + struct_question(name)
    run(place, f"for _ in range(2000): ask({query!r}, connected=True)")
    good = a_name()
    server.has(good, address)
    run(place, f"connect(look_up({good!r})[0], {port})")
    assert told(service, port) == good.lower()
