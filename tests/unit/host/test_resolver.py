"""Hosts that are watched by name: their addresses come, stay for a while, and never go at once."""

from __future__ import annotations

import logging
import select
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tcp_trace.connects.watch import ADDRESSES_MAX, parse_hosts
from tcp_trace.host import resolver
from tcp_trace.host.resolver import LINGER_SECONDS, Resolver, addresses_of

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 5.0


class NameService:
    """Answers as it is told to, and counts the questions."""

    def __init__(self, **answers: list[str] | OSError) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def __call__(self, name: str) -> list[str]:
        """Resolve a name."""
        self.asked.append(name)
        answer = self.answers[name]
        if isinstance(answer, OSError):
            raise answer
        return answer


def started(hosts: str, service: NameService, ttl: int | None = None) -> Resolver:
    """Return a resolver that has the first answers."""
    running = Resolver(parse_hosts(hosts), service, lambda *_: ttl)
    running.start(PATIENCE)
    return running


def watched(running: Resolver) -> set[str]:
    """Return the rules as text."""
    return {str(rule) for rule in running.rules()}


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_addresses_become_rules_with_the_port() -> None:
    """Every address of a host is watched, of both families, on its port or on all."""
    service = NameService(db=["10.0.0.5", "2001:db8::5"], api=["10.0.0.6"])
    running = started("db:5432,api", service)
    assert watched(running) == {"10.0.0.5:5432", "[2001:db8::5]:5432", "10.0.0.6"}
    assert running.name_of("10.0.0.6") == "api"
    assert running.name_of("10.0.0.7") is None


def test_news_make_the_descriptor_readable_once() -> None:
    """The loop is woken when the rules changed, and not before they change again."""
    service = NameService(db=["10.0.0.5"])
    running = started("db", service)
    assert running.has_news
    assert select.select([running.fd], [], [], PATIENCE)[0]
    running.rules()
    assert not running.has_news
    assert not select.select([running.fd], [], [], 0)[0]


def test_a_new_address_joins_the_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name is asked for again by the TTL; addresses that it had stay watched meanwhile."""
    monkeypatch.setattr(resolver, "SHORTEST_SECONDS", 0.05)
    service = NameService(db=["10.0.0.5"])
    running = started("db", service, ttl=0)
    assert watched(running) == {"10.0.0.5"}
    service.answers["db"] = ["10.0.0.6"]
    wait_for(lambda: running.has_news)
    assert watched(running) == {"10.0.0.5", "10.0.0.6"}


def test_a_failure_keeps_the_addresses_and_is_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """While a name cannot be resolved its last addresses stay; the log says so once."""
    monkeypatch.setattr(resolver, "SHORTEST_SECONDS", 0.02)
    monkeypatch.setattr(resolver, "RETRY_SECONDS", 0.02)
    service, why = NameService(db=["10.0.0.5"]), "Temporary failure in name resolution"
    with caplog.at_level(logging.INFO):
        running = started("db", service, ttl=0)
        service.answers["db"] = socket.gaierror(-3, why)
        wait_for(lambda: len(service.asked) > 5)
        assert watched(running) == {"10.0.0.5"}
        service.answers["db"] = ["10.0.0.5"]
        wait_for(lambda: len(caplog.records) > 1)
    assert [record.getMessage() for record in caplog.records] == [
        f"the host db cannot be resolved ({why}); still watching its last addresses",
        "the host db is resolved again",
    ]


def test_a_host_that_resolves_to_nothing_at_the_start(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is an error in the log, the start goes on, and the host is asked for again."""
    monkeypatch.setattr(resolver, "RETRY_SECONDS", 0.05)
    service = NameService(db=socket.gaierror(-2, "Name or service not known"))
    running = started("db", service)
    assert not running.rules()
    assert "not watching it" in caplog.text
    service.answers["db"] = ["10.0.0.5"]
    wait_for(lambda: running.has_news)
    assert watched(running) == {"10.0.0.5"}


def test_a_slow_name_server_holds_nobody_up() -> None:
    """The start waits for so long and not longer, and whoever asks is answered at once."""
    hold = threading.Event()

    def resolve(_: str) -> list[str]:
        hold.wait(PATIENCE)
        return ["10.0.0.5"]

    running = Resolver(parse_hosts("db"), resolve, lambda *_: None)
    began = time.monotonic()
    running.start(0.1)
    running.replace(parse_hosts("db,api"))
    assert not running.rules()
    assert running.name_of("10.0.0.5") is None
    assert time.monotonic() - began < PATIENCE / 2
    hold.set()
    wait_for(lambda: running.has_news)


def test_hosts_are_replaced() -> None:
    """After a reload what stays keeps its addresses, what is new is asked for, the rest goes."""
    service = NameService(db=["10.0.0.5"], api=["10.0.0.6"], web=["10.0.0.7"])
    running = started("db,api", service)
    running.replace(parse_hosts("db:1,web"))
    wait_for(lambda: "web" in service.asked)
    wait_for(lambda: watched(running) == {"10.0.0.5:1", "10.0.0.7"})
    assert sorted(service.asked) == ["api", "db", "web"]
    assert running.name_of("10.0.0.6") is None


def test_an_address_of_two_hosts_is_named_by_neither() -> None:
    """Which of two hosts is meant by an address cannot be known."""
    running = started("db,api", NameService(db=["10.0.0.5"], api=["10.0.0.5"]))
    assert running.name_of("10.0.0.5") is None


def test_memory_is_bounded() -> None:
    """Of a name that has other addresses every time, the last are watched, and not for ever."""
    name = resolver._Name()
    for number in range(200):
        name.found([f"10.0.0.{number}"], float(number))
    assert list(name.seen) == [f"10.0.0.{number}" for number in range(200 - ADDRESSES_MAX, 200)]
    name.found(["10.0.1.1"], 199.5 + LINGER_SECONDS)
    assert list(name.seen) == ["10.0.1.1"]


@pytest.mark.parametrize(("ttl", "seconds"), [(1, 5.0), (30, 30.0), (100_000, 300.0), (None, 60.0)])
def test_the_next_look_up(ttl: int | None, seconds: float) -> None:
    """It comes by the TTL, within bounds, and after a minute where that is not known."""
    before = time.monotonic()
    running = started("db", NameService(db=["10.0.0.5"]), ttl)
    assert before + seconds <= running._names["db"].due <= time.monotonic() + seconds


def test_names_are_resolved_as_applications_do() -> None:
    """Without a name server, /etc/hosts answers."""
    assert set(addresses_of("localhost")) <= {"127.0.0.1", "::1"}
    assert addresses_of("localhost")
