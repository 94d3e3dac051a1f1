"""Whose answers name an address for processes that did not ask, of a service that knows its host.

The service is in the programs' network namespace. Collected where names can be learned.
"""

from __future__ import annotations

from itertools import count, islice
from typing import TYPE_CHECKING

import pytest

from tcp_trace.commands.sandbox import SERVER, SERVER6
from tcp_trace.kernel.maps import lookup
from tcp_trace.probes.addresses import pack
from tcp_trace.probes.shapes import NAME, NAME_KEY
from tests.kernel import asking, dns
from tests.kernel.asking import (
    PORTS,
    a_name,
    an_address,
    connect,
    query_for,
    run,
    told,
)
from tests.kernel.dns import message
from tests.kernel.elsewhere import ASK_FOREIGN, ERROR_QUEUE, FOREIGN, QUEUED, UNNAMED
from tests.kernel.maps import map_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tcp_trace.commands.sandbox import Network, Service
    from tests.kernel.dns import NameServer

USER, OTHER_USER = 4242, 4243
RESOLV_CONF = f"nameserver {SERVER}\nnameserver {SERVER6}\n"

pytestmark = pytest.mark.usefixtures("resolver")


@pytest.fixture(scope="module")
def resolv_conf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file that the service has for /etc/resolv.conf."""
    path = tmp_path_factory.mktemp("etc") / "resolv.conf"
    path.write_text(RESOLV_CONF)
    return path


@pytest.fixture(scope="module")
def service(hook: str, network: Network, resolv_conf: Path) -> Iterator[Service]:
    """Return the service."""
    with asking.service_in(network.client, resolv_conf, HOOK=hook) as running:
        yield running


@pytest.mark.parametrize(
    "how", [(SERVER, ""), (SERVER6, ""), (SERVER, "use-vc"), (SERVER6, "use-vc")]
)
def test_a_question_of_somebody_else(
    service: Service,
    network: Network,
    server: NameServer,
    resolver: Callable[..., None],
    how: tuple[str, str],
) -> None:
    """Without an own question the only name that others asked for is told; of two, none."""
    resolver(*how)
    first, second, address = a_name(), a_name(), an_address()
    server.has(first, address)
    server.has(second, address)
    ports = [connect(network, address)]
    run(network, f"look_up({first!r})")
    ports.append(connect(network, address))
    run(network, f"look_up({second!r})")
    ports.append(connect(network, address))
    assert [told(service, port) for port in ports] == [None, first.lower(), None]


def test_a_second_name_does_not_erase_the_first(
    service: Service, network: Network, server: NameServer
) -> None:
    """While there are two the first one is kept, and when the second one ended."""
    first, second, address = a_name(), a_name(), an_address()
    server.has(first, address)
    server.has(second, address, ttl=7200)
    run(network, f"look_up({first!r})", f"look_up({second!r})", f"look_up({second!r})")
    value = lookup(map_of(service.pid, NAME_KEY.size, NAME.size), shared(address), NAME.size)
    assert value is not None
    _, seen, until, other, _, _, is_sure, name = NAME.unpack(value)
    assert name.startswith(dns.wire(first).lower())
    assert (until - seen, is_sure) == (3600 * 10**9, 1)
    assert other > seen + 7200 * 10**9


def shared(address: str, uid: int = 0) -> bytes:
    """Return the key of what a user was told for an address."""
    return NAME_KEY.pack(uid, 1, 0, 0, pack(address))


@pytest.mark.parametrize(
    ("uids", "is_told"),
    [((0, USER), True), ((USER, USER), True), ((USER, OTHER_USER), False), ((USER, 0), False)],
)
def test_users(
    service: Service,
    network: Network,
    server: NameServer,
    uids: tuple[int, int],
    is_told: bool,  # noqa: FBT001
) -> None:
    """Root speaks for everybody, everybody else for himself: his memory is his own to change."""
    name, address = a_name(), an_address()
    server.has(name, address)
    run(network, f"look_up({name!r})", uid=uids[0])
    port = connect(network, address, uid=uids[1])
    assert told(service, port) == (name.lower() if is_told else None)


def test_a_user_does_not_erase_what_root_was_told(
    service: Service, network: Network, server: NameServer
) -> None:
    """Another name that a user is given for an address is no concern of others."""
    first, second, address = a_name(), a_name(), an_address()
    server.has(first, address)
    server.has(second, address)
    run(network, f"look_up({second!r})", uid=USER)
    run(network, f"look_up({first!r})")
    run(network, f"look_up({second!r})", uid=USER)
    ports = [connect(network, address, uid=uid) for uid in (0, OTHER_USER, USER)]
    assert [told(service, port) for port in ports] == [first.lower(), first.lower(), None]


def test_an_unconnected_socket(service: Service, network: Network, server: NameServer) -> None:
    """The datagram's own source tells: the name server's names are for others, too."""
    name, address = a_name(), an_address()
    server.has(name, address)
    run(network, f"ask({query_for(name)!r}, connected=False)")
    assert told(service, connect(network, address)) == name.lower()


@pytest.mark.parametrize(
    ("source", "own"),
    [
        (QUEUED.replace("{receive}", "from_anybody"), None),
        (QUEUED.replace("{receive}", "from_whom"), False),
        (ERROR_QUEUE, False),
        (ASK_FOREIGN.replace("{connected}", "True"), True),
        (ASK_FOREIGN.replace("{connected}", "False"), True),
        (UNNAMED, True),
    ],
    ids=["queued", "queued with its source", "error queue", "foreign", "unconnected", "unnamed"],
)
def test_what_names_nothing_for_others(
    service: Service,
    network: Network,
    server: NameServer,
    source: str,
    own: bool | None,  # noqa: FBT001
) -> None:
    """What is not known to be from a name server counts for its process at most."""
    name, address = a_name(), an_address()
    server.has(name, address)
    query = query_for(name)
    answer = message(query, [dns.address(address)])
    own_port = connect(network, address, source.format(query=query, answer=answer))
    port = connect(network, address)
    assert told(service, port) is None
    if own is not None:
        assert told(service, own_port) == (name.lower() if own else None)


def test_a_name_that_may_not_be_the_only_one(
    service: Service, network: Network, server: NameServer
) -> None:
    """Another name from what may be a name server makes the known one uncertain."""
    first, second, address = a_name(), a_name(), an_address()
    server.has(first, address)
    server.has(second, address)
    run(network, f"look_up({first!r})")
    run(network, UNNAMED.format(query=query_for(second)))
    assert told(service, connect(network, address)) is None


def test_what_is_not_kept_ends_what_others_knew(
    service: Service, network: Network, server: NameServer
) -> None:
    """After an answer that cannot be kept, names must be told anew to be told for others."""
    name, address = a_name(), an_address()
    long = ".".join(["c" * 62, "c" * 62, "c"])
    server.has(name, address)
    server.has(long, address)
    ports = []
    for step in (f"look_up({name!r})", f"ask({query_for(long)!r})", f"look_up({name!r})"):
        run(network, step)
        ports.append(connect(network, address))
    assert [told(service, port) for port in ports] == [name.lower(), None, name.lower()]


def test_an_own_name_that_does_not_hold(
    service: Service, network: Network, server: NameServer
) -> None:
    """It is not replaced by what somebody else was told."""
    theirs, mine, later = a_name(), a_name(), a_name()
    address, port = an_address(), 11_000 + next(PORTS) % 1000  # dropped
    server.has(theirs, address)
    run(network, f"look_up({theirs!r})")
    asks = [
        f"ask_elsewhere({query_for(name)!r}, {message(query_for(name), [dns.address(address)])!r})"
        for name in (mine, later)
    ]
    run(
        network,
        FOREIGN,
        asks[0],
        "s = socket.socket(); s.settimeout(0)",
        f"s.connect_ex(({address!r}, {port}))",
        asks[1],
        "s.close()",
    )
    assert told(service, port) is None
    assert told(service, connect(network, address)) == theirs.lower()


def test_other_name_servers_after_a_reload(
    service: Service, network: Network, server: NameServer, resolv_conf: Path
) -> None:
    """Which name servers count is read again."""
    names, address = [a_name(), a_name()], an_address()
    for name in names:
        server.has(name, address)
    try:
        resolv_conf.write_text("nameserver 127.0.0.1\n")
        service.reconfigure()
        run(network, f"look_up({names[0]!r})")
        port = connect(network, address)
    finally:
        resolv_conf.write_text(RESOLV_CONF)
        service.reconfigure()
    run(network, f"look_up({names[1]!r})")
    ports = [port, connect(network, address)]
    assert [told(service, port) for port in ports] == [None, names[1].lower()]


def test_what_was_evicted_makes_nothing_certain(
    service: Service, network: Network, server: NameServer
) -> None:
    """After more names than there is room for, none looks like the only one or the last one."""
    # The last test of this service: it leaves marks of many addresses.
    first, own, second = a_name(), a_name(), a_name()
    two_names, asked = an_address(), an_address()
    server.has(first, two_names)
    server.has(second, two_names, asked)
    run(network, f"look_up({first!r})")
    port = next(PORTS)
    flood = a_name()
    numbers = count(1)
    server.answers(
        flood,
        lambda query, _: message(
            query, [dns.address(f"198.19.{n >> 8}.{n & 255}") for n in islice(numbers, 16)]
        ),
    )
    answer = message(query_for(own), [dns.address(asked)])
    steps = [
        FOREIGN,
        f"ask_elsewhere({query_for(own)!r}, {answer!r})",
        f"for _ in range(900): ask({query_for(flood)!r})",
        "import os",
        f"if not os.fork(): look_up({second!r}); os._exit(0)",
        "os.wait()",
        f"connect({asked!r}, {port})",
    ]
    run(network, *steps)
    names = map_of(service.pid, NAME_KEY.size, NAME.size)
    value = lookup(names, shared(two_names), NAME.size)
    assert value is not None
    assert NAME.unpack(value)[7].startswith(dns.wire(second).lower()), "nothing was evicted"
    assert told(service, port) is None
    assert told(service, connect(network, two_names)) is None
