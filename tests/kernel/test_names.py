"""Which host name is told of a failure, of real programs that ask a real name server.

Collected where the kernel lets programs watch functions returning, and so can learn names.
"""

from __future__ import annotations

import random
import subprocess
import sys
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from tcp_trace.commands import loopback, sandbox
from tcp_trace.commands.sandbox import SERVER, SERVER6
from tests.kernel import asking, dns
from tests.kernel.asking import (
    PORTS,
    QUERY,
    a_name,
    an_address,
    connect,
    program,
    query_for,
    question,
    resolve_and_connect,
    run,
    told,
)
from tests.kernel.dns import CNAME, QUESTION, NameServer, message, record, wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tcp_trace.commands.sandbox import Network, Service

pytestmark = pytest.mark.usefixtures("resolver")


@pytest.fixture(scope="module")
def service(hook: str) -> Iterator[Service]:
    """Return the service. It is in another network namespace than the programs."""
    with asking.service(HOOK=hook) as running:
        yield running


@pytest.mark.parametrize("address", [SERVER, SERVER6])
def test_the_name_that_was_asked_for(
    service: Service, network: Network, server: NameServer, address: str
) -> None:
    """A failure is told with the name by which the program looked the address up."""
    name = a_name()
    server.has(name, address)
    assert told(service, resolve_and_connect(network, name)) == name.lower()


@pytest.mark.parametrize(
    "how", [(SERVER, ""), (SERVER6, ""), (SERVER, "use-vc"), (SERVER6, "use-vc")]
)
def test_whatever_the_resolver_uses(
    service: Service,
    network: Network,
    server: NameServer,
    resolver: Callable[..., None],
    how: tuple[str, str],
) -> None:
    """The C library's own look-up, over UDP and TCP, to a name server with IPv4 and with IPv6."""
    name, target = a_name(), an_address()
    server.has(name, target)
    resolver(*how)
    assert told(service, resolve_and_connect(network, name)) == name.lower()


@pytest.mark.parametrize(
    "receive", ["at_once", "length_first", "in_two_buffers", "in_two_buffers_filled"]
)
def test_answers_over_tcp(
    service: Service, network: Network, server: NameServer, receive: str
) -> None:
    """However a program takes the answer and the length in front of it from the socket."""
    name, address, port = a_name(), an_address(), next(PORTS)
    server.has(name, address)
    query = query_for(name)
    run(network, f"ask_tcp({query!r}, {receive})", f"connect({address!r}, {port})")
    assert told(service, port) == name.lower()


