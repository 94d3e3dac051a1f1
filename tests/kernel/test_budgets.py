"""Nobody hides another's outage by failures of his own: floods, bounded, at the running service."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from tcp_trace.commands import loopback, sandbox
from tcp_trace.probes.connect import BURST, PER_SECOND
from tests.kernel.makers import cgroup, remove
from tests.kernel.test_limits import asleep

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tcp_trace.commands.sandbox import Service

FLOODER, VICTIM, OTHER, FIRST = 61_001, 61_002, 61_003, 61_100  # users that nobody is
WIDER = 4  # budgets that a user has in all, and a cgroup's owner for all users
FLOOD, TOLD = 6 * BURST, 100
PROCESSES = 4
WITHIN = BURST * 9 // 10
FLOODED, DATABASE, ELSEWHERE = 10_971, 10_972, 10_973
WATCHED = f"127.0.0.1:{FLOODED},127.0.0.1:{DATABASE}"

PORTS = range(10_980, 10_990)
_ports = iter(PORTS)
_users = iter(range(FIRST, FIRST + 100))  # each has a budget of its own, which is untouched

_TOO_MANY_KINDS = "failures beyond a budget were too many kinds at once: they are in no message"
_CONNECT = """
import os, socket, sys
uid, times, cgroup, *ports = sys.argv[1:]
if cgroup:
    with open(cgroup + "/cgroup.procs", "w") as file:
        file.write("0")
os.setuid(int(uid))
for number in range(int(times)):
    with socket.socket() as sock:
        sock.connect_ex(("127.0.0.1", int(ports[number % len(ports)])))
"""


@contextlib.contextmanager
def connecting(uid: int, times: int, *ports: int, where: Path | None = None) -> Iterator[None]:
    """Let a process of a user connect beside the block, and wait for its end."""
    arguments = [str(uid), str(times), str(where or ""), *map(str, ports)]
    with subprocess.Popen([sys.executable, "-c", _CONNECT, *arguments]) as process:
        yield
        assert process.wait(600) == 0


def stopped(service: Service) -> dict[str, Any]:
    """Stop the service; return what its kernel program counted."""
    assert service.stop() == 0
    (line,) = service.find("stopped")
    return line


@pytest.fixture(scope="module")
def messages() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Return the URL of a webhook, and what it was sent."""
    with loopback.webhook() as made:
        yield made


@pytest.fixture(scope="module")
def service(hook: str, messages: tuple[str, list[dict[str, Any]]]) -> Iterator[Service]:
    """Return a service for tests that share neither users, nor cgroups, nor ports."""
    quick = {"SLACK_URL": messages[0], "ALERT_INTERVAL": "1s", "RESOLVE_AFTER": "1s"}
    watched = ",".join(f"127.0.0.1:{port}" for port in PORTS)
    with sandbox.service(HOOK=hook, DEST_IP=watched, **quick) as running:
        yield running
        tallies = stopped(running)
    assert tallies["lost"] == tallies["missed"] == tallies["held_full"] == 0


@contextlib.contextmanager
def counting(service: Service, port: int, made: int, others: int, budgets: int) -> Iterator[None]:
    """Look that of the failures made at a port only these budgets, and their refill, were told.

    The block makes `others` beside them. Each failure must be in a line of the log, and those that
    were held back may be in one that names no port.
    """
    before, began = service.failures(), time.monotonic()
    yield
    seconds = time.monotonic() - began
    assert service.wait_for(lambda: service.failures() - before == made + others, 600)
    told = sum(line["times"] for line in service.find("connect failed", dport=port))
    assert budgets * BURST <= told <= budgets * (BURST + PER_SECOND * seconds) + 100


