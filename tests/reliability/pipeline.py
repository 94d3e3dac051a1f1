"""The daemon's pipeline without a kernel: records go in at the ring, messages come out.

Everything is the service's own: a ring of a file, maps without a kernel behind them.
"""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING

from tcp_trace.connects.events import State
from tcp_trace.kernel.handover import Handover
from tcp_trace.kernel.rings import Ring
from tcp_trace.notify.routing import DEFAULT
from tcp_trace.probes.shapes import DESTINATION, MAKER, TRANSITION
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


class Fed(Service):
    """A service that watches nothing, and has the records of `ring`."""

    def __init__(self, settings: Settings) -> None:
        self.ring = Producer()
        maps = {**_NO_MAPS, "transitions": self.ring.fd}
        received = Handover(
            attached=(), ring_bytes=self.ring.size, maps={"connect": maps}, facts={}
        )
        super().__init__(settings, received, lambda: settings)
        self._ring = _UnpolledRing(self.ring.fd, self.ring.size)


def service(settings: Settings) -> Fed:
    """Return a service that watches nothing, and is not started."""
    return Fed(settings)


def settings(state: Path, slack: str, **environ: str) -> Settings:
    """Return settings for it."""
    given = {"STATE_DIR": str(state), "SLACK_URL": slack, "HOST_NAME": "web-1", **environ}
    return config.load(given, None)


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
    while fed._ring.unread:
        fed._turn()


def await_sent(messages: Messages, wanted: int) -> int:
    """Wait for so many messages to be sent, 6 s at most; return how many were."""
    until = time.monotonic() + 6
    while time.monotonic() < until and messages.statistics[DEFAULT].sent < wanted:
        time.sleep(0.02)
    return messages.statistics[DEFAULT].sent