@pytest.mark.parametrize("compressed", [True, False])
def test_aliases_are_the_name_that_was_asked_for(
    service: Service,
    network: Network,
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
    assert told(service, resolve_and_connect(network, name)) == name.lower()


def test_every_address_of_an_answer_has_the_name(
    service: Service, network: Network, server: NameServer
) -> None:
    """A name with several addresses is told for each of them."""
    name, addresses = a_name(), [an_address() for _ in range(8)]
    server.has(name, *addresses)
    port = next(PORTS)
    run(network, f"for a in look_up({name!r}): connect(a, {port})")
    service.wait_for(lambda: len(service.find("connect failed", dport=port)) == 8)
    lines = service.find("connect failed", dport=port, host=name.lower())
    assert {line["daddr"] for line in lines} == set(addresses)


def test_own_question_wins(service: Service, network: Network, server: NameServer) -> None:
    """Of several names of one address it is the one that this process asked for last."""
    first, second, other, address = a_name(), a_name(), a_name(), an_address()
    for name in (first, second, other):
        server.has(name, address)
    ports = [next(PORTS), next(PORTS)]
    run(network, f"look_up({other!r})")
    connects = [
        f"connect(look_up({name!r})[0], {port})"
        for name, port in zip((first, second), ports, strict=True)
    ]
    command = ["ip", "netns", "exec", network.client, sys.executable, "-c"]
    command.append(program(connects[0], "input()", connects[1]))
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        # A name is looked up when a failure is told: the next one is asked for after that.
        hosts = [told(service, ports[0])]
        process.communicate(b"\n", timeout=60)
    hosts.append(told(service, ports[1]))
    assert hosts == [first.lower(), second.lower()]


def test_a_question_after_the_connect_began(
    service: Service, network: Network, server: NameServer
) -> None:
    """A name that is asked for while the connect waits is not what it was made for."""
    name, address, port = a_name(), an_address(), 11_000 + next(PORTS) % 1000  # dropped
    server.has(name, address)
    run(
        network,
        "s = socket.socket(); s.settimeout(0)",
        f"s.connect_ex(({address!r}, {port}))",
        f"look_up({name!r})",
        "s.close()",
    )
    assert told(service, port) is None


def test_a_hostile_name_is_escaped(service: Service, network: Network, server: NameServer) -> None:
    """Bytes that are no letters of a host name are told as numbers."""
    address, port = an_address(), next(PORTS)
    name = b"\x09<!here>\n`\x01x\0"
    server.zone[name] = lambda query, _: message(query, [dns.address(address)])
    query = QUERY + question(name)
    run(network, f"ask({query!r}, connected=True)", f"connect({address!r}, {port})")
    assert told(service, port) == r"\060\033here\062\010\096.x"


def hostile(query: bytes, name: bytes, good: bytes) -> dict[str, bytes]:
    """Return answers from which nothing may be learned."""
    loop = b"\xc0\x0c"
    tail = question(name)
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


def test_hostile_answers_teach_nothing(
    service: Service, network: Network, server: NameServer
) -> None:
    """From what is no answer to one question for addresses no name is learned."""
    name, address, port = wire(a_name()), an_address(), next(PORTS)
    query = QUERY + question(name)
    answers = hostile(query, name, dns.address(address))
    left = list(answers.values())
    server.zone[name.lower()] = lambda *_: left.pop()
    run(
        network,
        f"for _ in range({len(answers)}): ask({query!r}, connected=True)",
        f"connect({address!r}, {port})",
    )
    assert not left
    assert told(service, port) is None


def test_limits(service: Service, network: Network, server: NameServer) -> None:
    """The longest name that is kept, one that is longer, and more records than are looked at."""
    longest = ".".join(["a" * 62] * 2)  # 127 bytes in wire format
    too_long = ".".join(["b" * 62, "b" * 62, "b"])
    many, addresses = a_name(), [an_address() for _ in range(17)]
    places = {longest: [an_address()], too_long: [an_address()], many: addresses}
    for name, each in places.items():
        server.has(name, *each)
    ports = [next(PORTS) for _ in range(4)]
    for name, its, port in (
        (longest, places[longest][0], ports[0]),
        (too_long, places[too_long][0], ports[1]),
        (many, addresses[15], ports[2]),
        (many, addresses[16], ports[3]),
    ):
        query = query_for(name)
        run(network, f"ask({query!r}, connected=True)", f"connect({its!r}, {port})")
    assert [told(service, port) for port in ports] == [longest, None, many.lower(), None]


def test_nobody_speaks_for_others_in_another_namespace(
    service: Service, network: Network, server: NameServer
) -> None:
    """Which name servers another network namespace has is not known, so only own names are told."""
    name, address = a_name(), an_address()
    server.has(name, address)
    assert told(service, connect(network, address, f"look_up({name!r})")) == name.lower()
    assert told(service, connect(network, address)) is None


def unkept(name: str, address: str) -> dict[str, dns.Answer]:
    """Return answers that tell more than is kept: `name` has `address`, among others perhaps."""
    good = dns.address(address)

    def of(*, records: list[bytes], counts: tuple[int, ...] = ()) -> dns.Answer:
        return lambda query, _: message(query, records, counts=counts)

    deep = b"".join(b"\1%c" % letter for letter in b"abcdefghijklmn") + b"\0"
    return {
        "more records than are looked at": of(records=[*[dns.address("198.18.0.0")] * 16, good]),
        "two questions": of(records=[good], counts=(2, 1)),
        "no question": of(records=[good], counts=(0, 1)),
        "a compressed question": lambda query, _: (
            query[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + b"\1x\xc0\x0c\0\1\0\1" + good
        ),
        "more records than came": of(records=[dns.address("198.18.0.0")], counts=(1, 2)),
        "an owner with many labels": of(records=[record(deep, CNAME, wire(name)), good]),
    }


LONG = ".".join(["b" * 62, "b" * 62, "b"])
"""A name that is too long to be kept."""


@pytest.mark.parametrize("kind", ["a long name", *unkept("", "::")])
def test_what_is_not_kept_ends_what_was_known(
    service: Service, network: Network, server: NameServer, kind: str
) -> None:
    """An answer that may have told the address for another name leaves the one before unknown."""
    first, second, address = a_name(), LONG if kind == "a long name" else a_name(), an_address()
    server.has(first, address)
    server.has(second, address)
    if kind != "a long name":
        server.answers(second, unkept(second, address)[kind])
    asks = [f"ask({query_for(name)!r})" for name in (first, second, first)]
    ports = [connect(network, address, *asks[:number]) for number in (1, 2, 3)]
    assert [told(service, port) for port in ports] == [first.lower(), None, first.lower()]


@pytest.mark.parametrize(
    "how", ["ask({}, into_two_buffers)", "ask({}, too_short)", "ask_tcp({}, in_pieces)"]
)
def test_what_is_received_in_part_ends_what_was_known(
    service: Service, network: Network, server: NameServer, how: str
) -> None:
    """So does one that the process takes in pieces, or not in full."""
    first, second, address = a_name(), a_name(), an_address()
    server.has(first, address)
    server.has(second, address)
    asks = [f"ask({query_for(first)!r})", how.format(repr(query_for(second)))]
    ports = [connect(network, address, *asks), connect(network, address, *asks, asks[0])]
    assert [told(service, port) for port in ports] == [None, first.lower()]


def test_other_answers_end_nothing(service: Service, network: Network, server: NameServer) -> None:
    """What has no addresses, errors and what is only peeked at leave a name standing."""
    name, other, address = a_name(), a_name(), an_address()
    server.has(name, address)
    text = wire(other) + b"\0\x10\0\1"
    server.answers(other, lambda query, _: message(query, [record(QUESTION, 16, b"\1x")] * 20))
    absent = query_for(a_name())
    port = connect(
        network,
        address,
        f"ask({query_for(name)!r})",
        f"ask({QUERY + text!r})",
        f"ask({absent!r})",
        f"ask({query_for(other)!r}, lambda sock: sock.recv(20, socket.MSG_PEEK))",
    )
    assert told(service, port) == name.lower()


def test_an_answer_inside_an_answer(service: Service, network: Network, server: NameServer) -> None:
    """Of a stream whose answers were not received whole, nothing is taken for one."""
    name, forged, address = a_name(), a_name(), an_address()
    inner = message(query_for(forged), [dns.address(address)])
    before = 12 + len(question(wire(name))) + 12
    framed = len(inner).to_bytes(2, "big") + inner
    server.answers(name, lambda query, _: message(query, [record(QUESTION, 16, framed)]))
    receive = f"lambda sock: [sock.recv(size) for size in (2, {before}, 2, {len(inner)})]"
    port = connect(network, address, f"ask_tcp({query_for(name)!r}, {receive})")
    assert told(service, port) is None


def test_a_connection_from_port_53(service: Service, network: Network) -> None:
    """What a peer sends over a connection that it opened names nothing, whatever its port."""
    name, address = a_name(), an_address()
    answer = message(query_for(name), [dns.address(address)])
    framed = len(answer).to_bytes(2, "big") + answer
    source = f"""
with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, socket.socket() as peer:
    peer.bind(("127.0.0.53", 53))
    peer.connect(listener.getsockname())
    peer.sendall({framed!r})
    accepted, _ = listener.accept()
    accepted.recv(65536)
"""
    assert told(service, connect(network, address, source)) is None


def test_a_server_of_its_own(service: Service, network: Network) -> None:
    """What a stranger sends from port 53 to a port that a process serves names nothing."""
    name, address = a_name(), an_address()
    answer = message(query_for(name), [dns.address(address)])
    source = f"""
with (
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as serving,
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger,
):
    serving.bind(("127.0.0.1", 5300))
    stranger.bind(("127.0.0.53", 53))
    stranger.sendto({answer!r}, serving.getsockname())
    assert serving.recvfrom(65536) == ({answer!r}, stranger.getsockname())
"""
    assert told(service, connect(network, address, source)) is None


def test_another_process_with_the_pid(
    service: Service, network: Network, server: NameServer
) -> None:
    """A process does not get the names of an earlier one that had its pid."""
    name, address, port = a_name(), an_address(), next(PORTS)
    server.has(name, address)
    source = f"""
import os
def child(function):
    pid = os.fork()
    if not pid:
        function()
        os._exit(0)
    os.waitpid(pid, 0)
    return pid

def second():
    if os.getpid() == first:
        connect({address!r}, {port})

for _ in range(200):
    first = child(lambda: ask({query_for(name)!r}))
    with open("/proc/sys/kernel/ns_last_pid", "w") as file:
        file.write(str(first - 1))
    if child(second) == first:
        break
else:
    raise SystemExit("the pid was never given again")
"""
    run(network, source)
    assert told(service, port) is None


def test_a_message_names_the_host(hook: str, network: Network, server: NameServer) -> None:
    """People read in the channel what the program asked for, and where that led."""
    name, port = a_name(), next(PORTS)
    server.has(name, SERVER)
    with (
        loopback.webhook() as (url, payloads),
        sandbox.service(HOOK=hook, DEST_IP=f"{SERVER}:{port}", SLACK_URL=url) as service,
    ):
        run(network, f"connect(look_up({name!r})[0], {port})")
        service.wait_for(lambda: payloads)
    assert f"`{name.lower()}:{port} ({SERVER})`" in payloads[0]["text"]


def test_off(hook: str, network: Network, server: NameServer) -> None:
    """With DNS_NAMES=off no name is told."""
    name = a_name()
    server.has(name, SERVER)
    with sandbox.service(HOOK=hook, DNS_NAMES="off") as service:
        assert told(service, resolve_and_connect(network, name)) is None


def test_random_answers_harm_nothing(
    service: Service, network: Network, server: NameServer
) -> None:
    """After thousands of damaged answers names are still learned, and no wrong one of them."""
    # The last test of this service: damage makes other addresses, which then have this name.
    name, address, port = wire("abc.example"), an_address(), next(PORTS)
    choice = random.Random(1)  # noqa: S311 - it is to be the same every time

    def damaged(query: bytes, _: int) -> bytes:
        answer = bytearray(message(query, [dns.address(address)] * choice.randrange(40)))
        for _ in range(choice.randrange(1, 9)):
            answer[choice.randrange(2, len(answer))] = choice.randrange(256)
        return bytes(answer[: choice.randrange(1, len(answer) + 1)])

    server.zone[name] = damaged
    query = QUERY + question(name)
    run(network, f"for _ in range(2000): ask({query!r}, connected=True)")
    good = a_name()
    server.has(good, address)
    run(network, f"connect(look_up({good!r})[0], {port})")
    assert told(service, port) == good.lower()