def test_a_flood_hides_nothing_of_another_user(hook: str) -> None:
    """A user floods with four processes; another's failures are all told, and every one counted."""
    with (
        loopback.webhook() as (url, messages),
        sandbox.service(HOOK=hook, DEST_IP=WATCHED, SLACK_URL=url) as service,
    ):
        with contextlib.ExitStack() as flood:
            for _ in range(PROCESSES):
                flood.enter_context(connecting(FLOODER, FLOOD // PROCESSES, FLOODED))
            time.sleep(1.5)
            with connecting(VICTIM, TOLD, DATABASE):
                pass
        service.wait_for(lambda: service.failures(dport=FLOODED) == FLOOD, 300)
        told = service.find("connect failed", uid=VICTIM)
        shown = service.wait_for(lambda: [m for m in messages if f":{DATABASE}" in m["text"]])
        tallies = stopped(service)
    assert [line["times"] for line in told] == [1] * TOLD
    assert shown
    assert service.failures(dport=FLOODED) == FLOOD
    held = service.find("failures held back")
    assert {(line["uid"], line["dport"], line["reason"]) for line in held} == {
        (FLOODER, FLOODED, "refused")
    }
    assert tallies["lost"] == tallies["missed"] == tallies["held_full"] == 0
    assert tallies["held"] == sum(line["times"] for line in held) > FLOOD // 2
    assert tallies["submitted"] == FLOOD + TOLD - tallies["held"]
    assert len(service.find("connect failed")) < 2_000


def test_what_is_held_back_is_in_the_messages(
    service: Service, messages: tuple[str, list[dict[str, Any]]]
) -> None:
    """An incident's failures are those that were told and those that were only counted."""
    times, port = BURST + BURST // 2, next(_ports)
    with connecting(next(_users), times, port):
        pass
    expected = f"Failures: {times:,}"

    def found() -> bool:
        texts = [message["text"] for message in messages[1]]
        return any(expected in text and f":{port}" in text for text in texts)

    assert service.wait_for(found)


def test_users_do_not_multiply_the_budget_of_a_cgroup(service: Service, version_2: Path) -> None:
    """Whoever can be many users, as the root of a container can, has one budget for all of them."""
    port, other = next(_ports), next(_ports)
    with (
        cgroup(version_2, "pod.slice/container/below") as where,
        counting(service, port, 6 * WITHIN, TOLD, WIDER),
    ):
        for _ in range(6):
            with connecting(next(_users), WITHIN, port, where=where):
                pass
        with connecting(next(_users), TOLD, other):
            pass
    assert len(service.find("connect failed", dport=other)) == TOLD


def test_cgroups_do_not_multiply_the_budget_of_a_user(service: Service, version_2: Path) -> None:
    """What lies below a service is its owner's to make, and counts as the service."""
    port, user = next(_ports), next(_users)
    with (
        cgroup(version_2, "user.slice/manager") as manager,
        counting(service, port, 3 * WITHIN, 0, 1),
    ):
        for number in range(3):
            where = manager / f"app-{number}.scope"
            where.mkdir()
            with connecting(user, WITHIN, port, where=where):
                pass
            remove(where, where)


def test_no_depth_of_cgroups_multiplies_a_budget(service: Service, version_2: Path) -> None:
    """Whoever may make cgroups makes them as deep as he likes; they stay his owner's."""
    port = next(_ports)
    with (
        cgroup(version_2, "user.slice/manager/" + "d/" * 40) as where,
        counting(service, port, 6 * WITHIN, 0, WIDER),
    ):
        for _ in range(6):
            with connecting(next(_users), WITHIN, port, where=where):
                pass


def test_more_kinds_than_are_kept_are_counted(hook: str) -> None:
    """A user who fails at thousands of ports at once fills the map: the rest is one number."""
    ports = range(20_000, 28_000)
    # Each port by itself would be more rules than there may be.
    with sandbox.service(HOOK=hook, DEST_IP="127.0.0.1") as service:
        # What is read makes room: a slow machine would never fill the map.
        with asleep(service):
            with connecting(OTHER, BURST, FLOODED):
                pass
            with connecting(OTHER, 3 * len(ports), *ports):
                pass
        service.wait_for(lambda: service.find(_TOO_MANY_KINDS), 300)
        tallies = stopped(service)
    made = BURST + 3 * len(ports)
    assert tallies["held_full"] > 0
    assert service.failures() == tallies["submitted"] + tallies["held"]
    # Somebody else may fail or listen on loopback meanwhile.
    assert abs(made - service.failures() - tallies["held_full"]) <= 20
    lines = service.find(_TOO_MANY_KINDS)
    assert sum(line["lost"] for line in lines) == tallies["held_full"]
    assert len(service.find("failures held back")) <= 20 * 30
