"""What is known of destinations that worked outlives the service, however it ends."""

from __future__ import annotations

import signal
import socket
import sqlite3
import time
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tcp_trace.commands import scratch
from tcp_trace.connects.events import Destination
from tcp_trace.incidents.memory import Known, Memory
from tcp_trace.kernel.gate import boot_id
from tcp_trace.notify.store import NAME
from tests.kernel.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ADDRESS, PORT = "127.0.67.2", 12_951
BEFORE, AFTER = 5, 3


class Restarted(NamedTuple):
    """A service that is about to be restarted, and its database."""

    supervisor: Supervisor
    path: Path


@pytest.fixture
def service(hook: str) -> Iterator[Restarted]:
    """Return one at work, where somebody keeps its descriptors."""
    with scratch.directory() as directory:
        supervisor = Supervisor(directory, HOOK=hook, DEST_IP=ADDRESS)
        try:
            supervisor.start()
            yield Restarted(supervisor, directory / "state" / NAME)
        finally:
            supervisor.close()


def connect(times: int) -> None:
    """Succeed so often."""
    with socket.create_server((ADDRESS, PORT)) as server:
        for _ in range(times):
            with socket.create_connection((ADDRESS, PORT)):
                server.accept()[0].close()


def saved(path: Path) -> str:
    """Return the row as it is on disk."""
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    (body,) = database.execute("SELECT body FROM state WHERE name = 'memory'").fetchone()
    database.close()
    return str(body)


def known(path: Path) -> tuple[Known, int]:
    """Return what the memory on disk has of the destination, and its total of successes."""
    memory = Memory()
    text = saved(path)
    memory.load(text, boot_id())
    found = memory.known(Destination(ADDRESS, PORT))
    assert memory.damaged == 0
    assert found is not None
    (line,) = (line for line in text.splitlines() if f'"{ADDRESS}",{PORT},' in line)
    return found, int(line.rstrip("]").split(",")[-2])


def restart(supervisor: Supervisor) -> None:
    """Let it end by itself."""
    supervisor.kill(signal.SIGTERM)


def kill(supervisor: Supervisor) -> None:
    """Leave it no time to save anything."""
    supervisor.kill()


def upgrade(supervisor: Supervisor) -> None:
    """Let another program take over, which counts from nothing."""
    supervisor.kill(signal.SIGTERM)
    supervisor.configure(RING_MB="16")


@pytest.mark.parametrize("end", [restart, kill, upgrade])
def test_it_outlives_the_process(service: Restarted, end: Callable[[Supervisor], None]) -> None:
    """Since when it works, and when it last did; nothing is counted twice."""
    began = time.time()
    connect(BEFORE)
    between = time.time()
    end(service.supervisor)
    service.supervisor.start()
    time.sleep(1.2)  # the first sweep has begun: what follows is of another sample
    connect(AFTER)
    service.supervisor.kill(signal.SIGTERM)
    of, total = known(service.path)
    assert int(began) <= of.since <= between
    assert int(between + 1) <= of.worked <= time.time()
    assert of.latency is not None
    assert 1e-6 < of.latency < 0.01
    assert of.share == 0
    assert total == (AFTER if end is upgrade else BEFORE + AFTER)
    if end is not upgrade:
        assert of.gap == pytest.approx((of.worked - of.since) / AFTER, abs=1)


def test_a_damaged_row_costs_itself_only(service: Restarted) -> None:
    """The log counts what cannot be read; the service works, and saves a whole one again."""
    connect(BEFORE)
    service.supervisor.kill(signal.SIGTERM)
    header, *lines = saved(service.path).splitlines()
    database = sqlite3.connect(service.path)
    body = "\n".join([header, "{", *lines, "[]"])
    database.execute("UPDATE state SET body = ? WHERE name = 'memory'", (body,))
    database.commit()
    database.close()
    service.supervisor.start()
    (said,) = service.supervisor.find("dropped what cannot be read of the memory")
    assert said["lines"] == 2
    connect(AFTER)
    service.supervisor.kill(signal.SIGTERM)
    assert known(service.path)[1] == BEFORE + AFTER
