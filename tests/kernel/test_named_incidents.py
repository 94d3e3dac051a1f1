"""What is asked for by name is one incident: real programs, a real name server, the real service.

Collected where the kernel lets programs watch functions returning, and so can learn names.
"""

from __future__ import annotations

import json
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from tcp_trace.commands import loopback, sandbox
from tests.kernel import asking
from tests.kernel.asking import PORTS, a_name, an_address, run
from tests.kernel.test_silences import tcp_trace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tcp_trace.commands.sandbox import Network, Service
    from tests.kernel.dns import NameServer

pytestmark = pytest.mark.usefixtures("resolver")

Messages = list[dict[str, Any]]


@pytest.fixture(scope="module")
def told(hook: str) -> Iterator[tuple[Service, Messages]]:
    """Return the service, which reports every subject at once, and its messages."""
    with (
        loopback.webhook() as (url, messages),
        asking.service(HOOK=hook, SLACK_URL=url, ALERT_AFTER="1", RESOLVE_AFTER="5s") as running,
    ):
        yield running, messages


def about(messages: Messages, text: str) -> list[str]:
    """Return the texts of the messages that say this."""
    return [m["text"] for m in messages if text in m["text"]]


def listen(network: Network, address: str, port: int) -> socket.socket:
    """Let somebody listen."""
    return sandbox.call_in(network.server, lambda: socket.create_server((address, port)))


def test_six_addresses_that_are_down_and_one_that_is_back(
    told: tuple[Service, Messages], network: Network, server: NameServer
) -> None:
    """One incident names them all; a success at a seventh address of the name ends it."""
    service, messages = told
    name, port = a_name(), next(PORTS)
    six, seventh = [an_address() for _ in range(6)], an_address()
    server.has(name, *six)
    run(network, f"for a in look_up({name!r}): connect(a, {port})")
    run(network, *[f"connect({address!r}, {port})" for address in six])  # who asks for no name
    subject = f"{name.lower()}:{port}"
    service.wait_for(lambda: about(messages, subject))
    service.wait_for(lambda: sum(each["failures"] for each in entries(service, port)) == 12)
    (entry,) = entries(service, port)
    assert (entry["subject"], entry["failures"]) == (subject, 12)
    assert sorted(entry["addresses"]) == sorted(six)
    server.has(name, seventh)
    time.sleep(0.1)
    with listen(network, seventh, port):
        run(network, f"connect(look_up({name!r})[0], {port})")
        over = service.wait_for(
            lambda: [text for text in about(messages, subject) if "RECOVERED" in text], 60
        )
    assert len(over) == 1
    assert not about(messages, f"{six[0]}:{port}")


def entries(service: Service, port: int) -> list[dict[str, Any]]:
    """Return the incidents of a port."""
    shown = json.loads(tcp_trace(service, "incidents", "--json"))["incidents"]
    return [entry for entry in shown if str(entry["subject"]).endswith(f":{port}")]


def test_a_silence_by_name_until_it_recovers(
    told: tuple[Service, Messages], network: Network, server: NameServer
) -> None:
    """It holds for all addresses, and is gone with the incident."""
    service, messages = told
    name, port = a_name(), next(PORTS)
    addresses = [an_address(), an_address()]
    server.has(name, *addresses)
    added = tcp_trace(service, "silence", "add", "--until-recovered", f"{name}:{port}")
    identifier = added.partition(":")[0]
    run(network, f"for a in look_up({name!r}): connect(a, {port})")
    run(network, f"connect({addresses[0]!r}, {port})")
    service.wait_for(lambda: sum(each["failures"] for each in entries(service, port)) == 3)
    (entry,) = entries(service, port)
    assert (entry["status"], entry["failures"], entry["silenced"]) == ("silenced", 3, 3)
    assert identifier in tcp_trace(service, "silence", "list")
    with listen(network, addresses[1], port):
        run(network, f"connect(look_up({name!r})[-1], {port})")
        ended = service.wait_for(
            lambda: [line for line in service.lines if line.get("silence") == identifier], 60
        )
    assert ended
    assert identifier not in tcp_trace(service, "silence", "list")
    assert about(messages, f":{port}") == []
