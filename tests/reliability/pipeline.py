"""The daemon's pipeline without a kernel: records go in at the ring, messages come out.

Everything is the service's own: a ring of a file, maps without a kernel behind them.
"""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING
from unittest.mock import patch

from tcp_trace.connects.events import State
from tcp_trace.kernel.handover import Handover
from tcp_trace.kernel.rings import Ring
from tcp_trace.notify.routing import DEFAULT
from tcp_trace.probes.carried import Carried, Entry, Reached
from tcp_trace.probes.shapes import DESTINATION, MAKER, TRANSITION
from tcp_trace.service import intake
from tcp_trace.service.daemon import Service
from tcp_trace.settings import config
from tests.ring import Producer

if TYPE_CHECKING:
    from pathlib import Path

    from tcp_trace.service.messages import Messages
    from tcp_trace.settings.config import Settings

_NO_MAPS = dict.fromkeys(
    ("destinations", "cgroups", "tallies", "watched", "races", "held", "execs"), -1
)


class _UnpolledRing(Ring):
    """A ring that is read when the loop turns: the kernel lets no file be polled."""

    def __init__(self, fd: int, size: int) -> None:
        super().__init__(fd, size)
        self._never = os.eventfd(0)

    def fileno(self) -> int:
        return self._never


class Memory(Carried):
    """The maps of what is carried, in memory."""

    def __init__(self, _: object = None) -> None:
        self.kept: dict[int, Entry] = {}
        self.reached = Reached(0, 0)

    def progress(self) -> Reached:
        """Return what was set."""
        return self.reached

    def set_progress(self, reached: Reached) -> None:
        """Set it."""
        self.reached = reached

    def entries(self) -> dict[int, Entry]:
        """Return what is kept."""
        return dict(self.kept)

    def put(self, key: int, entry: Entry) -> None:
        """Keep it."""
        self.kept[key] = entry

    def remove(self, key: int) -> None:
        """Let it go."""
        self.kept.pop(key, None)


class Fed(Service):
    """A service that watches nothing, and has the records of `ring`.

    A second one with the ring and the memory of a first is the process that follows it.
    """

    def __init__(
        self, settings: Settings, ring: Producer | None = None, memory: Memory | None = None
    ) -> None:
        self.ring = ring or Producer()
        self.memory = memory or Memory()
        maps = {**_NO_MAPS, "transitions": self.ring.fd}
        received = Handover(
            attached=(), ring_bytes=self.ring.size, maps={"connect": maps}, facts={}
        )
        with (
            patch.object(intake, "Ring", _UnpolledRing),
            patch.object(intake, "Carried", lambda _: self.memory),
        ):
            super().__init__(settings, received, lambda: settings)


def service(settings: Settings) -> Fed:
    """Return a service that watches nothing, and is not started."""
    return Fed(settings)


def settings(state: Path, slack: str, **environ: str) -> Settings:
    """Return settings for it."""
    given = {"STATE_DIR": str(state), "SLACK_URL": slack, "HOST_NAME": "web-1", "ALERT_AFTER": "1"}
    return config.load({**given, **environ}, None)


def record(number: int, address: str, port: int = 443, comm: bytes = b"curl") -> bytes:
    """Return what the kernel submits of a connect that was refused."""
    now = time.monotonic_ns()
    packed = socket.inet_pton(socket.AF_INET6, f"::ffff:{address}")
    maker = MAKER.pack(1, 0, 4_000_000, 0, 1000, 4_026_531_840, comm, b"")
    destination = DESTINATION.pack(packed, 0, 0, 0, port, 0)
    states = (State.SYN_SENT, State.CLOSE)
    return TRANSITION.pack(
        *(now - 1_000_000, now, maker, destination, packed),
        *(111, 0, 0, 0, 40_000, *states, number, 0),
    )


def feed(fed: Fed, records: list[bytes]) -> None:
    """Put records in at the ring, and let the service take them in."""
    for record in records:
        while fed.ring.put(record) < 0:
            fed._turn()
    while fed._intake.ring.unread:
        fed._turn()


def await_sent(messages: Messages, wanted: int) -> int:
    """Wait for so many messages to be sent, 30 s at most; return how many were."""
    until = time.monotonic() + 30
    while time.monotonic() < until and messages.statistics[DEFAULT].sent < wanted:
        time.sleep(0.02)
    return messages.statistics[DEFAULT].sent
